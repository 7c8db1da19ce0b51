use proptest::prelude::*;
use sm_tls_sync::ibm::ids::{SecretId, TlsSecretName, Uuid};
use sm_tls_sync::text::sanitized;

use super::{config, judge};

/// An id in a CRN or bare, perhaps with something odd in it or around it.
const NEAR_AN_ID: &str = "(crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f:x:secret:)?[0-9a-f]{8}[A-F/.%:\u{0}\n -]?-[0-9a-f]{4}-[0-9a-f]{3,4}-[0-9a-f]{4}-[0-9a-f]{12}[A-F/.%:\u{0}\n -]?";

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn whatever_is_accepted_as_an_id_is_a_uuid(text in prop_oneof![".*", NEAR_AN_ID]) {
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
    fn printable_text_is_one_short_line(
        text in prop_oneof![
            "\\PC{0,400}",
            "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{61c}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{feff}]{1,300}",
        ],
    ) {
        judge::text(&sanitized(&text));
    }
}
