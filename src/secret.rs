//! Bytes that are never printed and that are wiped: tokens, API keys, private keys.
//!
//! Belongs here: the type that holds them, the list of those that are in use (for masking, `text.rs`),
//! and reading without leaving copies. Does not: where secrets come from or go to.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// A secret text (a token, an API key, a private key in PEM). It is wiped when dropped, cannot be
/// cloned, and prints as `Secret(..)`. While it exists, no text from outside shows a piece of it.
pub struct Secret(Arc<Hidden>);

struct Hidden {
    text: Zeroizing<String>,
    /// Made when first needed: most secrets never meet a text from outside.
    traces: OnceLock<Traces>,
}

type Traces = Vec<Zeroizing<Vec<u8>>>;

/// The secrets in use. Only weak references: a secret is wiped as soon as its owner drops it.
static IN_USE: Mutex<Vec<Weak<Hidden>>> = Mutex::new(Vec::new());

impl Secret {
    /// The text itself: to be sent or parsed, never to be printed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0.text
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(text: Zeroizing<String>) -> Self {
        let hidden = Arc::new(Hidden {
            text,
            traces: OnceLock::new(),
        });
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|secret| secret.strong_count() > 0);
        in_use.push(Arc::downgrade(&hidden));
        Self(hidden)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::from(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Calls `look` with each byte string of which no piece may show.
pub(crate) fn each_trace(mut look: impl FnMut(&[u8])) {
    let in_use: Vec<Arc<Hidden>> = {
        let list = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter_map(Weak::upgrade).collect()
    };
    for secret in in_use {
        let traces = secret.traces.get_or_init(|| traces(&secret.text));
        traces.iter().for_each(|trace| look(trace));
    }
}

/// The text without white space and PEM labels, which are no secret; of a private key also its DER.
/// Not the DER of a certificate: that holds names in plain text, which messages must be able to show.
fn traces(text: &str) -> Traces {
    let mut bare = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut traces = Traces::new();
    let mut key_from = None;
    for line in text.lines() {
        match line.strip_prefix("-----") {
            None => bare.extend(line.bytes().filter(|b| !b.is_ascii_whitespace())),
            Some(label) if label.starts_with("BEGIN ") => {
                key_from = label.contains("PRIVATE KEY").then_some(bare.len());
            }
            Some(_) => {
                let body = key_from.take().and_then(|from| bare.get(from..));
                let der = body.and_then(|body| BASE64_STANDARD.decode(body).ok());
                traces.extend(der.map(Zeroizing::new));
            }
        }
    }
    traces.push(bare);
    traces
}

/// Reads all of `source` into a buffer that is wiped, as are the smaller ones before it: a `Vec` that
/// grows leaves copies behind. `expected` is the likely length.
///
/// # Errors
/// Those of `source`, and [`io::ErrorKind::FileTooLarge`] if there are more than `limit` bytes.
pub(crate) fn read_wiped(
    mut source: impl Read,
    expected: usize,
    limit: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    // one more byte, so that the end is seen without growing
    let mut held = Zeroizing::new(vec![0; expected.min(limit) + 1]);
    let mut length = 0;
    loop {
        if length == held.len() {
            if length > limit {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("larger than {limit} bytes"),
                ));
            }
            let mut larger = Zeroizing::new(vec![0; (2 * length).min(limit + 1)]);
            for (to, from) in larger.iter_mut().zip(held.iter()) {
                *to = *from;
            }
            held = larger;
        }
        match source.read(held.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    held.truncate(length);
    Ok(held)
}

/// Reads a text file that the environment names. Only a regular file of at most `limit` bytes: a
/// pipe or a device could block the run or never end.
///
/// # Errors
/// Why it cannot be read; the text names neither the path nor anything in the file.
pub(crate) fn read_file(path: &Path, limit: usize) -> io::Result<Zeroizing<String>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = read_wiped(File::open(path)?, expected, limit)?;
    String::from_utf8(std::mem::take(&mut *bytes))
        .map(Zeroizing::new)
        .map_err(|e| {
            drop(Zeroizing::new(e.into_bytes()));
            io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths() -> Vec<usize> {
        let mut lengths = Vec::new();
        each_trace(|trace| lengths.push(trace.len()));
        lengths
    }

    #[test]
    fn a_dropped_secret_leaves_the_list() {
        let secret = Secret::from("q".repeat(4321));
        assert!(lengths().contains(&4321));
        drop(secret);
        // a test that masks something at this moment still holds it
        assert!((0..100_000).any(|_| !lengths().contains(&4321)));
    }

    #[test]
    fn reading_ends_at_the_limit_whatever_was_expected() {
        let text = [7_u8; 1000];
        for expected in [0, 1, 999, 1000, 5000] {
            assert_eq!(*read_wiped(&text[..], expected, 1000).unwrap(), text);
            let error = read_wiped(&text[..], expected, 999).unwrap_err();
            assert_eq!(error.to_string(), "larger than 999 bytes");
        }
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            let error = read_file(path, 10).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file", "{path:?}");
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(&*read_file(&file, 10).unwrap(), "0123456789");
        assert!(read_file(&file, 9).is_err());
        std::fs::write(&file, [0xff]).unwrap();
        assert_eq!(
            read_file(&file, 10).unwrap_err().to_string(),
            "not UTF-8 text"
        );
        let missing = read_file(&folder.path().join("none"), 10).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_secret_is_not_printed_by_debug_either() {
        let secret = Secret::from("not to be seen".to_owned());
        assert_eq!(format!("{:?}", Some(secret)), "Some(Secret(..))");
    }
}
