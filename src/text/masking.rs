//! Finds pieces of the run's secrets in a text from outside, however the text encodes them.
//!
//! The text is decoded in every way that is known here, and each result is compared with the secrets
//! in use: that is less work than encoding all secrets, and works at any alignment.

use std::ops::Range;

use crate::secret::each_trace;

/// Characters of a text that are too many to be shown of a secret.
const WINDOW: usize = 12;
/// Bytes that are compared first.
const GRAM: usize = 4;

/// A reading of the text: bytes, and which characters of the text each of them comes from.
struct Reading {
    bytes: Vec<u8>,
    from: Vec<Range<usize>>,
    /// Bytes that [`WINDOW`] characters of the text stand for.
    least: usize,
}

/// The ranges of `text` (in characters) that must not be shown, in order, without overlap.
pub(super) fn hidden(text: &[char]) -> Vec<Range<usize>> {
    if text.len() < WINDOW {
        return Vec::new();
    }
    let plain = plain(text);
    let mut found = pem_blocks(&plain);
    let mut readings = encoded(&plain);
    readings.push(plain);
    readings.retain(|reading| reading.bytes.len() >= reading.least);
    if !readings.is_empty() {
        let grams = Grams::of(&readings);
        each_trace(|secret| grams.find(&readings, secret, &mut found));
    }
    merged(found, text)
}

/// Ranges that overlap, or have only white space or escapes between them, become one.
fn merged(mut found: Vec<Range<usize>>, text: &[char]) -> Vec<Range<usize>> {
    found.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in found {
        if let Some(last) = merged.last_mut() {
            let between = text.get(last.end..range.start).unwrap_or_default();
            let gap = |c: &char| c.is_whitespace() || matches!(c, '\\' | 'n' | 'r' | 't');
            // nothing is between ranges that overlap
            if between.iter().all(gap) {
                last.end = last.end.max(range.end);
                continue;
            }
        }
        merged.push(range);
    }
    merged
}

/// The text itself, without white space, JSON escapes and percent encoding.
fn plain(text: &[char]) -> Reading {
    let mut reading = Reading {
        bytes: Vec::with_capacity(text.len()),
        from: Vec::with_capacity(text.len()),
        least: WINDOW,
    };
    let hex = |range: Range<usize>| {
        let digits = text.get(range)?;
        let value = |sum: u32, digit: &char| Some(sum * 16 + digit.to_digit(16)?);
        digits.iter().try_fold(0, value)
    };
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        let escaped = at > 0 && text.get(at - 1) == Some(&'\\');
        let (meant, length) = match c {
            '\\' => (None, 1),
            // a line break, escaped once or more
            'n' | 'r' | 't' if escaped => (None, 1),
            'u' if escaped => match hex(at + 1..at + 5) {
                Some(code) => (char::from_u32(code), 5),
                None => (Some(c), 1),
            },
            '%' => match hex(at + 1..at + 3) {
                Some(code) => (char::from_u32(code), 3),
                None => (Some(c), 1),
            },
            c => (Some(c), 1),
        };
        if let Some(meant) = meant.filter(|meant| !meant.is_whitespace()) {
            for byte in meant.encode_utf8(&mut [0; 4]).bytes() {
                reading.bytes.push(byte);
                reading.from.push(at..at + length);
            }
        }
        at += length;
    }
    reading
}

/// PEM blocks, whatever they hold: a service has no reason to quote one.
fn pem_blocks(plain: &Reading) -> Vec<Range<usize>> {
    let position = |from: usize, what: &[u8]| {
        let rest = plain.bytes.get(from..)?;
        Some(from + rest.windows(what.len()).position(|piece| piece == what)?)
    };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(begin) = position(from, b"-----BEGIN") {
        let end = position(begin, b"-----END")
            .and_then(|end| position(end + 8, b"-----"))
            .map_or(plain.bytes.len(), |end| end + 5);
        found.extend(plain.chars(begin..end));
        from = end;
    }
    found
}

impl Reading {
    /// The characters that these bytes come from.
    fn chars(&self, bytes: Range<usize>) -> Option<Range<usize>> {
        let first = self.from.get(bytes.start)?;
        let last = self.from.get(bytes.end.checked_sub(1)?)?;
        Some(first.start..last.end)
    }
}

/// What runs of characters stand for, if they are base64, hexadecimal or decimal numbers.
fn encoded(plain: &Reading) -> Vec<Reading> {
    let mut readings = Vec::new();
    for run in runs(&plain.bytes, |b| sextet(b).is_some()) {
        readings.extend((0..4).map(|skip| groups::<4>(plain, run.start + skip..run.end)));
    }
    for run in runs(&plain.bytes, |b| b.is_ascii_hexdigit()) {
        readings.extend((0..2).map(|skip| groups::<2>(plain, run.start + skip..run.end)));
    }
    for run in runs(&plain.bytes, |b| b.is_ascii_digit() || b == b',') {
        readings.push(decimals(plain, run));
    }
    readings
}

fn runs(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut begin = 0;
    for (position, &byte) in bytes.iter().chain([&0]).enumerate() {
        if !belongs(byte) {
            if position - begin >= WINDOW {
                runs.push(begin..position);
            }
            begin = position + 1;
        }
    }
    runs
}

/// The six bits of a character of base64, in either alphabet (RFC 4648 sections 4 and 5).
const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Reads base64 (`N` is 4: four characters for three bytes) or hexadecimal (2: two for one).
fn groups<const N: usize>(plain: &Reading, run: Range<usize>) -> Reading {
    let bits = if N == 4 { 6 } else { 4 };
    let mut reading = Reading {
        bytes: Vec::new(),
        from: Vec::new(),
        least: WINDOW * bits / 8,
    };
    let (mut held, mut count) = (0_u32, 0);
    for position in run.clone() {
        let byte = plain.bytes.get(position).copied().unwrap_or_default();
        let value = if N == 4 {
            sextet(byte).map(u32::from)
        } else {
            char::from(byte).to_digit(16)
        };
        held = (held << bits) | value.unwrap_or_default();
        count += bits;
        if count >= 8 {
            count -= 8;
            let [.., low] = (held >> count).to_be_bytes();
            reading.bytes.push(low);
            let chars = plain.chars(position.saturating_sub(1).max(run.start)..position + 1);
            reading.from.push(chars.unwrap_or_default());
        }
    }
    reading
}

/// Reads bytes as programs print them in a list: `48, 129, 135`.
fn decimals(plain: &Reading, run: Range<usize>) -> Reading {
    let mut reading = Reading {
        bytes: Vec::new(),
        from: Vec::new(),
        // as many as in hexadecimal: fewer numbers can be anything
        least: WINDOW / 2,
    };
    let mut begin = run.start;
    let text = plain.bytes.get(run).unwrap_or_default();
    for number in text.split(|b| *b == b',') {
        let end = begin + number.len();
        let value = str::from_utf8(number).ok().and_then(|n| n.parse().ok());
        if let (Some(value), Some(chars)) = (value, plain.chars(begin..end)) {
            reading.bytes.push(value);
            reading.from.push(chars);
        }
        begin = end + 1;
    }
    reading
}

/// All places in the readings where [`GRAM`] bytes stand, sorted by these bytes; and a set of bits
/// that answers for most bytes of a secret that they stand nowhere.
struct Grams {
    places: Vec<([u8; GRAM], usize, usize)>,
    seen: [u64; 64],
    /// Bytes from one comparison to the next: no piece of a secret is long enough to fall between.
    step: usize,
}

impl Grams {
    fn of(readings: &[Reading]) -> Self {
        let mut places = Vec::new();
        let mut seen = [0; 64];
        for (number, reading) in readings.iter().enumerate() {
            for (position, gram) in reading.bytes.array_windows::<GRAM>().enumerate() {
                places.push((*gram, number, position));
                let (word, bit) = slot(*gram);
                if let Some(word) = seen.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        places.sort_unstable();
        let least = readings.iter().map(|reading| reading.least).min();
        Self {
            places,
            seen,
            step: (least.unwrap_or(WINDOW) + 1).saturating_sub(GRAM).max(1),
        }
    }

    /// Adds the characters of all pieces of `secret`.
    fn find(&self, readings: &[Reading], secret: &[u8], found: &mut Vec<Range<usize>>) {
        let grams = secret.array_windows::<GRAM>().enumerate();
        for (at, gram) in grams.step_by(self.step) {
            let (word, bit) = slot(*gram);
            if self.seen.get(word).is_none_or(|word| word & bit == 0) {
                continue;
            }
            let first = self.places.partition_point(|(other, ..)| other < gram);
            let places = self.places.get(first..).unwrap_or_default();
            for (_, number, position) in places.iter().take_while(|(other, ..)| other == gram) {
                let Some(reading) = readings.get(*number) else {
                    continue;
                };
                let common = common(&reading.bytes, *position, secret, at);
                if common.len() >= reading.least {
                    found.extend(reading.chars(common));
                }
            }
        }
    }
}

/// The range of `bytes` around `position` that is equal in `secret` around `at`.
fn common(bytes: &[u8], position: usize, secret: &[u8], at: usize) -> Range<usize> {
    let equal = |a: &mut dyn Iterator<Item = &u8>, b: &mut dyn Iterator<Item = &u8>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let (left, right) = bytes.split_at_checked(position).unwrap_or((bytes, &[]));
    let (secret_left, secret_right) = secret.split_at_checked(at).unwrap_or((secret, &[]));
    let before = equal(&mut left.iter().rev(), &mut secret_left.iter().rev());
    let after = equal(&mut right.iter(), &mut secret_right.iter());
    position - before..position + after
}

/// Where a gram has its bit.
fn slot(gram: [u8; GRAM]) -> (usize, u64) {
    // Fibonacci hashing: the high bits of the product depend on all bytes
    let hash = u32::from_le_bytes(gram).wrapping_mul(0x9e37_79b1) >> 20;
    let word = usize::try_from(hash >> 6).unwrap_or(0);
    (word, 1 << (hash & 63))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use crate::secret::Secret;
    use crate::text::sanitized;

    const TOKEN: &str =
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYXNraW5nIn0.c2lnbmF0dXJl_dGhhdC1pcw-bm9uZQ";

    /// Another one for each test: the list of secrets belongs to the whole process.
    fn key(seed: u8) -> String {
        let der: Vec<u8> = (0..138_u8)
            .map(|n| n.wrapping_mul(91).wrapping_add(seed))
            .collect();
        let body = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> = [&body[..64], &body[64..128], &body[128..]].into();
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        )
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn a_secret_is_masked_in_every_encoding() {
        let pem = key(7);
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64_STANDARD.decode(&body).unwrap();
        let (_token, _key) = (Secret::from(TOKEN.to_owned()), Secret::from(pem.clone()));
        for shown in [
            TOKEN.to_owned(),
            TOKEN[20..32].to_owned(),
            format!("Bearer {}", &TOKEN[30..]),
            BASE64_STANDARD.encode(TOKEN),
            BASE64_STANDARD.encode(format!("x{TOKEN}")),
            BASE64_URL_SAFE_NO_PAD.encode(format!("Bearer {TOKEN}")),
            hex(TOKEN.as_bytes()),
            hex(TOKEN.as_bytes()).to_uppercase(),
            utf8_percent_encode(&body, NON_ALPHANUMERIC).to_string(),
            body[60..90].to_owned(),
            format!("{}\n{}", &body[57..63], &body[63..69]),
            format!("{}\\n{}", &body[57..63], &body[63..69]),
            serde_json::to_string(&serde_json::to_string(&pem).unwrap()).unwrap(),
            body[..40].replace('/', "\\/"),
            BASE64_STANDARD.encode(&der[5..60]),
            hex(&der),
            format!("{:?}", &der[..60]),
            format!("{:?}", &der[..6]),
            BASE64_STANDARD.encode(&pem),
        ] {
            for (before, after) in [("before ", " after"), ("is: ", ""), ("(", ")"), ("", "")] {
                let masked = sanitized(&format!("{before}{shown}{after}"));
                assert!(masked.starts_with(before), "{masked}");
                assert!(masked.contains("[masked]"), "{shown}: {masked}");
                let longest = masked.split("[masked]").map(str::len).max();
                // what stays is the label of the PEM block, which is no secret
                assert!(longest.unwrap() < 50, "{shown}: {masked}");
            }
        }
    }

    /// In either alphabet of base64, and wherever a group of characters begins.
    #[test]
    fn base64_and_hexadecimal_are_read_at_any_position() {
        for token in ["ab>cd>ef>gh>ij>kl>", "mn?op?qr?st?uv?wx?"] {
            let _token = Secret::from(token.to_owned());
            let standard = BASE64_STANDARD.encode(token);
            let url_safe = BASE64_URL_SAFE_NO_PAD.encode(token);
            assert_ne!(standard, url_safe);
            for base64 in [standard, url_safe] {
                for before in ["", "a", "ab", "abc"] {
                    for quote in ["", "(", "((", "((("] {
                        let masked = sanitized(&format!("{quote}{before}{base64}"));
                        assert_eq!(masked, format!("{quote}{before}[masked]"));
                    }
                }
            }
            for before in ["", "0"] {
                for quote in ["", "(", "(("] {
                    let masked = sanitized(&format!("{quote}{before}{}", hex(token.as_bytes())));
                    assert_eq!(masked, format!("{quote}{before}[masked]"));
                }
            }
        }
    }

    #[test]
    fn what_is_next_to_each_other_is_masked_once() {
        let token = "k7Qubeef01Zt8Rb5Ym2-next-to";
        let _token = Secret::from(token.to_owned());
        for (text, shown) in [
            (format!("{token} {token}"), "[masked]"),
            (format!("{token}\\n\\t{token}"), "[masked]"),
            (format!("{token}, {token}"), "[masked], [masked]"),
        ] {
            assert_eq!(sanitized(&text), shown);
        }
    }

    /// What twelve characters stand for is masked, and nothing shorter.
    #[test]
    fn twelve_characters_are_too_many() {
        let token = "s5W-twelve_8Hc2Xd7Kf4";
        let _token = Secret::from(token.to_owned());
        let base64 = |length: usize| BASE64_URL_SAFE_NO_PAD.encode(&token[..length]);
        let hex = |length: usize| hex(&token.as_bytes()[..length]);
        let decimals = |length: usize| format!("{:?}", &token.as_bytes()[..length]);
        for (short, long, masked) in [
            (token[..11].to_owned(), token[..12].to_owned(), "[masked]"),
            // characters of the same kind before them make a run that is long enough to be read
            (
                format!("AAAA{}", base64(8)),
                format!("AAAA{}", base64(9)),
                "AAAA[masked]",
            ),
            (
                format!("00{}", hex(5)),
                format!("00{}", hex(6)),
                "00[masked]",
            ),
            (decimals(5), decimals(6), "[[masked]]"),
            (
                "-----BEGIN".to_owned(),
                "-----BEGIN ?".to_owned(),
                "[masked]",
            ),
        ] {
            assert_eq!(sanitized(&short), short);
            assert_eq!(sanitized(&long), masked);
        }
    }

    #[test]
    fn what_is_no_piece_of_a_secret_stays() {
        let pem = key(99);
        let secret = Secret::from(pem.clone());
        for plain in [
            "the certificate shop-example-com (2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852) is revoked",
            "serial 0a:1b:2c:3d:4e:5f:60:71, valid until 2026-10-28T06:58:10Z",
            "PRIVATE KEY",
            r"C:\new\table",
            &pem[40..51],
        ] {
            assert_eq!(sanitized(plain), plain);
        }
        let line = pem.lines().nth(1).unwrap().to_owned();
        assert_eq!(sanitized(&line), "[masked]");
        drop(secret);
        // a test that masks something at this moment still holds it
        assert!((0..100_000).any(|_| sanitized(&line) == line));
    }

    #[test]
    fn a_pem_block_is_masked_whosever_it_is() {
        let foreign = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----";
        assert_eq!(
            sanitized(&format!("got {foreign} instead")),
            "got [masked] instead"
        );
        assert_eq!(
            sanitized(&format!("got {}", &foreign[..40])),
            "got [masked]"
        );
    }

    /// As JSON and URLs write any character, and what only looks like it.
    #[test]
    fn escapes_of_single_characters_are_read() {
        let token = "x9K-escapes_3f7Qw1Zt8Rb5Ym2";
        let _token = Secret::from(token.to_owned());
        let spelled = |c: char| format!("\\u{:04x}", u32::from(c));
        let percent = |c: char| format!("%{:02X}", u32::from(c));
        let all_escaped: String = token.chars().map(spelled).collect();
        let all_percent: String = token.chars().map(percent).collect();
        let broken = format!("100%, C:\\user {token} 5% \\u12 %4");
        for (text, shown) in [
            (all_escaped, "\\[masked]"),
            (all_percent, "[masked]"),
            (broken, "100%, C:\\user [masked] 5% \\u12 %4"),
            (
                "\\ud800 is half a character%".to_owned(),
                "\\ud800 is half a character%",
            ),
        ] {
            assert_eq!(sanitized(&text), shown);
        }
    }
}
