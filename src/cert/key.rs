//! Keys: any form that servers load in, one form out.
//!
//! The label of a PEM block and its content may differ, the public half and the curve may be missing:
//! OpenSSL and Envoy each load some of this, and not the same. What comes out is PKCS#8 version 1 with
//! the curve's name and the public half, as OpenSSL itself writes it: everything loads that.

use std::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::der::{self, Reader, oid_text, tagged};
use super::pem;

/// Sizes of RSA that servers and clients take, in bits.
const RSA_SIZES: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ED448: &[u8] = &[0x2b, 0x65, 0x71];

/// The kind of a key, and its size.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa {
        /// Of the modulus.
        bits: usize,
    },
    /// ECDSA on this curve.
    Ecdsa(Curve),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Ed448 (RFC 8410).
    Ed448,
    /// An algorithm that is not known here: its object identifier.
    Other(String),
}

/// A curve of ECDSA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curve {
    /// secp256r1
    P256,
    /// secp384r1
    P384,
    /// secp521r1
    P521,
    /// One that TLS does not use.
    Other,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Ecdsa(Curve::P256) => f.write_str("ECDSA P-256"),
            Self::Ecdsa(Curve::P384) => f.write_str("ECDSA P-384"),
            Self::Ecdsa(Curve::P521) => f.write_str("ECDSA P-521"),
            Self::Ecdsa(Curve::Other) => f.write_str("ECDSA on another curve"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Ed448 => f.write_str("Ed448"),
            Self::Other(oid) => write!(f, "a key of algorithm {oid}"),
        }
    }
}

impl Curve {
    const KNOWN: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    fn of_oid(oid: &[u8]) -> Self {
        let known = Self::KNOWN.into_iter().find(|curve| curve.oid() == oid);
        known.unwrap_or(Self::Other)
    }

    const fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
            Self::Other => &[],
        }
    }

    /// Bytes of a coordinate and of a private value, if the curve is known.
    pub(super) const fn size(self) -> Option<usize> {
        match self {
            Self::P256 => Some(32),
            Self::P384 => Some(48),
            Self::P521 => Some(66),
            Self::Other => None,
        }
    }

    const fn agreement(self) -> Option<&'static agreement::Algorithm> {
        match self {
            Self::P256 => Some(&ECDH_P256),
            Self::P384 => Some(&ECDH_P384),
            Self::P521 => Some(&ECDH_P521),
            Self::Other => None,
        }
    }
}

/// A public key, however its algorithm's identifier is spelled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    /// What it is.
    pub kind: KeyKind,
    bits: Vec<u8>,
}

impl PublicKey {
    /// Of a certificate: the content of the algorithm's identifier, and the key (RFC 5280 section
    /// 4.1.2.7).
    pub(super) fn read(algorithm: &[u8], bits: &[u8]) -> Option<Self> {
        let mut algorithm = Reader(algorithm);
        let kind = match algorithm.expect(der::OID)? {
            RSA => KeyKind::Rsa {
                bits: bit_length(Reader(bits).sequence()?.unsigned()?),
            },
            EC => KeyKind::Ecdsa(
                algorithm
                    .expect(der::OID)
                    .map_or(Curve::Other, Curve::of_oid),
            ),
            ED25519 => KeyKind::Ed25519,
            ED448 => KeyKind::Ed448,
            other => KeyKind::Other(oid_text(other)),
        };
        Some(Self {
            kind,
            bits: bits.to_vec(),
        })
    }
}

fn bit_length(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |first| first.leading_zeros());
    number.len() * 8 - usize::try_from(zeros).unwrap_or_default()
}

/// A private key that a TLS server can use.
pub struct PrivateKey {
    /// Its public half.
    pub public: PublicKey,
    /// PKCS#8 version 1.
    pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.kind)
    }
}

/// Why a key cannot be read. The texts never contain any of it.
#[derive(Debug, Eq, PartialEq)]
pub enum KeyError {
    /// Nobody can use it without its password.
    Encrypted,
    /// There is none.
    Missing,
    /// There are several different ones.
    Several(usize),
    /// A PEM block cannot be read.
    Damaged(String),
    /// The content of the block is not a private key, or not a whole one.
    Malformed(&'static str),
    /// It is of a kind or size that TLS servers do not take.
    Unsupported(KeyKind),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted => f.write_str("the key is encrypted"),
            Self::Missing => f.write_str("there is no PEM block of a private key"),
            Self::Several(count) => write!(f, "there are {count} different keys, expected one"),
            Self::Damaged(why) => f.write_str(why),
            Self::Malformed(why) => f.write_str(why),
            Self::Unsupported(kind @ KeyKind::Rsa { .. }) => write!(
                f,
                "{kind}: servers take RSA of {} to {} bits",
                RSA_SIZES.start(),
                RSA_SIZES.end()
            ),
            Self::Unsupported(kind) => write!(f, "{kind} is not supported"),
        }
    }
}

impl std::error::Error for KeyError {}

impl PrivateKey {
    /// The one private key in a text: the same key may be in it twice, and certificates may follow.
    ///
    /// # Errors
    /// If there is none or more than one, or if it cannot be used.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut found: Vec<Self> = Vec::new();
        for block in pem::blocks(text) {
            if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
                return Err(KeyError::Encrypted);
            }
            let der = match block.content {
                Err(why) if !block.label.contains("CERTIFICATE") => {
                    return Err(KeyError::Damaged(format!("a PEM block {why}")));
                }
                Ok(der) if block.label.ends_with("PRIVATE KEY") => der,
                _ => continue,
            };
            let key = Self::from_der(&der)?;
            if found.iter().all(|other| other.pkcs8 != key.pkcs8) {
                found.push(key);
            }
        }
        match (found.pop(), found.len()) {
            (None, _) => Err(KeyError::Missing),
            (Some(key), 0) => Ok(key),
            (Some(_), others) => Err(KeyError::Several(others + 1)),
        }
    }

    /// Reads PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 appendix A.1.2) or SEC1 (RFC 5915 section 3),
    /// whichever it is.
    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        const NO_KEY: KeyError = KeyError::Malformed("the block does not hold a whole private key");
        let mut key = Reader(der).sequence().ok_or(NO_KEY)?;
        let mut ahead = key;
        match (ahead.next().map(|v| v.tag), ahead.next().map(|v| v.tag)) {
            (Some(der::SEQUENCE), Some(der::OCTET_STRING)) => Err(KeyError::Encrypted),
            (Some(der::INTEGER), Some(der::SEQUENCE)) => from_pkcs8(der).ok_or(NO_KEY)?,
            (Some(der::INTEGER), Some(der::OCTET_STRING)) => {
                from_sec1(der, None, der).ok_or(NO_KEY)?
            }
            (Some(der::INTEGER), Some(der::INTEGER)) => from_pkcs1(&mut key).ok_or(NO_KEY)?,
            _ => Err(NO_KEY),
        }
    }

    /// The key in the form that is written.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::write("PRIVATE KEY", &self.pkcs8)
    }

    /// The same for the TLS library.
    pub(super) fn der(&self) -> PrivateKeyDer<'_> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()))
    }

    /// Of an algorithm's identifier (its parts behind the OID included) and what it wraps.
    fn of(
        kind: KeyKind,
        algorithm: &[&[u8]],
        private: &[u8],
        public: Vec<u8>,
    ) -> Result<Self, KeyError> {
        let version = der::unsigned(&[]);
        let algorithm = der::value(der::SEQUENCE, algorithm);
        let private = der::value(der::OCTET_STRING, &[private]);
        let pkcs8 = der::value(der::SEQUENCE, &[&version, &algorithm, &private]);
        let key = Self {
            public: PublicKey { kind, bits: public },
            pkcs8,
        };
        // the TLS library has the last word: it computes with the key
        any_supported_type(&key.der())
            .map_err(|_| KeyError::Malformed("the numbers of the key do not fit together"))?;
        Ok(key)
    }
}

type Found = Option<Result<PrivateKey, KeyError>>;

fn from_pkcs8(der: &[u8]) -> Found {
    let mut key = Reader(der).sequence()?;
    key.expect(der::INTEGER)?;
    let mut algorithm = key.sequence()?;
    let private = key.expect(der::OCTET_STRING)?;
    // attributes and the public half may follow: both can be told from the rest
    match algorithm.expect(der::OID)? {
        RSA => from_pkcs1(&mut Reader(private).sequence()?),
        EC => from_sec1(private, algorithm.next().map(|curve| curve.whole), der),
        ED25519 => {
            let seed = Reader(private).expect(der::OCTET_STRING)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
            Some(PrivateKey::of(
                KeyKind::Ed25519,
                &[&der::value(der::OID, &[ED25519])],
                &der::value(der::OCTET_STRING, &[seed]),
                pair.public_key().as_ref().to_vec(),
            ))
        }
        ED448 => Some(Err(KeyError::Unsupported(KeyKind::Ed448))),
        other => Some(Err(KeyError::Unsupported(KeyKind::Other(oid_text(other))))),
    }
}

fn from_pkcs1(key: &mut Reader<'_>) -> Found {
    let version = key.unsigned()?;
    let mut numbers = Vec::with_capacity(8);
    while let Some(number) = key.unsigned() {
        numbers.push(number);
    }
    let [modulus, exponent, ..] = numbers.as_slice() else {
        return None;
    };
    let kind = KeyKind::Rsa {
        bits: bit_length(modulus),
    };
    if !version.is_empty() {
        return Some(Err(KeyError::Malformed(
            "RSA of more than two primes is not supported",
        )));
    }
    if numbers.len() != 8 {
        // five numbers: DSA, which TLS no longer has
        return None;
    }
    if !matches!(kind, KeyKind::Rsa { bits } if RSA_SIZES.contains(&bits)) {
        return Some(Err(KeyError::Unsupported(kind)));
    }
    let public = der::value(
        der::SEQUENCE,
        &[&der::unsigned(modulus), &der::unsigned(exponent)],
    );
    let public = public.to_vec();
    let numbers: Vec<_> = numbers.into_iter().map(der::unsigned).collect();
    let version = der::unsigned(&[]);
    let parts: Vec<&[u8]> = std::iter::once(version.as_slice())
        .chain(numbers.iter().map(|number| number.as_slice()))
        .collect();
    let private = der::value(der::SEQUENCE, &parts);
    let algorithm: [&[u8]; 2] = [&der::value(der::OID, &[RSA]), &[der::NULL, 0]];
    Some(PrivateKey::of(kind, &algorithm, &private, public))
}

/// `parameters` are those of the PKCS#8 around it, `outer` is all there is.
fn from_sec1(der: &[u8], parameters: Option<&[u8]>, outer: &[u8]) -> Found {
    let mut key = Reader(der).sequence()?;
    key.expect(der::INTEGER)?;
    let given = der::without_zeros(key.expect(der::OCTET_STRING)?);
    let own = key.optional(tagged(0)).map(|value| value.content);
    let point = key
        .optional(tagged(1))
        .and_then(|point| Reader(point.content).bit_string());
    let curve = match parameters.or(own) {
        Some(parameters) => match Reader(parameters).expect(der::OID) {
            Some(oid) => Curve::of_oid(oid),
            None => explicit_curve(outer),
        },
        None => curve_of_size(point, given),
    };
    let (Some(algorithm), Some(size)) = (curve.agreement(), curve.size()) else {
        return Some(Err(KeyError::Unsupported(KeyKind::Ecdsa(curve))));
    };
    let mut private = Zeroizing::new(vec![0; size]);
    private
        .get_mut(size.checked_sub(given.len())?..)?
        .copy_from_slice(given);
    let pair = agreement::PrivateKey::from_private_key(algorithm, &private).ok()?;
    let public = pair.compute_public_key().ok()?.as_ref().to_vec();
    let bits = der::value(der::BIT_STRING, &[&[0], &public]);
    let sec1 = der::value(
        der::SEQUENCE,
        &[
            &der::unsigned(&[1]),
            &der::value(der::OCTET_STRING, &[&private]),
            &der::value(tagged(1), &[&bits]),
        ],
    );
    let algorithm: [&[u8]; 2] = [
        &der::value(der::OID, &[EC]),
        &der::value(der::OID, &[curve.oid()]),
    ];
    Some(PrivateKey::of(
        KeyKind::Ecdsa(curve),
        &algorithm,
        &sec1,
        public,
    ))
}

/// The parameters spell the curve out instead of naming it: the TLS library knows which it is.
fn explicit_curve(key: &[u8]) -> Curve {
    let mut known = Curve::KNOWN.into_iter();
    let is = |curve: &Curve| {
        let algorithm = curve.agreement();
        algorithm.is_some_and(|a| agreement::PrivateKey::from_private_key_der(a, key).is_ok())
    };
    known.find(is).unwrap_or(Curve::Other)
}

/// Without parameters the size decides: that of the public half if it is there. Which certificate the
/// key belongs to shows whether that was right.
fn curve_of_size(point: Option<&[u8]>, private: &[u8]) -> Curve {
    let size = match point.and_then(<[u8]>::split_first) {
        Some((4, coordinates)) => coordinates.len() / 2,
        Some((2 | 3, coordinate)) => coordinate.len(),
        _ => private.len(),
    };
    let mut known = Curve::KNOWN.into_iter();
    let fits = |curve: &Curve| curve.size() >= Some(size);
    known.find(fits).unwrap_or(Curve::Other)
}

#[cfg(test)]
mod tests;
