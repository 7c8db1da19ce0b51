//! Topic filters: JSONPath with `==` `!=` `<` `<=` `>` `>=` `=~` `&&` `||` `not(…)` around it.
//!
//! The paths themselves are RFC 9535; IBM's dialect differs in two places, which are rewritten:
//! `=~` inside `?()` is `search()`, and `not(…)` is `!(…)`. What IBM leaves open is decided so:
//! a comparison is true if any node of a path fits it, `!=` if none is equal; a path
//! alone is true if it finds anything; `=~` is not anchored.

use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

/// A filter, read.
#[derive(Debug)]
pub(crate) struct Filter(Expression);

#[derive(Debug)]
enum Expression {
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare(Operand, Operator, Operand),
    Exists(JsonPath),
    Matches(JsonPath, Regex),
    Not(Box<Self>),
}

#[derive(Debug)]
enum Operand {
    Literal(Value),
    Path(JsonPath),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Match,
    NotEqual,
}

const OPERATORS: [(&str, Operator); 7] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("=~", Operator::Match),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Filter {
    /// An error says what was expected and what follows there.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let expression = parser.any()?;
        parser.skip();
        if !parser.rest.is_empty() {
            return Err(format!("unexpected {:?}", parser.rest));
        }
        Ok(Self(expression))
    }

    pub(crate) fn matches(&self, notification: &Value) -> bool {
        self.0.holds(notification)
    }
}

impl Expression {
    fn holds(&self, on: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(on)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(on)),
            Self::Compare(left, operator, right) => {
                let (left, right) = (left.values(on), right.values(on));
                let mut pairs = left
                    .iter()
                    .flat_map(|l| right.iter().map(move |r| (*l, *r)));
                match operator {
                    Operator::NotEqual => !pairs.any(|(l, r)| l == r),
                    operator => pairs.any(|(l, r)| operator.holds(l, r)),
                }
            }
            Self::Exists(path) => !path.query(on).is_empty(),
            Self::Matches(path, regex) => path
                .query(on)
                .iter()
                .any(|v| v.as_str().is_some_and(|text| regex.is_match(text))),
            Self::Not(inner) => !inner.holds(on),
        }
    }
}

impl Operand {
    fn values<'v>(&'v self, on: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Literal(value) => vec![value],
            Self::Path(path) => path.query(on).all(),
        }
    }
}

impl Operator {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(l), Value::Number(r)) => l
                .as_f64()
                .zip(r.as_f64())
                .and_then(|(l, r)| l.partial_cmp(&r)),
            (Value::String(l), Value::String(r)) => Some(l.cmp(r)),
            (l, r) => (l == r).then_some(std::cmp::Ordering::Equal),
        };
        order.is_some_and(|order| match self {
            Self::Equal => order.is_eq(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::NotEqual => order.is_ne(),
            Self::Match => false,
        })
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.take("||") {
            parts.push(self.all()?);
        }
        Ok(Expression::Any(parts))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.take("&&") {
            parts.push(self.one()?);
        }
        Ok(Expression::All(parts))
    }

    fn one(&mut self) -> Result<Expression, String> {
        self.skip();
        let negated = match self.rest.strip_prefix("not") {
            Some(rest) if rest.trim_start().starts_with('(') => {
                self.rest = rest;
                true
            }
            _ => !self.rest.starts_with("!=") && self.take("!"),
        };
        if self.take("(") {
            let inner = self.any()?;
            if !self.take(")") {
                return Err(format!("expected ) before {:?}", self.rest));
            }
            return Ok(if negated {
                Expression::Not(inner.into())
            } else {
                inner
            });
        }
        if negated {
            return Ok(Expression::Not(self.one()?.into()));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.operand()?;
        self.skip();
        let operator = OPERATORS
            .iter()
            .find(|(text, _)| self.rest.starts_with(text));
        let Some((text, operator)) = operator else {
            return match left {
                Operand::Path(path) => Ok(Expression::Exists(path)),
                Operand::Literal(_) => Err("a literal without an operator".into()),
            };
        };
        self.take(text);
        let right = self.operand()?;
        match (operator, left, right) {
            (Operator::Match, Operand::Path(path), Operand::Literal(Value::String(text))) => {
                Regex::new(&text)
                    .map(|regex| Expression::Matches(path, regex))
                    .map_err(|error| format!("regular expression {text:?}: {error}"))
            }
            (Operator::Match, ..) => Err("=~ needs a path and a string".into()),
            (operator, left, right) => Ok(Expression::Compare(left, *operator, right)),
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.skip();
        match self.rest.chars().next() {
            Some('$') => {
                let (text, rest) = self.rest.split_at(path_length(self.rest)?);
                self.rest = rest;
                let path = JsonPath::parse(&in_rfc_words(text)?)
                    .map_err(|error| format!("path {text}: {error}"))?;
                Ok(Operand::Path(path))
            }
            Some(quote @ ('\'' | '"')) => {
                let (text, rest) = quoted(self.rest, quote)?;
                self.rest = rest;
                Ok(Operand::Literal(text.into()))
            }
            Some(_) => {
                let end = self
                    .rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))
                    .unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                let value = serde_json::from_str(text)
                    .map_err(|_| format!("expected a path or a literal, found {:?}", self.rest))?;
                self.rest = rest;
                Ok(Operand::Literal(value))
            }
            None => Err("expected a path or a literal, found the end".into()),
        }
    }
}

/// A quoted text; a back-slash hides only the quote, so that regular expressions stay as they are.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == quote {
            return Ok((value, &text[at + 1..]));
        }
        if c == '\\' && text[at + 1..].starts_with(quote) {
            value.push(quote);
            characters.next();
        } else {
            value.push(c);
        }
    }
    Err(format!("no closing quote in {text:?}"))
}

/// Bytes of the path at the start of `text`: to the first blank, operator or closing parenthesis
/// outside of brackets and quotes.
fn path_length(text: &str) -> Result<usize, String> {
    let mut depth = 0_u32;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if depth > 0 => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| format!("] without [ in {text:?}"))?;
            }
            (None, c) if depth == 0 && (c.is_whitespace() || ")=!<>&|".contains(c)) => {
                return Ok(at);
            }
            _ => {}
        }
    }
    if depth > 0 {
        Err(format!("no closing ] in {text:?}"))
    } else {
        Ok(text.len())
    }
}

/// IBM's words inside `?()` as RFC 9535 says them.
fn in_rfc_words(path: &str) -> Result<String, String> {
    let path = path.replace("not(", "!(").replace("not (", "!(");
    let Some((before, after)) = path.split_once("=~") else {
        return Ok(path);
    };
    let left = before.trim_end();
    let from = left
        .rfind(|c: char| c.is_whitespace() || "(&|!?".contains(c))
        .map_or(0, |at| at + 1);
    let after = after.trim_start();
    let Some(quote @ ('\'' | '"')) = after.chars().next() else {
        return Err(format!("=~ needs a string, found {after:?}"));
    };
    let (pattern, rest) = quoted(after, quote)?;
    Regex::new(&pattern).map_err(|error| format!("regular expression {pattern:?}: {error}"))?;
    let pattern = pattern.replace('\\', "\\\\").replace('\'', "\\'");
    Ok(format!(
        "{}search({}, '{pattern}'){}",
        &left[..from],
        &left[from..],
        in_rfc_words(rest)?
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GROUP: &str = "0d9f6b2e-71c4-4a58-b3e7-6c2d81f05a94";
    const ROTATED: &str = "$.type == 'com.ibm.cloud.secrets-manager.secret_rotated'";

    fn event(kind: &str, secret_type: &str, names: &[&str]) -> Value {
        let secrets: Vec<_> = names
            .iter()
            .map(|name| json!({ "secret_name": name, "secret_group_id": GROUP, "serial": 7 }))
            .collect();
        json!({
            "type": format!("com.ibm.cloud.secrets-manager.{kind}"),
            "data": { "secret_type": secret_type, "secrets": secrets, "count": 3 },
        })
    }

    fn holds(filter: &str, event: &Value) -> bool {
        Filter::parse(filter).unwrap().matches(event)
    }

    #[test]
    fn all_rotations() {
        let types = "$.data.secret_type =~ '^(public|imported|private)_cert$'";
        for secret_type in ["public_cert", "imported_cert", "private_cert"] {
            let event = event("secret_rotated", secret_type, &["a"]);
            assert!(holds(ROTATED, &event) && holds(types, &event));
        }
        assert!(!holds(
            ROTATED,
            &event("secret_created", "public_cert", &[])
        ));
        assert!(!holds(types, &event("secret_rotated", "kv", &[])));
    }

    #[test]
    fn only_public_certificates() {
        let filter = r#"$.data.secret_type == "public_cert""#;
        assert!(holds(filter, &event("secret_rotated", "public_cert", &[])));
        assert!(!holds(
            filter,
            &event("secret_rotated", "private_cert", &[])
        ));
    }

    #[test]
    fn ibms_sample_looks_at_the_first_secret_only() {
        let filter = "$.data.secrets[0].secret_name == 'shop-example-com'";
        assert!(holds(
            filter,
            &event("x", "y", &["shop-example-com", "blog"])
        ));
        assert!(!holds(
            filter,
            &event("x", "y", &["blog", "shop-example-com"])
        ));
    }

    #[test]
    fn one_secret_anywhere() {
        let filter = "$.data.secrets[?(@.secret_name == 'shop-example-com')].secret_name \
                      == 'shop-example-com'";
        assert!(holds(
            filter,
            &event("x", "y", &["blog", "shop-example-com"])
        ));
        assert!(!holds(filter, &event("x", "y", &["blog"])));
    }

    #[test]
    fn several_secrets() {
        let filter = "$.data.secrets[?(@.secret_name =~ '^(shop|blog)-example-com$')]";
        assert!(holds(
            filter,
            &event("x", "y", &["other", "blog-example-com"])
        ));
        assert!(!holds(filter, &event("x", "y", &["my-blog-example-com"])));
    }

    #[test]
    fn one_secret_group() {
        let filter = format!("$.data.secrets[?(@.secret_group_id == '{GROUP}')]");
        assert!(holds(&filter, &event("x", "y", &["a"])));
        assert!(!holds(&filter, &event("x", "y", &[])));
    }

    #[test]
    fn rotations_and_the_test() {
        let filter = r"$.type =~ '^com\.ibm\.cloud\.secrets-manager\.(secret_rotated|test_event)$'";
        assert!(holds(filter, &event("test_event", "y", &[])));
        assert!(!holds(filter, &event("secret_rotated:x", "y", &[])));
    }

    #[test]
    fn alerts_for_people_are_not_anchored() {
        let filter = "$.type =~ 'secret_rotation_failed|secret_expired|secret_about_to_expire'";
        assert!(holds(
            filter,
            &event("secret_about_to_expire:in_10_days", "y", &[])
        ));
        assert!(!holds(filter, &event("secret_rotated", "y", &[])));
    }

    #[test]
    fn logic_and_the_other_operators() {
        let event = event("secret_rotated", "public_cert", &["a", "b"]);
        for filter in [
            "$.*",
            "$..secret_name",
            "$.data.secrets[-1:].secret_name == 'b'",
            "$.data.secrets[0,1].secret_name == 'b'",
            "$.data.count > 2 && $.data.count <= 3",
            "$.data.count >= 3 && $.data.count < 3.5",
            "$.data.count != 4",
            "not($.data.tasks) && ($.type == 'x' || $.data.count == 3)",
            "not($.data.secrets[?(@.secret_name =~ '^c')])",
            "!($.type == 'x')",
            "$.data.secrets[?(not(@.tasks) && @.serial > 6)]",
        ] {
            assert!(holds(filter, &event), "{filter}");
        }
        for filter in [
            "$.data.count > 3",
            "$.nothing",
            "$.nothing == 'x'",
            "not($.*)",
        ] {
            assert!(!holds(filter, &event), "{filter}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for bad in [
            "",
            "$.type ==",
            "$.type = 'x'",
            "$.a[?(@.b",
            "'x'",
            "$.a =~ '('",
            "$.a)",
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
