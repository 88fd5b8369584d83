//! Selections: which tokens a call is about – the same type for update, find, revoke, delete and count.
//!
//! The one thing to know: criteria are ANDed, and the store walks only the first that is given, in the order ids, secret,
//! outward ids, owners, first tag; the rest is decided here, on the rows, so that every backend selects alike. An empty
//! selection matches nothing, never everything.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::keyring::Keyring;
use crate::limits;
use crate::locator::{Key, Place, Space};
use crate::realm::RealmId;
use crate::record::RecordId;
use crate::secret::{Proof, Secret};
use crate::store::{Lookup, Query, Rows};
use crate::token::{Standing, Token, TokenId};

/// Which tokens by how they stand. Orphaned ones never match.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Which {
    /// Those in force.
    #[default]
    Live,
    /// Those that have ended: expired, archived, suspended or revoked, or below a record that has.
    Ended,
    /// Both.
    Any,
}

/// Criteria; an empty list is no criterion.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Any of these ids.
    pub ids: Vec<TokenId>,
    /// The token with this secret.
    pub secret: Option<Secret>,
    /// Any of these outward ids, in `container`.
    pub external_ids: Vec<String>,
    /// Owned by any of these records.
    pub owners: Vec<RecordId>,
    /// Carrying all of these tags.
    pub tags: Vec<String>,
    /// In this container. A bound of the others, no criterion of its own.
    pub container: Option<RecordId>,
    /// Of this tenant. A bound too.
    pub tenant: Option<String>,
    /// In this standing. A bound too.
    pub which: Which,
}

impl Selection {
    /// One token by its id, however it stands.
    pub fn of(id: TokenId) -> Self {
        Self {
            ids: vec![id],
            which: Which::Any,
            ..Self::default()
        }
    }

    /// Whether there is no criterion at all.
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.secret.is_none()
            && self.external_ids.is_empty()
            && self.owners.is_empty()
            && self.tags.is_empty()
    }

    /// Whether nothing is found by it unless under the right digest key.
    pub(crate) const fn is_by_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Refuses lists beyond the limit.
    pub fn check(&self) -> Result<(), Error> {
        let longest = self
            .ids
            .len()
            .max(self.external_ids.len())
            .max(self.owners.len())
            .max(self.tags.len());
        if longest > limits::SELECTION_ITEMS_MAX {
            return Err(Error::TooMany {
                what: "items in a selection",
                max: limits::SELECTION_ITEMS_MAX,
            });
        }
        Ok(())
    }

    /// The rows needed to decide, with all tokens of the values they stand for.
    pub(crate) fn query(&self, realm: RealmId, keyring: &Keyring) -> Query {
        let lookups = if !self.ids.is_empty() {
            self.ids.iter().map(|id| Lookup::Token(*id)).collect()
        } else if let Some(secret) = &self.secret {
            let proofs = keyring.proofs(realm, secret);
            proofs.map(|proof| Lookup::Located(proof.place())).collect()
        } else if !self.external_ids.is_empty() {
            let place =
                |id: &String| Place::new(Space::EXTERNAL, Key::in_container(self.container, id));
            let places = self.external_ids.iter().map(place);
            places.map(Lookup::Located).collect()
        } else if !self.owners.is_empty() {
            let place = |owner: &RecordId| Place::new(Space::CHILD, Key::of_id(owner.0));
            self.owners.iter().map(place).map(Lookup::Marked).collect()
        } else if let Some(tag) = self.tags.first() {
            let key = Key::in_container(self.container, tag);
            vec![Lookup::Marked(Place::new(Space::TAG, key))]
        } else {
            Vec::new()
        };
        Query {
            realm,
            lookups,
            entries: true,
            sealed: false,
            limit: limits::TOKENS_PER_CALL_MAX,
        }
    }

    /// A judge for the rows of one query at one instant.
    pub(crate) fn matcher<'a>(
        &'a self,
        rows: &'a Rows,
        realm: RealmId,
        keyring: &Keyring,
        now: Timestamp,
    ) -> Matcher<'a> {
        Matcher {
            rows,
            now,
            selection: self,
            ids: self.ids.iter().copied().collect(),
            external_ids: self.external_ids.iter().map(String::as_str).collect(),
            owners: self.owners.iter().copied().collect(),
            proofs: self
                .secret
                .as_ref()
                .map(|secret| keyring.proofs(realm, secret).collect()),
        }
    }
}

pub(crate) struct Matcher<'a> {
    rows: &'a Rows,
    now: Timestamp,
    selection: &'a Selection,
    ids: BTreeSet<TokenId>,
    external_ids: BTreeSet<&'a str>,
    owners: BTreeSet<RecordId>,
    proofs: Option<Vec<Proof>>,
}

impl<'a> Matcher<'a> {
    /// All tokens that match, in order of creation.
    pub(crate) fn matched(&self) -> Vec<&'a Token> {
        if self.selection.is_empty() {
            return Vec::new();
        }
        let tokens = self.rows.tokens.values();
        tokens.filter(|token| self.matches(token)).collect()
    }

    fn matches(&self, token: &Token) -> bool {
        let selection = self.selection;
        let external_id = || {
            let value = self.rows.values.get(&token.value()?)?;
            value.external_id.as_deref()
        };
        (selection.container.is_none() || token.container == selection.container)
            && (self.ids.is_empty() || self.ids.contains(&token.id))
            && (self.external_ids.is_empty()
                || external_id().is_some_and(|id| self.external_ids.contains(id)))
            && (self.owners.is_empty()
                || token
                    .owner()
                    .is_some_and(|owner| self.owners.contains(&owner)))
            && selection.tags.iter().all(|tag| token.tags.contains(tag))
            && (selection.tenant.is_none() || token.tenant == selection.tenant)
            && self.proofs.as_ref().is_none_or(|proofs| {
                token.access().is_some_and(|access| {
                    proofs
                        .iter()
                        .any(|proof| proof.matches(access.proof.as_ref()))
                })
            })
            && self.stands(token)
    }

    fn stands(&self, token: &Token) -> bool {
        match (
            Standing::of(token, &self.rows.records, self.now),
            self.selection.which,
        ) {
            (Standing::Orphaned, _)
            | (Standing::Live, Which::Ended)
            | (Standing::Expired | Standing::Inactive, Which::Live) => false,
            (Standing::Live, Which::Live | Which::Any)
            | (Standing::Expired | Standing::Inactive, Which::Ended | Which::Any) => true,
        }
    }
}
