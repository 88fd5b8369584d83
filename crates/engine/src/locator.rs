//! Locators and marks: how everything is found that is not found by its id.
//!
//! The one thing to know: a locator is unique – `(realm, space, key)` has one holder – and moves only from a stated
//! holder; a mark is the same without being unique. A key never contains a secret: where the content is confidential it
//! is a keyed digest.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::RecordId;
use crate::token::TokenId;
use crate::value::ValueId;

/// A family of keys. The engine has those below; a dialect names its own, and the store knows none of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(pub Cow<'static, str>);

impl Space {
    /// Locator: first 16 bytes of a secret's digest → its token.
    pub const SECRET: Self = Self(Cow::Borrowed("secret"));
    /// Locator: container ∥ outward token id → its value.
    pub const EXTERNAL: Self = Self(Cow::Borrowed("external"));
    /// Locator: digest of what a value is identical by (∥ container, for the copies of a global scope's value) → the value
    /// that new tokenizations join.
    pub const IDENTITY: Self = Self(Cow::Borrowed("identity"));
    /// Locator: container ∥ tag → whoever last asked for the tag as unique, of whatever tenant: concurrent claims meet
    /// here, while whether it *is* unique is read from the tokens that carry it.
    pub const UNIQUE_TAG: Self = Self(Cow::Borrowed("unique-tag"));
    /// Locator in the system realm: the name of a realm → its record.
    pub const REALM: Self = Self(Cow::Borrowed("realm"));

    /// Mark: container ∥ tag → tokens that carry it.
    pub const TAG: Self = Self(Cow::Borrowed("tag"));
    /// Mark: record → tokens and records directly below it.
    pub const CHILD: Self = Self(Cow::Borrowed("child"));
    /// Mark: container → all tokens in it, whoever owns them.
    pub const CONTAINER: Self = Self(Cow::Borrowed("container"));
    /// Mark: value → its tokens.
    pub const ENTRY: Self = Self(Cow::Borrowed("entry"));
    /// Mark: day of expiry (8 bytes, big-endian, sign flipped so that days sort) → tokens.
    pub const EXPIRY_DAY: Self = Self(Cow::Borrowed("expiry-day"));

    /// A space of a dialect.
    pub const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes of a key, in the order its space documents.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Vec<u8>);

impl Key {
    /// Parts one after the other, each but the last of fixed length or length-prefixed by the caller.
    pub fn join(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }

    /// A record's or value's id.
    pub fn of_id(id: Uuid) -> Self {
        Self(id.as_bytes().to_vec())
    }

    /// A day, so that byte order is the order of days.
    pub fn of_day(day: i64) -> Self {
        Self((day.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec())
    }

    /// An optional container followed by text; no container is the nil id.
    pub fn in_container(container: Option<RecordId>, text: &str) -> Self {
        let id = container.map_or(Uuid::nil(), |record| record.0);
        Self::join(&[id.as_bytes(), text.as_bytes()])
    }
}

impl fmt::Debug for Key {
    /// Length only: a key may hold a person's tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

impl Serialize for Key {
    /// Base64, for the JSON in which records list what they hold.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        STANDARD_NO_PAD.encode(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        STANDARD_NO_PAD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// A space and a key in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Which family of keys.
    pub space: Space,
    /// Which key.
    pub key: Key,
}

impl Place {
    /// Shorthand.
    pub const fn new(space: Space, key: Key) -> Self {
        Self { space, key }
    }
}

/// What a locator or mark points to, always in its own realm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Holder {
    /// A token.
    Token(TokenId),
    /// A value.
    Value(ValueId),
    /// A record.
    Record(RecordId),
}

impl Holder {
    /// The id, whatever it is of.
    pub const fn id(self) -> Uuid {
        match self {
            Self::Token(id) => id.0,
            Self::Value(id) => id.0,
            Self::Record(id) => id.0,
        }
    }

    /// One letter per kind, as the stores write it.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Token(_) => "t",
            Self::Value(_) => "v",
            Self::Record(_) => "r",
        }
    }

    /// The reverse of [`Holder::letter`] and [`Holder::id`].
    pub fn from_parts(letter: &str, id: Uuid) -> Option<Self> {
        match letter {
            "t" => Some(Self::Token(TokenId(id))),
            "v" => Some(Self::Value(ValueId(id))),
            "r" => Some(Self::Record(RecordId(id))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_sort_as_bytes_across_the_epoch() {
        let days = [i64::MIN, -719_162, -1, 0, 1, 2_932_896, i64::MAX];
        assert!(
            days.windows(2)
                .all(|w| Key::of_day(w[0]) < Key::of_day(w[1]))
        );
    }
}
