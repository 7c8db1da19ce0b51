//! The roots that the world's TLS clients know: Mozilla's, built in, and those of `SSL_CERT_FILE`.

use rustls_pki_types::CertificateDer;

use super::certificate::{Certificate, Signature};

/// Whether a built-in root, or one of the `further` ones, signed `certificate`, or is it.
pub(crate) fn reaches_root(certificate: &Certificate, further: &[CertificateDer<'_>]) -> bool {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .chain(further);
    let mut roots = roots.filter_map(|root| Certificate::from_der(root).ok());
    roots.any(|root| certificate.signed_by(&root) != Signature::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_reaches_itself_and_a_stranger_none() {
        let root = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        assert!(reaches_root(&Certificate::from_der(root).unwrap(), &[]));
        let own = crate::cert::samples::maker().make("Own < Own").read();
        assert!(!reaches_root(&own, &[]));
        assert!(reaches_root(&own, std::slice::from_ref(&own.der)));
    }
}
