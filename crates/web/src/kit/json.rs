//! JSON bodies: a lenient reading, as JavaScript has it, and a strict one that refuses duplicate keys.
//!
//! The one thing to know: `serde_json::Value` silently keeps the last of duplicate keys, so the strict reading needs a
//! deserializer of its own. Both refuse invalid UTF-8 and nesting deeper than 128.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

/// Why a body is no JSON. The text names positions, never content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JsonError {
    /// The parser's text.
    pub message: String,
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self {
            message: error.to_string(),
        }
    }
}

/// The last of duplicate keys wins.
pub fn lenient(bytes: &[u8]) -> Result<Value, JsonError> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Duplicate keys are an error.
pub fn strict(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            let value = entries.next_value_seed(Self)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(Value::Object(map))
    }
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn duplicate_keys_are_kept_apart_from_repeated_ones() {
        assert!(strict(br#"{"a":1,"a":2}"#).is_err());
        assert!(strict(br#"{"a":{"b":1,"b":1}}"#).is_err());
        assert!(strict(br#"[{"a":1},{"a":2}]"#).is_ok());
        assert_eq!(lenient(br#"{"a":1,"a":2}"#).unwrap()["a"], 2);
    }

    #[test]
    fn both_refuse_what_is_no_json() {
        let deep = "[".repeat(10_000);
        for bad in [
            &b""[..],
            b"{",
            b"{}x",
            b"\xff",
            b"{\"a\":1e999}",
            deep.as_bytes(),
        ] {
            assert!(strict(bad).is_err());
            assert!(lenient(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_both_agree_without_duplicates(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = strict(&bytes) {
                prop_assert_eq!(value, lenient(&bytes).unwrap());
            }
        }
    }
}
