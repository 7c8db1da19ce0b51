//! The same texts in other orders and fields: the verdict is the same, and so is every byte.

use std::collections::BTreeSet;

use rustls_pki_types::UnixTime;
use sm_tls_sync::cert::certificate::Certificate;
use sm_tls_sync::cert::key::PrivateKey;
use sm_tls_sync::error::Error;
use sm_tls_sync::secret::Secret;
use sm_tls_sync::sync::assemble::{Bundle, assemble};
use sm_tls_sync::sync::fetch;

use super::{CASES, Case, Verdict, none};
use crate::leaks;

/// The texts of the certificate fields of a secret; those of `ca_chain` one by one.
pub(super) type Fields = Vec<(&'static str, String)>;

/// So many ways there are to spread texts over the fields.
pub(super) const WAYS: usize = 6;

/// One of the ways.
pub(super) fn spread(case: &Case, texts: &[String], way: usize) -> Fields {
    let (first, rest) = texts.split_at(1);
    let join = |field, texts: &[String]| (!texts.is_empty()).then(|| (field, (case.form)(texts)));
    let certificate = |texts| join("certificate", texts);
    let fields = match way {
        0 => vec![certificate(texts)],
        1 => vec![certificate(first), join("intermediate", rest)],
        // a public certificate with `bundle_certs`
        2 => vec![certificate(texts), join("intermediate", rest)],
        // a private certificate
        3 => {
            let above = rest.chunks(1).map(|text| join("ca_chain", text));
            let issuer = join("issuing_ca", &rest[..rest.len().min(1)]);
            [certificate(first), issuer].into_iter().chain(above).collect()
        }
        4 => ["certificate", "intermediate", "issuing_ca", "ca_chain"]
            .map(|field| join(field, texts))
            .to_vec(),
        _ => vec![join("ca_chain", texts)],
    };
    fields.into_iter().flatten().collect()
}

/// Assembles and rehearses a case as Secrets Manager would hand it out in these fields.
fn assembled(case: &Case, fields: Fields) -> Result<Bundle, Error> {
    let fetched = fetch::Material {
        name: "shop".to_owned(),
        certificates: fields.into_iter().map(|(field, text)| (field.to_owned(), text)).collect(),
        key: Secret::new(case.key.clone()),
        updated_at: None,
    };
    let mut bundle = assemble(&fetched, UnixTime::now())?;
    let limits = bundle.rehearse(&bundle.certificate_pem(), UnixTime::now())?;
    bundle.findings.extend(limits);
    Ok(bundle)
}

/// What a case serves, in its first order.
pub(super) fn served(case: &Case) -> Result<Bundle, Error> {
    assembled(case, spread(case, &case.texts, 0))
}

/// Why this bundle, or this error, is not the verdict of the case.
fn wrong(case: &Case, result: Result<Bundle, Error>) -> Option<String> {
    let bundle = match (result, &case.verdict) {
        (Err(error), Verdict::Refused(reason)) if error.reason.word() == reason => {
            let text = format!("{error} {error:?}");
            let bodies = [case.bodies(), vec![case.key.clone()]].concat();
            return leaks::find(&text, &bodies)
                .map(|leak| format!("the message holds a body, {leak}: {text}"));
        }
        // what Envoy does not load is refused where the deployed certificate is known
        (Ok(bundle), Verdict::Refused(reason))
            if reason == "unfit" && !bundle.faults.is_empty() =>
        {
            return None;
        }
        (Err(error), _) => return Some(format!("refused: {}: {error}", error.reason.word())),
        (Ok(bundle), _) => bundle,
    };
    let findings: Vec<&str> = bundle.findings.iter().map(|f| f.reason.word()).collect();
    let as_expected = matches!(&case.verdict, Verdict::Serves(chain, codes)
        if findings == *codes
            && bundle.certificate_pem() == chain.iter().map(|c| c.pem.as_str()).collect::<String>()
            && bundle.key_pem.expose() == written_key(&case.key));
    (!as_expected).then(|| {
        let one = |c: &Certificate| format!("{} {:?}", c.subject, c.serial);
        let chain: Vec<String> = bundle.chain().map(one).collect();
        format!("served: {chain:?}, findings {findings:?}")
    })
}

/// The private key of a text in the form that is written. `judges` has others judge that form.
pub(super) fn written_key(text: &str) -> String {
    PrivateKey::from_pem(text).unwrap().to_pem().to_string()
}

#[test]
fn every_case_has_its_verdict_whatever_the_order_and_field() {
    let mut failures = Vec::new();
    for case in CASES.iter() {
        let mut seen = BTreeSet::new();
        for (number, texts) in orders(&case.texts).into_iter().enumerate() {
            // the first order in each way, the others in turn
            let ways = if number == 0 { 0..WAYS } else { number..number + 1 };
            for way in ways {
                let result = assembled(case, spread(case, &texts, way % WAYS));
                if let Some(wrong) = wrong(case, result)
                    && seen.insert(wrong.clone())
                {
                    failures.push(format!("- {} (order {number}): {wrong}", case.name));
                }
            }
        }
    }
    none(&failures);
}

/// At most eight orders: as they are and reversed, each begun at up to four places.
fn orders(texts: &[String]) -> Vec<Vec<String>> {
    let reversed: Vec<String> = texts.iter().rev().cloned().collect();
    [texts.to_vec(), reversed]
        .into_iter()
        .flat_map(|order| {
            let places = (0..order.len()).step_by(order.len().div_ceil(4));
            places.map(move |at| [&order[at..], &order[..at]].concat())
        })
        .collect()
}
