//! Issue: a new access token for a secret that its dialect has minted (or was given).
//!
//! The one thing to know: the secret enters here in clear and leaves as a keyed digest; only where the product must show
//! it again is it kept, sealed, as a value of its own. A signed credential has none: it names its token.

use std::borrow::Cow;

use ipnet::IpNet;
use serde_json::json;

use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::draft::Draft;
use crate::engine::{Engine, EventSeed};
use crate::error::{Conflict, Error};
use crate::limits;
use crate::locator::{Holder, Place};
use crate::permission::Action;
use crate::record::RecordId;
use crate::seal::{Binding, seal};
use crate::secret::{Proof, Secret};
use crate::store::{Lookup, Query};
use crate::tags::Tags;
use crate::token::{Access, Body, State, Token, TokenId};
use crate::value::{Value, ValueId};
use crate::verbs::records::NewRecord;

/// The class of a value that is an access token's own secret.
pub const SECRET_CLASS: &str = "secret";

/// How the bearer of an access token proves to be it.
#[derive(Debug, Clone)]
pub enum Credential {
    /// By showing this secret.
    Secret {
        /// The secret.
        secret: Secret,
        /// What people recognise it by.
        hint: String,
        /// Whether it is kept, sealed, to be shown again.
        keep: bool,
    },
    /// By something signed that names the token; there is no secret to keep. See [`Engine::verify_signed`].
    Signed,
}

/// A new access token.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Its id, made by [`Engine::new_token_id`] where something signed must name it; else one is made.
    pub id: Option<TokenId>,
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
    /// How often it may be used, exactly; `None` is any number of times.
    pub uses_max: Option<u64>,
    /// Unique places of its dialect at which it is found; each must be free.
    pub locators: Vec<Place>,
    /// What its dialect says about it; nothing confidential.
    pub attributes: serde_json::Value,
    /// Records made by the same call: what the token hangs from, for instance.
    pub records: Vec<NewRecord>,
    /// How its bearer proves to be it.
    pub credential: Credential,
}

impl Issue {
    /// A token of a class with a secret, and nothing else.
    pub fn with_secret(class: &str, secret: Secret, hint: String, keep: bool) -> Self {
        Self {
            id: None,
            class: class.to_owned(),
            name: None,
            parent: None,
            tags: Tags::default(),
            expires_at: None,
            permissions: Vec::new(),
            addresses: Vec::new(),
            uses_max: None,
            locators: Vec::new(),
            attributes: json!({}),
            records: Vec::new(),
            credential: Credential::Secret { secret, hint, keep },
        }
    }
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
        let proofs: Vec<Proof> = match &issue.credential {
            Credential::Secret { secret, .. } => self.0.keyring.proofs(realm, secret).collect(),
            Credential::Signed => Vec::new(),
        };
        let places = proofs.iter().map(Proof::place);
        let places = places.chain(issue.locators.iter().cloned());
        let records = issue.records.iter().flat_map(NewRecord::lookups);
        let query = Query {
            realm,
            lookups: places
                .map(Lookup::Located)
                .chain(issue.parent.map(Lookup::Record))
                .chain(records)
                .collect(),
            entries: false,
            sealed: false,
            limit: limits::PAGE_ROWS,
        };
        let seed = self.event(caller, "token.issued");
        let engine = self.clone();
        self.transact(query, move |rows| {
            let now = engine.now();
            let mut draft = Draft::over(rows, now);
            for record in &issue.records {
                engine.draft_record(&mut draft, &seed, record)?;
            }
            let free = |place: &Place| match draft.living_holder(place) {
                None => Ok(()),
                Some(_) => Err(taken(place)),
            };
            proofs
                .iter()
                .map(Proof::place)
                .try_for_each(|place| free(&place))?;
            issue.locators.iter().try_for_each(free)?;
            if !draft.is_rooted(issue.parent) {
                return Err(Error::no_record("parent"));
            }
            let token = engine.draft_issue(&mut draft, &seed, &issue);
            Ok((draft.finish(seed.at(now)), token))
        })
        .await
    }

    /// An id for a token to be issued.
    pub fn new_token_id(&self) -> TokenId {
        TokenId(self.0.ids.next(self.now(), &*self.0.entropy))
    }

    fn draft_issue(&self, draft: &mut Draft<'_>, seed: &EventSeed, issue: &Issue) -> Token {
        let realm = seed.caller.realm;
        let now = draft.now();
        let id = issue.id.unwrap_or_else(|| self.new_token_id());
        let mut access = Access {
            proof: None,
            hint: String::new(),
            sealed_secret: None,
            permissions: issue.permissions.clone(),
            addresses: issue.addresses.clone(),
            uses_max: issue.uses_max,
        };
        if let Credential::Secret { secret, hint, keep } = &issue.credential {
            let proof = self.0.keyring.prove(realm, secret);
            draft.claim(proof.place(), Holder::Token(id));
            access.proof = Some(proof.0);
            access.hint.clone_from(hint);
            if *keep {
                let value = ValueId(self.0.ids.next(now, &*self.0.entropy));
                draft.put_value(self.secret_value(realm, value, secret, now));
                access.sealed_secret = Some(value);
            }
        }
        for place in &issue.locators {
            draft.claim(place.clone(), Holder::Token(id));
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
            locators: issue.locators.clone(),
            attributes: issue.attributes.clone(),
            body: Body::Access(access),
        };
        draft.put_token(token.clone());
        token
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

/// A place that somebody living holds.
pub(crate) fn taken(place: &Place) -> Error {
    let space = Cow::Owned(place.space.to_string());
    Error::Conflict(Conflict::Taken { space })
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
