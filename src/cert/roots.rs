//! The roots that the world's TLS clients know: Mozilla's, built in, and those of `SSL_CERT_FILE`.

use rustls_pki_types::CertificateDer;

use super::certificate::{Certificate, Signature};

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
        webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .chain(&self.further)
            .filter_map(|root| Certificate::from_der(root).ok())
            .any(|root| certificate.signed_by(&root) != Signature::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_reaches_itself_and_a_stranger_none() {
        let roots = Roots::new(Vec::new());
        let root = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        assert!(roots.reached_by(&Certificate::from_der(root).unwrap()));
        let own = crate::cert::samples::maker().make("Own < Own").read();
        assert!(!roots.reached_by(&own));
        assert!(Roots::new(vec![own.der.clone()]).reached_by(&own));
    }
}
