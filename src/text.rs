//! Text from outside, fit for a message.
//!
//! Everything that a service, a peer, an event or the environment says passes [`sanitized`] before it
//! reaches a log line or the report.

mod masking;

/// The longest that a text from outside may be in a message.
const LONGEST: usize = 200;
/// How much of a text is read at all: enough to recognise a secret that begins near [`LONGEST`].
const MOST_READ: usize = 4 * LONGEST;
/// Stands for a piece of a secret.
const MASK: &str = "[masked]";

/// Text from outside, fit for a log line: pieces of the run's secrets are masked, control characters
/// are escaped, and it has at most 200 characters. An empty text shows as `""`.
#[must_use]
pub fn sanitized(text: &str) -> String {
    let chars: Vec<char> = text.chars().take(MOST_READ).collect();
    if chars.is_empty() {
        return r#""""#.to_owned();
    }
    let mut hidden = masking::hidden(&chars).into_iter();
    let mut next = hidden.next();
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    let mut count = 0;
    let mut position = 0;
    while let Some(&c) = chars.get(position) {
        if count >= LONGEST {
            shown.push_str("...");
            break;
        }
        if let Some(range) = next.take_if(|range| range.start <= position) {
            shown.push_str(MASK);
            count += MASK.len();
            position = range.end;
            next = hidden.next();
            continue;
        }
        // also what reorders or hides text on a terminal (bidirectional marks, line separators)
        let risky = c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if risky {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        count += 1;
        position += 1;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_forge_a_line() {
        assert_eq!(
            sanitized("a\nb\u{1b}[31m\u{202e}"),
            "a\\u{a}b\\u{1b}[31m\\u{202e}"
        );
        assert_eq!(sanitized(""), "\"\"");
        assert_eq!(sanitized(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(sanitized(&"x".repeat(201)), "x".repeat(200) + "...");
    }
}
