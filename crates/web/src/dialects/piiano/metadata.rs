//! The metadata of tokens, as detokenize and search show it.
//!
//! The one thing a newcomer would get wrong: one id may have several entries, one for each object that shares it. Only
//! entries that match are listed, but their tags and the aggregate are those of all entries of the id – of all that the
//! call may see, because a call restricted to a tenant must not learn the tags of another.

use std::collections::BTreeMap;

use engine::Error;
use engine::caller::Caller;
use engine::clock::Timestamp;
use engine::token::{Standing, Token};
use engine::value::ValueId;
use engine::verbs::find::Found;

use super::answers::{Aggregate, TokenMetadata, TokenRefMetadata};
use super::records::ObjectBody;

/// What a selection found, by the ids of the tokens.
pub(super) struct Groups<'a> {
    found: &'a Found,
    /// In order of creation of the first matching entry.
    pub(super) matched: Vec<(ValueId, Vec<&'a Token>)>,
    entries: BTreeMap<ValueId, Vec<&'a Token>>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(found: &'a Found, caller: &Caller, now: Timestamp) -> Self {
        let mut matched: Vec<(ValueId, Vec<&Token>)> = Vec::new();
        let mut index: BTreeMap<ValueId, usize> = BTreeMap::new();
        for token in &found.tokens {
            let Some(value) = token.value() else { continue };
            let at = *index.entry(value).or_insert_with(|| {
                matched.push((value, Vec::new()));
                matched.len() - 1
            });
            matched[at].1.push(token);
        }
        let mut entries: BTreeMap<ValueId, Vec<&Token>> = BTreeMap::new();
        for token in found.rows.tokens.values() {
            let Some(value) = token.value().filter(|value| index.contains_key(value)) else {
                continue;
            };
            let there = Standing::of(token, &found.rows.records, now) != Standing::Orphaned;
            if there && caller.require_tenant(token.tenant.as_deref()).is_ok() {
                entries.entry(value).or_default().push(token);
            }
        }
        Self {
            found,
            matched,
            entries,
        }
    }

    /// The metadata of one id.
    pub(super) fn metadata(
        &self,
        value: ValueId,
        matched: &[&Token],
    ) -> Result<TokenMetadata, Error> {
        let stored = self.found.rows.values.get(&value).ok_or(Error::Internal)?;
        let entries = self.entries.get(&value).map_or(&[][..], Vec::as_slice);
        let mut tags: Vec<String> = Vec::new();
        for tag in entries.iter().flat_map(|entry| &entry.tags) {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        let ends = entries
            .iter()
            .map(|entry| self.found.effective_expiry(entry));
        // `None` is never, which is later than any instant.
        let latest = ends.reduce(|one, other| Some(one?.max(other?))).flatten();
        let tokens = matched
            .iter()
            .map(|token| self.entry(token, tags.clone()))
            .collect::<Result<_, _>>()?;
        Ok(TokenMetadata {
            kind: stored.class.clone(),
            scope: stored
                .scope
                .as_ref()
                .map(|scope| scope.name.clone())
                .unwrap_or_default(),
            token_id: stored.external_id.clone().ok_or(Error::Internal)?,
            agg: Aggregate {
                max_effective_expiration_time: shown(latest),
            },
            tokens,
        })
    }

    fn entry(&self, token: &Token, tags: Vec<String>) -> Result<TokenRefMetadata, Error> {
        let owner = token.owner().map(|owner| {
            let record = self.found.rows.records.get(&owner).ok_or(Error::Internal)?;
            ObjectBody::read(record)
        });
        Ok(TokenRefMetadata {
            creation_time: token.created_at.to_string(),
            expiration_time: shown(token.expires_at),
            effective_expiration_time: shown(self.found.effective_expiry(token)),
            object_id: owner.transpose()?.map(|object| object.id),
            effective_tenant_id: token.tenant.clone(),
            tags,
        })
    }
}

fn shown(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
