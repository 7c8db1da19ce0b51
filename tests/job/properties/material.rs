use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sm_tls_sync::cert::pem;
use sm_tls_sync::error::{Error, Reason};
use sm_tls_sync::secret::Secret;
use sm_tls_sync::sync::assemble::Bundle;
use sm_tls_sync::sync::fetch::Material;

use super::chains::{self, Flaw, Made, Plan, now};
use super::{config, judge};

/// The fields that may hold certificates, as `fetch` names them.
const FIELDS: [&str; 3] = ["certificate", "intermediate", "ca_chain"];

/// One change of one block.
#[derive(Clone, Debug)]
enum Edit {
    Drop,
    Duplicate,
    Swap(Index),
    /// No line end after it: the next block begins on the same line.
    Glue,
    Truncate(Index),
    /// Another character in the text.
    Character(Index, char),
    /// Another byte in the DER, so that the text is still base64.
    Byte(Index, u8),
    Crlf,
    Indent(&'static str),
    LineEndsAsText,
    Label(&'static str),
    Before(String),
}

fn edit() -> impl Strategy<Value = Edit> {
    let characters = prop_oneof![
        select(b"A+/=-*\n\r \x00".to_vec()).prop_map(char::from),
        any::<char>()
    ];
    prop_oneof![
        Just(Edit::Drop),
        Just(Edit::Duplicate),
        any::<Index>().prop_map(Edit::Swap),
        Just(Edit::Glue),
        any::<Index>().prop_map(Edit::Truncate),
        (any::<Index>(), characters).prop_map(|(at, c)| Edit::Character(at, c)),
        (any::<Index>(), 1_u8..).prop_map(|(at, bits)| Edit::Byte(at, bits)),
        Just(Edit::Crlf),
        select(vec![" ", "\t", "\n", "\u{feff}", "  \n"]).prop_map(Edit::Indent),
        Just(Edit::LineEndsAsText),
        select(vec!["CERTIFICATE", "TRUSTED CERTIFICATE", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PARAMETERS", "X509 CRL", ""])
            .prop_map(Edit::Label),
        "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY|X)-----\n?|subject=/CN=x\n|Proc-Type: 4,ENCRYPTED\n|\\PC{0,9}\n){1,3}"
            .prop_map(Edit::Before),
    ]
}

impl Edit {
    fn apply(&self, blocks: &mut Vec<String>, at: Index) {
        if blocks.is_empty() {
            return;
        }
        let at = at.index(blocks.len());
        match self {
            Self::Drop => drop(blocks.remove(at)),
            Self::Duplicate => blocks.push(blocks[at].clone()),
            Self::Swap(other) => {
                let other = other.index(blocks.len());
                blocks.swap(at, other);
            }
            _ => blocks[at] = self.changed(&blocks[at]),
        }
    }

    fn changed(&self, block: &str) -> String {
        let mut characters: Vec<char> = block.chars().collect();
        let label = |label: &str| label_of(block).map(|old| block.replace(old, label));
        match self {
            Self::Drop | Self::Duplicate | Self::Swap(_) => {}
            Self::Glue => return block.trim_end().to_owned(),
            Self::Truncate(at) => characters.truncate(at.index(characters.len() + 1)),
            Self::Character(at, c) => {
                if !characters.is_empty() {
                    *at.get_mut(&mut characters) = *c;
                }
            }
            Self::Byte(at, bits) => {
                return flipped(block, *at, *bits).unwrap_or_else(|| block.to_owned());
            }
            Self::Crlf => return block.replace('\n', "\r\n"),
            Self::Indent(space) => {
                return format!("{space}{}", block.replace('\n', &format!("\n{space}")));
            }
            Self::LineEndsAsText => return block.replace('\n', "\\n"),
            Self::Label(new) => return label(new).unwrap_or_else(|| block.to_owned()),
            Self::Before(text) => return format!("{text}{block}"),
        }
        characters.into_iter().collect()
    }
}

fn label_of(block: &str) -> Option<&str> {
    Some(block.split_once("-----BEGIN ")?.1.split_once("-----")?.0)
}

/// The block with other bits in one byte of its DER.
fn flipped(block: &str, at: Index, bits: u8) -> Option<String> {
    let label = label_of(block)?;
    let body: String = block
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let mut der = BASE64_STANDARD
        .decode(body)
        .ok()
        .filter(|der| !der.is_empty())?;
    *at.get_mut(&mut der) ^= bits;
    Some(pem::write(label, &der).to_string())
}

/// Certificates spread over the fields, and the key's text.
#[derive(Clone, Debug)]
struct Texts {
    certificates: [String; 3],
    key: String,
}

impl Texts {
    /// The first blocks into the first field, and so on.
    fn spread(blocks: &[String], key: String, cuts: [Index; 2]) -> Self {
        let mut cuts = cuts.map(|cut| cut.index(blocks.len() + 1));
        cuts.sort_unstable();
        let parts = [
            &blocks[..cuts[0]],
            &blocks[cuts[0]..cuts[1]],
            &blocks[cuts[1]..],
        ];
        Self {
            certificates: parts.map(<[String]>::concat),
            key,
        }
    }

    /// Assembled, and judged.
    #[track_caller]
    fn judged(&self, made: &Made) -> Result<Bundle, Error> {
        let material = Material {
            name: "shop".to_owned(),
            certificates: FIELDS.into_iter().zip(self.certificates.clone()).collect(),
            key: Secret::from(self.key.clone()),
        };
        let result = judge::accepted(&material, now());
        judge::assembled(&material, std::slice::from_ref(&made.key), now(), &result);
        result
    }
}

/// A sound chain of any length that occurs.
fn sound() -> impl Strategy<Value = Plan> {
    (
        0_usize..4,
        any::<bool>(),
        prop::option::of(0_usize..4),
        any::<bool>(),
    )
        .prop_map(|(intermediates, with_root, twin, stranger)| Plan {
            intermediates,
            with_root,
            twin,
            stranger,
            flaws: Vec::new(),
        })
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        Just(Flaw::Expired),
        Just(Flaw::NotYetValid),
        Just(Flaw::WrongKind),
        Just(Flaw::ForClients),
        Just(Flaw::Nameless),
        Just(Flaw::NoPathBelow),
        Just(Flaw::ForeignNamesOnly),
        Just(Flaw::MayNotSign),
        Just(Flaw::UnknownCritical),
        "[ -~]{1,30}".prop_map(Flaw::Named),
    ]
}

/// A chain with flaws, below its root: clients have their own copy of that.
fn flawed() -> impl Strategy<Value = Plan> {
    (
        sound(),
        prop::collection::vec((any::<Index>(), flaw()), 0..3),
    )
        .prop_map(|(mut plan, flaws)| {
            let levels = plan.intermediates + 1;
            plan.flaws = flaws
                .into_iter()
                .map(|(at, flaw)| (at.index(levels), flaw))
                .collect();
            plan
        })
}

fn cuts() -> impl Strategy<Value = [Index; 2]> {
    any::<[Index; 2]>()
}

proptest! {
    #![proptest_config(config(250))]

    #[test]
    fn any_text_is_no_material_and_does_no_harm(
        certificates in prop::collection::vec("(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY)-----|[A-Za-z0-9+/=]{0,70}|\\PC|[\n\r ])*", 3),
        key in ".*",
    ) {
        let texts = Texts { certificates: certificates.try_into().unwrap(), key };
        prop_assert!(texts.judged(&Plan::default().made()).is_err());
    }

    #[test]
    fn a_sound_chain_is_accepted_whole_in_any_order(
        plan in sound(),
        seed in any::<[Index; 8]>(),
        (here, there) in (cuts(), cuts()),
    ) {
        let made = plan.made();
        let key = || made.key.clone();
        let first = Texts::spread(&made.blocks, key(), here).judged(&made).unwrap();
        prop_assert_eq!(first.intermediates.len(), plan.intermediates);
        prop_assert!(first.leaf.subject.ends_with("CN=0"));
        let gap = first.findings.iter().any(|finding| finding.reason == Reason::ChainGap);
        prop_assert_eq!(gap, plan.intermediates == 0 && !plan.with_root);

        let mut blocks = made.blocks.clone();
        for (at, other) in (0..blocks.len()).zip(&seed) {
            let other = other.index(blocks.len());
            blocks.swap(at, other);
        }
        let again = Texts::spread(&blocks, key(), there).judged(&made).unwrap();
        prop_assert_eq!(first.certificate_pem(), again.certificate_pem());
        prop_assert_eq!(first.key_pem.expose(), again.key_pem.expose());
        prop_assert_eq!(format!("{:?}", first.findings), format!("{:?}", again.findings));
    }

    #[test]
    fn a_flawed_chain_is_accepted_only_if_a_client_accepts_it(plan in flawed(), cuts in cuts()) {
        let made = plan.made();
        let _ = Texts::spread(&made.blocks, made.key.clone(), cuts).judged(&made);
    }

    #[test]
    fn damaged_material_is_accepted_only_if_a_client_accepts_it(
        plan in sound(),
        edits in prop::collection::vec((any::<Index>(), edit()), 1..4),
        key_edit in prop::option::weighted(0.4, edit()),
        key_among_certificates in any::<bool>(),
        cuts in cuts(),
    ) {
        let made = plan.made();
        let mut blocks = made.blocks.clone();
        if key_among_certificates {
            blocks.push(made.key.clone());
        }
        for (at, edit) in &edits {
            edit.apply(&mut blocks, *at);
        }
        let key = key_edit.map_or_else(|| made.key.clone(), |edit| edit.changed(&made.key));
        let _ = Texts::spread(&blocks, key, cuts).judged(&made);
    }

    #[test]
    fn names_in_certificates_cannot_forge_a_line(
        plan in sound(),
        name in "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}x]{1,300}",
        level in any::<Index>(),
        expired in any::<bool>(),
        foreign_key in any::<bool>(),
        cuts in cuts(),
    ) {
        let level = level.index(plan.intermediates + 2);
        let mut flaws = vec![(level, Flaw::Named(name))];
        flaws.extend(expired.then_some((level, Flaw::Expired)));
        let mut made = Plan { flaws, ..plan }.made();
        if foreign_key {
            made.key = chains::key(42).serialize_pem();
        }
        let _ = Texts::spread(&made.blocks, made.key.clone(), cuts).judged(&made);
    }
}
