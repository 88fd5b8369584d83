//! Records: everything around tokens that is none – collections, objects, users, projects, auth methods.
//!
//! The one thing to know: a record's body is JSON that only its dialect reads; kinds mean nothing to the engine. A body
//! holds nothing confidential: what is, is a value that the body names by id.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::locator::Place;
use crate::realm::RealmId;
use crate::token::State;
use crate::value::ValueId;

/// The id of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordId(pub Uuid);

impl RecordId {
    /// The value that holds a record's confidential content, if it has any: it bears the record's own id.
    pub const fn content(self) -> ValueId {
        ValueId(self.0)
    }
}

/// One record.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// The unit of rules it belongs to.
    pub realm: RealmId,
    /// Its id; never secret.
    pub id: RecordId,
    /// What it is, in its dialect's words.
    pub kind: String,
    /// Counts its changes, from 1.
    pub version: u64,
    /// A deleted record is a tombstone: everything below it is dead at once and is purged later.
    pub state: State,
    /// When it stops being good for anything below it.
    pub expires_at: Option<Timestamp>,
    /// Addresses from which tokens below it may be used; empty is any.
    pub addresses: Vec<IpNet>,
    /// The record above it.
    pub parent: Option<RecordId>,
    /// The locators it holds; what it is found by.
    pub locators: Vec<Place>,
    /// The marks it carries, besides the one of its parent.
    pub marks: Vec<Place>,
    /// Read and written by its dialect alone.
    pub body: serde_json::Value,
    /// When it came into being.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Its last change.
    pub updated_at: Timestamp,
    /// Who made that.
    pub updated_by: String,
}

impl Record {
    /// Whether it, taken alone, lets what is below it live at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == State::Active && self.expires_at.is_none_or(|at| at > now)
    }
}
