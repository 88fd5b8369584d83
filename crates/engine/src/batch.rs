//! The batch: everything one call writes, applied whole or not at all.
//!
//! The one thing to know: each row that is written says which version it replaces; the store compares and counts rows,
//! so that a batch built on something old is refused as a whole.

use crate::event::Event;
use crate::locator::{Holder, Place};
use crate::record::{Record, RecordId};
use crate::token::{Token, TokenId};
use crate::value::{Value, ValueId};

/// All writes of one call, in one realm (that of the event).
#[derive(Clone, Debug)]
pub struct Batch {
    /// The trace of the call. Its id goes in first: if it is there already, the batch has been applied.
    pub event: Event,
    /// At most one write for each token.
    pub tokens: Vec<TokenWrite>,
    /// At most one write for each value.
    pub values: Vec<ValueWrite>,
    /// At most one write for each record.
    pub records: Vec<RecordWrite>,
    /// At most one claim for each place, and no release of one that is claimed.
    pub locators: Vec<LocatorWrite>,
    /// In any order.
    pub marks: Vec<MarkWrite>,
}

/// One token's write.
#[derive(Clone, Debug)]
pub enum TokenWrite {
    /// It must not be there.
    Insert(Token),
    /// It must be there with version `from`.
    Update {
        /// The new state.
        token: Token,
        /// The version it replaces.
        from: u64,
    },
    /// It must be there with version `from`.
    Delete {
        /// Which.
        id: TokenId,
        /// The version it had.
        from: u64,
    },
}

/// One record's write.
#[derive(Clone, Debug)]
pub enum RecordWrite {
    /// It must not be there.
    Insert(Record),
    /// It must be there with version `from`.
    Update {
        /// The new state.
        record: Record,
        /// The version it replaces.
        from: u64,
    },
    /// It must be there with version `from`.
    Delete {
        /// Which.
        id: RecordId,
        /// The version it had.
        from: u64,
    },
}

/// One value's write.
#[derive(Clone, Debug)]
pub enum ValueWrite {
    /// Version 1; no version may be there.
    Insert(Value),
    /// Version `from` must be the present one; it is marked as superseded at `value.created_at`.
    Supersede {
        /// The new version, with its sealed content.
        value: Value,
        /// The version it follows.
        from: u64,
    },
    /// All versions go; `from` must be the present one.
    Delete {
        /// Which.
        id: ValueId,
        /// The version that was the present one.
        from: u64,
    },
    /// Superseded versions up to `through` go; the present one stays.
    Forget {
        /// Which.
        id: ValueId,
        /// The last version to go.
        through: u64,
    },
}

/// One locator's write.
#[derive(Clone, Debug)]
pub enum LocatorWrite {
    /// From now on `holder` is found there. It moves only from the stated former holder; `None` means it must be free.
    Claim {
        /// Where.
        place: Place,
        /// Who is to be found.
        holder: Holder,
        /// Who was found until now.
        from: Option<Holder>,
    },
    /// `holder` is found there no more. Nothing happens if somebody else has it by now: a dead holder's places may have
    /// been claimed by the living before it was purged.
    Release {
        /// Where.
        place: Place,
        /// Who was found until now.
        holder: Holder,
    },
}

/// One mark's write; both are idempotent.
#[derive(Clone, Debug)]
pub enum MarkWrite {
    /// Let the walk over this place find the holder.
    Set(Place, Holder),
    /// Let it not.
    Unset(Place, Holder),
}
