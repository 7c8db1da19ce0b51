use std::rc::Rc;

use rcgen::KeyPair;
use rustls_pki_types::{PrivatePkcs8KeyDer, UnixTime};

use crate::maker::Maker;

/// When all this is judged: 2026-10-01.
pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_790_812_800))
}

/// Blocks of PEM, leaf first, root last, and the leaf's key.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) blocks: Vec<String>,
    pub(crate) key: String,
}

/// Ed25519 keys that are the same in every run (PKCS#8, RFC 8410 section 7): nothing to store, and
/// signatures too are the same.
pub(crate) fn key(level: u8) -> KeyPair {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    // bytes without a rhythm, so that their base64 has none either
    der.extend(
        (0..32_u8).map(|at| at.wrapping_mul(197) ^ at.rotate_left(3) ^ level.wrapping_mul(89)),
    );
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).unwrap()
}

/// A leaf at level 0, intermediates and their root. The certificate of one level may have expired, and
/// that of one may bear this further name.
pub(crate) fn made(
    intermediates: u8,
    expired: Option<u8>,
    further_name: Option<(u8, &str)>,
) -> Made {
    let root = intermediates + 1;
    let mut maker = Maker::new(now());
    let keys = (0..=root).map(|level| (level.to_string(), Rc::new(key(level))));
    maker.keys.extend(keys);
    let name = |level: u8| {
        let further = further_name.filter(|(at, _)| *at == level);
        let kind = if level == 0 { "leaf" } else { "CA" };
        let further = further.map_or("", |(_, name)| name);
        // one that is like that of its issuer would make a damaged one look self-signed
        format!("{kind}{level}{further}:{level}")
    };
    let block = |level: u8| {
        let words = match (level, expired == Some(level)) {
            (0, false) => "names:shop.example.com",
            (0, true) => "names:shop.example.com expired",
            (_, expired) => ["", "expired"][usize::from(expired)],
        };
        let above = (level + 1).min(root);
        maker.make(&format!("{} < {} {words}", name(level), name(above))).pem
    };
    Made { blocks: (0..=root).map(block).collect(), key: key(0).serialize_pem() }
}
