use proptest::prelude::*;
use proptest::string::string_regex;
use sm_tls_sync::ibm::ids::{SecretId, TlsSecretName, Uuid};
use sm_tls_sync::text::sanitized;

use super::{config, judge};

/// Texts near an id: one with a few characters put in or taken out, in a CRN or bare.
fn near_an_id() -> impl Strategy<Value = String> {
    let id = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    let crn =
        format!("crn:v1:bluemix:public:secrets-manager:eu-de:a/[0-9a-f]{{4}}:{id}:secret:{id}");
    let whole = prop::sample::select(vec![id.to_owned(), crn])
        .prop_flat_map(|pattern| string_regex(&pattern).unwrap());
    let odd = prop_oneof![
        3 => Just(String::new()),
        1 => "[A-F/.%:\u{0}\n -]{1,3}",
        1 => "\\PC{1,2}",
    ];
    (whole, any::<prop::sample::Index>(), odd, 0_usize..2).prop_map(|(text, at, odd, cut)| {
        // ASCII: every position is a boundary
        let at = at.index(text.len());
        let rest = (at + cut * usize::from(!odd.is_empty())).min(text.len());
        format!("{}{odd}{}", &text[..at], &text[rest..])
    })
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn whatever_is_accepted_as_an_id_is_a_uuid(text in prop_oneof![".*", near_an_id()]) {
        if let Ok(id) = SecretId::parse(&text) {
            prop_assert!(judge::is_uuid(&id.id.to_string()), "{}", id.id);
            prop_assert!(text.ends_with(&id.id.to_string()));
        }
        prop_assert_eq!(Uuid::parse(&text).is_ok(), judge::is_uuid(&text));
    }

    #[test]
    fn whatever_is_accepted_as_a_name_needs_no_escape(text in prop_oneof!["[a-z.-]{0,8}", ".*"]) {
        if let Ok(name) = TlsSecretName::parse(&text) {
            let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
            prop_assert!(name.to_string().chars().all(plain) && !text.contains(".."));
        }
    }

    #[test]
    fn printable_text_is_one_short_line(text in prop::collection::vec(any::<char>(), 0..400)) {
        let text: String = text.into_iter().collect();
        judge::text(&sanitized(&text));
    }

    #[test]
    fn printable_escapes_whatever_reorders_or_hides_text(
        text in "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{61c}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{feff}]{1,300}",
    ) {
        judge::text(&sanitized(&text));
    }
}
