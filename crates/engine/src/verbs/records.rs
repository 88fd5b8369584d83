//! Records: make, change, delete, find – the like of the token verbs for everything around tokens.
//!
//! The one thing to know: deleting a record is one row, in force at once for everything below it; its content is destroyed
//! with it, what hangs from it is purged later, and the places it held count as free.

use ipnet::IpNet;
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::batch::RecordWrite;
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::draft::Draft;
use crate::engine::{Engine, EventSeed};
use crate::error::Error;
use crate::limits;
use crate::locator::{Holder, Place};
use crate::permission::Action;
use crate::record::{Record, RecordId};
use crate::seal::{Binding, seal};
use crate::store::{Lookup, Query, Rows};
use crate::token::State;
use crate::value::Value;
use crate::verbs::issue::{check_lists, state_at, taken};
use crate::verbs::update::{Field, Guard, check_content};

/// The class of a value that is a record's content.
pub const CONTENT_CLASS: &str = "content";

/// A record to be made.
#[derive(Clone)]
pub struct NewRecord {
    /// Its id; made by [`Engine::new_record_id`], so that tokens of the same call can name it.
    pub id: RecordId,
    /// What it is, in its dialect's words.
    pub kind: &'static str,
    /// The record above it.
    pub parent: Option<RecordId>,
    /// What it is found by; each must be free.
    pub locators: Vec<Place>,
    /// What lists it.
    pub marks: Vec<Place>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// From where tokens below it may be used.
    pub addresses: Vec<IpNet>,
    /// Read and written by its dialect alone; nothing confidential.
    pub body: Json,
    /// Its confidential content.
    pub content: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for NewRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewRecord")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl NewRecord {
    /// A record of a kind with a body, and nothing else.
    pub fn new(id: RecordId, kind: &'static str, body: Json) -> Self {
        Self {
            id,
            kind,
            parent: None,
            locators: Vec::new(),
            marks: Vec::new(),
            expires_at: None,
            addresses: Vec::new(),
            body,
            content: None,
        }
    }

    pub(crate) fn lookups(&self) -> Vec<Lookup> {
        let places = self.locators.iter().cloned().map(Lookup::Located);
        places.chain(self.parent.map(Lookup::Record)).collect()
    }
}

/// What becomes of a record.
#[derive(Clone, Default)]
pub struct RecordEdit {
    /// A new body.
    pub body: Option<Json>,
    /// A new end.
    pub expires_at: Field<Timestamp>,
    /// Other addresses.
    pub addresses: Field<Vec<IpNet>>,
    /// A new content, in place of all of the former.
    pub content: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for RecordEdit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordEdit")
    }
}

impl Engine {
    /// An id for a record to be made.
    pub fn new_record_id(&self) -> RecordId {
        RecordId(self.0.ids.next(self.now(), &*self.0.entropy))
    }

    /// Makes a record.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound` (parent), `Conflict(Taken)` with the space of the locator that somebody living holds.
    pub async fn create_record(&self, caller: &Caller, new: NewRecord) -> Result<Record, Error> {
        caller.require_any(Action::WriteRecord, new.parent)?;
        let query = records_query(caller, new.lookups());
        let seed = self.event(caller, "record.created");
        let engine = self.clone();
        self.transact(query, move |rows| {
            let now = engine.now();
            let mut draft = Draft::over(rows, now);
            let record = engine.draft_record(&mut draft, &seed, &new)?;
            Ok((draft.finish(seed.at(now)), record))
        })
        .await
    }

    pub(crate) fn draft_record(
        &self,
        draft: &mut Draft<'_>,
        seed: &EventSeed,
        new: &NewRecord,
    ) -> Result<Record, Error> {
        check_lists(&[], &new.addresses)?;
        if !draft.is_rooted(new.parent) {
            return Err(Error::no_record("parent"));
        }
        for place in &new.locators {
            if draft.living_holder(place).is_some() {
                return Err(taken(place));
            }
            draft.claim(place.clone(), Holder::Record(new.id));
        }
        let now = draft.now();
        if let Some(content) = &new.content {
            check_content(content)?;
            let value = self.content_value(seed, new.id, 1, content, now);
            draft.put_value(value);
        }
        let actor = seed.caller.actor.id.clone();
        let record = Record {
            realm: seed.caller.realm,
            id: new.id,
            kind: new.kind.to_owned(),
            version: 1,
            state: state_at(new.expires_at, now),
            expires_at: new.expires_at,
            addresses: new.addresses.clone(),
            parent: new.parent,
            locators: new.locators.clone(),
            marks: new.marks.clone(),
            body: new.body.clone(),
            created_at: now,
            created_by: actor.clone(),
            updated_at: now,
            updated_by: actor,
        };
        draft.put_record(record.clone());
        if !draft.is_rooted(Some(new.id)) {
            let max = limits::ANCESTORS_MAX;
            let message = format!("at most {max} records stand one below the other");
            return Err(Error::invalid("parent", message));
        }
        Ok(record)
    }

    fn content_value(
        &self,
        seed: &EventSeed,
        id: RecordId,
        version: u64,
        content: &[u8],
        now: Timestamp,
    ) -> Value {
        let realm = seed.caller.realm;
        let binding = Binding {
            realm,
            value: id.content(),
            version,
        };
        Value {
            realm,
            id: id.content(),
            version,
            class: CONTENT_CLASS.to_owned(),
            container: None,
            external_id: None,
            scope: None,
            identity: None,
            refers_to: None,
            body: Json::Null,
            sealed: Some(seal(&self.0.keyring, &*self.0.entropy, binding, content)),
            created_at: now,
            superseded_at: None,
        }
    }

    /// Changes a record that is there and not deleted. `edit` sees the record inside the transaction and must be pure.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict(Version)`, and what `edit` says.
    pub async fn update_record(
        &self,
        caller: &Caller,
        id: RecordId,
        guard: Guard<Record>,
        edit: impl Fn(&Record) -> Result<RecordEdit, Error> + Send + 'static,
    ) -> Result<Record, Error> {
        caller.require_any(Action::WriteRecord, None)?;
        let lookups = vec![Lookup::Record(id), Lookup::Value(id.content())];
        let seed = self.event(caller, "record.updated");
        let engine = self.clone();
        self.transact(records_query(caller, lookups), move |rows| {
            let now = engine.now();
            let mut draft = Draft::over(rows, now);
            let record = living(&draft, id)?.clone();
            guard.judge(record.version, &record)?;
            let edit = edit(&record)?;
            if let Some(content) = &edit.content {
                check_content(content)?;
                draft.touch_record(id);
                let former = rows.values.get(&id.content());
                let version = former.map_or(1, |value| value.version + 1);
                draft.put_value(engine.content_value(&seed, id, version, content, now));
            }
            let after = edited(record, edit, now);
            check_lists(&[], &after.addresses)?;
            draft.put_record(after);
            let batch = draft.finish(seed.at(now));
            let written = batch.as_ref().and_then(|batch| {
                batch.records.iter().find_map(|write| match write {
                    RecordWrite::Update { record, .. } if record.id == id => Some(record),
                    _ => None,
                })
            });
            let newest = written.or_else(|| rows.records.get(&id)).cloned();
            Ok((batch, newest.ok_or(Error::Internal)?))
        })
        .await
    }

    /// Deletes a record, and in effect everything below it.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn delete_record(&self, caller: &Caller, id: RecordId) -> Result<Record, Error> {
        self.delete_record_if(caller, id, Guard::Nothing).await
    }

    /// The same under a condition; the record is answered as it was when it went.
    ///
    /// # Errors
    /// As [`Engine::delete_record`], `Conflict(Version)`, and what the guard says.
    pub async fn delete_record_if(
        &self,
        caller: &Caller,
        id: RecordId,
        guard: Guard<Record>,
    ) -> Result<Record, Error> {
        caller.require_any(Action::DeleteRecord, None)?;
        let lookups = vec![Lookup::Record(id), Lookup::Value(id.content())];
        let seed = self.event(caller, "record.deleted");
        let engine = self.clone();
        self.transact(records_query(caller, lookups), move |rows| {
            let now = engine.now();
            let mut draft = Draft::over(rows, now);
            let record = living(&draft, id)?.clone();
            guard.judge(record.version, &record)?;
            draft.put_record(Record {
                state: State::Deleted,
                ..record.clone()
            });
            draft.remove_value(id.content());
            Ok((draft.finish(seed.at(now)), record))
        })
        .await
    }

    /// The living record that is found at a place, with the rows above it.
    pub async fn find_record(
        &self,
        caller: &Caller,
        place: Place,
    ) -> Result<Option<Record>, Error> {
        Ok(self
            .find_records(caller, vec![place])
            .await?
            .pop()
            .flatten())
    }

    /// The same for many places, in their order; `None` where nobody living is found.
    pub async fn find_records(
        &self,
        caller: &Caller,
        places: Vec<Place>,
    ) -> Result<Vec<Option<Record>>, Error> {
        caller.require_any(Action::ReadRecord, None)?;
        let lookups = places.iter().cloned().map(Lookup::Located).collect();
        let rows = self.0.store.fetch(records_query(caller, lookups)).await?;
        let draft = Draft::over(&rows, self.now());
        let found = places.iter().map(|place| match draft.living_holder(place) {
            Some(Holder::Record(id)) => draft.record(id).cloned(),
            _ => None,
        });
        Ok(found.collect())
    }

    /// A living record by its id.
    pub async fn record(&self, caller: &Caller, id: RecordId) -> Result<Option<Record>, Error> {
        caller.require_any(Action::ReadRecord, None)?;
        let query = records_query(caller, vec![Lookup::Record(id)]);
        let rows: Rows = self.0.store.fetch(query).await?;
        let draft = Draft::over(&rows, self.now());
        Ok(living(&draft, id).ok().cloned())
    }

    /// One page of the living records of a kind whose parents live too, in order of creation; the cursor is the last id
    /// looked at.
    pub async fn list_records(
        &self,
        caller: &Caller,
        kind: &str,
        after: Option<RecordId>,
    ) -> Result<(Vec<Record>, Option<RecordId>), Error> {
        caller.require_any(Action::ReadRecord, None)?;
        let store = &self.0.store;
        let page = store
            .records_after(caller.realm, kind, after, limits::PAGE_ROWS)
            .await?;
        let next = (page.len() == limits::PAGE_ROWS)
            .then(|| page.last().map(|record| record.id))
            .flatten();
        let ids = page.iter().map(|record| Lookup::Record(record.id));
        let rows = store.fetch(records_query(caller, ids.collect())).await?;
        let draft = Draft::over(&rows, self.now());
        let living = page
            .into_iter()
            .filter(|record| draft.is_rooted(Some(record.id)))
            .collect();
        Ok((living, next))
    }
}

fn living<'a>(draft: &'a Draft<'_>, id: RecordId) -> Result<&'a Record, Error> {
    draft
        .record(id)
        .filter(|_| draft.is_rooted(Some(id)))
        .ok_or_else(|| Error::no_record("record"))
}

fn edited(record: Record, edit: RecordEdit, now: Timestamp) -> Record {
    let said = edit.expires_at != Field::Keep;
    let expires_at = match edit.expires_at {
        Field::Keep => record.expires_at,
        Field::Set(at) => Some(at),
        Field::Clear => None,
    };
    let state = match record.state {
        State::Active | State::Expired if said => state_at(expires_at, now),
        other => other,
    };
    let addresses = match edit.addresses {
        Field::Keep => record.addresses.clone(),
        Field::Set(addresses) => addresses,
        Field::Clear => Vec::new(),
    };
    Record {
        body: edit.body.unwrap_or_else(|| record.body.clone()),
        expires_at,
        state,
        addresses,
        ..record
    }
}

fn records_query(caller: &Caller, lookups: Vec<Lookup>) -> Query {
    Query {
        realm: caller.realm,
        lookups,
        entries: false,
        sealed: false,
        limit: limits::PAGE_ROWS,
    }
}
