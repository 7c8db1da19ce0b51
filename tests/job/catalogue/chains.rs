//! Which chain goes with the leaf: the longest path of verified signatures whose certificates are
//! all valid now, leaf first, without self-signed roots; of twins the newest.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyUsagePurpose};

use super::pki::{Cert, Subject, p384, stored, stored_chain, stored_key};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [
        plain(),
        generation_y(),
        cross_signs(),
        namesakes(),
        unfit(),
        unverifiable(),
        graphs(),
    ]
    .concat()
}

/// One CA above the other.
fn plain() -> Vec<Case> {
    let (root, upper, lower, shop) = (
        Subject::new("Root"),
        Subject::new("Upper"),
        Subject::new("Lower"),
        Subject::new("shop.example.com"),
    );
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

    vec![
        case("one intermediate", &leaf)
            .given([&leaf, &lower_by_upper])
            .serves([&leaf, &lower_by_upper]),
        case("six intermediates", &deep[0])
            .given(&deep)
            .serves(&deep),
        case("the root included", &leaf)
            .given([&leaf, &lower_by_upper, &upper_by_root, &root.root()])
            .serves([&leaf, &lower_by_upper, &upper_by_root]),
        case("a leaf directly under a root, which is included", &by_root)
            .given([&by_root, &root.root()])
            .serves([&by_root]),
        case("the issuer missing, the ones above included", &leaf)
            .given([&leaf, &upper_by_root, &root.root()])
            .serves([&leaf])
            .finding(&["chain-gap"]),
        // the client may know it: many public CAs are cross-signed by roots
        case("the upper intermediate missing", &leaf)
            .given([&leaf, &lower_by_upper, &root.root()])
            .serves([&leaf, &lower_by_upper]),
        case("strangers: fifty roots", &leaf)
            .given([&leaf, &lower_by_upper])
            .given(&fifty)
            .serves([&leaf, &lower_by_upper]),
        case("strangers: a root, a CA and a leaf of others", &leaf)
            .given([&leaf, &lower_by_upper, &stranger.root(), &other_leaf])
            .serves([&leaf, &lower_by_upper]),
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
    let withdrawn = x1.sign(&yr.ca().valid(-1001, 1000).label("withdrawn cross-sign"));

    let leaf = ye1.sign(&shop.leaf());
    let ye1_by_ye = ye.sign(&ye1.ca());
    let ye_by_x2 = x2.sign(&ye.ca());
    let x2_by_x1 = x1.sign(&x2.ca());
    let expired = x1.sign(&x2.ca().valid(-1000, -1).label("expired cross-sign"));

    vec![
        case("Generation Y, RSA: two intermediates", &rsa_leaf)
            .given([&rsa_leaf, &yr1_by_yr, &yr_by_x1])
            .serves([&rsa_leaf, &yr1_by_yr, &yr_by_x1]),
        case("Generation Y, ECDSA: three intermediates", &leaf)
            .given([&leaf, &ye1_by_ye, &ye_by_x2, &x2_by_x1])
            .serves([&leaf, &ye1_by_ye, &ye_by_x2, &x2_by_x1]),
        case("Generation Y: the old root included", &rsa_leaf)
            .given([&rsa_leaf, &yr1_by_yr, &yr_by_x1, &x1.root()])
            .serves([&rsa_leaf, &yr1_by_yr, &yr_by_x1]),
        case(
            "Generation Y: the new root beside its cross-sign",
            &rsa_leaf,
        )
        .given([&rsa_leaf, &yr1_by_yr, &yr_by_x1, &yr.root()])
        .serves([&rsa_leaf, &yr1_by_yr, &yr_by_x1]),
        case(
            "Generation Y: a withdrawn cross-sign beside the repeated one",
            &rsa_leaf,
        )
        .given([&rsa_leaf, &yr1_by_yr, &yr_by_x1, &withdrawn])
        .serves([&rsa_leaf, &yr1_by_yr, &yr_by_x1]),
        case("Generation Y: all roots and cross-signs at once", &leaf)
            .given([&leaf, &ye1_by_ye, &ye_by_x2, &x2_by_x1, &expired])
            .given([&x1.root(), &x2.root(), &ye.root()])
            .serves([&leaf, &ye1_by_ye, &ye_by_x2, &x2_by_x1]),
    ]
}

/// One CA, several certificates.
fn cross_signs() -> Vec<Case> {
    let (old, new, ca, shop) = (
        Subject::new("Old Root"),
        Subject::new("New Root"),
        Subject::new("CA"),
        Subject::new("shop.example.com"),
    );
    let leaf = ca.sign(&shop.leaf());
    let of = |signer: &Subject, from, until, label: &str| {
        signer.sign(&ca.ca().valid(from, until).label(label))
    };
    let by_new = of(&new, -100, 100, "CA by New Root");
    let first = of(&new, -200, 300, "first twin");
    let short = of(&new, -50, -1, "newest twin, expired");
    let soon = of(&new, -50, 5, "newest twin, ends soon");
    let by_old_expired = of(&old, -90, -1, "CA by Old Root, expired");
    let by_old = of(&old, -300, 300, "CA by Old Root");
    let old_by_new = new.sign(&old.ca());

    // RFC 4210 section 4.4: a root changes its key, the old one vouches for the new one
    let rolled = Subject::new("Old Root");
    let new_with_old = old.sign(&rolled.ca().label("new key, signed with the old one"));
    let rolled_leaf = rolled.sign(&shop.leaf());

    let root_leaf = old.sign(&shop.leaf());
    let expired_root = old.sign(&old.ca().valid(-90, -1));

    vec![
        case("an expired cross-sign beside a valid one", &leaf)
            .given([&leaf, &by_new, &by_old_expired])
            .serves([&leaf, &by_new]),
        case("twins: the newest", &leaf)
            .given([&leaf, &first, &by_new])
            .serves([&leaf, &by_new]),
        case("twins: the newest ends soon", &leaf)
            .given([&leaf, &first, &soon])
            .serves([&leaf, &first]),
        case("twins: the newest has expired", &leaf)
            .given([&leaf, &first, &short])
            .serves([&leaf, &first]),
        case(
            "cross-signs: the longest path, though it begins with an older certificate",
            &leaf,
        )
        .given([&leaf, &by_new, &by_old, &old_by_new])
        .serves([&leaf, &by_old, &old_by_new]),
        case(
            "a root with a new key, signed with the old one",
            &rolled_leaf,
        )
        .given([&rolled_leaf, &new_with_old, &old.root()])
        .serves([&rolled_leaf, &new_with_old]),
        case(
            "an expired root beside its own valid cross-sign",
            &root_leaf,
        )
        .given([&root_leaf, &expired_root, &old_by_new])
        .serves([&root_leaf, &old_by_new]),
        // the outage of 30 May 2020, when AddTrust's root and its cross-signs expired
    ]
}

/// The same name with another key is another CA.
fn namesakes() -> Vec<Case> {
    let (root, ca, shop) = (
        Subject::new("Root"),
        Subject::new("CA"),
        Subject::new("shop.example.com"),
    );
    let namesake = Subject::new("CA");
    let leaf = ca.sign(&shop.leaf());
    let issuer = root.sign(&ca.ca());
    let foreign = root.sign(&namesake.ca().valid(-10, 1000).label("namesake"));
    vec![
        case("a namesake beside the issuer", &leaf)
            .given([&leaf, &issuer, &foreign])
            .serves([&leaf, &issuer]),
        case("a namesake instead of the issuer", &leaf)
            .given([&leaf, &foreign])
            .serves([&leaf])
            .finding(&["chain-gap"]),
        case("a namesake that is a root instead of the issuer", &leaf)
            .given([&leaf, &namesake.root()])
            .serves([&leaf])
            .finding(&["chain-gap"]),
    ]
}

/// The issuer is there, and no client would take it.
fn unfit() -> Vec<Case> {
    let (root, ca, shop) = (
        Subject::new("Root"),
        Subject::new("CA"),
        Subject::new("shop.example.com"),
    );
    let leaf = ca.sign(&shop.leaf());
    let expired = root.sign(&ca.ca().valid(-90, -1));
    let no_ca = root.sign(&ca.ca().ca_bit(false));
    let no_signer = root.sign(
        &ca.ca()
            .further(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
    );
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
    let no_server = ca.sign(
        &shop
            .leaf()
            .further(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
    );
    let ca_by_root = root.sign(&ca.ca());
    vec![
        case("the issuer may not sign certificates", &leaf)
            .given([&leaf, &no_signer, &root.root()])
            .refused("unfit"),
        case("the issuer has an unknown critical extension", &leaf)
            .given([&leaf, &critical, &root.root()])
            .refused("unfit"),
        case(
            "an upper CA that allows no CA below it ends the chain",
            &leaf,
        )
        .given([&leaf, &by_upper, &upper_narrow])
        .serves([&leaf, &by_upper]),
        case("the key of the leaf may not serve", &no_server)
            .given([&no_server, &ca_by_root])
            .refused("unfit"),
        case(
            "the top of the chain is not signed by the root of that name",
            &leaf,
        )
        .given([&leaf, &ca_by_root, &Subject::new("Root").root()])
        .serves([&leaf, &ca_by_root])
        .finding(&["chain-gap"]),
        case("the issuer has expired", &leaf)
            .given([&leaf, &expired, &root.root()])
            .refused("unfit"),
        case("the issuer is not a CA", &leaf)
            .given([&leaf, &no_ca, &root.root()])
            .refused("unfit"),
    ]
}

/// Large keys, and algorithms that the TLS library does not verify: name and key identifier must do.
fn unverifiable() -> Vec<Case> {
    let chain = |file: &str| stored_chain(file, "p256.pem");
    let [rsa_8192, sha1, sha512, p521, sha224] =
        ["rsa-8192", "sha1", "ecdsa-sha512", "p521", "ecdsa-sha224"]
            .map(|name| chain(&format!("chain-{name}.pem")));
    let foreign = chain("foreign-ecdsa-sha224.pem");
    let mut with_root = sha1.clone();
    with_root.push(Cert {
        pem: stored("root.pem"),
        ..sha1[0].clone()
    });
    let sound = [
        ("RSA 8192 in the chain", &rsa_8192),
        ("an intermediate signed with ECDSA-SHA512", &sha512),
        ("a leaf signed by a CA on P-521", &p521),
    ]
    .map(|(name, chain)| case(name, &chain[0]).given(chain).serves(chain));
    let weak = [
        ("an intermediate signed with SHA-1", &sha1),
        (
            "an intermediate signed with SHA-1, the root included",
            &with_root,
        ),
    ]
    .map(|(name, chain)| case(name, &chain[0]).given(chain).refused("weak-signature"));
    let unverified = [
        case("a leaf signed with ECDSA-SHA224", &sha224[0])
            .given(&sha224)
            .serves(&sha224)
            .finding(&["chain-unverified"]),
        case(
            "a leaf signed with ECDSA-SHA224, beside a namesake",
            &sha224[0],
        )
        .given(&sha224)
        .given(&foreign)
        .serves(&sha224)
        .finding(&["chain-unverified"]),
        case(
            "a leaf signed with ECDSA-SHA224, and a namesake instead of the issuer",
            &sha224[0],
        )
        .given([&sha224[0], &foreign[0]])
        .serves([&sha224[0]])
        .finding(&["chain-gap", "chain-unverified"]),
    ];
    [sound.to_vec(), weak.to_vec(), unverified.to_vec()].concat()
}

/// Many cross-signs: some are only hard, others are an attack on the search, which must end.
fn graphs() -> Vec<Case> {
    let shop = Subject::new("shop.example.com");
    let cas = |count: usize| -> Vec<Subject> {
        (0..count)
            .map(|n| Subject::new(&format!("CA {n}")))
            .collect()
    };
    // each signed by each other one; the lower the numbers, the newer
    let mesh = |cas: &[Subject]| -> Vec<Cert> {
        let mut certificates = vec![cas[0].sign(&shop.leaf())];
        for (below, ca) in cas.iter().enumerate() {
            for (above, signer) in cas.iter().enumerate().filter(|(above, _)| *above != below) {
                let age = i64::try_from(10 * below + above).unwrap();
                let label = format!("CA {below} by CA {above}");
                certificates.push(signer.sign(&ca.ca().valid(-100 - age, 100).label(&label)));
            }
        }
        certificates
    };
    let small = mesh(&cas(5));
    let find = |label: &str| small.iter().find(|c| c.label == label).unwrap();

    // sixty CAs of one name, each signed by the next: only signatures tell them apart
    let same: Vec<Subject> = (0..60).map(|_| Subject::new("CA")).collect();
    let mut crowd: Vec<Cert> = same
        .windows(2)
        .map(|pair| pair[1].sign(&pair[0].ca()))
        .collect();
    crowd.push(same[0].sign(&shop.leaf()));

    vec![
        case("five CAs that all signed each other", &small[0])
            .given(&small)
            .serves([
                &small[0],
                find("CA 0 by CA 1"),
                find("CA 1 by CA 2"),
                find("CA 2 by CA 3"),
                find("CA 3 by CA 4"),
                find("CA 4 by CA 0"),
            ]),
        case("sixty CAs of one name", crowd.last().unwrap())
            .given(&crowd)
            .refused("pem-unreadable"),
    ]
}
