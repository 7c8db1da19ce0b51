//! Which certificate belongs to a TLS secret, as truth tables.

use super::*;
use crate::sync::samples::{SHOP, issue, tls_secret};

const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_000_000));
const SERIAL: &str = "04:1a:2b:3c:4d:5e:6f:70";
const ISSUER: &str = "CN=R11,O=Let's Encrypt,C=US";

fn held(serial: &str, names: &[&str]) -> Held {
    Held {
        serial: serial.to_owned(),
        issuer: ISSUER.to_owned(),
        names: names.iter().map(|name| ServerName::dns(name)).collect(),
        not_after: NOW,
    }
}

fn known(id: &str, serial: Option<&str>, names: &[&str]) -> Known {
    let mut names = names.iter().map(ToString::to_string);
    Known::from(ListedCertificate {
        id: id.to_owned(),
        name: String::new(),
        secret_type: "public_cert".to_owned(),
        secret_group_id: None,
        common_name: names.next(),
        alt_names: names.collect(),
        serial_number: serial.map(str::to_owned),
        issuer: Some(ISSUER.to_owned()),
        expiration_date: Some("2027-12-31T00:00:00Z".to_owned()),
        state: Some(1),
    })
}

#[test]
fn serial_number_and_issuer_together_make_the_same_certificate() {
    let short = "01";
    for (held_serial, serial, issuer, same) in [
        (SERIAL, Some(SERIAL), Some(ISSUER), true),
        // another form of the same number and of the same name
        (
            SERIAL,
            Some("4:1A:2B:3C:4D:5E:6F:70"),
            Some("C=US, O=Let\\'s Encrypt, CN=r11"),
            true,
        ),
        (
            SERIAL,
            Some(SERIAL),
            Some("/C=US/O=Let's Encrypt/CN=R11"),
            true,
        ),
        (
            SERIAL,
            Some(SERIAL),
            Some("CN=R10,O=Let's Encrypt,C=US"),
            false,
        ),
        (SERIAL, Some("04:1a:2b:3c:4d:5e:6f:71"), Some(ISSUER), false),
        (SERIAL, None, Some(ISSUER), false),
        (short, Some(short), Some(ISSUER), true),
        // nothing to compare, or Secrets Manager's own name for a private CA
        (SERIAL, Some(SERIAL), None, true),
        (SERIAL, Some(SERIAL), Some("my-intermediate-ca"), true),
        (short, Some(short), None, false),
        (short, Some(short), Some("my-intermediate-ca"), false),
    ] {
        let mut known = known("a", serial, &["shop.example"]);
        known.listed.issuer = issuer.map(str::to_owned);
        let held = held(held_serial, &["shop.example"]);
        assert_eq!(
            is_same(&held, &known),
            same,
            "{held_serial} {serial:?} {issuer:?}"
        );
    }
}

#[test]
fn the_most_certain_rule_decides() {
    let old = "0a:0b:0c:0d:0e:0f:10:11";
    let list = [
        known("shop", Some(SERIAL), &["shop.example", "www.shop.example"]),
        known("wildcard", Some("07:07"), &["*.shop.example"]),
        known("blog", Some("08:08"), &["blog.example"]),
        known("pending", None, &["pending.example"]),
        known("twin-1", Some("99:99:99:99:99:99:99:99"), &["twin.example"]),
        known("twin-2", Some("99:99:99:99:99:99:99:99"), &["twin.example"]),
    ];
    let previous = BTreeMap::from([("blog".to_owned(), old.to_owned())]);
    for (serial, names, kind, found) in [
        (SERIAL, vec!["shop.example"], Match::Same, vec!["shop"]),
        // the names do not matter, if the number is the same
        (SERIAL, vec!["other.example"], Match::Same, vec!["shop"]),
        (
            "99:99:99:99:99:99:99:99",
            vec!["twin.example"],
            Match::Same,
            vec!["twin-1", "twin-2"],
        ),
        (old, vec!["blog.example"], Match::Renewed, vec!["blog"]),
        // a name was dropped at the renewal
        (
            old,
            vec!["blog.example", "old.example"],
            Match::Renewed,
            vec!["blog"],
        ),
        (old, vec!["old.example"], Match::None, vec![]),
        ("05", vec!["blog.example"], Match::Covers, vec!["blog"]),
        (
            "05",
            vec!["www.shop.example"],
            Match::Covers,
            vec!["shop", "wildcard"],
        ),
        (
            "05",
            vec!["shop.example", "blog.example"],
            Match::None,
            vec![],
        ),
        ("05", vec!["stranger.example"], Match::None, vec![]),
        ("05", vec![], Match::None, vec![]),
        ("05", vec!["https://blog.example"], Match::None, vec![]),
    ] {
        let (matches, known) = matching(&held(serial, &names), &list, &previous, NOW);
        let ids: Vec<&str> = known.iter().map(|known| known.listed.id.as_str()).collect();
        assert_eq!((matches, ids), (kind, found), "{serial} {names:?}");
    }
}

#[test]
fn only_what_can_be_served_covers() {
    for (state, until, covers) in [
        (Some(1), Some("2027-12-31T00:00:00Z"), Match::Covers),
        (None, None, Match::Covers),
        (Some(1), Some("2020-12-31T00:00:00Z"), Match::None),
        // NOW, and the second before
        (Some(1), Some("2026-11-18T11:06:40Z"), Match::Covers),
        (Some(1), Some("2026-11-18T11:06:39Z"), Match::None),
        (Some(0), None, Match::None),
        (Some(5), Some("2027-12-31T00:00:00Z"), Match::None),
    ] {
        let mut known = known("a", Some("07"), &["shop.example"]);
        known.listed.state = state;
        known.listed.expiration_date = until.map(str::to_owned);
        let list = [Known::from(known.listed)];
        let (matches, _) = matching(&held("05", &["shop.example"]), &list, &BTreeMap::new(), NOW);
        assert_eq!(matches, covers, "{state:?} {until:?}");
    }
}

#[test]
fn versions_are_read_only_where_names_match_and_the_serial_differs() {
    let shop = known("shop", Some(SERIAL), &["shop.example", "*.shop.example"]);
    for (serial, name, read) in [
        ("05", "shop.example", true),
        ("05", "www.shop.example", true),
        ("05", "blog.example", false),
        (SERIAL, "shop.example", false),
    ] {
        let held = held(serial, &[name]);
        assert_eq!(may_be_renewed(&held, &shop), read, "{serial} {name}");
    }
}

#[test]
fn a_secret_without_a_name_is_shown_without_one() {
    for (name, shown) in [
        ("", None),
        ("shop", Some("shop")),
        ("a\nb", Some("a\\u{a}b")),
    ] {
        let mut known = known("a", None, &["shop.example"]);
        known.listed.name = name.to_owned();
        let reference = known.reference();
        assert_eq!(reference.secret_name.as_deref(), shown);
        assert_eq!(reference.secret_id, "a");
        assert_eq!(reference.secret_type, "public_cert");
        assert_eq!(reference.not_after, known.not_after);
    }
}

#[test]
fn a_tls_secret_holds_what_servers_send_first() {
    let shop = issue(&SHOP);
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let leaf = &shop.leaf;
    for (certificate, held) in [
        (leaf.clone(), true),
        (format!("{leaf}{}", shop.issuer), true),
        (format!("{leaf}{damaged}"), true),
        (format!("{damaged}{leaf}"), false),
        (String::new(), false),
    ] {
        let found = Held::of(&tls_secret(certificate.clone(), &shop.key));
        assert_eq!(found.is_some(), held, "{certificate}");
        if let Some(found) = found {
            assert_eq!(found.serial, "01");
            assert_eq!(found.issuer, "CN=Issuing CA");
            let names: Vec<String> = found.names.iter().map(ToString::to_string).collect();
            assert_eq!(names, SHOP.names);
        }
    }
}
