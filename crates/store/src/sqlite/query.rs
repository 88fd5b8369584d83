//! From a [`Query`] to its [`Rows`].
//!
//! The one thing to know: it runs inside a transaction that the caller has begun, the writer's or a reader's, so that all
//! it finds is one snapshot. It stops as soon as there is one token too many.

use std::collections::{BTreeMap, BTreeSet};

use engine::limits;
use engine::locator::{Holder, Key, Place, Space};
use engine::record::RecordId;
use engine::store::{Lookup, Query, Rows, StoreError};
use engine::token::{Body, TokenId};
use engine::value::ValueId;
use rusqlite::Connection;

use super::{locators, records, tokens, values};

/// Values or records of one query. The contract counts tokens only; this keeps a mark on millions of records from
/// filling the memory.
const OTHERS_MAX: usize = limits::TOKENS_PER_CALL_MAX;

/// Reads what `query` asks for.
pub(super) fn evaluate(connection: &Connection, query: &Query) -> Result<Rows, StoreError> {
    let mut gathering = Gathering {
        connection,
        query,
        rows: Rows::default(),
        missing_values: BTreeSet::new(),
        heights: BTreeMap::new(),
    };
    for lookup in &query.lookups {
        gathering.look_up(lookup)?;
    }
    Ok(gathering.rows)
}

struct Gathering<'a> {
    connection: &'a Connection,
    query: &'a Query,
    rows: Rows,
    /// So that many tokens of a missing value ask for it once.
    missing_values: BTreeSet<ValueId>,
    /// From which records upward how many have been read already.
    heights: BTreeMap<RecordId, usize>,
}

impl Gathering<'_> {
    fn look_up(&mut self, lookup: &Lookup) -> Result<(), StoreError> {
        match lookup {
            Lookup::Token(id) => self.token(*id),
            Lookup::Value(id) => self.value(*id),
            Lookup::Record(id) => self.record(*id),
            Lookup::Located(place) => {
                let found = locators::find(self.connection, self.query.realm, place)?;
                if let Some(holder) = found {
                    self.rows.located.insert(place.clone(), holder);
                    self.holder(holder)?;
                }
                Ok(())
            }
            Lookup::Marked(place) => self.marked(place),
        }
    }

    fn marked(&mut self, place: &Place) -> Result<(), StoreError> {
        let (connection, realm) = (self.connection, self.query.realm);
        locators::marked(connection, realm, place, |holder| self.holder(holder))
    }

    fn holder(&mut self, holder: Holder) -> Result<(), StoreError> {
        match holder {
            Holder::Token(id) => self.token(id),
            Holder::Value(id) => self.value(id),
            Holder::Record(id) => self.record(id),
        }
    }

    /// A token with its value, its container and what is above it.
    fn token(&mut self, id: TokenId) -> Result<(), StoreError> {
        if self.rows.tokens.contains_key(&id) {
            return Ok(());
        }
        let Some(token) = tokens::find(self.connection, self.query.realm, id)? else {
            return Ok(());
        };
        if self.rows.tokens.len() >= self.query.limit {
            return Err(StoreError::TooMany {
                max: self.query.limit,
            });
        }
        let (container, parent) = (token.container, token.parent);
        let value = match &token.body {
            Body::Data(data) => Some(data.value),
            Body::Access(access) => access.sealed_secret.filter(|_| self.query.sealed),
        };
        self.rows.tokens.insert(id, token);
        self.upward(container, limits::ANCESTORS_MAX + 1)?;
        self.upward(parent, limits::ANCESTORS_MAX)?;
        value.map_or(Ok(()), |value| self.value(value))
    }

    /// A value with its container, the object it refers to and, if asked for, its tokens.
    fn value(&mut self, id: ValueId) -> Result<(), StoreError> {
        if self.rows.values.contains_key(&id) || self.missing_values.contains(&id) {
            return Ok(());
        }
        let (realm, sealed) = (self.query.realm, self.query.sealed);
        let Some(value) = values::find(self.connection, realm, id, sealed)? else {
            self.missing_values.insert(id);
            return Ok(());
        };
        let (container, refers_to) = (value.container, value.refers_to);
        self.rows.values.insert(id, value);
        within(self.rows.values.len())?;
        self.upward(container, limits::ANCESTORS_MAX + 1)?;
        self.upward(refers_to, limits::ANCESTORS_MAX + 1)?;
        if self.query.entries {
            // The value is among the rows by now, so its tokens do not come back here.
            self.marked(&Place::new(Space::ENTRY, Key::of_id(id.0)))?;
        }
        Ok(())
    }

    fn record(&mut self, id: RecordId) -> Result<(), StoreError> {
        self.upward(Some(id), limits::ANCESTORS_MAX + 1)
    }

    /// The chain that begins with `start`, `height` records at the most.
    fn upward(&mut self, start: Option<RecordId>, height: usize) -> Result<(), StoreError> {
        let (mut next, mut height) = (start, height);
        while let Some(id) = next.filter(|_| height > 0) {
            // An earlier walk that came by lower down may have ended before this one will.
            if self.heights.get(&id).is_some_and(|done| *done >= height) {
                return Ok(());
            }
            self.heights.insert(id, height);
            if let Some(record) = self.rows.records.get(&id) {
                next = record.parent;
            } else {
                let found = records::find(self.connection, self.query.realm, id)?;
                next = found.as_ref().and_then(|record| record.parent);
                if let Some(record) = found {
                    self.rows.records.insert(id, record);
                    within(self.rows.records.len())?;
                }
            }
            height -= 1;
        }
        Ok(())
    }
}

fn within(count: usize) -> Result<(), StoreError> {
    if count > OTHERS_MAX {
        return Err(StoreError::TooMany { max: OTHERS_MAX });
    }
    Ok(())
}
