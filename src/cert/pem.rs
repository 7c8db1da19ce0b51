//! PEM texts (RFC 7468) -> certificates and private keys, and back.
//!
//! Belongs here: which blocks there are, and that none was lost on the way. Does not: what they are
//! good for. The decoder is the TLS library's; since it passes over what it does not know, and puts
//! a block without END into the next one, blocks are counted here.

use anyhow::{anyhow, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// More certificates than any real chain has: what is beyond is a mistake, or an attack.
const MOST_BLOCKS: usize = 64;
/// Characters of base64 in a line (RFC 7468 section 2).
const LINE: usize = 64;

/// The blocks of one text, in their order.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Blocks `CERTIFICATE`.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Blocks `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1), `EC PRIVATE KEY` (SEC1).
    pub keys: Vec<PrivateKeyDer<'static>>,
    /// Whether there is an encrypted private key, which nobody can use without its password.
    pub encrypted_key: bool,
}

/// Reads all blocks. Line ends may be CRLF, the last one may be missing, text between blocks does
/// not matter, blocks with other labels (as `EC PARAMETERS`) are dropped, and two blocks may share
/// a line where one ends and the next begins.
///
/// # Errors
/// If a block is damaged, with its position among those of its label; the text never holds any of it.
pub fn read(text: &str) -> anyhow::Result<Blocks> {
    // IBM's own samples join certificates without a line end between them
    let text = Zeroizing::new(text.replace("----------BEGIN ", "-----\n-----BEGIN "));
    let (text, headers) = without_headers(&text);
    let labels: Vec<&str> = text.split(['\n', '\r']).filter_map(begin_label).collect();
    ensure!(
        labels.len() <= MOST_BLOCKS,
        "there are {} PEM blocks, at most {MOST_BLOCKS} are read",
        labels.len()
    );
    // the decoder passes over what does not begin at the start of a line
    let counted = |mark| text.matches(mark).count();
    if counted("-----BEGIN ") != labels.len() || counted("-----END ") != labels.len() {
        bail!(
            "a BEGIN or END line of a PEM block is missing, or does not stand alone at the start of a line{}",
            if text.contains("\\n") {
                "; the text holds \\n as two characters where line ends should be"
            } else {
                ""
            }
        );
    }
    let mut blocks = Blocks {
        encrypted_key: headers || labels.contains(&"ENCRYPTED PRIVATE KEY"),
        ..Blocks::default()
    };
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        // the decoder's errors can hold the whole block: told by position instead
        let Ok((kind, der)) = section else {
            bail!(
                "the PEM block after the first {} is damaged (no END line of its label, or no base64)",
                found.len()
            );
        };
        let Some(label) = label(kind) else { continue };
        found.push(label);
        match kind {
            SectionKind::Certificate => blocks.certificates.push(CertificateDer::from(der)),
            _ => blocks.keys.extend(PrivateKeyDer::from_pem(kind, der)),
        }
    }
    let expected: Vec<&str> = labels
        .into_iter()
        .filter(|label| KNOWN.iter().any(|(_, known)| known == label))
        .collect();
    if let Some(position) = (0..expected.len()).find(|at| expected.get(*at) != found.get(*at)) {
        bail!(
            "the PEM block {} of {} has no END line of its own",
            position + 1,
            expected.len()
        );
    }
    Ok(blocks)
}

/// The text without encrypted blocks of OpenSSL's older form, and whether there were any: they have
/// headers (RFC 1421 section 4.6.1.1), which the decoder takes for damage.
fn without_headers(text: &str) -> (Zeroizing<String>, bool) {
    let mut kept = Zeroizing::new(String::with_capacity(text.len()));
    let mut inside = false;
    let mut found = false;
    let mut lines = text.split_inclusive(['\n', '\r']);
    while let Some(line) = lines.next() {
        if begin_label(line).is_some() {
            let mut ahead = lines.clone();
            inside = ahead
                .find(|line| !line.trim().is_empty())
                .is_some_and(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"));
            found |= inside;
        }
        if !inside {
            kept.push_str(line);
        }
        inside &= !line.starts_with("-----END ");
    }
    (kept, found)
}

/// Writes one block, with one line end at its end.
#[must_use]
pub fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(
        body.len() + body.len() / LINE + 2 * label.len() + 40,
    ));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // base64 is ASCII: every position is a boundary
        let (line, more) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// The label of a private key's block.
///
/// # Errors
/// If the TLS library knows a kind of key that we do not.
pub fn key_label(key: &PrivateKeyDer<'_>) -> anyhow::Result<&'static str> {
    match key {
        PrivateKeyDer::Pkcs8(_) => Ok("PRIVATE KEY"),
        PrivateKeyDer::Pkcs1(_) => Ok("RSA PRIVATE KEY"),
        PrivateKeyDer::Sec1(_) => Ok("EC PRIVATE KEY"),
        _ => Err(anyhow!("the private key is of an unknown format")),
    }
}

const KNOWN: [(SectionKind, &str); 4] = [
    (SectionKind::Certificate, "CERTIFICATE"),
    (SectionKind::PrivateKey, "PRIVATE KEY"),
    (SectionKind::RsaPrivateKey, "RSA PRIVATE KEY"),
    (SectionKind::EcPrivateKey, "EC PRIVATE KEY"),
];

fn label(kind: SectionKind) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|(known, _)| *known == kind)
        .map(|(_, label)| *label)
}

fn begin_label(line: &str) -> Option<&str> {
    line.trim_end()
        .strip_prefix("-----BEGIN ")?
        .strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str, bytes: &[u8]) -> String {
        write(label, bytes).to_string()
    }

    #[test]
    fn text_between_blocks_other_labels_and_line_ends_do_not_matter() {
        let text = format!(
            "Bag Attributes\n  friendlyName: x\n{}subject=CN = y\n{}{}",
            block("CERTIFICATE", &[1; 100]),
            block("EC PARAMETERS", &[6, 1, 0]),
            block("EC PRIVATE KEY", &[2; 50]),
        );
        for text in [
            text.clone(),
            text.replace('\n', "\r\n"),
            text.trim_end().to_owned(),
        ] {
            let blocks = read(&text).unwrap();
            assert_eq!(blocks.certificates, [CertificateDer::from(vec![1; 100])]);
            assert_eq!(blocks.keys.len(), 1);
            assert!(!blocks.encrypted_key);
        }
    }

    #[test]
    fn two_blocks_may_share_a_line() {
        let text = format!(
            "{}{}",
            block("CERTIFICATE", &[1]).trim_end(),
            block("CERTIFICATE", &[2])
        );
        assert_eq!(read(&text).unwrap().certificates.len(), 2);
    }

    #[test]
    fn a_damaged_block_is_an_error_that_shows_none_of_it() {
        let whole = block("PRIVATE KEY", &[7; 90]);
        let body = "BwcHBwcH";
        for damaged in [
            whole.replace("-----END PRIVATE KEY-----\n", ""),
            whole.replace("BwcH", "B*cH"),
            format!(
                "{}{whole}",
                whole.replace("-----END PRIVATE KEY-----\n", "")
            ),
            format!(
                "{}{whole}",
                block("CERTIFICATE", &[1]).replace("-----END CERTIFICATE-----\n", "")
            ),
            whole.replace('\n', "\\n"),
            format!(" {}", whole.replace('\n', "\n ")),
        ] {
            let error = format!("{:#}", read(&damaged).unwrap_err());
            assert!(!error.contains(body), "{error}");
        }
    }

    #[test]
    fn an_encrypted_key_is_seen_as_such() {
        let pkcs8 = block("ENCRYPTED PRIVATE KEY", &[1; 10]);
        let pkcs1 = block("RSA PRIVATE KEY", &[1; 10]).replace(
            "KEY-----\nAQ",
            "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAQ",
        );
        for text in [pkcs8, pkcs1] {
            assert!(read(&text).unwrap().encrypted_key);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 47, 48, 49, 96, 1000] {
            let der = vec![9; length];
            let text = write("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= LINE));
            assert_eq!(
                read(&text).unwrap().certificates,
                [CertificateDer::from(der)]
            );
        }
    }
}
