//! The local cloud's doors: its control API and the imitated APIs.

use serde_json::{Value, json};

use crate::account::Account;

/// A client of the local cloud, as the owner of the account.
pub struct Rest {
    agent: ureq::Agent,
    control: String,
    urls: Value,
    token: String,
}

/// An answer that is not 2xx.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub text: String,
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub enum Door {
    /// `/v2/…`
    CodeEngine,
    /// The control API.
    Control,
    /// `/v1/instances/…`
    EventNotifications,
    /// `/api/v2/…`
    SecretsManager,
}

impl Rest {
    /// Asks the control API for the addresses, and IAM for a token.
    pub fn new(account: &Account) -> Self {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // the default takes longer to fill than a command takes
            .input_buffer_size(8 * 1024)
            .output_buffer_size(8 * 1024)
            .build()
            .into();
        let mut rest = Self {
            agent,
            control: account.control_url.clone(),
            urls: Value::Null,
            token: String::new(),
        };
        rest.urls = rest
            .call(Door::Control, "GET", "/urls", None)
            .expect("a local cloud");
        let form = format!(
            "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={}",
            account.api_key
        );
        let iam = rest.urls["iam"].as_str().expect("an address of IAM");
        let answer = rest
            .agent
            .post(format!("{iam}/identity/token"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(&form)
            .expect("the token service answers");
        let answer = read(answer).expect("a token for the owner");
        rest.token = answer["access_token"].as_str().expect("a token").to_owned();
        rest
    }

    /// One request.
    ///
    /// # Errors
    /// The answer is not 2xx.
    pub fn call(
        &self,
        door: Door,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refused> {
        let base = match door {
            Door::CodeEngine => self.urls["code_engine"].as_str(),
            Door::Control => Some(self.control.as_str()),
            Door::EventNotifications => self.urls["event_notifications"].as_str(),
            Door::SecretsManager => self.urls["secrets_manager"].as_str(),
        };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!(
                "{}{path}",
                base.expect("an address of the service")
            ))
            .header("Content-Type", "application/json")
            // what changes something demands a tag; any version will do
            .header("If-Match", "*")
            .header("Authorization", format!("Bearer {}", self.token));
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(text).expect("a request");
        read(self.agent.run(request).expect("the local cloud answers"))
    }

    /// All entries of a list of Code Engine.
    pub fn all(&self, path: &str, name: &str) -> Vec<Value> {
        let page = self.call(Door::CodeEngine, "GET", &format!("{path}?limit=100"), None);
        let mut page = page.unwrap_or_else(|why| json!({ "problem": why.text }));
        match page[name].take() {
            Value::Array(all) => all,
            _ => Vec::new(),
        }
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Value, Refused> {
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    if !(200..300).contains(&status) {
        return Err(Refused { status, text });
    }
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}
