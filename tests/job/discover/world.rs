//! Two projects full of TLS secrets, each of a known kind.

use std::collections::{BTreeMap, BTreeSet};

use local_cloud::{CertificateSpec, Policy, Role, SecretType};
use serde_json::json;

use crate::harness::{Discovered, Run, Scene, Start, TLS_SECRET};

/// What a TLS secret is made of, and so what must be found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Same,
    Renewed,
    /// Renewed in Secrets Manager; what the TLS secret holds has expired.
    Expired,
    Covered,
    Several,
    None,
    Unreadable,
}

const KINDS: [Kind; 7] = [
    Kind::Same,
    Kind::Renewed,
    Kind::Expired,
    Kind::Covered,
    Kind::Several,
    Kind::None,
    Kind::Unreadable,
];

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Renewed | Self::Expired => "renewed",
            Self::Covered | Self::Several => "covers",
            Self::None => "none",
            Self::Unreadable => "unreadable",
        }
    }

    pub(super) fn certain(self) -> bool {
        matches!(self.word(), "same" | "renewed")
    }
}

/// A TLS secret and the certificates that were made for it.
pub(super) struct Pair {
    pub(super) kind: Kind,
    pub(super) project: String,
    pub(super) tls_secret: String,
    pub(super) secrets: Vec<String>,
}

impl Pair {
    pub(super) fn place(&self) -> (&String, &String) {
        (&self.project, &self.tls_secret)
    }
}

/// Two projects with 20 TLS secrets each, and two certificates that nothing uses.
pub(super) struct World {
    pub(super) scene: Scene,
    pub(super) second: String,
    pub(super) pairs: Vec<Pair>,
    pub(super) unused: Vec<String>,
}

impl World {
    pub(super) fn new(scene: Scene) -> Self {
        let first = scene.world.project_id.clone();
        let second = scene.cloud.create_project("second", &scene.world.region);
        // the scene's own: rotated since it was deployed
        let mut pairs = vec![Pair {
            kind: Kind::Renewed,
            project: first.clone(),
            tls_secret: TLS_SECRET.to_owned(),
            secrets: vec![scene.secret.clone()],
        }];
        for number in 1..40 {
            let project = if number % 2 == 0 { &first } else { &second };
            pairs.push(pair(&scene, number, KINDS[number % KINDS.len()], project));
        }
        let unused = ["a", "b"].map(|name| issue(&scene, &format!("unused-{name}.example.net")));
        let world = Self {
            unused: unused.into(),
            second,
            pairs,
            scene,
        };
        world.scene.cloud.set_policies(world.readers());
        world.scene.cloud.clear_journal();
        world
    }

    /// The rights to look: neither a payload nor a write.
    pub(super) fn readers(&self) -> Vec<Policy> {
        let mut policies = vec![Policy::SecretsManager {
            role: Role::Reader,
            secret_group_id: Some(self.scene.world.secret_group_id.clone()),
        }];
        let projects = [&self.scene.world.project_id, &self.second];
        policies.extend(projects.map(|project| reader(project)));
        policies
    }

    /// The second project is known by a target in it.
    pub(super) fn discover(&self) -> Start<'_> {
        let target = json!([{
            "secret_id": self.scene.secret, "tls_secret": "any", "project_id": self.second,
        }]);
        bare(&self.scene).env("TARGETS", target.to_string())
    }

    /// The pairs that are no question.
    pub(super) fn certain(&self) -> Vec<&Pair> {
        self.pairs
            .iter()
            .filter(|pair| pair.kind.certain())
            .collect()
    }

    pub(super) fn found<'a>(
        &self,
        run: &'a Run,
    ) -> BTreeMap<(&'a String, &'a String), &'a Discovered> {
        let found = run.report.discovered.as_ref().unwrap().iter();
        found
            .map(|one| ((&one.project_id, &one.tls_secret), one))
            .collect()
    }
}

fn reader(project: &str) -> Policy {
    Policy::CodeEngine {
        role: Role::Reader,
        project_id: project.to_owned(),
    }
}

/// `--discover` with neither target nor event.
pub(super) fn bare(scene: &Scene) -> Start<'_> {
    scene.start().bare().arg("--discover")
}

pub(super) fn spec(name: &str) -> CertificateSpec {
    CertificateSpec {
        names: vec![name.to_owned()],
        ..CertificateSpec::default()
    }
}

pub(super) fn issue(scene: &Scene, name: &str) -> String {
    scene.cloud.issue(spec(name))
}

fn pair(scene: &Scene, number: usize, kind: Kind, project: &str) -> Pair {
    let name = format!("n{number}.example.com");
    let tls_secret = format!("tls-{number}");
    let secrets = match kind {
        Kind::Same | Kind::Renewed | Kind::Covered => vec![issue(scene, &name)],
        Kind::Expired => vec![scene.cloud.issue(CertificateSpec {
            not_before_days: -91,
            not_after_days: -1,
            ..spec(&name)
        })],
        Kind::Several => {
            let imported = CertificateSpec {
                name: format!("imported-{number}"),
                names: vec![format!("more.{name}"), name.clone()],
                secret_type: SecretType::ImportedCert,
                ..spec(&name)
            };
            vec![issue(scene, &name), scene.cloud.issue(imported)]
        }
        Kind::None | Kind::Unreadable => Vec::new(),
    };
    if kind == Kind::Unreadable {
        let text = "-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n";
        scene
            .cloud
            .put_tls_secret(project, &tls_secret, text, "no key");
    } else if kind.certain() {
        scene.cloud.deploy(&secrets[0], project, &tls_secret);
    } else {
        // from elsewhere: this group is not ours
        let elsewhere = scene.cloud.issue(CertificateSpec {
            name: format!("elsewhere-{number}"),
            secret_group_id: Some(scene.world.foreign_secret_group_id.clone()),
            ..spec(&name)
        });
        scene.cloud.deploy(&elsewhere, project, &tls_secret);
    }
    scene.cloud.map_domain(project, &name, &tls_secret);
    if kind.word() == "renewed" {
        scene.cloud.change_spec(&secrets[0], |spec| {
            (spec.not_before_days, spec.not_after_days) = (0, 90);
        });
        scene.cloud.rotate_quietly(&[&secrets[0]]);
    }
    Pair {
        kind,
        project: project.to_owned(),
        tls_secret,
        secrets,
    }
}

/// Whether what was found is what the TLS secret was made of.
#[track_caller]
pub(super) fn as_made(pair: &Pair, found: &Discovered) {
    let kind = pair.kind;
    assert_eq!(
        found.matches.as_deref(),
        Some(kind.word()),
        "{kind:?}: {found:#?}"
    );
    let candidates = found.candidates.iter().map(|one| &one.secret_id);
    let candidates: BTreeSet<&String> = candidates.collect();
    assert_eq!(candidates, pair.secrets.iter().collect(), "{found:#?}");
}
