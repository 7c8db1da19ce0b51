//! Every case once through the real binary, against one local cloud: exit status and reason, or the
//! bytes that Code Engine holds afterwards. After a refusal they are what they were.

use std::process::{Command, Stdio};

use local_cloud::Material;

use super::orders::{Fields, SPREADS, written_key};
use super::{CASES, Case, Verdict, none};
use crate::harness::{PROGRAM, Run, Scene, TLS_SECRET};

#[test]
fn the_program_does_as_the_catalogue_says() {
    let scene = Scene::new();
    let wrong: Vec<String> = CASES
        .iter()
        .enumerate()
        .filter_map(|(number, case)| {
            let (name, spread) = SPREADS[number % SPREADS.len()];
            let fields = spread(case, &case.texts);
            let wrong = wrong(&scene, case, fields)?;
            Some(format!("- {} ({name}): {wrong}", case.name))
        })
        .collect();
    none(&wrong);
}

fn wrong(scene: &Scene, case: &Case, fields: Fields) -> Option<String> {
    let Fields {
        certificate,
        intermediate,
        issuing_ca,
        ca_chain,
    } = fields;
    let material = Material {
        certificate,
        intermediate,
        issuing_ca,
        ca_chain: (!ca_chain.is_empty()).then_some(ca_chain),
        private_key: Some(case.key.clone()),
        ..Material::default()
    };
    scene
        .cloud
        .change_material(&scene.secret, |current| *current = material);
    // what serves nobody sets no bar
    scene
        .cloud
        .put_tls_secret(&scene.world.project_id, TLS_SECRET, "placeholder", "none");
    let before = scene.tls_secret();
    let output = Command::new(PROGRAM)
        .env_clear()
        .envs(scene.start().environment)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    // certificates count as well as keys and tokens: no message holds a body
    let mut bodies = case.texts.clone();
    bodies.extend(scene.cloud.secrets_in_use());
    let run = Run::checked(output.status.code(), &stdout, &stderr, &bodies);
    let target = run.target();
    let after = scene.tls_secret();
    let findings: Vec<&str> = target
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .filter(|code| code.starts_with("chain-") || *code == "unfit")
        .collect();
    let as_expected = match &case.verdict {
        Verdict::Refused(reason) => {
            (run.status, target.action.as_str(), target.reason.as_deref())
                == (6, "refused", Some(*reason))
                && after == before
        }
        Verdict::Serves(chain, codes) => {
            let pem: String = chain.iter().map(|c| c.pem.as_str()).collect();
            (run.status, target.action.as_str()) == (0, "replaced")
                && after.tls_cert == pem
                && after.tls_key == written_key(&case.key)
                && findings == *codes
        }
    };
    (!as_expected).then(|| {
        format!(
            "status {}, {} {:?} {findings:?}: {}",
            run.status, target.action, target.reason, target.message
        )
    })
}
