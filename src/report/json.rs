//! The report as one line of JSON, and log lines with one item each.
//!
//! Container runtimes split log lines at 16 KiB, so the line stays below: if not everything fits,
//! failed items come first, then those with findings, then the others with what identifies them. What
//! does not fit is counted, and in the log.

use std::iter::successors;

use log::{Level, Record};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, to_value};

use crate::report::Report;

/// The longest line.
const LONGEST: usize = 15 * 1024;
/// Beside an item in a log line: the level, names of fields.
const RESERVED: usize = 256;
/// No line has room for more items, however short they are.
const MOST: usize = LONGEST / 48;
/// A text is cut to this for each entry that a list may have, but never below [`SHORT`].
const PER_ENTRY: usize = 32;
const SHORT: usize = 300;
/// A command is shown whole or not at all: the rest could do something else.
const LONGEST_COMMAND: usize = 800;
/// What identifies an item, says how it went and fixes it. It is never cut.
const IDENTITY: &str = "secret_id project_id tls_secret region action reason check subject state match secret_type command";
/// That these lists are empty is an answer.
const ANSWERS: &str = "targets proposed_targets unused_certificates discovered domains";
/// The name of the program in the log.
const OURS: &str = env!("CARGO_CRATE_NAME");

pub(super) fn line(report: &Report) -> String {
    fitted(json(report), LONGEST).to_string()
}

/// Logs all that is known of one item, as JSON in a field of this name.
pub(super) fn log(name: &str, message: &str, item: &impl Serialize, logged: &impl Fn()) {
    let item = json(item);
    let level = match rank(&item) {
        FAILED => Level::Error,
        _ if item.get("findings").is_some() => Level::Warn,
        _ => Level::Info,
    };
    if level > log::max_level() {
        return;
    }
    let message = cut(message, 1000);
    let length = Value::from(&*message).to_string().len();
    let item = fitted(item, LONGEST - RESERVED - length);
    let fields = [(name, item.to_string())];
    let mut record = Record::builder();
    record.level(level).target(OURS).key_values(&fields);
    log::logger().log(&record.args(format_args!("{message}")).build());
    logged();
}

/// A list of the report. Of the items that no line has room for, however short, only the number is
/// kept: there may be thousands.
pub(super) fn list<T: Serialize, S: Serializer>(items: &[T], to: S) -> Result<S::Ok, S::Error> {
    let mut ranked: Vec<&T> = items.iter().collect();
    if items.len() > MOST {
        ranked.sort_by_cached_key(|item| rank(&json(item)));
    }
    let items = ranked.into_iter().enumerate();
    to.collect_seq(items.map(|(position, item)| (position < MOST).then_some(item)))
}

/// The value in so many bytes, with the longest lists and texts with which it fits.
fn fitted(whole: Value, room: usize) -> Value {
    if whole.to_string().len() <= room {
        return whole;
    }
    let limits = successors(Some(MOST), |most| (*most > 1).then_some(most * 3 / 4));
    let mut shorter = limits.map(|most| shortened(&whole, most));
    let fitting = shorter.find(|value| value.to_string().len() <= room);
    fitting.unwrap_or_default()
}

/// The value without what does not apply, and with at most so many entries in a list.
fn shortened(value: &Value, most: usize) -> Value {
    match value {
        Value::String(text) => cut(text, most.saturating_mul(PER_ENTRY).max(SHORT)).into(),
        Value::Array(items) => {
            let mut items: Vec<&Value> = items.iter().collect();
            if most < usize::MAX {
                items.sort_by_key(|item| rank(item));
            }
            let items = items.into_iter().take(most);
            items.map(|item| shortened(item, most)).collect()
        }
        Value::Object(fields) => {
            let names_only = most < usize::MAX && rank(value) == FINE;
            let too_long = |text: &str| most < usize::MAX && text.len() > LONGEST_COMMAND;
            let mut shown = Map::new();
            for (name, value) in fields {
                let is_in = |names: &str| names.split(' ').any(|one| one == name);
                let length = value.as_array().map_or(1, Vec::len);
                let value = match name.as_str() {
                    _ if value.is_null() || value == "" => continue,
                    _ if length == 0 && !is_in(ANSWERS) => continue,
                    "command" if names_only || value.as_str().is_some_and(too_long) => continue,
                    _ if is_in(IDENTITY) => value.clone(),
                    _ if names_only => continue,
                    _ => shortened(value, most),
                };
                shown.insert(name.clone(), value);
                if length > most {
                    shown.insert(format!("{name}_omitted"), (length - most).into());
                }
            }
            shown.into()
        }
        other => other.clone(),
    }
}

const FAILED: u8 = 0;
const FINE: u8 = 3;

/// What matters comes first: what failed, then what a person should look at. Of a target, check, TLS
/// secret or certificate that is fine the names are enough.
fn rank(item: &Value) -> u8 {
    let has = |field| item.get(field).is_some();
    let word = |field| item.get(field).and_then(Value::as_str);
    let things = ["action", "check", "match", "secret_type"];
    match word("state") {
        _ if item.is_null() => u8::MAX,
        _ if has("reason") && word("action") != Some("ignored") => FAILED,
        _ if has("findings") || word("match") == Some("covers") => 1,
        // what serves the certificate can be left out first
        Some("new") => 2,
        Some("not_tested") => 1,
        _ if things.into_iter().any(has) => FINE,
        _ => 1,
    }
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Our types always serialize.
pub(super) fn json(value: &impl Serialize) -> Value {
    shortened(&to_value(value).unwrap_or_default(), usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::error::{Error, Reason};
    use crate::report::{
        Action, CertificateRef, Check, Discovered, Discovery, Heading, Match, Outcome, Served,
        State, word,
    };

    /// The level of the last item that was logged; the item, with its message.
    static LAST: Mutex<(Level, String)> = Mutex::new((Level::Debug, String::new()));

    /// Keeps what [`log`] writes.
    struct Kept;

    impl log::Log for Kept {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            if let Some(item) = record.key_values().get("target".into()) {
                let text = format!("{}{item}", Value::from(record.args().to_string()));
                *LAST.lock().unwrap() = (record.level(), text);
            }
        }

        fn flush(&self) {}
    }

    /// Texts that double when they are escaped, characters of four bytes, and ordinary ones.
    const FILLERS: [&str; 4] = ["\u{1}", "\"", "\u{1f980}", "a"];

    fn target(number: usize) -> Outcome {
        Outcome {
            secret_id: Some(format!("2f6c8e90-4b1d-4d7a-9e35-{number:012}")),
            secret_name: Some(format!("certificate-{number}")),
            project_id: Some("5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b".to_owned()),
            tls_secret: Some(format!("shop-{number}-tls")),
            attempts: Some(1),
            ..Outcome::new(Action::Unchanged, "x".repeat(200))
        }
    }

    fn failure(message: &str) -> Error {
        Reason::SecretForbidden.error(message).command(format!("ibmcloud {}", "z".repeat(300)))
    }

    fn failed(number: usize) -> Outcome {
        target(number).failed(&failure(&"y".repeat(300)))
    }

    /// The line, and what holds for each list in it.
    fn printed(results: Report) -> Value {
        let found = results.discovery.as_ref();
        let counts = [
            ("targets", Some(results.targets.len())),
            ("checks", Some(results.checks.len()).filter(|count| *count > 0)),
            ("discovered", found.map(|found| found.discovered.len())),
            ("proposed_targets", found.map(|found| found.proposed_targets.len())),
            (
                "unused_certificates",
                found.and_then(|f| Some(f.unused_certificates.as_ref()?.len())),
            ),
        ];
        let line = line(&Report::new(Heading::default(), Ok(results), 7));
        assert!(line.len() <= LONGEST && !line.contains('\n'), "{} bytes", line.len());
        assert!(line.starts_with(r#"{"level":""#), "{line}");
        let report: Value = serde_json::from_str(&line).unwrap();
        for (list, count) in counts {
            let shown = report.get(list).and_then(Value::as_array).map(Vec::len);
            let omitted = report[format!("{list}_omitted")].as_u64().unwrap_or_default();
            let omitted = usize::try_from(omitted).unwrap();
            assert_eq!(shown.map(|shown| shown + omitted), count, "{list}");
            assert!(shown > Some(0) || count.is_none_or(|count| count == 0), "{list}");
        }
        report
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_fields_are_in_their_documented_order() {
        let report = printed(vec![failed(1), target(2), failed(3)].into());
        let fields = ["level", "message", "version", "status", "retryable"];
        assert_eq!(keys(&report), [&fields[..], &["dry_run", "duration_ms", "targets"]].concat());
        let target = ["secret_id", "secret_name", "project_id", "tls_secret", "action"];
        let rest = ["reason", "message", "command", "attempts"];
        assert_eq!(keys(&report["targets"][0]), [&target[..], &rest].concat());
        // if all fit, they keep their order too
        assert_eq!(report["targets"][1]["tls_secret"], "shop-2-tls");
    }

    #[test]
    fn of_a_thousand_targets_the_failed_ones_are_whole_and_the_others_have_names() {
        let noted = |mut outcome: Outcome| {
            outcome.findings.push(Reason::ExpiresSoon.error("soon"));
            outcome
        };
        let outcome = |number| match number {
            17 | 500 | 999 => failed(number),
            n if n % 300 == 299 => noted(target(n)),
            n => target(n),
        };
        let report = printed((0..1000).map(outcome).collect::<Vec<_>>().into());
        let targets = report["targets"].as_array().unwrap();
        for (shown, number) in targets.iter().zip([17, 500, 999]) {
            assert_eq!(*shown, json(&failed(number)));
        }
        let noted = targets[3..6]
            .iter()
            .zip([299, 599, 899])
            .all(|(shown, number)| *shown == json(&noted(target(number))));
        assert!(noted, "{targets:#?}");
        for other in &targets[6..] {
            assert_eq!(keys(other), ["secret_id", "project_id", "tls_secret", "action"]);
        }
        assert!(targets.len() > 40, "{}", targets.len());
        // also of few: they fit if they are short, but not whole
        let few = (0..100).map(|number| if number < 99 { target(number) } else { failed(number) });
        let report = printed(few.collect::<Vec<_>>().into());
        assert_eq!(report["targets"][0], json(&failed(99)));
    }

    #[test]
    fn of_a_thousand_checks_the_failed_ones_are_whole() {
        let long = "y".repeat(300);
        let red = |number| Check::line("replace", number, Ok(Err(failure(&long))));
        let open = || Check::line("covered", 18, Err(long.clone()));
        let checks = (0..1000).map(|number| match number {
            17 | 999 => red(number),
            18 => open(),
            _ => Check::line("apps", number, Ok(Ok(long.clone()))),
        });
        let checks = checks.collect();
        let report = printed(Report { checks, ..Report::default() });
        let checks = report["checks"].as_array().unwrap();
        assert_eq!(checks[..3], [json(&red(17)), json(&red(999)), json(&open())]);
        assert_eq!(keys(&checks[3]), ["check", "subject", "state"]);
        assert!(checks.len() > 40, "{}", checks.len());
    }

    #[test]
    fn whatever_comes_in_the_line_is_short_and_the_command_whole() {
        log::set_logger(&Kept).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        let mut noted = target(2);
        noted.findings.push(Reason::ExpiresSoon.error("soon"));
        for (item, level) in
            [(failed(1), Level::Error), (noted, Level::Warn), (target(3), Level::Info)]
        {
            log("target", "told", &item, &|| ());
            let expected = format!("\"told\"{}", json(&item));
            assert_eq!(*LAST.lock().unwrap(), (level, expected));
        }
        log::set_max_level(log::LevelFilter::Error);
        log("target", "not told", &target(4), &|| ());
        assert_eq!(LAST.lock().unwrap().0, Level::Info);
        for long in FILLERS.map(|filler| filler.repeat(500)) {
            let hostile = |number| {
                let mut outcome = failed(number);
                outcome.message = long.clone();
                outcome.secret_name = Some(long.clone());
                outcome.restarted = vec![long.clone(); 20];
                for number in 0..20 {
                    outcome.findings.push(Reason::ChainGap.error(long.clone()));
                    let state = if number == 19 { State::Old } else { State::New };
                    let domain = long.clone();
                    outcome.served.push(Served { domain, state, after_ms: None });
                }
                outcome
            };
            for count in [1, 5] {
                let report = printed((0..count).map(hostile).collect::<Vec<_>>().into());
                let first = &report["targets"][0];
                assert_eq!(first["reason"], "secret-forbidden");
                assert_eq!(first["command"].as_str(), failed(0).command.as_deref());
                // what does not serve the certificate is there
                assert_eq!(first["served"][0]["state"], "old");
                for list in ["findings", "served", "restarted"] {
                    let shown = first[list].as_array().unwrap().len();
                    assert_eq!(first[format!("{list}_omitted")], 20 - shown, "{list}");
                }
            }
            let messages = (0..1000).step_by(200).map(|length| "m".repeat(length));
            for message in messages.chain([long.repeat(40)]) {
                log("target", &message, &hostile(0), &|| ());
                let logged = LAST.lock().unwrap().1.clone();
                assert!((LONGEST / 3..=LONGEST - RESERVED).contains(&logged.len()), "{logged}");
            }
            let error = Some(failure(&long.repeat(40)));
            let report = printed(Report { error, ..Report::default() });
            assert_eq!(report["error"]["command"].as_str(), failed(0).command.as_deref());
        }
    }

    #[test]
    fn a_command_is_whole_or_not_there() {
        let with_command = |length: usize, findings: usize| {
            let mut outcome = target(1).failed(&failure("no").command("c".repeat(length)));
            outcome.findings = vec![Reason::ChainGap.error("y".repeat(300)); findings];
            let report = printed(vec![outcome].into());
            report["targets"][0]["command"].as_str().map(str::len)
        };
        for (length, findings, expected) in [
            (800, 60, Some(800)),
            (801, 60, None),
            // where all fits, however long
            (801, 1, Some(801)),
            (9000, 1, Some(9000)),
        ] {
            assert_eq!(with_command(length, findings), expected, "{length} {findings}");
        }
    }

    #[test]
    fn what_is_discovered_is_whole_and_in_its_order_if_it_fits() {
        let discovered = [Match::Same, Match::Covers].map(|matches| Discovered {
            project_id: "5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b".to_owned(),
            tls_secret: word(matches),
            not_after: None,
            names: vec!["shop.example.com".to_owned()],
            domains: Some(Vec::new()),
            matches: Some(matches),
            candidates: Vec::new(),
        });
        let found = Discovery {
            discovered: discovered.to_vec(),
            proposed_targets: Vec::new(),
            unused_certificates: None,
        };
        let report = printed(Report { discovery: Some(found), ..Report::default() });
        let shown = report["discovered"].as_array().unwrap();
        assert_eq!(
            shown.iter().map(|one| &one["tls_secret"]).collect::<Vec<_>>(),
            ["same", "covers"]
        );
        let fields = ["project_id", "tls_secret", "names", "domains", "match"];
        assert!(shown.iter().all(|one| keys(one) == fields), "{report:#}");
    }

    #[test]
    fn whatever_is_discovered_the_line_is_short_and_each_list_begins() {
        for long in FILLERS.map(|filler| filler.repeat(200)) {
            let certificate = CertificateRef {
                secret_id: "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852".to_owned(),
                secret_name: long.clone(),
                secret_type: "public_cert".to_owned(),
                not_after: None,
            };
            let discovered = Discovered {
                project_id: "5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b".to_owned(),
                tls_secret: "a".repeat(253),
                not_after: None,
                names: vec![long.clone(); 21],
                domains: Some(vec![long.clone(); 10]),
                matches: Some(Match::Covers),
                candidates: vec![certificate.clone(); 5],
            };
            let proposed =
                json!({ "secret_id": certificate.secret_id, "tls_secret": "a".repeat(253) });
            for count in [0, 1, 20] {
                let report = printed(Report {
                    discovery: Some(Discovery {
                        discovered: vec![discovered.clone(); count],
                        proposed_targets: vec![proposed.clone(); count],
                        unused_certificates: Some(vec![certificate.clone(); count]),
                    }),
                    error: Some(failure(&long.repeat(100))),
                    ..Report::default()
                });
                // whole or not at all: they are to be pasted
                for shown in report["proposed_targets"].as_array().unwrap() {
                    assert_eq!(*shown, proposed);
                }
            }
        }
    }
}
