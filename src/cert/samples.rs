//! What the tests of certificates need: the maker, stored files, and the time when both are judged.

#[path = "../../tests/certificates/maker.rs"]
mod maker;

use std::time::Duration;

use rustls_pki_types::UnixTime;

use super::certificate::Certificate;

pub(crate) use maker::Cert;
use maker::Maker;

/// 2027-07-01: the files of `tests/certificates` are half a year old.
pub(crate) const NOW: UnixTime =
    UnixTime::since_unix_epoch(Duration::from_secs(21_000 * 24 * 60 * 60));

pub(crate) fn maker() -> Maker {
    Maker::new(NOW)
}

impl Cert {
    pub(crate) fn read(&self) -> Certificate {
        Certificate::from_der(&self.der).unwrap()
    }
}

/// A file of `tests/certificates`.
pub(crate) fn stored(name: &str) -> String {
    maker::stored(&format!("{name}.pem"))
}

/// All certificates of these files of `tests/certificates`.
pub(crate) fn certificates(names: &[&str]) -> Vec<Certificate> {
    let texts: String = names.iter().map(|name| stored(name)).collect();
    let certificates = Certificate::all_in(&texts).into_iter();
    certificates.map(Result::unwrap).collect()
}
