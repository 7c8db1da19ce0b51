//! What a message must not hold: a piece of a key or certificate, as text, in hex or as numbers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Characters of base64: short enough to find a row of a dump, too long for chance.
const PIECE: usize = 24;

/// The first piece of the PEM text `secret` that shows in `output`.
///
/// Other than the harness's search this one takes damaged texts, and is quick enough for many.
pub(super) fn find(output: &str, secret: &str) -> Option<String> {
    // numbers and hex digits in rows, whatever stands between them
    let squeezed: String = output
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, ':' | '['))
        .collect();
    secret
        .split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)))
        .flat_map(|run| run.as_bytes().chunks_exact(PIECE))
        .find(|piece| {
            let decoded = BASE64_STANDARD.decode(piece).unwrap_or_default();
            let text = String::from_utf8_lossy(piece);
            output.contains(&*text)
                || [*piece, &decoded].into_iter().any(|bytes| {
                    !bytes.is_empty()
                        && (squeezed.contains(&hex(bytes)) || squeezed.contains(&decimal(bytes)))
                })
        })
        .map(|piece| String::from_utf8_lossy(piece).into_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn decimal(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    numbers.join(",")
}

#[test]
fn a_piece_is_found_in_each_shape() {
    let line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2";
    let secret = format!("-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n");
    let der = BASE64_STANDARD.decode(line).unwrap();
    for leak in [
        line.to_owned(),
        format!("{secret:?}"),
        format!("{:?}", line.as_bytes()),
        format!("{der:?}"),
        hex(&der),
    ] {
        assert!(
            find(&format!("error: {leak}."), &secret).is_some(),
            "{leak}"
        );
    }
    assert_eq!(find("-----BEGIN PRIVATE KEY-----", &secret), None);
}
