//! JSON objects of requests, read field by field: what is there, of the right kind, and nothing else.
//!
//! The one thing a newcomer would get wrong: absent and `null` are not the same. No field of this product's token calls
//! may be null, and an unknown field is refused, so that a misspelt one never passes as "not given".

use serde_json::{Map, Value};
use uuid::Uuid;

use super::call::uuid;
use super::error::Failure;
use super::vocabulary::query::LIST_ITEMS_MAX;

/// One object of a body.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
}

impl<'a> Fields<'a> {
    /// `place` is empty for the body itself.
    pub(super) fn of(value: &'a Value, place: &str, known: &[&str]) -> Result<Self, Failure> {
        let shown = if place.is_empty() { "body" } else { place };
        let map = value
            .as_object()
            .ok_or_else(|| Failure::invalid(shown, "must be an object"))?;
        let fields = Self {
            map,
            place: place.to_owned(),
        };
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(fields.refuse(unknown, "is not a known field")),
            None => Ok(fields),
        }
    }

    /// The place of a field, as a finding names it.
    pub(super) fn at(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        }
    }

    pub(super) fn refuse(&self, name: &str, rule: &str) -> Failure {
        Failure::invalid(&self.at(name), rule)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(self.refuse(name, "must not hold the character U+0000"))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(name, "must be a string")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.refuse(name, "must be true or false")),
        }
    }

    /// A list of strings, as it was sent.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Failure> {
        let items = match self.get(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.refuse(name, "must be an array")),
        };
        if items.len() > LIST_ITEMS_MAX {
            let rule = format!("must have at most {LIST_ITEMS_MAX} items");
            return Err(self.refuse(name, &rule));
        }
        let texts = items.iter().map(|item| match item {
            Value::String(text) if !text.contains('\0') => Ok(text.clone()),
            Value::String(_) => Err(self.refuse(name, "must not hold the character U+0000")),
            _ => Err(self.refuse(name, "must be an array of strings")),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    /// A list of strings that selects: absent, empty, and empty items are the same as not given.
    pub(super) fn criteria(&self, name: &str) -> Result<Vec<String>, Failure> {
        let mut items = self.texts(name)?.unwrap_or_default();
        items.retain(|item| !item.is_empty());
        Ok(items)
    }

    /// The same of UUIDs.
    pub(super) fn uuids(&self, name: &str) -> Result<Vec<Uuid>, Failure> {
        let texts = self.criteria(name)?;
        let ids = texts
            .iter()
            .map(|text| uuid(text).ok_or_else(|| self.refuse(name, "must be an array of UUIDs")));
        ids.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_is_not_null() {
        let body = json!({"a": null});
        let fields = Fields::of(&body, "", &["a", "b"]).unwrap();
        assert!(
            fields.text("a").is_err() && fields.flag("a").is_err() && fields.texts("a").is_err()
        );
        assert_eq!(fields.text("b"), Ok(None));
        assert_eq!(fields.flag("b"), Ok(None));
        assert_eq!(fields.texts("b"), Ok(None));
    }

    #[test]
    fn findings_name_the_place() {
        let body = json!({"a": 1, "b": ["x", 2], "c": "x\u{0}", "d": ["no uuid"]});
        let fields = Fields::of(&body, "[3]", &["a", "b", "c", "d"]).unwrap();
        for (finding, place) in [
            (fields.text("a").unwrap_err(), "[3].a"),
            (fields.texts("b").unwrap_err(), "[3].b"),
            (fields.text("c").unwrap_err(), "[3].c"),
            (fields.uuids("d").unwrap_err(), "[3].d"),
        ] {
            assert!(format!("{finding:?}").contains(place), "{finding:?}");
        }
        assert!(Fields::of(&body, "", &["a"]).is_err());
        assert!(Fields::of(&json!([]), "", &[]).is_err());
    }

    #[test]
    fn empty_criteria_are_none() {
        let body = json!({"a": ["", "x"], "b": []});
        let fields = Fields::of(&body, "", &["a", "b"]).unwrap();
        assert_eq!(fields.criteria("a").unwrap(), ["x"]);
        assert!(fields.criteria("b").unwrap().is_empty());
        let long = json!({"a": vec!["x"; LIST_ITEMS_MAX + 1]});
        assert!(Fields::of(&long, "", &["a"]).unwrap().texts("a").is_err());
    }
}
