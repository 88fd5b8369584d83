//! Writes: those of one realm that have gathered while the group before was under way are one transaction.
//!
//! The one thing to know: a lone write begins at once; what comes while it is under way is the next group. Only after a
//! group that was most of all there is does the next wait a moment for callers who come again (`reunion.rs`): without
//! it they would part for ever into two halves that take turns, each paying for a transaction of its own. What a group does
//! stands in `group.rs`.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use engine::event::EventId;
use engine::realm::RealmId;
use engine::store::{Decide, Lookup, Query, StoreError};
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::faults::CommitFaults;
use super::group::Group;
use super::nodes::Nodes;
use super::queue::Pass;
use super::reunion::Reunion;

/// Members of one group. With 512 a round trip is less than a hundredth of each; more would only make the first wait.
pub(super) const MEMBERS_MAX: usize = 512;

/// Rows that the members of one group may be expected to read, and those that they write, after which it takes no further
/// member. (One member may be larger.)
pub(super) const ROWS_MAX: usize = 20_000;

/// Rows that are expected of a mark: most have few, some have all tokens of a realm.
const MARKED_ROWS: usize = 1_000;

/// Groups of one realm that are under way where there are other nodes: while one waits for them, one writes. With more of
/// them the groups are smaller, and each has to be announced.
const RUNNERS_IN_COMPANY: usize = 2;

/// How long nobody may come while those whom a group has answered are waited for.
const LULL: Duration = Duration::from_millis(2);

/// How many such times are waited at the most.
const LULLS_MAX: usize = 3;

/// Where the outcome of a write goes.
type Reply = oneshot::Sender<Result<bool, StoreError>>;

/// One call.
pub(super) struct Member {
    pub(super) query: Query,
    pub(super) decide: Decide,
    pub(super) reply: Reply,
    /// The event of an attempt that may have been committed.
    pub(super) attempted: Option<EventId>,
    /// How often its permit did not cover what it came to.
    pub(super) missed: usize,
    pub(super) answer: Option<Result<bool, StoreError>>,
    _pass: Pass,
}

impl Member {
    /// Rows that it may be expected to read.
    fn weight(&self) -> usize {
        let one = |lookup: &Lookup| match lookup {
            Lookup::Marked(_) => self.query.limit.min(MARKED_ROWS),
            _ => 1,
        };
        self.query.lookups.iter().map(one).sum()
    }

    /// Whether it has no answer, and no attempt of it is in doubt.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_open() && self.attempted.is_none()
    }

    pub(super) fn is_open(&self) -> bool {
        self.answer.is_none()
    }
}

/// All groups.
pub(super) struct Writer {
    pub(super) pool: Pool,
    /// For looking at what a group is about to change, where others must be told.
    pub(super) readers: Pool,
    pub(super) nodes: Arc<Nodes>,
    /// Time for one group, with its repetitions.
    pub(super) deadline: Duration,
    pub(super) faults: Option<Arc<dyn CommitFaults>>,
    /// What has gathered, for each realm of which a group is under way.
    pub(super) lines: Mutex<HashMap<RealmId, Line>>,
}

/// Those who wait to write in one realm.
#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<Member>,
    /// Tasks that take groups from it.
    runners: usize,
    /// Held from the beginning of a transaction to its end, so that groups of this process do not wait for one another
    /// with a connection in their hands.
    turn: Arc<tokio::sync::Mutex<()>>,
    reunion: Reunion,
}

impl Line {
    fn join(&mut self, member: Member) {
        self.waiting.push_back(member);
        self.reunion.look(self.waiting.len());
    }
}

impl Writer {
    fn lines(&self) -> MutexGuard<'_, HashMap<RealmId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Groups of one realm that may be under way. Alone, a second one would only make the first smaller; beside others a
    /// group waits for them, and the next need not wait for that.
    fn runners_max(&self) -> usize {
        if self.nodes.has_company() {
            RUNNERS_IN_COMPANY
        } else {
            1
        }
    }

    /// Does one write, with others; waits for as long as it takes, but goes on if it is not waited for.
    pub(super) async fn write(
        self: &Arc<Self>,
        query: Query,
        decide: Decide,
        pass: Pass,
    ) -> Result<bool, StoreError> {
        let realm = query.realm;
        let (reply, answer) = oneshot::channel();
        let member = Member {
            query,
            decide,
            reply,
            attempted: None,
            missed: 0,
            answer: None,
            _pass: pass,
        };
        let begins = {
            let runners_max = self.runners_max();
            let mut lines = self.lines();
            let line = lines.entry(realm).or_default();
            // Whoever waits for callers takes this one too.
            let begins = line.runners < runners_max && !line.reunion.is_awaited();
            line.join(member);
            line.runners += usize::from(begins);
            begins
        };
        if begins {
            tokio::spawn(Arc::clone(self).run(realm));
        }
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                message: "the writer ended without an answer".to_owned(),
                unknown: true,
            })
        })
    }

    /// Works until nobody of this realm waits any more.
    async fn run(self: Arc<Self>, realm: RealmId) {
        let sizes = metrics::histogram!("tokenhouse_store_group_members");
        while let Some((members, turn)) = self.next(realm) {
            sizes.record(f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX)));
            let count = members.len();
            let group = Group {
                writer: &self,
                realm,
                members,
                turn,
                permit: None,
                mine: None,
            };
            // A defect must not leave a realm in which nobody writes any more; those of its group are told by the end of
            // their channel.
            let put_off = AssertUnwindSafe(group.finish()).catch_unwind().await;
            let put_off = put_off.unwrap_or_else(|_| {
                tracing::error!(%realm, "a group of writes panicked");
                Vec::new()
            });
            if !self.reunite(realm, count, put_off).await {
                return;
            }
        }
    }

    /// Puts those back in line who were put off, and waits for those who were answered to come again, if that is worth it.
    /// `false` if another runner waits for callers: it takes all who are there, so this one is to end.
    async fn reunite(&self, realm: RealmId, count: usize, put_off: Vec<Member>) -> bool {
        let answered = count - put_off.len().min(count);
        let (mut complete, before) = {
            let mut lines = self.lines();
            let line = lines.entry(realm).or_default();
            for member in put_off.into_iter().rev() {
                line.waiting.push_front(member);
            }
            if line.reunion.is_awaited() {
                line.runners -= 1;
                line.reunion.look(line.waiting.len());
                return false;
            }
            match line.reunion.begin(line.waiting.len(), answered) {
                Some(complete) => (complete, line.waiting.len()),
                None => return true,
            }
        };
        let mut present = before;
        for _ in 0..LULLS_MAX {
            if tokio::time::timeout(LULL, &mut complete).await.is_ok() {
                break;
            }
            let now = self.lines().get(&realm).map(|line| line.waiting.len());
            match now {
                Some(now) if now > present => present = now,
                _ => break,
            }
        }
        if let Some(line) = self.lines().get_mut(&realm) {
            let came = line.waiting.len().saturating_sub(before);
            line.reunion.end(answered, came);
        }
        true
    }

    /// The next group, or nothing any more: then the one who asks is to end.
    fn next(&self, realm: RealmId) -> Option<(Vec<Member>, Arc<tokio::sync::Mutex<()>>)> {
        let mut lines = self.lines();
        let line = lines.get_mut(&realm)?;
        let mut weight = 0;
        let mut count = 0;
        for member in line.waiting.iter().take(MEMBERS_MAX) {
            weight += member.weight();
            if count > 0 && weight > ROWS_MAX {
                break;
            }
            count += 1;
        }
        if count == 0 {
            line.runners -= 1;
            if line.runners == 0 {
                lines.remove(&realm);
            }
            return None;
        }
        Some((
            line.waiting.drain(..count).collect(),
            Arc::clone(&line.turn),
        ))
    }
}
