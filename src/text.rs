//! Text from outside, fit for a message.

/// Text from outside, fit for a log line: control characters escaped, at most 200 characters.
#[must_use]
pub fn sanitized(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(|c| {
            // also what reorders or hides text on a terminal (bidirectional marks, line separators)
            let risky = c.is_control()
                || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            let escaped = risky.then(|| c.escape_unicode());
            let plain = (!risky).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    if shown.is_empty() {
        shown.push_str("nothing");
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
        assert_eq!(sanitized(""), "nothing");
        assert_eq!(sanitized(&"x".repeat(201)).len(), 203);
    }
}
