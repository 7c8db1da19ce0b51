use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;

#[test]
fn text_from_outside_cannot_forge_a_line() {
    assert_eq!(sanitized("a\nb\u{1b}[31m\u{202e}"), "a\\u{a}b\\u{1b}[31m\\u{202e}");
    assert_eq!(sanitized(""), "\"\"");
    assert_eq!(sanitized(&"x".repeat(200)), "x".repeat(200));
    assert_eq!(sanitized(&"x".repeat(201)), "x".repeat(200) + "...");
}

/// As the services say it, and what is shown of it; the same, if that is not given.
#[test]
fn the_messages_of_the_services_stay_useful() {
    let unchanged = [
        // IAM
        "BXNIM0398E",
        "Selected trusted profile not eligible.",
        "Provided API key could not be found.",
        "Provided token is invalid.",
        "Token expired.",
        "Property missing or empty: profile_id",
        "Validation of property 'response_type' with value '[uaa, cloud_iam]' failed. Valid values: 'cloud_iam'",
        "Invalid grant_type",
        "Request body is not a form",
        "Method not allowed",
        "Too Many Requests",
        // Secrets Manager
        "secrets-manager.05047E",
        "Error02009",
        "not_found",
        "Secret was not found",
        "Version of the secret was not found",
        "The identity has no policy on this instance",
        "The secret id is not a UUID",
        "limit must be 1 to 1000",
        "The secret 2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852 is locked until 2026-08-01T10:00:00Z.",
        // Code Engine
        "resource_not_found",
        "Resource not found.",
        "The If-Match header is missing.",
        "You are not authorized to perform this action.",
        "data of a tls secret needs tls_cert and tls_key.",
        "The token is missing, invalid or expired.",
        "iam-Profile-9fd84246-7df4-4667-94e4-8ecde51d5ac5 has no role (codeengine.tenant.entities.update)",
        // gateways
        "Bad Gateway",
        "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        "no healthy upstream",
        "503 Service Unavailable",
    ];
    assert!(unchanged.len() >= 24);
    for message in unchanged {
        assert_eq!(allowed(message), message);
    }
    for (message, shown) in [
        ("The name \"shop-tls-2\" is not valid.", "The name … is not valid."),
        ("The job has 123456 bytes, 65536 are allowed.", "The job has … bytes, 65536 are allowed."),
        ("a\n b\t c", "a b c"),
        ("a x1Y2 z1Y2 b", "a … b"),
        // a code has the letters and digits of one
        ("x1Y2z.05047E", "…"),
        ("123E", "…"),
        ("xy12", "…"),
        // nor is everything behind a word the id of what it names
        ("id-33333333+4444+5555+6666+777777777777", "…"),
        ("1 2 3 4 5 6 7 8 end", "1 2 3 4 5 6 … end"),
        ("x1Y a x1Y b x1Y c x1Y d x1Y e x1Y f x1Y g h", "… a … b … c … d … e … f …"),
        ("", ""),
    ] {
        assert_eq!(allowed(message), shown);
    }
    let long = allowed(&"word ".repeat(60));
    assert!(long.chars().count() <= LONGEST + 2 && long.ends_with("word …"), "{long}");
}

#[test]
fn a_trace_id_has_one_of_the_known_forms() {
    let digits = "0123456789abcdef0123456789abcdef";
    let uuid = "33333333-4444-5555-6666-777777777777";
    for id in [format!("codeengine-api-{digits}"), format!("aW1hZ2lu-{digits}"), uuid.to_owned()] {
        assert_eq!(trace_id(&id), Some(id.as_str()));
    }
    for other in [
        "",
        "-",
        digits,
        &format!("-{digits}"),
        &format!("x-{digits}0"),
        &format!("0123456789abc-{digits}"),
        &format!("{uuid}0"),
        &uuid.replace('3', "g"),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYXNraW5nIn0.c2ln",
    ] {
        assert_eq!(trace_id(other), None, "{other}");
    }
}

const TOKEN: &str =
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYXNraW5nIn0.c2lnbmF0dXJl_dGhhdC1pcw-bm9uZQ.IJ3Kx90zAq";

/// A private key of random bytes; another one for each seed.
fn key(seed: u8) -> (Vec<u8>, String) {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b1) | 1;
    let der: Vec<u8> = std::iter::repeat_with(|| {
        // Marsaglia's xorshift
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[1]
    })
    .take(138)
    .collect();
    let body = BASE64_STANDARD.encode(&der);
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n{}\n{}\n-----END PRIVATE KEY-----\n",
        &body[..64],
        &body[64..128],
        &body[128..]
    );
    (der, pem)
}

fn each(bytes: &[u8], form: impl Fn(u8) -> String, between: &str) -> String {
    let texts: Vec<String> = bytes.iter().map(|byte| form(*byte)).collect();
    texts.join(between)
}

/// How a service may quote a secret.
fn encodings(secret: &[u8]) -> Vec<String> {
    let base64 = BASE64_STANDARD.encode(secret);
    vec![
        String::from_utf8_lossy(secret).into_owned(),
        base64.clone(),
        BASE64_URL_SAFE_NO_PAD.encode(secret),
        BASE64_STANDARD.encode(&base64),
        BASE64_STANDARD.encode(format!("x{base64}")),
        each(secret, |b| format!("{b:02x}"), ""),
        each(secret, |b| format!("{b:02X}"), ":"),
        each(secret, |b| format!("{b:02x}"), " "),
        each(secret, |b| format!("0x{b:02x}"), ", "),
        each(secret, |b| b.to_string(), ","),
        each(secret, |b| b.to_string(), ", "),
        each(secret, |b| b.to_string(), " "),
        each(secret, |b| format!("%{b:02X}"), ""),
        utf8_percent_encode(&String::from_utf8_lossy(secret), NON_ALPHANUMERIC).to_string(),
        format!("{:?}", String::from_utf8_lossy(secret)),
    ]
}

/// Whatever surrounds it, and in whatever pieces it is shown: no piece of 8 characters is the secret's.
#[test]
fn no_encoding_of_a_secret_is_shown() {
    let mut secrets = vec![TOKEN.as_bytes().to_vec()];
    for seed in 0..20 {
        let (der, pem) = key(seed);
        secrets.extend([der, pem.into_bytes()]);
    }
    for secret in &secrets {
        for encoded in encodings(secret) {
            for (before, after) in [
                ("", ""),
                ("invalid key: '", "' in the request"),
                ("unexpected value {\"tls_key\":\"", "\"}"),
                ("Bearer ", "."),
                ("key=", "&x=y"),
            ] {
                let shown = allowed(&format!("{before}{encoded}{after}"));
                let rest: String = shown.replace(before.trim(), "").replace(after.trim(), "");
                let mut pieces = rest.split('…').map(str::trim);
                let fine = |piece: &str| {
                    piece.len() < 8
                        || piece.contains("PRIVATE")
                        // six numbers
                        || piece.split(' ').all(|number| is_code(number.trim_end_matches(',')))
                        || before.contains(piece)
                        || after.contains(piece)
                };
                assert!(pieces.all(fine), "{encoded}: {shown}");
                assert!(trace_id(&encoded).is_none());
            }
        }
    }
}
