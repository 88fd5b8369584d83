//! Collections and properties: the model, its JSON, the rules for names, and what a refusal looks like.
//!
//! The one thing a newcomer would get wrong: a [`Collection`] holds only the properties of its users. Vault's own
//! (`id`, `_creation_time`, …) are the same in every collection and are added when one is shown, see
//! [`Collection::with_builtins`]. Requests are never deserialized into these types: they are read leniently into the
//! drafts of [`super::draft`], and pass the rules of [`super::new_schema`] on their way here.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::builtin;
use super::data_type::DataType;

/// Characters of a collection's or property's name.
pub const NAME_CHARS_MAX: usize = 40;
/// Characters of a collection's name and its longest property name together. Built-in names do not count.
pub const NAMES_TOGETHER_CHARS_MAX: usize = 41;
/// Characters of a description, and of a data type's name.
pub const DESCRIPTION_CHARS_MAX: usize = 450;
/// Properties of one collection. Choice: the product states no number.
pub const PROPERTIES_MAX: usize = 1_000;

/// The prototype of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CollectionType {
    /// Objects are persons.
    Persons,
    /// Objects belong to persons, or to nobody.
    Data,
}

impl CollectionType {
    /// The prototype of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "PERSONS" => Some(Self::Persons),
            "DATA" => Some(Self::Data),
            _ => None,
        }
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persons => "PERSONS",
            Self::Data => "DATA",
        }
    }
}

/// A typed schema, in the product's JSON; the order of the fields is the order of the answer's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: CollectionType,
    /// In the order in which they were added.
    pub properties: Vec<Property>,
    /// RFC 3339, like every time here; ignored in requests.
    #[schema(required = false, format = DateTime)]
    pub creation_time: String,
    #[schema(required = false, format = DateTime)]
    pub modification_time: String,
}

/// One property of a collection, in the product's JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Property {
    pub name: String,
    #[serde(rename = "data_type_name")]
    #[schema(value_type = String)]
    pub data_type: DataType,
    #[schema(required = false)]
    pub description: String,
    #[schema(required = false, default = false)]
    pub is_unique: bool,
    #[schema(required = false, default = false)]
    pub is_index: bool,
    #[schema(required = false, default = false)]
    pub is_substring_index: bool,
    #[schema(required = false, default = true)]
    pub is_encrypted: bool,
    #[schema(required = false, default = false)]
    pub is_nullable: bool,
    #[schema(required = false, default = false)]
    pub is_builtin: bool,
    #[schema(required = false, default = false)]
    pub is_readonly: bool,
    #[schema(required = false, format = DateTime)]
    pub creation_time: String,
    #[schema(required = false, format = DateTime)]
    pub modification_time: String,
}

/// Which kind of rule a request broke; the dialect's error border turns it into a status and a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaErrorKind {
    /// The request has not the documented shape: an unknown, missing or wrongly typed field.
    Shape,
    /// The collection's name breaks the rules for names.
    CollectionName,
    /// No built-in data type has this name.
    UnknownDataType,
    /// A property of this name, or of one that differs only in case, exists already.
    PropertyExists,
    /// Another rule of schemas.
    Rule,
}

/// A schema request that was refused. Schemas are not confidential, so messages may name properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    pub kind: SchemaErrorKind,
    /// Where: `name`, `properties[2].data_type_name`, or the name of a property.
    pub field: String,
    pub message: String,
}

impl SchemaError {
    /// Characters of `field`; the rest of an over-long foreign name is cut off.
    const FIELD_CHARS_MAX: usize = 100;

    pub(super) fn new(
        kind: SchemaErrorKind,
        field: impl AsRef<str>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.as_ref().chars().take(Self::FIELD_CHARS_MAX).collect(),
            message: message.into(),
        }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for SchemaError {}

/// A letter, then letters, digits and underscores: names of collections, data types, functions.
pub fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && is_word(name)
}

/// Whether a collection may have this name: an identifier of at most 40 characters.
pub fn is_collection_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX && is_identifier(name)
}

/// Whether a property may have this name: as a collection, but it may also begin with an underscore.
pub fn is_property_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && is_word(name)
}

fn is_word(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether two names cannot stand beside each other: they are equal or differ only in case. For collections the caller
/// compares the new name with those that exist; for properties it is done here.
pub fn names_clash(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

impl Collection {
    /// The user's property of this name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|property| property.name == name)
    }

    /// The data type of a property, Vault's own included.
    pub fn data_type(&self, name: &str) -> Option<DataType> {
        self.property(name)
            .map(|property| property.data_type)
            .or_else(|| builtin::data_type(name))
    }

    /// The collection as it shows under `show_builtins`: Vault's own properties after the user's.
    #[must_use]
    pub fn with_builtins(&self) -> Self {
        let mut shown = self.clone();
        shown
            .properties
            .extend(builtin::properties(&self.creation_time));
        shown
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::super::draft::CollectionDraft;
    use super::*;

    const THEN: &str = "2024-01-01T00:00:00.000001Z";

    fn customers() -> Collection {
        let body = json!({"name": "customers", "type": "PERSONS", "properties": [
            {"name": "ssn", "data_type_name": "SSN", "is_unique": true, "is_nullable": true},
        ]});
        Collection::create(&CollectionDraft::from_json(&body).unwrap(), THEN).unwrap()
    }

    #[test]
    fn answers_have_the_products_keys_in_order() {
        let answer = serde_json::to_value(customers()).unwrap();
        let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "name",
                "type",
                "properties",
                "creation_time",
                "modification_time"
            ]
        );
        assert_eq!(
            answer["properties"][0].to_string(),
            json!({
                "name": "ssn", "data_type_name": "SSN", "description": "", "is_unique": true, "is_index": false,
                "is_substring_index": false, "is_encrypted": true, "is_nullable": true, "is_builtin": false,
                "is_readonly": false, "creation_time": THEN, "modification_time": THEN,
            })
            .to_string()
        );
        let read: Collection = serde_json::from_value(answer).unwrap();
        assert_eq!(read, customers());
    }

    #[test]
    fn builtins_show_only_when_asked() {
        assert_eq!(customers().property("id"), None);
        assert_eq!(customers().data_type("id"), Some(DataType::ObjectId));
        assert_eq!(customers().data_type("ID"), None);
        assert_eq!(customers().data_type("ssn"), Some(DataType::Ssn));
        let shown = customers().with_builtins();
        assert_eq!(shown.properties.len(), 1 + builtin::COUNT);
        let id = shown.property("id").unwrap();
        assert!(id.is_unique && id.is_index && id.is_readonly && !id.is_nullable);
        assert_eq!(id.creation_time, THEN);
    }

    #[test]
    fn names() {
        for (name, collection, property) in [
            ("a", true, true),
            ("A1_b", true, true),
            ("_a", false, true),
            ("_", false, true),
            ("", false, false),
            ("1a", false, false),
            ("a-b", false, false),
            ("a b", false, false),
            ("é", false, false),
            (&"a".repeat(40), true, true),
            (&"a".repeat(41), false, false),
        ] {
            assert_eq!(is_collection_name(name), collection, "{name}");
            assert_eq!(is_property_name(name), property, "{name}");
        }
        assert!(names_clash("Customers", "customers") && !names_clash("a", "b"));
    }

    #[test]
    fn an_error_repeats_only_the_beginning_of_a_foreign_name() {
        let error = SchemaError::new(SchemaErrorKind::Shape, "é".repeat(5000), "is not known");
        assert_eq!(error.field.chars().count(), 100);
        assert!(error.to_string().ends_with(": is not known"));
    }
}
