//! Tokens of the simulated realm, as small as the engine's index takes them.
//!
//! The one thing to know: a token's version is what the search compares; everything else of it is filler.

use engine::clock::Timestamp;
use engine::live::LiveKey;
use engine::realm::RealmId;
use engine::token::{Access, Body, State, Token, TokenId};
use uuid::Uuid;

use super::database::{Content, Key};

/// The realm that is written to.
pub(super) const REALM: RealmId = RealmId(Uuid::from_u128(1));

/// Keys are below this.
pub(super) const KEYS_MAX: Key = 6;

pub(super) fn id_of(key: Key) -> TokenId {
    TokenId(Uuid::from_u128(key.into()))
}

pub(super) fn live_key(key: Key) -> LiveKey {
    LiveKey::Token(REALM, id_of(key))
}

/// What a token in memory says.
pub(super) fn content(token: &Token) -> Content {
    Content {
        version: token.version,
        present: true,
        active: token.state == State::Active,
    }
}

pub(super) fn token(key: Key, content: Content) -> Token {
    Token {
        realm: REALM,
        id: id_of(key),
        class: String::new(),
        container: None,
        parent: None,
        name: None,
        tags: Vec::new(),
        tenant: None,
        state: if content.active {
            State::Active
        } else {
            State::Suspended
        },
        expires_at: None,
        version: content.version,
        created_at: Timestamp::MIN,
        created_by: String::new(),
        updated_at: Timestamp::MIN,
        updated_by: String::new(),
        marks: Vec::new(),
        locators: Vec::new(),
        attributes: serde_json::Value::Null,
        body: Body::Access(Access {
            proof: None,
            hint: String::new(),
            sealed_secret: None,
            permissions: Vec::new(),
            addresses: Vec::new(),
            uses_max: None,
        }),
    }
}
