//! Tokens of both families: access tokens, which are credentials, and data tokens, which stand for a value.
//!
//! The one thing to know: a token is good only while it *and each record above it* is there, active and unexpired. So
//! "is it alive" is never a question to the token alone; see [`Standing`].

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::limits;
use crate::locator::Holder;
use crate::locator::Place;
use crate::realm::RealmId;
use crate::record::{Record, RecordId};
use crate::value::ValueId;

/// The id of a token; never secret, never derived from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub Uuid);

/// The stored state of a token or record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Good, unless its time has passed or something above it is not.
    Active,
    /// Put out of force for a while, by hand.
    Suspended,
    /// Put away; can be restored.
    Archived,
    /// Put out of force for good; stays in lists.
    Revoked,
    /// Its expiry was not in the future when it was committed. A fact of its own, so that no other clock revives it.
    Expired,
    /// A tombstone: looks as if it were not there, and is purged later. Records only; tokens are removed.
    Deleted,
}

impl State {
    /// The word the stores write.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Archived => "archived",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }

    /// The reverse of [`State::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Active,
            Self::Suspended,
            Self::Archived,
            Self::Revoked,
            Self::Expired,
            Self::Deleted,
        ]
        .into_iter()
        .find(|state| state.word() == word)
    }
}

/// One token: a header that both families share, and a body.
#[derive(Clone, PartialEq, Debug)]
pub struct Token {
    /// The unit of rules it belongs to.
    pub realm: RealmId,
    /// Its id.
    pub id: TokenId,
    /// Which kind of token, in its dialect's words (`client`, `randomized`…); grants may name it.
    pub class: String,
    /// The record within which its tags and outward id are looked up.
    pub container: Option<RecordId>,
    /// The record it hangs from: dead record, dead token.
    pub parent: Option<RecordId>,
    /// What people call it; not unique.
    pub name: Option<String>,
    /// In the order given, without repetitions.
    pub tags: Vec<String>,
    /// The tenant it belongs to, where a product has them inside a realm.
    pub tenant: Option<String>,
    /// The stored state.
    pub state: State,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Counts its changes, from 1.
    pub version: u64,
    /// When it came into being.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Its last change.
    pub updated_at: Timestamp,
    /// Who made that.
    pub updated_by: String,
    /// Marks of its dialect, beside those that follow from the fields above; they go with it.
    pub marks: Vec<Place>,
    /// Unique places of its dialect at which it is found; they go with it.
    pub locators: Vec<Place>,
    /// What its dialect says about it; the engine carries it and reads it never. Nothing confidential.
    pub attributes: serde_json::Value,
    /// What only its family has.
    pub body: Body,
}

/// What only one family has.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// A credential.
    Access(Access),
    /// A stand-in for a value.
    Data(Data),
}

/// The body of an access token.
#[derive(Clone, PartialEq)]
pub struct Access {
    /// All 32 bytes of the secret's keyed digest; the first 16 are its locator. `None` for a credential that names its
    /// token and is proved by a signature: then there is no secret of its own.
    pub proof: Option<[u8; 32]>,
    /// A few characters by which people recognise the secret; not enough to guess it.
    pub hint: String,
    /// The sealed secret itself, where a product must show it again.
    pub sealed_secret: Option<ValueId>,
    /// What its bearer may do, in its dialect's words. A restriction is never widened by absence: no permission is none.
    pub permissions: Vec<String>,
    /// From where it may be used; empty is anywhere.
    pub addresses: Vec<IpNet>,
    /// How often it may be used, exactly; `None` is any number of times.
    pub uses_max: Option<u64>,
}

impl fmt::Debug for Access {
    /// Without the proof.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("hint", &self.hint)
            .field("permissions", &self.permissions)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// The body of a data token.
#[derive(Clone, PartialEq, Debug)]
pub struct Data {
    /// What it stands for.
    pub value: ValueId,
}

impl Token {
    /// The value a data token stands for.
    pub const fn value(&self) -> Option<ValueId> {
        match &self.body {
            Body::Data(data) => Some(data.value),
            Body::Access(_) => None,
        }
    }

    /// The body of an access token.
    pub const fn access(&self) -> Option<&Access> {
        match &self.body {
            Body::Access(access) => Some(access),
            Body::Data(_) => None,
        }
    }

    /// What the outside takes it for: entries that share a value are one token.
    pub(crate) fn outward_holder(&self) -> Holder {
        self.value().map_or(Holder::Token(self.id), Holder::Value)
    }

    /// The owner of a data token: its parent, unless that is only its container.
    pub fn owner(&self) -> Option<RecordId> {
        self.parent.filter(|parent| Some(*parent) != self.container)
    }
}

/// How a token stands at an instant, everything above it considered; the later one here outweighs the earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// In force.
    Live,
    /// Still there, but its time (or that of a record above it) has passed.
    Expired,
    /// Still there, but it (or a record above it) was put out of force by hand.
    Inactive,
    /// A record above it is deleted or missing: to be treated as not there.
    Orphaned,
}

impl Standing {
    /// Judges `token` at `now` by the records at hand; a record that is not among them counts as missing.
    pub fn of(token: &Token, records: &BTreeMap<RecordId, Record>, now: Timestamp) -> Self {
        match ancestors(token.parent, records) {
            Some(chain) => Self::below(token, chain.iter().copied(), now),
            None => Self::Orphaned,
        }
    }

    /// Judges `token` at `now` by the records above it.
    pub fn below<'a>(
        token: &Token,
        ancestors: impl IntoIterator<Item = &'a Record>,
        now: Timestamp,
    ) -> Self {
        let alone = |state, expires_at: Option<Timestamp>| match state {
            State::Deleted => Self::Orphaned,
            State::Suspended | State::Archived | State::Revoked => Self::Inactive,
            State::Expired => Self::Expired,
            State::Active if expires_at.is_some_and(|at| at <= now) => Self::Expired,
            State::Active => Self::Live,
        };
        let above = ancestors
            .into_iter()
            .map(|record| alone(record.state, record.expires_at));
        let own = alone(token.state, token.expires_at);
        above.fold(own, Ord::max)
    }
}

/// The chain of records from `parent` upward; `None` if one is missing or there are more than the limit.
pub fn ancestors(
    parent: Option<RecordId>,
    records: &BTreeMap<RecordId, Record>,
) -> Option<Vec<&Record>> {
    let mut chain = Vec::new();
    let mut next = parent;
    while let Some(id) = next {
        if chain.len() == limits::ANCESTORS_MAX {
            return None;
        }
        let record = records.get(&id)?;
        chain.push(record);
        next = record.parent;
    }
    Some(chain)
}

/// When the token ends in effect: the earliest expiry of it and of everything above it.
pub fn effective_expiry(token: &Token, records: &BTreeMap<RecordId, Record>) -> Option<Timestamp> {
    ancestors(token.parent, records)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|record| record.expires_at)
        .chain(token.expires_at)
        .min()
}
