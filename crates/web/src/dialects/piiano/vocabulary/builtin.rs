//! Vault's own properties, which every collection has beside those of its users.
//!
//! The one thing a newcomer would get wrong: they are no part of a stored collection. They are the same everywhere, so
//! they are made when a collection is shown, and a request that lists them is only compared with them.

use super::data_type::DataType;
use super::draft::PropertyDraft;
use super::schema::{Property, SchemaError, SchemaErrorKind};

/// How many there are.
pub const COUNT: usize = BUILTINS.len();

/// What tells the built-in properties apart. None is encrypted or has a substring index.
struct Builtin {
    name: &'static str,
    data_type: DataType,
    /// Unique and indexed: of these properties either both or neither.
    is_key: bool,
    is_nullable: bool,
    is_readonly: bool,
    description: &'static str,
}

/// The same for both prototypes. The types of the two owner properties are inferred from what they hold.
const BUILTINS: [Builtin; 7] = [
    Builtin {
        name: "id",
        data_type: DataType::ObjectId,
        is_key: true,
        is_nullable: false,
        is_readonly: true,
        description: "Identifies the object",
    },
    Builtin {
        name: "_owner_id",
        data_type: DataType::ObjectId,
        is_key: false,
        is_nullable: true,
        is_readonly: false,
        description: "The object that owns this one",
    },
    Builtin {
        name: "_owner_collection",
        data_type: DataType::String,
        is_key: false,
        is_nullable: true,
        is_readonly: false,
        description: "The collection of the owning object",
    },
    Builtin {
        name: "_tenant_id",
        data_type: DataType::TenantId,
        is_key: false,
        is_nullable: true,
        is_readonly: false,
        description: "The tenant that the object belongs to",
    },
    Builtin {
        name: "_creation_time",
        data_type: DataType::Timestamp,
        is_key: false,
        is_nullable: false,
        is_readonly: true,
        description: "When the object was created",
    },
    Builtin {
        name: "_modification_time",
        data_type: DataType::Timestamp,
        is_key: false,
        is_nullable: false,
        is_readonly: true,
        description: "When the object was last modified",
    },
    Builtin {
        name: "_expiration_time",
        data_type: DataType::Timestamp,
        is_key: false,
        is_nullable: false,
        is_readonly: false,
        description: "When the object expires",
    },
];

/// The properties as they show in a collection created at `creation_time`.
pub fn properties(creation_time: &str) -> Vec<Property> {
    BUILTINS
        .iter()
        .map(|builtin| Property {
            name: builtin.name.to_owned(),
            data_type: builtin.data_type,
            description: builtin.description.to_owned(),
            is_unique: builtin.is_key,
            is_index: builtin.is_key,
            is_substring_index: false,
            is_encrypted: false,
            is_nullable: builtin.is_nullable,
            is_builtin: true,
            is_readonly: builtin.is_readonly,
            creation_time: creation_time.to_owned(),
            modification_time: creation_time.to_owned(),
        })
        .collect()
}

/// Their names, in the order in which they show.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|builtin| builtin.name)
}

/// The type of a built-in property, if the name is one. Names are case-sensitive.
pub fn data_type(name: &str) -> Option<DataType> {
    find(name).map(|builtin| builtin.data_type)
}

fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

/// Whether a draft restates a built-in property, which is allowed where it is equal and an error otherwise.
///
/// Compared is what the draft states; an attribute that it leaves out is Vault's (choice), and so is the description,
/// whose wording the product does not document.
pub(super) fn is_restated(draft: &PropertyDraft) -> Result<bool, SchemaError> {
    let Some(builtin) = find(&draft.name) else {
        return Ok(false);
    };
    let agrees = |stated: Option<bool>, own: bool| stated.is_none_or(|stated| stated == own);
    let equal = draft.data_type()? == builtin.data_type
        && agrees(draft.is_unique, builtin.is_key)
        && agrees(draft.is_index, builtin.is_key)
        && agrees(draft.is_substring_index, false)
        && agrees(draft.is_encrypted, false)
        && agrees(draft.is_nullable, builtin.is_nullable);
    if equal {
        return Ok(true);
    }
    Err(SchemaError::new(
        SchemaErrorKind::Rule,
        builtin.name,
        "a built-in property may be listed only as it is",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn restated(value: &Value) -> Result<bool, SchemaError> {
        is_restated(&PropertyDraft::read(value, "").unwrap())
    }

    #[test]
    fn what_is_shown_may_be_restated() {
        for property in properties("2024-01-01T00:00:00Z") {
            assert!(property.is_builtin && !property.is_encrypted);
            assert_eq!(data_type(&property.name), Some(property.data_type));
            let shown = serde_json::to_value(&property).unwrap();
            assert_eq!(restated(&shown), Ok(true));
        }
        assert_eq!(names().count(), COUNT);
        assert_eq!(data_type("ID"), None);
    }

    #[test]
    fn unstated_attributes_are_vaults_and_stated_ones_must_agree() {
        assert_eq!(
            restated(&json!({"name": "id", "data_type_name": "OBJECT_ID"})),
            Ok(true)
        );
        assert_eq!(
            restated(&json!({"name": "ssn", "data_type_name": "SSN"})),
            Ok(false)
        );
        for wrong in [
            json!({"name": "id", "data_type_name": "STRING"}),
            json!({"name": "id", "data_type_name": "OBJECT_ID", "is_unique": false}),
            json!({"name": "id", "data_type_name": "OBJECT_ID", "is_encrypted": true}),
            json!({"name": "_tenant_id", "data_type_name": "TENANT_ID", "is_nullable": false}),
            json!({"name": "_creation_time", "data_type_name": "TIMESTAMP", "is_index": true}),
            json!({"name": "_creation_time", "data_type_name": "TIMESTAMP", "is_substring_index": true}),
        ] {
            assert_eq!(
                restated(&wrong).unwrap_err().kind,
                SchemaErrorKind::Rule,
                "{wrong}"
            );
        }
        let unknown = restated(&json!({"name": "id", "data_type_name": "UUID"}));
        assert_eq!(unknown.unwrap_err().kind, SchemaErrorKind::UnknownDataType);
    }
}
