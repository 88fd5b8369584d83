//! Ids and secrets as this product prints them.
//!
//! The one thing a newcomer would get wrong: an outward id is random and says nothing of the row; it is found by a locator.

use std::fmt;

use engine::Engine;
use engine::locator::Key;
use engine::secret::Secret;

/// What every secret begins with.
const PREFIX: &str = "mb_";
/// Characters behind it: 43 of 62 are 256 bits.
const RANDOM_CHARS: usize = 43;
/// Characters of a secret by which people recognise it: the prefix and 36 of its 256 bits.
const SHOWN_CHARS: usize = 9;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An id of 24 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct OutwardId([u8; 12]);

impl OutwardId {
    /// A new one.
    pub(super) fn random(engine: &Engine) -> Self {
        let mut bytes = [0; 12];
        engine.random(&mut bytes);
        Self(bytes)
    }

    /// `None` if it has another shape.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let pairs: &[[u8; 2]; 12] = pairs.try_into().ok()?;
        let mut bytes = [0; 12];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }

    /// Its bytes, as locators keep it.
    pub(super) fn key(self) -> Key {
        Key(self.0.to_vec())
    }
}

impl fmt::Display for OutwardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A new secret.
pub(super) fn mint_secret(engine: &Engine) -> Secret {
    let mut text = PREFIX.to_owned();
    while text.len() < PREFIX.len() + RANDOM_CHARS {
        let mut bytes = [0; 64];
        engine.random(&mut bytes);
        let missing = PREFIX.len() + RANDOM_CHARS - text.len();
        // 248 is the largest multiple of 62 in a byte: beyond it some letters would be likelier than others.
        let letters = bytes.iter().filter(|byte| **byte < 248);
        let letters = letters.map(|byte| char::from(BASE62[usize::from(byte % 62)]));
        text.extend(letters.take(missing));
    }
    Secret::parse(&text).expect("46 letters, digits and an underscore are a secret")
}

/// What is shown of a secret for good.
pub(super) fn partial(secret: &Secret) -> String {
    let shown: String = secret.expose().chars().take(SHOWN_CHARS).collect();
    format!("{shown}…")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_24_lower_case_digits_are_an_id() {
        let text = "643eff00ec992f7ec42ed9f7";
        assert_eq!(OutwardId::parse(text).unwrap().to_string(), text);
        for bad in [
            "",
            "current",
            "643EFF00EC992F7EC42ED9F7",
            "643eff00ec992f7ec42ed9f",
            "643eff00ec992f7ec42ed9f70",
            "643eff00ec992f7ec42ed9fg",
            "643eff00ec992f7ec42ed9%20",
        ] {
            assert_eq!(OutwardId::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn ids_survive_both_ways(bytes in any::<[u8; 12]>()) {
            let id = OutwardId(bytes);
            prop_assert_eq!(OutwardId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = OutwardId::parse(&text);
        }
    }
}
