//! Which chain goes with the leaf: the longest path of verified signatures whose certificates are
//! all valid now, leaf first, without self-signed roots; of twins the newest.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyUsagePurpose};

use super::pki::{Cert, Subject, p384, stored_chain, stored_key};
use super::{Case, sound, unsound};

pub(super) fn cases() -> Vec<Case> {
    [
        plain(),
        generation_y(),
        cross_signs(),
        namesakes(),
        unfit(),
        unverifiable(),
    ]
    .concat()
}

/// One CA above the other.
fn plain() -> Vec<Case> {
    let [root, upper, lower, shop] =
        ["Root", "Upper", "Lower", "shop.example.com"].map(Subject::new);
    let by_root = root.sign(&shop.leaf());
    let leaf = lower.sign(&shop.leaf());
    let lower_by_upper = upper.sign(&lower.ca());
    let upper_by_root = root.sign(&upper.ca());
    let stranger = Subject::new("Stranger");
    let other_leaf = stranger.sign(&Subject::new("other.example.com").leaf());

    let fifty: Vec<Cert> = (0..50)
        .map(|n| stranger.renamed(&format!("Stranger {n}")).root())
        .collect();

    let mut deep = Vec::new();
    let mut signer = root.clone();
    for level in (1..=6).rev() {
        let below = Subject::new(&format!("CA {level}"));
        deep.insert(0, signer.sign(&below.ca()));
        signer = below;
    }
    deep.insert(0, signer.sign(&shop.leaf()));

    let chain = [&leaf, &lower_by_upper];
    vec![
        sound("one intermediate", chain),
        sound("six intermediates", &deep),
        sound(
            "the root included",
            [&leaf, &lower_by_upper, &upper_by_root],
        )
        .given([&root.root()]),
        sound("the root included, directly above", [&by_root]).given([&root.root()]),
        sound("the issuer missing, the ones above included", [&leaf])
            .given([&upper_by_root, &root.root()])
            .finding(&["chain-gap"]),
        // the client may know it: many public CAs are cross-signed by roots
        sound("the upper intermediate missing", chain).given([&root.root()]),
        sound("strangers: fifty roots", chain).given(&fifty),
        sound("strangers: a CA and a leaf", chain).given([&stranger.root(), &other_leaf]),
    ]
}

/// Let's Encrypt's Generation Y as it is delivered: new roots, cross-signed by the known ones.
fn generation_y() -> Vec<Case> {
    let (x1, x2, yr, ye, yr1, ye1) = (
        Subject::with_key("ISRG Root X1", stored_key("rsa-4096.pem")),
        Subject::with_key("ISRG Root X2", p384()),
        Subject::with_key("ISRG Root YR", stored_key("rsa-3072.pem")),
        Subject::with_key("ISRG Root YE", p384()),
        Subject::with_key("YR1", stored_key("rsa-2048.pem")),
        Subject::with_key("YE1", p384()),
    );
    let shop = Subject::new("shop.example.com");
    let rsa_shop = Subject::with_key("shop.example.com", stored_key("rsa-2048.pem"));

    let rsa_leaf = yr1.sign(&rsa_shop.leaf());
    let yr1_by_yr = yr.sign(&yr1.ca());
    let yr_by_x1 = x1.sign(&yr.ca());
    let withdrawn = x1.sign(&yr.ca().valid(-1001, 1000));

    let leaf = ye1.sign(&shop.leaf());
    let ye1_by_ye = ye.sign(&ye1.ca());
    let ye_by_x2 = x2.sign(&ye.ca());
    let x2_by_x1 = x1.sign(&x2.ca());
    let expired = x1.sign(&x2.ca().valid(-1000, -1));

    let rsa = [&rsa_leaf, &yr1_by_yr, &yr_by_x1];
    let ecdsa = [&leaf, &ye1_by_ye, &ye_by_x2, &x2_by_x1];
    vec![
        sound("Generation Y, RSA", rsa),
        sound("Generation Y, ECDSA", ecdsa),
        sound("Generation Y: the old root included", rsa).given([&x1.root()]),
        sound("Generation Y: a withdrawn cross-sign", rsa).given([&withdrawn, &yr.root()]),
        sound("Generation Y: all at once", ecdsa).given([
            &expired,
            &x1.root(),
            &x2.root(),
            &ye.root(),
        ]),
    ]
}

/// One CA, several certificates.
fn cross_signs() -> Vec<Case> {
    let [old, new, ca, shop] = ["Old Root", "New Root", "CA", "shop.example.com"].map(Subject::new);
    let leaf = ca.sign(&shop.leaf());
    let of = |signer: &Subject, from, until| signer.sign(&ca.ca().valid(from, until));
    let by_new = of(&new, -100, 100);
    let first = of(&new, -200, 300);
    let short = of(&new, -50, -1);
    let soon = of(&new, -50, 5);
    let by_old_expired = of(&old, -90, -1);
    let by_old = of(&old, -300, 300);
    let old_by_new = new.sign(&old.ca());

    // RFC 4210 section 4.4: a root changes its key, the old one vouches for the new one
    let rolled = Subject::new("Old Root");
    let new_with_old = old.sign(&rolled.ca());
    let rolled_leaf = rolled.sign(&shop.leaf());

    let root_leaf = old.sign(&shop.leaf());
    let expired_root = old.sign(&old.ca().valid(-90, -1));

    vec![
        sound("an expired cross-sign beside one", [&leaf, &by_new]).given([&by_old_expired]),
        sound("twins: the newest", [&leaf, &by_new]).given([&first]),
        sound("twins: the newest ends soon", [&leaf, &first]).given([&soon]),
        sound("twins: the newest has expired", [&leaf, &first]).given([&short]),
        // though it begins with an older certificate
        sound(
            "cross-signs: the longest path",
            [&leaf, &by_old, &old_by_new],
        )
        .given([&by_new]),
        sound("a root's new key", [&rolled_leaf, &new_with_old]).given([&old.root()]),
        // the outage of 30 May 2020, when AddTrust's root expired
        sound("an expired root", [&root_leaf, &old_by_new]).given([&expired_root]),
    ]
}

/// The same name with another key is another CA.
fn namesakes() -> Vec<Case> {
    let [root, ca, shop] = ["Root", "CA", "shop.example.com"].map(Subject::new);
    let namesake = Subject::new("CA");
    let leaf = ca.sign(&shop.leaf());
    let issuer = root.sign(&ca.ca());
    let foreign = root.sign(&namesake.ca().valid(-10, 1000));
    vec![
        sound("a namesake beside the issuer", [&leaf, &issuer]).given([&foreign]),
        sound("a namesake instead of the issuer", [&leaf])
            .given([&foreign])
            .finding(&["chain-gap"]),
        sound("a namesake that is a root instead of the issuer", [&leaf])
            .given([&namesake.root()])
            .finding(&["chain-gap"]),
    ]
}

/// The issuer is there, and no client would take it.
fn unfit() -> Vec<Case> {
    let [root, ca, shop] = ["Root", "CA", "shop.example.com"].map(Subject::new);
    let leaf = ca.sign(&shop.leaf());
    let expired = root.sign(&ca.ca().valid(-90, -1));
    let no_ca = root.sign(&ca.ca().ca_bit(false));
    let crl_only = |p: &mut CertificateParams| p.key_usages = vec![KeyUsagePurpose::CrlSign];
    let no_signer = root.sign(&ca.ca().further(crl_only));
    let critical = root.sign(&ca.ca().further(|p| {
        let oid = &[1, 3, 6, 1, 4, 1, 99999, 1];
        let mut unknown = CustomExtension::from_oid_content(oid, vec![5, 0]);
        unknown.set_criticality(true);
        p.custom_extensions.push(unknown);
    }));
    let (upper, narrow) = (Subject::new("Upper"), |p: &mut CertificateParams| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let by_upper = upper.sign(&ca.ca());
    let upper_narrow = root.sign(&upper.ca().further(narrow));
    let no_server = ca.sign(&shop.leaf().further(crl_only));
    let ca_by_root = root.sign(&ca.ca());
    let (root, namesake) = (root.root(), Subject::new("Root").root());
    let issuers = [
        ("may not sign", no_signer),
        ("has an unknown critical extension", critical),
        ("has expired", expired),
        ("is not a CA", no_ca),
    ];
    let mut cases = issuers
        .map(|(what, issuer)| {
            unsound(
                format!("the issuer {what}"),
                [&leaf, &issuer, &root],
                "unfit",
            )
        })
        .to_vec();
    cases.extend([
        // it ends the chain
        sound("an upper CA that allows no CA", [&leaf, &by_upper]).given([&upper_narrow]),
        unsound(
            "a leaf that may not serve",
            [&no_server, &ca_by_root],
            "unfit",
        ),
        sound("another root of that name", [&leaf, &ca_by_root])
            .given([&namesake])
            .finding(&["chain-gap"]),
    ]);
    cases
}

/// Large keys, and algorithms that the TLS library does not verify: name and key identifier must do.
fn unverifiable() -> Vec<Case> {
    let chain = |file: &str| stored_chain(file, "p256.pem");
    let [rsa_8192, sha1, sha512, p521, sha224] =
        ["rsa-8192", "sha1", "ecdsa-sha512", "p521", "ecdsa-sha224"]
            .map(|name| chain(&format!("chain-{name}.pem")));
    let foreign = chain("foreign-ecdsa-sha224.pem");
    vec![
        sound("RSA 8192 in the chain", &rsa_8192),
        sound("an intermediate signed with ECDSA-SHA512", &sha512),
        sound("a leaf signed by a CA on P-521", &p521),
        unsound("an intermediate signed with SHA-1", &sha1, "weak-signature"),
        sound("ECDSA-SHA224", &sha224).finding(&["chain-unverified"]),
        sound("ECDSA-SHA224, beside a namesake", &sha224)
            .given(&foreign)
            .finding(&["chain-unverified"]),
        sound("ECDSA-SHA224, a namesake instead", [&sha224[0]])
            .given([&foreign[0]])
            .finding(&["chain-gap", "chain-unverified"]),
    ]
}
