//! The token service: compute resource token and API key grants; which token belongs to whom.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::Duration;

use crate::Cloud;
use crate::clock::now;
use crate::http::{Answer, Ask, Routes, reply};
use crate::problems::{Problem, no};
use crate::store::{Claims, Identity, Link, Store};
use crate::world::profile_crn;

pub(crate) const ROUTES: Routes = &[("POST /identity/token", token)];

const CR_TOKEN: &str = "urn:ibm:params:oauth:grant-type:cr-token";
const API_KEY: &str = "urn:ibm:params:oauth:grant-type:apikey";
const UNKNOWN_KEY: &str = "Provided API key could not be found.";
const NOT_ELIGIBLE: &str = "Selected trusted profile not eligible.";

fn token(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let identity = match needed(ask, "grant_type")? {
        CR_TOKEN => by_cr_token(cloud, store, ask)?,
        API_KEY if needed(ask, "apikey")? == cloud.world.api_key => Identity::Owner,
        API_KEY => return Err(no(400, "BXNIM0415E", UNKNOWN_KEY)),
        _ => return Err(no(400, "BXNIM0020E", "Invalid grant_type")),
    };
    let (iam_id, sub_type) = match &identity {
        Identity::Profile(id) => (format!("iam-{id}"), "ComputeResource"),
        _ => (crate::world::OWNER.to_owned(), "User"),
    };
    let (lifetime, issued) = (store.token_lifetime, now());
    let expires = issued + Duration::seconds(i64::try_from(lifetime).unwrap_or(3600));
    let token = jwt(&json!({
        "iam_id": iam_id,
        "account": { "bss": cloud.world.account_id },
        "iat": issued.unix_timestamp(),
        "exp": expires.unix_timestamp(),
        "sub_type": sub_type,
    }));
    cloud.remember(&token);
    let held = (identity, expires);
    store.access_tokens.insert(token.clone(), held);
    let body = json!({
        "access_token": token,
        "refresh_token": "not_supported",
        "token_type": "Bearer",
        "expires_in": lifetime,
        "expiration": expires.unix_timestamp(),
        "scope": "ibm openid",
        "ims_user_id": 4_711_001,
    });
    reply(200, body)
}

fn needed<'a>(ask: &'a Ask, name: &str) -> Result<&'a str, Problem> {
    let why = || no(400, "BXNIM0109E", format!("Property missing or empty: {name}"));
    let value = Some(ask.text(name)).filter(|value| !value.is_empty());
    value.ok_or_else(why)
}

fn by_cr_token(cloud: &Cloud, store: &Store, ask: &Ask) -> Result<Identity, Problem> {
    let presented = needed(ask, "cr_token")?;
    let names = ["profile_id", "profile_name", "profile_crn"];
    if names.iter().all(|name| ask.text(name).is_empty()) {
        needed(ask, "profile_id")?;
    }
    let Some(claims) = store.cr_tokens.get(presented) else {
        return Err(no(400, "BXNIM0407E", "Provided token is invalid."));
    };
    if claims.expires <= now() {
        return Err(no(401, "BXNIM0106E", "Token expired."));
    }
    let profile = store.profiles.iter().find(|(id, profile)| {
        let crn = profile_crn(&cloud.world.account_id, id);
        let is = [id.as_str(), &profile.name, &crn];
        let named = names.iter().zip(is);
        let mut named = named.filter(|(name, _)| ask.body.contains_key(**name));
        named.all(|(name, is)| ask.text(name) == is)
    });
    let project = store.projects.get(&claims.project_id);
    let crn = project.map(|project| cloud.world.crn_of(project));
    let fits = |link: &Link| {
        Some(&link.crn) == crn.as_ref()
            && link.component_type == "job"
            && link.component_name == claims.component_name
    };
    match profile {
        Some((id, profile)) if profile.links.iter().any(fits) => Ok(Identity::Profile(id.clone())),
        _ => Err(no(400, "BXNIM0398E", NOT_ELIGIBLE)),
    }
}

/// A compute resource token of a job, as Code Engine puts it into a file.
pub(crate) fn cr_token(cloud: &Cloud, store: &mut Store, claims: Claims) -> String {
    let project = store.projects.get(&claims.project_id);
    let token = jwt(&json!({
        "project_name": project.map(|project| project.name.as_str()),
        "project_id": claims.project_id,
        "component_type": "job",
        "component_name": claims.component_name,
        "exp": claims.expires.unix_timestamp(),
    }));
    cloud.remember(&token);
    store.cr_tokens.insert(token.clone(), claims);
    token
}

/// Text of a JWT's shape; the third part is random, not a signature.
fn jwt(claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT","kid":"local-cloud"}"#);
    let body = URL_SAFE_NO_PAD.encode(claims.to_string());
    let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    format!("{header}.{body}.{random}")
}

/// Whose token is it? `None`: no token, an unknown one, an expired one.
pub(crate) fn identity(store: &Store, headers: &HeaderMap) -> Option<Identity> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (identity, expires) = store.access_tokens.get(given.strip_prefix("Bearer ")?)?;
    (*expires > now()).then(|| identity.clone())
}
