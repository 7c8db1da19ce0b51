//! The roots that the world's TLS clients know: Mozilla's, built in, and those of `SSL_CERT_FILE`.
//!
//! Belongs here: whether a certificate was signed by one of them. Does not: whom this program's own
//! connections trust (`ibm/client.rs`).

use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::CertificateDer;

use super::certificate::{Certificate, subject_of};
use super::distinguished_name::DistinguishedName;
use super::signature::Signature;

/// The roots.
#[derive(Debug)]
pub(crate) struct Roots {
    further: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The built-in roots and `further` ones.
    #[must_use]
    pub(crate) const fn new(further: Vec<CertificateDer<'static>>) -> Self {
        Self { further }
    }

    /// Whether a known root signed `certificate`, or is it.
    #[must_use]
    pub(crate) fn reached_by(&self, certificate: &Certificate) -> bool {
        // the same bytes nearly always: only then each name has to be read
        let same_bytes = |subject: &[u8]| subject == certificate.issuer_bytes();
        let same_name =
            |subject: &[u8]| DistinguishedName::read(subject).as_ref() == Some(&certificate.issuer);
        self.signed(certificate, same_bytes) || self.signed(certificate, same_name)
    }

    fn signed(&self, certificate: &Certificate, is_issuer: impl Fn(&[u8]) -> bool) -> bool {
        let algorithms = default_provider().signature_verification_algorithms;
        webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .chain(&self.further)
            .filter(|root| subject_of(root).is_some_and(&is_issuer))
            .filter_map(|root| Certificate::from_der(root.clone()).ok())
            .any(|root| certificate.signed_by(&root, algorithms) != Signature::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_reaches_itself_and_a_stranger_none() {
        let roots = Roots::new(Vec::new());
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].clone();
        assert!(roots.reached_by(&Certificate::from_der(root).unwrap()));
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        let own = own.der().clone();
        let certificate = Certificate::from_der(own.clone()).unwrap();
        assert!(!roots.reached_by(&certificate));
        assert!(Roots::new(vec![own]).reached_by(&certificate));
    }
}
