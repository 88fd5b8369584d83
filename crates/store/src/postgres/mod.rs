//! The store on PostgreSQL and what speaks its protocol: many nodes, one database.
//!
//! The one thing to know: writes of a realm follow one another, on all nodes, because each transaction begins by locking
//! the realm's row; within a node they share transactions. This file is the door to it, and the SQL stands in the file that
//! is named after the table.

mod address;
mod archive;
mod events;
mod faults;
mod group;
mod locators;
mod migrate;
mod nodes;
mod open;
mod pool;
mod query;
mod queue;
mod readers;
mod records;
mod reunion;
mod rows;
mod script;
mod spending;
mod tokens;
mod transaction;
mod trouble;
mod usage;
mod values;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::clock::Timestamp;
use engine::event::{Change, Event, EventId, Subject};
use engine::live::LiveIndex;
use engine::locator::{Holder, Key};
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use engine::store::{Decide, MarkPage, Membership, Query, Rows, Store, StoreError, Usage};
use engine::token::{Token, TokenId};
use engine::value::ValueId;
use tokio::task::JoinError;
use uuid::Uuid;

use open::Place;
use pool::Session;
use query::Fetch;
use queue::Door;
use readers::Readers;
use rows::{Parameter, text};
use spending::Spending;
use trouble::until_certain;
use usage::Count;
use writer::Writer;

use crate::columns::{rows_max, unavailable};
use crate::nouns;
pub(crate) use archive::open_archive;

pub use faults::{CommitFaults, Fault, Moment};
pub(crate) use open::{open, place};

/// How long it may take to find out whether a write would succeed: whoever asks wants to send calls elsewhere if not.
const READY_MAX: Duration = Duration::from_secs(5);

/// The store on PostgreSQL.
pub(crate) struct Postgres {
    place: Place,
    door: Door,
    writer: Arc<Writer>,
    spending: Arc<Spending>,
    readers: Readers,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A task of ours ends early only by a panic.
fn ended(error: &JoinError) -> StoreError {
    tracing::error!(%error, "a write panicked");
    StoreError::Unavailable {
        message: "the write ended without an answer".to_owned(),
        unknown: true,
    }
}

#[async_trait]
impl Store for Postgres {
    fn share(&self, live: &Arc<LiveIndex>) {
        self.writer.nodes.share(live);
    }

    async fn join(&self, membership: &Membership) -> Result<(), engine::store::JoinError> {
        self.writer.nodes.join(membership).await?;
        // A copy that was begun after this was opened has seen no node, unless it was seen from here.
        let looked = async {
            let session = Session::of(&self.writer.pool).await;
            let session = session.map_err(|trouble| self.place.trouble(trouble))?;
            let unfinished = migrate::is_unfinished(&self.place, &session).await?;
            session.keep();
            Ok::<_, crate::OpenError>(unfinished)
        };
        let message = match looked.await {
            Ok(false) => return Ok(()),
            Ok(true) => format!("{} holds a copy that is not complete", self.place),
            Err(error) => error.to_string(),
        };
        self.writer.nodes.close().await;
        Err(unavailable(message).into())
    }

    async fn reports(&self) -> Result<Option<Vec<Option<Vec<u8>>>>, StoreError> {
        self.writer.nodes.reports().await.map(Some)
    }

    async fn commit(&self, query: Query, decide: Decide) -> Result<bool, StoreError> {
        let pass = self.door.enter().await?;
        self.writer.write(query, decide, pass).await
    }

    async fn fetch(&self, query: Query) -> Result<Rows, StoreError> {
        let mut fetch = Fetch {
            pool: &self.readers.pool,
            query: &query,
        };
        until_certain(&mut fetch, self.readers.deadline).await
    }

    async fn tokens_after(
        &self,
        realm: RealmId,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<Vec<Token>, StoreError> {
        let mut parameters: Vec<Parameter<'_>> = vec![Box::new(realm.0), Box::new(rows_max(limit))];
        let sql = if let Some(after) = after {
            parameters.push(Box::new(after.0));
            tokens::AFTER
        } else {
            tokens::FIRST
        };
        let read = |row: &_| nouns::token(row, realm);
        self.readers.all(sql, parameters, read).await
    }

    async fn records_after(
        &self,
        realm: RealmId,
        kind: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let mut parameters: Vec<Parameter<'_>> = vec![
            Box::new(realm.0),
            Box::new(text(kind)),
            Box::new(rows_max(limit)),
        ];
        let sql = if let Some(after) = after {
            parameters.push(Box::new(after.0));
            records::AFTER
        } else {
            records::FIRST
        };
        let read = |row: &_| nouns::record(row, realm);
        self.readers.all(sql, parameters, read).await
    }

    async fn deleted_records(
        &self,
        realm: RealmId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let parameters: Vec<Parameter<'_>> = vec![
            Box::new(realm.0),
            Box::new(before.as_micros()),
            Box::new(rows_max(limit)),
        ];
        let read = |row: &_| nouns::record(row, realm);
        self.readers.all(records::DELETED, parameters, read).await
    }

    async fn superseded_values(
        &self,
        realm: RealmId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ValueId, u64)>, StoreError> {
        let parameters: Vec<Parameter<'_>> = vec![
            Box::new(realm.0),
            Box::new(before.as_micros()),
            Box::new(rows_max(limit)),
        ];
        let read = nouns::value_version;
        self.readers.all(values::SUPERSEDED, parameters, read).await
    }

    async fn marks(&self, page: MarkPage) -> Result<Vec<(Key, Holder)>, StoreError> {
        let first = rows::key(&page.first.0);
        let after = page.after.as_ref();
        let after = after.map(|(key, holder)| (rows::cursor(&key.0), holder));
        let (key, id, letter) = match after {
            // Keys before the range's first would widen it.
            Some((key, holder)) if key >= first => (key, holder.id(), holder.letter()),
            _ => (first, Uuid::nil(), ""),
        };
        let parameters: Vec<Parameter<'_>> = vec![
            Box::new(page.realm.0),
            Box::new(text(&page.space.0)),
            Box::new(key),
            Box::new(id),
            Box::new(letter),
            Box::new(rows::key(&page.last.0)),
            Box::new(rows_max(page.limit)),
        ];
        let read = locators::read_mark;
        self.readers.all(locators::MARKS, parameters, read).await
    }

    async fn events_before(
        &self,
        realm: RealmId,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let mut parameters: Vec<Parameter<'_>> = vec![Box::new(realm.0), Box::new(rows_max(limit))];
        let sql = if let Some(before) = before {
            parameters.push(Box::new(before.0));
            events::BEFORE
        } else {
            events::NEWEST
        };
        let read = |row: &_| events::read(row, realm);
        let mut events = self.readers.all(sql, parameters, read).await?;
        // An event and its changes are written together and never again, so two statements see the same of them.
        let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
        let parameters: Vec<Parameter<'_>> = vec![Box::new(realm.0), Box::new(ids)];
        let read = events::read_change;
        let all = self.readers.all(events::CHANGES, parameters, read).await?;
        let mut changes: HashMap<EventId, Vec<Change>> = HashMap::new();
        for (event, change) in all {
            changes.entry(event).or_default().push(change);
        }
        for event in &mut events {
            event.changes = changes.remove(&event.id).unwrap_or_default();
        }
        Ok(events)
    }

    async fn history(
        &self,
        realm: RealmId,
        subject: Subject,
        id: Uuid,
        limit: usize,
    ) -> Result<Vec<(Event, Change)>, StoreError> {
        let parameters: Vec<Parameter<'_>> = vec![
            Box::new(realm.0),
            Box::new(subject.word()),
            Box::new(id),
            Box::new(rows_max(limit)),
        ];
        let read = |row: &_| events::read_history(row, realm);
        self.readers.all(events::HISTORY, parameters, read).await
    }

    async fn event_digest(
        &self,
        realm: RealmId,
        id: EventId,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        let parameters: Vec<Parameter<'_>> = vec![Box::new(realm.0), Box::new(id.0)];
        let read = events::read_digest;
        let found = self.readers.all(events::DIGEST, parameters, read).await?;
        Ok(found.into_iter().next())
    }

    async fn spend(
        &self,
        realm: RealmId,
        token: TokenId,
        max: u64,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let pass = self.door.enter().await?;
        self.spending.spend((realm, token, max), at, pass).await
    }

    async fn add_usage(&self, usage: Vec<(RealmId, TokenId, Usage)>) -> Result<(), StoreError> {
        let pass = self.door.enter().await?;
        let writer = Arc::clone(&self.writer);
        let adding = tokio::spawn(async move {
            let _pass = pass;
            let faults = writer.faults.as_ref();
            let mut begun = false;
            for (realm, reports) in usage::by_realm(usage) {
                let mut add = Count::add(&writer.pool, faults, realm, &reports);
                let added = until_certain(&mut add, writer.deadline).await;
                added.map_err(|error| match error {
                    // What was reported of the realms before is there.
                    StoreError::Unavailable { message, unknown } => StoreError::Unavailable {
                        message,
                        unknown: unknown || begun,
                    },
                    other => other,
                })?;
                begun = true;
            }
            Ok(())
        });
        adding.await.unwrap_or_else(|error| Err(ended(&error)))
    }

    async fn usage(
        &self,
        realm: RealmId,
        tokens: &[TokenId],
    ) -> Result<BTreeMap<TokenId, Usage>, StoreError> {
        let ids: Vec<Uuid> = tokens.iter().map(|token| token.0).collect();
        let parameters: Vec<Parameter<'_>> = vec![Box::new(realm.0), Box::new(ids)];
        let found = self
            .readers
            .all(usage::OF, parameters, nouns::usage)
            .await?;
        Ok(found.into_iter().collect())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let pass = self.door.enter().await?;
        let mut probe = Count::probe(&self.writer.pool);
        let probed = until_certain(&mut probe, READY_MAX.min(self.writer.deadline)).await;
        drop(pass);
        probed.map(|_| ())
    }

    async fn close(&self) {
        self.door.close().await;
        self.writer.nodes.close().await;
        self.writer.pool.close();
        self.readers.pool.close();
    }
}
