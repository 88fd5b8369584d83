//! A node as one of those that are asked: it lets go of what is held, and answers from memory under a lease.
//!
//! The one thing to know: the order of the steps is the proof. Joining: the row is committed, *then* the holds are read,
//! *then* memory is emptied (a write may have come and gone in between, by a writer that did not see the row). Renewing: the clocks are read, *then* the row is renewed, *then* the holds are read. And an
//! acknowledgement is sent only after the index has let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::live::{Held, LiveIndex};
use engine::realm::RealmId;

use super::{Hold, HoldId, LEASE, NodeId, ProcessId, Renewal, SKEW_MAX};

/// One process among the nodes.
#[derive(Debug)]
pub(crate) struct Member {
    live: Arc<LiveIndex>,
    /// Its own holds are no news to it: what it commits itself it voids itself.
    process: ProcessId,
    /// The present membership; none before joining and after an expulsion.
    present: Option<NodeId>,
    /// Whether the holds were read since it joined, and memory emptied after that.
    settled: bool,
    /// The holds that the index was told of.
    applied: BTreeMap<HoldId, Held>,
    /// Which of them this membership has acknowledged.
    acknowledged: BTreeSet<HoldId>,
    /// The life of the store that this membership belongs to.
    incarnation: Option<String>,
}

/// What a renewal comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Renewed {
    /// Memory may answer.
    Leased,
    /// The clocks of this machine and of the store are too far apart: no lease, this many microseconds.
    Skewed(i64),
    /// The store has begun another life: join anew.
    Lost,
}

impl Member {
    /// Not a member yet; memory answers nothing.
    pub(crate) fn new(live: Arc<LiveIndex>, process: ProcessId) -> Self {
        live.require_lease();
        Self {
            live,
            process,
            present: None,
            settled: false,
            applied: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            incarnation: None,
        }
    }

    /// Which member it is, if it is one.
    pub(crate) fn present(&self) -> Option<NodeId> {
        self.present
    }

    /// To be called when the row of a new membership is committed and before any hold is read.
    pub(crate) fn joined(&mut self, id: NodeId) {
        self.settled = false;
        self.acknowledged.clear();
        self.incarnation = None;
        self.present = Some(id);
        self.live.joined();
    }

    /// The membership is over: the row says so, or the store has begun another life.
    pub(crate) fn lost(&mut self) {
        self.live.require_lease();
        self.live.clear();
        self.present = None;
    }

    /// Takes note of all holds that are outstanding. They must come from a statement that was begun after the answer to
    /// the one before was there (so that a hold which is missing is over), and after this membership was committed.
    /// Returns those that are to be acknowledged now.
    pub(crate) fn saw(&mut self, holds: &[Hold]) -> Vec<(RealmId, HoldId)> {
        let outstanding: BTreeSet<HoldId> = holds.iter().map(|hold| hold.id).collect();
        self.applied.retain(|id, held| {
            let stays = outstanding.contains(id);
            if !stays {
                self.live.release(held);
            }
            stays
        });
        self.acknowledged.retain(|id| outstanding.contains(id));
        if self.present.is_some() && !self.settled {
            // A writer that read the members before this one was there may have placed its hold, changed what it held and
            // deleted the hold, all of it before the holds were read here. So what was read before them goes; emptying
            // memory any earlier would leave out what was read since.
            self.live.clear();
            self.settled = true;
        }
        let mut answers = Vec::new();
        for hold in holds.iter().filter(|hold| hold.owner != self.process) {
            self.applied.entry(hold.id).or_insert_with(|| {
                self.live.hold(&hold.held);
                hold.held.clone()
            });
            if self.present.is_some() && self.acknowledged.insert(hold.id) {
                answers.push((hold.realm, hold.id));
            }
        }
        answers
    }

    /// An acknowledgement did not reach the store: it is to be sent again.
    pub(crate) fn unsent(&mut self, holds: impl IntoIterator<Item = HoldId>) {
        for hold in holds {
            self.acknowledged.remove(&hold);
        }
    }

    /// The row was renewed, so nobody had expelled this membership when that was committed.
    pub(crate) fn renewed(&mut self, renewal: &Renewal) -> Renewed {
        let known = self.incarnation.get_or_insert(renewal.incarnation.clone());
        if *known != renewal.incarnation {
            self.lost();
            return Renewed::Lost;
        }
        let skew = renewal.skew_micros();
        if skew.unsigned_abs() > u64::try_from(SKEW_MAX.as_micros()).unwrap_or(u64::MAX) {
            self.live.require_lease();
            return Renewed::Skewed(skew);
        }
        self.live.grant_lease(renewal.asked_at, LEASE);
        Renewed::Leased
    }
}

impl Renewal {
    /// How far this node's wall clock is ahead of the store's, for certain: what the way there and back may explain is
    /// not counted.
    fn skew_micros(&self) -> i64 {
        let store = self.store_time.as_micros();
        let (asked, answered) = (self.asked_at.1.as_micros(), self.answered_at.as_micros());
        if asked > store {
            asked - store
        } else if answered < store {
            answered - store
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use engine::clock::{ManualClock, Timestamp};
    use engine::live::LiveKey;
    use engine::token::TokenId;
    use std::time::Duration;
    use uuid::Uuid;

    fn member() -> Member {
        let start = Timestamp::from_micros(1_000_000_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        Member::new(
            Arc::new(LiveIndex::new(10, clock)),
            ProcessId(Uuid::from_u128(1)),
        )
    }

    fn hold(id: u128) -> Hold {
        let token = TokenId(Uuid::from_u128(id));
        Hold {
            id: HoldId(Uuid::from_u128(id)),
            realm: RealmId::SYSTEM,
            owner: ProcessId(Uuid::nil()),
            held: Held::Keys(vec![LiveKey::Token(RealmId::SYSTEM, token)]),
        }
    }

    fn ids(answers: &[(RealmId, HoldId)]) -> Vec<u128> {
        answers.iter().map(|(_, id)| id.0.as_u128()).collect()
    }

    fn renewal(store_ahead_millis: i64) -> Renewal {
        let asked = Timestamp::from_micros(1_000_000_000).unwrap();
        let store = asked.as_micros() + store_ahead_millis * 1000;
        Renewal {
            asked_at: (Duration::ZERO, asked),
            answered_at: Timestamp::from_micros(asked.as_micros() + 100_000).unwrap(),
            store_time: Timestamp::from_micros(store).unwrap(),
            incarnation: "first".to_owned(),
        }
    }

    #[test]
    fn each_membership_acknowledges_each_hold_once() {
        let mut member = member();
        assert_eq!(ids(&member.saw(&[hold(1)])), [], "it is no member yet");
        member.joined(NodeId(Uuid::from_u128(1)));
        assert_eq!(ids(&member.saw(&[hold(1), hold(2)])), [1, 2]);
        assert_eq!(ids(&member.saw(&[hold(1), hold(2), hold(3)])), [3]);
        member.unsent([hold(3).id]);
        assert_eq!(ids(&member.saw(&[hold(2), hold(3)])), [3]);
        member.joined(NodeId(Uuid::from_u128(2)));
        assert_eq!(ids(&member.saw(&[hold(2), hold(3)])), [2, 3]);
    }

    #[test]
    fn what_was_read_before_the_holds_is_forgotten_when_they_are_read_first() {
        let mut member = member();
        let live = Arc::clone(&member.live);
        let remembered = |member: &Member| {
            let token = super::super::model::small_token();
            let there = member.live.token(token.realm, token.id).is_some();
            (there, token)
        };
        member.joined(NodeId(Uuid::from_u128(1)));
        let before = live.begin();
        let (_, token) = remembered(&member);
        live.fill_token(&before, Arc::new(token));
        assert!(remembered(&member).0);
        member.saw(&[]);
        assert!(!remembered(&member).0, "it may have been changed unseen");
        let (_, token) = remembered(&member);
        live.fill_token(&before, Arc::new(token.clone()));
        assert!(!remembered(&member).0, "its read began before");
        live.fill_token(&live.begin(), Arc::new(token));
        member.saw(&[]);
        assert!(remembered(&member).0, "only the first time");
        member.joined(NodeId(Uuid::from_u128(2)));
        member.saw(&[]);
        assert!(!remembered(&member).0, "each membership anew");
    }

    #[test]
    fn a_clock_that_is_off_takes_no_lease() {
        let mut member = member();
        member.joined(NodeId(Uuid::from_u128(1)));
        for millis in [0, 50, 100, 350, -250] {
            assert_eq!(
                member.renewed(&renewal(millis)),
                Renewed::Leased,
                "{millis}"
            );
        }
        assert_eq!(member.renewed(&renewal(351)), Renewed::Skewed(-251_000));
        assert_eq!(member.renewed(&renewal(-251)), Renewed::Skewed(251_000));
    }

    #[test]
    fn another_life_of_the_store_ends_the_membership() {
        let mut member = member();
        member.joined(NodeId(Uuid::from_u128(1)));
        assert_eq!(member.renewed(&renewal(0)), Renewed::Leased);
        let other = Renewal {
            incarnation: "second".to_owned(),
            ..renewal(0)
        };
        assert_eq!(member.renewed(&other), Renewed::Lost);
        assert_eq!(member.present(), None);
        member.joined(NodeId(Uuid::from_u128(2)));
        assert_eq!(member.renewed(&other), Renewed::Leased);
    }
}
