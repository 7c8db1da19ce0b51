//! Signatures of certificates: whether one fits a key, can be verified, is strong enough.

use rustls::crypto::WebPkiSupportedAlgorithms;

use super::der::{self, Reader, tagged};
use super::key::{Curve, KeyKind};

/// Whether one certificate signed another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signature {
    /// The signature was verified.
    Verified,
    /// The names fit, and no more is known: the algorithm is not supported here.
    Unverifiable,
    /// It did not.
    Foreign,
}

/// RSA keys outside of these sizes are not verified here (in bits).
const VERIFIED_RSA: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What was signed, how, and the signature.
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    /// The content of the algorithm's identifier (RFC 5280 section 4.1.1.2).
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl Signed<'_> {
    /// Whether this key made the signature. `key_algorithm` is the content of the identifier of the
    /// key's algorithm.
    pub(super) fn by(
        &self,
        kind: &KeyKind,
        key_algorithm: &[u8],
        key: &[u8],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Signature {
        if !self.fits(kind) {
            return Signature::Foreign;
        }
        let of_supported_size = match kind {
            KeyKind::Rsa { bits } => VERIFIED_RSA.contains(bits),
            _ => true,
        };
        let mut supported = algorithms
            .all
            .iter()
            .filter(|candidate| {
                of_supported_size
                    && candidate.signature_alg_id().as_ref() == self.algorithm
                    && candidate.public_key_alg_id().as_ref() == key_algorithm
            })
            .peekable();
        if supported.peek().is_none() {
            return Signature::Unverifiable;
        }
        let verifies = supported.any(|candidate| {
            let result = candidate.verify_signature(key, self.message, self.signature);
            result.is_ok()
        });
        if verifies {
            Signature::Verified
        } else {
            Signature::Foreign
        }
    }

    /// Whether a key of this kind and size can have made it at all.
    fn fits(&self, kind: &KeyKind) -> bool {
        let oid = Reader(self.algorithm).expect(der::OID).unwrap_or_default();
        match (family(oid), kind) {
            (Family::Rsa, KeyKind::Rsa { bits }) => self.signature.len() == bits.div_ceil(8),
            (Family::Ecdsa, KeyKind::Ecdsa(curve)) => self.fits_curve(*curve),
            (Family::Ed25519, KeyKind::Ed25519) => self.signature.len() == 64,
            (Family::Ed448, KeyKind::Ed448) => self.signature.len() == 114,
            // of the key we know as little as of the signature
            (Family::Rsa | Family::Other, KeyKind::Other(_)) => true,
            _ => false,
        }
    }

    fn fits_curve(&self, curve: Curve) -> bool {
        let Some(size) = curve.size() else {
            return true;
        };
        let mut outer = Reader(self.signature);
        let mut numbers = outer.sequence();
        let mut fits = || {
            let number = numbers.as_mut().and_then(Reader::unsigned);
            number.is_some_and(|number| number.len() <= size)
        };
        fits() && fits()
    }
}

#[derive(Clone, Copy)]
enum Family {
    Rsa,
    Ecdsa,
    Ed25519,
    Ed448,
    Other,
}

/// 1.2.840.113549.1.1, without its last number.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 1.2.840.10040.4.3
const DSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03];
/// 1.3.14.3.2: SHA-1 and its signatures, and MD5's with RSA, of the OIW
const OIW: &[u8] = &[0x2b, 0x0e, 0x03, 0x02];
/// 1.2.840.113549.2: MD2, MD4, MD5
const RSADSI_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];

fn family(oid: &[u8]) -> Family {
    if oid.starts_with(PKCS1) {
        Family::Rsa
    } else if oid.starts_with(ECDSA) {
        Family::Ecdsa
    } else if oid == [0x2b, 0x65, 0x70] {
        Family::Ed25519
    } else if oid == [0x2b, 0x65, 0x71] {
        Family::Ed448
    } else {
        Family::Other
    }
}

/// The digest of this signature algorithm (the content of its identifier), if it is one that
/// today's clients and servers refuse.
pub(super) fn weak_digest(algorithm: &[u8]) -> Option<&'static str> {
    let mut identifier = Reader(algorithm);
    let oid = identifier.expect(der::OID)?;
    if let Some(last) = oid.strip_prefix(PKCS1) {
        return match last {
            [0x02..=0x04] => Some("MD5"),
            [0x05] => Some("SHA-1"),
            [0x0a] => weak_digest_of_pss(identifier),
            _ => None,
        };
    }
    match oid.strip_prefix(OIW) {
        Some([0x02..=0x04]) => Some("MD5"),
        Some([0x0d | 0x1b | 0x1d]) => Some("SHA-1"),
        _ if oid.strip_prefix(ECDSA) == Some(&[0x01]) || oid == DSA_SHA1 => Some("SHA-1"),
        _ => None,
    }
}

/// RSASSA-PSS names its digest in its parameters; without a name it is SHA-1 (RFC 4055 section 3.1).
fn weak_digest_of_pss(mut identifier: Reader<'_>) -> Option<&'static str> {
    let digest = identifier
        .sequence()
        .and_then(|mut parameters| parameters.optional(tagged(0)))
        .and_then(|digest| Reader(digest.content).sequence()?.expect(der::OID));
    match digest {
        None => Some("SHA-1"),
        Some(digest) if digest.starts_with(OIW) => Some("SHA-1"),
        Some(digest) if digest.starts_with(RSADSI_DIGEST) && digest.last() < Some(&0x06) => {
            Some("MD5")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    fn algorithm(oid: &str, parameters: &[u8]) -> Vec<u8> {
        let oid = ::der::oid::ObjectIdentifier::new_unwrap(oid);
        let oid = der::value(der::OID, &[oid.as_bytes()]);
        [&oid[..], parameters].concat()
    }

    #[test]
    fn weak_digests() {
        let pss = |digest: &str| {
            let digest = der::value(der::SEQUENCE, &[&algorithm(digest, &[])]);
            let parameters = der::value(der::SEQUENCE, &[&der::value(tagged(0), &[&digest])]);
            algorithm("1.2.840.113549.1.1.10", &parameters)
        };
        for (weak, algorithm) in [
            (Some("MD5"), algorithm("1.2.840.113549.1.1.4", &[5, 0])),
            (Some("SHA-1"), algorithm("1.2.840.113549.1.1.5", &[5, 0])),
            (Some("MD5"), algorithm("1.3.14.3.2.3", &[])),
            (Some("SHA-1"), algorithm("1.3.14.3.2.29", &[])),
            (Some("SHA-1"), algorithm("1.2.840.10045.4.1", &[])),
            (Some("SHA-1"), algorithm("1.2.840.10040.4.3", &[])),
            (
                Some("SHA-1"),
                algorithm("1.2.840.113549.1.1.10", &[0x30, 0]),
            ),
            (Some("SHA-1"), pss("1.3.14.3.2.26")),
            (Some("MD5"), pss("1.2.840.113549.2.5")),
            (None, pss("2.16.840.1.101.3.4.2.1")),
            // not a digest
            (None, pss("1.2.840.113549.2.6")),
            (None, algorithm("1.2.840.113549.1.1.11", &[5, 0])),
            (None, algorithm("1.2.840.113549.1.1.14", &[5, 0])),
            (None, algorithm("1.2.840.10045.4.3.2", &[])),
            (None, algorithm("1.3.101.112", &[])),
        ] {
            assert_eq!(weak_digest(&algorithm), weak, "{algorithm:02x?}");
        }
    }

    #[test]
    fn a_signature_fits_the_kind_and_size_of_its_key() {
        let number = |size: usize| der::unsigned(&vec![0x7f; size]).to_vec();
        let pair = |r, s| der::value(der::SEQUENCE, &[&number(r), &number(s)]).to_vec();
        let ecdsa = |size| pair(size, size);
        let fits = |oid: &str, signature: &[u8], kind: KeyKind| {
            let algorithm = algorithm(oid, &[]);
            let signed = Signed {
                message: &[],
                algorithm: &algorithm,
                signature,
            };
            signed.fits(&kind)
        };
        let (rsa_sha1, ecdsa_sha224) = ("1.2.840.113549.1.1.5", "1.2.840.10045.4.3.1");
        let other = KeyKind::Other("1.2.3".to_owned());
        assert!(fits(rsa_sha1, &[1; 256], KeyKind::Rsa { bits: 2048 }));
        assert!(fits(rsa_sha1, &[1; 257], KeyKind::Rsa { bits: 2056 }));
        assert!(!fits(rsa_sha1, &[1; 256], KeyKind::Rsa { bits: 4096 }));
        assert!(!fits(rsa_sha1, &[1; 256], KeyKind::Ed25519));
        assert!(fits(ecdsa_sha224, &ecdsa(32), KeyKind::Ecdsa(Curve::P256)));
        for too_large in [ecdsa(48), pair(32, 48), pair(48, 32)] {
            assert!(!fits(ecdsa_sha224, &too_large, KeyKind::Ecdsa(Curve::P256)));
        }
        assert!(!fits(ecdsa_sha224, &ecdsa(32), KeyKind::Rsa { bits: 2048 }));
        assert!(!fits(ecdsa_sha224, &ecdsa(32), KeyKind::Ed25519));
        assert!(!fits(ecdsa_sha224, &[], KeyKind::Ecdsa(Curve::P256)));
        assert!(fits("1.3.101.112", &[1; 64], KeyKind::Ed25519));
        assert!(!fits("1.3.101.112", &[1; 63], KeyKind::Ed25519));
        assert!(fits("1.3.101.113", &[1; 114], KeyKind::Ed448));
        assert!(fits("1.2.3.4", &[1], other));
        assert!(!fits("1.2.3.4", &[1], KeyKind::Ed25519));
    }
    /// Of a size that is not verified here nothing is known; of any other a wrong signature is foreign.
    #[test]
    fn a_wrong_signature_is_foreign_where_the_size_of_the_key_is_supported() {
        let sha256_with_rsa = algorithm("1.2.840.113549.1.1.11", &[5, 0]);
        let rsa = algorithm("1.2.840.113549.1.1.1", &[5, 0]);
        let algorithms = default_provider().signature_verification_algorithms;
        for (bits, expected) in [
            (1024, Signature::Unverifiable),
            (2040, Signature::Unverifiable),
            (2048, Signature::Foreign),
            (8192, Signature::Foreign),
            (8200, Signature::Unverifiable),
        ] {
            let signed = Signed {
                message: &[],
                algorithm: &sha256_with_rsa,
                signature: &vec![1; bits / 8],
            };
            let found = signed.by(&KeyKind::Rsa { bits }, &rsa, &[], algorithms);
            assert_eq!(found, expected, "{bits}");
        }
    }
}
