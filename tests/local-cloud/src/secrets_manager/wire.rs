//! Which fields a secret and a version show: by type, state and version.

use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::authority::{Material, SecretType};
use crate::clock::seconds;
use crate::store::{Group, Secret, Store, Version};

/// What the SDK marks optional in every certificate type, or what no type of certificate needs.
const OPTIONAL: [&str; 13] = [
    "custom_metadata",
    "description",
    "downloaded",
    "expiration_date",
    "issuance_info",
    "labels",
    "locks_total",
    "name",
    "next_rotation_date",
    "referenced_by",
    "retrieved_at",
    "state_description",
    "x_not_in_the_documents",
];

const CSR: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";

/// The same for versions. The serial number stays: all certificates have one.
const OPTIONAL_OF_VERSIONS: [&str; 5] = [
    "alias",
    "downloaded",
    "expiration_date",
    "secret_name",
    "version_custom_metadata",
];

/// The version whose fields the secret shows: none while an order is pending.
pub(super) fn shown(secret: &Secret) -> Option<&Version> {
    // 0: nothing issued yet. 5: destroyed, the payload is gone. Whether 2 and 3 hand the payload out
    // is not documented; the harder case for a client is that they do.
    if secret.state == 0 || secret.state == 5 {
        None
    } else {
        secret.current()
    }
}

/// Metadata; of certificates with everything but the PEM texts.
pub(super) fn described(cloud: &Cloud, store: &Store, secret: &Secret) -> Map<String, Value> {
    let epoch = "1970-01-01T00:00:00Z".to_owned();
    let mut body = object(json!({
        "created_at": seconds(secret.created_at),
        "created_by": secret.created_by,
        "crn": store.secret_crn(&secret.id),
        "custom_metadata": {},
        "description": secret.description,
        "downloaded": secret.current().is_some_and(|version| version.downloaded),
        "id": secret.id,
        "labels": secret.labels,
        "locks_total": 0,
        "name": secret.name,
        "referenced_by": [],
        "retrieved_at": secret.retrieved_at.map_or(epoch, seconds),
        "secret_group_id": secret.secret_group_id,
        "secret_type": secret.secret_type.as_str(),
        "state": secret.state,
        "state_description": match secret.state {
            0 => "pre_activation",
            1 => "active",
            2 => "suspended",
            3 => "deactivated",
            _ => "destroyed",
        },
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
                "state_description": if secret.state == 0 { "pre_activation" } else { "active" },
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
    if let Some(version) = version {
        body.extend(fact_fields(version));
    }
    if !cloud.options.optional_fields {
        body.retain(|name, _| !OPTIONAL.contains(&name.as_str()));
    }
    body
}

pub(super) fn group_described(id: &str, group: &Group) -> Value {
    json!({
        "created_at": seconds(group.created_at),
        "created_by": group.created_by,
        "description": "",
        "id": id,
        "name": group.name,
        "updated_at": seconds(group.created_at),
    })
}

fn fact_fields(version: &Version) -> Map<String, Value> {
    let Some(facts) = &version.facts else {
        return Map::new();
    };
    let mut fields = object(json!({
        "alt_names": facts.alt_names,
        "expiration_date": seconds(facts.not_after),
        "issuer": facts.issuer,
        "key_algorithm": facts.key_algorithm,
        "serial_number": facts.serial_number,
        "signing_algorithm": facts.signing_algorithm,
        "validity": {
            "not_before": seconds(facts.not_before),
            "not_after": seconds(facts.not_after),
        },
    }));
    if let Some(name) = &facts.common_name {
        fields.insert("common_name".into(), name.as_str().into());
    }
    fields
}

/// The PEM texts, flat; which of them exist depends on the type.
pub(super) fn material_fields(secret_type: SecretType, material: &Material) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, text: &Option<String>| {
        if let Some(text) = text {
            fields.insert(name.into(), text.as_str().into());
        }
    };
    if secret_type == SecretType::Arbitrary {
        put("payload", &material.payload);
        return fields;
    }
    put("certificate", &material.certificate);
    put("private_key", &material.private_key);
    put("intermediate", &material.intermediate);
    put("issuing_ca", &material.issuing_ca);
    if let Some(chain) = &material.ca_chain {
        fields.insert("ca_chain".into(), json!(chain));
    }
    if material.managed_csr_private_key.is_some() {
        fields.insert("csr".into(), CSR.into());
    }
    fields
}

/// What a secret shows of a managed CSR, and a version does not: a second key.
pub(super) fn managed_csr(material: &Material) -> Option<Value> {
    let key = material.managed_csr_private_key.as_ref()?;
    Some(json!({
        "ou": [], "organization": [], "country": [], "locality": [], "province": [],
        "street_address": [], "postal_code": [], "require_cn": true,
        "exclude_cn_from_sans": false, "server_flag": true, "client_flag": false,
        "code_signing_flag": false, "email_protection_flag": false, "key_type": "ec",
        "key_bits": 256, "csr": CSR, "private_key": key,
    }))
}

pub(super) fn version_described(
    cloud: &Cloud,
    secret: &Secret,
    index: usize,
) -> Map<String, Value> {
    let version = &secret.versions[index];
    let mut body = object(json!({
        "auto_rotated": version.auto_rotated,
        "created_at": seconds(version.created_at),
        "created_by": secret.created_by,
        "downloaded": version.downloaded,
        "id": version.id,
        "payload_available": version.material.is_some() && shown(secret).is_some(),
        "secret_group_id": secret.secret_group_id,
        "secret_id": secret.id,
        "secret_name": secret.name,
        "secret_type": secret.secret_type.as_str(),
        "version_custom_metadata": {},
    }));
    let alias = match secret.versions.len() - index {
        1 => Some("current"),
        2 => Some("previous"),
        _ => None,
    };
    if let Some(alias) = alias {
        body.insert("alias".into(), alias.into());
    }
    let mut facts = fact_fields(version);
    facts.retain(|name, _| {
        ["expiration_date", "serial_number", "validity"].contains(&name.as_str())
    });
    body.extend(facts);
    if !cloud.options.optional_fields {
        body.retain(|name, _| !OPTIONAL_OF_VERSIONS.contains(&name.as_str()));
    }
    body
}

pub(super) fn version_with_payload(
    cloud: &Cloud,
    secret: &Secret,
    index: usize,
) -> Map<String, Value> {
    let mut body = version_described(cloud, secret, index);
    let material = secret.versions[index].material.as_ref();
    if let Some(material) = material.filter(|_| shown(secret).is_some()) {
        body.extend(material_fields(secret.secret_type, material));
    }
    body
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
