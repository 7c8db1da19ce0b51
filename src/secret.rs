//! Bytes that nobody prints and that are wiped: tokens, API keys, private keys.
//!
//! Belongs here: the type that holds them. Does not: where they come from or go to.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A secret text (a token, an API key, a private key in PEM). It is wiped when dropped, cannot be
/// cloned, and prints as `Secret(..)`.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself: to be sent or parsed, never to be printed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
