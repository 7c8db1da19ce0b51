//! A service that shows secrets in its errors and answers.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Map, Value};

use super::Quoted;
use super::strike::changed;
use crate::Cloud;
use crate::http::served;
use crate::journal::Service;
use crate::problems::{Problem, TRANSACTION_ID};

/// Fields of requests and answers that hold a secret.
const KEYS: [&str; 2] = ["tls_key", "private_key"];
const TOKENS: [&str; 3] = ["access_token", "apikey", "cr_token"];

/// The secrets of a request or an answer.
#[derive(Default)]
struct Secrets {
    key: Option<String>,
    token: Option<String>,
}

impl Secrets {
    fn note(&mut self, field: &str, text: &str) {
        if KEYS.contains(&field) {
            self.key = Some(text.to_owned());
        } else if TOKENS.contains(&field) {
            self.token = Some(text.to_owned());
        }
    }
}

/// The request's secrets and its whole text: head, empty line, body.
async fn read(request: Request) -> (Secrets, String, Request) {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&bytes);
    let mut secrets = Secrets::default();
    let token = parts.headers.get(header::AUTHORIZATION);
    if let Some(Ok(value)) = token.map(HeaderValue::to_str) {
        secrets.note("access_token", value.trim_start_matches("Bearer "));
    }
    match serde_json::from_str(&body) {
        Ok(mut value) => each_text(&mut value, "", &mut |field, text| secrets.note(field, text)),
        // a form; the values that matter here have no character that forms encode
        Err(_) => {
            for (field, value) in body.split('&').filter_map(|pair| pair.split_once('=')) {
                secrets.note(field, value);
            }
        }
    }
    let mut whole = format!("{} {}", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        whole += &format!("\n{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    whole += &format!("\n\n{body}");
    let request = Request::from_parts(parts, Body::from(bytes));
    (secrets, whole, request)
}

/// An error whose every text quotes the request.
pub(super) async fn refusal(
    cloud: &Cloud,
    service: Service,
    status: u16,
    request: Request,
) -> Response {
    let (Secrets { key, token }, whole, _) = read(request).await;
    // The secrets come first: a client that keeps the beginning of a text only has them, too.
    let quote = [key.as_deref(), token.as_deref(), Some(whole.as_str())];
    let quote = quote.into_iter().flatten().collect::<Vec<_>>().join("\n");
    // A key that was never stored is still a secret.
    key.iter().for_each(|key| cloud.remember(key));
    let mut response = changed(Problem::of(status).shaped(service), |body| {
        for value in body.values_mut() {
            each_text(value, "", &mut |_, text| text.clone_from(&quote));
        }
        body.insert("details".into(), vec![quote.as_str()].into());
        body.insert("request".into(), quote.as_str().into());
    })
    .await;
    if let Some(Ok(value)) = token.as_deref().map(HeaderValue::from_str) {
        response.headers_mut().insert(TRANSACTION_ID, value);
    }
    response
}

/// The usual answer with a secret in these fields.
pub(super) async fn answer(
    cloud: &Arc<Cloud>,
    service: Service,
    fields: &[String],
    secret: Quoted,
    request: Request,
) -> Response {
    let (mut secrets, _, request) = read(request).await;
    changed(served(cloud, service, request).await, |body| {
        for (field, value) in body.iter_mut() {
            each_text(value, field, &mut |field, text| secrets.note(field, text));
        }
        let Secrets { key, token } = secrets;
        let secret = match secret {
            Quoted::Key => key.or(token),
            Quoted::Token => token,
        };
        let secret = Value::from(secret.unwrap_or_default());
        for field in fields {
            if !replaced(body, field, &secret) {
                body.insert(field.clone(), secret.clone());
            }
        }
    })
    .await
}

/// Visits every text with the name of its field; texts in a list have the name of the list.
fn each_text(value: &mut Value, field: &str, visit: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, field, visit)),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(field, value)| each_text(value, field, visit));
        }
        Value::String(text) => visit(field, text),
        _ => {}
    }
}

/// Gives every field of this name another value, at any depth; `false` if there is none.
fn replaced(fields: &mut Map<String, Value>, name: &str, with: &Value) -> bool {
    let mut found = false;
    for (field, value) in fields.iter_mut() {
        match value {
            _ if field == name => {
                value.clone_from(with);
                found = true;
            }
            Value::Object(inner) => found |= replaced(inner, name, with),
            Value::Array(items) => {
                for inner in items.iter_mut().filter_map(Value::as_object_mut) {
                    found |= replaced(inner, name, with);
                }
            }
            _ => {}
        }
    }
    found
}
