//! The rules that a new schema must keep, as a pure function: draft in, collection or refusal out.
//!
//! The one thing a newcomer would get wrong: a draft may state the built-in properties too, because clients send back
//! what they were shown. Stated as they are they are read over, stated otherwise they are refused.

use super::builtin;
use super::draft::{CollectionDraft, PropertyDraft};
use super::schema::{
    Collection, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, NAMES_TOGETHER_CHARS_MAX, PROPERTIES_MAX,
    Property, SchemaError, SchemaErrorKind, is_collection_name, is_property_name, names_clash,
};

impl Collection {
    /// The collection that a draft asks for. `now` becomes both of its times and those of its properties.
    pub fn create(draft: &CollectionDraft, now: &str) -> Result<Self, SchemaError> {
        if !is_collection_name(&draft.name) {
            return Err(SchemaError::new(
                SchemaErrorKind::CollectionName,
                "name",
                format!(
                    "a collection's name is a letter, then letters, digits and underscores, at most {NAME_CHARS_MAX}"
                ),
            ));
        }
        let mut collection = Self {
            name: draft.name.clone(),
            kind: draft.kind,
            properties: Vec::new(),
            creation_time: now.to_owned(),
            modification_time: now.to_owned(),
        };
        check_said_once(&draft.properties)?;
        for property in &draft.properties {
            if !builtin::is_restated(property)? {
                collection.insert(property, now)?;
            }
        }
        Ok(collection)
    }

    fn insert(&mut self, draft: &PropertyDraft, now: &str) -> Result<(), SchemaError> {
        let property = Property::create(draft, now)?;
        let refuse = |message: String| Err(rule(&property.name, message));
        if self.properties.len() >= PROPERTIES_MAX {
            return refuse(format!(
                "a collection has at most {PROPERTIES_MAX} properties"
            ));
        }
        if self.name.len() + property.name.len() > NAMES_TOGETHER_CHARS_MAX {
            return refuse(format!(
                "the names of the collection and of a property have at most {NAMES_TOGETHER_CHARS_MAX} characters together"
            ));
        }
        let clashes = |existing: &str| names_clash(existing, &property.name);
        let taken = builtin::names().any(clashes)
            || self
                .properties
                .iter()
                .any(|existing| clashes(&existing.name));
        if taken {
            return Err(SchemaError::new(
                SchemaErrorKind::PropertyExists,
                &property.name,
                "a property of this name exists, or one that differs only in case",
            ));
        }
        self.properties.push(property);
        Ok(())
    }
}

impl Property {
    fn create(draft: &PropertyDraft, now: &str) -> Result<Self, SchemaError> {
        if !is_property_name(&draft.name) {
            return Err(rule(
                &draft.name,
                format!(
                    "a property's name is a letter or an underscore, then letters, digits and underscores, at most {NAME_CHARS_MAX}"
                ),
            ));
        }
        let data_type = draft.data_type()?;
        let property = Self {
            name: draft.name.clone(),
            data_type,
            description: draft.description.clone().unwrap_or_default(),
            is_unique: draft.is_unique.unwrap_or(false),
            is_index: draft.is_index.unwrap_or(false),
            is_substring_index: draft.is_substring_index.unwrap_or(false),
            is_encrypted: draft.is_encrypted.unwrap_or(true),
            is_nullable: draft.is_nullable.unwrap_or(false),
            is_builtin: false,
            is_readonly: false,
            creation_time: now.to_owned(),
            modification_time: now.to_owned(),
        };
        property.check()?;
        Ok(property)
    }

    /// The rules that hold between the attributes of one property.
    fn check(&self) -> Result<(), SchemaError> {
        if (self.is_index || self.is_unique) && !self.data_type.is_indexable() {
            return Err(rule(
                &self.name,
                "a property of type LONG_TEXT, JSON or BLOB can be neither indexed nor unique",
            ));
        }
        let characters = self.description.chars().count();
        if characters > DESCRIPTION_CHARS_MAX || self.description.contains('\0') {
            return Err(rule(
                &self.name,
                format!(
                    "a description has at most {DESCRIPTION_CHARS_MAX} characters, U+0000 not among them"
                ),
            ));
        }
        Ok(())
    }
}

fn rule(field: &str, message: impl Into<String>) -> SchemaError {
    SchemaError::new(SchemaErrorKind::Rule, field, message)
}

/// One request may not speak of a property twice, not even in two spellings.
fn check_said_once(properties: &[PropertyDraft]) -> Result<(), SchemaError> {
    if properties.len() > PROPERTIES_MAX + builtin::COUNT {
        return Err(rule(
            "properties",
            format!("a collection has at most {PROPERTIES_MAX} properties"),
        ));
    }
    let mut names: Vec<String> = properties
        .iter()
        .map(|property| property.name.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(rule(
            &pair[0],
            "two properties may not have one name, nor differ only in case",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fmt;

    use serde_json::{Value, json};

    use super::*;

    const THEN: &str = "2024-01-01T00:00:00.000001Z";
    const NOW: &str = "2024-06-01T00:00:00.000002Z";

    fn draft(value: &Value) -> CollectionDraft {
        CollectionDraft::from_json(value).unwrap()
    }

    fn property(value: &Value) -> PropertyDraft {
        let wanted = draft(&json!({"name": "c", "type": "DATA", "properties": [value]}));
        wanted.properties.into_iter().next().unwrap()
    }

    fn with_one(property: PropertyDraft) -> Result<Collection, SchemaError> {
        let mut wanted = draft(&json!({"name": "c", "type": "DATA", "properties": []}));
        wanted.properties.push(property);
        Collection::create(&wanted, NOW)
    }

    fn customers() -> Collection {
        let wanted = draft(
            &json!({"name": "customers", "type": "PERSONS", "properties": [
                {"name": "ssn", "data_type_name": "SSN", "is_unique": true, "is_nullable": true},
                {"name": "email", "data_type_name": "EMAIL", "is_index": true},
                {"name": "notes", "data_type_name": "LONG_TEXT", "description": "free"},
            ]}),
        );
        Collection::create(&wanted, THEN).unwrap()
    }

    fn refusal<T: fmt::Debug>(result: Result<T, SchemaError>) -> (SchemaErrorKind, String) {
        let error = result.unwrap_err();
        (error.kind, error.field)
    }

    #[test]
    fn a_collection_that_was_shown_can_be_sent_again() {
        let shown = customers().with_builtins();
        let again = draft(&serde_json::to_value(&shown).unwrap());
        assert_eq!(Collection::create(&again, THEN).unwrap(), customers());
    }

    #[test]
    fn builtins_that_differ_are_refused() {
        let wanted = draft(
            &json!({"name": "customers", "type": "PERSONS", "properties": [
                {"name": "id", "data_type_name": "STRING"},
            ]}),
        );
        let expected = (SchemaErrorKind::Rule, "id".to_owned());
        assert_eq!(refusal(Collection::create(&wanted, NOW)), expected);
    }

    #[test]
    fn descriptions_are_bounded() {
        for description in ["x".repeat(451), "a\0".to_owned()] {
            let wanted = PropertyDraft {
                description: Some(description.clone()),
                ..property(&json!({"name": "x", "data_type_name": "SSN"}))
            };
            assert_eq!(refusal(with_one(wanted)).0, SchemaErrorKind::Rule);
        }
    }

    #[test]
    fn names() {
        let create = |name: &str, properties: Value| {
            Collection::create(
                &draft(&json!({"name": name, "type": "DATA", "properties": properties})),
                NOW,
            )
        };
        for name in ["", "1a", "_a", "a-b", "é", "a b", &"a".repeat(41)] {
            assert_eq!(
                refusal(create(name, json!([]))).0,
                SchemaErrorKind::CollectionName,
                "{name}"
            );
        }
        assert!(
            create(&"a".repeat(40), json!([])).is_ok(),
            "no properties is legal"
        );
        let named = |name: &str| json!([{"name": name, "data_type_name": "STRING"}]);
        assert!(create(&"a".repeat(40), named("b")).is_ok());
        assert_eq!(
            refusal(create(&"a".repeat(40), named("bc"))).0,
            SchemaErrorKind::Rule
        );
        assert!(create("a", named(&"b".repeat(40))).is_ok());
        for name in ["", "1a", "a-b", "é", &"b".repeat(41)] {
            assert_eq!(
                refusal(create("a", named(name))).0,
                SchemaErrorKind::Rule,
                "{name}"
            );
        }
        assert!(create("a", named("_own")).is_ok());
        for name in ["ID", "_Tenant_Id"] {
            assert_eq!(
                refusal(create("a", named(name))).0,
                SchemaErrorKind::PropertyExists
            );
        }
        for (one, other) in [("x", "x"), ("x", "X")] {
            let both = json!([{"name": one, "data_type_name": "STRING"}, {"name": other, "data_type_name": "SSN"}]);
            assert_eq!(
                refusal(create("a", both)),
                (SchemaErrorKind::Rule, "x".to_owned())
            );
        }
        assert!(names_clash("Customers", "customers") && !names_clash("a", "b"));
    }

    #[test]
    fn attributes_that_do_not_go_together() {
        for data_type in ["LONG_TEXT", "JSON", "BLOB"] {
            for attribute in ["is_index", "is_unique"] {
                let wanted =
                    property(&json!({"name": "x", "data_type_name": data_type, attribute: true}));
                assert_eq!(
                    refusal(with_one(wanted)),
                    (SchemaErrorKind::Rule, "x".to_owned())
                );
            }
        }
        let unknown = property(&json!({"name": "x", "data_type_name": "MY_TYPE"}));
        assert_eq!(
            refusal(with_one(unknown)).0,
            SchemaErrorKind::UnknownDataType
        );
        let many: Vec<Value> = (0..=PROPERTIES_MAX)
            .map(|index| json!({"name": format!("p{index}"), "data_type_name": "STRING"}))
            .collect();
        let wanted = draft(&json!({"name": "c", "type": "DATA", "properties": many}));
        assert_eq!(
            refusal(Collection::create(&wanted, NOW)).0,
            SchemaErrorKind::Rule
        );
    }
}
