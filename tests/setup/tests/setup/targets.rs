//! Many targets by one file: one job, one configuration, the policies that they need.

use ibmcloud_stand_in::{TLS_SECRET, instance, text};
use local_cloud::CertificateSpec;
use serde_json::{Value, json};

use crate::harness::{Done, Here, OPTIONS};
use crate::table::assert_as_in_the_table;

/// A site with a second certificate in a group of its own, and a second project of apps.
struct Two {
    here: Here,
    blog: String,
    group: String,
    project: String,
}

impl Two {
    fn new() -> Self {
        let here = Here::new();
        let group = here.account().sm("POST secret_groups", json!({ "name": "blog" }));
        let group = text(&group.unwrap(), "id").to_owned();
        let blog = here.cloud.issue(CertificateSpec {
            names: vec!["blog.example.com".into()],
            secret_group_id: Some(group.clone()),
            ..CertificateSpec::default()
        });
        let project = here.cloud.create_project("blog", &here.world.region);
        let blogs = instance("blog", &here.cloud.project_crn(&project));
        here.account().instances.push(blogs);
        Self { here, blog, group, project }
    }

    /// The certificate of the shop in both projects, that of the blog in its own.
    fn targets(&self) -> Value {
        json!([
            { "secret_id": self.here.secret, "tls_secret": TLS_SECRET },
            { "secret_id": self.here.secret, "tls_secret": TLS_SECRET, "project_id": self.project },
            { "secret_id": self.blog, "tls_secret": "blog-tls", "project_id": self.project, "region": "eu-de" },
        ])
    }

    fn setup(&self, targets: &Value, more: &[&str]) -> Done {
        let file = self.here.home.path().join("targets.json");
        std::fs::write(&file, format!("{targets:#}")).unwrap();
        let more = [&["--targets", file.to_str().unwrap()], more].concat();
        let single = ["--certificate", "--tls-secret"];
        self.here.setup_without(&single, &more)
    }

    fn are_current(&self) -> bool {
        let (here, secret) = (&self.here, &self.here.secret);
        let blog = here.holds(&self.project, "blog-tls", &self.blog);
        here.is_current() && here.holds(&self.project, TLS_SECRET, secret) && blog
    }
}

/// One job serves targets in two groups and two projects. A list that is too long for a variable (128 KiB) is a
/// file in a mounted configmap; a shorter one unmounts it.
#[test]
fn a_list_of_targets_short_and_long() {
    let two = Two::new();
    let here = &two.here;
    let groups = [&*here.world.secret_group_id, &*two.group];
    let projects = [&*here.world.project_id, &*two.project];
    let is_as_in_the_table = |way: &str, targets: &Value| {
        assert_as_in_the_table(here, way, &groups, &projects, &targets.to_string());
        assert!(two.are_current());
    };
    let short = two.targets();
    two.setup(&short, &OPTIONS).well().counts(&[("  + ", 3)]);
    is_as_in_the_table("targets", &short);
    here.cloud.rotate(&[&here.secret, &two.blog]);
    assert!(two.are_current());
    let before = here.everything();
    two.setup(&short, &OPTIONS).ends(0, "Targets: no change.");
    assert_eq!(before, here.everything());
    // on hold: no app is looked for
    let mut long = two.targets();
    long[0]["restart_apps"] = (0..2000).map(|n| format!("app-{n:0>50}")).collect();
    long[0]["hold"] = true.into();
    for (way, targets) in [("many_targets", &long), ("targets", &short), ("many_targets", &long)] {
        let done = two.setup(targets, &OPTIONS);
        done.well().counts(&[("changed ", 2)]);
        is_as_in_the_table(way, targets);
    }
    here.teardown(&["--yes"]).well();
    here.assert_gone();
    assert!(two.are_current());
}

/// From one certificate to a list, and to another list: first what differs, then the question. What is no longer
/// needed is named, not removed.
#[test]
fn a_change_is_shown_and_then_takes_effect() {
    let two = Two::new();
    let here = &two.here;
    here.setup(&[]).well();
    two.setup(&two.targets(), &[]).well().counts(&[("  + ", 2)]);
    assert!(two.are_current());
    let data = || here.everything()["cert-sync"]["config_maps"][0]["data"].take();
    let single = ["SECRET_ID", "TLS_SECRET_NAME"].map(|key| data().get(key).is_some());
    assert_eq!(single, [false; 2]);

    let before = here.everything();
    let changed = json!([
        { "secret_id": here.secret, "tls_secret": TLS_SECRET, "hold": true },
        { "secret_id": here.secret, "tls_secret": "www-tls" },
    ]);
    let shown = "+ www-tls in project | ~ shop-tls in project | - shop-tls in project | - blog-tls in project | \
                 {\"hold\":true}";
    two.setup(&changed, &["--plan"]).ends(0, shown);
    assert_eq!(before, here.everything());
    let done = two.setup(&changed, &[]);
    let done = done.ends(0, "sm-tls-sync-config: sets TARGETS");
    done.counts(&[
        ("changed ", 1),
        ("not needed", 2),
        ("  [ibmcloud iam trusted-profile-policy-delete", 2),
    ]);
    assert_eq!(data()["TARGETS"], changed.to_string());
    assert!(here.holds(&here.world.project_id, "www-tls", &here.secret));
}

#[test]
fn what_is_wrong_in_the_file_is_named_at_once() {
    let two = Two::new();
    let (id, elsewhere) = (&two.here.secret, "99999999-2222-4333-8444-555555555555");
    let shapes = json!([
        { "secret_id": "shop", "tls_secret": "_", "hold": "yes" },
        { "secret_id": id, "tls_secret": "a", "projekt_id": "b", "restart_apps": 1 },
        7,
    ]);
    let names = json!([
        { "secret_id": elsewhere, "tls_secret": "a" },
        { "secret_id": id, "tls_secret": "a", "project_id": elsewhere },
        { "secret_id": id, "tls_secret": "a", "region": "us-south" },
    ]);
    let of_shapes = "target 1: secret_id | target 1: tls_secret | target 1: hold | \
                     target 2: unknown field projekt_id | target 2: restart_apps | \
                     target 3: expected an object | --targets and --tls-secret";
    let of_names = "target 1: no certificate | target 2: there is no Code Engine project | \
                    set \"region\": \"eu-de\" | target 3: TLS secret a of project";
    let none = "expected an array with at least one target";
    two.setup(&json!({}), &[]).ends(2, none);
    two.setup(&shapes, &["--tls-secret", "a"]).ends(2, of_shapes);
    two.setup(&names, &[]).ends(2, of_names);
    assert_eq!(two.here.account().changes, 0);
}

/// Without Secrets Manager, the groups have to be given.
#[test]
fn targets_of_a_private_instance_need_their_groups() {
    let two = Two::new();
    two.here.account().odd = "private";
    let groups = format!("{},{}", two.here.world.secret_group_id, two.group);
    let done = two.setup(&two.targets(), &["--group-id", &groups]);
    done.ends(1, "").counts(&[("to be done", 1)]);
    assert!(two.are_current());
}
