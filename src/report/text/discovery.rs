//! `--discover` for people: a table for each project, `TARGETS`, then what a person has to decide.

use rustls_pki_types::UnixTime;

use super::{GREEN, Page, RED, WIDTH, YELLOW};
use crate::cert::certificate::rfc3339;
use crate::report::{CertificateRef, Discovered, Discovery, Match};

/// The widest column of names; longer ones have a line of their own.
const WIDEST: usize = 30;
/// The widths of the columns between the names of both sides.
const DATE: usize = 10;
const WORD: usize = 10;

impl Page {
    pub(super) fn discovery(&mut self, found: &Discovery) {
        for of_project in found
            .discovered
            .chunk_by(|a, b| a.project_id == b.project_id)
        {
            self.table(of_project);
        }
        self.targets(found);
        self.choices(found);
        self.names(
            "No certificate in Secrets Manager covers these TLS secrets:",
            found,
            Match::None,
        );
        self.names(
            "These TLS secrets hold no certificate that can be read:",
            found,
            Match::Unreadable,
        );
        let unused = found.unused_certificates.as_deref().unwrap_or_default();
        if !unused.is_empty() {
            self.line("No TLS secret uses these certificates:");
            unused.iter().for_each(|one| self.certificate(one));
            self.text.push('\n');
        }
    }

    fn table(&mut self, secrets: &[Discovered]) {
        let Some(first) = secrets.first() else { return };
        self.line(&format!("Project {}\n", first.project_id));
        let lengths = secrets.iter().map(|one| one.tls_secret.chars().count());
        let width = lengths.filter(|length| *length <= WIDEST).max();
        let width = width.unwrap_or_default().max("TLS secret".len());
        self.line(&format!(
            "{:width$}  {:DATE$}  {:WORD$}  certificate",
            "TLS secret", "until", "match"
        ));
        for secret in secrets {
            let mut name = secret.tls_secret.as_str();
            if name.chars().count() > width {
                self.line(name);
                name = "";
            }
            let until = match secret.not_after {
                Some(until) if until < self.now => "expired".to_owned(),
                until => date(until),
            };
            let word = self.painted(
                match secret.matches {
                    Some(Match::Unreadable) => RED,
                    _ if secret.is_certain() => GREEN,
                    _ => YELLOW,
                },
                &format!("{:WORD$}", secret.matches.map_or("not known", Match::word)),
            );
            let certificate = match secret.candidates.as_slice() {
                [_, _, ..] => format!("one of {}", secret.candidates.len()),
                _ => match (&secret.secret_name, &secret.secret_id) {
                    (Some(name), _) | (None, Some(name)) => name.clone(),
                    (None, None) => "-".to_owned(),
                },
            };
            let row = format!("{name:width$}  {until:DATE$}  {word}");
            let indent = width + DATE + WORD + 6;
            match indent + certificate.chars().count() <= WIDTH {
                true => self.line(&format!("{row}  {certificate}")),
                false => self.line(&format!("{row}\n    {certificate}")),
            }
            match secret.domains.as_deref() {
                Some([]) | None => {}
                Some(domains) => self.hanging("    used by ", 12, &domains.join(", ")),
            }
        }
        self.text.push('\n');
    }

    /// In quotes for a shell, which lets a value have several lines.
    fn targets(&mut self, found: &Discovery) {
        if found.proposed_targets.is_empty() {
            return;
        }
        self.line("The certain matches (same, renewed) as TARGETS:\n\nTARGETS='[");
        let last = found.proposed_targets.len() - 1;
        for (position, target) in found.proposed_targets.iter().enumerate() {
            let region = target.region.as_ref();
            let region = region.map(|region| format!(r#","region":"{region}""#));
            // names and IDs that were parsed: nothing in them has a meaning for JSON or a shell
            self.line(&format!(
                "{{\"tls_secret\":\"{}\",\n \"secret_id\":\"{}\",\n \"project_id\":\"{}\"{}}}{}",
                target.tls_secret,
                target.secret_id,
                target.project_id,
                region.unwrap_or_default(),
                if position == last { "]'\n" } else { "," }
            ));
        }
    }

    fn choices(&mut self, found: &Discovery) {
        let open = |secret: &&Discovered| !secret.candidates.is_empty();
        let open: Vec<&Discovered> = found.discovered.iter().filter(open).collect();
        if open.is_empty() {
            return;
        }
        self.line("Not certain: choose a certificate for each of these TLS secrets yourself\n");
        for secret in open {
            self.line(&place(secret, found));
            secret
                .candidates
                .iter()
                .for_each(|one| self.certificate(one));
        }
        self.text.push('\n');
    }

    fn certificate(&mut self, one: &CertificateRef) {
        let name = one.secret_name.as_deref().unwrap_or("without a name");
        let until = one.not_after.map_or_else(String::new, |until| {
            format!(", until {}", date(Some(until)))
        });
        let text = format!("{name} ({}{until})", one.secret_type);
        self.hanging("  ", 2, &text);
        self.line(&format!("    {}", one.secret_id));
    }

    fn names(&mut self, title: &str, found: &Discovery, kind: Match) {
        let of_kind = |secret: &&Discovered| secret.matches == Some(kind);
        let mut secrets = found.discovered.iter().filter(of_kind).peekable();
        if secrets.peek().is_some() {
            self.line(title);
            secrets.for_each(|secret| self.line(&format!("  {}", place(secret, found))));
            self.text.push('\n');
        }
    }
}

/// The name, and the project if there are several.
fn place(secret: &Discovered, found: &Discovery) -> String {
    let elsewhere = |other: &Discovered| other.project_id != secret.project_id;
    match found.discovered.iter().any(elsewhere) {
        true => format!("{} in {}", secret.tls_secret, secret.project_id),
        false => secret.tls_secret.clone(),
    }
}

fn date(time: Option<UnixTime>) -> String {
    let text = time.map(rfc3339).unwrap_or_default();
    let date = text.split('T').next().unwrap_or_default();
    match date {
        "" => "-".to_owned(),
        date => date.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::text::text;
    use crate::report::{Heading, Report, Results};

    fn discovered(tls_secret: &str, secret_name: &str) -> Discovered {
        Discovered {
            project_id: "5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b".to_owned(),
            tls_secret: tls_secret.to_owned(),
            not_after: None,
            names: Vec::new(),
            domains: None,
            matches: None,
            secret_id: None,
            secret_name: Some(secret_name.to_owned()),
            candidates: Vec::new(),
        }
    }

    /// Names are whole, so that they can be copied.
    #[test]
    fn a_name_that_is_too_long_for_its_column_has_a_line_of_its_own() {
        let results = Results {
            discovery: Some(Discovery {
                discovered: vec![
                    discovered("shop-tls", "shop"),
                    discovered("shop-example-com-certificate-tls", "shop"),
                    discovered(
                        "blog-tls",
                        "blog-example-com-imported-from-the-old-registry",
                    ),
                ],
                proposed_targets: Vec::new(),
                unused_certificates: None,
            }),
            ..Results::default()
        };
        let report = Report::new(Heading::default(), Ok(results), 7);
        let now = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        assert_eq!(
            text(&report, false, now),
            "\
Project 5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b

TLS secret  until       match       certificate
shop-tls    -           not known   shop
shop-example-com-certificate-tls
            -           not known   shop
blog-tls    -           not known\x20
    blog-example-com-imported-from-the-old-registry

3 TLS secrets, in 7 ms, exit status 0"
        );
    }
}
