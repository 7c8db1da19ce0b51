//! The search for secrets in output: pieces of each secret in every encoding of [`encodings`]. A key's
//! body counts as well as its bytes.

use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// A leak of twice this length is found wherever it begins.
const PIECE: usize = 12;

/// Names the first secret that shows in the output, by its position and the encoding.
pub(crate) fn find(output: &str, secrets: &[String]) -> Option<String> {
    let squeezed: String = output.replace("\\n", "").split_whitespace().collect();
    // lists of numbers are mostly separators: a longer piece, so that not every list is one
    let shown = [PIECE, 3 * PIECE].map(|length| {
        let texts = [output, &squeezed].into_iter();
        let pieces = texts.flat_map(|text| text.as_bytes().windows(length));
        pieces.collect::<HashSet<&[u8]>>()
    });
    for (position, secret) in secrets.iter().enumerate() {
        for bytes in forms(secret) {
            // within a longer text that is encoded, it may begin anywhere in a group of three
            let shifted = (1..3).filter_map(|skip| bytes.get(skip..));
            let texts = encodings(&bytes).into_iter();
            for (encoding, text) in texts.chain(shifted.flat_map(base64)) {
                let numbers = usize::from(encoding.contains("numbers"));
                let length = [PIECE, 3 * PIECE][numbers];
                let mut pieces = text.as_bytes().chunks_exact(length);
                if pieces.any(|piece| shown[numbers].contains(piece)) {
                    return Some(format!("number {position} in {encoding}"));
                }
            }
        }
    }
    None
}

/// The text; of a key its body (the lines BEGIN and END are no secret) and what that stands for.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let lines = secret.lines().filter(|line| !line.starts_with("-----"));
    let body: String = lines.collect();
    let mut forms = Vec::new();
    if secret.starts_with("-----") {
        // a damaged one stands for no bytes
        forms.extend(BASE64_STANDARD.decode(&body));
    }
    forms.push(body.into_bytes());
    forms
}

/// How a service may quote bytes.
pub(crate) fn encodings(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let each = |form: fn(&u8) -> String, between: &str| {
        bytes.iter().map(form).collect::<Vec<_>>().join(between)
    };
    let plain = |b: &u8| b.is_ascii_alphanumeric();
    let mut encodings = base64(bytes);
    encodings.extend([
        ("hex", each(|b| format!("{b:02x}"), "")),
        ("HEX", each(|b| format!("{b:02X}"), "")),
        ("hex numbers", each(|b| format!("0x{b:02x}"), ",")),
        ("hex with colons, as numbers", each(|b| format!("{b:02X}"), ":")),
        ("numbers", each(u8::to_string, ",")),
        ("numbers with spaces", each(u8::to_string, " ")),
        ("percent, numbers", each(|b| format!("%{b:02X}"), "")),
    ]);
    if let Ok(text) = str::from_utf8(bytes) {
        encodings.push(("text", text.to_owned()));
        encodings.push(("json", serde_json::to_string(text).unwrap()));
        let url = bytes
            .iter()
            .map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") });
        encodings.push(("url", url.collect()));
    }
    encodings
}

fn base64(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let once = BASE64_STANDARD_NO_PAD.encode(bytes);
    let twice = |skip| BASE64_STANDARD_NO_PAD.encode(once.get(skip..).unwrap_or_default());
    vec![
        ("base64 for URLs", BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        ("base64 of base64", twice(0)),
        ("base64 of base64", twice(1)),
        ("base64 of base64", twice(2)),
        ("base64", once),
    ]
}

#[test]
fn a_planted_leak_is_found_in_every_encoding() {
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzbS10bHMtc3luYyJ9.c2lnbmF0dXJlLXRoYXQtaXMtbm9uZQ";
    let key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n-----END PRIVATE KEY-----\n";
    let secrets = [token.to_owned(), key.to_owned()];
    let found = |leak: &str| find(&format!("line\n[debug] {leak} end"), &secrets);
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        for (encoding, text) in encodings(&form) {
            let length = if encoding.contains("numbers") { 71 } else { 23 };
            // short, and beginning anywhere
            for begin in [5, 6, 7, 8] {
                let leak = &text[begin..begin + length];
                assert!(found(leak).is_some(), "{encoding}: {leak}");
            }
        }
    }
    let der = forms(key).remove(0);
    let rows = encodings(&der).into_iter().find(|(name, _)| *name == "hex").unwrap().1;
    let rows: Vec<&str> =
        rows.as_bytes().chunks(32).map(|row| str::from_utf8(row).unwrap()).collect();
    for leak in [
        format!("Bearer {}", &token[10..60]),
        BASE64_STANDARD.encode(format!("x{token}")),
        BASE64_STANDARD.encode(BASE64_STANDARD.encode(format!("Bearer {token}"))),
        BASE64_STANDARD.encode(BASE64_STANDARD.encode(key)),
        format!("{key:?}"),
        format!("{der:?}"),
        rows.join("\n"),
    ] {
        assert!(found(&leak).is_some(), "{leak}");
    }
    for harmless in [
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]",
    ] {
        assert_eq!(found(harmless), None);
    }
}
