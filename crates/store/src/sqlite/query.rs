//! From a [`Query`] to its [`Rows`], over a connection.
//!
//! The one thing to know: it runs inside a transaction that the caller has begun, the writer's or a reader's, so that all
//! it finds is one snapshot. Which rows belong to an answer is decided by [`gather`], the same for every backend.

use engine::locator::{Holder, Place};
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use engine::store::{Query, Rows, StoreError};
use engine::token::{Token, TokenId};
use engine::value::{Value, ValueId};
use rusqlite::Connection;

use super::{locators, records, tokens, values};
use crate::gather::{Shelf, gather};

/// Reads what `query` asks for.
pub(super) fn evaluate(connection: &Connection, query: &Query) -> Result<Rows, StoreError> {
    let realm = query.realm;
    gather(&Tables { connection, realm }, query)
}

struct Tables<'a> {
    connection: &'a Connection,
    realm: RealmId,
}

impl Shelf for Tables<'_> {
    fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        tokens::find(self.connection, self.realm, id)
    }

    fn value(&self, id: ValueId, sealed: bool) -> Result<Option<Value>, StoreError> {
        values::find(self.connection, self.realm, id, sealed)
    }

    fn record(&self, id: RecordId) -> Result<Option<Record>, StoreError> {
        records::find(self.connection, self.realm, id)
    }

    fn located(&self, place: &Place) -> Result<Option<Holder>, StoreError> {
        locators::find(self.connection, self.realm, place)
    }

    fn marked(
        &self,
        place: &Place,
        each: impl FnMut(Holder) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        locators::marked(self.connection, self.realm, place, each)
    }
}
