//! The certificates of a PEM text, read as leniently as servers do.
//!
//! Belongs here: which blocks may be certificates. Does not: what a block is (`pem.rs`), nor what a
//! certificate says (`certificate.rs`).

use super::certificate::Certificate;
use super::pem::{BODY, blocks};

/// A longer label is none.
const LONGEST_LABEL: usize = 40;

/// The certificates of a text in their order; for what may be one and cannot be read, why not. Keys,
/// parameters and requests are left out.
#[must_use]
pub fn from_pem(text: &str) -> Vec<Result<Certificate, String>> {
    let mut certificates = Vec::new();
    for (position, block) in blocks(text).into_iter().enumerate() {
        let name = match block.label {
            label if is_label(label) => format!("PEM block {} ({label})", position + 1),
            _ => format!("PEM block {}", position + 1),
        };
        match block.content {
            Err(why) => certificates.push(Err(format!("{name} {why}"))),
            Ok(_) if is_other(block.label) => {}
            Ok(der) => {
                let (certificate, rest) = Certificate::first_of(&der);
                certificates.push(certificate.map_err(|why| format!("{name}: {why:#}")));
                // trust settings follow the certificate in OpenSSL's own form
                let trailing = !rest.is_empty() && certificates.last().is_some_and(Result::is_ok);
                if trailing && block.label != "TRUSTED CERTIFICATE" {
                    certificates.push(Err(format!("{name} holds more than a certificate")));
                }
            }
        }
    }
    certificates
}

/// Labels of blocks that are not certificates. Everything else may be one, whatever it is called.
fn is_other(label: &str) -> bool {
    ["PRIVATE KEY", "PUBLIC KEY", "PARAMETERS", "REQUEST", "CRL"]
        .iter()
        .any(|end| label.ends_with(end))
}

/// Whether it is one, and fit for a message: nothing of a body that was pasted into it.
fn is_label(label: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|c| c.is_ascii_uppercase() || matches!(c, b' ' | b'0'..=b'9'))
        && !label.split(' ').any(|word| word.len() >= BODY)
}
