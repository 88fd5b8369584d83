//! From a [`Query`] to its [`Rows`]: which rows belong to an answer, whatever they lie in.
//!
//! The one thing to know: it asks a [`Shelf`] row by row. Over an embedded file each question is a statement; over a
//! network the shelf is what was fetched so far, a question about anything else is noted, and the walk is repeated when
//! that has come. So a walk may see less than there is, but it must end the same way once nothing is missing. It stops as
//! soon as there is one token too many.

use std::collections::{BTreeMap, BTreeSet};

use engine::limits;
use engine::locator::{Holder, Key, Place, Space};
use engine::record::{Record, RecordId};
use engine::store::{Lookup, Query, Rows, StoreError};
use engine::token::{Body, Token, TokenId};
use engine::value::{Value, ValueId};

/// Values or records of one query. The contract counts tokens only; this keeps a mark on millions of records from
/// filling the memory.
const OTHERS_MAX: usize = limits::TOKENS_PER_CALL_MAX;

/// Where the rows of one realm are found, all of one snapshot.
pub(crate) trait Shelf {
    fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError>;
    /// The present version, with its content only if `sealed` is set.
    fn value(&self, id: ValueId, sealed: bool) -> Result<Option<Value>, StoreError>;
    fn record(&self, id: RecordId) -> Result<Option<Record>, StoreError>;
    /// Who is found at a place.
    fn located(&self, place: &Place) -> Result<Option<Holder>, StoreError>;
    /// Gives each holder of a mark to `each`, which may end the walk with an error.
    fn marked(
        &self,
        place: &Place,
        each: impl FnMut(Holder) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
}

/// Reads what `query` asks for.
pub(crate) fn gather(shelf: &impl Shelf, query: &Query) -> Result<Rows, StoreError> {
    let mut gathering = Gathering {
        shelf,
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

struct Gathering<'a, S> {
    shelf: &'a S,
    query: &'a Query,
    rows: Rows,
    /// So that many tokens of a missing value ask for it once.
    missing_values: BTreeSet<ValueId>,
    /// From which records upward how many have been read already.
    heights: BTreeMap<RecordId, usize>,
}

impl<S: Shelf> Gathering<'_, S> {
    fn look_up(&mut self, lookup: &Lookup) -> Result<(), StoreError> {
        match lookup {
            Lookup::Token(id) => self.token(*id),
            Lookup::Value(id) => self.value(*id),
            Lookup::Record(id) => self.record(*id),
            Lookup::Located(place) => {
                let found = self.shelf.located(place)?;
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
        let tables = self.shelf;
        tables.marked(place, |holder| self.holder(holder))
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
        let Some(token) = self.shelf.token(id)? else {
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
        let Some(value) = self.shelf.value(id, self.query.sealed)? else {
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
                let found = self.shelf.record(id)?;
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
