//! The draft: what a verb wants the rows to be, collected while it decides, turned into one batch at the end.
//!
//! The one thing to know: a draft is laid over the rows of the query and always answers with the newest state, so that
//! one call may touch a row several times and still writes it once. Versions, marks, changes and the choice between
//! insert, update and nothing at all are made in one place, [`Draft::finish`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::batch::{Batch, LocatorWrite, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use crate::clock::Timestamp;
use crate::event::{Change, Event, Subject};
use crate::locator::{Holder, Key, Place, Space};
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

    /// The batch, or `None` if nothing differs from the rows: then there is no event either.
    pub(crate) fn finish(mut self, mut event: Event) -> Option<Batch> {
        let mut batch = Batch {
            tokens: Vec::new(),
            values: Vec::new(),
            records: Vec::new(),
            locators: Vec::new(),
            marks: Vec::new(),
            event: event.clone(),
        };
        self.give_up_unique_tags();
        self.finish_tokens(&mut batch, &mut event);
        self.finish_values(&mut batch, &mut event);
        self.finish_records(&mut batch, &mut event);
        for (place, holder) in &self.claims {
            let from = self.rows.located.get(place).copied();
            if from != Some(*holder) {
                batch.locators.push(LocatorWrite::Claim {
                    place: place.clone(),
                    holder: *holder,
                    from,
                });
            }
        }
        for (place, holder) in self.releases {
            if !self.claims.contains_key(&place) {
                batch.locators.push(LocatorWrite::Release { place, holder });
            }
        }
        let nothing =
            event.changes.is_empty() && batch.locators.is_empty() && batch.marks.is_empty();
        batch.event = event;
        (!nothing).then_some(batch)
    }

    /// The place of a tag goes with the tag, whether it was asked for as unique or not: that is not remembered.
    fn give_up_unique_tags(&mut self) {
        for (id, after) in &self.tokens {
            let Some(before) = self.rows.tokens.get(id) else {
                continue;
            };
            let kept = after.as_ref().map_or(&[][..], |token| &token.tags);
            for tag in before.tags.iter().filter(|tag| !kept.contains(tag)) {
                let place = unique_tag_place(before.container, tag);
                self.releases.insert((place, before.outward_holder()));
            }
        }
    }

    fn finish_tokens(&self, batch: &mut Batch, event: &mut Event) {
        let actor = &event.actor.id;
        let mut changes = Vec::new();
        for (id, after) in &self.tokens {
            let before = self.rows.tokens.get(id);
            let after = match (before, after) {
                (None, None) => continue,
                (Some(before), Some(after)) => {
                    let unchanged = Token {
                        version: before.version,
                        updated_at: before.updated_at,
                        updated_by: before.updated_by.clone(),
                        ..after.clone()
                    };
                    if &unchanged == before && !self.touched.contains(&Holder::Token(*id)) {
                        continue;
                    }
                    Some(Token {
                        version: before.version + 1,
                        updated_at: self.now,
                        updated_by: actor.clone(),
                        ..after.clone()
                    })
                }
                (_, after) => after.clone(),
            };
            mark_difference(
                &before.map(token_marks).unwrap_or_default(),
                &after.as_ref().map(token_marks).unwrap_or_default(),
                Holder::Token(*id),
                &mut batch.marks,
            );
            changes.push(change(
                Subject::Token,
                id.0,
                before.map(|token| (token.version, describe_token(token))),
                after
                    .as_ref()
                    .map(|token| (token.version, describe_token(token))),
            ));
            batch.tokens.push(match (before, after) {
                (None, Some(token)) => TokenWrite::Insert(token),
                (Some(before), Some(token)) => TokenWrite::Update {
                    token,
                    from: before.version,
                },
                (Some(before), None) => TokenWrite::Delete {
                    id: *id,
                    from: before.version,
                },
                (None, None) => continue,
            });
        }
        event.changes.extend(changes);
    }

    fn finish_values(&self, batch: &mut Batch, event: &mut Event) {
        for (id, after) in &self.values {
            let before = self.rows.values.get(id);
            let describe = |value: &Value| (value.version, describe_value(value));
            if before.is_none() && after.is_none() {
                continue;
            }
            event.changes.push(change(
                Subject::Value,
                id.0,
                before.map(describe),
                after.as_ref().map(describe),
            ));
            batch.values.push(match (before, after.clone()) {
                (None, Some(value)) => ValueWrite::Insert(value),
                (Some(before), Some(value)) => ValueWrite::Supersede {
                    value,
                    from: before.version,
                },
                (Some(before), None) => ValueWrite::Delete {
                    id: *id,
                    from: before.version,
                },
                (None, None) => continue,
            });
        }
        for (id, through) in &self.forgotten {
            event.changes.push(Change {
                subject: Subject::Value,
                id: id.0,
                version: *through,
                before: json!({ "kept": true }),
                after: json!({ "kept": false }),
            });
            batch.values.push(ValueWrite::Forget {
                id: *id,
                through: *through,
            });
        }
    }

    fn finish_records(&self, batch: &mut Batch, event: &mut Event) {
        let actor = event.actor.id.clone();
        for (id, after) in &self.records {
            let before = self.rows.records.get(id);
            let after = match (before, after) {
                (Some(before), Some(after)) => {
                    let unchanged = Record {
                        version: before.version,
                        updated_at: before.updated_at,
                        updated_by: before.updated_by.clone(),
                        ..after.clone()
                    };
                    if &unchanged == before && !self.touched.contains(&Holder::Record(*id)) {
                        continue;
                    }
                    Some(Record {
                        version: before.version + 1,
                        updated_at: self.now,
                        updated_by: actor.clone(),
                        ..after.clone()
                    })
                }
                (_, after) => after.clone(),
            };
            mark_difference(
                &before.map(record_marks).unwrap_or_default(),
                &after.as_ref().map(record_marks).unwrap_or_default(),
                Holder::Record(*id),
                &mut batch.marks,
            );
            let describe = |record: &Record| (record.version, describe_record(record));
            if before.is_some() || after.is_some() {
                event.changes.push(change(
                    Subject::Record,
                    id.0,
                    before.map(describe),
                    after.as_ref().map(describe),
                ));
            }
            batch.records.push(match (before, after) {
                (None, Some(record)) => RecordWrite::Insert(record),
                (Some(before), Some(record)) => RecordWrite::Update {
                    record,
                    from: before.version,
                },
                (Some(before), None) => RecordWrite::Delete {
                    id: *id,
                    from: before.version,
                },
                (None, None) => continue,
            });
        }
    }
}

/// The marks of a token: those that follow from its fields, and those of its dialect.
fn token_marks(token: &Token) -> BTreeSet<Place> {
    let mut marks: BTreeSet<Place> = token
        .tags
        .iter()
        .map(|tag| Place::new(Space::TAG, Key::in_container(token.container, tag)))
        .collect();
    if let Some(container) = token.container {
        marks.insert(Place::new(Space::CONTAINER, Key::of_id(container.0)));
    }
    // Below its container only, a token is found by the mark above.
    if let Some(parent) = token.parent
        && token.parent != token.container
    {
        marks.insert(Place::new(Space::CHILD, Key::of_id(parent.0)));
    }
    if let Some(value) = token.value() {
        marks.insert(Place::new(Space::ENTRY, Key::of_id(value.0)));
    }
    if let Some(at) = token.expires_at {
        marks.insert(Place::new(Space::EXPIRY_DAY, Key::of_day(at.day())));
    }
    marks.extend(token.marks.iter().cloned());
    marks
}

fn record_marks(record: &Record) -> BTreeSet<Place> {
    let parent = record
        .parent
        .map(|parent| Place::new(Space::CHILD, Key::of_id(parent.0)));
    record.marks.iter().cloned().chain(parent).collect()
}

/// Where claims of a tag that is to be unique meet.
pub(crate) fn unique_tag_place(container: Option<RecordId>, tag: &str) -> Place {
    Place::new(Space::UNIQUE_TAG, Key::in_container(container, tag))
}

/// Where values of this identity are found: by all, and within one container if the scope is global.
pub(crate) fn identity_places(value: &Value) -> Vec<Place> {
    let Some(digest) = value.identity else {
        return Vec::new();
    };
    let global = value.scope.as_ref().is_some_and(|scope| scope.global);
    let here = value.container.filter(|_| global);
    let here = here.map(|container| identity_place_in(&digest, container));
    std::iter::once(identity_place(&digest))
        .chain(here)
        .collect()
}

pub(crate) fn identity_place(digest: &[u8; 32]) -> Place {
    Place::new(Space::IDENTITY, Key(digest.to_vec()))
}

/// Where a container finds its own value of a global scope's content that came into being in another one.
pub(crate) fn identity_place_in(digest: &[u8; 32], container: RecordId) -> Place {
    let key = Key::join(&[digest, container.0.as_bytes()]);
    Place::new(Space::IDENTITY, key)
}

/// Where a value may be found.
fn value_places(value: &Value) -> Vec<Place> {
    let external = value
        .external_id
        .as_ref()
        .map(|id| Place::new(Space::EXTERNAL, Key::in_container(value.container, id)));
    external.into_iter().chain(identity_places(value)).collect()
}

fn mark_difference(
    before: &BTreeSet<Place>,
    after: &BTreeSet<Place>,
    holder: Holder,
    writes: &mut Vec<MarkWrite>,
) {
    let new = after.difference(before).cloned();
    let gone = before.difference(after).cloned();
    writes.extend(new.map(|place| MarkWrite::Set(place, holder)));
    writes.extend(gone.map(|place| MarkWrite::Unset(place, holder)));
}

/// Keeps of two descriptions only what differs.
fn change(
    subject: Subject,
    id: uuid::Uuid,
    before: Option<(u64, serde_json::Value)>,
    after: Option<(u64, serde_json::Value)>,
) -> Change {
    let version = after
        .as_ref()
        .or(before.as_ref())
        .map_or(0, |(version, _)| *version);
    let (mut before, mut after) = (
        before.map_or(serde_json::Value::Null, |(_, json)| json),
        after.map_or(serde_json::Value::Null, |(_, json)| json),
    );
    if let (Some(old), Some(new)) = (before.as_object_mut(), after.as_object_mut()) {
        let same: Vec<String> = old
            .iter()
            .filter(|(key, value)| new.get(*key) == Some(value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in same {
            old.shift_remove(&key);
            new.shift_remove(&key);
        }
    }
    Change {
        subject,
        id,
        version,
        before,
        after,
    }
}

/// A token in an event: without proof, sealed secret or value.
fn describe_token(token: &Token) -> serde_json::Value {
    let mut json = json!({
        "class": token.class,
        "container": token.container,
        "parent": token.parent,
        "name": token.name,
        "tags": token.tags,
        "tenant": token.tenant,
        "state": token.state,
        "expires_at": token.expires_at.map(|at| at.to_string()),
        "attributes": token.attributes,
    });
    match &token.body {
        Body::Access(access) => {
            json["uses_max"] = json!(access.uses_max);
            json["permissions"] = json!(access.permissions);
            json["addresses"] = json!(access.addresses);
        }
        Body::Data(data) => json["value"] = json!(data.value),
    }
    json
}

/// A value in an event: which one and of what kind, never its content or a digest of it.
fn describe_value(value: &Value) -> serde_json::Value {
    json!({
        "version": value.version,
        "class": value.class,
        "container": value.container,
        "refers_to": value.refers_to,
        "body": value.body,
    })
}

fn describe_record(record: &Record) -> serde_json::Value {
    json!({
        "kind": record.kind,
        "parent": record.parent,
        "state": record.state,
        "expires_at": record.expires_at.map(|at| at.to_string()),
        "addresses": record.addresses,
        "body": record.body,
    })
}
