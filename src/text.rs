//! What may be shown of a text from outside.
//!
//! Of the body of an error only what [`allowed`] lets through: it can quote our request, in any
//! encoding. What cannot hold our secrets (facts of certificates, fields of events) is [`sanitized`].
//! A name or id in an answer is shown by the rule of its type (`ibm/ids.rs`).

/// The longest that a text from outside may be in a message.
const LONGEST: usize = 200;
/// Stands for whatever is not shown.
pub(crate) const HIDDEN: &str = "…";
/// Numbers, dates and codes that one message may have: more could be bytes in decimal.
const MOST_NUMBERS: usize = 6;
/// Places of a message that are not shown: one with more is no message.
const MOST_GAPS: usize = 6;

/// A text fit for a log line: control characters are escaped, and it has at most 200 characters. An
/// empty text shows as `""`.
pub fn sanitized(text: &str) -> String {
    if text.is_empty() {
        return r#""""#.to_owned();
    }
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars().take(LONGEST) {
        // also what reorders or hides text on a terminal (bidirectional marks, line separators)
        let risky = c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if risky {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// As text, the first of many only.
pub(crate) fn first_of_many(items: &[impl ToString], most: usize) -> Vec<String> {
    let first = items.iter().take(most);
    let mut shown: Vec<String> = first.map(ToString::to_string).collect();
    if let Some(more @ 1..) = items.len().checked_sub(most) {
        shown.push(format!("... and {more} more"));
    }
    shown
}

/// Of a message in the body of an error: words, the services' codes, a few short numbers, UUIDs and
/// dates. Everything else is `…`, and a text with many of these is cut.
pub fn allowed(message: &str) -> String {
    let mut shown = String::new();
    let (mut numbers, mut gaps) = (0, 0);
    for piece in message.split_whitespace() {
        let inner = piece
            .trim_start_matches(['(', '[', '{', '<', '"', '\'', '`'])
            .trim_end_matches(|c: char| ")]}>\"'`.,:;!?".contains(c));
        let counts = is_code(inner) || is_date(inner);
        numbers += usize::from(counts);
        let fits = (counts && numbers <= MOST_NUMBERS) || is_word(inner) || is_named_uuid(inner);
        if !fits && shown.ends_with(HIDDEN) {
            continue;
        }
        gaps += usize::from(!fits);
        if !shown.is_empty() {
            shown.push(' ');
        }
        if gaps > MOST_GAPS || shown.len() + piece.len() > LONGEST {
            shown.push_str(HIDDEN);
            break;
        }
        shown.push_str(if fits { piece } else { HIDDEN });
    }
    shown
}

/// A trace id in one of the forms that the services use: a UUID, or 32 hexadecimal digits behind
/// `codeengine-api-` or a short prefix (IAM).
pub fn trace_id(text: &str) -> Option<&str> {
    let prefixed = text.rsplit_once('-').is_some_and(|(prefix, digits)| {
        let prefix = prefix.strip_prefix("codeengine-").unwrap_or(prefix);
        (1..=12).contains(&prefix.len())
            && prefix.bytes().all(|b| b.is_ascii_alphanumeric())
            && digits.len() == 32
            && digits.bytes().all(|b| b.is_ascii_hexdigit())
    });
    (prefixed || is_uuid(text)).then_some(text)
}

/// Words of at most 20 letters, joined or alone: `not_found`, `Resource`, `IAM`. All have the same
/// pattern of case, which no encoding of random bytes keeps up.
fn is_word(text: &str) -> bool {
    let lower = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase());
    let upper = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase());
    let capital = |word: &str| word.get(..1).is_some_and(upper) && word.get(1..).is_some_and(lower);
    let words = || text.split(['-', '_', '.', '/', ':', '\'']);
    // two hexadecimal digits
    let byte = text.len() == 2 && text != "be" && text.bytes().all(|b| b.is_ascii_hexdigit());
    !byte
        && text.len() <= 60
        && words().all(|word| (1..=20).contains(&word.len()))
        && (words().all(lower) || words().all(upper) || words().all(capital))
}

/// A number of at most five digits, or a service's code: `BXNIM0398E`, `secrets-manager.05047E`.
fn is_code(text: &str) -> bool {
    let code = match text.rsplit_once('.') {
        Some((service, code)) if is_word(service) => code,
        _ => text,
    };
    let digits = code.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let letters = code.strip_suffix(digits).unwrap_or_default();
    let number = digits.strip_suffix(|c: char| c.is_ascii_uppercase());
    let number = number.filter(|number| number.len() > 3).unwrap_or(digits);
    (letters.is_empty() || (3..=8).contains(&letters.len()) && is_word(letters))
        && (1..=5).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// `2026-08-01`, with or without a time behind it.
fn is_date(text: &str) -> bool {
    let (date, time) = text.split_at_checked(10).unwrap_or((text, ""));
    let shape = |b: u8| if b.is_ascii_digit() { b'0' } else { b };
    let plain = |b: u8| b.is_ascii_digit() || b":.+-TZ".contains(&b);
    date.bytes().map(shape).eq(*b"0000-00-00") && time.len() <= 20 && time.bytes().all(plain)
}

/// A UUID, or one behind the kind of thing that it names: `iam-Profile-...`.
fn is_named_uuid(text: &str) -> bool {
    let at = text.len().checked_sub(36);
    let Some((kind, id)) = at.and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let letter = |b: u8| b.is_ascii_alphabetic() || b"-_.:/".contains(&b);
    kind.len() <= 20 && kind.bytes().all(letter) && is_uuid(id)
}

/// Whether it has the form of a UUID, as IBM writes it: 8-4-4-4-12 lower-case hexadecimal digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let groups = text.split('-');
    groups.clone().map(str::len).eq([8, 4, 4, 4, 12]) && groups.flat_map(str::bytes).all(digit)
}

#[cfg(test)]
mod tests;
