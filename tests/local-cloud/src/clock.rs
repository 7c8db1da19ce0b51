//! Times as IBM prints them, pauses as JSON.

use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const SECONDS: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const MILLIS: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const NANOS: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
const OF_IAM: &[FormatItem<'_>] =
    format_description!("[day].[month].[year] [hour]:[minute]:[second]:[subsecond digits:3] UTC");

/// This moment, UTC.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Whole seconds, as Secrets Manager and job runs print them.
pub(crate) fn seconds(at: OffsetDateTime) -> String {
    at.format(SECONDS).expect("a time of this era")
}

/// Three digits, as Code Engine and Event Notifications print them.
pub(crate) fn millis(at: OffsetDateTime) -> String {
    at.format(MILLIS).expect("a time of this era")
}

/// Nine digits, as cron events carry them.
pub(crate) fn nanos(at: OffsetDateTime) -> String {
    at.format(NANOS).expect("a time of this era")
}

pub(crate) fn of_iam(at: OffsetDateTime) -> String {
    at.format(OF_IAM).expect("a time of this era")
}

/// A pause as a number of milliseconds.
pub(crate) fn milliseconds<'de, D>(from: D) -> Result<std::time::Duration, D::Error>
where
    D: serde::Deserializer<'de>,
{
    serde::Deserialize::deserialize(from).map(std::time::Duration::from_millis)
}
