//! The search for the chain as truth tables.

use super::*;
use crate::cert::samples::{NOW, certificates as stored, maker};

/// The subjects of the chain above the first certificate, and whether there is a gap; or why not.
fn built(files: &[&str]) -> Result<(Vec<String>, bool), Reason> {
    let mut certificates = stored(files);
    let leaf = certificates.remove(0);
    certificates.sort_by_key(|c| std::cmp::Reverse(c.not_before));
    let chain = build(&leaf, &certificates, NOW).map_err(|error| error.reason)?;
    let path = chain.path.iter().map(|c| c.subject.clone());
    Ok((path.collect(), chain.gap.is_some()))
}

#[test]
fn the_one_rule() {
    let path = |subject: &str| Ok((vec![format!("CN={subject}")], false));
    let (leaf, issuer, root) =
        ("cases/chain/leaf-p256", "cases/chain/intermediate", "cases/chain/root");
    for (files, expected) in [
        (&[leaf, issuer][..], path("Cases CA")),
        (&[leaf, root, issuer], path("Cases CA")),
        (&[leaf, root], Ok((vec![], true))),
        (&[leaf], Ok((vec![], true))),
        // newer look-alikes, whose keys cannot have signed
        (
            &[
                leaf,
                "cases/namesakes/intermediate-ed25519",
                "cases/namesakes/intermediate-rsa2048",
                issuer,
            ],
            path("Cases CA"),
        ),
        (&[leaf, "cases/namesakes/intermediate-ed25519"], Ok((vec![], true))),
        // another string type
        (
            &["cases/names/leaf-issuer-printable", "cases/names/intermediate-utf8"],
            path("Encoding CA"),
        ),
        // an algorithm that is not verified here, beside a namesake
        (&["chain-ecdsa-sha224", "foreign-ecdsa-sha224"], path("SHA-224 CA")),
        (&["cases/weak/leaf-of-root-sha1", "cases/weak/root-sha1"], Ok((vec![], false))),
        (
            &[
                "cases/critical/leaf-unknown-extension",
                "cases/critical/intermediate-unknown-extension",
            ],
            Err(Reason::Unfit),
        ),
    ] {
        assert_eq!(built(files), expected, "{files:?}");
    }
}

/// The first one, which is the leaf, and the others, newest first. Each has its position as serial
/// number, from 1 on.
fn certificates(lines: &[impl AsRef<str>]) -> (Certificate, Vec<Certificate>) {
    let mut maker = maker();
    let made = lines.iter().map(|line| {
        // a second less than 14 days
        let line = line.as_ref().replace("ends-soon", "until:1209599s");
        maker.make(&line).read()
    });
    let mut certificates: Vec<Certificate> = made.collect();
    let leaf = certificates.remove(0);
    certificates.sort_by_key(|c| std::cmp::Reverse(c.not_before));
    (leaf, certificates)
}

/// The positions of the certificates of the chain, and what else was found; or why there is none.
fn outcome(texts: &[impl AsRef<str>]) -> String {
    let (leaf, certificates) = certificates(texts);
    let chain = match build(&leaf, &certificates, NOW) {
        Ok(chain) => chain,
        Err(error) => return error.reason.to_string(),
    };
    let mut found: Vec<String> = chain.path.iter().map(|c| c.serial.clone()).collect();
    if chain.gap.is_some() {
        found.push("gap".to_owned());
    }
    if let Some(signed) = chain.unverified {
        found.push(format!("unverified {}", signed.serial));
    }
    if let Some(signed) = chain.misfit {
        found.push(format!("misfit {}", signed.serial));
    }
    for stranger in chain.strangers {
        found.push(format!("stranger {}", stranger.serial));
    }
    found.join(", ")
}

#[track_caller]
fn expect(rows: &[(&[&str], &str)]) {
    for (texts, expected) in rows {
        assert_eq!(outcome(texts), *expected, "{texts:?}");
    }
}

#[test]
fn the_path_is_the_longest_one() {
    expect(&[
        (&["leaf < leaf"], ""),
        (&["leaf < A", "A < Root"], "02"),
        (&["leaf < A", "A < B", "B < C", "C < Root"], "02, 03, 04"),
        // roots are left out
        (&["leaf < A", "A < Root", "Root < Root"], "02"),
        (&["leaf < Root", "Root < Root"], ""),
        // cross-signed: one way is longer
        (&["leaf < A", "A < Root", "A < B older", "B < Other"], "03, 04"),
        (&["leaf < A", "A < Root older", "A < B", "B < Other"], "03, 04"),
        // both ways are equally long: the newer certificate wins
        (&["leaf < A", "A < Root older", "A < Other"], "03"),
        (&["leaf < A", "A < Root", "A < Other older"], "02"),
        // two that signed each other
        (&["leaf < A", "A < B", "B < A"], "02, 03"),
        // a CA that changed its key
        (&["leaf < CA:new", "CA:new < CA:old", "CA:old < Root"], "02, 03"),
        // a CA that changed its name
        (&["leaf < A:key", "A:key < B:key", "B:key < Root"], "02, 03"),
        // how many may be below it
        (&["leaf < A", "A < Root cas-below:0"], "02"),
        (&["leaf < A", "A < B", "B < Root cas-below:0"], "02"),
        (&["leaf < A", "A < B", "B < Root cas-below:1"], "02, 03"),
        // both days count
        (&["leaf < A", "A < Root since:0s"], "02"),
        (&["leaf < A", "A < Root until:0s"], "02"),
    ]);
}

#[test]
fn of_twins_the_newest_counts() {
    expect(&[
        (&["leaf < A", "A < Root older", "A < Root"], "03"),
        (&["leaf < A", "A < Root", "A < Root expired"], "02"),
        (&["leaf < A", "A < Root", "A < Root no-ca"], "02"),
        // the leaf names the key identifier of the older one, and no more is known
        (
            &["leaf < A unverifiable names-id", "A < Root own-id", "A < Root older"],
            "03, unverified 01",
        ),
    ]);
    // each twin on each level would need its own check: 10 + 100 + 100
    let twins = ["A < B", "B < C", "C < Root"].into_iter();
    let twins = twins.flat_map(|text| std::iter::repeat_n(text, 10));
    let texts: Vec<&str> = std::iter::once("leaf < A").chain(twins).collect();
    assert_eq!(outcome(&texts), "02, 0c, 16");
}

#[test]
fn of_issuers_that_verify_the_best_counts() {
    let row = |leaf: &str, first: &str, second: &str| {
        outcome(&[
            format!("leaf < A {leaf}"),
            format!("A < Root {first}"),
            format!("A < Root {second}"),
        ])
    };
    for (leaf, first, second, expected) in [
        // the newest, if all else is equal
        ("", "", "older", "02"),
        ("", "older", "", "03"),
        // it does not end soon
        ("", "ends-soon", "older", "03"),
        ("", "until:14d", "older", "02"),
        ("", "ends-soon", "ends-soon older", "02"),
        // the identifier comes before all that
        ("names-id", "own-id", "older", "03"),
        ("names-id", "own-id", "older ends-soon", "03"),
        ("names-id", "own-id ends-soon", "own-id older", "03, misfit 01"),
        ("names-id", "own-id", "own-id older", "02, misfit 01"),
        // what verifies comes before what cannot be verified
        ("", "unverifiable", "older", "02, unverified 02"),
    ] {
        assert_eq!(row(leaf, first, second), expected, "{leaf}; {first}; {second}");
    }
    // it goes on, but not if it ends soon or is signed with SHA-1
    expect(&[
        (&["leaf < A", "A < B:rsa-2048.pem sha1", "A < B:rsa-2048.pem older"], "03"),
        // a key that could not have signed it is no better for being newer
        (&["leaf < A", "A:ed25519.pem < Root", "A < Root older"], "03"),
        (&["leaf < A", "A < B", "A < C older", "C < Root"], "03, 04"),
        (&["leaf < A", "A < B", "A < Root older", "Root < Root"], "03"),
        (&["leaf < A", "A < B", "A < C older ends-soon", "C < Root"], "02"),
    ]);
}

#[test]
fn a_missing_issuer_is_a_gap() {
    expect(&[
        (&["leaf < A"], "gap"),
        (&["leaf < A", "A:other < Root"], "gap"),
        (&["leaf < A", "B < Root", "Root < Root"], "gap, stranger 02, stranger 03"),
        // between two levels
        (&["leaf < A", "A < B", "C < Root"], "02, stranger 03"),
        (&["leaf < A", "A < B", "B:other < C", "C < Root"], "02, gap"),
        // at the top
        (&["leaf < A", "A < Root", "Root:other < Root:other"], "02, gap"),
        (&["leaf < A", "A < Root", "Root:other < Root:other", "Root < Root"], "02"),
        // its own name does not make a certificate its own issuer
        (&["leaf < CA:new", "CA:new < CA:old"], "02"),
        // the issuer is there, but nothing goes through it
        (&["leaf < A", "A < Root expired"], "unfit"),
        (&["leaf < A", "A < Root early"], "unfit"),
        (&["leaf < A", "A < Root no-ca"], "unfit"),
        (&["leaf < A", "A < Root for-clients"], "unfit"),
        (&["leaf < A", "A < Root signs-lists"], "unfit"),
        (&["leaf < A", "A < B", "B < Root expired"], "02"),
        (&["leaf < A", "A < Root expired", "A < Root early"], "unfit"),
        // of a root clients have their own copy
        (&["leaf < Root", "Root < Root", "Root < Root older"], ""),
        (&["leaf < Root", "Root < Root for-clients"], ""),
        (&["leaf < Root", "Root < Root expired"], "unfit"),
        (&["leaf < Root", "Root < Root expired", "Root < Root"], ""),
        (&["leaf < Root", "Root < Root no-ca"], "unfit"),
    ]);
}

#[test]
fn a_link_that_cannot_be_verified_is_named() {
    expect(&[
        (&["leaf < A unverifiable", "A < Root"], "02, unverified 01"),
        (&["leaf < A unverifiable names-id", "A:other < Root"], "gap, unverified 01"),
        (&["leaf < A", "A < B unverifiable", "B < Root unverifiable"], "02, 03, unverified 02"),
        // that to the root counts, too
        (&["leaf < A", "A < Root unverifiable", "Root < Root"], "02, unverified 02"),
        (&["leaf < Root unverifiable", "Root < Root"], "unverified 01"),
        (&["leaf < A", "A < Root", "Root < Root unverifiable"], "02"),
    ]);
}

#[test]
fn a_stranger_is_what_no_name_leads_to() {
    expect(&[
        (&["leaf < A", "X < Y", "A < Root"], "03, stranger 02"),
        (&["leaf < A", "A < Root", "X < A"], "02, stranger 03"),
        (&["leaf < A", "A < Root", "A:other < X", "X < Y"], "02"),
        (&["leaf < A", "A < B", "B < C expired", "C < Root"], "02"),
        (&["leaf < A", "A < B", "B < A", "X < X"], "02, 03, stranger 04"),
    ]);
}

#[test]
fn a_search_has_a_limit() {
    // each of one name: only signatures tell them apart
    let crowd = |count: usize| -> Vec<String> {
        let cas = (1..count).map(|n| format!("A:{n} < A:{}", n + 1));
        std::iter::once("leaf < A:1".to_owned()).chain(cas).collect()
    };
    assert_eq!(outcome(&crowd(8)), "02, 03, 04, 05, 06, 07, 08, gap");
    assert_eq!(outcome(&crowd(40)), "pem-unreadable");
}

#[test]
fn a_gap_is_drawn_as_a_tree() {
    let missing = "\n  <- CN=A is missing";
    let foreign = "\n  <- CN=A (serial 02) has this name, but did not sign";
    let leaf = |below: &[&str]| format!("CN=leaf (serial 01){}", below.concat());
    for (texts, expected) in [
        (&["leaf < A"][..], leaf(&[missing])),
        (&["leaf < A", "X < Root"], leaf(&[missing])),
        (&["leaf < A", "A:other < Root"], leaf(&[foreign, missing])),
        (&["leaf < A", "A:other < Root since:0s"], leaf(&[foreign, missing])),
        (&["leaf < A", "A:other < Root until:0s"], leaf(&[foreign, missing])),
        (
            &["leaf < A", "A < Root expired"],
            leaf(&["\n  <- CN=A (serial 02) expired at 2027-06-30T23:59:59Z"]),
        ),
        (
            &["leaf < A", "A < Root early"],
            leaf(&["\n  <- CN=A (serial 02) becomes valid at 2027-07-01T00:00:01Z"]),
        ),
        (&["leaf < A", "A < Root no-ca"], leaf(&["\n  <- CN=A (serial 02) is not a CA"])),
        // a fit namesake does not make up for it
        (
            &["leaf < A", "A:other < Root", "A < Root expired older"],
            leaf(&[foreign, "\n  <- CN=A (serial 03) expired at 2027-06-30T23:59:59Z"]),
        ),
        // above a CA of the same name, which is not listed below itself
        (
            &["leaf < CA:new", "CA:new < CA:old", "CA:other < Root older"],
            "CN=CA (serial 02)\
             \n  <- CN=CA (serial 03) has this name, but did not sign\
             \n  <- CN=CA is missing"
                .to_owned(),
        ),
    ] {
        let (leaf, certificates) = certificates(texts);
        let drawn = match build(&leaf, &certificates, NOW) {
            Ok(chain) => chain.gap.unwrap(),
            Err(error) => {
                let text = error.message.split("; ").next().unwrap().to_owned();
                let (_, tree) = text.split_once(":\n").unwrap();
                tree.to_owned()
            }
        };
        assert_eq!(drawn, expected, "{texts:?}");
    }
}

#[test]
fn a_root_reaches_itself_and_a_stranger_none() {
    let root = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
    assert!(reaches_root(&Certificate::from_der(root).unwrap(), &[]));
    let own = maker().make("Own < Own").read();
    assert!(!reaches_root(&own, &[]));
    assert!(reaches_root(&own, std::slice::from_ref(&own.der)));
}
