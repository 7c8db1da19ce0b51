//! The same texts in other orders and fields: the verdict is the same, and so is every byte.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustls_pki_types::UnixTime;
use sm_tls_sync::cert::key::PrivateKey;
use sm_tls_sync::error::Error;
use sm_tls_sync::secret::Secret;
use sm_tls_sync::sync::assemble::{Bundle, assemble};
use sm_tls_sync::sync::fetch;

use super::{CASES, Case, Verdict, none};
use crate::leaks;

/// So few texts are tried in all their orders.
const ALL_ORDERS: usize = 4;
/// Longer than any material may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The certificate fields of a secret.
#[derive(Clone, Default)]
pub(super) struct Fields {
    pub(super) certificate: Option<String>,
    pub(super) intermediate: Option<String>,
    pub(super) issuing_ca: Option<String>,
    pub(super) ca_chain: Vec<String>,
}

/// A way to spread texts over the fields.
type Spread = fn(&Case, &[String]) -> Fields;

/// All of them, with their names.
pub(super) const SPREADS: [(&str, Spread); 6] = [
    ("all in certificate", |case, texts| Fields {
        certificate: Some((case.form)(texts)),
        ..Fields::default()
    }),
    (
        "the first in certificate, the rest in intermediate",
        |case, texts| Fields {
            certificate: texts.first().map(|_| (case.form)(&texts[..1])),
            intermediate: texts.get(1).map(|_| (case.form)(&texts[1..])),
            ..Fields::default()
        },
    ),
    // a public certificate with `bundle_certs`
    (
        "all in certificate, the rest again in intermediate",
        |case, texts| Fields {
            certificate: Some((case.form)(texts)),
            intermediate: texts.get(1).map(|_| (case.form)(&texts[1..])),
            ..Fields::default()
        },
    ),
    // a private certificate
    (
        "the first in certificate, the second in issuing_ca, these and the rest in ca_chain",
        |case, texts| {
            let single = |text: &String| (case.form)(std::slice::from_ref(text));
            Fields {
                certificate: texts.first().map(single),
                issuing_ca: texts.get(1).map(single),
                ca_chain: texts.iter().skip(1).map(single).collect(),
                ..Fields::default()
            }
        },
    ),
    ("all in each field", |case, texts| {
        let all = (case.form)(texts);
        Fields {
            certificate: Some(all.clone()),
            intermediate: Some(all.clone()),
            issuing_ca: Some(all.clone()),
            ca_chain: vec![all],
        }
    }),
    ("all in ca_chain", |case, texts| Fields {
        ca_chain: vec![(case.form)(texts)],
        ..Fields::default()
    }),
];

/// Assembles and rehearses a case as Secrets Manager would hand it out in these fields.
pub(super) fn assembled(case: &Case, fields: Fields) -> Result<Bundle, Error> {
    let fetched = fetch::Material {
        name: "shop".to_owned(),
        certificates: [
            ("certificate", fields.certificate),
            ("intermediate", fields.intermediate),
            ("issuing_ca", fields.issuing_ca),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
        .chain(fields.ca_chain.into_iter().map(|text| ("ca_chain", text)))
        .collect(),
        key: Secret::from(case.key.clone()),
    };
    let mut bundle = assemble(&fetched, UnixTime::now())?;
    let limits = bundle.rehearse(&bundle.certificate_pem(), UnixTime::now())?;
    bundle.findings.extend(limits);
    Ok(bundle)
}

/// What a case serves, in its first order.
pub(super) fn served(case: &Case) -> Result<Bundle, Error> {
    assembled(case, SPREADS[0].1(case, &case.texts))
}

/// Why this bundle, or this error, is not the verdict of the case.
fn wrong(case: &Case, result: Result<Bundle, Error>) -> Option<String> {
    let bundle = match (result, &case.verdict) {
        (Err(error), Verdict::Refused(reason)) if error.reason.word() == *reason => {
            let text = format!("{error} {error:?}");
            let bodies = [case.texts.as_slice(), std::slice::from_ref(&case.key)].concat();
            return leaks::find(&text, &bodies)
                .map(|leak| format!("the message holds a body, {leak}: {text}"));
        }
        // what Envoy does not load is refused where the deployed certificate is known
        (Ok(bundle), Verdict::Refused("unfit")) if !bundle.faults.is_empty() => {
            return None;
        }
        (Err(error), _) => return Some(format!("refused: {}: {error}", error.reason.word())),
        (Ok(bundle), _) => bundle,
    };
    let (chain, codes) = match &case.verdict {
        Verdict::Serves(chain, codes) => (chain.as_slice(), codes.as_slice()),
        Verdict::Refused(_) => (&[][..], &[][..]),
    };
    let label = |pem: &str| chain.iter().find(|c| c.pem == pem).map(|c| &c.label);
    let served: Vec<String> = bundle
        .certificate_pem()
        .split_inclusive("-----END CERTIFICATE-----\n")
        .zip(bundle.chain())
        .map(|(pem, c)| label(pem).unwrap_or(&c.subject).clone())
        .collect();
    let findings: Vec<&str> = bundle.findings.iter().map(|f| f.reason.word()).collect();
    let pem: String = chain.iter().map(|c| c.pem.as_str()).collect();
    if chain.is_empty() || bundle.certificate_pem() != pem || findings != codes {
        return Some(format!(
            "served: {}, findings {findings:?}",
            served.join(" <- ")
        ));
    }
    (bundle.key_pem.expose() != written_key(&case.key)).then(|| "another key".to_owned())
}

/// The private key of a text in the form that is written. `judges` has others judge that form.
pub(super) fn written_key(text: &str) -> String {
    PrivateKey::from_pem(text).unwrap().to_pem().to_string()
}

#[test]
fn every_case_has_its_verdict_in_every_order_and_field() {
    let seed = UnixTime::now().as_secs();
    let mut failures = Vec::new();
    for case in CASES.iter() {
        let mut seen = BTreeSet::new();
        for (number, order) in orders(case.texts.len(), seed).into_iter().enumerate() {
            let texts: Vec<String> = order.iter().map(|at| case.texts[*at].clone()).collect();
            // the first order in each way, the others in turn
            let ways = if number == 0 {
                0..SPREADS.len()
            } else {
                number..number + 1
            };
            for way in ways {
                let (name, spread) = SPREADS[way % SPREADS.len()];
                let start = Instant::now();
                let result = assembled(case, spread(case, &texts));
                assert!(
                    start.elapsed() < PATIENCE,
                    "{}: {:?}",
                    case.name,
                    start.elapsed()
                );
                if let Some(wrong) = wrong(case, result)
                    && seen.insert(wrong.clone())
                {
                    failures.push(format!(
                        "- {} ({name}, order {order:?}): {wrong}",
                        case.name
                    ));
                }
            }
        }
    }
    if !failures.is_empty() {
        failures.insert(0, format!("seed of the shuffles: {seed}"));
    }
    none(&failures);
}

/// All orders of a few; of many: as they are, reversed, rotated, and some shuffles.
fn orders(count: usize, seed: u64) -> Vec<Vec<usize>> {
    let plain: Vec<usize> = (0..count).collect();
    if count <= ALL_ORDERS {
        return permutations(&plain);
    }
    let mut orders = vec![plain.clone(), plain.iter().rev().copied().collect()];
    for by in [1, count / 2] {
        let mut rotated = plain.clone();
        rotated.rotate_left(by);
        orders.push(rotated);
    }
    let mut random = seed;
    for _ in 0..3 {
        let mut shuffled = plain.clone();
        for at in (1..count).rev() {
            // the generator of Knuth's MMIX
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(at, usize::try_from(random >> 33).unwrap() % (at + 1));
        }
        orders.push(shuffled);
    }
    orders
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(at);
        for mut tail in permutations(&rest) {
            tail.insert(0, *first);
            all.push(tail);
        }
    }
    all
}

#[test]
fn orders_are_all_of_a_few_and_some_of_many() {
    assert_eq!(orders(0, 1), [Vec::<usize>::new()]);
    let few: BTreeSet<_> = orders(4, 1).into_iter().collect();
    assert_eq!(few.len(), 24);
    let many = orders(9, 1);
    assert_eq!(many.len(), 7);
    for order in many {
        assert_eq!(order.into_iter().collect::<BTreeSet<_>>().len(), 9);
    }
}
