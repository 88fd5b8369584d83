//! The lease under which a node that shares its store may answer from memory.
//!
//! The one thing to know: it is judged by two clocks, both read anew for each verify. The one that goes on while the
//! machine sleeps says when it ends; the wall clock must not have run ahead of that one since it was granted, because a
//! pause that the first clock does not see (of a whole virtual machine) shows in the second.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// How far the wall clock may run ahead of the other one before the lease is dropped: more than any clock is slewed by in
/// the seconds that a lease lasts, less than a pause that matters.
pub const WALL_AHEAD_MAX: Duration = Duration::from_millis(250);

/// When memory may answer.
#[derive(Default)]
pub(crate) struct Lease(Mutex<Kind>);

#[derive(Clone, Copy, Default, Debug)]
enum Kind {
    /// Nobody else writes to the store: always.
    #[default]
    Alone,
    /// Not now.
    Without,
    /// Until `ends_at` after the start of the machine.
    Until {
        ends_at: Duration,
        /// The two clocks when it was asked for.
        asked_at: Duration,
        wall: Timestamp,
    },
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl Lease {
    fn kind(&self) -> Kind {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, kind: Kind) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kind;
    }

    /// From now on memory answers only under a lease; there is none yet.
    pub(crate) fn require(&self) {
        self.set(Kind::Without);
    }

    /// A lease that was asked for at `asked_at` (wall clock `wall`) and lasts `length` from then.
    pub(crate) fn grant(&self, asked_at: Duration, wall: Timestamp, length: Duration) {
        self.set(Kind::Until {
            ends_at: asked_at + length,
            asked_at,
            wall,
        });
    }

    /// Whether memory may answer at this very moment.
    pub(crate) fn holds(&self, clock: &dyn Clock) -> bool {
        match self.kind() {
            Kind::Alone => true,
            Kind::Without => false,
            Kind::Until {
                ends_at,
                asked_at,
                wall,
            } => {
                let now = clock.since_boot();
                let passed = now.saturating_sub(asked_at);
                let by_wall = clock.now().as_micros() - wall.as_micros();
                let by_wall = Duration::from_micros(u64::try_from(by_wall).unwrap_or(0));
                // Whichever clock says first that it is over: what the other one has missed is no more time to answer.
                let by_wall_too = by_wall < ends_at.saturating_sub(asked_at);
                now < ends_at && by_wall_too && by_wall <= passed + WALL_AHEAD_MAX
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn granted() -> (Lease, ManualClock) {
        let clock = ManualClock::new(Timestamp::MIN);
        let lease = Lease::default();
        lease.require();
        assert!(!lease.holds(&clock));
        lease.grant(clock.since_boot(), clock.now(), SECOND);
        assert!(lease.holds(&clock));
        (lease, clock)
    }

    #[test]
    fn who_is_alone_needs_none() {
        let clock = ManualClock::new(Timestamp::MIN);
        assert!(Lease::default().holds(&clock));
    }

    #[test]
    fn it_ends_by_the_clock_that_never_stops() {
        let (lease, clock) = granted();
        clock.advance_micros(999_999);
        assert!(lease.holds(&clock));
        clock.advance_micros(1);
        assert!(!lease.holds(&clock));
        lease.grant(clock.since_boot(), clock.now(), SECOND);
        assert!(lease.holds(&clock));
    }

    #[test]
    fn a_short_pause_that_only_the_wall_clock_has_seen_does_not_lengthen_it() {
        let (lease, clock) = granted();
        clock.advance_wall_micros(200_000);
        clock.advance_micros(799_999);
        assert!(lease.holds(&clock));
        clock.advance_micros(1);
        assert!(!lease.holds(&clock));
    }

    #[test]
    fn a_wall_clock_that_ran_ahead_ends_it() {
        let (lease, clock) = granted();
        clock.advance_wall_micros(250_000);
        assert!(lease.holds(&clock));
        clock.advance_wall_micros(1);
        assert!(!lease.holds(&clock));
        let (lease, clock) = granted();
        clock.advance_wall_micros(-5_000_000);
        assert!(lease.holds(&clock), "setting a clock back hides no pause");
        clock.advance_micros(1_000_000);
        assert!(!lease.holds(&clock));
    }
}
