//! Topic filters, as far as our topics use IBM's language: `$.*` for everything, and a path that is
//! compared with a text (`==`) or with a regular expression (`=~`, not anchored).

use regex::Regex;
use serde_json::Value;

/// A pointer to a field and what its text must fit; `None`: everything fits.
#[derive(Debug)]
pub(crate) struct Filter(Option<(String, Regex)>);

impl Filter {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "" | "$.*") {
            return Ok(Self(None));
        }
        let form = r"^\$((?:\.\w+)+) *(==|=~) *'([^']*)'$";
        let parts = Regex::new(form).expect("a constant").captures(text);
        let parts = parts.filter(|_| text.len() <= 255);
        let Some((_, [path, operator, right])) = parts.map(|parts| parts.extract()) else {
            return Err(format!("not a filter that is known here: {text:?}"));
        };
        let pattern = match operator {
            "==" => format!("^{}$", regex::escape(right)),
            _ => right.to_owned(),
        };
        let regex = Regex::new(&pattern).map_err(|error| error.to_string())?;
        Ok(Self(Some((path.replace('.', "/"), regex))))
    }

    pub(crate) fn matches(&self, notification: &Value) -> bool {
        self.0.as_ref().is_none_or(|(path, regex)| {
            let text = notification.pointer(path).and_then(Value::as_str);
            text.is_some_and(|text| regex.is_match(text))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Filter;

    #[test]
    fn what_each_form_lets_through() {
        let event = json!({ "type": "a.b.rotated", "data": { "secret_type": "public_cert" } });
        for (filter, fits) in [
            ("", true),
            ("$.*", true),
            ("$.type == 'a.b.rotated'", true),
            ("$.type == 'a.b'", false),
            ("$.type == 'a.b.r.....d'", false),
            ("$.type =~ 'b.rot'", true),
            ("$.data.secret_type =~ '^(public|private)_cert$'", true),
            ("$.data.secret_type =~ '^cert$'", false),
            ("$.nothing =~ '.*'", false),
        ] {
            assert_eq!(Filter::parse(filter).unwrap().matches(&event), fits, "{filter}");
        }
        for bad in ["$.type ==", "$.type = 'x'", "'x'", "$.a =~ '('", "$.a)"] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
