use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sm_tls_sync::cert::pem;
use sm_tls_sync::error::Error;
use sm_tls_sync::secret::Secret;
use sm_tls_sync::sync::assemble::Bundle;
use sm_tls_sync::sync::fetch::Material;

use super::chains::{self, Made, made, now};
use super::{config, judge};

/// The fields that may hold certificates, as `fetch` names them.
const FIELDS: [&str; 3] = ["certificate", "intermediate", "ca_chain"];

/// One change of one block.
#[derive(Clone, Debug)]
enum Edit {
    /// Cut there.
    Truncate(Index),
    /// Another character in the text.
    Character(Index, char),
    /// Another byte in the DER, so that the text is still base64.
    Byte(Index, u8),
    /// This text instead of that: labels, line ends.
    Replace(&'static str, &'static str),
    Before(String),
}

fn edit() -> impl Strategy<Value = Edit> {
    let characters =
        prop_oneof![select(b"A+/=-*\n\r \x00".to_vec()).prop_map(char::from), any::<char>()];
    let replacements = [
        ("\n", "\r\n"),
        ("\n", "\\n"),
        ("\n", "\n\t"),
        ("CERTIFICATE", "TRUSTED CERTIFICATE"),
        ("CERTIFICATE", "PRIVATE KEY"),
        ("PRIVATE", "EC PRIVATE"),
        ("PRIVATE", "ENCRYPTED PRIVATE"),
        ("-----\n", "-----"),
    ];
    prop_oneof![
        any::<Index>().prop_map(Edit::Truncate),
        (any::<Index>(), characters).prop_map(|(at, c)| Edit::Character(at, c)),
        (any::<Index>(), 1_u8..).prop_map(|(at, bits)| Edit::Byte(at, bits)),
        select(replacements.to_vec()).prop_map(|(old, new)| Edit::Replace(old, new)),
        "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY|X)-----\n?|Proc-Type: 4,ENCRYPTED\n|\\PC{0,9}\n){1,3}"
            .prop_map(Edit::Before),
    ]
}

impl Edit {
    fn changed(&self, block: &str) -> String {
        let mut characters: Vec<char> = block.chars().collect();
        match self {
            Self::Truncate(at) => characters.truncate(at.index(characters.len() + 1)),
            Self::Character(at, c) => {
                if !characters.is_empty() {
                    *at.get_mut(&mut characters) = *c;
                }
            }
            Self::Byte(at, bits) => {
                return flipped(block, *at, *bits).unwrap_or_else(|| block.to_owned());
            }
            Self::Replace(old, new) => return block.replace(old, new),
            Self::Before(text) => return format!("{text}{block}"),
        }
        characters.into_iter().collect()
    }
}

/// The block with other bits in one byte of its DER.
fn flipped(block: &str, at: Index, bits: u8) -> Option<String> {
    let label = block.split_once("-----BEGIN ")?.1.split_once("-----")?.0;
    let body: String = block.lines().filter(|l| !l.starts_with('-')).collect();
    let der = BASE64_STANDARD.decode(body).ok();
    let mut der = der.filter(|der| !der.is_empty())?;
    *at.get_mut(&mut der) ^= bits;
    Some(pem::write(label, &der).to_string())
}

/// Assembled from these texts of the certificate fields, and judged.
#[track_caller]
fn judged(certificates: Vec<String>, key: String, made: &Made) -> Result<Bundle, Error> {
    let material = Material {
        name: "shop".to_owned(),
        certificates: FIELDS.map(str::to_owned).into_iter().zip(certificates).collect(),
        key: Secret::new(key),
        updated_at: None,
    };
    let result = judge::accepted(&material, now());
    judge::assembled(&material, std::slice::from_ref(&made.key), now(), &result);
    result
}

proptest! {
    #![proptest_config(config(250))]

    #[test]
    fn any_text_is_no_material_and_does_no_harm(
        certificates in prop::collection::vec("(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY)-----|[A-Za-z0-9+/=]{0,70}|\\PC|[\n\r ])*", 3),
        key in ".*",
    ) {
        prop_assert!(judged(certificates, key, &made(0, None, None)).is_err());
    }

    #[test]
    fn damaged_material_is_accepted_only_if_a_client_accepts_it(
        intermediates in 0_u8..3,
        edits in prop::collection::vec((any::<Index>(), edit()), 0..4),
        key_edit in prop::option::weighted(0.4, edit()),
        key_among_certificates in any::<bool>(),
    ) {
        let made = made(intermediates, None, None);
        let mut blocks = made.blocks.clone();
        blocks.extend(key_among_certificates.then(|| made.key.clone()));
        for (at, edit) in &edits {
            let block = at.get_mut(&mut blocks);
            *block = edit.changed(block);
        }
        let key = key_edit.as_ref().map_or_else(|| made.key.clone(), |edit| edit.changed(&made.key));
        let (leaf, rest) = blocks.split_at(1);
        let result = judged(vec![leaf.concat(), rest.concat()], key, &made);
        prop_assert!(result.is_ok() || !edits.is_empty() || key_edit.is_some(), "{result:?}");
    }

    #[test]
    fn names_in_certificates_cannot_forge_a_line(
        level in 0_u8..3,
        name in "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}x]{1,300}",
        expired in prop::option::of(0_u8..3),
        foreign_key in any::<bool>(),
    ) {
        let mut made = made(1, expired, Some((level, &name)));
        if foreign_key {
            made.key = chains::key(42).serialize_pem();
        }
        let _ = judged(vec![made.blocks.concat()], made.key.clone(), &made);
    }
}
