//! Times as IBM prints them, pauses as JSON. Not here: waiting.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// This moment, UTC.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Whole seconds, as Secrets Manager and job runs print them.
pub(crate) fn seconds(at: OffsetDateTime) -> String {
    printed(at.replace_nanosecond(0).unwrap_or(at))
}

/// Three digits, as Code Engine and Event Notifications print them.
pub(crate) fn millis(at: OffsetDateTime) -> String {
    let text = seconds(at);
    format!("{}.{:03}Z", text.trim_end_matches('Z'), at.millisecond())
}

/// Nine digits, as cron events carry them.
pub(crate) fn nanos(at: OffsetDateTime) -> String {
    let text = seconds(at);
    format!("{}.{:09}Z", text.trim_end_matches('Z'), at.nanosecond())
}

fn printed(at: OffsetDateTime) -> String {
    at.format(&Rfc3339)
        .expect("a UTC time of this era prints as RFC 3339")
}

/// A pause as a number of milliseconds.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }

    pub(crate) fn serialize<S: Serializer>(pause: &Duration, to: S) -> Result<S::Ok, S::Error> {
        pause.as_millis().serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        let at = time::macros::datetime!(2026-09-14 02:41:07.004_000_773 UTC);
        assert_eq!(seconds(at), "2026-09-14T02:41:07Z");
        assert_eq!(millis(at), "2026-09-14T02:41:07.004Z");
        assert_eq!(nanos(at), "2026-09-14T02:41:07.004000773Z");
    }
}
