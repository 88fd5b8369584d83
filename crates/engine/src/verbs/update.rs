//! Update: the one update behind every dialect's – select, authorize, check the expected version, change, record, put in
//! force.
//!
//! The one thing to know: the whole decision is taken inside the store's transaction on the rows that it changes, all or
//! nothing. *Keep*, *set* and *clear* are three different things everywhere ([`Field`]); what is not sent is not touched.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::batch::{Batch, TokenWrite};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::draft::{Draft, identity_place, identity_places};
use crate::engine::{Engine, EventSeed};
use crate::error::{Conflict, Error, Forbidden};
pub use crate::guard::Guard;
use crate::locator::{Holder, Place};
use crate::permission::Action;
use crate::record::RecordId;
use crate::seal::{Binding, seal};
use crate::selection::Selection;
use crate::store::{Lookup, Rows};
use crate::tags::{Tags, claim_unique};
use crate::token::{Body, Standing, State, Token, TokenId};
use crate::value::{Value, ValueId};
use crate::verbs::issue::{check_lists, check_name, taken};

/// What happens to one field.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Field<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes this.
    Set(T),
    /// It becomes empty.
    Clear,
}

/// What an update may do.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// The name.
    pub name: Field<String>,
    /// All tags are replaced.
    pub tags: Field<Tags>,
    /// An instant that has passed ends the token, one in the future (or none) brings back one that had expired.
    pub expires_at: Field<Timestamp>,
    /// What its bearer may do.
    pub permissions: Field<Vec<String>>,
    /// From where it may be used; *clear* means anywhere.
    pub addresses: Field<Vec<IpNet>>,
    /// All places of its dialect are replaced; each new one must be free.
    pub locators: Field<Vec<Place>>,
    /// Whether it makes a version although nothing differs: where a product says that every save does.
    pub touch: bool,
    /// What it stands for.
    pub data: Option<NewData>,
}

/// New content of a data token, in place of all of the former.
#[derive(Clone)]
pub struct NewData {
    /// The content in clear, in the canonical form by which two contents are the same.
    pub content: Zeroizing<Vec<u8>>,
    /// What the dialect says about it; nothing confidential.
    pub body: serde_json::Value,
    /// The classes whose content may be changed, in the dialect's words.
    pub classes: Vec<String>,
}

impl std::fmt::Debug for NewData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewData")
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

/// An update.
#[derive(Clone, Debug)]
pub struct Update {
    /// Of which tokens.
    pub selection: Selection,
    /// What is done to each.
    pub edit: Edit,
    /// Under which condition.
    pub guard: Guard,
}

/// What an update did.
#[derive(Clone, Debug)]
pub struct Updated {
    /// All tokens that matched, as they are now, in order of creation; empty if none did and nothing was done.
    pub tokens: Vec<Token>,
}

impl Engine {
    /// Updates every token that matches, or none.
    ///
    /// # Errors
    /// `Forbidden` (no right, another tenant, a token widening itself), `Invalid`, `Conflict` (version, unique tag),
    /// `TooMany`. That nothing matches is no error: products differ in what they say then.
    pub async fn update(&self, caller: &Caller, update: Update) -> Result<Updated, Error> {
        // Whoever may change what a token stands for may change its header in the same call.
        let action = match update.edit.data {
            Some(_) => Action::UpdateData,
            None => Action::Update,
        };
        let alteration = Alteration {
            edit: update.edit,
            transition: None,
        };
        let (selection, guard) = (update.selection, update.guard);
        self.alter(
            caller,
            action,
            "token.updated",
            selection,
            guard,
            alteration,
        )
        .await
    }

    /// Selects, authorizes, guards and alters; the verbs beside update come here too.
    pub(crate) async fn alter(
        &self,
        caller: &Caller,
        action: Action,
        verb: &'static str,
        selection: Selection,
        guard: Guard,
        alteration: Alteration,
    ) -> Result<Updated, Error> {
        caller.require_any(action, selection.container)?;
        selection.check()?;
        let realm = caller.realm;
        let mut query = selection.query(realm, &self.0.keyring);
        let (lookups, containers) = self.ahead(caller, &selection, &alteration.edit).await?;
        query.lookups.extend(lookups);
        let seed = self.event(caller, verb);
        let by_secret = selection.is_by_secret();
        let engine = self.clone();
        let work = self.transact(query, move |rows| {
            let now = engine.now();
            let judge = selection.matcher(rows, realm, &engine.0.keyring, now);
            let matched: Vec<Token> = judge.matched().into_iter().cloned().collect();
            let mut draft = Draft::over(rows, now);
            for token in &matched {
                seed.caller.require(action, &token.class, token.container)?;
                seed.caller.require_tenant(token.tenant.as_deref())?;
                if containers
                    .as_ref()
                    .is_some_and(|read| !read.contains(&token.container))
                {
                    return Err(Error::Conflict(Conflict::Busy));
                }
            }
            for token in &matched {
                guard.judge(token.version, token)?;
            }
            engine.draft_all(&mut draft, &seed, action, &matched, &alteration)?;
            let ids: Vec<_> = matched.iter().map(|token| token.id).collect();
            let batch = draft.finish(seed.at(now));
            let tokens = newest(batch.as_ref(), rows, ids);
            Ok((batch, Updated { tokens }))
        });
        let updated = work.await?;
        if updated.tokens.is_empty() && by_secret {
            self.holds_all_keys().await?;
        }
        Ok(updated)
    }

    fn draft_all(
        &self,
        draft: &mut Draft<'_>,
        seed: &EventSeed,
        action: Action,
        matched: &[Token],
        alteration: &Alteration,
    ) -> Result<(), Error> {
        let edit = &alteration.edit;
        for token in matched {
            let after = altered(token, alteration, draft.now())?;
            if seed.caller.widens_itself(token, &after) {
                return Err(Error::Forbidden(Forbidden::Itself));
            }
            move_locators(draft, token, &after)?;
            draft.put_token(after);
            if edit.touch {
                draft.touch_token(token.id);
            }
        }
        if let Field::Set(tags) = &edit.tags {
            claim_unique(draft, matched.iter().map(|token| (token.id, tags)))?;
        }
        let Some(new) = &edit.data else { return Ok(()) };
        let mut targets = BTreeSet::new();
        for token in matched {
            targets.insert(data_target(token, new)?);
        }
        if targets.len() > 1 {
            let message = "tokens whose data is changed together have one token id";
            return Err(Error::invalid("data", message));
        }
        for id in targets {
            let value = draft.value(id).cloned().ok_or(Error::Internal)?;
            // Every token of the value stands for the new content, also those that were not selected: all of them must be
            // the caller's to change, and all make a version.
            let entries: Vec<Token> = draft
                .entries_of(id)
                .filter(|entry| draft.standing(entry) != Standing::Orphaned)
                .cloned()
                .collect();
            for entry in entries {
                let caller = &seed.caller;
                caller.require(action, &entry.class, entry.container)?;
                caller.require_tenant(entry.tenant.as_deref())?;
                draft.touch_token(entry.id);
            }
            self.replace_content(draft, &value, new)?;
        }
        Ok(())
    }

    /// The next version of a value; its identity, if it has one, follows.
    fn replace_content(
        &self,
        draft: &mut Draft<'_>,
        value: &Value,
        new: &NewData,
    ) -> Result<(), Error> {
        check_content(&new.content)?;
        let version = value.version + 1;
        let binding = Binding {
            realm: value.realm,
            value: value.id,
            version,
        };
        let identity = self.identity_with(value, &new.content);
        draft.put_value(Value {
            version,
            identity,
            body: new.body.clone(),
            sealed: Some(seal(
                &self.0.keyring,
                &*self.0.entropy,
                binding,
                &new.content,
            )),
            created_at: draft.now(),
            ..value.clone()
        });
        if value.identity != identity {
            for place in identity_places(value) {
                draft.release(place, Holder::Value(value.id));
            }
            if let Some(digest) = identity {
                // Another value may hold it: the index moves here, the other stays what it is.
                draft.claim(identity_place(&digest), Holder::Value(value.id));
            }
        }
        Ok(())
    }

    /// The identity of a value with another content.
    fn identity_with(&self, value: &Value, content: &[u8]) -> Option<[u8; 32]> {
        let (Some(_), Some(container), Some(scope)) =
            (value.identity, value.container, &value.scope)
        else {
            return None;
        };
        Some(self.content_identity(value.realm, container, &value.class, scope, content))
    }

    /// What must be read beside the selection: the carriers of tags to be unique, and the places to which the identity of
    /// a value may move. It depends on what never changes (a token's container; a value's class, scope and container), so
    /// that reading that before the transaction is safe; a token that comes into the selection later is noticed by its
    /// container, if the answer holds any.
    async fn ahead(
        &self,
        caller: &Caller,
        selection: &Selection,
        edit: &Edit,
    ) -> Result<(Vec<Lookup>, Option<BTreeSet<Option<RecordId>>>), Error> {
        let unique = match &edit.tags {
            Field::Set(tags) if tags.any_unique() => Some(tags),
            _ => None,
        };
        let mut lookups = Vec::new();
        if let Field::Set(places) = &edit.locators {
            lookups.extend(places.iter().cloned().map(Lookup::Located));
        }
        let mut containers = BTreeSet::from([selection.container]);
        if edit.data.is_some() || (unique.is_some() && selection.container.is_none()) {
            let query = selection.query(caller.realm, &self.0.keyring);
            let rows = self.0.store.fetch(query).await?;
            containers.extend(rows.tokens.values().map(|token| token.container));
            if let Some(new) = &edit.data {
                let values = rows.values.values();
                let digests = values.filter_map(|value| self.identity_with(value, &new.content));
                lookups.extend(digests.map(|digest| Lookup::Located(identity_place(&digest))));
            }
        }
        let Some(tags) = unique else {
            return Ok((lookups, None));
        };
        for container in &containers {
            lookups.extend(tags.lookups(*container));
        }
        Ok((lookups, Some(containers)))
    }
}

/// An edit, and for the verbs beside update what is done to the state by hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alteration {
    pub(crate) edit: Edit,
    pub(crate) transition: Option<Transition>,
}

/// A change of state by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transition {
    Revoke,
    Archive,
    Restore,
}

impl Transition {
    fn apply(self, token: &Token, now: Timestamp) -> Result<State, Error> {
        match (self, token.state) {
            (Self::Revoke, _) | (Self::Archive | Self::Restore, State::Revoked) => {
                if self == Self::Revoke {
                    Ok(State::Revoked)
                } else {
                    Err(Error::invalid("state", "a revoked token stays revoked"))
                }
            }
            (Self::Archive, _) => Ok(State::Archived),
            (Self::Restore, _) => Ok(super::issue::state_at(token.expires_at, now)),
        }
    }
}

fn altered(token: &Token, alteration: &Alteration, now: Timestamp) -> Result<Token, Error> {
    let edit = &alteration.edit;
    let mut after = token.clone();
    match &edit.name {
        Field::Keep => {}
        Field::Clear => after.name = None,
        Field::Set(name) => {
            check_name(Some(name))?;
            after.name = Some(name.clone());
        }
    }
    match &edit.tags {
        Field::Keep => {}
        Field::Clear => after.tags.clear(),
        Field::Set(tags) => after.tags = tags.all().to_vec(),
    }
    match edit.expires_at {
        Field::Keep => {}
        Field::Clear => after.expires_at = None,
        Field::Set(at) => after.expires_at = Some(at),
    }
    match &edit.locators {
        Field::Keep => {}
        Field::Clear => after.locators.clear(),
        Field::Set(places) => after.locators.clone_from(places),
    }
    if edit.expires_at != Field::Keep {
        // An expiry that is not in the future is stored as a fact, so that no other clock revives the token; a later
        // one takes the fact back. States set by hand stay.
        after.state = match token.state {
            State::Active | State::Expired => super::issue::state_at(after.expires_at, now),
            other => other,
        };
    }
    if let Some(transition) = alteration.transition {
        after.state = transition.apply(&after, now)?;
    }
    alter_access(&mut after, edit)?;
    Ok(after)
}

/// Takes the new places of a token, which must be free or its own, and gives up the former.
fn move_locators(draft: &mut Draft<'_>, before: &Token, after: &Token) -> Result<(), Error> {
    let holder = Holder::Token(before.id);
    for place in before
        .locators
        .iter()
        .filter(|place| !after.locators.contains(place))
    {
        draft.release(place.clone(), holder);
    }
    for place in after
        .locators
        .iter()
        .filter(|place| !before.locators.contains(place))
    {
        if draft
            .living_holder(place)
            .is_some_and(|other| other != holder)
        {
            return Err(taken(place));
        }
        draft.claim(place.clone(), holder);
    }
    Ok(())
}

fn alter_access(after: &mut Token, edit: &Edit) -> Result<(), Error> {
    if edit.permissions == Field::Keep && edit.addresses == Field::Keep {
        return Ok(());
    }
    let Body::Access(access) = &mut after.body else {
        let message = "only access tokens have permissions and addresses";
        return Err(Error::invalid("permissions", message));
    };
    match &edit.permissions {
        Field::Keep => {}
        Field::Clear => access.permissions.clear(),
        Field::Set(permissions) => access.permissions.clone_from(permissions),
    }
    match &edit.addresses {
        Field::Keep => {}
        Field::Clear => access.addresses.clear(),
        Field::Set(addresses) => access.addresses.clone_from(addresses),
    }
    check_lists(&access.permissions, &access.addresses)
}

fn data_target(token: &Token, new: &NewData) -> Result<ValueId, Error> {
    let Some(value) = token.value() else {
        return Err(Error::invalid("data", "an access token stands for nothing"));
    };
    if !new.classes.contains(&token.class) {
        let message = format!("the data of a {} token cannot be changed", token.class);
        return Err(Error::invalid("data", message));
    }
    Ok(value)
}

pub(crate) fn check_content(content: &[u8]) -> Result<(), Error> {
    if content.len() > crate::limits::VALUE_BYTES_MAX {
        return Err(Error::TooMany {
            what: "bytes in a value",
            max: crate::limits::VALUE_BYTES_MAX,
        });
    }
    Ok(())
}

/// Tokens as a batch leaves them.
fn newest(batch: Option<&Batch>, rows: &Rows, ids: Vec<TokenId>) -> Vec<Token> {
    let writes = batch.map_or(&[][..], |batch| &batch.tokens);
    let written: BTreeMap<TokenId, &Token> = writes
        .iter()
        .filter_map(|write| match write {
            TokenWrite::Update { token, .. } => Some((token.id, token)),
            TokenWrite::Insert(_) | TokenWrite::Delete { .. } => None,
        })
        .collect();
    ids.into_iter()
        .filter_map(|id| written.get(&id).copied().or_else(|| rows.tokens.get(&id)))
        .cloned()
        .collect()
}
