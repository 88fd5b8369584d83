//! The rules of the protocol, each of which can be taken away to see what it is there for.
//!
//! The one thing to know: what a rule is about is told at the place where it is asked for; here are only names and what
//! its absence means in words.

/// One rule, named by what happens without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Without {
    /// The change is committed first, and the others are told afterwards.
    Announcement,
    /// A transaction does not look whether its hold is still there.
    HoldCheck,
    /// The hold of a writer that seems gone is deleted without the realm's lock.
    CleanerLock,
    /// The members are read before the hold is committed.
    HoldBeforeMembers,
    /// A joiner reads the holds before its row is committed.
    RowBeforeHolds,
    /// A joiner keeps what it has read while it was no member.
    ClearAtJoining,
    /// A joiner empties its memory when its row is committed, not when it has read the holds.
    ClearAfterHolds,
    /// An expelled node joins with what it remembered before.
    ClearAfterExpulsion,
    /// A renewal does not look whether its row says expelled.
    RefusedRenewal,
    /// A fill takes its ticket after its read.
    EarlyTicket,
    /// A verify judges the lease by a time that was read before.
    FreshClock,
    /// A lease is counted from when its answer arrived.
    LeaseFromAsking,
    /// After an expulsion the lease is not waited out.
    LeaseWaitedOut,
    /// The row of an expelled member is removed at once.
    RowUntilLeaseIsOver,
    /// A silent node is believed to be expelled, and its row is not marked.
    MarkedExpulsion,
    /// That something is not there is remembered.
    NoForgotten,
    /// A silent node is waited for.
    Expulsion,
    /// The hold of a node that is alone is kept in memory only.
    CommittedStandingHold,
    /// A transaction of a node that is alone does not look whether its standing hold is still there.
    StandingHoldCheck,
    /// The standing hold is deleted without the realm's lock.
    StandingHoldLock,
    /// The hold is deleted when the outcome of a commit is unknown.
    HoldUntilCertain,
    /// The writer's own memory answers while the outcome of its commit is unknown.
    OwnHold,
    /// Holds that a lost statement has placed after all are left there.
    SweptHolds,
    /// A lease goes by the clock since boot alone.
    WallClock,
}

impl Without {
    /// All of them in the order of the protocol, each with the first seed at which the search has found what goes wrong
    /// without it: looking there first saves the time of the seeds before. When the model changes, the search goes on from
    /// there, so a number that is out of date costs time only. `None`: not found in some thousand seeds.
    pub(super) const ALL: [(Self, Option<u64>); 24] = [
        (Self::Announcement, Some(10)),
        (Self::HoldCheck, Some(68)),
        (Self::CleanerLock, Some(488)),
        (Self::HoldBeforeMembers, Some(819)),
        (Self::RowBeforeHolds, Some(2134)),
        (Self::ClearAtJoining, Some(81)),
        (Self::ClearAfterHolds, Some(473)),
        (Self::ClearAfterExpulsion, Some(81)),
        (Self::RefusedRenewal, Some(140)),
        (Self::EarlyTicket, Some(6)),
        (Self::FreshClock, Some(66)),
        (Self::LeaseFromAsking, None),
        (Self::LeaseWaitedOut, Some(5)),
        (Self::RowUntilLeaseIsOver, Some(174)),
        (Self::MarkedExpulsion, Some(158)),
        (Self::NoForgotten, Some(1)),
        (Self::Expulsion, Some(1)),
        (Self::CommittedStandingHold, Some(18)),
        (Self::StandingHoldCheck, Some(68)),
        (Self::StandingHoldLock, Some(414)),
        (Self::HoldUntilCertain, Some(311)),
        (Self::OwnHold, Some(24)),
        (Self::SweptHolds, Some(248)),
        (Self::WallClock, Some(937)),
    ];
}
