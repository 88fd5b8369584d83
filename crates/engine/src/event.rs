//! Events and changes: who did what, when and why, and what each token, record or value was before and after.
//!
//! The one thing to know: an event is written by the transaction of its change; there is no change without one and no
//! way to write one afterwards. Neither holds a secret or a value. Its digest covers the event and its changes, so that
//! a tamper-evident log can be built over the digests later.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::caller::{Actor, Caller};
use crate::clock::Timestamp;
use crate::keyring::sha256;
use crate::realm::RealmId;

/// The id of an event, made before the first attempt to write it: if it is in the store, its transaction has been
/// committed by an earlier attempt whose answer was lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

/// How the call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, together with this event.
    Done,
    /// Refused; nothing was changed.
    Refused,
}

/// One call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Where it happened.
    pub realm: RealmId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Which verb, as `noun.participle`.
    pub verb: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, as the caller said; for a refusal why it was refused.
    pub reason: Option<String>,
    /// The request, as in the log and the answer.
    pub request: String,
    /// How many calls it stands for: refusals are counted together within a minute.
    pub count: u64,
    /// What was changed, one for each token, record and value.
    pub changes: Vec<Change>,
}

/// What a change is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A token.
    Token,
    /// A record.
    Record,
    /// A value; its content is never part of the change, only which version it was.
    Value,
}

impl Subject {
    /// The word the stores write.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Record => "record",
            Self::Value => "value",
        }
    }

    /// The reverse of [`Subject::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Token, Self::Record, Self::Value]
            .into_iter()
            .find(|subject| subject.word() == word)
    }
}

/// One row's change. For a new row `before` is null, for a removed one `after`; otherwise both hold only the fields
/// that differ.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// What kind of row.
    pub subject: Subject,
    /// Which.
    pub id: Uuid,
    /// The version after the change; for a removed row the last one.
    pub version: u64,
    /// What it was.
    pub before: serde_json::Value,
    /// What it is.
    pub after: serde_json::Value,
}

impl Event {
    /// An event of a verb that was done for `caller`.
    pub fn done(id: EventId, caller: &Caller, at: Timestamp, verb: &str) -> Self {
        Self {
            id,
            realm: caller.realm,
            at,
            actor: caller.actor.clone(),
            verb: verb.to_owned(),
            outcome: Outcome::Done,
            reason: caller.reason.clone(),
            request: caller.request.clone(),
            count: 1,
            changes: Vec::new(),
        }
    }

    /// SHA-256 over the event as JSON, its changes included, in the order of its fields.
    pub fn digest(&self) -> [u8; 32] {
        let bytes = serde_json::to_vec(self).expect("an event is made of strings and numbers");
        sha256(&bytes)
    }
}
