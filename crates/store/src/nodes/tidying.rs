//! What a member takes away because it is of no use any more, and when.
//!
//! The one thing to know: here is only decided what is old, by clocks and rows that are given; that something is deleted under
//! the lock of its realm, where that is needed, is for those who delete. Taking a hold away too early costs its owner another
//! attempt and nobody an answer.

use std::collections::HashMap;
use std::time::Duration;

use super::{Hold, HoldId, NodeId, ProcessId, Row};

/// How long a hold of a process that is no member is left alone: programs that only write are none.
pub(crate) const STRAY: Duration = Duration::from_secs(5);

/// How long a member may not have renewed before it is taken for dead, also if no write waits for it.
pub(crate) const DEAD: Duration = Duration::from_secs(10);

/// Since when holds of processes that are no members have been seen.
#[derive(Debug, Default)]
pub(crate) struct Strays(HashMap<HoldId, Duration>);

impl Strays {
    /// Those that have been seen for so long, of processes other than this one.
    pub(crate) fn old<'a>(
        &mut self,
        holds: &'a [Hold],
        rows: &[Row],
        process: ProcessId,
        now: Duration,
        patience: Duration,
    ) -> Vec<&'a Hold> {
        let lives = |owner| {
            let mut rows = rows.iter();
            owner == process || rows.any(|row| row.process == owner && !row.expelled)
        };
        self.0.retain(|id, _| {
            holds
                .iter()
                .any(|hold| hold.id == *id && !lives(hold.owner))
        });
        let strays = holds.iter().filter(|hold| !lives(hold.owner));
        strays
            .filter(|hold| *self.0.entry(hold.id).or_insert(now) + patience <= now)
            .collect()
    }
}

/// How often each other member had renewed, and since when that has not changed.
#[derive(Debug, Default)]
pub(crate) struct Renewals(HashMap<NodeId, (i64, Duration)>);

impl Renewals {
    /// Those of these members that have not renewed for [`DEAD`], with the count that stands still.
    pub(crate) fn dead(
        &mut self,
        members: impl Iterator<Item = (NodeId, i64)>,
        now: Duration,
    ) -> Vec<(NodeId, i64)> {
        let known = |(id, count)| {
            let before = self.0.get(&id).filter(|(known, _)| *known == count);
            (id, (count, before.map_or(now, |(_, since)| *since)))
        };
        let present: HashMap<NodeId, (i64, Duration)> = members.map(known).collect();
        self.0 = present;
        let silent = self.0.iter();
        silent
            .filter(|(_, (_, since))| now >= *since + DEAD)
            .map(|(id, (count, _))| (*id, *count))
            .collect()
    }
}

/// Rows of this process that are not its membership: an answer was lost when it joined, or when it left.
pub(crate) fn former(rows: &[Row], process: ProcessId, present: Option<NodeId>) -> Vec<NodeId> {
    let mine = rows.iter().filter(|row| row.process == process);
    mine.map(|row| row.id)
        .filter(|id| Some(*id) != present)
        .collect()
}

/// Holds of this process that no call goes by: a deletion was lost, or an insert ran after all.
pub(crate) fn forgotten(
    holds: &[Hold],
    process: ProcessId,
    is_known: impl Fn(&HoldId) -> bool,
) -> Vec<&Hold> {
    let mine = holds.iter().filter(|hold| hold.owner == process);
    mine.filter(|hold| !is_known(&hold.id)).collect()
}

#[cfg(test)]
mod tests {
    use engine::live::Held;
    use engine::realm::RealmId;
    use uuid::Uuid;

    use super::*;

    const MINE: ProcessId = ProcessId(Uuid::from_u128(1));
    const OTHER: ProcessId = ProcessId(Uuid::from_u128(2));

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn hold(id: u128, owner: ProcessId) -> Hold {
        Hold {
            id: HoldId(Uuid::from_u128(id)),
            realm: RealmId::SYSTEM,
            owner,
            held: Held::Realm(RealmId::SYSTEM),
        }
    }

    fn row(id: u128, process: ProcessId, expelled: bool) -> Row {
        Row {
            id: NodeId(Uuid::from_u128(id)),
            process,
            expelled,
        }
    }

    #[test]
    fn a_hold_is_stray_after_a_while_without_a_member() {
        let mut strays = Strays::default();
        let holds = [hold(10, MINE), hold(11, OTHER)];
        let gone = [row(1, OTHER, true)];
        let mut old = |rows: &[Row], at| {
            let old = strays.old(&holds, rows, MINE, secs(at), STRAY);
            old.len()
        };
        assert_eq!(old(&gone, 0), 0);
        assert_eq!(old(&gone, 4), 0);
        // It was one again in between, so it begins anew.
        assert_eq!(old(&[row(2, OTHER, false)], 5), 0);
        assert_eq!(old(&gone, 6), 0);
        assert_eq!(old(&gone, 10), 0);
        assert_eq!(old(&gone, 11), 1, "its own is none");
    }

    #[test]
    fn a_member_is_dead_when_its_count_stands_still() {
        let mut renewals = Renewals::default();
        let id = NodeId(Uuid::from_u128(1));
        let mut dead = |count, at| renewals.dead([(id, count)].into_iter(), secs(at)).len();
        assert_eq!(dead(1, 0), 0);
        assert_eq!(dead(2, 9), 0);
        assert_eq!(dead(2, 18), 0);
        assert_eq!(dead(2, 19), 1);
    }

    #[test]
    fn what_is_left_of_this_process_is_its_own_to_take_away() {
        let rows = [row(1, MINE, false), row(2, MINE, true), row(3, OTHER, true)];
        let former = |present| super::former(&rows, MINE, present).len();
        assert_eq!((former(Some(rows[0].id)), former(None)), (1, 2));
        let holds = [hold(10, MINE), hold(11, MINE), hold(12, OTHER)];
        let left = forgotten(&holds, MINE, |id| *id == holds[0].id);
        assert_eq!(left, [&holds[1]]);
    }
}
