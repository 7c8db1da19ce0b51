//! The search for secrets in output: pieces of 12 characters of each secret, as text, in base64,
//! hex and decimal bytes, URL- and JSON-escaped. A key's body counts as well as its bytes.

use std::collections::HashSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A leak of twice this length is found wherever it begins.
const PIECE: usize = 12;

/// Names the first secret that shows in the output, by its position and the encoding.
pub(crate) fn find(output: &str, secrets: &[String]) -> Option<String> {
    let squeezed: String = output.replace("\\n", "").split_whitespace().collect();
    // decimal bytes are mostly separators: a longer piece, so that no list of numbers is one
    let shown = [PIECE, 3 * PIECE].map(|length| {
        let texts = [output, &squeezed].into_iter();
        let pieces = texts.flat_map(|text| text.as_bytes().windows(length));
        pieces.collect::<HashSet<&[u8]>>()
    });
    for (position, secret) in secrets.iter().enumerate() {
        for (encoding, shape) in shapes(secret) {
            let decimal = usize::from(encoding == "decimal");
            let length = [PIECE, 3 * PIECE][decimal];
            let mut pieces = shape.as_bytes().chunks_exact(length);
            if pieces.any(|piece| shown[decimal].contains(piece)) {
                return Some(format!("number {position} in {encoding}"));
            }
        }
    }
    None
}

fn shapes(secret: &str) -> Vec<(&'static str, String)> {
    // the lines BEGIN and END of a key are no secret
    let body: String = secret
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let bytes = body.as_bytes();
    let mut shapes = vec![
        ("text", body.clone()),
        ("hex", hex(bytes)),
        ("decimal", decimal(bytes)),
        ("url", url(&body)),
        ("json", serde_json::to_string(&body).unwrap()),
    ];
    // base64 of a longer text that holds the secret: three ways to fall on its groups of three
    for skip in 0..3 {
        shapes.push(("base64", base64(&bytes[skip.min(bytes.len())..])));
    }
    if secret.starts_with("-----") {
        let der = unbase64(&body);
        shapes.push(("hex of the key", hex(&der)));
        shapes.push(("decimal", decimal(&der)));
    }
    shapes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn decimal(bytes: &[u8]) -> String {
    let text = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, ",{byte}").unwrap();
        text
    });
    text.trim_start_matches(',').to_owned()
}

fn url(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD_NO_PAD.encode(bytes)
}

/// Nothing, if the text is damaged: then it stands for no bytes.
fn unbase64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap_or_default()
}

#[test]
fn a_planted_leak_is_found_in_every_encoding() {
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzbS10bHMtc3luYyJ9.c2lnbmF0dXJlLXRoYXQtaXMtbm9uZQ";
    let key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n-----END PRIVATE KEY-----\n";
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let secrets = [token.to_owned(), key.to_owned()];
    for leak in [
        token.to_owned(),
        format!("Bearer {}", &token[10..60]),
        hex(token.as_bytes()),
        decimal(token.as_bytes()).replace(',', ", "),
        base64(format!("x{token}").as_bytes()),
        url(&format!("{token}+/=")),
        format!("{key:?}"),
        body.clone(),
        hex(&unbase64(&body)),
        format!("{:?}", unbase64(&body)),
        // a dump in rows
        hex(&unbase64(&body))
            .as_bytes()
            .chunks(32)
            .map(|row| format!("{}\n", str::from_utf8(row).unwrap()))
            .collect(),
    ] {
        assert!(
            find(&format!("line\n[debug] {leak} end"), &secrets).is_some(),
            "{leak}"
        );
    }
    assert_eq!(
        find(
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
            &secrets
        ),
        None
    );
    assert_eq!(
        find("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]", &secrets),
        None
    );
}
