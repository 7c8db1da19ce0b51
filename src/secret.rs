//! Bytes that are never printed and that are wiped (tokens, API keys, private keys), and reading them
//! without leaving copies.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Most answers and files have at most so many bytes.
const USUAL: usize = 16 * 1024;

/// A secret text (a token, an API key, a private key in PEM). It is wiped when dropped, cannot be
/// cloned, and prints as `Secret(..)`.
#[derive(Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over, which is wiped from then on.
    pub fn new(text: impl Into<Zeroizing<String>>) -> Self {
        Self(text.into())
    }

    /// The text itself: to be sent or parsed, never to be printed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// From JSON in memory: the parser itself would keep a copy in its buffer.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let text = unescaped(json).map(Self);
        text.ok_or_else(|| de::Error::custom("expected a text"))
    }
}

/// The text that a JSON string stands for; none if it is not a string.
fn unescaped(json: &str) -> Option<Zeroizing<String>> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?;
    // what is escaped is shorter without: so it does not grow, which would leave copies
    let mut text = Zeroizing::new(String::with_capacity(rest.len()));
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let (kind, after) = escape.split_at_checked(1)?;
        rest = after;
        text.push(match kind {
            "n" => '\n',
            "r" => '\r',
            "t" => '\t',
            "u" => {
                let (code, after) = rest.split_at_checked(4)?;
                rest = after;
                // half of a pair has no place in a key or token
                char::from_u32(u32::from_str_radix(code, 16).ok()?)?
            }
            "\"" | "\\" | "/" => kind.chars().next()?,
            _ => return None,
        });
    }
    text.push_str(rest);
    Some(text)
}

/// Reads all of `source` into a buffer that is wiped, as are the smaller ones before it: a `Vec` that
/// grows leaves copies behind.
///
/// # Errors
/// Those of `source`, and [`io::ErrorKind::FileTooLarge`] if there are more than `limit` bytes.
pub(crate) fn read_wiped(mut source: impl Read, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // one more byte, so that the end is seen without growing
    let mut held = Zeroizing::new(vec![0; USUAL.min(limit) + 1]);
    let mut length = 0;
    loop {
        if length == held.len() {
            if length > limit {
                let why = format!("larger than {limit} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
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
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let bytes = read_wiped(File::open(path)?, limit)?;
    let text = str::from_utf8(&bytes).map_err(|_| io::Error::other("not UTF-8 text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_at_the_limit_before_and_after_the_buffer_grew() {
        for length in [1, USUAL, USUAL + 1, USUAL + 2, 5 * USUAL] {
            let text = vec![7_u8; length];
            for limit in [length, length + 1, 9 * USUAL] {
                assert_eq!(*read_wiped(&text[..], limit).unwrap(), text);
            }
            let limit = length - 1;
            let error = read_wiped(&text[..], limit).unwrap_err();
            assert_eq!(error.to_string(), format!("larger than {limit} bytes"));
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
        assert_eq!(read_file(&file, 10).unwrap_err().to_string(), "not UTF-8 text");
        let missing = read_file(&folder.path().join("none"), 10).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_secret_is_not_printed_by_debug_either() {
        let secret = Secret::new("not to be seen".to_owned());
        assert_eq!(format!("{:?}", Some(secret)), "Some(Secret(..))");
    }

    #[test]
    fn a_secret_in_json_is_what_the_parser_reads() {
        let read = serde_json::from_str::<Secret>;
        for json in [
            r#""""#,
            r#""abc-._~+/=""#,
            r#""-----BEGIN\nx\r\n\t\"\/\\""#,
            r#""\u002b\u000A\u00e9ä""#,
        ] {
            let expected: String = serde_json::from_str(json).unwrap();
            assert_eq!(read(json).unwrap().expose(), expected, "{json}");
        }
        for json in ["1", "null", "[]", "{}", r#""\ud83d""#, r#""\b""#] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
