//! `--discover`: which certificate belongs to which TLS secret. Only reads.

use std::collections::BTreeSet;

use rustls_pki_types::UnixTime;
use serde_json::json;

use crate::cert::certificate::{Certificate, parse_rfc3339, same_serial};
use crate::cert::names::{NameSet, ServerName, covered, lost};
use crate::error::Error;
use crate::ibm::code_engine::{TlsSecret, TlsSecretRef};
use crate::ibm::ids::{Region, TlsSecretName, Uuid};
use crate::ibm::secrets_manager::CertificateMetadata;
use crate::report::{CertificateRef, Date, Discovered, Discovery, Leaf, Match, Report};
use crate::sync::Run;

/// Secrets Manager hides what the profile may not read.
const NONE_LISTED: &str = "Secrets Manager lists no certificate: if there are any, the job needs the role Reader or SecretsReader on their secret group";

/// Reads both sides and matches them.
///
/// # Errors
/// If there is no token. Other failures are part of the results, next to what could be read.
pub(crate) fn discover(run: &Run<'_>) -> Result<Report, Error> {
    run.iam.assume()?;
    let mut failures = Vec::new();
    let known = certificates(run).map_err(|error| failures.push(error));
    let listed = known.is_ok();
    let mut known = known.unwrap_or_default();
    let secrets = tls_secrets(run, &mut failures);
    let all_read = failures.is_empty();
    failures.extend(read_previous(run, &secrets, &mut known));

    let (mut discovered, mut proposed_targets) = (Vec::new(), Vec::new());
    for secret in secrets {
        let leaf = secret.leaf.as_ref();
        let (best, found) = match leaf {
            None => (Match::Unreadable, Vec::new()),
            Some(leaf) => matching(leaf, &known, run.now),
        };
        let found = Discovered {
            project_id: secret.place.project.id.to_string(),
            tls_secret: secret.place.name.to_string(),
            not_after: leaf.map(|leaf| Date(leaf.not_after)),
            names: leaf.map_or_else(Vec::new, |leaf| Leaf::from(leaf).names),
            domains: secret.domains,
            matches: (listed || best == Match::Unreadable).then_some(best),
            candidates: found.into_iter().map(|known| known.shown.clone()).collect(),
        };
        if let (Match::Same | Match::Renewed, [only]) = (best, &found.candidates[..]) {
            proposed_targets.push(json!({
                "secret_id": only.secret_id,
                "tls_secret": found.tls_secret,
                "project_id": found.project_id,
                "region": secret.region.map(ToString::to_string),
            }));
        }
        discovered.push(found);
    }
    let candidates = discovered.iter().flat_map(|secret| &secret.candidates);
    let used: BTreeSet<&String> = candidates.map(|one| &one.secret_id).collect();
    known.retain(|one| one.active && !used.contains(&one.shown.secret_id));
    let unused = known.into_iter().map(|one| one.shown);
    let mut failures = failures.into_iter();
    let error = failures.next();
    failures.for_each(|failure| log::error!("{failure}"));
    Ok(Report {
        discovery: Some(Discovery {
            proposed_targets,
            unused_certificates: all_read.then(|| unused.collect()),
            discovered,
        }),
        error,
        ..Report::default()
    })
}

/// A TLS secret, as far as it could be read.
struct Seen<'a> {
    place: TlsSecretRef,
    region: Option<&'a Region>,
    /// What servers send first.
    leaf: Option<Certificate>,
    domains: Option<Vec<String>>,
}

/// The TLS secrets of all projects. A list need not show what they hold: then each is read.
fn tls_secrets<'a>(run: &Run<'a>, failures: &mut Vec<Error>) -> Vec<Seen<'a>> {
    let projects: Vec<_> = run.config.projects.iter().collect();
    let lists = run.each("listing projects", projects.clone(), |(project, _)| {
        let secrets = run.code_engine.tls_secrets(project)?;
        Ok((secrets, run.code_engine.domain_mappings(project)))
    });
    let mut seen = Vec::new();
    for ((project, region), list) in projects.into_iter().zip(lists) {
        let (mut secrets, mappings) = list.unwrap_or_else(|error| (Vec::new(), Err(error)));
        let mappings = mappings.map_err(|error| failures.push(error)).ok();
        secrets.retain(|secret| secret.generated_by.as_deref() != Some("system"));
        for secret in secrets {
            let Ok(name) = TlsSecretName::parse(secret.name.as_deref().unwrap_or_default()) else {
                log::warn!("a TLS secret is left out, its name is not valid");
                continue;
            };
            let domains = mappings.as_ref().map(|mappings| {
                let using = mappings.iter().filter(|mapping| mapping.uses(&name));
                using.map(|mapping| mapping.name.clone()).collect()
            });
            let project = project.clone();
            seen.push(Seen {
                leaf: leaf(&secret),
                place: TlsSecretRef { project, name },
                region: region.as_ref(),
                domains,
            });
        }
    }
    let unread = seen.iter_mut().filter(|seen| seen.leaf.is_none()).collect();
    let read = run.each("reading TLS secrets", unread, |seen: &mut Seen<'_>| {
        seen.leaf = leaf(&run.code_engine.tls_secret(&seen.place)?);
        Ok(())
    });
    failures.extend(read.into_iter().filter_map(Result::err));
    seen
}

fn leaf(secret: &TlsSecret) -> Option<Certificate> {
    let mut certificates = Certificate::all_in(&secret.data.tls_cert).into_iter();
    certificates.next()?.ok()
}

/// A certificate in Secrets Manager.
struct Known {
    id: Uuid,
    names: Vec<ServerName>,
    /// Of the current version.
    serial: Option<String>,
    /// Of the previous version, where it was asked for.
    previous: Option<String>,
    active: bool,
    shown: CertificateRef,
}

/// Those that Secrets Manager lists, by name.
fn certificates(run: &Run<'_>) -> Result<Vec<Known>, Error> {
    let mut listed = run.secrets_manager.certificates()?;
    if listed.is_empty() {
        log::warn!("{NONE_LISTED}");
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed.into_iter().filter_map(Known::new).collect())
}

impl Known {
    /// None, if its ID is none: it could not be a target.
    fn new(listed: CertificateMetadata) -> Option<Self> {
        let name = |text: &String| match text.parse() {
            Ok(address) => ServerName::Ip(address),
            Err(_) => ServerName::dns(text),
        };
        let further = listed.alt_names.iter().flatten();
        let names = listed.common_name.iter().chain(further);
        let not_after = listed.expiration_date.as_deref().and_then(parse_rfc3339);
        Some(Self {
            id: Uuid::parse(&listed.id).ok()?,
            names: names.map(name).collect(),
            serial: listed.serial_number,
            previous: None,
            active: matches!(listed.state, None | Some(1)),
            shown: CertificateRef {
                secret_id: listed.id,
                secret_name: listed.name,
                secret_type: listed.secret_type,
                not_after: not_after.map(Date),
            },
        })
    }

    fn shares_a_name(&self, names: &[ServerName]) -> bool {
        let own: NameSet<'_> = self.names.iter().collect();
        names.iter().any(|name| covered(&own, name))
    }

    /// Whether it could replace a certificate with these names.
    fn covers(&self, names: &[ServerName], now: UnixTime) -> bool {
        self.active
            && self.shown.not_after.is_none_or(|until| now <= until.0)
            && names.iter().any(ServerName::can_be_asked_for)
            && lost(names, &self.names).is_empty()
    }

    /// How it matches a certificate. A serial number alone does not: only one issuer's numbers are
    /// unique.
    fn matches(&self, leaf: &Certificate, now: UnixTime) -> Match {
        let names = &leaf.names;
        let same = |number: &String| same_serial(number, &leaf.serial) && self.shares_a_name(names);
        match (&self.serial, &self.previous) {
            (Some(current), _) if same(current) => Match::Same,
            (_, Some(previous)) if same(previous) => Match::Renewed,
            _ if self.covers(names, now) => Match::Covers,
            _ => Match::None,
        }
    }
}

/// The certificates that match best.
fn matching<'a>(leaf: &Certificate, known: &'a [Known], now: UnixTime) -> (Match, Vec<&'a Known>) {
    let how = |known: &Known| known.matches(leaf, now);
    let best = known.iter().map(how).min().unwrap_or(Match::None);
    let mut found: Vec<&Known> = known.iter().collect();
    found.retain(|known| best < Match::None && how(known) == best);
    (best, found)
}

/// Reads the serial numbers of previous versions, where they can decide anything.
fn read_previous(run: &Run<'_>, secrets: &[Seen<'_>], known: &mut [Known]) -> Vec<Error> {
    let mut leaves: Vec<&Certificate> = secrets.iter().filter_map(|s| s.leaf.as_ref()).collect();
    leaves.retain(|leaf| matching(leaf, known, run.now).0 != Match::Same);
    let mut asked: Vec<&mut Known> = known.iter_mut().collect();
    asked.retain(|one| leaves.iter().any(|leaf| one.shares_a_name(&leaf.names)));
    let read = run.each("reading previous versions", asked, |one| {
        one.previous = run.secrets_manager.previous_serial(&one.id)?;
        Ok(())
    });
    read.into_iter().filter_map(Result::err).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::samples::{SHOP, issue, tls_secret};

    const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_000_000));
    const SERIAL: &str = "04:1a:2b:3c:4d:5e:6f:70";
    const OLD: &str = "0a:0b:0c:0d:0e:0f:10:11";

    fn names(names: &[&str]) -> Vec<ServerName> {
        names.iter().map(|name| ServerName::dns(name)).collect()
    }

    fn known(name: &str, serial: Option<&str>, names: &[&str]) -> Known {
        let mut names = names.iter().map(ToString::to_string);
        let known = Known::new(CertificateMetadata {
            id: "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852".to_owned(),
            name: name.to_owned(),
            secret_type: "public_cert".to_owned(),
            common_name: names.next(),
            alt_names: Some(names.collect()),
            serial_number: serial.map(str::to_owned),
            expiration_date: Some("2027-12-31T00:00:00Z".to_owned()),
            state: Some(1),
        });
        known.unwrap()
    }

    #[test]
    fn the_most_certain_rule_decides() {
        let mut leaf = leaf(&tls_secret(issue(&SHOP).leaf, "")).unwrap();
        let twin = "99:99:99:99:99:99:99:99";
        let mut list = [
            known("shop", Some(SERIAL), &["shop.example", "www.shop.example"]),
            known("wildcard", Some("07:07"), &["*.shop.example"]),
            known("blog", Some("08:08"), &["blog.example"]),
            known("pending", None, &["pending.example"]),
            known("twin-1", Some(twin), &["twin.example"]),
            known("twin-2", Some(twin), &["twin.example"]),
        ];
        list[2].previous = Some(OLD.to_owned());
        for (serial, asked, matches, found) in [
            (SERIAL, &["shop.example"][..], Match::Same, &["shop"][..]),
            // another form of the same number
            ("4:1A:2B:3C:4D:5E:6F:70", &["shop.example"], Match::Same, &["shop"]),
            // one name is enough, but without any it is another issuer's number
            (SERIAL, &["shop.example", "other.example"], Match::Same, &["shop"]),
            (SERIAL, &["other.example"], Match::None, &[]),
            (
                "04:1a:2b:3c:4d:5e:6f:71",
                &["www.shop.example"],
                Match::Covers,
                &["shop", "wildcard"],
            ),
            (twin, &["twin.example"], Match::Same, &["twin-1", "twin-2"]),
            (OLD, &["blog.example"], Match::Renewed, &["blog"]),
            // a name was dropped at the renewal
            (OLD, &["blog.example", "old.example"], Match::Renewed, &["blog"]),
            (OLD, &["old.example"], Match::None, &[]),
            ("05", &["blog.example"], Match::Covers, &["blog"]),
            ("05", &["shop.example", "blog.example"], Match::None, &[]),
            ("05", &["stranger.example"], Match::None, &[]),
            ("05", &[], Match::None, &[]),
            ("05", &["https://blog.example"], Match::None, &[]),
        ] {
            (leaf.serial, leaf.names) = (serial.to_owned(), names(asked));
            let (kind, known) = matching(&leaf, &list, NOW);
            let shown: Vec<&str> = known.iter().map(|one| &*one.shown.secret_name).collect();
            assert_eq!((kind, &*shown), (matches, found), "{serial} {asked:?}");
        }
    }

    #[test]
    fn only_what_can_be_served_covers() {
        for (state, until, covers) in [
            (Some(1), Some("2027-12-31T00:00:00Z"), true),
            (None, None, true),
            (Some(1), Some("2020-12-31T00:00:00Z"), false),
            // NOW, and the second before
            (Some(1), Some("2026-11-18T11:06:40Z"), true),
            (Some(1), Some("2026-11-18T11:06:39Z"), false),
            (Some(0), None, false),
            (Some(5), Some("2027-12-31T00:00:00Z"), false),
        ] {
            let mut known = known("", Some("07"), &["shop.example"]);
            known.active = matches!(state, None | Some(1));
            known.shown.not_after = until.and_then(parse_rfc3339).map(Date);
            let names = names(&["shop.example"]);
            assert_eq!(known.covers(&names, NOW), covers, "{state:?} {until:?}");
        }
    }

    #[test]
    fn a_tls_secret_holds_what_servers_send_first() {
        let shop = issue(&SHOP);
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (certificate, readable) in [
            (format!("{}{}", shop.leaf, shop.issuer), true),
            (format!("{}{damaged}", shop.leaf), true),
            (format!("{damaged}{}", shop.leaf), false),
            (String::new(), false),
        ] {
            let found = leaf(&tls_secret(certificate.clone(), &shop.key));
            let serial = found.map(|leaf| leaf.serial);
            assert_eq!(serial.as_deref(), readable.then_some("01"), "{certificate}");
        }
    }
}
