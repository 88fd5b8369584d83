//! The neutral form of everything that is kept, and the narrow door through which a whole store is taken out and put in.
//!
//! The one thing to know: a [`Cell`] is what a column *means*, not what lies in it. A backend that has to write a text or a
//! key in another way (`postgres/rows.rs`) undoes that on the way out, so that two stores with the same content give the
//! same rows and the same [`Tally`], whatever they are made of.

use std::fmt;

use async_trait::async_trait;
use engine::realm::RealmId;
use engine::store::StoreError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// What a column holds. Each may be empty where its table allows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// 16 bytes.
    Id,
    /// A version, a count or an instant.
    Integer,
    /// Yes or no.
    Flag,
    /// Any text, U+0000 included.
    Text,
    /// JSON as it was written; it holds no U+0000, which JSON escapes.
    Json,
    /// Bytes of any length.
    Bytes,
    /// The key of a locator or mark.
    Key,
}

/// A table as every backend has it. The realm, which comes first in every table, is not listed.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Those of the primary key first.
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// How many of them are the key.
    pub(crate) key: usize,
}

impl Table {
    /// The names of all columns.
    pub(crate) fn columns(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// The names of the columns of the key.
    pub(crate) fn keys(&self) -> String {
        let names: Vec<&str> = self.key_columns().iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    pub(crate) fn key_columns(&self) -> &'static [(&'static str, Kind)] {
        &self.columns[..self.key]
    }
}

/// The tables of a store, all of them: what is not listed belongs to one installation (locks, nodes, migrations).
pub(crate) const TABLES: &[Table] = {
    use Kind::{Bytes, Flag, Id, Integer, Json, Key, Text};
    &[
        Table {
            name: "record",
            key: 1,
            columns: &[
                ("id", Id),
                ("kind", Text),
                ("version", Integer),
                ("state", Text),
                ("expires_at", Integer),
                ("parent", Id),
                ("created_at", Integer),
                ("created_by", Text),
                ("updated_at", Integer),
                ("updated_by", Text),
                ("addresses", Json),
                ("locators", Json),
                ("marks", Json),
                ("body", Json),
            ],
        },
        Table {
            name: "value",
            key: 2,
            columns: &[
                ("id", Id),
                ("version", Integer),
                ("class", Text),
                ("container", Id),
                ("external_id", Text),
                ("scope_name", Text),
                ("scope_global", Flag),
                ("identity", Bytes),
                ("refers_to", Id),
                ("created_at", Integer),
                ("superseded_at", Integer),
                ("body", Json),
                ("sealed", Bytes),
            ],
        },
        Table {
            name: "token",
            key: 1,
            columns: &[
                ("id", Id),
                ("version", Integer),
                ("state", Text),
                ("expires_at", Integer),
                ("updated_at", Integer),
                ("updated_by", Text),
                ("class", Text),
                ("container", Id),
                ("parent", Id),
                ("name", Text),
                ("tags", Json),
                ("tenant", Text),
                ("created_at", Integer),
                ("created_by", Text),
                ("marks", Json),
                ("locators", Json),
                ("attributes", Json),
                ("value", Id),
                ("proof", Bytes),
                ("hint", Text),
                ("sealed_secret", Id),
                ("permissions", Json),
                ("addresses", Json),
                ("uses_max", Integer),
            ],
        },
        Table {
            name: "locator",
            key: 2,
            columns: &[
                ("space", Text),
                ("key", Key),
                ("holder_kind", Text),
                ("holder", Id),
            ],
        },
        Table {
            name: "mark",
            key: 4,
            columns: &[
                ("space", Text),
                ("key", Key),
                ("holder", Id),
                ("holder_kind", Text),
            ],
        },
        Table {
            name: "event",
            key: 1,
            columns: &[
                ("id", Id),
                ("at", Integer),
                ("actor_kind", Text),
                ("actor_id", Text),
                ("actor_name", Text),
                ("verb", Text),
                ("outcome", Text),
                ("reason", Text),
                ("request", Text),
                ("count", Integer),
                ("digest", Bytes),
            ],
        },
        Table {
            name: "change",
            key: 2,
            columns: &[
                ("event", Id),
                ("position", Integer),
                ("subject", Text),
                ("id", Id),
                ("version", Integer),
                ("before", Json),
                ("after", Json),
            ],
        },
        Table {
            name: "usage",
            key: 1,
            columns: &[("token", Id), ("uses", Integer), ("last_used_at", Integer)],
        },
    ]
};

/// The content of one column of one row.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cell {
    Nothing,
    Id(Uuid),
    Integer(i64),
    Flag(bool),
    Text(String),
    Bytes(Vec<u8>),
}

impl fmt::Debug for Cell {
    /// What it is, not what it says: it may be a person's tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Id(id) => write!(f, "Id({id})"),
            Self::Integer(_) => f.write_str("Integer"),
            Self::Flag(_) => f.write_str("Flag"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
        }
    }
}

impl Cell {
    /// Bytes that it occupies, roughly.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 16,
        }
    }
}

/// A row of a table: a cell for each of its columns, in their order.
pub(crate) type Row = Vec<Cell>;

/// Rows of one page at the most.
pub(crate) const PAGE_ROWS: u32 = 1_000;

/// Bytes of one page, after which it takes no further row. One row may be larger: a value of ten megabytes is.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// How many rows there are and what is in them.
///
/// The digest is the sum of the rows' digests, so it does not depend on an order, which backends need not share. It finds
/// what was lost, doubled or altered on the way; it is no protection against somebody who may write to both stores.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    digest: [u64; 4],
}

impl Tally {
    pub(crate) fn add(&mut self, row: &[Cell]) {
        let mut hash = Sha256::new();
        for cell in row {
            let (kind, content): (u8, &[u8]) = match cell {
                Cell::Nothing => (0, &[]),
                Cell::Id(id) => (1, id.as_bytes()),
                Cell::Integer(number) => (2, &number.to_be_bytes()),
                Cell::Flag(flag) => (3, &[u8::from(*flag)]),
                Cell::Text(text) => (4, text.as_bytes()),
                Cell::Bytes(bytes) => (5, bytes),
            };
            hash.update([kind]);
            hash.update((content.len() as u64).to_be_bytes());
            hash.update(content);
        }
        self.rows += 1;
        let digest = hash.finalize();
        for (sum, part) in self.digest.iter_mut().zip(digest.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_be_bytes(*part));
        }
    }
}

/// What tells one state of a realm from a later one without reading it all: every change leaves an event, every use an
/// instant.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Latest {
    pub(crate) event: Option<Uuid>,
    pub(crate) used_at: Option<i64>,
}

/// A store as a heap of rows. While one of these is open nothing is decided and nothing is in force: the store is out of
/// service. The methods from [`Archive::begin`] on are for a destination alone.
#[async_trait]
pub(crate) trait Archive: Send + Sync {
    /// Where it is, for messages; without a password.
    fn place(&self) -> &str;

    /// The same for the same store, another for another one.
    fn identity(&self) -> &str;

    /// Whether somebody is at work with it. What is locked is not even opened, so this is for stores that many may open.
    async fn is_in_use(&self) -> Result<bool, StoreError>;

    /// The smallest realm with a row in a table that is not smaller than this one.
    async fn next_realm(
        &self,
        table: &'static Table,
        from: Uuid,
    ) -> Result<Option<Uuid>, StoreError>;

    /// Rows of a realm in a table.
    async fn count(&self, table: &'static Table, realm: RealmId) -> Result<u64, StoreError>;

    /// The latest event and use of a realm.
    async fn latest(&self, realm: RealmId) -> Result<Latest, StoreError>;

    /// The rows after a key, in the backend's order of keys; none at the end.
    async fn page(
        &self,
        table: &'static Table,
        realm: RealmId,
        after: Option<&[Cell]>,
    ) -> Result<Vec<Row>, StoreError>;

    /// Whether the mark of an unfinished copy is there.
    async fn is_begun(&self) -> Result<bool, StoreError>;

    /// Makes the mark of an unfinished copy, if it is not there: from now on nobody opens this as a store.
    async fn begin(&self) -> Result<(), StoreError>;

    /// What was noted under a name.
    async fn note(&self, realm: RealmId, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes rows that are not there yet, and the note under the table's name, in one transaction. Rows that are there are
    /// left as they are.
    async fn write(
        &self,
        table: &'static Table,
        realm: RealmId,
        rows: Vec<Row>,
        note: Vec<u8>,
    ) -> Result<(), StoreError>;

    /// Notes something.
    async fn set_note(&self, realm: RealmId, name: &str, note: Vec<u8>) -> Result<(), StoreError>;

    /// Takes the mark away, with all notes: from now on this is a store.
    async fn finish(&self) -> Result<(), StoreError>;

    /// Lets go of it.
    async fn close(&self);
}

/// What an end of a copy is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Nothing is changed in it, not even its schema.
    Source,
    /// It is made, and brought up to this program's schema.
    Destination,
}

/// Why an end of a copy cannot be opened.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// As for every store.
    Store(crate::OpenError),
    /// The source is not there, or nothing is in it.
    Nothing { place: String },
    /// The source's schema is an earlier one.
    Old { place: String },
}

impl From<crate::OpenError> for Unopened {
    fn from(error: crate::OpenError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_depends_on_every_cell_and_on_no_order() {
        let tally = |rows: &[&[Cell]]| {
            let mut tally = Tally::default();
            for row in rows {
                tally.add(row);
            }
            tally
        };
        let one = [Cell::Text("a".to_owned()), Cell::Nothing];
        let other = [Cell::Text("a\0".to_owned()), Cell::Integer(0)];
        assert_eq!(tally(&[&one, &other]), tally(&[&other, &one]));
        let alike: [&[Cell]; 6] = [
            &one,
            &[Cell::Nothing, Cell::Text("a".to_owned())],
            &[Cell::Bytes(b"a".to_vec()), Cell::Nothing],
            &[Cell::Text("a".to_owned())],
            &[Cell::Text("a".to_owned()), Cell::Text(String::new())],
            &[Cell::Text("a".to_owned()), Cell::Flag(false)],
        ];
        for (number, row) in alike.iter().enumerate() {
            for before in &alike[..number] {
                assert_ne!(tally(&[row]), tally(&[before]));
            }
        }
        assert_ne!(tally(&[&one]), tally(&[&one, &one]));
    }

    #[test]
    fn a_cell_shows_nothing_of_its_content() {
        let cells = [
            Cell::Text("hunter2".to_owned()),
            Cell::Bytes(b"hunter2".to_vec()),
        ];
        assert!(!format!("{cells:?}").contains("hunter2"));
    }
}
