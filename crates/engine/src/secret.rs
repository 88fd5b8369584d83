//! Secrets: shown once, stored as a keyed digest, printed never.
//!
//! The one thing to know: a [`Secret`] checks only its shape when it is parsed (length, no control characters), so that
//! rubbish costs neither a digest nor a query. Whether anybody has it is decided by [`crate::Engine::verify`].

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::Unauthenticated;
use crate::limits;
use crate::locator::{Key, Place, Space};

/// A secret in clear, in memory, for as short as possible.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Checks the shape.
    ///
    /// # Errors
    /// `Absent` if empty, `Malformed` if too long or with control characters.
    pub fn parse(text: &str) -> Result<Self, Unauthenticated> {
        if text.is_empty() {
            return Err(Unauthenticated::Absent);
        }
        if text.len() > limits::SECRET_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(Unauthenticated::Malformed);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text itself: to be shown once, digested or sealed, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its beginning up to a few characters, for people; never more than a quarter of it.
    pub fn hint(&self) -> String {
        let shown = (self.0.chars().count() / 4).min(8);
        self.0.chars().take(shown).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The keyed digest of a secret under one digest key.
#[derive(Clone, Copy)]
pub struct Proof(pub [u8; 32]);

impl Proof {
    /// Where the token with this secret is found.
    pub fn place(&self) -> Place {
        Place::new(Space::SECRET, Key(self.0[..16].to_vec()))
    }

    /// Whether a stored proof is this one, in constant time; no stored proof is none.
    pub fn matches(&self, stored: Option<&[u8; 32]>) -> bool {
        stored.is_some_and(|stored| self.0.ct_eq(stored).into())
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shape_is_checked_first() {
        assert_eq!(Secret::parse("").unwrap_err(), Unauthenticated::Absent);
        for bad in ["a\0b", "a\nb", &"x".repeat(limits::SECRET_BYTES_MAX + 1)] {
            assert_eq!(Secret::parse(bad).unwrap_err(), Unauthenticated::Malformed);
        }
    }

    #[test]
    fn debug_and_hint_give_nothing_away() {
        let secret = Secret::parse("default:development.abcdefabcdef").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.hint(), "default:");
        assert_eq!(Secret::parse("short").unwrap().hint(), "s");
    }
}
