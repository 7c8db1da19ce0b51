//! The roots that the world's TLS clients know: Mozilla's, built in, and those of `SSL_CERT_FILE`.
//!
//! Belongs here: whether a certificate was signed by one of them. Does not: whom this program's own
//! connections trust (`ibm/http.rs`).

use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::cert::certificate::{Certificate, Signature, rfc3339};

/// The roots.
#[derive(Debug)]
pub struct Roots {
    further: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The built-in roots and `further` ones.
    #[must_use]
    pub const fn new(further: Vec<CertificateDer<'static>>) -> Self {
        Self { further }
    }

    fn all(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .chain(&self.further)
    }

    /// Whether a known root signed `certificate`, or is it.
    #[must_use]
    pub fn reached_by(&self, certificate: &Certificate) -> bool {
        let algorithms = default_provider().signature_verification_algorithms;
        self.all()
            // reading all of them would cost more than the rest of the run: the name must be in it
            .filter(|root| contains(root, &certificate.issuer))
            .filter_map(|root| Certificate::from_der(root.clone()).ok())
            .any(|root| certificate.signed_by(&root, algorithms) != Signature::Foreign)
    }

    /// How current the built-in roots are, in words: the start of the newest of them.
    #[must_use]
    pub fn age(&self) -> String {
        let newest = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter_map(|root| Certificate::from_der(root.clone()).ok())
            .map(|root| root.not_before)
            .max()
            .unwrap_or(UnixTime::since_unix_epoch(std::time::Duration::ZERO));
        format!(
            "the roots built into sm-tls-sync {}, the newest of which began at {}",
            env!("CARGO_PKG_VERSION"),
            rfc3339(newest)
        )
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
