//! Many targets by one file: one job, one configuration, the policies that they need.

use ibmcloud_stand_in::rest::{Door, Rest};
use ibmcloud_stand_in::{Account, Instance};
use local_cloud::{CertificateSpec, Policy};
use serde_json::{Value, json};

use crate::harness::{CERTIFICATE, Done, Site, TLS_SECRET, assert_same, root};

/// A site with a second certificate in a group of its own, and a second project of apps.
pub(crate) struct Two {
    pub(crate) site: Site,
    blog: String,
    pub(crate) blog_group: String,
    pub(crate) blog_project: String,
}

impl Two {
    pub(crate) fn new(site: Site) -> Self {
        let rest = Rest::new(&Account::load(site.home.path()));
        let group = json!({ "name": "blog" });
        let made = rest.call(
            Door::SecretsManager,
            "POST",
            "/api/v2/secret_groups",
            Some(&group),
        );
        let blog_group = made.unwrap()["id"].as_str().unwrap().to_owned();
        let blog = site.cloud.issue(CertificateSpec {
            names: vec!["blog.example.com".into()],
            secret_group_id: Some(blog_group.clone()),
            ..CertificateSpec::default()
        });
        let region = site.world.region.clone();
        let blog_project = site.cloud.create_project("blog", &region);
        let crn = site.cloud.project_crn(&blog_project);
        site.account(|account| {
            account.instances.push(Instance {
                service: "codeengine".into(),
                name: "blog".into(),
                guid: blog_project.clone(),
                crn,
                region,
            });
        });
        Self {
            site,
            blog,
            blog_group,
            blog_project,
        }
    }

    /// The certificate of the shop in both projects, that of the blog in its own.
    pub(crate) fn targets(&self) -> Value {
        json!([
            { "secret_id": self.site.secret, "tls_secret": TLS_SECRET },
            { "secret_id": self.site.secret, "tls_secret": TLS_SECRET, "project_id": self.blog_project },
            { "secret_id": self.blog, "tls_secret": "blog-tls", "project_id": self.blog_project, "region": "eu-de" },
        ])
    }

    /// The same, and with names of apps more than fit into a variable. On hold: no app is looked for.
    pub(crate) fn long_targets(&self) -> Value {
        let mut targets = self.targets();
        let apps: Vec<_> = (0..2000).map(|n| format!("app-{n:0>50}")).collect();
        targets[0]["restart_apps"] = apps.into();
        targets[0]["hold"] = true.into();
        targets
    }

    pub(crate) fn setup(&self, targets: &Value, more: &[&str]) -> Done {
        let file = self.site.home.path().join("targets.json");
        std::fs::write(&file, format!("{targets:#}")).unwrap();
        let inputs: Vec<_> = self
            .site
            .inputs()
            .into_iter()
            .filter(|word| {
                !["--certificate", CERTIFICATE, "--tls-secret", TLS_SECRET].contains(word)
            })
            .collect();
        let file = ["--targets", file.to_str().unwrap(), "--yes"];
        let arguments = [inputs.as_slice(), &file, more].concat();
        self.site
            .script(&root().join("scripts/setup.sh"), &arguments)
    }

    /// Does this TLS secret hold what Secrets Manager holds now?
    fn is_current(&self, secret: &str, project: &str, name: &str) -> bool {
        let deployed = self.site.cloud.tls_secret(project, name).unwrap();
        let current = self.site.cloud.material(secret).certificate.unwrap();
        deployed.tls_cert.starts_with(current.trim_end())
    }

    fn are_current(&self) -> bool {
        let apps = &self.site.world.project_id;
        self.site.is_current()
            && self.is_current(&self.site.secret, apps, TLS_SECRET)
            && self.is_current(&self.site.secret, &self.blog_project, TLS_SECRET)
            && self.is_current(&self.blog, &self.blog_project, "blog-tls")
    }

    /// What the profile may read and update: groups and projects.
    fn rights(&self) -> (Vec<String>, Vec<String>) {
        let (_, policies) = self.site.profile();
        let (mut groups, mut projects) = (Vec::new(), Vec::new());
        for policy in policies {
            match policy {
                Policy::SecretsManager {
                    secret_group_id, ..
                } => groups.extend(secret_group_id),
                Policy::CodeEngineCustom { project_id, .. }
                | Policy::CodeEngine { project_id, .. } => {
                    projects.push(project_id);
                }
            }
        }
        groups.sort();
        projects.sort();
        (groups, projects)
    }
}

fn sorted(all: [&str; 2]) -> Vec<String> {
    let mut all = all.map(str::to_owned).to_vec();
    all.sort();
    all
}

#[test]
fn one_job_serves_targets_in_two_groups_and_two_projects() {
    let two = Two::new(Site::new());
    let site = &two.site;
    let done = two.setup(&two.targets(), &[]).expect(0);
    assert_eq!(done.stdout.matches("\n  + ").count(), 3, "{}", done.stdout);
    assert!(two.are_current());
    site.cloud.rotate(&[&site.secret, &two.blog]);
    assert!(two.are_current());
    let expected = (
        sorted([&site.world.secret_group_id, &two.blog_group]),
        sorted([&site.world.project_id, &two.blog_project]),
    );
    assert_eq!(two.rights(), expected);
    assert_eq!(site.everything()["job/jobs"].as_array().unwrap().len(), 1);
    // and again
    let before = site.everything();
    let done = two.setup(&two.targets(), &[]).expect(0);
    assert!(
        done.stdout.contains("Targets: no change."),
        "{}",
        done.stdout
    );
    assert_same(&before, &site.everything());
    // all of it goes, except the TLS secrets
    site.teardown(&["--yes"]).expect(0);
    crate::remove::assert_gone(site);
    assert!(two.are_current());
}

/// First what differs, then the question; what is no longer needed is named, not removed.
#[test]
fn a_changed_file_is_shown_and_then_takes_effect() {
    let two = Two::new(Site::new());
    let site = &two.site;
    two.setup(&two.targets(), &[]).expect(0);
    let before = site.everything();
    let changed = json!([
        { "secret_id": site.secret, "tls_secret": TLS_SECRET, "hold": true },
        { "secret_id": site.secret, "tls_secret": "www-tls" },
    ]);
    let lines = [
        "  + www-tls in project ",
        "  ~ shop-tls in project ",
        "  - shop-tls in project ",
        "  - blog-tls in project ",
        r#"{"hold":true}"#,
    ];
    let plan = two.setup(&changed, &["--plan"]).expect(0);
    for line in lines {
        assert!(plan.stdout.contains(line), "{line}:\n{}", plan.stdout);
    }
    assert_same(&before, &site.everything());

    let done = two.setup(&changed, &[]).expect(0);
    let [step] = done.steps("changed")[..] else {
        panic!("not one change:\n{}", done.stdout)
    };
    assert!(step.contains("sm-tls-sync-config: sets TARGETS"), "{step}");
    let opaque = Account::load(site.home.path()).freedom.policies_opaque;
    let not_needed = done.steps("not needed");
    assert_eq!(
        not_needed.len(),
        if opaque { 0 } else { 2 },
        "{}",
        done.stdout
    );
    assert!(
        not_needed
            .iter()
            .all(|step| step.contains("[ibmcloud iam trusted-profile-policy-delete")),
        "{not_needed:?}"
    );
    let map = &site.everything()["job/config_maps"][0]["data"];
    assert_eq!(map["TARGETS"], changed.to_string());
    assert!(two.is_current(&site.secret, &site.world.project_id, "www-tls"));
}

/// The configuration of one certificate becomes the list of many.
#[test]
fn an_installation_for_one_certificate_takes_a_file_of_targets() {
    let two = Two::new(Site::new());
    two.site.setup(&[]).expect(0);
    let done = two.setup(&two.targets(), &[]).expect(0);
    assert_eq!(done.stdout.matches("\n  + ").count(), 2, "{}", done.stdout);
    assert!(two.are_current());
    let map = two.site.everything()["job/config_maps"][0]["data"].clone();
    for gone in ["SECRET_ID", "TLS_SECRET_NAME"] {
        assert_eq!(map[gone], Value::Null, "{map}");
    }
}

/// One variable holds 128 KiB at most: a longer list is a file in a mounted configmap.
#[test]
fn a_long_list_is_mounted_and_a_short_one_is_not() {
    let two = Two::new(Site::new());
    let site = &two.site;
    let long = two.long_targets();
    two.setup(&long, &[]).expect(0);
    let all = site.everything();
    let data = |name: &str| {
        let maps = all["job/config_maps"].as_array().unwrap();
        maps.iter().find(|map| map["name"] == name).unwrap()["data"].clone()
    };
    let config = data("sm-tls-sync-config");
    assert_eq!(config["TARGETS_FILE"], "/etc/sm-tls-sync/targets.json");
    assert_eq!(config["TARGETS"], Value::Null);
    assert_eq!(
        data("sm-tls-sync-targets")["targets.json"],
        long.to_string()
    );
    let mount = json!([{ "type": "config_map", "mount_path": "/etc/sm-tls-sync", "reference": "sm-tls-sync-targets" }]);
    assert_eq!(all["job/jobs"][0]["run_volume_mounts"], mount);

    let done = two.setup(&two.targets(), &[]).expect(0);
    assert_eq!(done.steps("changed").len(), 2, "{}", done.stdout);
    assert!(two.are_current());
    let all = site.everything();
    assert_eq!(all["job/jobs"][0]["run_volume_mounts"], json!([]));
    assert_eq!(all["job/config_maps"].as_array().unwrap().len(), 1);

    // and back: the mount comes with the list
    let done = two.setup(&long, &[]).expect(0);
    assert_eq!(done.steps("changed").len(), 2, "{}", done.stdout);
    site.teardown(&["--yes"]).expect(0);
    crate::remove::assert_gone(site);
}

#[test]
fn what_is_wrong_in_the_file_is_named_at_once() {
    let two = Two::new(Site::new());
    let id = &two.site.secret;
    let elsewhere = "99999999-2222-4333-8444-555555555555";
    let cases = [
        (
            json!({}),
            vec!["expected an array with at least one target"],
        ),
        (
            json!([
                { "secret_id": "shop", "tls_secret": "_", "hold": "yes" },
                { "secret_id": id, "tls_secret": "a", "projekt_id": "b", "restart_apps": 1 },
                7,
            ]),
            vec![
                "target 1: secret_id",
                "target 1: tls_secret",
                "target 1: hold",
                "target 2: unknown field projekt_id",
                "target 2: restart_apps",
                "target 3: expected an object",
            ],
        ),
        (
            json!([
                { "secret_id": elsewhere, "tls_secret": "a" },
                { "secret_id": id, "tls_secret": "a", "project_id": elsewhere },
                { "secret_id": id, "tls_secret": "a", "region": "us-south" },
            ]),
            vec![
                "target 1: no certificate",
                "target 2: there is no Code Engine project",
                "target 3: project",
                r#"set "region": "eu-de""#,
                "target 3: TLS secret a of project",
            ],
        ),
    ];
    for (targets, named) in cases {
        let done = two.setup(&targets, &[]).expect(2);
        for line in named {
            assert!(done.stderr.contains(line), "{line}:\n{}", done.stderr);
        }
    }
    let done = two
        .setup(&two.targets(), &["--tls-secret", "shop-tls"])
        .expect(2);
    assert!(
        done.stderr.contains("--targets and --tls-secret"),
        "{}",
        done.stderr
    );
    assert_eq!(two.site.state().changes, 0);
}

/// Without Secrets Manager, the groups have to be given.
#[test]
fn targets_of_a_private_instance_need_their_groups() {
    let two = Two::new(Site::new());
    two.site
        .account(|account| account.secrets_manager_public = false);
    let groups = format!("{},{}", two.site.world.secret_group_id, two.blog_group);
    let done = two
        .setup(&two.targets(), &["--group-id", &groups])
        .expect(1);
    assert_eq!(done.steps("to be done").len(), 1, "{}", done.stdout);
    assert!(two.are_current());
}
