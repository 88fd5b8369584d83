//! Every change of a schema as a pure function: old schema and request in, new schema or refusal out.
//!
//! The one thing a newcomer would get wrong: the two PATCH calls differ. That of a collection leaves alone whatever the
//! body does not state and ignores most attributes of properties that exist; that of a property empties the
//! description when the body has none, and may change uniqueness.

use super::builtin;
use super::draft::{CollectionDraft, PropertyChange, PropertyDraft};
use super::schema::{
    Collection, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, NAMES_TOGETHER_CHARS_MAX, PROPERTIES_MAX,
    Property, SchemaError, SchemaErrorKind, is_collection_name, is_property_name, names_clash,
};

/// What a PATCH of a collection came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    pub collection: Collection,
    /// Names of the properties that are new.
    pub added: Vec<String>,
    /// Names of the properties whose attributes changed. Both empty: nothing changed, not even `modification_time`.
    pub amended: Vec<String>,
}

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

    /// PATCH of a collection: adds the properties that do not exist and amends `description`, `is_index` and
    /// `is_nullable` of those that do; their other attributes are ignored, nothing is removed.
    ///
    /// An attribute that the draft does not state is left alone. Choices where the product is silent: another
    /// prototype than the collection's is refused, and so is `is_nullable` going back to false, instead of answering
    /// as if it had been done. `has_objects` forbids new properties that are not nullable.
    pub fn merge(
        &self,
        draft: &CollectionDraft,
        now: &str,
        has_objects: bool,
    ) -> Result<Merged, SchemaError> {
        if draft.name != self.name {
            return Err(SchemaError::new(
                SchemaErrorKind::Rule,
                "name",
                "the name in the body must be the one in the path",
            ));
        }
        if draft.kind != self.kind {
            return Err(SchemaError::new(
                SchemaErrorKind::Rule,
                "type",
                "the type of a collection cannot be changed",
            ));
        }
        check_said_once(&draft.properties)?;
        let mut merged = Merged {
            collection: self.clone(),
            added: Vec::new(),
            amended: Vec::new(),
        };
        for wanted in &draft.properties {
            if builtin::is_restated(wanted)? {
                continue;
            }
            let existing = merged
                .collection
                .properties
                .iter_mut()
                .find(|property| property.name == wanted.name);
            if let Some(property) = existing {
                if property.amend(wanted, now)? {
                    merged.amended.push(wanted.name.clone());
                }
            } else {
                merged
                    .collection
                    .insert_beside_objects(wanted, now, has_objects)?;
                merged.added.push(wanted.name.clone());
            }
        }
        if !(merged.added.is_empty() && merged.amended.is_empty()) {
            now.clone_into(&mut merged.collection.modification_time);
        }
        Ok(merged)
    }

    /// The collection with one property more. A name that exists, also as a built-in one, is refused.
    pub fn add_property(
        &self,
        draft: &PropertyDraft,
        now: &str,
        has_objects: bool,
    ) -> Result<Self, SchemaError> {
        let mut changed = self.clone();
        changed.insert_beside_objects(draft, now, has_objects)?;
        now.clone_into(&mut changed.modification_time);
        Ok(changed)
    }

    /// The collection with the attributes of one property changed. Built-in ones cannot be.
    ///
    /// Whether the values that exist are unique is for the caller to know before it asks for `is_unique`.
    pub fn change_property(
        &self,
        name: &str,
        change: &PropertyChange,
        now: &str,
    ) -> Result<Self, SchemaError> {
        let mut changed = self.clone();
        let property = changed.user_property(name)?;
        if property.change(change, now)? {
            now.clone_into(&mut changed.modification_time);
        }
        Ok(changed)
    }

    /// The collection without one property. Built-in ones cannot be removed. Their values are the caller's concern.
    pub fn remove_property(&self, name: &str, now: &str) -> Result<Self, SchemaError> {
        let mut changed = self.clone();
        changed.user_property(name)?;
        changed.properties.retain(|property| property.name != name);
        now.clone_into(&mut changed.modification_time);
        Ok(changed)
    }

    fn user_property(&mut self, name: &str) -> Result<&mut Property, SchemaError> {
        if builtin::data_type(name).is_some() {
            return Err(SchemaError::new(
                SchemaErrorKind::Rule,
                name,
                "a built-in property can neither be modified nor deleted",
            ));
        }
        self.properties
            .iter_mut()
            .find(|property| property.name == name)
            .ok_or_else(|| {
                SchemaError::new(
                    SchemaErrorKind::UnknownProperty,
                    name,
                    "the collection has no such property",
                )
            })
    }

    fn insert_beside_objects(
        &mut self,
        draft: &PropertyDraft,
        now: &str,
        has_objects: bool,
    ) -> Result<(), SchemaError> {
        if has_objects && draft.is_nullable != Some(true) {
            return Err(SchemaError::new(
                SchemaErrorKind::Rule,
                &draft.name,
                "a property added to a collection that has objects must be nullable",
            ));
        }
        self.insert(draft, now)
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

    /// PATCH of the collection, for a property that exists. Whether anything changed.
    fn amend(&mut self, wanted: &PropertyDraft, now: &str) -> Result<bool, SchemaError> {
        let mut changed = self.clone();
        if let Some(description) = &wanted.description {
            changed.description.clone_from(description);
        }
        changed.is_index = wanted.is_index.unwrap_or(self.is_index);
        changed.is_nullable = wanted.is_nullable.unwrap_or(self.is_nullable);
        self.replace(changed, now)
    }

    /// PATCH of the property itself. Whether anything changed.
    fn change(&mut self, wanted: &PropertyChange, now: &str) -> Result<bool, SchemaError> {
        let mut changed = self.clone();
        changed.description.clone_from(&wanted.description);
        changed.is_unique = wanted.is_unique.unwrap_or(self.is_unique);
        changed.is_index = wanted.is_index.unwrap_or(self.is_index);
        changed.is_nullable = wanted.is_nullable.unwrap_or(self.is_nullable);
        changed.is_substring_index = wanted.is_substring_index.unwrap_or(self.is_substring_index);
        if changed.is_substring_index && !self.is_substring_index {
            return Err(rule(
                &self.name,
                "a substring index can be removed from a property, but not added",
            ));
        }
        self.replace(changed, now)
    }

    fn replace(&mut self, changed: Self, now: &str) -> Result<bool, SchemaError> {
        if self.is_nullable && !changed.is_nullable {
            return Err(rule(
                &self.name,
                "a nullable property cannot become one that is not",
            ));
        }
        changed.check()?;
        let differs = changed != *self;
        if differs {
            *self = changed;
            now.clone_into(&mut self.modification_time);
        }
        Ok(differs)
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

    use super::super::data_type::DataType;
    use super::*;

    const THEN: &str = "2024-01-01T00:00:00.000001Z";
    const NOW: &str = "2024-06-01T00:00:00.000002Z";

    fn draft(value: &Value) -> CollectionDraft {
        CollectionDraft::from_json(value).unwrap()
    }

    fn property(value: &Value) -> PropertyDraft {
        PropertyDraft::from_json(value).unwrap()
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
        let merged = customers().merge(&again, NOW, true).unwrap();
        assert_eq!(merged.collection, customers());
        assert!(merged.added.is_empty() && merged.amended.is_empty());
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
        assert_eq!(refusal(customers().merge(&wanted, NOW, false)), expected);
    }

    #[test]
    fn descriptions_are_bounded() {
        for description in ["x".repeat(451), "a\0".to_owned()] {
            let wanted = PropertyDraft {
                description: Some(description.clone()),
                ..property(&json!({"name": "x", "data_type_name": "SSN"}))
            };
            assert_eq!(
                refusal(customers().add_property(&wanted, NOW, false)).0,
                SchemaErrorKind::Rule
            );
            let change = PropertyChange {
                description,
                ..PropertyChange::default()
            };
            assert_eq!(
                refusal(customers().change_property("ssn", &change, NOW)).0,
                SchemaErrorKind::Rule
            );
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
                    refusal(customers().add_property(&wanted, NOW, false)),
                    (SchemaErrorKind::Rule, "x".to_owned())
                );
            }
        }
        let unknown = property(&json!({"name": "x", "data_type_name": "MY_TYPE"}));
        assert_eq!(
            refusal(customers().add_property(&unknown, NOW, false)).0,
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

    #[test]
    fn merge_adds_and_amends_and_ignores_the_rest() {
        let wanted = draft(
            &json!({"name": "customers", "type": "PERSONS", "properties": [
                {"name": "email", "data_type_name": "STRING", "is_encrypted": false, "is_unique": true,
                 "is_index": false, "is_nullable": true, "description": "mail"},
                {"name": "ssn", "data_type_name": "SSN"},
                {"name": "phone", "data_type_name": "PHONE_NUMBER", "is_nullable": true},
            ]}),
        );
        let merged = customers().merge(&wanted, NOW, true).unwrap();
        assert_eq!(
            (merged.added, merged.amended),
            (vec!["phone".to_owned()], vec!["email".to_owned()])
        );
        let after = merged.collection;
        assert_eq!(after.properties.len(), 4);
        let email = after.property("email").unwrap();
        assert_eq!(email.data_type, DataType::Email);
        assert!(email.is_encrypted && !email.is_unique && !email.is_index && email.is_nullable);
        assert_eq!(
            (email.description.as_str(), email.modification_time.as_str()),
            ("mail", NOW)
        );
        assert_eq!(email.creation_time, THEN);
        assert_eq!(
            after.property("ssn"),
            customers().property("ssn"),
            "unstated attributes stay"
        );
        assert_eq!(
            (
                after.creation_time.as_str(),
                after.modification_time.as_str()
            ),
            (THEN, NOW)
        );
    }

    #[test]
    fn merges_that_are_refused() {
        let merge = |value: Value, has_objects| {
            refusal(customers().merge(&draft(&value), NOW, has_objects))
        };
        let with = |property: Value| json!({"name": "customers", "type": "PERSONS", "properties": [property]});
        assert_eq!(
            merge(
                json!({"name": "other", "type": "PERSONS", "properties": []}),
                false
            )
            .1,
            "name"
        );
        assert_eq!(
            merge(
                json!({"name": "customers", "type": "DATA", "properties": []}),
                false
            )
            .1,
            "type"
        );
        let back = with(json!({"name": "ssn", "data_type_name": "SSN", "is_nullable": false}));
        assert_eq!(
            merge(back, false),
            (SchemaErrorKind::Rule, "ssn".to_owned())
        );
        let index = with(json!({"name": "notes", "data_type_name": "LONG_TEXT", "is_index": true}));
        assert_eq!(
            merge(index, false),
            (SchemaErrorKind::Rule, "notes".to_owned())
        );
        let case = with(json!({"name": "Ssn", "data_type_name": "SSN"}));
        assert_eq!(merge(case, false).0, SchemaErrorKind::PropertyExists);
        let required = with(json!({"name": "phone", "data_type_name": "PHONE_NUMBER"}));
        assert_eq!(merge(required.clone(), true).0, SchemaErrorKind::Rule);
        assert!(customers().merge(&draft(&required), NOW, false).is_ok());
    }

    #[test]
    fn one_property_is_changed_or_removed() {
        let change = |value: Value| PropertyChange::from_json(&value).unwrap();
        let after = customers()
            .change_property(
                "email",
                &change(json!({"is_nullable": true, "is_unique": true, "is_index": false})),
                NOW,
            )
            .unwrap();
        let email = after.property("email").unwrap();
        assert!(email.is_nullable && email.is_unique && !email.is_index);
        assert_eq!(after.modification_time, NOW);

        let cleared = customers()
            .change_property("notes", &change(json!({})), NOW)
            .unwrap();
        assert_eq!(
            cleared.property("notes").unwrap().description,
            "",
            "an absent description empties it"
        );
        assert_eq!(
            customers()
                .change_property("ssn", &change(json!({})), NOW)
                .unwrap(),
            customers()
        );

        for (name, value, kind) in [
            ("ssn", json!({"is_nullable": false}), SchemaErrorKind::Rule),
            (
                "ssn",
                json!({"is_substring_index": true}),
                SchemaErrorKind::Rule,
            ),
            ("notes", json!({"is_unique": true}), SchemaErrorKind::Rule),
            ("id", json!({"description": "mine"}), SchemaErrorKind::Rule),
            ("nope", json!({}), SchemaErrorKind::UnknownProperty),
        ] {
            assert_eq!(
                refusal(customers().change_property(name, &change(value), NOW)).0,
                kind,
                "{name}"
            );
        }

        let removed = customers().remove_property("ssn", NOW).unwrap();
        assert_eq!(
            (removed.properties.len(), removed.property("ssn")),
            (2, None)
        );
        assert_eq!(
            refusal(customers().remove_property("_owner_id", NOW)).0,
            SchemaErrorKind::Rule
        );
        assert_eq!(
            refusal(removed.remove_property("ssn", NOW)).0,
            SchemaErrorKind::UnknownProperty
        );
    }
}
