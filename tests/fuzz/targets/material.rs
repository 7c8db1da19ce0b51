//! Bytes as the texts of a certificate secret: what the job does to them before a write.
//!
//! Texts are separated by `%%`; the last one is the private key. At its start the target puts
//! seeds into the corpus, the first directory among its arguments: they are made anew each time, so
//! that no private key lies among the sources.
#![no_main]

#[path = "../../job/properties/chains.rs"]
mod chains;
#[allow(dead_code, reason = "this target needs the half that judges material")]
#[path = "../../job/properties/judge.rs"]
mod judge;
#[allow(dead_code, reason = "this target needs PEM only")]
#[path = "../../certificates/maker.rs"]
mod maker;

use std::path::Path;
use std::sync::LazyLock;

use chains::Made;
use libfuzzer_sys::fuzz_target;
use sm_tls_sync::secret::Secret;
use sm_tls_sync::sync::fetch::Material;

const FIELDS: [&str; 3] = ["certificate", "intermediate", "ca_chain"];
const SEPARATOR: &str = "%%";

/// The keys of the seeds: none of their pieces may show.
static KEYS: LazyLock<[String; 1]> = LazyLock::new(|| [chains::key(0).serialize_pem()]);

/// Chains of each shape that the code has a branch for.
fn seeds() -> [Made; 4] {
    let mut rootless = chains::made(0, None, None);
    rootless.blocks.pop();
    [
        rootless,
        chains::made(0, None, None),
        chains::made(2, None, None),
        chains::made(1, Some(1), None),
    ]
}

fn write_seeds() {
    let mut arguments = std::env::args().skip(1);
    let Some(corpus) = arguments.find(|argument| Path::new(argument).is_dir()) else {
        return;
    };
    for (position, Made { blocks, key }) in seeds().into_iter().enumerate() {
        let (leaf, chain) = blocks.split_at(1);
        let text = [leaf.concat(), chain.concat(), key].join(SEPARATOR);
        std::fs::write(Path::new(&corpus).join(format!("seed-{position}")), text)
            .expect("the corpus can be written to");
    }
}

fuzz_target!(init: write_seeds(), |bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (certificates, key) = text.rsplit_once(SEPARATOR).unwrap_or((&text, &text));
    let material = Material {
        name: "shop".to_owned(),
        certificates: FIELDS
            .map(str::to_owned)
            .into_iter()
            .zip(certificates.splitn(FIELDS.len(), SEPARATOR).map(str::to_owned))
            .collect(),
        key: Secret::new(key.to_owned()),
updated_at: None,
    };
    let now = chains::now();
    judge::assembled(&material, &*KEYS, now, &judge::accepted(&material, now));
});
