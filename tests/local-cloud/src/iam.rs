//! The token service: compute resource token and API key grants; which token belongs to whom.
//!
//! Not here: the nouns (`store`) and what a service does with an identity.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::Duration;

use crate::Cloud;
use crate::clock;
use crate::problems;
use crate::store::{AccessToken, Claims, Identity, Store};

const CR_TOKEN: &str = "urn:ibm:params:oauth:grant-type:cr-token";
const API_KEY: &str = "urn:ibm:params:oauth:grant-type:apikey";

pub(crate) fn routes(cloud: Arc<Cloud>) -> Router {
    Router::new()
        .route("/identity/token", post(token))
        .fallback(async || problems::iam(404, "BXNIM0134E", "Resource not found", "no such path"))
        .method_not_allowed_fallback(async || {
            problems::iam(405, "BXNIM0134E", "Method not allowed", "use POST")
        })
        .with_state(cloud)
}

async fn token(
    State(cloud): State<Arc<Cloud>>,
    form: Result<Form<BTreeMap<String, String>>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return problems::iam(
            400,
            "BXNIM0109E",
            "Request body is not a form",
            "content type",
        );
    };
    let answer = cloud.update(|store| {
        let identity = match field(&form, "grant_type")? {
            CR_TOKEN => by_cr_token(store, &form)?,
            API_KEY => by_api_key(store, &form)?,
            other => {
                let details = format!("grant_type {other:.80} is not supported here");
                return Err(problems::iam(
                    400,
                    "BXNIM0020E",
                    "Invalid grant_type",
                    &details,
                ));
            }
        };
        Ok(issue(store, identity))
    });
    answer.map_or_else(|problem| problem, |body| Json(body).into_response())
}

fn field<'a>(form: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, Response> {
    match form.get(name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(problems::iam(
            400,
            "BXNIM0109E",
            &format!("Property missing or empty: {name}"),
            "see the documentation of the token endpoint",
        )),
    }
}

fn by_api_key(store: &Store, form: &BTreeMap<String, String>) -> Result<Identity, Response> {
    let key = field(form, "apikey")?;
    store
        .api_keys
        .get(key)
        .map(|owner| Identity::Owner(owner.clone()))
        .ok_or_else(|| {
            problems::iam(
                400,
                "BXNIM0415E",
                "Provided API key could not be found.",
                "unknown API key",
            )
        })
}

fn by_cr_token(store: &Store, form: &BTreeMap<String, String>) -> Result<Identity, Response> {
    let presented = field(form, "cr_token")?;
    let named = ["profile_id", "profile_name", "profile_crn"].map(|name| form.get(name));
    if named.iter().all(|value| value.is_none_or(String::is_empty)) {
        field(form, "profile_id")?;
    }
    let Some(claims) = store.cr_tokens.get(presented) else {
        return Err(problems::iam(
            400,
            "BXNIM0407E",
            "Provided token is invalid.",
            "the compute resource token was not issued here",
        ));
    };
    if claims.expires <= clock::now() {
        return Err(problems::iam(
            401,
            "BXNIM0106E",
            "Token expired.",
            "compute resource token",
        ));
    }
    let profile = store.profiles.values().find(|profile| {
        let ids = [&profile.id, &profile.name, &profile.crn];
        named
            .iter()
            .zip(ids)
            .all(|(named, is)| named.is_none_or(|named| named == is))
    });
    match profile {
        Some(profile) if linked(store, &profile.links, claims) => {
            Ok(Identity::Profile(profile.id.clone()))
        }
        _ => Err(problems::iam(
            400,
            "BXNIM0398E",
            "Selected trusted profile not eligible.",
            &format!(
                "no link of the profile matches component {} of type {}",
                claims.component_name, claims.component_type
            ),
        )),
    }
}

fn linked(store: &Store, links: &[crate::Link], claims: &Claims) -> bool {
    let Some(project) = store.projects.get(&claims.project_id) else {
        return false;
    };
    let crn = store.project_crn(project);
    links.iter().any(|link| {
        link.crn == crn
            && link.component_type == claims.component_type
            && link.component_name == claims.component_name
    })
}

fn issue(store: &mut Store, identity: Identity) -> Value {
    let lifetime = store.token_lifetime;
    let now = clock::now();
    let expires = now + Duration::seconds(i64::try_from(lifetime).unwrap_or(3600));
    let token = jwt(&json!({
        "iam_id": identity.iam_id(),
        "account": { "bss": store.account_id },
        "iat": now.unix_timestamp(),
        "exp": expires.unix_timestamp(),
        "sub_type": match identity { Identity::Profile(_) => "ComputeResource", _ => "User" },
    }));
    store.remember(&token);
    store
        .access_tokens
        .insert(token.clone(), AccessToken { identity, expires });
    json!({
        "access_token": token,
        "refresh_token": "not_supported",
        "token_type": "Bearer",
        "expires_in": lifetime,
        "expiration": expires.unix_timestamp(),
        "scope": "ibm openid",
        "ims_user_id": 4_711_001,
    })
}

/// A compute resource token as Code Engine puts it into a file.
pub(crate) fn cr_token(store: &mut Store, claims: Claims) -> String {
    let project = store.projects.get(&claims.project_id);
    let token = jwt(&json!({
        "project_name": project.map(|project| project.name.as_str()),
        "project_id": claims.project_id,
        "component_type": claims.component_type,
        "component_name": claims.component_name,
        "exp": claims.expires.unix_timestamp(),
    }));
    store.remember(&token);
    store.cr_tokens.insert(token.clone(), claims);
    token
}

/// Text of a JWT's shape; the third part is random, not a signature.
fn jwt(claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT","kid":"local-cloud"}"#);
    let body = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!(
        "{header}.{body}.{}",
        URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
    )
}

/// Whose token is it? `None`: no token, an unknown one, a revoked one, an expired one.
pub(crate) fn identity(store: &Store, headers: &HeaderMap) -> Option<Identity> {
    let token = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")?;
    let token = store.access_tokens.get(token)?;
    (token.expires > clock::now()).then(|| token.identity.clone())
}
