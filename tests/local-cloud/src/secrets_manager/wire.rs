//! Which fields a secret and a version show: by type, state and version.

use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::authority::{Material, SecretType};
use crate::clock::seconds;
use crate::store::{Secret, Version, object};
use crate::world::OWNER;

/// What the SDK marks optional in every certificate type, or what no type of certificate needs.
const OPTIONAL: &str = "custom_metadata description downloaded expiration_date issuance_info labels \
    locks_total name next_rotation_date referenced_by retrieved_at state_description x_not_in_the_documents";

/// The same for versions. The serial number stays: all certificates have one.
const OPTIONAL_OF_VERSIONS: &str =
    "alias downloaded expiration_date secret_name version_custom_metadata";

const CSR: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";

/// The version whose fields the secret shows: none while an order is pending.
fn shown(secret: &Secret) -> Option<&Version> {
    // 0: nothing issued yet. 5: destroyed, the payload is gone. Whether 2 and 3 hand the payload out
    // is not documented; the harder case for a client is that they do.
    (![0, 5].contains(&secret.state)).then(|| secret.current())
}

/// Metadata; of certificates with everything but the PEM texts.
pub(super) fn described(cloud: &Cloud, secret: &Secret) -> Map<String, Value> {
    let words = ["pre_activation", "active", "suspended", "deactivated"];
    let word = words.get(usize::from(secret.state)).unwrap_or(&"destroyed");
    let epoch = time::OffsetDateTime::UNIX_EPOCH;
    let mut body = object(json!({
        "created_at": seconds(secret.created_at),
        "created_by": OWNER,
        "crn": crn(cloud, &secret.id),
        "custom_metadata": {},
        "description": "",
        "downloaded": secret.current().downloaded,
        "id": secret.id,
        "labels": [],
        "locks_total": 0,
        "name": secret.name,
        "referenced_by": [],
        "retrieved_at": seconds(secret.retrieved_at.unwrap_or(epoch)),
        "secret_group_id": secret.secret_group_id,
        "secret_type": secret.secret_type,
        "state": secret.state,
        "state_description": word,
        "updated_at": seconds(secret.updated_at),
        "versions_total": secret.versions.len(),
        // IBM adds fields over time; a client that rejects unknown fields fails here.
        "x_not_in_the_documents": { "certificate": null },
    }));
    let version = shown(secret);
    let material = version.and_then(|version| version.material.as_ref());
    let spec = &secret.spec;
    let more = match secret.secret_type {
        SecretType::Arbitrary => json!({}),
        SecretType::PublicCert => json!({
            "bundle_certs": spec.bundle_certs,
            "ca": "lets-encrypt-prod",
            "dns": "cis-prod",
            "common_name": spec.names.first(),
            "alt_names": spec.names,
            "issuance_info": {
                "auto_rotated": version.is_some_and(|version| version.auto_rotated),
                "ordered_on": seconds(secret.updated_at),
                "state": secret.state,
                "state_description": word,
            },
            "key_algorithm": "ECDSA256",
            "rotation": { "auto_rotate": true, "rotate_keys": spec.rotate_keys },
        }),
        SecretType::ImportedCert => json!({
            "intermediate_included": material.is_some_and(|m| m.intermediate.is_some()),
            "private_key_included": material.is_some_and(|m| m.private_key.is_some()),
        }),
        SecretType::PrivateCert => json!({
            "certificate_authority": "my-intermediate-ca",
            "certificate_template": "web-servers",
            "next_rotation_date": seconds(secret.updated_at + time::Duration::days(30)),
            "rotation": { "auto_rotate": true, "interval": 1, "unit": "month" },
        }),
    };
    body.extend(object(more));
    body.extend(version.into_iter().flat_map(|version| version.facts.clone()));
    if !cloud.options.optional_fields {
        body.retain(|name, _| !OPTIONAL.split(' ').any(|one| one == name));
    }
    body
}

/// With the PEM texts, and a managed CSR with its key, which a version does not show.
pub(super) fn with_payload(cloud: &Cloud, secret: &Secret) -> Map<String, Value> {
    let mut body = described(cloud, secret);
    let Some(material) = shown(secret).and_then(|version| version.material.as_ref()) else {
        return body;
    };
    body.extend(texts(material));
    if let Some(key) = &material.managed_csr_private_key {
        let csr = json!({
            "ou": [], "organization": [], "country": [], "locality": [], "province": [],
            "street_address": [], "postal_code": [], "require_cn": true,
            "exclude_cn_from_sans": false, "server_flag": true, "client_flag": false,
            "code_signing_flag": false, "email_protection_flag": false, "key_type": "ec",
            "key_bits": 256, "csr": CSR, "private_key": key,
        });
        body.insert("managed_csr".into(), csr);
    }
    body
}

/// The PEM texts, flat; which of them exist depends on the type.
fn texts(material: &Material) -> Map<String, Value> {
    let mut fields = object(json!(material));
    if !fields["managed_csr_private_key"].take().is_null() {
        fields.insert("csr".into(), CSR.into());
    }
    fields.retain(|_, text| !text.is_null());
    fields
}

pub(super) fn group(id: &str, name: &str) -> Value {
    json!({
        "created_at": "2026-01-15T09:00:00Z",
        "created_by": OWNER,
        "description": "",
        "id": id,
        "name": name,
        "updated_at": "2026-01-15T09:00:00Z",
    })
}

pub(super) fn version_described(cloud: &Cloud, secret: &Secret, at: usize) -> Map<String, Value> {
    let version = &secret.versions[at];
    let mut body = object(json!({
        "auto_rotated": version.auto_rotated,
        "created_at": seconds(version.created_at),
        "created_by": OWNER,
        "downloaded": version.downloaded,
        "id": version.id,
        "payload_available": version.material.is_some() && shown(secret).is_some(),
        "secret_group_id": secret.secret_group_id,
        "secret_id": secret.id,
        "secret_name": secret.name,
        "secret_type": secret.secret_type,
        "version_custom_metadata": {},
    }));
    let aliases = ["current", "previous"];
    if let Some(alias) = aliases.get(secret.versions.len() - 1 - at) {
        body.insert("alias".into(), (*alias).into());
    }
    for fact in ["expiration_date", "serial_number", "validity"] {
        let value = version.facts.get(fact);
        body.extend(value.map(|value| (fact.into(), value.clone())));
    }
    if !cloud.options.optional_fields {
        let optional = |name: &str| OPTIONAL_OF_VERSIONS.split(' ').any(|one| one == name);
        body.retain(|name, _| !optional(name));
    }
    body
}

pub(super) fn version_with_payload(
    cloud: &Cloud,
    secret: &Secret,
    at: usize,
) -> Map<String, Value> {
    let mut body = version_described(cloud, secret, at);
    let material = secret.versions[at].material.as_ref();
    let material = material.filter(|_| shown(secret).is_some());
    body.extend(material.into_iter().flat_map(texts));
    body
}

pub(crate) fn crn(cloud: &Cloud, id: &str) -> String {
    let instance = cloud.world.instance_crn.trim_end_matches(':');
    format!("{instance}:secret:{id}")
}
