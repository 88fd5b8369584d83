//! The bodies of this dialect's records, and where each record is found: the only place that reads or writes them.
//!
//! The one thing a newcomer would get wrong: a body outlives the program that wrote it. Every body carries the number of
//! its schema; when one changes, the former version keeps its reader and its file under `records/`, which the tests
//! read. A body holds nothing confidential: the properties of an object are its record's sealed content.

use engine::Error;
use engine::clock::Timestamp;
use engine::keyring::Keyring;
use engine::locator::{Key, Place, Space};
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::vocabulary::schema::Collection;

/// The schema number that bodies are written with.
pub(super) const SCHEMA: u32 = 1;

/// Record kind: a collection.
pub(super) const COLLECTION: &str = "collection";
/// Record kind: an object of a collection, which is its parent.
pub(super) const OBJECT: &str = "object";
/// Record kind: a tokenization that was given an id. It says nothing more than that the id has been used.
pub(super) const TRANSACTION: &str = "transaction";
/// Record kind: which key is the administrator's.
pub(super) const ADMIN_KEY: &str = "admin-key";

/// Locator space: lower-case name → collection.
pub(super) const COLLECTION_SPACE: &str = "piiano.collection";
/// Locator space: collection id ∥ object id (16 bytes each) → object.
pub(super) const OBJECT_SPACE: &str = "piiano.object";
/// Locator space: keyed digest of collection, property and value → the object that has this unique value.
pub(super) const UNIQUE_SPACE: &str = "piiano.unique";
/// Locator space, and space of the mark on the tokens: collection id ∥ transaction id → transaction.
pub(super) const TRANSACTION_SPACE: &str = "piiano.transaction";
/// Locator space with one key, the empty one → the record of the administrator's key.
const ADMIN_KEY_SPACE: &str = "piiano.admin-key";

/// The body of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectionBody {
    schema: u32,
    /// With the properties of its users alone.
    pub(super) collection: Collection,
}

/// The body of an object. Its expiration is its record's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectBody {
    schema: u32,
    /// The id that the outside knows.
    pub(super) id: Uuid,
    /// `_tenant_id`; tenants count as clear metadata.
    pub(super) tenant: Option<String>,
    /// `_creation_time`.
    pub(super) creation_time: Timestamp,
    /// `_modification_time`.
    pub(super) modification_time: Timestamp,
}

/// The body of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransactionBody {
    schema: u32,
}

/// The body of the record of the administrator's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminKeyBody {
    schema: u32,
    /// The token that is the key.
    pub(super) token: Uuid,
}

/// What the dialect says about the content of a data token: the body of its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    schema: u32,
    /// The properties it was made of, sorted.
    pub(super) props: Vec<String>,
    /// The template of its id, if it has one: a rotation keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fptemplate: Option<String>,
}

impl CollectionBody {
    pub(super) fn new(collection: Collection) -> Self {
        Self {
            schema: SCHEMA,
            collection,
        }
    }
}

impl ObjectBody {
    pub(super) fn new(id: Uuid, tenant: Option<String>, now: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            id,
            tenant,
            creation_time: now,
            modification_time: now,
        }
    }

    pub(super) fn read(record: &Record) -> Result<Self, Error> {
        read(&record.body, record.id.0)
    }
}

impl CollectionBody {
    pub(super) fn read(record: &Record) -> Result<Self, Error> {
        read(&record.body, record.id.0)
    }
}

impl TransactionBody {
    pub(super) const fn new() -> Self {
        Self { schema: SCHEMA }
    }
}

impl AdminKeyBody {
    pub(super) const fn new(token: Uuid) -> Self {
        Self {
            schema: SCHEMA,
            token,
        }
    }

    pub(super) fn read(record: &Record) -> Result<Self, Error> {
        read(&record.body, record.id.0)
    }
}

impl TokenBody {
    pub(super) fn new(props: Vec<String>, fptemplate: Option<String>) -> Self {
        Self {
            schema: SCHEMA,
            props,
            fptemplate,
        }
    }

    pub(super) fn read(value: &engine::value::Value) -> Result<Self, Error> {
        read(&value.body, value.id.0)
    }
}

/// Writes a body.
pub(super) fn write(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("a body is made of strings, numbers and lists")
}

/// Reads a body; one that cannot be read is a damaged row or comes from a newer program, which an operator must know.
fn read<'a, B: Deserialize<'a> + HasSchema>(body: &'a Value, id: Uuid) -> Result<B, Error> {
    match B::deserialize(body) {
        Ok(read) if read.schema() == SCHEMA => Ok(read),
        Ok(read) => {
            tracing::error!(%id, schema = read.schema(), "a body has a schema that this program does not know");
            Err(Error::Internal)
        }
        Err(error) => {
            tracing::error!(%id, %error, "a body cannot be read");
            Err(Error::Internal)
        }
    }
}

trait HasSchema {
    fn schema(&self) -> u32;
}

macro_rules! has_schema {
    ($($body:ty),*) => {
        $(impl HasSchema for $body {
            fn schema(&self) -> u32 {
                self.schema
            }
        })*
    };
}
has_schema!(
    CollectionBody,
    ObjectBody,
    TransactionBody,
    AdminKeyBody,
    TokenBody
);

/// Where a collection is found. Names that differ only in case are one place, so that they exclude each other.
pub(super) fn collection_place(name: &str) -> Place {
    let key = Key(name.to_ascii_lowercase().into_bytes());
    Place::new(Space::of(COLLECTION_SPACE), key)
}

/// Where an object is found. The key holds the collection's id, not its name: a new collection of that name is empty.
pub(super) fn object_place(collection: RecordId, object: Uuid) -> Place {
    let key = Key::join(&[collection.0.as_bytes(), object.as_bytes()]);
    Place::new(Space::of(OBJECT_SPACE), key)
}

/// Where the object with this value of a unique property is found. Values are confidential, so the key is a digest.
pub(super) fn unique_place(
    keyring: &Keyring,
    realm: RealmId,
    collection: RecordId,
    property: &str,
    canonical: &[u8],
) -> Place {
    let space = Space::of(UNIQUE_SPACE);
    let parts = [
        collection.0.as_bytes().as_slice(),
        property.as_bytes(),
        canonical,
    ];
    let key = keyring.blind_key(realm, &space, &parts);
    Place::new(space, key)
}

/// Where a transaction is found, and the mark of its tokens.
pub(super) fn transaction_place(collection: RecordId, transaction: &str) -> Place {
    let key = Key::join(&[collection.0.as_bytes(), transaction.as_bytes()]);
    Place::new(Space::of(TRANSACTION_SPACE), key)
}

/// Where the record of the administrator's key is found.
pub(super) fn admin_key_place() -> Place {
    Place::new(Space::of(ADMIN_KEY_SPACE), Key(Vec::new()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialects::piiano::vocabulary::draft::CollectionDraft;

    /// Each file is what a body of this schema looks like in a store; it is never edited.
    fn golden<'a, B>(text: &'a str, expected: &B)
    where
        B: Serialize + HasSchema + PartialEq + std::fmt::Debug + for<'b> Deserialize<'b>,
    {
        let stored: Value = serde_json::from_str(text).unwrap();
        assert_eq!(&read::<B>(&stored, Uuid::nil()).unwrap(), expected);
        assert_eq!(write(expected), stored);
    }

    #[test]
    fn bodies_of_schema_1() {
        let then = Timestamp::from_micros(1_704_067_200_000_001).unwrap();
        let draft = serde_json::json!({"name": "customers", "type": "PERSONS", "properties": [
            {"name": "ssn", "data_type_name": "SSN", "is_unique": true, "is_nullable": true, "description": "x"},
        ]});
        let draft = CollectionDraft::from_json(&draft).unwrap();
        let collection = Collection::create(&draft, &then.to_string()).unwrap();
        golden(
            include_str!("records/collection.1.json"),
            &CollectionBody::new(collection),
        );
        let id: Uuid = "7d5f0c1e-35e3-41ed-a261-0242ac120002".parse().unwrap();
        golden(
            include_str!("records/object.1.json"),
            &ObjectBody::new(id, Some("t1".to_owned()), then),
        );
        golden(
            include_str!("records/transaction.1.json"),
            &TransactionBody::new(),
        );
        golden(
            include_str!("records/admin-key.1.json"),
            &AdminKeyBody::new(id),
        );
        let props = vec!["email".to_owned(), "ssn".to_owned()];
        golden(
            include_str!("records/token.1.json"),
            &TokenBody::new(props, Some("primary_account_number".to_owned())),
        );
    }

    #[test]
    fn what_a_newer_program_wrote_is_not_guessed_at() {
        let newer = serde_json::json!({"schema": 2});
        assert_eq!(
            read::<TransactionBody>(&newer, Uuid::nil()),
            Err(Error::Internal)
        );
        let more = serde_json::json!({"schema": 1, "colour": "red"});
        assert_eq!(
            read::<TransactionBody>(&more, Uuid::nil()),
            Err(Error::Internal)
        );
    }

    #[test]
    fn names_that_differ_in_case_are_one_place_and_collections_are_apart() {
        assert_eq!(collection_place("Customers"), collection_place("customers"));
        let (one, two) = (RecordId(Uuid::from_u128(1)), RecordId(Uuid::from_u128(2)));
        assert_ne!(object_place(one, two.0), object_place(two, one.0));
        assert_ne!(transaction_place(one, "t"), transaction_place(two, "t"));
    }
}
