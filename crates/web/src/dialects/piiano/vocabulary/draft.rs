//! What a request says about a schema, before any rule of schemas is applied: the shape of the JSON bodies.
//!
//! The one thing a newcomer would get wrong: the two body kinds differ in rigour. In collections and properties an
//! *optional* attribute of a wrong kind is ignored as if it were absent (the product documents it so), while an unknown
//! field, or a required one of a wrong kind, is refused. In the change of one property everything is checked.
//! "Absent" is kept apart from "false" (`Option`), because creation fills absence with defaults and PATCH leaves alone
//! what is absent.

use serde_json::{Map, Value};

use super::data_type::DataType;
use super::schema::{CollectionType, DESCRIPTION_CHARS_MAX, SchemaError, SchemaErrorKind};

/// A collection as a request describes it, in JSON or PVSchema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionDraft {
    pub name: String,
    pub kind: CollectionType,
    pub properties: Vec<PropertyDraft>,
}

/// A property as a request describes it. `None` is what the request does not state.
///
/// `is_builtin`, `is_readonly` and the times are Vault's to say: they are read over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropertyDraft {
    pub name: String,
    pub data_type_name: String,
    pub description: Option<String>,
    pub is_unique: Option<bool>,
    pub is_index: Option<bool>,
    pub is_substring_index: Option<bool>,
    pub is_encrypted: Option<bool>,
    pub is_nullable: Option<bool>,
}

impl CollectionDraft {
    /// Reads a JSON body. Duplicate keys must have been refused when the body was parsed.
    pub fn from_json(value: &Value) -> Result<Self, SchemaError> {
        let fields = object(value, "body")?;
        only_known(
            fields,
            "",
            &[
                "name",
                "type",
                "properties",
                "creation_time",
                "modification_time",
            ],
        )?;
        let kind = CollectionType::from_name(text(fields, "", "type")?)
            .ok_or_else(|| shape("type", "must be PERSONS or DATA"))?;
        let items = fields
            .get("properties")
            .and_then(Value::as_array)
            .ok_or_else(|| shape("properties", "must be given, as an array"))?;
        let properties = items
            .iter()
            .enumerate()
            .map(|(index, item)| PropertyDraft::read(item, &format!("properties[{index}]")));
        Ok(Self {
            name: text(fields, "", "name")?.to_owned(),
            kind,
            properties: properties.collect::<Result<_, _>>()?,
        })
    }
}

impl PropertyDraft {
    /// Reads one property of a body; `place` is where it stands there, for findings.
    pub(super) fn read(value: &Value, place: &str) -> Result<Self, SchemaError> {
        let fields = object(value, if place.is_empty() { "body" } else { place })?;
        only_known(
            fields,
            place,
            &[
                "name",
                "data_type_name",
                "description",
                "is_unique",
                "is_index",
                "is_substring_index",
                "is_encrypted",
                "is_nullable",
                "is_builtin",
                "is_readonly",
                "creation_time",
                "modification_time",
            ],
        )?;
        let flag = |name: &str| fields.get(name).and_then(Value::as_bool);
        let description = fields
            .get("description")
            .and_then(Value::as_str)
            .filter(|text| text.chars().count() <= DESCRIPTION_CHARS_MAX && !text.contains('\0'));
        Ok(Self {
            name: text(fields, place, "name")?.to_owned(),
            data_type_name: text(fields, place, "data_type_name")?.to_owned(),
            description: description.map(str::to_owned),
            is_unique: flag("is_unique"),
            is_index: flag("is_index"),
            is_substring_index: flag("is_substring_index"),
            is_encrypted: flag("is_encrypted"),
            is_nullable: flag("is_nullable"),
        })
    }

    /// The built-in type that the draft names.
    pub fn data_type(&self) -> Result<DataType, SchemaError> {
        DataType::from_name(&self.data_type_name).ok_or_else(|| {
            SchemaError::new(
                SchemaErrorKind::UnknownDataType,
                &self.name,
                "the data type is not found",
            )
        })
    }
}

fn shape(field: &str, message: &str) -> SchemaError {
    SchemaError::new(SchemaErrorKind::Shape, field, message)
}

fn at(place: &str, field: &str) -> String {
    if place.is_empty() {
        field.to_owned()
    } else {
        format!("{place}.{field}")
    }
}

fn object<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>, SchemaError> {
    value
        .as_object()
        .ok_or_else(|| shape(place, "must be an object"))
}

fn only_known(fields: &Map<String, Value>, place: &str, known: &[&str]) -> Result<(), SchemaError> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(shape(&at(place, unknown), "is not a known field")),
        None => Ok(()),
    }
}

fn text<'a>(
    fields: &'a Map<String, Value>,
    place: &str,
    name: &str,
) -> Result<&'a str, SchemaError> {
    fields
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| shape(&at(place, name), "must be given, as a string"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refused_field(value: &Value) -> String {
        let error = CollectionDraft::from_json(value).unwrap_err();
        assert_eq!(error.kind, SchemaErrorKind::Shape);
        error.field
    }

    #[test]
    fn shapes_that_are_refused_name_their_field() {
        let property = |value: Value| json!({"name": "c", "type": "DATA", "properties": [value]});
        for (value, field) in [
            (json!([]), "body"),
            (json!({"type": "DATA", "properties": []}), "name"),
            (json!({"name": 5, "type": "DATA", "properties": []}), "name"),
            (
                json!({"name": "c", "type": "data", "properties": []}),
                "type",
            ),
            (json!({"name": "c", "type": "DATA"}), "properties"),
            (
                json!({"name": "c", "type": "DATA", "properties": null}),
                "properties",
            ),
            (
                json!({"name": "c", "type": "DATA", "properties": [], "extra": 1}),
                "extra",
            ),
            (property(json!("ssn")), "properties[0]"),
            (
                property(json!({"name": "a"})),
                "properties[0].data_type_name",
            ),
            (
                property(json!({"data_type_name": "SSN"})),
                "properties[0].name",
            ),
            (
                property(json!({"name": "a", "data_type_name": "SSN", "is_uniq": true})),
                "properties[0].is_uniq",
            ),
        ] {
            assert_eq!(refused_field(&value), field, "{value}");
        }
        let long = "x".repeat(10_000);
        assert!(refused_field(&json!({ long: 1 })).len() <= 100);
    }

    #[test]
    fn invalid_optional_attributes_are_ignored() {
        let draft = PropertyDraft::read(&json!({
            "name": "a", "data_type_name": "SSN", "is_unique": "yes", "is_index": null, "is_encrypted": 0,
            "is_nullable": [], "description": 5, "is_builtin": "x", "is_readonly": 1, "creation_time": 7,
            "modification_time": {},
        }), "")
        .unwrap();
        let bare = PropertyDraft::read(&json!({"name": "a", "data_type_name": "SSN"}), "").unwrap();
        assert_eq!(draft, bare);
        let long = json!({"name": "a", "data_type_name": "SSN", "description": "x".repeat(451)});
        assert_eq!(PropertyDraft::read(&long, "").unwrap().description, None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\":,a-z_ 0-9]{0,60}", name: String, kind: String) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = (CollectionDraft::from_json(&value), PropertyDraft::read(&value, ""));
            }
            let body = json!({"name": name, "type": "DATA", "properties": [{"name": name, "data_type_name": kind}]});
            let draft = CollectionDraft::from_json(&body).unwrap();
            let _ = super::super::schema::Collection::create(&draft, "now");
        }
    }
}
