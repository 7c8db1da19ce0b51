//! Every case once through the real binary, against one local cloud: exit status and reason, or the
//! bytes that Code Engine holds afterwards. After a refusal they are what they were.

use local_cloud::Material;

use super::orders::{WAYS, spread, written_key};
use super::{CASES, Case, Verdict, none};
use crate::harness::{Scene, TLS_SECRET};

#[test]
fn the_program_does_as_the_catalogue_says() {
    let scene = Scene::new();
    let cases = CASES.iter().enumerate();
    let wrong: Vec<String> =
        cases.filter_map(|(number, case)| wrong(&scene, case, number % WAYS)).collect();
    none(&wrong);
}

fn wrong(scene: &Scene, case: &Case, way: usize) -> Option<String> {
    let mut material = Material { private_key: Some(case.key.clone()), ..Material::default() };
    for (field, text) in spread(case, &case.texts, way) {
        match field {
            "certificate" => material.certificate = Some(text),
            "intermediate" => material.intermediate = Some(text),
            "issuing_ca" => material.issuing_ca = Some(text),
            _ => material.ca_chain.get_or_insert_default().push(text),
        }
    }
    let cloud = &scene.cloud;
    cloud.change_material(&scene.secret, |current| *current = material);
    // what serves nobody sets no bar
    cloud.put_tls_secret(&scene.world.project_id, TLS_SECRET, "placeholder", "none");
    let before = scene.tls_secret();
    // certificates count as well as keys and tokens: no message holds a body
    let run = scene.start().run_that_hides(&case.bodies());
    let target = run.target();
    let after = scene.tls_secret();
    let findings: Vec<&str> = target
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .filter(|code| code.starts_with("chain-") || *code == "unfit")
        .collect();
    // what is left out of the chain is never left out in silence
    let is_said = !case.name.contains("stranger") || run.log.contains("left out");
    let told = (run.status, &*target.action, target.reason.as_deref());
    let as_expected = match &case.verdict {
        Verdict::Refused(reason) => {
            told == (6, "refused", Some(reason.as_str())) && after == before
        }
        Verdict::Serves(chain, codes) => {
            told == (0, "replaced", None)
                && after.tls_cert == chain.iter().map(|c| c.pem.as_str()).collect::<String>()
                && after.tls_key == written_key(&case.key)
                && findings == *codes
        }
    };
    let told = || format!("- {}: {told:?} {findings:?}: {}", case.name, target.message);
    (!as_expected || !is_said).then(told)
}
