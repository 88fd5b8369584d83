//! The nodes of this store: carries time and messages to the rules of [`crate::nodes`].
//!
//! The one thing to know: nobody waits for others while holding a pooled connection. What is said between nodes passes two
//! connections of their own – one whose every answer is durable, and one that only hastens – and is awaited before a
//! transaction begins, never in one.

mod link;
mod membership;
mod permit;
mod table;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use engine::clock::{Clock as _, SystemClock};
use engine::entropy::{Entropy as _, SystemEntropy};
use engine::live::LiveIndex;
use engine::realm::RealmId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::{Builder, Uuid};

use super::pool::DURABLE;
use crate::nodes::{HoldId, ProcessId, Roster, Row};
use link::{ACKNOWLEDGEMENTS, HOLDS, Link};

use permit::Own;
pub(super) use permit::{Mine, Permit};
use table::Node;
pub(super) use table::STANDS;

/// How long one statement between nodes may take, and opening a connection for them. A lease may end meanwhile; that is
/// seen by its own clock.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Holds of processes that are gone, waiting to be taken away; more are seen again.
const STRAYS_MAX: usize = 64;

/// This process among the nodes of its store.
pub(super) struct Nodes {
    process: ProcessId,
    /// Every answer is on disk.
    durable: Link,
    /// The same, for the lease alone: it must not wait behind what writers have to flush.
    lease: Link,
    /// What is lost with a crash costs time only: acknowledgements and notices.
    quick: Link,
    /// For what is done under the lock of a realm.
    writers: Pool,
    entropy: SystemEntropy,
    /// Whether another process was seen among the nodes when they were last read.
    company: AtomicBool,
    state: Mutex<State>,
    /// Holds whose transactions have ended.
    over: mpsc::UnboundedSender<(RealmId, HoldId)>,
    /// Holds of processes that are gone.
    strays: mpsc::Sender<(RealmId, HoldId)>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    /// The memory of this process; one that keeps nothing has a lease all the same, if it is a server's.
    live: Option<Arc<LiveIndex>>,
    roster: Roster,
    /// Holds on whole realms that stay while nobody else is there. Groups under way have their share of them.
    standing: HashMap<RealmId, Arc<Own>>,
    /// Holds of this process that are there, or may be.
    own: HashSet<HoldId>,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Nodes {
    /// No member yet, and nothing is asked.
    pub(super) fn new(config: &Config, tls: &MakeRustlsConnect, writers: Pool) -> Arc<Self> {
        let limit = format!("SET statement_timeout = {}", ANSWER_MAX.as_millis());
        // A level that waits for other servers is kept; only "do not wait at all" is no level for a lease.
        let durable = vec![limit.clone(), DURABLE.to_owned()];
        let quick = vec![limit, "SET synchronous_commit = off".to_owned()];
        // An engine that knows no notices is looked at by turns.
        let listens = vec![
            format!("LISTEN {HOLDS}"),
            format!("LISTEN {ACKNOWLEDGEMENTS}"),
        ];
        let link =
            |first, hints| Link::new(config.clone(), tls.clone(), (first, hints), ANSWER_MAX);
        let (over, ended) = mpsc::unbounded_channel();
        let (strays, left_behind) = mpsc::channel(STRAYS_MAX);
        let entropy = SystemEntropy::new();
        let nodes = Arc::new(Self {
            process: ProcessId(random(&entropy)),
            durable: link(durable.clone(), Vec::new()),
            lease: link(durable, Vec::new()),
            quick: link(quick, listens),
            writers,
            entropy,
            company: AtomicBool::new(false),
            state: Mutex::default(),
            over,
            strays,
            tasks: Mutex::default(),
        });
        let tidying = tokio::spawn(permit::release_when_over(Arc::downgrade(&nodes), ended));
        nodes.keep(tidying);
        let taking_away = permit::release_strays(Arc::downgrade(&nodes), left_behind);
        nodes.keep(tokio::spawn(taking_away));
        nodes
    }

    /// Takes note of the memory to speak for.
    pub(super) fn share(&self, live: &Arc<LiveIndex>) {
        live.require_lease();
        self.state().live = Some(Arc::clone(live));
    }

    /// Whether somebody else was there when the nodes were last read.
    pub(super) fn has_company(&self) -> bool {
        self.company.load(SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Option<Arc<LiveIndex>> {
        self.state().live.clone()
    }

    fn keep(&self, task: JoinHandle<()>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task);
    }

    fn random(&self) -> Uuid {
        random(&self.entropy)
    }

    /// What waiting for others is measured by.
    #[allow(clippy::unused_self, reason = "reads as what it is: this node's clock")]
    fn now(&self) -> Duration {
        SystemClock.since_boot()
    }

    /// Takes note of who is there, and gives those others that answer from memory.
    fn saw(&self, nodes: &[Node], now: Duration) -> Vec<Row> {
        let present = nodes.iter().filter(|node| node.row.process != self.process);
        // Of those without a memory too: they answer under a lease what they know of keys, and leave when it is over.
        let all: Vec<Row> = present.clone().map(|node| node.row).collect();
        let others = present.filter(|node| node.remembers);
        let others: Vec<Row> = others.map(|node| node.row).collect();
        self.company.store(!others.is_empty(), SeqCst);
        let standing = {
            let mut state = self.state();
            state.roster.saw(&all, now);
            if others.is_empty() {
                HashMap::new()
            } else {
                std::mem::take(&mut state.standing)
            }
        };
        // They go as soon as no group is below them any more.
        drop(standing);
        others
    }

    /// Ends the tasks, and takes away what stands in the store of this process.
    pub(super) async fn close(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            // An aborted task is no news.
            let _ = task.await;
        }
        self.leave().await;
    }
}

fn random(entropy: &SystemEntropy) -> Uuid {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    Builder::from_random_bytes(bytes).into_uuid()
}
