//! The certificates of the catalogue: keys, CAs, and what they sign.
//!
//! All dates count from now, so that the real program, which has the real clock, judges the same.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::UnixTime;

/// A certificate as a case needs it.
#[derive(Clone, Debug)]
pub(super) struct Cert {
    pub(super) pem: String,
    /// Its private key, PEM.
    pub(super) key: String,
    /// Whoever trusts this certificate of its signer trusts it; PEM.
    pub(super) anchor: String,
}

/// A name with a key: what a certificate is about, and whoever signs one. Two certificates for one
/// subject are the same CA, issued twice or cross-signed.
#[derive(Clone)]
pub(super) struct Subject {
    common_name: String,
    key: Rc<KeyPair>,
}

/// What a certificate shall say; not signed yet.
#[derive(Clone)]
pub(super) struct Draft {
    subject: Subject,
    names: Vec<String>,
    /// Days from now.
    valid: (i64, i64),
    is_ca: bool,
    purposes: Vec<ExtendedKeyUsagePurpose>,
    /// What no other knob says.
    further: fn(&mut CertificateParams),
}

impl Subject {
    /// With a new key on P-256.
    pub(super) fn new(common_name: &str) -> Self {
        Self::with_key(common_name, key(&PKCS_ECDSA_P256_SHA256))
    }

    pub(super) fn with_key(common_name: &str, key: KeyPair) -> Self {
        Self {
            common_name: common_name.to_owned(),
            key: Rc::new(key),
        }
    }

    /// Another subject with the same key.
    pub(super) fn renamed(&self, common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            key: Rc::clone(&self.key),
        }
    }

    /// A certificate for this subject as a CA, valid for years.
    pub(super) fn ca(&self) -> Draft {
        Draft {
            subject: self.clone(),
            names: Vec::new(),
            valid: (-1000, 1000),
            is_ca: true,
            purposes: Vec::new(),
            further: |_| {},
        }
    }

    /// A certificate for this subject as a TLS server, valid for 90 days since yesterday. The
    /// common name is its only name.
    pub(super) fn leaf(&self) -> Draft {
        Draft {
            names: vec![self.common_name.clone()],
            valid: (-1, 89),
            is_ca: false,
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..self.ca()
        }
    }

    /// The certificate that this subject signed for itself.
    pub(super) fn root(&self) -> Cert {
        self.sign(&self.ca())
    }

    /// The certificate that this subject signs for `draft`'s.
    pub(super) fn sign(&self, draft: &Draft) -> Cert {
        let signed = |draft: &Draft| {
            let mut issuer = CertificateParams::default();
            issuer.distinguished_name = name(&self.common_name);
            let issuer = Issuer::from_params(&issuer, &*self.key);
            draft
                .parameters()
                .signed_by(&*draft.subject.key, &issuer)
                .unwrap()
                .pem()
        };
        Cert {
            pem: signed(draft),
            key: draft.subject.key.serialize_pem(),
            anchor: signed(&self.ca()),
        }
    }
}

impl Draft {
    /// From and until, days from now.
    pub(super) fn valid(mut self, from: i64, until: i64) -> Self {
        self.valid = (from, until);
        self
    }

    /// The names of the subject alternative name extension; if there are none, it is left out.
    pub(super) fn names<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// The basic constraints: CA or not.
    pub(super) fn ca_bit(mut self, is_ca: bool) -> Self {
        self.is_ca = is_ca;
        self
    }

    /// The extended key usage; if it is empty, it is left out.
    pub(super) fn purposes(mut self, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        self.purposes = purposes.to_vec();
        self
    }

    /// Changes what no other knob does, last of all.
    pub(super) fn further(mut self, change: fn(&mut CertificateParams)) -> Self {
        self.further = change;
        self
    }

    fn parameters(&self) -> CertificateParams {
        static SERIAL: AtomicU64 = AtomicU64::new(0x0500_0000_0000_0001);
        let mut parameters = CertificateParams::new(self.names.clone()).unwrap();
        parameters.distinguished_name = name(&self.subject.common_name);
        parameters.serial_number = Some(SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed)));
        let day = |days: i64| {
            let now = i64::try_from(UnixTime::now().as_secs()).unwrap();
            let seconds = u64::try_from(now + days * 86_400).unwrap();
            date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        parameters.not_before = day(self.valid.0);
        parameters.not_after = day(self.valid.1);
        parameters.extended_key_usages.clone_from(&self.purposes);
        parameters.use_authority_key_identifier_extension = true;
        if self.is_ca {
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        } else {
            parameters.is_ca = IsCa::ExplicitNoCa;
        }
        (self.further)(&mut parameters);
        parameters
    }
}

/// A new key.
pub(super) fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// A new key on P-384.
pub(super) fn p384() -> KeyPair {
    key(&PKCS_ECDSA_P384_SHA384)
}

/// A new key on Curve25519.
pub(super) fn ed25519() -> KeyPair {
    key(&PKCS_ED25519)
}

/// A key of `tests/certificates`, PKCS#8.
pub(super) fn stored_key(file: &str) -> KeyPair {
    KeyPair::from_pem(&stored(file)).unwrap()
}

/// A file of `tests/certificates`.
pub(super) fn stored(file: &str) -> String {
    let path = format!("{}/tests/certificates/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The certificates of a file of `tests/certificates`: a leaf with the key in the file `key`, and
/// its CAs, below `root.pem` or, if the file holds one, the root at its end.
pub(super) fn stored_chain(file: &str, key: &str) -> Vec<Cert> {
    stored(file)
        .split_inclusive("-----END CERTIFICATE-----\n")
        .map(|pem| Cert {
            pem: pem.to_owned(),
            key: stored(key),
            anchor: stored("root.pem"),
        })
        .collect()
}

fn name(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
