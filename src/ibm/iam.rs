//! IBM Cloud IAM: access tokens, by compute resource token and trusted profile or by API key, and
//! requests that carry them (IBM Cloud IAM token API, `POST /identity/token`).
//!
//! Belongs here: the token call and what a 401 does. Does not: what a service's other answers mean.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::{Error, Reason, error};
use crate::ibm::client::{Answer, ApiError, Http, Method, Request};
use crate::secret::Secret;
use crate::stop::Stop;
use crate::sync::refusals::Grantee;
use crate::text::sanitized;

/// A token that has less than this left is replaced before it is used (IBM's SDKs: 10 s are too few).
const SAFETY_MARGIN: Duration = Duration::from_secs(60);
/// IBM's tokens live for an hour at most; no run lives for a day.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// After a second 401 in a row: a service whose clock is behind takes a new token a little later.
const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// IAM's code for a trusted profile that this compute resource may not assume.
const PROFILE_NOT_ELIGIBLE: &str = "BXNIM0398E";
/// IAM's code for an unknown API key.
const API_KEY_NOT_FOUND: &str = "BXNIM0415E";

/// Where tokens come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// This base URL and nothing else.
    Given(String),
    /// The private address, or the public one if that cannot be reached at all: whether the private
    /// one is reachable from every Code Engine project is not documented.
    PrivateThenPublic(String, String),
}

/// What proves who we are.
#[derive(Debug)]
pub enum Credentials {
    /// A trusted profile, assumed with the compute resource token that Code Engine mounts.
    Profile {
        /// How the profile is named: `profile_id`, `profile_name` or `profile_crn`.
        field: &'static str,
        /// The profile.
        profile: String,
        /// Where the compute resource token may be; the first file that exists is used.
        token_files: Vec<PathBuf>,
    },
    /// An API key.
    ApiKey(Secret),
}

/// Requests with an access token.
pub struct Iam<'a> {
    http: &'a Http,
    stop: &'a Stop,
    endpoint: &'a Endpoint,
    credentials: &'a Credentials,
    grantee: &'a Grantee,
    token: Mutex<Option<Token>>,
    public: AtomicBool,
}

#[derive(Clone)]
struct Token {
    header: Arc<Zeroizing<String>>,
    good_until: Instant,
}

/// The answer of the token call, as far as we use it. `expiration`, the wall-clock time, is left
/// aside: our clock may be wrong, and a 401 renews the token anyway.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Secret,
    expires_in: u64,
}

impl<'a> Iam<'a> {
    /// Asks for no token yet.
    #[must_use]
    pub const fn new(
        http: &'a Http,
        stop: &'a Stop,
        endpoint: &'a Endpoint,
        credentials: &'a Credentials,
        grantee: &'a Grantee,
    ) -> Self {
        Self {
            http,
            stop,
            endpoint,
            credentials,
            grantee,
            token: Mutex::new(None),
            public: AtomicBool::new(false),
        }
    }

    /// Where the compute resource token is, if one is used, or why it cannot be read.
    #[must_use]
    pub fn token_file(&self) -> Option<Result<PathBuf, Error>> {
        match self.credentials {
            Credentials::Profile { token_files, .. } => {
                Some(read_token(token_files, self.grantee).map(|(path, _)| path))
            }
            Credentials::ApiKey(_) => None,
        }
    }

    /// Gets a token, if there is none yet.
    ///
    /// # Errors
    /// Exit status 4.
    pub fn assume(&self) -> Result<(), Error> {
        match self.token(None) {
            Ok(_) => Ok(()),
            Err(ApiError::NoToken(error)) => Err(error),
            Err(failure) => Err(error!(Reason::IamRefused, "{failure}")),
        }
    }

    /// The address that tokens come from.
    #[must_use]
    pub fn address(&self) -> &str {
        match self.endpoint {
            Endpoint::Given(base) => base,
            Endpoint::PrivateThenPublic(_, public) if self.used_public() => public,
            Endpoint::PrivateThenPublic(private, _) => private,
        }
    }

    /// Whether the public address had to stand in for the private one.
    #[must_use]
    pub fn used_public(&self) -> bool {
        self.public.load(Ordering::Relaxed)
    }

    /// Sends a request with an access token: a GET until it is answered for good, a write once. A 401
    /// (which no service answers after it has done the work) renews the token and sends again, a
    /// second one waits for clocks that disagree.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        let token = self.token(None)?;
        match self.send(&token, method, url, headers, body) {
            Err(failure) if failure.status() == Some(401) => {}
            other => return other,
        }
        let token = self.token(Some(&token))?;
        match self.send(&token, method, url, headers, body) {
            Err(failure) if failure.status() == Some(401) => {}
            other => return other,
        }
        self.stop.wait(CLOCK_SKEW).map_err(ApiError::NoToken)?;
        self.send(&token, method, url, headers, body)
    }

    fn send(
        &self,
        token: &Token,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        let mut all = vec![("Authorization", token.header.as_str())];
        all.extend_from_slice(headers);
        let request = Request {
            method,
            url,
            headers: &all,
            body,
        };
        match method {
            Method::Get | Method::Post => self.http.read(&request),
            Method::Put | Method::Patch => self.http.once(&request),
        }
    }

    /// The token of the run; a new one if there is none, if it ends soon, or if it is `refused`.
    /// Others who ask meanwhile wait for the same answer.
    fn token(&self, refused: Option<&Token>) -> Result<Token, ApiError> {
        let mut held: MutexGuard<'_, Option<Token>> =
            self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = held.as_ref() {
            let refused = refused.is_some_and(|r| Arc::ptr_eq(&r.header, &token.header));
            if !refused && Instant::now() < token.good_until {
                return Ok(token.clone());
            }
        }
        let token = self.fetch().map_err(ApiError::NoToken)?;
        *held = Some(token.clone());
        Ok(token)
    }

    fn fetch(&self) -> Result<Token, Error> {
        let form = self.form()?;
        let answer = match self.endpoint {
            Endpoint::Given(base) => self.ask(base, &form, Http::read),
            Endpoint::PrivateThenPublic(private, public) => {
                match self.ask(private, &form, Http::once) {
                    Err(failure) if absent(&failure) => {
                        log::warn!("{failure}: asking {public}");
                        let answer = self.ask(public, &form, Http::read);
                        self.public.store(answer.is_ok(), Ordering::Relaxed);
                        answer
                    }
                    Err(failure) if failure.temporary() => self.ask(private, &form, Http::read),
                    other => other,
                }
            }
        };
        let answer = answer.map_err(|failure| self.explain(failure))?;
        let answer: TokenAnswer = answer
            .json()
            .map_err(|e| Error::new(Reason::IamRefused, e.context("IAM gave no usable token")))?;
        let header = Zeroizing::new(format!("Bearer {}", answer.access_token.expose()));
        if !header.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(error!(
                Reason::IamRefused,
                "IAM gave a token that does not fit into a header"
            ));
        }
        let life = Duration::from_secs(answer.expires_in).min(LONGEST_LIFE);
        Ok(Token {
            header: Arc::new(header),
            good_until: Instant::now() + life.saturating_sub(SAFETY_MARGIN),
        })
    }

    fn ask(
        &self,
        base: &str,
        form: &str,
        send: fn(&Http, &Request<'_>) -> Result<Answer, ApiError>,
    ) -> Result<Answer, ApiError> {
        let request = Request {
            method: Method::Post,
            url: &format!("{base}/identity/token"),
            headers: &[("Content-Type", "application/x-www-form-urlencoded")],
            body: form.as_bytes(),
        };
        send(self.http, &request)
    }

    /// The form fields of the grant. The compute resource token is read anew each time: it is
    /// replaced under us.
    fn form(&self) -> Result<Zeroizing<String>, Error> {
        match self.credentials {
            Credentials::Profile {
                field,
                profile,
                token_files,
            } => {
                let (_, token) = read_token(token_files, self.grantee)?;
                Ok(form(&[
                    ("grant_type", "urn:ibm:params:oauth:grant-type:cr-token"),
                    ("cr_token", token.expose()),
                    (field, profile),
                ]))
            }
            Credentials::ApiKey(key) => Ok(form(&[
                ("grant_type", "urn:ibm:params:oauth:grant-type:apikey"),
                ("apikey", key.expose()),
                ("response_type", "cloud_iam"),
            ])),
        }
    }

    fn explain(&self, failure: ApiError) -> Error {
        let code = match failure {
            ApiError::Stopped(error) => return error,
            ApiError::Status { ref code, .. } => code.as_deref().unwrap_or_default(),
            _ => "",
        };
        match (self.credentials, code) {
            (
                Credentials::Profile {
                    field,
                    profile,
                    token_files,
                },
                PROFILE_NOT_ELIGIBLE,
            ) => {
                let claims = read_token(token_files, self.grantee)
                    .map(|(_, token)| Claims::of(&token))
                    .unwrap_or_default();
                error!(
                    Reason::ProfileRefused,
                    "this job may not assume the trusted profile ({field} {}), or there is no such profile: {failure}; the compute resource token says {claims}",
                    sanitized(profile)
                )
                .hint("link the profile to this job of this project")
                .command(
                    self.grantee
                        .link(claims.project_name.as_deref(), claims.component_name.as_deref()),
                )
            }
            (Credentials::ApiKey(_), API_KEY_NOT_FOUND) => error!(
                Reason::ApiKeyRefused,
                "IAM does not know the API key: {failure}"
            )
            .hint("IBMCLOUD_API_KEY takes the key itself, not its id (ApiKey-...)"),
            _ if failure.temporary() => {
                error!(Reason::IamUnavailable, "no access token: {failure}")
            }
            _ => error!(Reason::IamRefused, "no access token: {failure}"),
        }
    }
}

/// What the compute resource token says about this job; none of it is secret. Only
/// `project_name`, `component_type` and `component_name` are documented for Code Engine.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    project_name: Option<String>,
    component_type: Option<String>,
    component_name: Option<String>,
}

impl Claims {
    /// Reads the second part of the JWT (RFC 7519 section 3) for messages; nothing is decided by it.
    fn of(token: &Secret) -> Self {
        let payload = token.expose().split('.').nth(1).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD
            .decode(payload)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |claim: &Option<String>| sanitized(claim.as_deref().unwrap_or("not given"));
        write!(
            f,
            "project {}, component type {}, component {}",
            shown(&self.project_name),
            shown(&self.component_type),
            shown(&self.component_name)
        )
    }
}

/// Whether there is no token service at this address: not reachable, or a gateway that has no such
/// page.
fn absent(failure: &ApiError) -> bool {
    match failure {
        ApiError::Unanswered { unreachable, .. } => *unreachable,
        ApiError::Status { status, code, .. } => *status == 404 && code.is_none(),
        _ => false,
    }
}

fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    let fields: Vec<Zeroizing<String>> = fields
        .iter()
        .map(|(name, value)| {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            Zeroizing::new(format!("{name}={value}"))
        })
        .collect();
    let mut form = Zeroizing::new(String::with_capacity(
        fields.iter().map(|field| field.len() + 1).sum(),
    ));
    for field in &fields {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(field);
    }
    form
}

/// The compute resource token from the first file that exists. A JWT holds no white space, so the
/// end of the line is no part of it.
fn read_token(files: &[PathBuf], grantee: &Grantee) -> Result<(PathBuf, Secret), Error> {
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    for file in files {
        let token = match fs::read_to_string(file).map(Secret::from) {
            Ok(token) => token,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => {
                return Err(error!(
                    Reason::TokenFileUnreadable,
                    "the compute resource token in {} cannot be read: {e}",
                    file.display()
                )
                .hint("the user of the image must be allowed to read it"));
            }
        };
        let token = Secret::from(token.expose().trim().to_owned());
        if token.expose().is_empty() {
            return Err(error!(
                Reason::TokenFileUnreadable,
                "the compute resource token in {} is empty",
                file.display()
            ));
        }
        return Ok((file.clone(), token));
    }
    Err(error!(
        Reason::TokenFileMissing,
        "there is no compute resource token (looked for {})",
        names.join(", ")
    )
    .hint("enable trusted profiles for the job")
    .command(grantee.enable_token()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_are_percent_encoded() {
        assert_eq!(
            form(&[("grant_type", "urn:a"), ("apikey", "a+b&c=d")]).as_str(),
            "grant_type=urn%3Aa&apikey=a%2Bb%26c%3Dd"
        );
    }
}
