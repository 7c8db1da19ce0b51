//! The JSON of answers: what is read as what, and errors that name the field.

use anyhow::anyhow;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use crate::ibm::api_error::ApiError;

/// Reads the body of an answer.
///
/// # Errors
/// Which field is wrong. Nothing of the text, not even by way of the parser's own sentence.
pub(super) fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        (error.into_inner(), path)
    });
    let ended = |read| json.end().map(|()| read).map_err(|e| (e, String::new()));
    read.and_then(ended).map_err(|(error, path)| {
        let (line, column) = (error.line(), error.column());
        ApiError::Unexpected(match (error.classify(), path.as_str()) {
            (Category::Data, ".") => {
                anyhow!("unexpected response: not an object with the fields of the API")
            }
            (Category::Data, _) => {
                anyhow!("unexpected response: the field {path} has another type than in the API")
            }
            (Category::Eof, _) => anyhow!("unexpected response: the JSON is cut off"),
            _ => anyhow!("unexpected response: not JSON (line {line}, column {column})"),
        })
    })
}

/// For a field that is not an `Option`: `null` counts as absent.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Data {
        tls_key: Option<Secret>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Example {
        state: Option<i64>,
        #[serde(deserialize_with = "or_default")]
        ca_chain: Vec<String>,
        #[serde(deserialize_with = "or_default")]
        data: Data,
        apps: Vec<Data>,
    }

    #[test]
    fn an_error_names_the_field_and_never_its_value() {
        for (body, told) in [
            (
                r#"{"state":"SECRET"}"#,
                "the field state has another type than in the API",
            ),
            (r#"{"state":1.0}"#, "the field state has"),
            (r#"{"ca_chain":"SECRET"}"#, "the field ca_chain has"),
            (r#"{"ca_chain":["a",null]}"#, "the field ca_chain[1] has"),
            (
                r#"{"data":{"tls_key":["SECRET"]}}"#,
                "the field data.tls_key has",
            ),
            (r#"{"apps":[{},"SECRET"]}"#, "the field apps[1] has"),
            (r#""SECRET""#, "not an object with the fields of the API"),
            (r#"{"state":1"#, "the JSON is cut off"),
            ("", "the JSON is cut off"),
            (r#"{"state":1 SECRET}"#, "not JSON (line 1, column 12)"),
            (r#"{"state":1} SECRET"#, "not JSON (line 1, column 13)"),
        ] {
            let error = read::<Example>(body.as_bytes()).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("unexpected response: {told}")),
                "{body}: {error}"
            );
            assert!(!error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn null_counts_as_absent() {
        let body = br#"{"state":null,"ca_chain":null,"data":null}"#;
        let empty: Example = read(body).unwrap();
        assert!(empty.state.is_none() && empty.ca_chain.is_empty() && empty.data.tls_key.is_none());
        let body = br#"{"data":{"tls_key":"a\nb"},"unknown":[1]}"#;
        let key = read::<Example>(body).unwrap().data.tls_key;
        assert_eq!(key.unwrap().expose(), "a\nb");
    }
}
