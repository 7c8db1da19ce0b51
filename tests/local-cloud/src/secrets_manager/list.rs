//! The list of all secrets: filters, order, pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::wire::described;
use super::{answered, holder, instance};
use crate::Cloud;
use crate::problems::secrets_manager as problem;
use crate::store::{Secret, Wish};

/// What lists can be sorted by.
const SORTABLE: [&str; 7] = [
    "created_at",
    "expiration_date",
    "id",
    "name",
    "retrieved_at",
    "secret_type",
    "updated_at",
];

/// Metadata of the secrets that the caller may see, as the SDK's parameters choose them.
pub(super) async fn list(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    answered(cloud.update(|store| {
        let identity = holder(store, &headers)?;
        instance(store, &identity)?;
        let bad = |why: &str| problem(400, "bad_request", why);
        let number = |name: &str, default: usize| {
            let parsed = query.get(name).map_or(Ok(default), |text| text.parse());
            parsed.map_err(|_| bad(&format!("{name} is not a number")))
        };
        let (limit, offset) = (number("limit", 200)?, number("offset", 0)?);
        if !(1..=1000).contains(&limit) {
            return Err(bad("limit must be 1 to 1000"));
        }
        let mut found: Vec<_> = store
            .secrets
            .values()
            .filter(|s| store.permits(&identity, Wish::ReadMetadata(&s.secret_group_id)))
            .filter(|s| chosen(&query, s))
            .map(|s| described(&cloud, store, s))
            .collect();
        if let Some(sort) = query.get("sort") {
            let field = sort.trim_start_matches('-');
            if !SORTABLE.contains(&field) {
                return Err(bad(&format!("sort by {field} is not possible")));
            }
            found.sort_by_key(|s| s.get(field).and_then(Value::as_str).map(str::to_owned));
            if sort.starts_with('-') {
                found.reverse();
            }
        }
        let base = cloud.addresses.secrets_manager();
        let href = |offset: usize| {
            json!({ "href": format!("{base}/api/v2/secrets?limit={limit}&offset={offset}") })
        };
        let total = found.len();
        let page: Vec<_> = found.into_iter().skip(offset).take(limit).collect();
        let mut body = json!({
            "total_count": total,
            "limit": limit,
            "offset": offset,
            "first": href(0),
            "last": href(total.saturating_sub(1) / limit * limit),
            "secrets": page,
        });
        if offset + limit < total {
            body["next"] = href(offset + limit);
        }
        if offset > 0 {
            body["previous"] = href(offset.saturating_sub(limit));
        }
        Ok(Json(body).into_response())
    }))
}

/// Does a secret fit the filters of a list?
fn chosen(query: &BTreeMap<String, String>, secret: &Secret) -> bool {
    let among = |name: &str, value: &str| {
        query
            .get(name)
            .is_none_or(|list| list.split(',').any(|one| one == value))
    };
    let search = query.get("search").map(String::as_str).unwrap_or_default();
    let secret_type = secret.secret_type.as_str();
    let mut searched = [&secret.id, &secret.name, &secret.description, secret_type].into_iter();
    among("groups", &secret.secret_group_id)
        && among("secret_types", secret_type)
        && searched.any(|text| text.contains(search))
}
