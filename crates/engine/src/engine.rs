//! The engine: the parts every verb works with, and the one way they write.
//!
//! The one thing to know: all verbs write through [`Engine::transact`]. It runs in a task of its own, so that a caller who
//! hangs up between commit and index cannot leave the live index behind the store.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::agreement;
use crate::batch::Batch;
use crate::caller::Caller;
use crate::clock::{Clock, Timestamp};
use crate::entropy::{Entropy, Ids};
use crate::error::Error;
use crate::event::{Event, EventId};
use crate::keyring::Keyring;
use crate::limits;
use crate::live::{LiveIndex, LiveKey, touched};
use crate::locator::Space;
use crate::realm::RealmId;
use crate::record::RecordId;
use crate::refusal::Refusals;
use crate::store::{JoinError, Membership, Query, Role, Rows, Store, StoreError};
use crate::usage::UsageCounters;

/// What an engine is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The installation's keys.
    pub keyring: Keyring,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from.
    pub entropy: Arc<dyn Entropy>,
    /// Entries of the live index; 0 turns it off, and every verify asks the store.
    pub live_entries: usize,
    /// What this process is to others on the same store.
    pub role: Role,
}

/// All verbs are methods of this; cloning it is cheap and gives the same engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keyring: Keyring,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) ids: Ids,
    pub(crate) live: Arc<LiveIndex>,
    pub(crate) usage: UsageCounters,
    pub(crate) refusals: Refusals,
    pub(crate) role: Role,
    /// The record that says so of the store that this process has begun with.
    pub(crate) bound_to: OnceLock<RecordId>,
    /// The membership under which the list of keys was last read and found to be held.
    pub(crate) keys_read: AtomicU64,
    /// Whether it was said that new keys wait for other nodes.
    pub(crate) waiting_said: AtomicBool,
    /// What was begun in the background and must be on disk before the store closes.
    pub(crate) background: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}

/// What a decision comes to: writes (or none), and the verb's answer.
pub(crate) type Decision<T> = Result<(Option<Batch>, T), Error>;

impl Engine {
    /// Puts an engine together. Nothing is read or written yet.
    pub fn new(parts: Parts) -> Self {
        let live = LiveIndex::new(parts.live_entries, Arc::clone(&parts.clock));
        let live = Arc::new(live);
        parts.store.share(&live);
        Self(Arc::new(Inner {
            store: parts.store,
            keyring: parts.keyring,
            clock: parts.clock,
            entropy: parts.entropy,
            ids: Ids::default(),
            live,
            usage: UsageCounters::default(),
            refusals: Refusals::default(),
            role: parts.role,
            bound_to: OnceLock::new(),
            keys_read: AtomicU64::new(0),
            waiting_said: AtomicBool::new(false),
            background: Mutex::default(),
        }))
    }

    /// The present instant, for dialects that turn "in N seconds" into an instant.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Fills a buffer with random bytes, for secrets and ids that a product prints in its own form.
    pub fn random(&self, buffer: &mut [u8]) {
        self.0.entropy.fill(buffer);
    }

    /// The keyring, for digests of confidential keys.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// Takes this process's place among those that share the store, before anything is answered. All of them must agree
    /// about `settings` (names and values). Only a keyed digest of them leaves this process, and which keys it has; whether
    /// it has all that it needs is found out by [`Engine::follow_keys`], which must be called next.
    ///
    /// # Errors
    /// `OtherSettings` when one that is running differs, or what the store says.
    pub async fn join(&self, settings: &[(String, String)]) -> Result<(), JoinError> {
        let keyring = &self.0.keyring;
        let parts = settings.iter();
        let mut parts: Vec<&[u8]> = parts
            .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()])
            .collect();
        let space = Space::of("settings");
        let keys = keyring.digest();
        parts.push(&keys);
        let membership = Membership {
            role: self.0.role,
            settings: agreement::to_bytes(keyring, settings),
            settings_and_keys: keyring.blind(RealmId::SYSTEM, &space, &parts).to_vec(),
            keys: keyring.keys().to_report(),
        };
        self.0.store.join(&membership).await
    }

    /// Whether the store answers.
    pub async fn ready(&self) -> Result<(), Error> {
        Ok(self.0.store.ready().await?)
    }

    /// Goes on without the caller; awaited by [`Engine::close`].
    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self
            .0
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are forgotten, so that the set does not grow.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// Writes what is only counted so far and closes the store.
    pub async fn close(&self) {
        let tasks = std::mem::take(
            &mut *self
                .0
                .background
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        tasks.join_all().await;
        self.flush_usage().await;
        self.flush_refusals(true).await;
        self.0.store.close().await;
    }

    /// Writes the uses counted since the last flush. To be called every few seconds.
    pub async fn flush_usage(&self) {
        let pending = self.0.usage.drain();
        if pending.is_empty() {
            return;
        }
        if let Err(error) = self.0.store.add_usage(pending.clone()).await {
            tracing::warn!(%error, "uses could not be written, they stay in memory");
            self.0.usage.restore(pending);
        }
    }

    pub(crate) fn event(&self, caller: &Caller, verb: &str) -> EventSeed {
        let id = EventId(self.0.ids.next(self.now(), &*self.0.entropy));
        EventSeed {
            id,
            caller: caller.clone(),
            verb: verb.to_owned(),
        }
    }

    /// Reads rows, decides, writes and puts in force; `decide` is pure and may be called again.
    pub(crate) async fn transact<T, D>(&self, query: Query, decide: D) -> Result<T, Error>
    where
        T: Send + 'static,
        D: FnMut(&Rows) -> Decision<T> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let decide = Arc::new(Mutex::new(decide));
        let work = async move {
            let mut attempt = 1;
            loop {
                let slot = Slot::default();
                let committed = inner
                    .store
                    .commit(query.clone(), recording(&decide, &slot))
                    .await;
                let decided = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some((_, keys)) = &decided {
                    // Also after an error: its outcome may be unknown.
                    inner.live.void(keys);
                }
                match committed {
                    Ok(_) => return decided.map_or(Err(Error::Internal), |(answer, _)| answer),
                    Err(StoreError::Taken { .. } | StoreError::Stale)
                        if attempt < limits::WRITE_ATTEMPTS_MAX =>
                    {
                        attempt += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        tokio::spawn(work.in_current_span())
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "a write panicked");
                Err(Error::Internal)
            })
    }
}

/// What a decision came to: the verb's answer, and what its batch changes in the live index.
type Slot<T> = Arc<Mutex<Option<(Result<T, Error>, Vec<LiveKey>)>>>;

/// Wraps a decision for the store: its answer goes to the slot, its batch to the store.
fn recording<T, D>(decide: &Arc<Mutex<D>>, slot: &Slot<T>) -> crate::store::Decide
where
    T: Send + 'static,
    D: FnMut(&Rows) -> Decision<T> + Send + 'static,
{
    let decide = Arc::clone(decide);
    let slot = Arc::clone(slot);
    Box::new(move |rows| {
        let decision = {
            let mut decide = decide.lock().unwrap_or_else(PoisonError::into_inner);
            (*decide)(rows)
        };
        let (batch, answer) = match decision {
            Ok((batch, answer)) => (batch, Ok(answer)),
            Err(error) => (None, Err(error)),
        };
        let keys = batch.as_ref().map(touched).unwrap_or_default();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((answer, keys));
        batch
    })
}

/// An event whose id is made once, before the first attempt; the instant is that of the attempt that is committed.
pub(crate) struct EventSeed {
    id: EventId,
    pub(crate) caller: Caller,
    verb: String,
}

impl EventSeed {
    pub(crate) fn at(&self, now: Timestamp) -> Event {
        Event::done(self.id, &self.caller, now, &self.verb)
    }
}
