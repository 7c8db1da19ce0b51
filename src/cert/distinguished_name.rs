//! Names of subjects and issuers, and when two of them are the same (RFC 5280 section 7.1).

use super::der::{self, Reader, Value, oid_text};

/// The common name (RFC 4519 section 2.3).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Types that have a short name (RFC 4514 section 3, and what OpenSSL prints).
const SHORT: [(&[u8], &str); 11] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01],
        "UID",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01],
        "emailAddress",
    ),
];

/// A name, one entry a level. The type of a string, letter case and the number of spaces make no
/// difference: CAs write the same name differently into their own certificate and into those that
/// they sign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DistinguishedName(Vec<String>);

impl DistinguishedName {
    /// Reads the levels, from the content of a `Name`.
    pub(super) fn read(name: &[u8]) -> Option<Self> {
        let levels = levels(name)?.into_iter().map(|attributes| {
            let mut keys: Vec<String> = attributes.iter().map(Attribute::key).collect();
            keys.sort();
            keys.concat()
        });
        Some(Self(levels.collect()))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this name is `base` or below it.
    pub(super) fn is_within(&self, base: &Self) -> bool {
        self.0.starts_with(&base.0)
    }
}

/// The name as people read it (RFC 4514); not yet fit for a message.
pub(super) fn text(name: &[u8]) -> Option<String> {
    let levels = levels(name)?;
    let level = |attributes: &Vec<Attribute<'_>>| {
        let texts: Vec<String> = attributes.iter().map(Attribute::text).collect();
        texts.join("+")
    };
    Some(levels.iter().rev().map(level).collect::<Vec<_>>().join(","))
}

/// Whether it has a common name without a character in it.
pub(super) fn has_empty_common_name(name: &[u8]) -> bool {
    let mut attributes = levels(name).into_iter().flatten().flatten();
    attributes.any(|attribute| attribute.kind == COMMON_NAME && attribute.value.content.is_empty())
}

struct Attribute<'a> {
    kind: &'a [u8],
    value: Value<'a>,
}

fn levels(name: &[u8]) -> Option<Vec<Vec<Attribute<'_>>>> {
    Reader(name).map(attributes).collect()
}

fn attributes(level: Value<'_>) -> Option<Vec<Attribute<'_>>> {
    if level.tag != der::SET {
        return None;
    }
    Reader(level.content)
        .map(|attribute| {
            let mut parts = Reader(attribute.content);
            Some(Attribute {
                kind: parts.expect(der::OID)?,
                value: parts.next()?,
            })
        })
        .collect()
}

impl Attribute<'_> {
    /// The same for equal attributes. Lengths keep the parts apart, whatever they hold.
    fn key(&self) -> String {
        let value = match string(self.value) {
            Some(text) => {
                let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
                words.join(" ")
            }
            None => format!("{:02x?}", self.value.whole),
        };
        format!("{:02x?}={}:{value}", self.kind, value.len())
    }

    fn text(&self) -> String {
        let short = SHORT.iter().find(|(kind, _)| *kind == self.kind);
        let kind = short.map_or_else(|| oid_text(self.kind), |(_, name)| (*name).to_owned());
        let mut text = kind + "=";
        for c in string(self.value).unwrap_or_else(|| "?".to_owned()).chars() {
            if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
                text.push('\\');
            }
            text.push(c);
        }
        text
    }
}

/// The text of a string of any type (X.680 section 41); none, if it is of another type.
fn string(value: Value<'_>) -> Option<String> {
    const NUMERIC: u8 = 0x12;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    const VISIBLE: u8 = 0x1a;
    const UNIVERSAL: u8 = 0x1c;
    const BMP: u8 = 0x1e;
    const UTF8: u8 = 0x0c;
    let content = value.content;
    match value.tag {
        UTF8 | NUMERIC | PRINTABLE | IA5 | VISIBLE => String::from_utf8(content.to_vec()).ok(),
        // in practice Latin-1
        TELETEX => Some(content.iter().copied().map(char::from).collect()),
        BMP => {
            let (units, rest) = content.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        UNIVERSAL => {
            let (units, rest) = content.as_chunks::<4>();
            let mut characters = units
                .iter()
                .map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            characters
                .by_ref()
                .collect::<Option<_>>()
                .filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of one level and one attribute.
    fn name(tag: u8, content: &[u8]) -> Vec<u8> {
        let attribute = der::value(
            der::SEQUENCE,
            &[
                &der::value(der::OID, &[COMMON_NAME]),
                &der::value(tag, &[content]),
            ],
        );
        der::value(der::SET, &[&attribute]).to_vec()
    }

    fn read(tag: u8, content: &[u8]) -> DistinguishedName {
        DistinguishedName::read(&name(tag, content)).unwrap()
    }

    #[test]
    fn string_type_case_and_inner_white_space_make_no_difference() {
        let same = read(0x13, b"Example CA");
        for (tag, content) in [
            (0x0c, &b"Example CA"[..]),
            (0x0c, b"EXAMPLE ca"),
            (0x13, b"  Example   CA "),
            (0x14, b"Example CA"),
            (0x1e, b"\0E\0x\0a\0m\0p\0l\0e\0 \0C\0A"),
            (
                0x1c,
                b"\0\0\0E\0\0\0x\0\0\0a\0\0\0m\0\0\0p\0\0\0l\0\0\0e\0\0\0 \0\0\0C\0\0\0A",
            ),
        ] {
            assert_eq!(read(tag, content), same, "{tag:#x} {content:?}");
        }
        for (tag, content) in [
            (0x13, &b"ExampleCA"[..]),
            (0x0c, b"Example CB"),
            (4, b"Example CA"),
        ] {
            assert_ne!(read(tag, content), same, "{tag:#x} {content:?}");
        }
        let unit = [0x55, 0x04, 0x0b];
        let other = der::value(
            der::SEQUENCE,
            &[
                &der::value(der::OID, &[&unit]),
                &der::value(0x13, &[b"Example CA"]),
            ],
        );
        let other = der::value(der::SET, &[&other]);
        assert_ne!(DistinguishedName::read(&other).unwrap(), same);
    }

    #[test]
    fn a_name_is_within_its_beginnings() {
        let (upper, lower) = (name(0x13, b"upper"), name(0x0c, b"lower"));
        let read = |levels: &[&[u8]]| DistinguishedName::read(&levels.concat()).unwrap();
        let whole = read(&[&upper, &lower]);
        assert!(whole.is_within(&read(&[&upper])));
        assert!(whole.is_within(&whole) && whole.is_within(&read(&[])));
        assert!(!whole.is_within(&read(&[&lower])));
        assert!(!read(&[&upper]).is_within(&whole));
    }

    #[test]
    fn it_prints_as_rfc_4514_says() {
        let levels = [name(0x13, b"upper, or so"), name(0x0c, b"lower")].concat();
        assert_eq!(text(&levels).unwrap(), "CN=lower,CN=upper\\, or so");
        assert!(has_empty_common_name(&name(0x0c, b"")));
        assert!(!has_empty_common_name(&levels) && !has_empty_common_name(&[]));
    }
}
