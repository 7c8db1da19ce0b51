use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::{PrivatePkcs8KeyDer, UnixTime};

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
    let params = |level: u8| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let mut name = level.to_string();
        if let Some((_, further)) = further_name.filter(|(at, _)| *at == level) {
            name.push_str(further);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 3, 1);
        params.not_after = date_time_ymd(2027, 3, 1);
        if expired == Some(level) {
            params.not_after = date_time_ymd(2026, 9, 1);
        }
        if level == 0 {
            let names = CertificateParams::new(["shop.example.com".to_owned()]).unwrap();
            params.subject_alt_names = names.subject_alt_names;
        } else {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        params
    };
    let signed = |level: u8| {
        let above = (level + 1).min(root);
        let issuer = Issuer::new(params(above), key(above));
        let certificate = params(level).signed_by(&key(level), &issuer).unwrap();
        certificate.pem()
    };
    Made {
        blocks: (0..=root).map(signed).collect(),
        key: key(0).serialize_pem(),
    }
}
