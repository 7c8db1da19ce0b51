//! PEM texts (RFC 7468): read as leniently as servers read them, written in one form.
//!
//! An own reader of blocks: that of the TLS library passes over what it does not know, puts a block
//! without END into the next one, and its errors can quote a whole key. Here no block that may be
//! needed is passed over in silence.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// Bytes in a line, which are 64 characters of base64 (RFC 7468 section 2).
const LINE: usize = 48;
/// So many characters of base64 in a line are the body of a block, not a word.
const BODY: usize = 16;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const NO_BEGIN: &str = "has no BEGIN line";
const NO_END: &str = "has no END line of its own";
const NO_BASE64: &str = "is not base64";
const ESCAPED: &str = "holds \\n as two characters where line ends should be";
const NOT_ALONE: &str =
    "has a BEGIN line that does not stand alone, at the start of a line, in plain dashes";

/// One block, or what looks like one.
pub(super) struct Block<'a> {
    /// Empty, if it has none that can be read.
    pub(super) label: &'a str,
    /// Whether its headers say that it is encrypted (RFC 1421 section 4.6.1.1).
    pub(super) encrypted: bool,
    /// What it holds, or what is wrong with it: the end of a sentence that begins with the block.
    pub(super) content: Result<Zeroizing<Vec<u8>>, &'static str>,
}

/// All blocks in their order. Line ends may be CRLF or CR, the last one may be missing, white space
/// may follow the dashes, and two blocks may share a line where one ends and the next begins.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    let mut lines = lines(text);
    while let Some(line) = lines.next() {
        match (mark(line), open.as_mut()) {
            (Some((true, label)), _) => {
                let unfinished = open.replace((label, Vec::new()));
                blocks.extend(unfinished.map(|(label, _)| Block::damaged(label, NO_END)));
            }
            (Some((false, end)), _) => blocks.push(match open.take() {
                Some((label, body)) if label == end => Block::of(label, &body),
                Some((label, _)) => Block::damaged(label, NO_END),
                None => Block::damaged(end, NO_BEGIN),
            }),
            (None, Some((_, body))) => body.push(line),
            (None, None) => {
                let next = || lines.clone().find(|line| !line.trim().is_empty());
                blocks.extend(hidden(line, next).map(|why| Block::damaged("", why)));
            }
        }
    }
    blocks.extend(open.map(|(label, _)| Block::damaged(label, NO_END)));
    blocks
}

impl<'a> Block<'a> {
    const fn damaged(label: &'a str, why: &'static str) -> Self {
        Self { label, encrypted: false, content: Err(why) }
    }

    fn of(label: &'a str, body: &[&str]) -> Self {
        // headers end with an empty line (RFC 1421 section 4.4)
        let has_headers = body.first().is_some_and(|line| line.contains(':'));
        let is_header = |line: &&&str| has_headers && !line.is_empty();
        let (headers, body) = body.split_at(body.iter().take_while(is_header).count());
        let size = body.iter().map(|line| line.len()).sum();
        let mut base64 = Zeroizing::new(Vec::with_capacity(size));
        for line in body {
            base64.extend(line.bytes().filter(|c| !c.is_ascii_whitespace()));
        }
        let mut content = Zeroizing::new(Vec::new());
        let decoded = LENIENT.decode_vec(base64.as_slice(), &mut content);
        Self {
            label,
            encrypted: headers.iter().any(|line| line.contains("ENCRYPTED")),
            content: decoded.map(|()| content).map_err(|_| NO_BASE64),
        }
    }
}

/// All lines, without the white space at their ends.
fn lines(text: &str) -> impl Iterator<Item = &str> + Clone {
    // IBM's own samples join certificates without a line end between them
    text.split(['\n', '\r'])
        .flat_map(|line| {
            let joint = line.find("----------BEGIN ").map(|at| at + 5);
            let (first, second) = line.split_at(joint.unwrap_or(line.len()));
            std::iter::once(first).chain(joint.map(|_| second))
        })
        .map(|line| line.trim_end_matches(|c: char| c.is_whitespace() || c.is_control()))
}

/// The label of a BEGIN or END line, and whether it is the former.
fn mark(line: &str) -> Option<(bool, &str)> {
    let mark = line.strip_prefix("-----")?.strip_suffix("-----")?;
    let begin = mark.strip_prefix("BEGIN ");
    let label = begin.or_else(|| mark.strip_prefix("END "))?;
    (!label.contains("--")).then_some((begin.is_some(), label))
}

/// What is wrong with a line that looks as if a block began there. A comment may say BEGIN: no body
/// follows it.
fn hidden<'a>(line: &str, next: impl FnOnce() -> Option<&'a str>) -> Option<&'static str> {
    // what UTF-16 looks like in UTF-8, and what a word processor makes of dashes
    let mut plain = Zeroizing::new(String::with_capacity(line.len()));
    plain.extend(line.chars().filter(|c| *c != '\0').map(|c| match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => '-',
        c => c,
    }));
    let (_, label) = plain.split_once("-BEGIN ")?;
    if !label.contains("CERTIFICATE") && !label.contains("KEY") {
        return None;
    }
    if label.contains("\\n") {
        return Some(ESCAPED);
    }
    let is_begin = line.starts_with("-----BEGIN ") || next().is_some_and(is_body);
    is_begin.then_some(NOT_ALONE)
}

fn is_body(line: &str) -> bool {
    let mut characters = line.trim().chars().filter(|c| *c != '\0');
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    line.len() >= BODY && characters.all(is_base64)
}

/// Labels of blocks that are not certificates. Everything else may be one, whatever it is called.
pub(super) fn is_other(label: &str) -> bool {
    let ends = ["PRIVATE KEY", "PUBLIC KEY", "PARAMETERS", "REQUEST", "CRL"];
    ends.iter().any(|end| label.ends_with(end))
}

/// Writes one block, with one line end at its end.
pub fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    // all of it from the beginning: a text that grows leaves unwiped copies behind
    let size = (der.len() / LINE + 1) * 65 + 2 * label.len() + 40;
    let mut text = Zeroizing::new(String::with_capacity(size));
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for bytes in der.chunks(LINE) {
        let line = Zeroizing::new(BASE64_STANDARD.encode(bytes));
        text.extend([&line, "\n"]);
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::certificate::Certificate;

    fn block(label: &str, bytes: &[u8]) -> String {
        write(label, bytes).to_string()
    }

    /// Label and content of each block.
    fn read(text: &str) -> Vec<(String, Option<Vec<u8>>)> {
        let blocks = blocks(text).into_iter();
        blocks
            .map(|block| (block.label.to_owned(), block.content.ok().map(|c| c.to_vec())))
            .collect()
    }

    #[test]
    fn line_ends_comments_and_white_space_do_not_matter() {
        let text = format!(
            "Bag Attributes\n  friendlyName: x\n# old: -----BEGIN CERTIFICATE-----\n{}subject=CN = y\n{}",
            block("CERTIFICATE", &[1; 100]),
            block("EC PRIVATE KEY", &[2; 50]),
        );
        let expected = [
            ("CERTIFICATE".to_owned(), Some(vec![1; 100])),
            ("EC PRIVATE KEY".to_owned(), Some(vec![2; 50])),
        ];
        for text in [
            text.clone(),
            text.replace('\n', "\r\n"),
            text.replace('\n', "\r"),
            text.replace('\n', "\t\n"),
            text.replace('\n', " \n"),
            text.replace('\n', "\u{1a}\n"),
            text.trim_end().to_owned(),
        ] {
            assert_eq!(read(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn two_blocks_may_share_a_line() {
        let text = format!("{}{}", block("CERTIFICATE", &[1]).trim_end(), block("X", &[2]));
        let expected = [("CERTIFICATE", vec![1]), ("X", vec![2])];
        assert_eq!(read(&text), expected.map(|(l, c)| (l.to_owned(), Some(c))));
    }

    #[test]
    fn a_damaged_block_is_never_passed_over() {
        let whole = block("CERTIFICATE", &[7; 90]);
        let (begin, end) = ("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n");
        let utf_16 = |text: &str| text.chars().flat_map(|c| [c, '\0']).collect::<String>();
        for (damage, text, blocks) in [
            ("no END", whole.replace(end, ""), 1),
            ("no BEGIN", whole.replace(begin, ""), 1),
            ("no base64", whole.replace("BwcH", "B*cH"), 1),
            ("no END before another", format!("{}{whole}", whole.replace(end, "")), 2),
            ("another END", whole.replace(end, "-----END KEY-----\n"), 1),
            ("escaped", whole.replace('\n', "\\n"), 1),
            ("indented", format!(" {}", whole.replace('\n', "\n ")), 1),
            ("BEGIN with a body", whole.replace(begin, begin.trim_end()), 2),
            ("empty", format!("{begin}{end}"), 1),
            ("UTF-16", utf_16(&whole), 1),
            ("UTF-16 with its mark", format!("\u{fffd}\u{fffd}{}", utf_16(&whole)), 1),
            ("UTF-8 with a mark", format!("\u{feff}{whole}"), 2),
            ("en dashes", whole.replace("-----", "–––––"), 1),
            ("em dashes and hyphens", whole.replace("-----", "——-"), 1),
        ] {
            let found = Certificate::all_in(&text);
            assert!(found.iter().any(Result::is_err), "{damage}: {text:?}");
            assert_eq!(found.len(), blocks, "{damage}: {found:?}");
            for error in found.into_iter().filter_map(Result::err) {
                assert!(!error.contains("BwcHBwcH"), "{error}");
            }
        }
    }

    #[test]
    fn the_end_of_another_block_is_no_end() {
        let text = block("CERTIFICATE", &[7; 90]).replace("END CERTIFICATE", "END KEY");
        assert_eq!(read(&text), [("CERTIFICATE".to_owned(), None)]);
    }

    #[test]
    fn a_comment_is_not_a_block() {
        for text in [
            "-----BEGIN of a long story-----x",
            "put it between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
            "# -----BEGIN CERTIFICATE-----\n# MIIBwcHBwcHBwcHBwcHBwcHBwc\n# -----END CERTIFICATE-----",
        ] {
            assert!(blocks(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_left_out_and_what_may_be_one_is_not() {
        let of = |label: &str| Certificate::all_in(&block(label, &[5, 0])).len();
        for other in ["PRIVATE KEY", "EC PARAMETERS", "CERTIFICATE REQUEST", "X509 CRL"] {
            assert_eq!(of(other), 0, "{other}");
        }
        for maybe in ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "PKCS7", "CERT"] {
            assert_eq!(of(maybe), 1, "{maybe}");
        }
    }

    #[test]
    fn headers_say_that_a_block_is_encrypted() {
        let text = block("RSA PRIVATE KEY", &[1; 10]).replace(
            "KEY-----\nAQ",
            "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAQ",
        );
        let blocks = blocks(&text);
        assert!(blocks[0].encrypted && blocks[0].content.is_ok());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for length in [1, 47, 48, 49, 96, 1000] {
            let der = vec![9; length];
            let text = write("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            // it never grew: the spare room is what was reserved for the last line, and no more
            let spare = text.capacity() - text.len();
            assert!((8..=73).contains(&spare), "{spare} bytes for {length}");
            assert_eq!(read(&text), [("CERTIFICATE".to_owned(), Some(der))]);
        }
    }
}
