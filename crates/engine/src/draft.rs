//! The draft: what a verb wants the rows to be, collected while it decides, turned into one batch at the end.
//!
//! The one thing to know: a draft is laid over the rows of the query and always answers with the newest state, so that
//! one call may touch a row several times and still writes it once. Versions, marks, changes and the choice between
//! insert, update and nothing at all are made in one place, [`Draft::finish`].

mod description;
mod finish;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use self::places::value_places;
pub(crate) use self::places::{
    identity_place, identity_place_in, identity_places, unique_tag_place,
};
use crate::clock::Timestamp;
use crate::locator::{Holder, Place};
use crate::record::{Record, RecordId};
use crate::store::Rows;
use crate::token::{Body, Standing, State, Token, TokenId, ancestors};
use crate::value::{Value, ValueId};

pub(crate) struct Draft<'a> {
    rows: &'a Rows,
    now: Timestamp,
    tokens: BTreeMap<TokenId, Option<Token>>,
    /// The tokens of each value by what they hang from, drafted ones included; a removed one may still be named.
    entries: BTreeMap<(ValueId, Option<RecordId>), Vec<TokenId>>,
    values: BTreeMap<ValueId, Option<Value>>,
    records: BTreeMap<RecordId, Option<Record>>,
    claims: BTreeMap<Place, Holder>,
    /// Pairs, because of two holders that go in one call only one can be found at a place.
    releases: BTreeSet<(Place, Holder)>,
    forgotten: Vec<(ValueId, u64)>,
    /// Rows that count as changed although they read the same: what they stand for is new.
    touched: BTreeSet<Holder>,
}

impl<'a> Draft<'a> {
    pub(crate) fn over(rows: &'a Rows, now: Timestamp) -> Self {
        let mut entries: BTreeMap<_, Vec<TokenId>> = BTreeMap::new();
        for token in rows.tokens.values() {
            if let Some(value) = token.value() {
                let entries = entries.entry((value, token.parent)).or_default();
                entries.push(token.id);
            }
        }
        Self {
            rows,
            now,
            entries,
            tokens: BTreeMap::new(),
            values: BTreeMap::new(),
            records: BTreeMap::new(),
            claims: BTreeMap::new(),
            releases: BTreeSet::new(),
            forgotten: Vec::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(crate) fn token(&self, id: TokenId) -> Option<&Token> {
        match self.tokens.get(&id) {
            Some(token) => token.as_ref(),
            None => self.rows.tokens.get(&id),
        }
    }

    /// All tokens in sight, drafted ones included.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Token> {
        let untouched = self
            .rows
            .tokens
            .iter()
            .filter(|(id, _)| !self.tokens.contains_key(id))
            .map(|(_, token)| token);
        untouched.chain(self.tokens.values().flatten())
    }

    /// The tokens of one value.
    pub(crate) fn entries_of(&self, value: ValueId) -> impl Iterator<Item = &Token> {
        let last = RecordId(uuid::Uuid::max());
        let ids = self.entries.range((value, None)..=(value, Some(last)));
        ids.flat_map(|(_, ids)| ids)
            .filter_map(|id| self.token(*id))
    }

    /// Those of them that hang from one record, in order of creation.
    pub(crate) fn entries_below(
        &self,
        value: ValueId,
        parent: RecordId,
    ) -> impl Iterator<Item = &Token> {
        let ids = self.entries.get(&(value, Some(parent)));
        ids.into_iter().flatten().filter_map(|id| self.token(*id))
    }

    pub(crate) fn put_token(&mut self, token: Token) {
        if let Some(value) = token.value()
            && self.token(token.id).is_none()
        {
            let entries = self.entries.entry((value, token.parent)).or_default();
            entries.push(token.id);
        }
        self.tokens.insert(token.id, Some(token));
    }

    /// Makes the next version of a token whose row stays as it is, because what it stands for changes.
    pub(crate) fn touch_token(&mut self, id: TokenId) {
        if let Some(token) = self.token(id).cloned() {
            self.tokens.insert(id, Some(token));
            self.touched.insert(Holder::Token(id));
        }
    }

    pub(crate) fn remove_token(&mut self, id: TokenId) {
        if let Some(token) = self.token(id).cloned() {
            if let Body::Access(access) = &token.body {
                if let Some(proof) = access.proof {
                    let place = crate::secret::Proof(proof).place();
                    self.releases.insert((place, Holder::Token(id)));
                }
                if let Some(value) = access.sealed_secret {
                    self.remove_value(value);
                }
            }
            for place in token.locators {
                self.releases.insert((place, Holder::Token(id)));
            }
            self.tokens.insert(id, None);
        }
    }

    pub(crate) fn value(&self, id: ValueId) -> Option<&Value> {
        match self.values.get(&id) {
            Some(value) => value.as_ref(),
            None => self.rows.values.get(&id),
        }
    }

    /// A new value, or the next version of one; the caller has set `version` and `sealed`.
    pub(crate) fn put_value(&mut self, value: Value) {
        self.values.insert(value.id, Some(value));
    }

    pub(crate) fn remove_value(&mut self, id: ValueId) {
        if let Some(value) = self.value(id).cloned() {
            for place in value_places(&value) {
                self.releases.insert((place, Holder::Value(id)));
            }
            self.values.insert(id, None);
        }
    }

    pub(crate) fn forget_value(&mut self, id: ValueId, through: u64) {
        self.forgotten.push((id, through));
    }

    pub(crate) fn record(&self, id: RecordId) -> Option<&Record> {
        match self.records.get(&id) {
            Some(record) => record.as_ref(),
            None => self.rows.records.get(&id),
        }
    }

    pub(crate) fn put_record(&mut self, record: Record) {
        self.records.insert(record.id, Some(record));
    }

    /// Makes the next version of a record that is put, even if its row stays as it is: its content changes.
    pub(crate) fn touch_record(&mut self, id: RecordId) {
        self.touched.insert(Holder::Record(id));
    }

    pub(crate) fn remove_record(&mut self, id: RecordId) {
        if let Some(record) = self.record(id).cloned() {
            for place in record.locators {
                self.releases.insert((place, Holder::Record(id)));
            }
            self.records.insert(id, None);
        }
    }

    /// Who is found at a place, dead or alive.
    pub(crate) fn holder(&self, place: &Place) -> Option<Holder> {
        self.claims
            .get(place)
            .or_else(|| self.rows.located.get(place))
            .copied()
    }

    /// Who is found at a place and counts: a holder that is gone, or below a deleted record, leaves its place free.
    pub(crate) fn living_holder(&self, place: &Place) -> Option<Holder> {
        self.holder(place).filter(|holder| match *holder {
            Holder::Token(id) => self
                .token(id)
                .is_some_and(|token| self.standing(token) != Standing::Orphaned),
            // A value lives by its tokens: one whose owners are all deleted stands for nobody.
            Holder::Value(id) => {
                self.value(id)
                    .is_some_and(|value| self.is_rooted(value.container))
                    && self
                        .entries_of(id)
                        .any(|token| self.standing(token) != Standing::Orphaned)
            }
            Holder::Record(id) => self.is_rooted(Some(id)),
        })
    }

    /// Whether a record and all above it are there and not deleted.
    pub(crate) fn is_rooted(&self, record: Option<RecordId>) -> bool {
        let mut next = record;
        for _ in 0..=crate::limits::ANCESTORS_MAX {
            let Some(id) = next else { return true };
            match self.record(id) {
                Some(record) if record.state != State::Deleted => next = record.parent,
                _ => return false,
            }
        }
        false
    }

    /// Whether `record` is `above` or hangs from it.
    pub(crate) fn is_below(&self, record: RecordId, above: RecordId) -> bool {
        let mut next = Some(record);
        for _ in 0..=crate::limits::ANCESTORS_MAX {
            match next {
                Some(id) if id == above => return true,
                Some(id) => next = self.record(id).and_then(|record| record.parent),
                None => return false,
            }
        }
        false
    }

    pub(crate) fn standing(&self, token: &Token) -> Standing {
        if ancestors(token.parent, &self.rows.records).is_none() && !self.records.is_empty() {
            // A record made by this very call is not among the rows.
            return if self.is_rooted(token.parent) {
                Standing::Live
            } else {
                Standing::Orphaned
            };
        }
        Standing::of(token, &self.rows.records, self.now)
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Nothing happens if somebody else holds the place by then.
    pub(crate) fn release(&mut self, place: Place, holder: Holder) {
        self.releases.insert((place, holder));
    }

    pub(crate) fn claim(&mut self, place: Place, holder: Holder) {
        self.claims.insert(place, holder);
    }
}
