//! The store's contract: few methods, each one promise, kept in one transaction.
//!
//! The one thing to know: there is one way to write. [`Store::commit`] reads the rows a decision needs *inside* its
//! transaction, lets a pure function of the engine turn them into a [`Batch`], and applies it. So an update of a
//! selection neither loses updates nor starves under load, and no transaction object crosses the trait. Every backend
//! passes the one suite in `store/src/contract.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::agreement;
use crate::batch::Batch;
use crate::clock::Timestamp;
use crate::event::{Change, Event, EventId, Subject};
use crate::live::LiveIndex;
use crate::locator::{Holder, Key, Place, Space};
use crate::realm::RealmId;
use crate::record::{Record, RecordId};
use crate::token::{Token, TokenId};
use crate::value::{Value, ValueId};

/// What went wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A locator of this space is held by somebody else than the batch says, or an id is there already.
    #[error("a key of {space} is taken")]
    Taken {
        /// The space, or `token`, `value`, `record` for an id.
        space: String,
    },
    /// A row does not have the version that the batch replaces, or is not there.
    #[error("a row has changed since it was read")]
    Stale,
    /// A query matches more tokens than its limit.
    #[error("more than {max} tokens match")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Unreachable, full or too slow; nothing was changed unless `unknown` says that it cannot be told.
    #[error("the store is unavailable: {message}{}", if *.unknown { " (the outcome is unknown)" } else { "" })]
    Unavailable {
        /// The cause, for the operator.
        message: String,
        /// Whether the write may have been applied after all.
        unknown: bool,
    },
    /// A row that cannot be read.
    #[error("{table} {id} cannot be read: {message}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which row.
        id: String,
        /// What is wrong with it.
        message: String,
    },
    /// A defect.
    #[error("the store failed: {message}")]
    Internal {
        /// The cause, for the operator.
        message: String,
    },
}

/// Why a process cannot take its place beside others.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Another one is running with other settings.
    #[error("another node of this store runs with other settings{}", listed(names))]
    OtherSettings {
        /// Which, as far as it can be told; never their values.
        names: Vec<String>,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The names behind a colon.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        " or keys".to_owned()
    } else {
        format!(": {}", names.join(", "))
    }
}

/// What a process is to those that share its store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It answers requests: the others see it, and what all of them must have waits for it.
    Server,
    /// It is over after one command: nobody waits for it.
    Visitor,
}

/// What a process says of itself when it takes its place beside others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// What it is.
    pub role: Role,
    /// Digests of what all of them must agree about; [`Membership::other_settings`] reads them.
    pub settings: Vec<u8>,
    /// The same together with all keys that it has: programs from before the list of keys know this one alone, and it is what
    /// they are compared by.
    pub settings_and_keys: Vec<u8>,
    /// Which keys it holds, for [`Store::reports`].
    pub keys: Vec<u8>,
}

impl Membership {
    /// The names of the settings in which it differs from one that has said `theirs` of its own.
    pub fn other_settings(&self, theirs: &[u8]) -> Vec<String> {
        agreement::differing(&self.settings, theirs)
    }
}

/// Which rows a decision or an answer needs.
#[derive(Clone, Debug)]
pub struct Query {
    /// All of them lie in this realm.
    pub realm: RealmId,
    /// Where to start from; their results are united.
    pub lookups: Vec<Lookup>,
    /// Whether all tokens of each value that is found come along, not only those that were looked up.
    pub entries: bool,
    /// Whether values come with their sealed content (and access tokens with the value that holds their secret).
    pub sealed: bool,
    /// At most this many tokens; more is [`StoreError::TooMany`].
    pub limit: usize,
}

/// One place to start from.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A token by its id.
    Token(TokenId),
    /// A value by its id, in its present version.
    Value(ValueId),
    /// A record by its id.
    Record(RecordId),
    /// What a locator points to; also listed in [`Rows::located`].
    Located(Place),
    /// All that carry a mark.
    Marked(Place),
}

/// The rows of a query, from one snapshot.
///
/// Besides what was looked up: the value of each data token; the record each pointer refers to; the container of each
/// token and value; and every record above any of these, up to the limit of ancestors. Tombstones are rows like others.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// By id, that is in order of creation.
    pub tokens: BTreeMap<TokenId, Token>,
    /// In their present version.
    pub values: BTreeMap<ValueId, Value>,
    /// By id.
    pub records: BTreeMap<RecordId, Record>,
    /// The holder of each located place that has one.
    pub located: BTreeMap<Place, Holder>,
}

/// A pure function from rows to writes. `None` writes nothing and ends the transaction. It may be called more than once
/// (a backend retries a transaction as a whole), so it must not keep anything from an earlier call.
pub type Decide = Box<dyn FnMut(&Rows) -> Option<Batch> + Send>;

/// One page of a walk over marks.
#[derive(Clone, Debug)]
pub struct MarkPage {
    /// Where.
    pub realm: RealmId,
    /// Which family.
    pub space: Space,
    /// The first key of interest.
    pub first: Key,
    /// The last key of interest.
    pub last: Key,
    /// Where the page before ended.
    pub after: Option<(Key, Holder)>,
    /// Rows at the most.
    pub limit: usize,
}

/// How often a token was used since the last report, and when last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Uses.
    pub uses: u64,
    /// The last one.
    pub last_used_at: Timestamp,
}

/// Where everything is kept. Errors are [`StoreError`]; a method that fails has changed nothing, unless it says that the
/// outcome is unknown. Dropping a future does not undo what its method has begun.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Takes note of the memory that this process answers from, before anything else is asked. A store that others write to
    /// as well tells it what they are about to change and when it may answer (`docs/decisions/0010`), and does not let a
    /// commit return before every other node's memory has let go of what it changed. One that nobody else can write to
    /// has nothing to do.
    fn share(&self, live: &Arc<LiveIndex>) {
        let _ = live;
    }

    /// Takes its place among the processes that share the store, before anything is answered. When this returns, and as
    /// long as the memory has a lease, those of the others that ask for [`Store::reports`] see this one's.
    async fn join(&self, membership: &Membership) -> Result<(), JoinError> {
        let _ = membership;
        Ok(())
    }

    /// The keys that each server on this store has reported when it joined, this process's own among them; `None` in place
    /// of one that has said nothing of keys. A process is left out only when its membership is over and no lease of its
    /// memory can last any more. The answer is not older than the call. No answer at all: nobody else can use the store.
    async fn reports(&self) -> Result<Option<Vec<Option<Vec<u8>>>>, StoreError> {
        Ok(None)
    }

    /// Reads the rows of `query`, gives them to `decide`, and applies the batch it returns, in one transaction.
    ///
    /// - The batch is applied whole or not at all, and is on disk when this returns.
    /// - The rows are those that the batch is applied to: no other write comes between.
    /// - If an event with this id is there already, nothing is applied and the call succeeds: an earlier attempt did it.
    /// - Each update and delete compares the version it replaces: [`StoreError::Stale`]. Each insert and claim requires
    ///   that the id or place is free or held as stated: [`StoreError::Taken`].
    /// - Concurrent calls may share one durable commit; a call that fails does so alone.
    /// - Returns whether something was applied.
    async fn commit(&self, query: Query, decide: Decide) -> Result<bool, StoreError>;

    /// Reads the rows of `query` from one snapshot that contains every write acknowledged before the call.
    async fn fetch(&self, query: Query) -> Result<Rows, StoreError>;

    /// Tokens of a realm in order of id, after `after`.
    async fn tokens_after(
        &self,
        realm: RealmId,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<Vec<Token>, StoreError>;

    /// Records of one kind in order of id, after `after`; tombstones included.
    async fn records_after(
        &self,
        realm: RealmId,
        kind: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Tombstones of a realm that were last changed before `before`, oldest id first.
    async fn deleted_records(
        &self,
        realm: RealmId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Value versions that were superseded before `before`: value and version, oldest first.
    async fn superseded_values(
        &self,
        realm: RealmId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ValueId, u64)>, StoreError>;

    /// Holders of marks between two keys, in order of (key, holder id).
    async fn marks(&self, page: MarkPage) -> Result<Vec<(Key, Holder)>, StoreError>;

    /// Events of a realm, newest first, before `before`, with their changes.
    async fn events_before(
        &self,
        realm: RealmId,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError>;

    /// The history of one row, newest version first: each change with the event it belongs to (that event's other
    /// changes are not repeated).
    async fn history(
        &self,
        realm: RealmId,
        subject: Subject,
        id: Uuid,
        limit: usize,
    ) -> Result<Vec<(Event, Change)>, StoreError>;

    /// The stored digest of an event.
    async fn event_digest(
        &self,
        realm: RealmId,
        id: EventId,
    ) -> Result<Option<[u8; 32]>, StoreError>;

    /// Adds uses; touches neither tokens nor their versions. Durable with the next commit at the latest.
    async fn add_usage(&self, usage: Vec<(RealmId, TokenId, Usage)>) -> Result<(), StoreError>;

    /// Counts one use of a token, unless it has been used `max` times; says whether it was counted. Exact under
    /// concurrency and on disk when this returns; touches neither the token nor its version.
    async fn spend(
        &self,
        realm: RealmId,
        token: TokenId,
        max: u64,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Uses of the given tokens; those never used are left out.
    async fn usage(
        &self,
        realm: RealmId,
        tokens: &[TokenId],
    ) -> Result<BTreeMap<TokenId, Usage>, StoreError>;

    /// Whether a write would succeed now: answers without changing anything.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Waits for writes under way and closes; later calls are [`StoreError::Unavailable`].
    async fn close(&self);
}
