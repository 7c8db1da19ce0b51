//! IBM Cloud IAM: access tokens, by compute resource token and trusted profile or by API key, and
//! requests that carry them (IBM Cloud IAM token API, `POST /identity/token`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Method;
use zeroize::Zeroizing;

use crate::error::{Error, Reason};
use crate::ibm::api_error::{ApiError, read};
use crate::ibm::client::{Answer, Http, Request};
use crate::ibm::grantee::{Credentials, Grantee};
use crate::secret::{Secret, read_file};
use crate::text::sanitized;
use crate::workers::pause;

/// IAM inside IBM's network.
const PRIVATE: &str = "https://private.iam.cloud.ibm.com";
/// IAM on the internet.
const PUBLIC: &str = "https://iam.cloud.ibm.com";
/// A token that has less than this left is replaced before it is used (IBM's SDKs: 10 s are too few).
const SAFETY_MARGIN: Duration = Duration::from_secs(60);
/// IBM's tokens live for an hour at most; no run lives for a day.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// After a second 401 in a row: a service whose clock is behind takes a new token a little later.
const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// The largest compute resource token; they have about 2 KB.
const LARGEST_TOKEN: usize = 64 * 1024;
/// IAM's code for a trusted profile that this compute resource may not assume.
const PROFILE_NOT_ELIGIBLE: &str = "BXNIM0398E";
/// IAM's code for an unknown API key.
const API_KEY_NOT_FOUND: &str = "BXNIM0415E";

/// Requests with an access token.
pub struct Iam<'a> {
    http: &'a Http,
    base: &'a str,
    /// Asked if the first one, which is private, cannot be reached at all: whether it can be from every
    /// Code Engine project is not documented.
    fallback: Option<&'a str>,
    pub(super) grantee: &'a Grantee,
    /// The token, or why there is none: what the service refused for so long, it is not asked again.
    token: Mutex<Option<Result<Arc<Token>, Error>>>,
    public: AtomicBool,
}

struct Token {
    /// The value of the header `Authorization`.
    header: Secret,
    good_until: Instant,
}

impl<'a> Iam<'a> {
    /// Asks for no token yet. Without a base `url` the usual addresses count.
    pub fn new(http: &'a Http, url: Option<&'a str>, grantee: &'a Grantee) -> Self {
        let (base, fallback) = url.map_or((PRIVATE, Some(PUBLIC)), |url| (url, None));
        Self {
            http,
            base,
            fallback,
            grantee,
            token: Mutex::new(None),
            public: AtomicBool::new(false),
        }
    }

    /// Where the compute resource token is, if one is used.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn token_file(&self) -> Result<Option<&Path>, Error> {
        Ok(self.resource_token()?.map(|(path, _)| path))
    }

    /// Gets a token, if there is none yet.
    ///
    /// # Errors
    /// Exit status 4.
    pub fn assume(&self) -> Result<(), Error> {
        self.token(None).map(|_| ())
    }

    /// The address that tokens come from.
    pub fn address(&self) -> &str {
        match self.fallback {
            Some(public) if self.used_public() => public,
            _ => self.base,
        }
    }

    /// Whether the public address had to stand in for the private one.
    pub fn used_public(&self) -> bool {
        self.public.load(Ordering::Relaxed)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub(super) fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, ApiError> {
        read(&self.call(Method::GET, url, &[], &[])?.body)
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
        let send = |token: &Token| {
            let all = [&[("Authorization", token.header.expose())], headers].concat();
            let request = Request { method: method.clone(), url, headers: &all, body };
            match method {
                Method::GET => self.http.read(&request, false),
                _ => self.http.once(&request),
            }
        };
        let first = self.token(None)?;
        match send(&first) {
            Err(failure) if failure.status == Some(401) => {}
            answer => return answer,
        }
        let renewed = self.token(Some(&first))?;
        match send(&renewed) {
            Err(failure) if failure.status == Some(401) => pause(CLOCK_SKEW),
            answer => return answer,
        }
        send(&renewed)
    }

    /// The token of the run; a new one if there is none, if it ends soon, or if it is `refused`.
    /// Others who ask meanwhile wait for the same answer.
    fn token(&self, refused: Option<&Arc<Token>>) -> Result<Arc<Token>, Error> {
        let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let is_refused = |token: &_| refused.is_some_and(|other| Arc::ptr_eq(other, token));
        match &*held {
            Some(Ok(token)) if is_refused(token) || Instant::now() >= token.good_until => {}
            Some(known) => return known.clone(),
            None => {}
        }
        let token = self.fetch().map(Arc::new);
        *held = Some(token.clone());
        token
    }

    fn fetch(&self) -> Result<Token, Error> {
        // read anew each time, since the platform rotates the file
        let resource_token = self.resource_token()?.map(|(_, token)| token);
        let form = self.form(resource_token.as_ref());
        let mut answer = self.ask(self.base, &form, self.fallback.is_some());
        if let (Err(failure), Some(public)) = (&answer, self.fallback)
            && absent(failure)
        {
            log::warn!("{failure}; trying {public}");
            answer = self.ask(public, &form, false);
            self.public.store(answer.is_ok(), Ordering::Relaxed);
        }
        let answer = answer.map_err(|failure| self.explain(failure, resource_token.as_ref()))?;
        Token::read(&answer)
            .map_err(|e| Reason::IamRefused.error(format!("IAM returned no usable token: {e:#}")))
    }

    /// Asks this address; where nobody is there, not again if there is one `elsewhere`.
    fn ask(&self, base: &str, form: &str, elsewhere: bool) -> Result<Answer, ApiError> {
        let request = Request {
            method: Method::POST,
            url: &format!("{base}/identity/token"),
            headers: &[("Content-Type", "application/x-www-form-urlencoded")],
            body: form.as_bytes(),
        };
        self.http.read(&request, elsewhere)
    }

    /// The form fields of the grant.
    fn form(&self, resource_token: Option<&Secret>) -> Zeroizing<String> {
        let fields = match &self.grantee.credentials {
            Credentials::Profile { field, profile, .. } => [
                ("grant_type", "urn:ibm:params:oauth:grant-type:cr-token"),
                ("cr_token", resource_token.map_or("", Secret::expose)),
                (*field, profile.as_str()),
            ],
            Credentials::ApiKey(key) => [
                ("grant_type", "urn:ibm:params:oauth:grant-type:apikey"),
                ("apikey", key.expose()),
                ("response_type", "cloud_iam"),
            ],
        };
        // a character is three at most: so it does not grow, which would leave copies
        let lengths = fields.map(|(name, value)| name.len() + 3 * value.len() + 2);
        let mut form = Zeroizing::new(String::with_capacity(lengths.iter().sum()));
        for (name, value) in fields {
            let separator = if form.is_empty() { "" } else { "&" };
            form.extend([separator, name, "="]);
            form.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        form
    }

    fn explain(&self, mut failure: ApiError, resource_token: Option<&Secret>) -> Error {
        match (&self.grantee.credentials, failure.code.as_deref()) {
            (Credentials::Profile { field, profile, .. }, Some(PROFILE_NOT_ELIGIBLE)) => {
                let claims = resource_token.map(claims).unwrap_or_default();
                let claim = |name: &str| claims.get(name)?.as_str();
                let (project, job) = (claim("project_name"), claim("component_name"));
                let unknown = |claim: Option<&str>| sanitized(claim.unwrap_or("unknown"));
                let [in_project, kind, name] = [project, claim("component_type"), job].map(unknown);
                let named = sanitized(profile);
                Reason::ProfileRefused.error(format!(
                    "this job may not assume the trusted profile ({field} {named}), or there is no such profile: {failure}; \
                     the compute resource token was issued to project {in_project}, component type {kind}, component {name}"
                ))
                .hint(
                    "link the profile to this job of this project; if it is linked, wait a few minutes, and check \
                     that the account does not limit external identity interactions",
                )
                .command(self.grantee.link(profile, project, job))
            }
            (Credentials::ApiKey(_), Some(API_KEY_NOT_FOUND)) => {
                failure.hint =
                    Some("IBMCLOUD_API_KEY takes the key itself; ApiKey-... is the ID of a key");
                failure.explained("IAM does not know the API key", REASONS)
            }
            _ => failure.explained("no access token", REASONS),
        }
    }

    /// The compute resource token from the first file that exists, if one is used. A JWT holds no
    /// white space, so the end of the line is no part of it.
    fn resource_token(&self) -> Result<Option<(&Path, Secret)>, Error> {
        let Credentials::Profile { token_files, .. } = &self.grantee.credentials else {
            return Ok(None);
        };
        let shown = |path: &PathBuf| sanitized(&path.display().to_string());
        let missing = |text: String| Reason::TokenMissing.error(text);
        let mut files = token_files.iter();
        // a file that may not be looked at counts as one that exists
        let Some(file) = files.find(|file| file.try_exists().unwrap_or(true)) else {
            let files = token_files.iter().map(shown).collect::<Vec<_>>().join(", ");
            let text = format!("there is no compute resource token (looked for {files})");
            let error = missing(text).hint("enable trusted profiles for the job");
            return Err(error.command(self.grantee.enable_token()));
        };
        let what = format!("the compute resource token in {}", shown(file));
        let text = read_file(file, LARGEST_TOKEN).map_err(|e| {
            let error = missing(format!("{what} cannot be read: {e}"));
            error.hint("it must be readable by the container's user")
        })?;
        match text.trim() {
            "" => Err(missing(format!("{what} is empty"))),
            token => Ok(Some((file, Secret::new(token.to_owned())))),
        }
    }
}

/// Refused, refused, unavailable: a 401 or 403 of IAM is no missing permission.
const REASONS: [Reason; 3] = [Reason::IamRefused, Reason::IamRefused, Reason::IamUnavailable];

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<Secret>,
    expires_in: Option<u64>,
}

impl Token {
    /// `expiration`, the wall-clock time, is left aside: our clock may be wrong, and a 401 renews the
    /// token anyway.
    fn read(answer: &Answer) -> anyhow::Result<Self> {
        let answer: TokenAnswer = read(&answer.body)?;
        let token = answer.access_token.context("no field access_token")?;
        let life = answer.expires_in.context("no field expires_in")?;
        let text = token.expose();
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        ensure!(fits, "it does not fit into a header");
        let life = Duration::from_secs(life).min(LONGEST_LIFE);
        Ok(Self {
            // made at once, since a text that grows leaves copies
            header: Secret::new(["Bearer ", token.expose()].concat()),
            good_until: Instant::now() + life.saturating_sub(SAFETY_MARGIN),
        })
    }
}

/// What the compute resource token says about this job: the second part of the JWT (RFC 7519 section 3),
/// which is not secret. It is for messages; nothing is decided by it.
fn claims(token: &Secret) -> Value {
    let payload = token.expose().split('.').nth(1).unwrap_or_default();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&claims).unwrap_or_default()
}

/// Whether there is no token service at this address: not reachable, or a gateway that has no such
/// page.
fn absent(failure: &ApiError) -> bool {
    failure.unreachable || failure.status == Some(404) && failure.code.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::samples::without_calls;

    #[test]
    fn a_form_never_grows() {
        let spare = |length: usize| {
            let key = Secret::new("%".repeat(length));
            let change = |config: &mut crate::config::Config| {
                config.grantee.credentials = Credentials::ApiKey(key);
            };
            without_calls(change, |run| {
                let form = run.iam.form(None);
                assert!(form.contains(&format!("&apikey={}&", "%25".repeat(length))));
                form.capacity() - form.len()
            })
        };
        // what is left is that of plain characters
        assert!(spare(0) < 100, "{}", spare(0));
        for length in [1, 100, 777, 2000] {
            assert_eq!(spare(length), spare(0), "{length}");
        }
    }

    #[test]
    fn a_token_is_good_until_a_minute_before_its_end() {
        for (life, good) in [(3600, 3540), (60, 0), (59, 0), (90_000, 86_340), (u64::MAX, 86_340)] {
            let body = serde_json::json!({ "access_token": "abc", "expires_in": life });
            let body = Zeroizing::new(body.to_string().into_bytes());
            let before = Instant::now();
            let token = Token::read(&Answer { etag: None, body }).unwrap();
            let spare = token.good_until - before;
            let good = Duration::from_secs(good);
            assert!(good <= spare && spare < good + Duration::from_secs(50), "{life}: {spare:?}");
            assert_eq!(token.header.expose(), "Bearer abc");
        }
    }

    #[test]
    fn a_compute_resource_token_has_at_most_64_kib() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (length, fits) in [(1, true), (LARGEST_TOKEN, true), (LARGEST_TOKEN + 1, false)] {
            std::fs::write(&file, "x".repeat(length)).unwrap();
            let credentials = Credentials::Profile {
                field: "profile_id",
                profile: "Profile-1".to_owned(),
                token_files: vec!["/no/such/file".into(), file.path().to_owned()],
            };
            let change = |config: &mut crate::config::Config| {
                config.grantee.credentials = credentials;
            };
            let read = without_calls(change, |run| {
                let token = run.iam.resource_token().map_err(|error| error.reason);
                token.map(|found| found.unwrap().1.expose().len())
            });
            assert_eq!(read, fits.then_some(length).ok_or(Reason::TokenMissing), "{length}");
        }
        assert_eq!(LARGEST_TOKEN, 65_536);
    }

    /// Only then the public address is asked; any other failure is the answer.
    #[test]
    fn a_token_service_is_absent_if_nobody_or_only_a_gateway_is_there() {
        let unanswered =
            |unreachable| ApiError { unreachable, temporary: true, ..ApiError::default() };
        let answered = |status, code: Option<&str>| ApiError {
            code: code.map(str::to_owned),
            ..ApiError::answered(status, String::new())
        };
        for (failure, expected) in [
            (unanswered(true), true),
            (unanswered(false), false),
            (answered(404, None), true),
            (answered(404, Some("BXNIM0404E")), false),
            (answered(400, None), false),
            (answered(503, None), false),
            (ApiError::unexpected("no JSON"), false),
        ] {
            assert_eq!(absent(&failure), expected, "{failure:?}");
        }
    }
}
