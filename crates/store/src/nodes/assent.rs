//! A node as one that asks: whose word a write waits for, and when it need not wait any longer.
//!
//! The one thing to know: the members are read *after* the hold is committed. Whoever is not among them has yet to commit
//! its row, and will see the hold when it reads the holds after that. A member that is silent is expelled; then its
//! lease is waited out, by the clock of the one who waits, from when it *knows* of the expulsion.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{LEASE, MARGIN, NodeId, Row, SILENCE};

/// What this process knows of memberships that are over but whose leases may not be.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// When each expelled member was first known to be so, by this process's clock since boot.
    expelled: BTreeMap<NodeId, Duration>,
}

impl Roster {
    /// Takes note of the members as they were read at some time before `now`.
    pub(crate) fn saw(&mut self, rows: &[Row], now: Duration) {
        let there: BTreeSet<NodeId> = rows.iter().map(|row| row.id).collect();
        self.expelled.retain(|id, _| there.contains(id));
        for row in rows.iter().filter(|row| row.expelled) {
            self.expelled.entry(row.id).or_insert(now);
        }
    }

    /// Expelled members whose leases are over for certain: their rows may go.
    pub(crate) fn over(&self, now: Duration) -> Vec<NodeId> {
        let over = |known: &Duration| now >= *known + LEASE + MARGIN;
        let expelled = self.expelled.iter();
        expelled
            .filter(|(_, known)| over(known))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// What is still to be waited for before a write may be committed.
#[derive(Debug)]
pub(crate) struct Assent {
    /// Members that have not acknowledged.
    silent: BTreeSet<NodeId>,
    /// When the hold was known to be there for all to see.
    asked_at: Duration,
    /// When the leases of expelled members are over.
    waits_until: Duration,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Commit.
    Go,
    /// Look for acknowledgements, until this time at the latest.
    Wait(Duration),
    /// Mark these as expelled, then say so by [`Assent::expelled`].
    Expel(Vec<NodeId>),
}

impl Assent {
    /// Begins with the members that were read after the hold was committed, without this process itself.
    pub(crate) fn new(rows: &[Row], roster: &Roster, now: Duration) -> Self {
        let silent = rows.iter().filter(|row| !row.expelled);
        let ends = rows.iter().filter(|row| row.expelled).map(|row| {
            let known = roster.expelled.get(&row.id).copied().unwrap_or(now);
            known + LEASE + MARGIN
        });
        Self {
            silent: silent.map(|row| row.id).collect(),
            asked_at: now,
            waits_until: ends.max().unwrap_or(now),
        }
    }

    /// These have let go of what is held.
    pub(crate) fn acknowledged(&mut self, by: impl IntoIterator<Item = NodeId>) {
        for id in by {
            self.silent.remove(&id);
        }
    }

    /// These are marked as expelled, by whomever.
    pub(crate) fn expelled(&mut self, ids: &[NodeId], now: Duration) {
        for id in ids {
            if self.silent.remove(id) {
                self.waits_until = self.waits_until.max(now + LEASE + MARGIN);
            }
        }
    }

    /// Only these rows are still there. A member whose row is gone has left with an empty memory, or its lease was waited out
    /// by the one who removed the row.
    pub(crate) fn remaining(&mut self, rows: &[Row], now: Duration) {
        let there: BTreeSet<NodeId> = rows.iter().map(|row| row.id).collect();
        self.silent.retain(|id| there.contains(id));
        let expelled: Vec<NodeId> = rows
            .iter()
            .filter(|row| row.expelled)
            .map(|row| row.id)
            .collect();
        self.expelled(&expelled, now);
    }

    /// Whether somebody still has to acknowledge; otherwise there is only time to wait for.
    pub(crate) fn asks(&self) -> bool {
        !self.silent.is_empty()
    }

    /// What to do at `now`.
    pub(crate) fn step(&self, now: Duration) -> Step {
        let patience = self.asked_at + SILENCE;
        if !self.silent.is_empty() {
            return if now >= patience {
                Step::Expel(self.silent.iter().copied().collect())
            } else {
                Step::Wait(patience)
            };
        }
        if now >= self.waits_until {
            Step::Go
        } else {
            Step::Wait(self.waits_until)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ProcessId;
    use super::*;
    use uuid::Uuid;

    const NOW: Duration = Duration::from_secs(100);
    const MILLI: Duration = Duration::from_millis(1);

    fn row(id: u128, expelled: bool) -> Row {
        Row {
            id: NodeId(Uuid::from_u128(id)),
            process: ProcessId(Uuid::from_u128(id)),
            expelled,
        }
    }

    #[test]
    fn nobody_else_is_waited_for() {
        let assent = Assent::new(&[], &Roster::default(), NOW);
        assert_eq!(assent.step(NOW), Step::Go);
    }

    #[test]
    fn all_members_are_waited_for_and_the_silent_expelled() {
        let (first, second) = (row(1, false), row(2, false));
        let mut assent = Assent::new(&[first, second], &Roster::default(), NOW);
        assert_eq!(assent.step(NOW), Step::Wait(NOW + SILENCE));
        assent.acknowledged([first.id]);
        assert_eq!(assent.step(NOW), Step::Wait(NOW + SILENCE));
        assert_eq!(assent.step(NOW + SILENCE), Step::Expel(vec![second.id]));
        let known = NOW + SILENCE + MILLI;
        assent.expelled(&[second.id], known);
        let end = known + LEASE + MARGIN;
        assert_eq!(assent.step(known), Step::Wait(end));
        assert_eq!(assent.step(end), Step::Go);
    }

    #[test]
    fn one_that_has_left_is_not_waited_for_and_one_that_was_expelled_is() {
        let (left, gone) = (row(1, false), row(2, false));
        let mut assent = Assent::new(&[left, gone], &Roster::default(), NOW);
        assent.remaining(&[gone], NOW);
        assert_eq!(assent.step(NOW), Step::Wait(NOW + SILENCE));
        assent.remaining(&[row(2, true)], NOW + MILLI);
        assent.remaining(&[row(2, true)], NOW + SILENCE);
        let end = NOW + MILLI + LEASE + MARGIN;
        assert_eq!(assent.step(NOW + SILENCE), Step::Wait(end));
        assert_eq!(assent.step(end), Step::Go);
    }

    #[test]
    fn a_lease_is_waited_out_from_when_its_end_was_first_known() {
        let (gone, here) = (row(1, true), row(2, false));
        let mut roster = Roster::default();
        roster.saw(&[gone, here], NOW);
        roster.saw(&[gone, here], NOW + MILLI);
        let later = NOW + LEASE;
        let mut assent = Assent::new(&[gone, here], &roster, later);
        assent.acknowledged([here.id]);
        assert_eq!(assent.step(later), Step::Wait(NOW + LEASE + MARGIN));
        assert!(roster.over(later).is_empty());
        assert_eq!(roster.over(NOW + LEASE + MARGIN), [gone.id]);
        // One that was never seen before is waited out from now.
        let assent = Assent::new(&[gone], &Roster::default(), later);
        assert_eq!(assent.step(later), Step::Wait(later + LEASE + MARGIN));
        roster.saw(&[here], later);
        assert!(roster.over(later + LEASE + LEASE).is_empty());
    }
}
