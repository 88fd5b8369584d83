//! A seam for tests: a commit that fails although the database is well.
//!
//! The one thing to know: what a client sees when a commit fails says nothing about whether it happened, so each fault can
//! be put before or after the real one.

use std::fmt;

/// What a commit is made to fail with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SQLSTATE 40001.
    Serialization,
    /// SQLSTATE XX000, as a distributed engine reports a conflict.
    Internal,
    /// The connection breaks.
    ConnectionLost,
}

/// Where the fault lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The transaction is rolled back.
    BeforeCommit,
    /// The transaction is committed and its answer lost.
    AfterCommit,
}

/// Decides at each commit whether it fails. For tests only; a program leaves the option empty.
pub trait CommitFaults: fmt::Debug + Send + Sync {
    /// Asked once for each commit of a group and of a use.
    fn at_commit(&self) -> Option<(Fault, Moment)>;
}
