//! DER as certificates and keys are made of: values with a tag and a length (X.690 section 8.1).
//!
//! An own reader, since a certificate that servers take must not be lost for a detail that a strict
//! one refuses: see `certificate.rs`.

use der::oid::ObjectIdentifier;
use zeroize::Zeroizing;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A context-specific tag of a constructed value: `[number]`.
pub(super) const fn tagged(number: u8) -> u8 {
    0xa0 | number
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// Tag, length and content.
    pub(super) whole: &'a [u8],
}

/// Values, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value; none at the end, and where there is no whole one.
    fn value(&mut self) -> Option<Value<'a>> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // no size beyond 4 GB; 0x80 would be a value without length, which is not DER
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let (whole, _) = self.0.split_at_checked(self.0.len() - rest.len())?;
        self.0 = rest;
        Some(Value {
            tag: *tag,
            content,
            whole,
        })
    }

    /// The next value, if it has this tag; else it stays.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Value<'a>> {
        let mut ahead = *self;
        let value = ahead.value().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value)
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag).map(|value| value.content)
    }

    /// The next value, which must be a sequence.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.expect(SEQUENCE).map(Self)
    }

    /// The bytes of the next value, which must be a bit string of whole bytes.
    pub(super) fn bit_string(&mut self) -> Option<&'a [u8]> {
        match self.expect(BIT_STRING)?.split_first()? {
            (0, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The next value, which must be an integer that is not negative, without leading zeros.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        let content = self.expect(INTEGER)?;
        if content.first()? & 0x80 != 0 {
            return None;
        }
        Some(without_zeros(content))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.value()
    }
}

/// An object identifier (the content of its value) as people write it.
pub(super) fn oid_text(content: &[u8]) -> String {
    ObjectIdentifier::from_bytes(content).map_or_else(
        |_| "an unreadable identifier".to_owned(),
        |oid| oid.to_string(),
    )
}

/// A number without its leading zeros.
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// One value of these parts. It can be part of a key: nothing of it is left behind in memory.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut whole = Zeroizing::new(Vec::with_capacity(length + 6));
    whole.push(tag);
    let bytes = length.to_be_bytes();
    let bytes = without_zeros(&bytes);
    match (u8::try_from(length), u8::try_from(bytes.len())) {
        (Ok(short @ ..0x80), _) => whole.push(short),
        (_, Ok(count)) => {
            whole.push(0x80 | count);
            whole.extend_from_slice(bytes);
        }
        // a length has eight bytes at most
        (_, Err(_)) => {}
    }
    for part in parts {
        whole.extend_from_slice(part);
    }
    whole
}

/// An integer that is not negative.
pub(super) fn unsigned(number: &[u8]) -> Zeroizing<Vec<u8>> {
    let number = without_zeros(number);
    let sign: &[u8] = match number.first() {
        Some(0..0x80) => &[],
        _ => &[0],
    };
    value(INTEGER, &[sign, number])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let whole = value(OCTET_STRING, &[&content, &[]]);
            let mut reader = Reader(&whole);
            assert_eq!(reader.next().unwrap().content, content);
            assert!(reader.0.is_empty());
        }
        assert_eq!(*unsigned(&[0, 0, 0x80]), [INTEGER, 2, 0, 0x80]);
        assert_eq!(*unsigned(&[0, 0x7f]), [INTEGER, 1, 0x7f]);
        assert_eq!(*unsigned(&[]), [INTEGER, 1, 0]);
    }

    #[test]
    fn what_is_no_whole_value_is_none() {
        for bytes in [
            &[][..],
            &[4],
            &[4, 2, 0],
            &[4, 0x80, 0, 0],
            &[4, 0x82, 1],
            &[4, 0x85, 0, 0, 0, 0, 1, 0],
        ] {
            assert!(Reader(bytes).next().is_none(), "{bytes:?}");
        }
    }
    #[test]
    fn what_each_kind_of_value_may_contain() {
        for (bytes, bits) in [
            (&[BIT_STRING, 3, 0, 7, 8][..], Some(&[7, 8][..])),
            (&[BIT_STRING, 1, 0], Some(&[])),
            // half bytes; not even the number of unused bits; another kind
            (&[BIT_STRING, 2, 4, 0xf0], None),
            (&[BIT_STRING, 0], None),
            (&[OCTET_STRING, 2, 0, 7], None),
        ] {
            assert_eq!(Reader(bytes).bit_string(), bits, "{bytes:?}");
        }
        for (bytes, number) in [
            (&[INTEGER, 2, 0, 0x80][..], Some(&[0x80][..])),
            (&[INTEGER, 1, 0x7f], Some(&[0x7f])),
            (&[INTEGER, 1, 0], Some(&[])),
            // negative; empty; another kind
            (&[INTEGER, 1, 0x80], None),
            (&[INTEGER, 0], None),
            (&[OID, 1, 1], None),
        ] {
            assert_eq!(Reader(bytes).unsigned(), number, "{bytes:?}");
        }
        for (content, text) in [
            (&[0x2a, 0x86, 0x48][..], "1.2.840"),
            (&[0x2a, 0x86], "an unreadable identifier"),
        ] {
            assert_eq!(oid_text(content), text, "{content:?}");
        }
    }

    #[test]
    fn what_has_another_tag_stays() {
        let bytes = [NULL, 0, BOOLEAN, 1, 0xff];
        let mut reader = Reader(&bytes);
        assert!(reader.optional(BOOLEAN).is_none());
        assert_eq!(reader.expect(NULL), Some(&[][..]));
        assert_eq!(reader.optional(BOOLEAN).unwrap().whole, [BOOLEAN, 1, 0xff]);
        assert!(reader.next().is_none());
    }
}
