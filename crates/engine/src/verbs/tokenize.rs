//! Tokenize: data tokens for contents, all of a call or none.
//!
//! The one thing to know: where a class says that the same content is the same value ([`Identity`]), the outward id of an
//! existing value is given again. If that value has an entry of the same owner already, it is *that* token: its tags
//! grow and its expiry follows the rule of [`Expiry`]; otherwise the value gets one more token.

use std::borrow::Cow;

use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::draft::{Draft, identity_place, identity_place_in};
use crate::engine::{Engine, EventSeed};
use crate::entropy::random_uuid;
use crate::error::{Conflict, Error};
use crate::limits;
use crate::locator::{Holder, Key, Place, Space};
use crate::permission::Action;
use crate::realm::RealmId;
use crate::record::RecordId;
use crate::seal::{Binding, seal};
use crate::store::{Lookup, Query};
use crate::tags::{Tags, claim_unique};
use crate::token::{Body, Data, Standing, Token, TokenId};
use crate::value::{Scope, Value, ValueId};
use crate::verbs::issue::state_at;
use crate::verbs::records::NewRecord;
use crate::verbs::update::check_content;

/// Whether the same content is the same value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity {
    /// Never: each token has a value of its own.
    None,
    /// Within class, scope and container.
    Shared,
    /// As `Shared`, and the outward id is computed from it, so that it comes out the same without a look-up.
    Computed,
}

/// Which outward id a new value gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExternalId {
    /// A random UUIDv4, or the computed one.
    Default,
    /// This one; it must be free, or be the one that the content has already.
    Given(String),
    /// The first of these that is free.
    OneOf(Vec<String>),
}

/// What a value is made of.
#[derive(Clone)]
pub enum Content {
    /// This content, in the canonical form by which two contents are the same.
    Sealed(Zeroizing<Vec<u8>>),
    /// Whatever the owner holds when the token is opened.
    OfOwner,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sealed(_) => "Sealed",
            Self::OfOwner => "OfOwner",
        })
    }
}

/// When a token ends, as a call says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// Said: then, or never. Replaces that of an existing token.
    Given(Option<Timestamp>),
    /// Not said: this default. An existing token's moves only if the default is later.
    Default(Option<Timestamp>),
}

/// One data token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Which kind, in the dialect's words; grants may name it.
    pub class: String,
    /// Whether the same content is the same value.
    pub identity: Identity,
    /// Which outward id a new value gets.
    pub external_id: ExternalId,
    /// Part of what makes contents the same.
    pub scope: Scope,
    /// What it stands for.
    pub content: Content,
    /// What the dialect says about the content; nothing confidential.
    pub body: Json,
    /// The record that owns it; without one it hangs from its container.
    pub owner: Option<RecordId>,
    /// Its tenant.
    pub tenant: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// Data tokens to be made.
#[derive(Clone, Debug)]
pub struct Tokenize {
    /// The record within which outward ids are unique.
    pub container: RecordId,
    /// In the order of the answer.
    pub tokens: Vec<NewToken>,
    /// When they end.
    pub expiry: Expiry,
    /// Tags of one token at the most, those it has already included.
    pub tags_max: usize,
    /// Records made by the same call: objects that own the tokens, the call's own mark of having been made.
    pub records: Vec<NewRecord>,
    /// Marks by which all tokens of the call are found again.
    pub marks: Vec<Place>,
}

/// One token made or found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tokenized {
    /// The outward id.
    pub external_id: String,
    /// The token.
    pub token: TokenId,
}

impl Engine {
    /// Makes (or finds) the tokens.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid`, `NotFound` (container, owner), `Conflict(Taken)` for an outward id, a unique tag or a
    /// record's locator. Nothing is made then.
    pub async fn tokenize(
        &self,
        caller: &Caller,
        tokenize: Tokenize,
    ) -> Result<Vec<Tokenized>, Error> {
        caller.require_any(Action::Issue, Some(tokenize.container))?;
        for token in &tokenize.tokens {
            caller.require(Action::Issue, &token.class, Some(tokenize.container))?;
            caller.require_tenant(token.tenant.as_deref())?;
            if let Content::Sealed(content) = &token.content {
                check_content(content)?;
            }
        }
        if tokenize.tokens.len() > limits::ISSUED_PER_CALL_MAX {
            return Err(Error::TooMany {
                what: "tokens in a call",
                max: limits::ISSUED_PER_CALL_MAX,
            });
        }
        let query = self.tokenize_query(caller, &tokenize);
        let seed = self.event(caller, "token.tokenized");
        let engine = self.clone();
        self.transact(query, move |rows| {
            let now = engine.now();
            let mut draft = Draft::over(rows, now);
            if !draft.is_rooted(Some(tokenize.container))
                || draft.record(tokenize.container).is_none()
            {
                return Err(Error::no_record("container"));
            }
            for record in &tokenize.records {
                engine.draft_record(&mut draft, &seed, record)?;
            }
            let made = tokenize
                .tokens
                .iter()
                .map(|new| engine.draft_token(&mut draft, &seed, &tokenize, new))
                .collect::<Result<Vec<_>, _>>()?;
            let claims = tokenize.tokens.iter().zip(&made);
            claim_unique(&mut draft, claims.map(|(new, one)| (one.token, &new.tags)))?;
            Ok((draft.finish(seed.at(now)), made))
        })
        .await
    }

    fn tokenize_query(&self, caller: &Caller, tokenize: &Tokenize) -> Query {
        let container = Some(tokenize.container);
        let mut lookups = vec![Lookup::Record(tokenize.container)];
        for record in &tokenize.records {
            lookups.extend(record.lookups());
        }
        for new in &tokenize.tokens {
            lookups.extend(new.owner.map(Lookup::Record));
            lookups.extend(new.tags.lookups(container));
            if let Some(digest) = self.new_identity(caller, tokenize.container, new) {
                lookups.push(Lookup::Located(identity_place(&digest)));
                if new.scope.global {
                    let here = identity_place_in(&digest, tokenize.container);
                    lookups.push(Lookup::Located(here));
                }
                if new.identity == Identity::Computed {
                    let id = computed_id(&digest);
                    lookups.push(Lookup::Located(external_place(tokenize.container, &id)));
                }
            }
            let ids = match &new.external_id {
                ExternalId::Default => &[][..],
                ExternalId::Given(id) => std::slice::from_ref(id),
                ExternalId::OneOf(ids) => ids,
            };
            let places = ids.iter().map(|id| external_place(tokenize.container, id));
            lookups.extend(places.map(Lookup::Located));
        }
        Query {
            realm: caller.realm,
            lookups,
            entries: true,
            sealed: false,
            limit: limits::TOKENS_PER_CALL_MAX
                .min(limits::UNIQUE_TAG_CARRIERS_MAX + limits::ISSUED_PER_CALL_MAX),
        }
    }

    /// The identity of a content in this call, if its class has any.
    fn new_identity(
        &self,
        caller: &Caller,
        container: RecordId,
        new: &NewToken,
    ) -> Option<[u8; 32]> {
        let Content::Sealed(content) = &new.content else {
            return None;
        };
        (new.identity != Identity::None).then(|| {
            self.content_identity(caller.realm, container, &new.class, &new.scope, content)
        })
    }

    fn draft_token(
        &self,
        draft: &mut Draft<'_>,
        seed: &EventSeed,
        tokenize: &Tokenize,
        new: &NewToken,
    ) -> Result<Tokenized, Error> {
        let parent = new.owner.unwrap_or(tokenize.container);
        // An owner elsewhere would let the token outlive its container.
        if !draft.is_rooted(Some(parent)) || !draft.is_below(parent, tokenize.container) {
            return Err(Error::no_record("owner"));
        }
        let value = self.draft_value(draft, seed, tokenize, new)?;
        let external_id = value.external_id.clone().ok_or(Error::Internal)?;
        // Nobody appends to a token of another tenant; who names none and is bound to none takes the one that is there.
        let unbound = new.tenant.is_none() && seed.caller.tenants.is_none();
        let entry = draft
            .entries_below(value.id, parent)
            .find(|token| unbound || token.tenant == new.tenant)
            .cloned();
        let token = match entry {
            Some(entry) => repeated(draft, tokenize, new, entry)?,
            None => self.new_entry(draft, seed, tokenize, new, (parent, value.id)),
        };
        let made = Tokenized {
            external_id,
            token: token.id,
        };
        draft.put_token(token);
        Ok(made)
    }

    /// The value that the content has already, or a new one.
    fn draft_value(
        &self,
        draft: &mut Draft<'_>,
        seed: &EventSeed,
        tokenize: &Tokenize,
        new: &NewToken,
    ) -> Result<Value, Error> {
        let container = tokenize.container;
        let identity = self.new_identity(&seed.caller, container, new);
        let place = identity.map(|digest| identity_place(&digest));
        let present = value_at(draft, place.as_ref());
        // In a global scope the value may have come into being in another container: then it has a copy here, which
        // outlives it and must be found without it.
        let place_here = identity
            .filter(|_| new.scope.global)
            .map(|digest| identity_place_in(&digest, container));
        let here = match &present {
            Some(value) if value.container == Some(container) => present.clone(),
            _ => value_at(draft, place_here.as_ref()),
        };
        let another = |value: &Value| match &new.external_id {
            ExternalId::Given(id) => value.external_id.as_ref() != Some(id),
            ExternalId::Default | ExternalId::OneOf(_) => false,
        };
        if here.as_ref().or(present.as_ref()).is_some_and(another) {
            let message = "the content has another token id";
            return Err(Error::invalid("external_id", message));
        }
        if let Some(value) = here {
            if let (Some(place), None) = (place, present) {
                draft.claim(place, Holder::Value(value.id));
            }
            return Ok(value);
        }
        let id = ValueId(self.0.ids.next(draft.now(), &*self.0.entropy));
        let (external_id, place) = if let Some(abroad) = present {
            (abroad.external_id.ok_or(Error::Internal)?, place_here)
        } else {
            let computed = identity
                .filter(|_| new.identity == Identity::Computed)
                .map(|digest| computed_id(&digest));
            let free = self.free_external_id(draft, container, new, computed)?;
            (free, place)
        };
        let value = self.new_value(draft, seed, tokenize, new, (id, external_id, identity));
        if let Some(place) = place {
            draft.claim(place, Holder::Value(id));
        }
        Ok(value)
    }

    fn new_value(
        &self,
        draft: &mut Draft<'_>,
        seed: &EventSeed,
        tokenize: &Tokenize,
        new: &NewToken,
        (id, external_id, identity): (ValueId, String, Option<[u8; 32]>),
    ) -> Value {
        let realm = seed.caller.realm;
        let binding = Binding {
            realm,
            value: id,
            version: 1,
        };
        let (sealed, refers_to) = match &new.content {
            Content::Sealed(content) => (
                Some(seal(&self.0.keyring, &*self.0.entropy, binding, content)),
                None,
            ),
            Content::OfOwner => (None, new.owner),
        };
        draft.claim(
            external_place(tokenize.container, &external_id),
            Holder::Value(id),
        );
        let value = Value {
            realm,
            id,
            version: 1,
            class: new.class.clone(),
            container: Some(tokenize.container),
            external_id: Some(external_id),
            scope: Some(new.scope.clone()),
            identity,
            refers_to,
            body: new.body.clone(),
            sealed,
            created_at: draft.now(),
            superseded_at: None,
        };
        draft.put_value(value.clone());
        value
    }

    fn free_external_id(
        &self,
        draft: &Draft<'_>,
        container: RecordId,
        new: &NewToken,
        computed: Option<String>,
    ) -> Result<String, Error> {
        let free = |id: &str| {
            draft
                .living_holder(&external_place(container, id))
                .is_none()
        };
        let taken = || {
            Error::Conflict(Conflict::Taken {
                space: Cow::Borrowed("external"),
            })
        };
        match (&new.external_id, computed) {
            (ExternalId::Given(id), Some(computed)) if *id != computed => Err(Error::invalid(
                "external_id",
                "the content has another token id",
            )),
            (ExternalId::Given(id), _) => {
                if free(id) {
                    Ok(id.clone())
                } else {
                    Err(taken())
                }
            }
            (ExternalId::OneOf(ids), _) => {
                ids.iter().find(|id| free(id)).cloned().ok_or_else(taken)
            }
            // A computed id that is taken belongs to a value that was rotated or given this id by hand.
            (ExternalId::Default, Some(computed)) => {
                if free(&computed) {
                    Ok(computed)
                } else {
                    Err(taken())
                }
            }
            (ExternalId::Default, None) => Ok(random_uuid(&*self.0.entropy).to_string()),
        }
    }

    fn new_entry(
        &self,
        draft: &Draft<'_>,
        seed: &EventSeed,
        tokenize: &Tokenize,
        new: &NewToken,
        (parent, value): (RecordId, ValueId),
    ) -> Token {
        let now = draft.now();
        let (Expiry::Given(expires_at) | Expiry::Default(expires_at)) = tokenize.expiry;
        let actor = seed.caller.actor.id.clone();
        Token {
            realm: seed.caller.realm,
            id: TokenId(self.0.ids.next(now, &*self.0.entropy)),
            class: new.class.clone(),
            container: Some(tokenize.container),
            parent: Some(parent),
            name: None,
            tags: new.tags.all().to_vec(),
            tenant: new.tenant.clone(),
            state: state_at(expires_at, now),
            expires_at,
            version: 1,
            created_at: now,
            created_by: actor.clone(),
            updated_at: now,
            updated_by: actor,
            marks: tokenize.marks.clone(),
            locators: Vec::new(),
            attributes: serde_json::json!({}),
            body: Body::Data(Data { value }),
        }
    }

    /// The digest by which a content is the same as another: also the source of computed ids.
    pub fn content_identity(
        &self,
        realm: RealmId,
        container: RecordId,
        class: &str,
        scope: &Scope,
        content: &[u8],
    ) -> [u8; 32] {
        let container = if scope.global {
            uuid::Uuid::nil()
        } else {
            container.0
        };
        let parts = [
            container.as_bytes().as_slice(),
            scope.name.as_bytes(),
            class.as_bytes(),
            content,
        ];
        self.0.keyring.blind(realm, &Space::IDENTITY, &parts)
    }
}

/// The value that is found at a place and counts.
fn value_at(draft: &Draft<'_>, place: Option<&Place>) -> Option<Value> {
    match draft.living_holder(place?)? {
        Holder::Value(id) => draft.value(id).cloned(),
        Holder::Token(_) | Holder::Record(_) => None,
    }
}

/// The token that is there already: tags grow, the expiry follows the rule.
fn repeated(
    draft: &Draft<'_>,
    tokenize: &Tokenize,
    new: &NewToken,
    entry: Token,
) -> Result<Token, Error> {
    let expires_at = match tokenize.expiry {
        Expiry::Given(at) => at,
        Expiry::Default(None) => None,
        Expiry::Default(Some(default)) => entry.expires_at.map(|present| present.max(default)),
    };
    let state = if draft.standing(&entry) == Standing::Inactive {
        entry.state
    } else {
        state_at(expires_at, draft.now())
    };
    let mut marks = entry.marks.clone();
    marks.extend(tokenize.marks.iter().cloned());
    marks.sort();
    marks.dedup();
    Ok(Token {
        marks,
        tags: new.tags.appended_to(&entry.tags, tokenize.tags_max)?,
        expires_at,
        state,
        ..entry
    })
}

fn external_place(container: RecordId, id: &str) -> Place {
    Place::new(Space::EXTERNAL, Key::in_container(Some(container), id))
}

/// The first 128 bits of an identity, printed like a UUID; no version or variant bits are set.
pub fn computed_id(identity: &[u8; 32]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&identity[..16]);
    uuid::Uuid::from_bytes(bytes).to_string()
}
