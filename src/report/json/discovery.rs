//! `--discover` within the line of JSON, and one log line per TLS secret.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Cap, Item, LONGEST, Line, RESERVED, Rank, cut, cut_list, detailed, fill, is_zero, json,
};
use crate::report::{CertificateRef, Discovered, Discovery, Match, ProposedTarget};

impl Line<'_> {
    /// What can be pasted comes first; each list leaves room for the next.
    pub(super) fn discovery(&mut self, found: &Discovery) {
        self.discovered = Some(Vec::new());
        self.proposed_targets = Some(Vec::new());
        self.unused_certificates = found.unused_certificates.as_ref().map(|_| Vec::new());
        let (items, omitted) = fill(self.left() / 2, &found.proposed_targets);
        self.proposed_targets = Some(items);
        self.proposed_targets_omitted = omitted;
        if let Some(unused) = &found.unused_certificates {
            let (items, omitted) = fill(self.left() / 4, unused);
            self.unused_certificates = Some(items);
            self.unused_certificates_omitted = omitted;
        }
        let (items, omitted) = fill(self.left(), &found.discovered);
        self.discovered = Some(items);
        self.discovered_omitted = omitted;
    }

    fn left(&self) -> usize {
        LONGEST - RESERVED - json(self).get().len()
    }
}

/// Logs the whole finding about one TLS secret; the field `discovered` holds it as JSON.
pub(crate) fn log_discovered(discovered: &Discovered) {
    let word = discovered.matches.map_or("not compared", Match::word);
    let message = format!("TLS secret {}: {word}", discovered.tls_secret);
    let room = LONGEST - RESERVED - json(&message).get().len();
    let item = detailed(discovered, room).unwrap_or_else(|| discovered.brief());
    log::info!(discovered = item.get(); "{message}");
}

impl Item for Discovered {
    fn rank(&self) -> Rank {
        match self.is_certain() {
            true => Rank::Fine,
            false => Rank::Noteworthy,
        }
    }

    fn cut(&self, cap: Cap) -> Box<RawValue> {
        #[derive(Serialize)]
        struct Cut {
            #[serde(flatten)]
            discovered: Discovered,
            #[serde(skip_serializing_if = "is_zero")]
            candidates_omitted: usize,
        }
        let candidates = self.candidates.iter().take(cap.list);
        let discovered = Self {
            names: cut_list(&self.names, cap),
            domains: self.domains.as_ref().map(|domains| cut_list(domains, cap)),
            secret_name: self.secret_name.as_ref().map(|name| cut(name, cap)),
            candidates: candidates.map(|one| one.shortened(cap)).collect(),
            ..self.clone()
        };
        json(&Cut {
            candidates_omitted: self.candidates.len() - discovered.candidates.len(),
            discovered,
        })
    }

    fn brief(&self) -> Box<RawValue> {
        json(&Self {
            not_after: None,
            names: Vec::new(),
            domains: None,
            secret_name: None,
            candidates: Vec::new(),
            ..self.clone()
        })
    }
}

impl Item for ProposedTarget {
    fn rank(&self) -> Rank {
        Rank::Fine
    }

    /// Whole or not at all.
    fn cut(&self, _cap: Cap) -> Box<RawValue> {
        json(self)
    }

    fn brief(&self) -> Box<RawValue> {
        json(self)
    }
}

impl CertificateRef {
    fn shortened(&self, cap: Cap) -> Self {
        Self {
            secret_name: self.secret_name.as_ref().map(|name| cut(name, cap)),
            ..self.clone()
        }
    }
}

impl Item for CertificateRef {
    fn rank(&self) -> Rank {
        Rank::Fine
    }

    fn cut(&self, cap: Cap) -> Box<RawValue> {
        json(&self.shortened(cap))
    }

    fn brief(&self) -> Box<RawValue> {
        json(&Self {
            secret_name: None,
            not_after: None,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::error::{Reason, error};
    use crate::report::json::line;
    use crate::report::{Heading, Report, Results};

    /// Characters that escaping makes longer, of four bytes, and many of everything.
    #[test]
    fn whatever_comes_in_the_line_is_short_and_says_what_is_missing() {
        for filler in ["\u{1}", "\"", "\u{1f980}", "a"] {
            let long = filler.repeat(200);
            let certificate = CertificateRef {
                secret_id: "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852".to_owned(),
                secret_name: Some(long.clone()),
                secret_type: long.clone(),
                not_after: None,
            };
            let discovered = Discovered {
                project_id: "5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b".to_owned(),
                tls_secret: long.clone(),
                not_after: None,
                names: vec![long.clone(); 21],
                domains: Some(vec![long.clone(); 10]),
                matches: Some(Match::Covers),
                secret_id: None,
                secret_name: None,
                candidates: vec![certificate.clone(); 5],
            };
            let target = ProposedTarget {
                secret_id: certificate.secret_id.clone(),
                tls_secret: "a".repeat(253),
                project_id: discovered.project_id.clone(),
                region: None,
            };
            for count in [0, 1, 100] {
                let results = Results {
                    discovery: Some(Discovery {
                        discovered: vec![discovered.clone(); count],
                        proposed_targets: vec![target.clone(); count],
                        unused_certificates: Some(vec![certificate.clone(); count]),
                    }),
                    failure: Some(error!(Reason::SecretForbidden, "{}", long.repeat(100))),
                    ..Results::default()
                };
                let line = line(&Report::new(Heading::default(), Ok(results), 7));
                assert!(line.len() <= LONGEST, "{} bytes", line.len());
                let report: Value = serde_json::from_str(&line).unwrap();
                for list in ["discovered", "proposed_targets", "unused_certificates"] {
                    let shown = report[list].as_array().unwrap().len();
                    let omitted = report[format!("{list}_omitted")].as_u64();
                    let omitted = usize::try_from(omitted.unwrap_or_default()).unwrap();
                    assert_eq!(shown + omitted, count, "{list}");
                    assert!(shown > 0 || count == 0, "{list}");
                }
            }
        }
    }
}
