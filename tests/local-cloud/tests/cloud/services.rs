use std::collections::BTreeMap;
use std::time::Duration;

use local_cloud::{Action, CertificateSpec, JobSettings, Options, Policy, Role, SecretType};
use serde_json::{Value, json};

use crate::client::{Stage, tls};

const SOON: Duration = Duration::from_secs(60);

/// Status of: the project, a list, a secret's PUT, its creation, its removal.
fn statuses(stage: &Stage, policy: Policy) -> [u16; 5] {
    let (cloud, project) = (&stage.cloud, &stage.project);
    cloud.put_tls_secret(project, "shop-tls", "a", "b");
    cloud.set_policies(vec![policy]);
    let mut new = tls("a");
    new["name"] = "new".into();
    [
        ("GET", "", &Value::Null),
        ("GET", "/domain_mappings", &Value::Null),
        ("PUT", "/secrets/shop-tls", &tls("a")),
        ("POST", "/secrets", &new),
        ("DELETE", "/secrets/shop-tls", &Value::Null),
    ]
    .map(|(method, path, body)| stage.code_engine(method, path, body).status)
}

#[test]
fn roles_and_actions_of_code_engine() {
    use Action::{ReadEntities, ReadProject, UpdateEntities};
    let stage = Stage::new(Options::default());
    let own = &stage.project;
    let other = stage.cloud.create_project("other", "eu-de");
    for (role, expected) in
        [(Role::Writer, [200, 200, 200, 201, 202]), (Role::Reader, [200, 200, 403, 403, 403])]
    {
        let project_id = own.clone();
        assert_eq!(statuses(&stage, Policy::CodeEngine { role, project_id }), expected, "{role:?}");
    }
    let all = Action::ALL_OF_THE_JOB;
    for (actions, project, expected) in [
        (&all[..], own, [200, 200, 200, 403, 403]),
        (&[ReadEntities, UpdateEntities], own, [403, 200, 200, 403, 403]),
        (&[ReadProject, UpdateEntities], own, [200, 403, 200, 403, 403]),
        (&[ReadProject, ReadEntities], own, [200, 200, 403, 403, 403]),
        (&all, &other, [403; 5]),
    ] {
        let (actions, project_id) = (actions.to_vec(), project.clone());
        let policy = Policy::CodeEngineCustom { actions, project_id };
        assert_eq!(statuses(&stage, policy.clone()), expected, "{policy:?}");
    }
}

/// What a policy of Secrets Manager shows: how many secrets a list has, metadata, payload.
#[test]
fn roles_and_groups_of_secrets_manager() {
    let stage = Stage::new(Options::default());
    let world = stage.cloud.world();
    let (own, foreign) = (Some(world.secret_group_id), Some(world.foreign_secret_group_id));
    stage.cloud.issue(CertificateSpec {
        name: "foreign".into(),
        secret_group_id: foreign.clone(),
        ..CertificateSpec::default()
    });
    let id = format!("secrets/{}", stage.secret);
    for (role, secret_group_id, expected) in [
        (Role::SecretsReader, None, (2, 200, 200)),
        (Role::Reader, None, (2, 200, 403)),
        (Role::SecretsReader, own, (1, 200, 200)),
        (Role::SecretsReader, foreign, (1, 403, 403)),
        (Role::SecretsReader, Some("default".into()), (0, 403, 403)),
    ] {
        let policy = Policy::SecretsManager { role, secret_group_id };
        stage.cloud.set_policies(vec![policy.clone()]);
        let listed = stage.secrets_manager("secrets").json();
        let metadata = stage.secrets_manager(&format!("{id}/metadata")).status;
        let payload = stage.secrets_manager(&id).status;
        let listed = listed["secrets"].as_array().unwrap().len();
        assert_eq!((listed, metadata, payload), expected, "{policy:?}");
    }
    stage.cloud.set_policies(Vec::new());
    assert_eq!(stage.secrets_manager("secrets").status, 403);
}

/// What the SDKs' models leave open: fields that a secret has, and lacks.
#[test]
fn fields_by_type_and_state() {
    let stage = Stage::new(Options::default());
    let spec = |secret_type| CertificateSpec { secret_type, ..CertificateSpec::default() };
    let imported = || spec(SecretType::ImportedCert);
    let (with_private_key, with_intermediate) = (false, false);
    let poor = CertificateSpec { with_private_key, with_intermediate, ..imported() };
    let managed = CertificateSpec { managed_csr: true, ..imported() };
    for (spec, fields, absent) in [
        (spec(SecretType::PublicCert), "intermediate private_key ca dns", "issuing_ca managed_csr"),
        (imported(), "certificate intermediate private_key", "issuing_ca managed_csr"),
        (poor, "certificate", "intermediate private_key managed_csr"),
        (managed, "certificate managed_csr csr", "private_key"),
        (spec(SecretType::PrivateCert), "issuing_ca ca_chain private_key", "intermediate"),
        (spec(SecretType::Arbitrary), "payload", "certificate private_key serial_number"),
    ] {
        let name = format!("{fields} but {absent}").replace(' ', "-");
        let id = stage.cloud.issue(CertificateSpec { name, ..spec });
        let body = stage.secrets_manager(&format!("secrets/{id}")).json();
        let has = |field: &str| body.get(field).is_some();
        assert!(fields.split(' ').all(has), "{fields}: {body}");
        assert!(!absent.split(' ').any(has), "{absent}: {body}");
    }
    let id = &stage.secret;
    for (state, word, payload) in [
        (0, "pre_activation", false),
        (2, "suspended", true),
        (3, "deactivated", true),
        (5, "destroyed", false),
        (1, "active", true),
    ] {
        stage.cloud.set_state(id, state);
        let body = stage.secrets_manager(&format!("secrets/{id}")).json();
        assert_eq!((&body["state"], &body["state_description"]), (&json!(state), &json!(word)));
        for field in ["certificate", "private_key", "serial_number", "validity"] {
            assert_eq!(body.get(field).is_some(), payload, "{field} in state {state}");
        }
    }
    // two payloads are kept
    stage.cloud.rotate_quietly(&[id]);
    stage.cloud.rotate_quietly(&[id]);
    let all = stage.secrets_manager(&format!("secrets/{id}/versions")).json();
    let available = |n: usize| all["versions"][n]["payload_available"] == true;
    assert_eq!([0, 1, 2].map(available), [false, true, true]);
}

/// The names in IBM's documents, and no others.
#[test]
fn the_environment_of_a_job_run_is_code_engines() {
    let stage = Stage::running("/usr/bin/env; cat \"$CR_TOKEN_FILENAME\" >&2", Options::default());
    let (cloud, project) = (&stage.cloud, stage.project.as_str());
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let of_job = BTreeMap::from([variable("OF_JOB", "1"), variable("BOTH", "job")]);
    cloud.create_job(project, "own", &of_job, &JobSettings::default());
    let of_run = BTreeMap::from([variable("BOTH", "run")]);
    let name = cloud.submit_job_run(project, "own", &of_run);
    let run = cloud.wait_job_run(project, &name, SOON).unwrap();
    let attempt = &run.attempts[0];
    let names: Vec<_> = attempt.environment.keys().map(String::as_str).collect();
    let expected = "BOTH CE_API_BASE_URL CE_DOMAIN CE_JOB CE_JOBRUN CE_PROJECT_ID CE_REGION \
                    CE_SUBDOMAIN CR_TOKEN_FILENAME HOME HOSTNAME JOB_ARRAY_SIZE JOB_INDEX \
                    JOB_INDEX_RETRY_COUNT JOB_MODE JOB_RETRY_LIMIT OF_JOB PATH PWD";
    assert_eq!(names.join(" "), expected);
    assert_eq!(attempt.environment["BOTH"], "run");
    for (name, value) in &attempt.environment {
        let line = format!("{name}={value}\n");
        assert!(attempt.stdout.contains(&line), "{name}");
    }
    // the compute resource token
    assert_eq!(attempt.stderr.matches('.').count(), 2);
    assert!(cloud.secrets_in_use().contains(&attempt.stderr));
    // ten kibibytes and no more
    for (bytes, status) in [(9_500, 202), (10_300, 400)] {
        let value = "x".repeat(bytes);
        let variable = json!({ "type": "literal", "name": "ibmendata", "value": value });
        let body = json!({ "job_name": "own", "run_env_variables": [variable] });
        assert_eq!(stage.code_engine("POST", "/job_runs", &body).status, status);
    }
}

/// Also one that does not hear SIGTERM; and its files go.
#[test]
fn a_cloud_that_ends_ends_its_processes() {
    let stage =
        Stage::running("trap '' TERM; echo $$ > \"$PID_FILE\"; sleep 60", Options::default());
    let (cloud, project) = (&stage.cloud, stage.project.as_str());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let environment = BTreeMap::from([("PID_FILE".into(), file.display().to_string())]);
    cloud.create_job(project, "own", &environment, &JobSettings::default());
    cloud.submit_job_run(project, "own", &BTreeMap::new());
    let pid = loop {
        match std::fs::read_to_string(&file) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => std::thread::yield_now(),
        }
    };
    let files = [cloud.ca_file(), cloud.world().cr_token_file];
    let _clone = std::ops::Deref::deref(cloud).clone();
    drop(stage);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(files.iter().all(|file| !file.exists()));
}

/// What the tests of `--check` and `--discover` rest on: reading leaves the state alone, every change
/// shows, and no key or certificate is in it.
#[test]
fn the_whole_state() {
    let stage = Stage::new(Options::default());
    let (cloud, id, project) = (&stage.cloud, stage.secret.as_str(), stage.project.as_str());
    cloud.map_domain(project, "shop.example.com", "shop-tls");
    cloud.create_app(project, "shop", json!({}));
    let before = cloud.state();
    for path in ["/secrets/shop-tls", "/secrets", "/apps/shop", "/domain_mappings"] {
        let read = stage.code_engine("GET", path, &Value::Null);
        assert_eq!(read.status, 200, "{path}");
    }
    for path in ["", "/metadata", "/versions/current", "/versions/current/metadata"] {
        let read = stage.secrets_manager(&format!("secrets/{id}{path}"));
        assert_eq!(read.status, 200, "{path}");
    }
    assert_eq!(stage.put("\"stale\"").status, 412);
    cloud.served("shop.example.com").unwrap();
    assert_eq!(cloud.state(), before);

    let same = cloud.tls_secret(project, "shop-tls").unwrap();
    let reader = Policy::SecretsManager { role: Role::Reader, secret_group_id: None };
    let changes: [(&str, &dyn Fn()); 7] = [
        ("a version", &|| cloud.rotate_quietly(&[id])),
        ("a state", &|| cloud.set_state(id, 3)),
        ("no key", &|| cloud.change_material(id, |material| material.private_key = None)),
        ("the same bytes again", &|| {
            cloud.put_tls_secret(project, "shop-tls", &same.tls_cert, &same.tls_key)
        }),
        ("a mapping", &|| cloud.map_domain(project, "a.example.com", "shop-tls")),
        ("a policy", &|| cloud.grant(reader.clone())),
        ("a link", &|| cloud.set_links(Vec::new())),
    ];
    for (what, change) in changes {
        let before = cloud.state();
        change();
        assert_ne!(cloud.state(), before, "{what}");
    }
    let text = cloud.state().to_string();
    let secrets = cloud.secrets_in_use();
    assert!(!secrets.iter().any(|secret| text.contains(secret)));
    assert!(!text.contains("-----BEGIN"), "{text}");
}

/// What the SDKs' tests do not ask of the control port: a mapping, and what is wrong.
#[test]
fn the_control_port() {
    let stage = Stage::new(Options::default());
    let domain = format!("projects/{}/domains/a.example.com", stage.project);
    let material = format!("secrets/{}/material", stage.secret);
    for (method, path, body, status) in [
        ("GET", "state", Value::Null, 200),
        ("PUT", &domain, json!({ "tls_secret": "shop-tls" }), 204),
        ("PUT", &material, json!({ "certificate": "not PEM", "private_key": "neither" }), 204),
        ("PUT", &material, json!({ "colour": "red" }), 400),
        ("PUT", "projects/x/domains/y", json!({}), 400),
        ("POST", "rotate", json!({ "secret_ids": ["x"] }), 400),
        ("GET", "nothing", Value::Null, 404),
    ] {
        let answer = stage.control(method, path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(status < 400 || answer.json()["error"].is_string(), "{answer:?}");
    }
    let certificate = stage.cloud.material(&stage.secret).certificate;
    assert_eq!(certificate.as_deref(), Some("not PEM"));
}
