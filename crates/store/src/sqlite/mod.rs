//! The embedded store: one SQLite file, one writer thread, a few readers.
//!
//! The one thing to know: only the writer writes, in groups; this file is the door to it. Each method of the trait is a
//! job for the writer or a closure for a reader, and the SQL stands in the file that is named after the table.

mod archive;
mod checkpoints;
mod events;
mod locators;
mod open;
mod query;
mod queue;
mod readers;
mod records;
mod rows;
mod tokens;
mod usage;
mod values;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use engine::clock::Timestamp;
use engine::event::{Change, Event, EventId, Subject};
use engine::locator::{Holder, Key};
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use engine::store::{Decide, MarkPage, Query, Rows, Store, StoreError, Usage};
use engine::token::{Token, TokenId};
use engine::value::ValueId;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use queue::Queue;
use readers::Readers;
use writer::{Job, Reply, Work};

pub(crate) use archive::{open_archive, true_path};
pub(crate) use open::open;

/// The embedded store.
pub(crate) struct Sqlite {
    path: PathBuf,
    queue: Queue<Job>,
    /// Says nothing until the writer has ended, and then that it has.
    ended: watch::Receiver<()>,
    readers: Readers,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Puts a job into the queue, waiting for a place if it is full, and then waits for the answer for as long as it
    /// takes: what is in the queue will be done.
    async fn ask(&self, job: impl FnOnce(Reply) -> Job + Send) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.put(job(reply)).await?;
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                message: "the writer ended without an answer".to_owned(),
                unknown: true,
            })
        })
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn commit(&self, query: Query, decide: Decide) -> Result<bool, StoreError> {
        self.ask(|reply| Job::Write(Work::Commit(query, decide), reply))
            .await
    }

    async fn fetch(&self, query: Query) -> Result<Rows, StoreError> {
        self.readers
            .read(move |connection| query::evaluate(connection, &query))
            .await
    }

    async fn tokens_after(
        &self,
        realm: RealmId,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<Vec<Token>, StoreError> {
        self.readers
            .read(move |connection| tokens::after(connection, realm, after, limit))
            .await
    }

    async fn records_after(
        &self,
        realm: RealmId,
        kind: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let kind = kind.to_owned();
        self.readers
            .read(move |connection| records::after(connection, realm, &kind, after, limit))
            .await
    }

    async fn deleted_records(
        &self,
        realm: RealmId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.readers
            .read(move |connection| records::deleted(connection, realm, before, limit))
            .await
    }

    async fn superseded_values(
        &self,
        realm: RealmId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ValueId, u64)>, StoreError> {
        self.readers
            .read(move |connection| values::superseded(connection, realm, before, limit))
            .await
    }

    async fn marks(&self, page: MarkPage) -> Result<Vec<(Key, Holder)>, StoreError> {
        self.readers
            .read(move |connection| locators::marks(connection, &page))
            .await
    }

    async fn events_before(
        &self,
        realm: RealmId,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.readers
            .read(move |connection| events::before(connection, realm, before, limit))
            .await
    }

    async fn history(
        &self,
        realm: RealmId,
        subject: Subject,
        id: Uuid,
        limit: usize,
    ) -> Result<Vec<(Event, Change)>, StoreError> {
        self.readers
            .read(move |connection| events::history(connection, realm, subject, id, limit))
            .await
    }

    async fn event_digest(
        &self,
        realm: RealmId,
        id: EventId,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        self.readers
            .read(move |connection| events::digest(connection, realm, id))
            .await
    }

    async fn spend(
        &self,
        realm: RealmId,
        token: TokenId,
        max: u64,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let work = Work::Spend {
            realm,
            token,
            max,
            at,
        };
        self.ask(|reply| Job::Write(work, reply)).await
    }

    async fn add_usage(&self, usage: Vec<(RealmId, TokenId, Usage)>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Write(Work::Usage(usage), reply))
            .await
            .map(|_| ())
    }

    async fn usage(
        &self,
        realm: RealmId,
        tokens: &[TokenId],
    ) -> Result<BTreeMap<TokenId, Usage>, StoreError> {
        let tokens = tokens.to_vec();
        self.readers
            .read(move |connection| usage::of(connection, realm, &tokens))
            .await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.ask(Job::Ready).await.map(|_| ())
    }

    async fn close(&self) {
        // Readers first, so that the writer's connection is the last and moves the log into the file.
        self.readers.close().await;
        // An error means that another call has closed it already; either way the end is to be waited for.
        let _ = self.queue.put_patiently(Job::Close).await;
        let _ = self.ended.clone().changed().await;
    }
}
