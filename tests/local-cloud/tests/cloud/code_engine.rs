use local_cloud::{AppFate, CertificateSpec, EntityTags, LocalCloud, Options};
use serde_json::{Value, json};

use crate::client::{get, owner_token, send, start, start_with, token, write};

fn deployed(cloud: &LocalCloud) -> String {
    let id = cloud.issue(CertificateSpec::default());
    let project = cloud.world().project_id;
    cloud.deploy(&id, &project, "shop-tls");
    format!("{}/v2/projects/{project}", cloud.code_engine_url())
}

fn tls(text: &str) -> Value {
    json!({ "format": "tls", "data": { "tls_cert": text, "tls_key": text } })
}

#[test]
fn replace_needs_the_tag_of_the_last_read() {
    let cloud = start();
    let url = format!("{}/secrets/shop-tls", deployed(&cloud));
    let token = token(&cloud);
    let read = get(&url, &token);
    let (tag, body) = (read.header("etag").unwrap(), read.json());
    assert_eq!(tag, format!("\"{}\"", body["entity_tag"].as_str().unwrap()));
    assert_eq!(body["resource_type"], "secret_tls_v2");
    assert!(
        body["data"]["tls_key"]
            .as_str()
            .unwrap()
            .contains("PRIVATE KEY")
    );
    assert_eq!(write("PUT", &url, &token, None, &tls("a")).status, 428);
    let put = write("PUT", &url, &token, Some(&tag), &tls("a"));
    assert_eq!(
        (put.status, &put.json()["data"]["tls_cert"]),
        (200, &json!("a"))
    );
    assert_ne!(put.header("etag").unwrap(), tag);
    assert_eq!(
        write("PUT", &url, &token, Some(&tag), &tls("b")).status,
        412
    );
    let bare = put.json()["entity_tag"].as_str().unwrap().to_owned();
    assert_eq!(
        write("PUT", &url, &token, Some(&bare), &tls("b")).status,
        200
    );
    assert_eq!(write("PUT", &url, &token, Some("*"), &tls("c")).status, 200);
    let secret = cloud
        .tls_secret(&cloud.world().project_id, "shop-tls")
        .unwrap();
    assert_eq!((secret.tls_key.as_str(), secret.writes), ("c", 4));
}

#[test]
fn the_open_statuses_are_knobs() {
    let cloud = start_with(Options {
        conflict_status: 409,
        missing_if_match_status: 400,
        ..Options::default()
    });
    let url = format!("{}/secrets/shop-tls", deployed(&cloud));
    let token = token(&cloud);
    assert_eq!(write("PUT", &url, &token, None, &tls("a")).status, 400);
    let stale = write("PUT", &url, &token, Some("\"x\""), &tls("a"));
    assert_eq!(stale.status, 409);
}

/// The form, the header for the tag 7, is `entity_tag` in the body, does the header's text match?
#[test]
fn the_form_of_the_entity_tag_is_a_knob() {
    for (entity_tags, header, in_body, header_matches) in [
        (EntityTags::Bare, Some("7"), true, true),
        (EntityTags::Quoted, Some("\"7\""), true, true),
        (EntityTags::HeaderOnly, Some("\"7\""), false, true),
        (EntityTags::Weak, Some("W/\"7\""), true, true),
        (EntityTags::Weakened, Some("W/\"7\""), true, false),
        (EntityTags::EmptyHeader, Some(""), true, true),
        (EntityTags::BodyOnly, None, true, false),
    ] {
        let cloud = start_with(Options {
            entity_tags,
            ..Options::default()
        });
        let url = format!("{}/secrets/shop-tls", deployed(&cloud));
        let token = token(&cloud);
        let set = || cloud.set_entity_tag(&cloud.world().project_id, "shop-tls", "7");
        set();
        let read = get(&url, &token);
        assert_eq!(read.header("etag").as_deref(), header, "{entity_tags:?}");
        let tag = in_body.then(|| json!("7"));
        assert_eq!(
            read.json().get("entity_tag"),
            tag.as_ref(),
            "{entity_tags:?}"
        );
        let put = |tag: &str| write("PUT", &url, &token, Some(tag), &tls("a")).status;
        assert_eq!(put("8"), 412);
        assert_eq!(put("7"), 200, "{entity_tags:?}");
        set();
        let status = header.map_or(412, put);
        assert_eq!(status == 200, header_matches, "{entity_tags:?}");
    }
}

#[test]
fn entity_tags_are_digits_or_what_the_documented_pattern_allows() {
    for digit_tags in [true, false] {
        let cloud = start_with(Options {
            digit_tags,
            ..Options::default()
        });
        deployed(&cloud);
        let secret = cloud.tls_secret(&cloud.world().project_id, "shop-tls");
        let tag = secret.unwrap().entity_tag;
        assert_eq!(tag.chars().all(|c| c.is_ascii_digit()), digit_tags, "{tag}");
        let documented = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || "*-".contains(c);
        assert!(tag.chars().all(documented), "{tag}");
    }
}

/// What no service should use as a tag, and the header that it makes.
#[test]
fn any_entity_tag_can_be_set() {
    let cloud = start();
    let url = format!("{}/secrets/shop-tls", deployed(&cloud));
    let token = token(&cloud);
    for (tag, header) in [
        ("*", Some("\"*\"")),
        ("", Some("\"\"")),
        ("7\n8", None),
        ("7\u{0}", None),
        ("\u{fc}", Some("\"\u{fc}\"")),
    ] {
        cloud.set_entity_tag(&cloud.world().project_id, "shop-tls", tag);
        let read = get(&url, &token);
        assert_eq!(read.json()["entity_tag"], tag);
        assert_eq!(read.header("etag").as_deref(), header, "{tag:?}");
    }
}

#[test]
fn refusals() {
    let cloud = start();
    let base = deployed(&cloud);
    let token = token(&cloud);
    let project = cloud.world().project_id;
    let data = json!({ "tls_cert": "a", "tls_key": "b" });
    cloud.put_secret(&project, "own", "tls", "system", data);
    let named = |name: &str| json!({ "name": name, "format": "tls", "data": tls("a")["data"] });
    let half = json!({ "format": "tls", "data": { "tls_cert": "a" } });
    let generic = json!({ "format": "generic", "data": {} });
    for (method, path, body, status, code) in [
        ("PUT", "/nothing", tls("a"), 404, "resource_not_found"),
        ("PUT", "/shop-tls", generic, 400, "bad_request"),
        ("PUT", "/shop-tls", half, 400, "bad_request"),
        (
            "PUT",
            "/shop-tls",
            tls(&"x".repeat(600_000)),
            400,
            "bad_request",
        ),
        ("PUT", "/own", tls("a"), 403, "forbidden"),
        ("POST", "", named("Upper"), 400, "bad_request"),
        ("POST", "", named("new"), 201, ""),
        ("POST", "", named("new"), 409, "resource_already_exists"),
        ("DELETE", "/new", json!({}), 202, ""),
        ("DELETE", "/new", json!({}), 404, "resource_not_found"),
    ] {
        let url = format!("{base}/secrets{path}");
        let answer = write(method, &url, &token, Some("*"), &body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        if status >= 400 {
            let error = answer.json();
            assert_eq!(error["errors"][0]["code"], code, "{error}");
            assert!(
                error["trace"]
                    .as_str()
                    .unwrap()
                    .starts_with("codeengine-api-")
            );
        }
    }
    let url = format!("{base}/secrets/shop-tls");
    assert_eq!(get(&url, "wrong").status, 401);
    cloud.set_policies(Vec::new());
    assert_eq!(get(&url, &token).status, 403);
}

#[test]
fn projects_live_in_regions() {
    let cloud = start();
    let base = cloud.code_engine_url();
    let token = owner_token(&cloud);
    let far = cloud.create_project("far", "us-south");
    let home = cloud.world().project_id;
    for (path, status) in [
        (format!("v2/projects/{home}/secrets"), 200),
        (format!("eu-de/v2/projects/{home}/secrets"), 200),
        (format!("us-south/v2/projects/{far}/secrets"), 200),
        (format!("v2/projects/{far}/secrets"), 404),
        (format!("eu-de/v2/projects/{far}/secrets"), 404),
    ] {
        assert_eq!(
            get(&format!("{base}/{path}"), &token).status,
            status,
            "{path}"
        );
    }
    let entry = &cloud.journal()[1];
    assert_eq!(
        entry.route.as_deref(),
        Some("GET /v2/projects/{project_id}/secrets")
    );
}

#[test]
fn domain_mappings_in_pages() {
    let cloud = start();
    let base = deployed(&cloud);
    let token = token(&cloud);
    let project = cloud.world().project_id;
    for domain in ["a.example.com", "b.example.com", "*.c.example.com"] {
        cloud.map_domain(&project, domain, "shop-tls");
    }
    let url = format!("{base}/domain_mappings");
    let page = get(&format!("{url}?limit=2"), &token).json();
    let start = page["next"]["start"].as_str().unwrap();
    let rest = get(&format!("{url}?limit=2&start={start}"), &token).json();
    assert!(rest.get("next").is_none());
    let names: Vec<_> = [&page, &rest]
        .iter()
        .flat_map(|page| page["domain_mappings"].as_array().unwrap())
        .map(|mapping| mapping["name"].clone())
        .collect();
    assert_eq!(names, ["*.c.example.com", "a.example.com", "b.example.com"]);
    let mapping = get(&format!("{url}/a.example.com"), &token);
    assert_eq!(mapping.json()["user_managed"], true);
    assert_eq!(mapping.json()["cname_target"], "127.0.0.1");
    let patch = json!({ "tls_secret": "nothing" });
    let url = format!("{url}/a.example.com");
    assert_eq!(write("PATCH", &url, &token, Some("*"), &patch).status, 400);
}

#[test]
fn an_app_gets_revisions() {
    let cloud = start();
    let project = cloud.world().project_id;
    let variables = json!([{ "type": "secret_full_reference", "reference": "shop-tls" }]);
    cloud.create_app(&project, "shop", json!({ "run_env_variables": variables }));
    let url = format!(
        "{}/v2/projects/{project}/apps/shop",
        cloud.code_engine_url()
    );
    let token = token(&cloud);
    let read = get(&url, &token);
    let tag = read.header("etag").unwrap();
    let created = |body: &Value| body["status_details"]["latest_created_revision"].clone();
    assert_eq!(created(&read.json()), "shop-00001");
    let patch = json!({ "run_env_variables": [{ "type": "literal", "name": "A", "value": "1" }] });
    let patched = write("PATCH", &url, &token, Some(&tag), &patch);
    assert_eq!(patched.status, 200);
    assert_eq!(created(&patched.json()), "shop-00002");
    assert_eq!(
        patched.json()["run_env_variables"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(write("PATCH", &url, &token, Some(&tag), &patch).status, 412);
    let same = write("PATCH", &url, &token, Some("*"), &patch).json();
    assert_eq!(created(&same), "shop-00002");
    cloud.set_app_fate(&project, "shop", AppFate::Failed);
    let patch = json!({ "scale_min_instances": 1 });
    let failed = write("PATCH", &url, &token, Some("*"), &patch).json();
    assert_eq!(
        (&failed["status"], created(&failed)),
        (&json!("failed"), json!("shop-00003"))
    );
    assert_eq!(
        failed["status_details"]["latest_ready_revision"],
        "shop-00002"
    );
}

/// Also what axum refuses before a handler sees it.
#[test]
fn every_refusal_has_ibms_shape() {
    let cloud = start();
    let base = deployed(&cloud);
    let bearer = format!("Bearer {}", token(&cloud));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("If-Match", "*"),
    ];
    let url = format!("{base}/secrets/shop-tls");
    for (method, url, body, status) in [
        ("PUT", url.as_str(), "{", 400),
        ("PUT", url.as_str(), "[]", 400),
        ("PATCH", url.as_str(), "{}", 405),
        ("GET", &format!("{base}/nothing"), "", 404),
    ] {
        let answer = send(method, url, &headers, body);
        assert_eq!(
            (answer.status, &answer.json()["status_code"]),
            (status, &json!(status))
        );
    }
}

#[test]
fn hostile_choices_come_from_the_seed() {
    // the bits choose one by one, from the 13th on the form of the entity tag
    for seed in [0, 0x31f, 0x40b]
        .into_iter()
        .chain((0..6).map(|form| form << 13))
    {
        let cloud = start_with(Options::hostile(seed));
        let url = format!("{}/secrets/shop-tls", deployed(&cloud));
        let read = get(&url, &token(&cloud));
        let body = read.json();
        let tag = body["entity_tag"].as_str();
        let put = write("PUT", &url, &token(&cloud), tag, &tls("a"));
        assert_eq!(put.status, 200, "seed {seed:x}");
    }
}
