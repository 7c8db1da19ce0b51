//! JSON objects as IBM's services send them, read field by field.
//!
//! Belongs here: types of fields, and errors that name the field. A derived parser would quote the
//! value that it did not expect, which can be a private key. Does not: what a field means.

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};

use crate::secret::Secret;

/// A JSON object. A field that is `null` counts as absent. Taking a field moves its text, so no copy
/// of a secret stays behind.
#[derive(Debug, Default)]
pub(crate) struct Document {
    fields: Map<String, Value>,
    /// Where the object is in the answer, for messages: empty, or `data.` and the like.
    path: String,
}

impl Document {
    /// Reads an answer.
    ///
    /// # Errors
    /// Where it is not JSON, or that it is not an object. Nothing of its text.
    pub(crate) fn parse(body: &[u8]) -> anyhow::Result<Self> {
        let value = serde_json::from_slice(body).map_err(|e| {
            anyhow!(
                "unexpected response body: {} at line {} column {}",
                if e.is_eof() {
                    "it ends too early"
                } else {
                    "syntax error"
                },
                e.line(),
                e.column()
            )
        })?;
        Self::of(value, String::new()).context("unexpected response body")
    }

    fn of(value: Value, path: String) -> anyhow::Result<Self> {
        match value {
            Value::Object(fields) => Ok(Self { fields, path }),
            _ => bail!("expected an object"),
        }
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: &str, expected: &str) -> anyhow::Error {
        anyhow!(
            "unexpected response: field `{}{field}`: expected {expected}",
            self.path
        )
    }

    /// A text, if there is one.
    pub(crate) fn text(&mut self, field: &str) -> anyhow::Result<Option<String>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "a text")),
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(&mut self, field: &str) -> anyhow::Result<String> {
        self.text(field)?.ok_or_else(|| self.missing(field))
    }

    /// The error of a field that must be there.
    pub(crate) fn missing(&self, field: &str) -> anyhow::Error {
        anyhow!("unexpected response: no field `{}{field}`", self.path)
    }

    /// A whole number that is not negative, if there is one.
    pub(crate) fn unsigned(&mut self, field: &str) -> anyhow::Result<Option<u64>> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| self.wrong(field, "a number, not negative")),
        }
    }

    /// A secret text, if there is one.
    pub(crate) fn secret(&mut self, field: &str) -> anyhow::Result<Option<Secret>> {
        Ok(self.text(field)?.map(Secret::from))
    }

    /// A whole number, if there is one; `1.0` is one, too.
    pub(crate) fn number(&mut self, field: &str) -> anyhow::Result<Option<i64>> {
        // beyond it a floating-point number cannot tell whole numbers apart
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let whole = |number: f64| {
            let fits = number.fract() == 0.0 && number.abs() <= EXACT;
            fits.then(|| format!("{number:.0}").parse().ok()).flatten()
        };
        value
            .as_i64()
            .or_else(|| value.as_f64().and_then(whole))
            .map(Some)
            .ok_or_else(|| self.wrong(field, "a number"))
    }

    /// True or false, if it is there.
    pub(crate) fn boolean(&mut self, field: &str) -> anyhow::Result<Option<bool>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(field, "true or false")),
        }
    }

    /// An object; without fields if it is absent.
    pub(crate) fn object(&mut self, field: &str) -> anyhow::Result<Self> {
        let path = format!("{}{field}.", self.path);
        match self.take(field) {
            None => Ok(Self {
                fields: Map::new(),
                path,
            }),
            Some(value) => Self::of(value, path).map_err(|_| self.wrong(field, "an object")),
        }
    }

    /// A list; empty if it is absent.
    pub(crate) fn list(&mut self, field: &str) -> anyhow::Result<Vec<Value>> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(field, "a list")),
        }
    }

    /// A list of texts; `null` in it is left out.
    pub(crate) fn texts(&mut self, field: &str) -> anyhow::Result<Vec<String>> {
        let items = self.list(field)?;
        let texts = items.into_iter().filter(|item| !item.is_null());
        texts
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(self.wrong(field, "a list of texts")),
            })
            .collect()
    }

    /// A list of objects that must be there.
    pub(crate) fn objects(&mut self, field: &str) -> anyhow::Result<Vec<Self>> {
        if self.fields.get(field).is_none_or(Value::is_null) {
            return Err(self.missing(field));
        }
        let items = self.list(field)?;
        items
            .into_iter()
            .enumerate()
            .map(|(number, item)| {
                let path = format!("{}{field}[{number}].", self.path);
                Self::of(item, path).map_err(|_| self.wrong(field, "a list of objects"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_error_names_the_field_and_never_its_value() {
        let told = |error: anyhow::Error| format!("{error:#}");
        let mut odd = document(
            r#"{"state":"SECRET","ca_chain":"SECRET","data":{"tls_key":{"x":"SECRET"}},"apps":[{},"SECRET"],"user_managed":"SECRET"}"#,
        );
        assert_eq!(
            told(odd.number("state").unwrap_err()),
            "unexpected response: field `state`: expected a number"
        );
        assert_eq!(
            told(odd.texts("ca_chain").unwrap_err()),
            "unexpected response: field `ca_chain`: expected a list"
        );
        let mut data = odd.object("data").unwrap();
        assert_eq!(
            told(data.secret("tls_key").unwrap_err()),
            "unexpected response: field `data.tls_key`: expected a text"
        );
        assert_eq!(
            told(odd.objects("apps").unwrap_err()),
            "unexpected response: field `apps`: expected a list of objects"
        );
        assert_eq!(
            told(odd.boolean("user_managed").unwrap_err()),
            "unexpected response: field `user_managed`: expected true or false"
        );
        assert_eq!(
            told(
                document(r#"{"chain":["a",["SECRET"]]}"#)
                    .texts("chain")
                    .unwrap_err()
            ),
            "unexpected response: field `chain`: expected a list of texts"
        );
        for absent in [r#"{"apps":null}"#, "{}"] {
            assert_eq!(
                told(document(absent).objects("apps").unwrap_err()),
                "unexpected response: no field `apps`"
            );
        }
        assert_eq!(
            told(odd.required_text("format").unwrap_err()),
            "unexpected response: no field `format`"
        );
        assert_eq!(
            told(Document::parse(br#"{"private_key":"SECRET" "x"}"#).unwrap_err()),
            "unexpected response body: syntax error at line 1 column 25"
        );
        assert_eq!(
            told(Document::parse(br#""SECRET""#).unwrap_err()),
            "unexpected response body: expected an object"
        );
        assert_eq!(
            told(Document::parse(b"").unwrap_err()),
            "unexpected response body: it ends too early at line 1 column 0"
        );
    }

    #[test]
    fn what_means_the_same_is_taken() {
        let mut odd =
            document(r#"{"state":1.0,"not-active":0.0,"ca_chain":["a",null,"b"],"n":null}"#);
        assert_eq!(odd.number("state").unwrap(), Some(1));
        assert_eq!(odd.number("not-active").unwrap(), Some(0));
        assert_eq!(odd.number("n").unwrap(), None);
        assert_eq!(odd.texts("ca_chain").unwrap(), ["a", "b"]);
        for number in ["1.5", "1e300", "18446744073709551615"] {
            let mut odd = document(&format!(r#"{{"state":{number}}}"#));
            assert!(odd.number("state").is_err(), "{number}");
        }
    }

    /// `null` counts as absent.
    #[test]
    fn a_field_that_is_absent_is_none_or_empty() {
        for text in ["{}", r#"{"x":null}"#] {
            assert_eq!(document(text).text("x").unwrap(), None);
            assert_eq!(document(text).unsigned("x").unwrap(), None);
            assert_eq!(document(text).number("x").unwrap(), None);
            assert_eq!(document(text).boolean("x").unwrap(), None);
            assert!(document(text).secret("x").unwrap().is_none());
            assert!(document(text).texts("x").unwrap().is_empty());
            assert!(document(text).list("x").unwrap().is_empty());
            assert!(document(text).object("x").unwrap().fields.is_empty());
        }
    }
}
