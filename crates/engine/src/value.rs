//! Values: what tokens stand for, sealed.
//!
//! The one thing to know: a value is a chain of versions that are never overwritten. A change adds version n+1 and marks
//! version n as superseded; n stays, sealed, until its retention ends, so that a change can be undone although no event
//! holds its content. Several tokens (entries) may share one value, and the value carries the outward token id.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::realm::RealmId;
use crate::record::RecordId;

/// The id of a value, the same for all its versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueId(pub Uuid);

/// Sealed bytes as they lie in the store: see [`crate::seal`] for the format.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Within which bounds the same content is the same value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Scope {
    /// Its name, as the caller gave it.
    pub name: String,
    /// Whether it spans all containers of the realm.
    pub global: bool,
}

/// One version of a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// The unit of rules it belongs to.
    pub realm: RealmId,
    /// Its id; never secret.
    pub id: ValueId,
    /// From 1; each change of the content makes the next.
    pub version: u64,
    /// What kind of value, in its dialect's words.
    pub class: String,
    /// The record within which its outward id is unique.
    pub container: Option<RecordId>,
    /// The token id that the outside knows.
    pub external_id: Option<String>,
    /// Part of what makes two values the same.
    pub scope: Option<Scope>,
    /// Keyed digest of container, scope, class and content, if the same content is to give the same value again. The
    /// locator of this digest follows every change of the content.
    pub identity: Option<[u8; 32]>,
    /// A pointer's object: the content is read there, when it is asked for.
    pub refers_to: Option<RecordId>,
    /// What its dialect says about the content; nothing confidential.
    pub body: serde_json::Value,
    /// The content; `None` for pointers, and where a query did not ask for it.
    pub sealed: Option<Sealed>,
    /// When this version came into being.
    pub created_at: Timestamp,
    /// When the next version took its place.
    pub superseded_at: Option<Timestamp>,
}
