//! Keys: any form that servers load in, one form out.
//!
//! The label of a PEM block and its content may differ, the public half and the curve may be missing:
//! OpenSSL and Envoy each load some of this, and not the same. What comes out is PKCS#8 version 1 with
//! the curve's name and the public half, as OpenSSL itself writes it: everything loads that.

use std::fmt;

use anyhow::{Context, bail, ensure};
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521};
use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::asn1_rs::{Any, FromDer, Oid, Tag};
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use super::pem;

/// No key or certificate has more values side by side.
const MOST_VALUES: usize = 16;
/// The curves of NIST: their sizes, as their names have them, and their identifiers.
const CURVES: [(u16, &str, &agreement::Algorithm); 3] = [
    (256, "1.2.840.10045.3.1.7", &ECDH_P256),
    (384, "1.3.132.0.34", &ECDH_P384),
    (521, "1.3.132.0.35", &ECDH_P521),
];

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";

/// The kind of a key, and its size.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// ECDSA on the curve P-256, P-384 or P-521, by its number.
    Ecdsa(u16),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// An algorithm or a curve that TLS servers do not use: its object identifier.
    Other(String),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ecdsa(bits) => write!(f, "ECDSA P-{bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => write!(f, "a key of algorithm {oid}"),
        }
    }
}

/// A public key. Two are equal if the keys are, however they are spelled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    /// What it is.
    pub kind: KeyKind,
    /// The key; of a point the compressed form.
    bits: Vec<u8>,
}

impl PublicKey {
    fn new(kind: KeyKind, bits: &[u8]) -> Self {
        let bits = match (&kind, bits) {
            // SEC 1 section 2.3.3: x, and whether y is odd
            (KeyKind::Ecdsa(_), [4 | 6 | 7, point @ ..]) => {
                let (x, y) = point.split_at(point.len() / 2);
                let odd = y.last().unwrap_or(&0) & 1;
                [&[2 | odd], x].concat()
            }
            _ => bits.to_vec(),
        };
        Self { kind, bits }
    }

    fn rsa(key: &[u8]) -> Self {
        let values = values(key);
        let modulus = match values.first().map_or(&[][..], |modulus| modulus.data) {
            [0, modulus @ ..] | modulus => modulus,
        };
        let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros());
        let bits = 8 * modulus.len() - usize::try_from(zeros).unwrap_or_default();
        Self::new(KeyKind::Rsa(bits), key)
    }

    /// Of a certificate.
    pub(super) fn of(info: &SubjectPublicKeyInfo<'_>) -> Self {
        let (algorithm, key) = (&info.algorithm, info.subject_public_key.data.as_ref());
        let parameters = algorithm.parameters.as_ref();
        let curve = parameters.and_then(|curve| curve.as_oid().ok());
        let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
        let known = CURVES.iter().find(|(_, oid, _)| *oid == curve);
        let kind = match (algorithm.algorithm.to_id_string().as_str(), known) {
            (RSA, _) => return Self::rsa(key),
            (EC, Some((bits, ..))) => KeyKind::Ecdsa(*bits),
            (EC, None) => KeyKind::Other(curve),
            (ED25519, _) => KeyKind::Ed25519,
            (other, _) => KeyKind::Other(other.to_owned()),
        };
        Self::new(kind, key)
    }
}

/// The values that a sequence holds; none, if these bytes are no sequence.
pub(super) fn values(der: &[u8]) -> Vec<Any<'_>> {
    match Any::from_der(der) {
        Ok((_, any)) if any.tag() == Tag::Sequence => content(any.data),
        _ => Vec::new(),
    }
}

/// The values that stand side by side here.
pub(super) fn content(mut rest: &[u8]) -> Vec<Any<'_>> {
    let mut values = Vec::new();
    while let Ok((after, value)) = Any::from_der(rest)
        && values.len() < MOST_VALUES
    {
        values.push(value);
        rest = after;
    }
    values
}

/// A private key that a TLS server can use. Debugging shows nothing of it.
#[derive(Debug)]
pub struct PrivateKey {
    /// Its public half.
    pub public: PublicKey,
    pkcs8: Pkcs8V1Der<'static>,
}

impl PrivateKey {
    /// The one private key in a text: the same key may be in it twice, and certificates may follow.
    ///
    /// # Errors
    /// If there is none or more than one, or if it cannot be used. The text never holds any of it.
    pub fn from_pem(text: &str) -> anyhow::Result<Self> {
        let mut found: Vec<Self> = Vec::new();
        for block in pem::blocks(text) {
            if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
                bail!(ENCRYPTED);
            }
            match block.content {
                Err(why) if !block.label.contains("CERTIFICATE") => bail!("a PEM block {why}"),
                Ok(der) if block.label.ends_with("PRIVATE KEY") => {
                    let key = Self::from_der(&der)?;
                    if found.iter().all(|other| other.public != key.public) {
                        found.push(key);
                    }
                }
                _ => {}
            }
        }
        let count = found.len();
        ensure!(count <= 1, "there are {count} different keys, expected one");
        let key = found.pop();
        key.context("there is no PEM block of a private key")
    }

    /// Reads PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 appendix A.1.2) or SEC1 (RFC 5915 section 3),
    /// whichever it is.
    fn from_der(der: &[u8]) -> anyhow::Result<Self> {
        let values = values(der);
        let tags: Vec<Tag> = values.iter().map(Any::tag).collect();
        let key = match (tags.as_slice(), values.as_slice()) {
            ([Tag::Sequence, Tag::OctetString, ..], _) => bail!(ENCRYPTED),
            ([Tag::Integer, Tag::Integer, ..], _) => Self::rsa(der),
            ([Tag::Integer, Tag::OctetString, ..], _) => Self::ecdsa(der, der),
            // attributes and the public half may follow: both can be told from the rest
            ([Tag::Integer, Tag::Sequence, Tag::OctetString, ..], [_, algorithm, key, ..]) => {
                let oid = Oid::from_der(algorithm.data).ok();
                let oid = oid.map(|(_, oid)| oid.to_id_string()).unwrap_or_default();
                match oid.as_str() {
                    RSA => Self::rsa(key.data),
                    EC => Self::ecdsa(der, key.data),
                    ED25519 => Self::ed25519(key.data),
                    _ => None,
                }
            }
            _ => None,
        };
        key.context(NO_KEY)
    }

    /// Of PKCS#1.
    fn rsa(der: &[u8]) -> Option<Self> {
        let pair = rsa::KeyPair::from_der(der).ok()?;
        let public = PublicKey::rsa(pair.public_key().as_ref());
        let pkcs8 = pair.as_der().ok()?;
        Some(Self { public, pkcs8 })
    }

    /// Of all there is, or of the SEC1 in it: the parameters can be in either, or nowhere. Without
    /// them it is the smallest curve that fits; whose certificate it is shows whether that was right.
    fn ecdsa(whole: &[u8], sec1: &[u8]) -> Option<Self> {
        let read = |der| {
            CURVES.iter().find_map(|(bits, _, algorithm)| {
                let key = agreement::PrivateKey::from_private_key_der(algorithm, der);
                Some((*bits, key.ok()?))
            })
        };
        let (bits, key) = read(whole).or_else(|| read(sec1))?;
        // what is read without its public half is written without it
        let value: EcPrivateKeyBin<'_> = key.as_be_bytes().ok()?;
        let key = agreement::PrivateKey::from_private_key(key.algorithm(), value.as_ref()).ok()?;
        let public = key.compute_public_key().ok()?;
        let public = PublicKey::new(KeyKind::Ecdsa(bits), public.as_ref());
        let pkcs8 = key.as_der().ok()?;
        Some(Self { public, pkcs8 })
    }

    /// Of the seed, an octet string (RFC 8410 section 7).
    fn ed25519(der: &[u8]) -> Option<Self> {
        let (_, seed) = <&[u8]>::from_der(der).ok()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = PublicKey::new(KeyKind::Ed25519, pair.public_key().as_ref());
        let pkcs8 = pair.as_der().ok()?;
        Some(Self { public, pkcs8 })
    }

    /// The key in the form that is written.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::write("PRIVATE KEY", self.pkcs8.as_ref())
    }

    /// The same for the TLS library.
    pub(super) fn der(&self) -> PrivateKeyDer<'_> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.as_ref()))
    }
}

const ENCRYPTED: &str = "the key is encrypted: import the certificate with an unencrypted key";
const NO_KEY: &str = "the block holds no whole key that servers take: use RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519";

#[cfg(test)]
mod tests;
