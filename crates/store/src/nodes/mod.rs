//! How several nodes share one store, and a change is in force on each of them before its call returns.
//!
//! The one thing to know: a writer says what it is about to change *before* it changes it. It commits a hold, waits until
//! every node that answers from memory has let go of the held keys (or has been expelled and its lease has run out), and
//! only then commits the change. Here are the rules, without SQL and without waiting; `postgres/nodes/` carries
//! messages and time to them, and `model/` searches for a schedule in which they fail. The proof is in
//! `docs/decisions/0010-in-force-on-every-node.md`.

mod assent;
pub(crate) mod member;
#[cfg(test)]
mod model;
pub(crate) mod tidying;

use std::time::Duration;

use engine::clock::Timestamp;
use engine::live::Held;
use engine::realm::RealmId;
use uuid::Uuid;

pub(crate) use assent::{Assent, Roster, Step};
/// How long a node may answer from memory after it has asked for its lease. It is also what a write waits at the most
/// for a node that hangs: shorter leases are renewed more often and are lost in shorter stalls.
pub(crate) const LEASE: Duration = Duration::from_millis(1_500);

/// How often a lease is renewed: four attempts fit into one.
pub(crate) const RENEWAL: Duration = Duration::from_millis(350);

/// How long a node may leave a hold unanswered before it is expelled.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// How often a member looks for holds where there is company: several looks fit into the silence that others put up with.
pub(crate) const LOOK: Duration = Duration::from_millis(30);

/// What is waited beyond a lease, for two clocks that do not run equally fast: 1 % of it would be a broken clock.
pub(crate) const MARGIN: Duration = Duration::from_millis(100);

/// How far a node's wall clock may be off the store's: beyond it, the node takes no lease, because an expiry would come
/// too early or too late on it.
pub(crate) const SKEW_MAX: Duration = Duration::from_millis(250);

/// One membership of one process: a node that was expelled joins under a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct NodeId(pub Uuid);

/// One process that writes to the store, whether it is a member or not: who placed a hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ProcessId(pub Uuid);

/// One announcement of a change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct HoldId(pub Uuid);

/// A hold as it stands in the store, in the realm of what it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hold {
    pub id: HoldId,
    pub realm: RealmId,
    pub owner: ProcessId,
    pub held: Held,
}

/// A member as it stands in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub id: NodeId,
    /// Which process it is.
    pub process: ProcessId,
    /// Whether it was told that its lease ends. Its row stays until its lease is over for certain.
    pub expelled: bool,
}

/// What a renewal has found out, apart from the holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Renewal {
    /// This node's clocks from before it asked.
    pub asked_at: (Duration, Timestamp),
    /// Its wall clock when the answer was there.
    pub answered_at: Timestamp,
    /// The store's clock in between.
    pub store_time: Timestamp,
    /// Which life of the store answered: another one after a failover, a restart or a restoration.
    pub incarnation: String,
}
