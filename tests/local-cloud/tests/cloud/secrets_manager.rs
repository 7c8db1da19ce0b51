use local_cloud::{CertificateSpec, LocalCloud, Options, Policy, Role, SecretType};
use serde_json::{Value, json};

use crate::client::{Answer, get, owner_token, start, start_with, token, write};

fn read(cloud: &LocalCloud, path: &str) -> Answer {
    get(
        &format!("{}/api/v2/{path}", cloud.secrets_manager_url()),
        &token(cloud),
    )
}

fn secret(cloud: &LocalCloud, spec: CertificateSpec) -> Value {
    let id = cloud.issue(spec);
    let answer = read(cloud, &format!("secrets/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

fn has(body: &Value, fields: &[&str]) {
    for field in fields {
        assert!(!body[field].is_null(), "{field} is missing in {body}");
    }
}

fn lacks(body: &Value, fields: &[&str]) {
    for field in fields {
        assert!(body.get(field).is_none(), "{field} in {body}");
    }
}

/// A secret with this name; which fields it has, which it lacks, and the PEM blocks in `certificate`.
#[test]
fn each_type_has_its_fields() {
    let cloud = start();
    let spec = |name: &str, secret_type| CertificateSpec {
        name: name.into(),
        secret_type,
        ..CertificateSpec::default()
    };
    let public = spec("public", SecretType::PublicCert);
    let bare = CertificateSpec {
        bundle_certs: false,
        ..spec("bare", SecretType::PublicCert)
    };
    let imported = spec("imported", SecretType::ImportedCert);
    let poor = CertificateSpec {
        with_private_key: false,
        with_intermediate: false,
        ..spec("poor", SecretType::ImportedCert)
    };
    let managed = CertificateSpec {
        managed_csr: true,
        ..spec("managed", SecretType::ImportedCert)
    };
    let private = spec("private", SecretType::PrivateCert);
    let arbitrary = spec("arbitrary", SecretType::Arbitrary);
    let of_public = "certificate intermediate private_key bundle_certs ca dns issuance_info \
                     rotation signing_algorithm validity serial_number";
    let no_issuer = "issuing_ca ca_chain private_key_included managed_csr";
    for (spec, fields, absent, blocks) in [
        (public, of_public, no_issuer, 2),
        (bare, of_public, no_issuer, 1),
        (
            imported,
            "certificate intermediate private_key",
            "issuing_ca managed_csr",
            1,
        ),
        (
            poor,
            "certificate",
            "intermediate private_key managed_csr",
            1,
        ),
        (managed, "certificate managed_csr", "private_key", 1),
        (
            private,
            "issuing_ca ca_chain private_key certificate_template",
            "intermediate bundle_certs",
            1,
        ),
        (arbitrary, "payload", "certificate private_key", 0),
    ] {
        let (name, secret_type) = (spec.name.clone(), spec.secret_type);
        let managed = spec.managed_csr;
        let with_key = spec.with_private_key && !managed;
        let body = secret(&cloud, spec);
        has(&body, &["id", "crn", "name", "updated_at"]);
        has(&body, &fields.split_whitespace().collect::<Vec<_>>());
        lacks(&body, &absent.split_whitespace().collect::<Vec<_>>());
        assert_eq!(body["secret_type"], secret_type.as_str());
        assert_eq!(body["state"], 1);
        assert_eq!(body["managed_csr"]["private_key"].is_string(), managed);
        let certificate = body["certificate"].as_str().unwrap_or_default();
        assert_eq!(certificate.matches("BEGIN").count(), blocks, "{name}");
        if secret_type == SecretType::ImportedCert {
            assert_eq!(body["private_key_included"], with_key, "{name}");
        }
    }
}

#[test]
fn states() {
    let cloud = start();
    let id = cloud.issue(CertificateSpec::default());
    for (state, word, payload) in [
        (0, "pre_activation", false),
        (2, "suspended", true),
        (3, "deactivated", true),
        (5, "destroyed", false),
        (1, "active", true),
    ] {
        cloud.set_state(&id, state);
        let body = read(&cloud, &format!("secrets/{id}")).json();
        assert_eq!(
            (&body["state"], &body["state_description"]),
            (&json!(state), &json!(word))
        );
        for field in ["certificate", "private_key", "serial_number", "validity"] {
            assert_eq!(
                body.get(field).is_some(),
                payload,
                "{field} in state {state}"
            );
        }
    }
}

#[test]
fn versions_keep_two_payloads() {
    let cloud = start();
    let id = cloud.issue(CertificateSpec::default());
    let first = cloud.serial(&id).unwrap();
    cloud.rotate_quietly(&[&id]);
    let second = cloud.serial(&id).unwrap();
    let previous = read(&cloud, &format!("secrets/{id}/versions/previous")).json();
    assert_eq!(previous["serial_number"], first);
    assert_eq!(previous["alias"], "previous");
    has(&previous, &["certificate", "private_key"]);
    let current = read(&cloud, &format!("secrets/{id}/versions/current/metadata")).json();
    assert_eq!(current["serial_number"], second);
    assert_eq!(current["downloaded"], false);
    lacks(&current, &["certificate", "private_key"]);
    assert_eq!(
        read(&cloud, &format!("secrets/{id}")).json()["downloaded"],
        true
    );
    cloud.rotate_quietly(&[&id]);
    let all = read(&cloud, &format!("secrets/{id}/versions")).json();
    let available: Vec<_> = all["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["payload_available"].clone())
        .collect();
    assert_eq!(available, [false, true, true]);
    assert_eq!(
        read(&cloud, &format!("secrets/{id}/versions/{id}")).status,
        404
    );
}

/// A version says when it was made, and shows what its type has; the rest is the secret's.
#[test]
fn versions_by_type() {
    let cloud = start();
    let spec = |name: &str, secret_type| CertificateSpec {
        name: name.into(),
        secret_type,
        ..CertificateSpec::default()
    };
    let managed = CertificateSpec {
        managed_csr: true,
        ..spec("csr", SecretType::ImportedCert)
    };
    let imported = spec("imported", SecretType::ImportedCert);
    let bare = ["issuing_ca", "ca_chain", "csr", "managed_csr"];
    for (spec, fields, absent) in [
        (
            spec("public", SecretType::PublicCert),
            vec!["certificate", "intermediate", "private_key"],
            bare.to_vec(),
        ),
        (
            imported,
            vec!["certificate", "intermediate", "private_key"],
            bare.to_vec(),
        ),
        (
            spec("private", SecretType::PrivateCert),
            vec!["certificate", "private_key", "issuing_ca", "ca_chain"],
            vec!["intermediate", "csr"],
        ),
        (
            managed,
            vec!["certificate", "csr"],
            vec!["managed_csr", "private_key"],
        ),
    ] {
        let id = cloud.issue(spec);
        cloud.rotate_quietly(&[&id]);
        for alias in ["current", "previous"] {
            let path = format!("secrets/{id}/versions/{alias}");
            let version = read(&cloud, &path).json();
            has(&version, &fields);
            lacks(&version, &absent);
            assert_eq!(version["payload_available"], true);
            let metadata = read(&cloud, &format!("{path}/metadata")).json();
            has(
                &metadata,
                &["created_at", "serial_number", "validity", "id"],
            );
            lacks(&metadata, &fields);
            lacks(&metadata, &["state", "crn", "common_name"]);
            assert_eq!(metadata["downloaded"], true, "the read above");
        }
    }
}

#[test]
fn a_version_ages_alone() {
    let cloud = start();
    let id = cloud.issue(CertificateSpec::default());
    cloud.rotate_quietly(&[&id]);
    let created = |alias: &str| {
        let path = format!("secrets/{id}/versions/{alias}/metadata");
        let body = read(&cloud, &path).json();
        let text = body["created_at"].as_str().unwrap().to_owned();
        time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).unwrap()
    };
    let (current, previous) = (created("current"), created("previous"));
    cloud.age_version(&id, std::time::Duration::from_secs(600));
    assert_eq!(created("current"), current - time::Duration::minutes(10));
    assert_eq!(created("previous"), previous);
}

/// Of versions too; the serial number stays, since every certificate has one.
#[test]
fn optional_fields_of_a_version_by_a_knob() {
    let cloud = start_with(Options {
        optional_fields: false,
        ..Options::default()
    });
    let id = cloud.issue(CertificateSpec::default());
    let body = read(&cloud, &format!("secrets/{id}/versions/current")).json();
    lacks(&body, &["alias", "downloaded", "expiration_date"]);
    has(&body, &["created_at", "serial_number", "certificate"]);
}

#[test]
fn names_and_groups() {
    let cloud = start();
    for name in ["a", "b", "c"] {
        cloud.issue(CertificateSpec {
            name: name.into(),
            ..Default::default()
        });
    }
    let foreign = cloud.issue(CertificateSpec {
        name: "foreign".into(),
        secret_group_id: Some(cloud.world().foreign_secret_group_id),
        ..Default::default()
    });
    let by_name = "secret_groups/certificates/secret_types/public_cert/secrets/b";
    assert_eq!(read(&cloud, by_name).json()["name"], "b");
    assert_eq!(read(&cloud, &format!("secrets/{foreign}")).status, 403);
    assert_eq!(
        read(&cloud, "secrets/00000000-1111-4222-8333-444444444444").status,
        404
    );
    assert_eq!(read(&cloud, "secrets/x").status, 400);
    cloud.set_policies(vec![Policy::SecretsManager {
        role: Role::Reader,
        secret_group_id: None,
    }]);
    assert_eq!(read(&cloud, &format!("secrets/{foreign}")).status, 403);
    assert_eq!(
        read(&cloud, &format!("secrets/{foreign}/metadata")).status,
        200
    );
}

#[test]
fn the_owner_creates_and_rotates_over_the_api() {
    let cloud = start();
    let base = format!("{}/api/v2/secrets", cloud.secrets_manager_url());
    let owner = owner_token(&cloud);
    let wanted = json!({
        "name": "www", "secret_type": "private_cert", "certificate_template": "web",
        "common_name": "www.example.com", "secret_group_id": cloud.world().secret_group_id,
    });
    let created = write("POST", &base, &owner, None, &wanted);
    assert_eq!(created.status, 201, "{}", created.json());
    assert_eq!(write("POST", &base, &owner, None, &wanted).status, 409);
    assert_eq!(
        write("POST", &base, &token(&cloud), None, &wanted).status,
        403
    );
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let before = cloud.serial(&id);
    let rotated = write(
        "POST",
        &format!("{base}/{id}/versions"),
        &owner,
        None,
        &json!({}),
    );
    assert_eq!(rotated.status, 201);
    assert_ne!(cloud.serial(&id), before);
    assert_eq!(
        write("DELETE", &format!("{base}/{id}"), &owner, None, &json!({})).status,
        204
    );
}
