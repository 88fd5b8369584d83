//! Issue: a new access token for a secret that its dialect has minted (or was given).
//!
//! The one thing to know: the secret enters here in clear and leaves as a keyed digest; only where the product must show
//! it again is it kept, sealed, as a value of its own.

use std::borrow::Cow;

use ipnet::IpNet;
use serde_json::json;

use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::{Conflict, Error};
use crate::limits;
use crate::locator::Holder;
use crate::permission::Action;
use crate::record::RecordId;
use crate::seal::{Binding, seal};
use crate::secret::Secret;
use crate::store::{Lookup, Query};
use crate::tags::Tags;
use crate::token::{Access, Body, State, Token, TokenId};
use crate::value::{Value, ValueId};

/// The class of a value that is an access token's own secret.
pub const SECRET_CLASS: &str = "secret";

/// A new access token.
#[derive(Debug)]
pub struct Issue {
    /// Which kind of token, in its dialect's words.
    pub class: String,
    /// What people call it.
    pub name: Option<String>,
    /// The record it hangs from.
    pub parent: Option<RecordId>,
    /// Its tags.
    pub tags: Tags,
    /// When it ends by itself; an instant that has passed makes it born expired.
    pub expires_at: Option<Timestamp>,
    /// What its bearer may do, in its dialect's words.
    pub permissions: Vec<String>,
    /// From where it may be used; empty is anywhere.
    pub addresses: Vec<IpNet>,
    /// The secret.
    pub secret: Secret,
    /// What people recognise it by.
    pub hint: String,
    /// Whether the secret is kept, sealed, to be shown again.
    pub keep_secret: bool,
}

impl Engine {
    /// Makes the token.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid`, or `Conflict(Taken)` when a living token has this secret already.
    pub async fn issue(&self, caller: &Caller, issue: Issue) -> Result<Token, Error> {
        caller.require(Action::Issue, &issue.class, None)?;
        check_name(issue.name.as_deref())?;
        check_lists(&issue.permissions, &issue.addresses)?;
        let realm = caller.realm;
        let proofs: Vec<_> = self.0.keyring.proofs(realm, &issue.secret).collect();
        let proof = self.0.keyring.prove(realm, &issue.secret);
        let parent = issue.parent.map(Lookup::Record);
        let places = proofs.iter().map(|proof| Lookup::Located(proof.place()));
        let query = Query {
            realm,
            lookups: places.chain(parent).collect(),
            entries: false,
            sealed: false,
            limit: proofs.len(),
        };
        let seed = self.event(caller, "token.issued");
        let engine = self.clone();
        self.transact(query, move |rows| {
            let now = engine.now();
            let mut draft = Draft::over(rows, now);
            if proofs
                .iter()
                .any(|proof| draft.living_holder(&proof.place()).is_some())
            {
                return Err(Error::Conflict(Conflict::Taken {
                    space: Cow::Borrowed("secret"),
                }));
            }
            if !draft.is_rooted(issue.parent) {
                return Err(Error::no_record("parent"));
            }
            let id = TokenId(engine.0.ids.next(now, &*engine.0.entropy));
            let sealed_secret = issue
                .keep_secret
                .then(|| ValueId(engine.0.ids.next(now, &*engine.0.entropy)));
            if let Some(value) = sealed_secret {
                draft.put_value(engine.secret_value(realm, value, &issue.secret, now));
            }
            let actor = seed.caller.actor.id.clone();
            let token = Token {
                realm,
                id,
                class: issue.class.clone(),
                container: None,
                parent: issue.parent,
                name: issue.name.clone(),
                tags: issue.tags.all().to_vec(),
                tenant: None,
                state: state_at(issue.expires_at, now),
                expires_at: issue.expires_at,
                version: 1,
                created_at: now,
                created_by: actor.clone(),
                updated_at: now,
                updated_by: actor,
                marks: Vec::new(),
                body: Body::Access(Access {
                    proof: proof.0,
                    hint: issue.hint.clone(),
                    sealed_secret,
                    permissions: issue.permissions.clone(),
                    addresses: issue.addresses.clone(),
                }),
            };
            draft.put_token(token.clone());
            draft.claim(proof.place(), Holder::Token(id));
            Ok((draft.finish(seed.at(now)), token))
        })
        .await
    }

    fn secret_value(
        &self,
        realm: crate::realm::RealmId,
        id: ValueId,
        secret: &Secret,
        now: Timestamp,
    ) -> Value {
        let binding = Binding {
            realm,
            value: id,
            version: 1,
        };
        let content = secret.expose().as_bytes();
        Value {
            realm,
            id,
            version: 1,
            class: SECRET_CLASS.to_owned(),
            container: None,
            external_id: None,
            scope: None,
            identity: None,
            refers_to: None,
            body: json!({}),
            sealed: Some(seal(&self.0.keyring, &*self.0.entropy, binding, content)),
            created_at: now,
            superseded_at: None,
        }
    }
}

/// The stored state of a token that is active but for its expiry.
pub(crate) fn state_at(expires_at: Option<Timestamp>, now: Timestamp) -> State {
    if expires_at.is_some_and(|at| at <= now) {
        State::Expired
    } else {
        State::Active
    }
}

pub(crate) fn check_name(name: Option<&str>) -> Result<(), Error> {
    let Some(name) = name else { return Ok(()) };
    if name.chars().count() > limits::NAME_CHARS_MAX {
        let message = format!("a name has at most {} characters", limits::NAME_CHARS_MAX);
        return Err(Error::invalid("name", message));
    }
    if name.contains('\0') {
        return Err(Error::invalid("name", "a name has no NUL character"));
    }
    Ok(())
}

pub(crate) fn check_lists(permissions: &[String], addresses: &[IpNet]) -> Result<(), Error> {
    if permissions.len() > limits::PERMISSIONS_MAX {
        return Err(Error::TooMany {
            what: "permissions",
            max: limits::PERMISSIONS_MAX,
        });
    }
    if addresses.len() > limits::ADDRESSES_MAX {
        return Err(Error::TooMany {
            what: "addresses",
            max: limits::ADDRESSES_MAX,
        });
    }
    Ok(())
}
