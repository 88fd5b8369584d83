//! Find: tokens by a selection, by pages, and what they stand for.
//!
//! The one thing to know: finding never opens anything. [`Engine::open`] does, for one value at a time, and only a dialect
//! that has checked [`Action::Reveal`] calls it.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits;
use crate::permission::Action;
use crate::record::RecordId;
use crate::seal::{Binding, open};
use crate::secret::Secret;
use crate::selection::Selection;
use crate::store::{Lookup, Query, Rows, Usage};
use crate::token::{Standing, Token, TokenId, effective_expiry};
use crate::value::{Value, ValueId};

/// What a selection found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Those that match, in order of creation.
    pub tokens: Vec<Token>,
    /// These and what belongs to them: values, all tokens of these values, records above.
    pub rows: Rows,
}

impl Found {
    /// When a token ends in effect, the records above it considered.
    pub fn effective_expiry(&self, token: &Token) -> Option<Timestamp> {
        effective_expiry(token, &self.rows.records)
    }

    /// The value a token stands for.
    pub fn value(&self, token: &Token) -> Option<&Value> {
        self.rows.values.get(&token.value()?)
    }
}

impl Engine {
    /// Tokens that match, at most [`limits::TOKENS_PER_CALL_MAX`]. `action` is [`Action::Read`] for headers alone and
    /// [`Action::Reveal`] when their content is going to be opened, in which case values come sealed instead of bare.
    ///
    /// # Errors
    /// `Forbidden`, `TooMany`.
    pub async fn find(
        &self,
        caller: &Caller,
        action: Action,
        selection: &Selection,
    ) -> Result<Found, Error> {
        caller.require_any(action, selection.container)?;
        selection.check()?;
        let mut query = selection.query(caller.realm, &self.0.keyring);
        query.sealed = action == Action::Reveal;
        let rows = self.0.store.fetch(query).await?;
        let now = self.now();
        let matcher = selection.matcher(&rows, caller.realm, &self.0.keyring, now);
        let tokens: Vec<Token> = matcher.matched().into_iter().cloned().collect();
        if tokens.is_empty() && selection.is_by_secret() {
            self.holds_all_keys().await?;
        }
        for token in &tokens {
            caller.require(action, &token.class, token.container)?;
            caller.require_tenant(token.tenant.as_deref())?;
        }
        Ok(Found { tokens, rows })
    }

    /// One page of a realm's tokens in order of creation, of which the caller sees those it may read and that are not below
    /// a deleted record. The cursor is the last id looked at; `None` after the last page.
    pub async fn list(
        &self,
        caller: &Caller,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<(Vec<Token>, Option<TokenId>), Error> {
        caller.require_any(Action::Read, None)?;
        let limit = limit.clamp(1, limits::PAGE_ROWS);
        let tokens = self
            .0
            .store
            .tokens_after(caller.realm, after, limit)
            .await?;
        let next = (tokens.len() == limit)
            .then(|| tokens.last().map(|token| token.id))
            .flatten();
        let parents: BTreeSet<_> = tokens.iter().filter_map(|token| token.parent).collect();
        let rows = if parents.is_empty() {
            Rows::default()
        } else {
            let query = Query {
                realm: caller.realm,
                lookups: parents.into_iter().map(Lookup::Record).collect(),
                entries: false,
                sealed: false,
                limit: 0,
            };
            self.0.store.fetch(query).await?
        };
        let now = self.now();
        let seen = tokens.into_iter().filter(|token| {
            may_read(caller, token) && Standing::of(token, &rows.records, now) != Standing::Orphaned
        });
        Ok((seen.collect(), next))
    }

    /// The secrets of access tokens that were kept to be shown again, for those of `tokens` that the caller may read.
    pub async fn kept_secrets(
        &self,
        caller: &Caller,
        tokens: &[Token],
    ) -> Result<BTreeMap<TokenId, Secret>, Error> {
        let wanted: Vec<(TokenId, ValueId)> = tokens
            .iter()
            .filter(|token| may_read(caller, token))
            .filter_map(|token| Some((token.id, token.access()?.sealed_secret?)))
            .collect();
        let mut secrets = BTreeMap::new();
        for chunk in wanted.chunks(limits::PAGE_ROWS) {
            let lookups = chunk.iter().map(|(_, value)| Lookup::Value(*value));
            let rows = self.sealed_rows(caller, lookups.collect()).await?;
            for (token, value) in chunk {
                // Removed since the list was read: left out, like its token in the next list.
                if let Some(value) = rows.values.get(value) {
                    let text = Zeroizing::new(
                        String::from_utf8(self.open(value)?.to_vec())
                            .map_err(|_| Error::Internal)?,
                    );
                    let secret = Secret::parse(&text).map_err(|_| Error::Internal)?;
                    secrets.insert(*token, secret);
                }
            }
        }
        Ok(secrets)
    }

    /// The present contents of records, sealed; those that have none are left out.
    pub async fn contents(
        &self,
        caller: &Caller,
        records: &[RecordId],
    ) -> Result<BTreeMap<RecordId, Value>, Error> {
        let mut contents = BTreeMap::new();
        for chunk in records.chunks(limits::PAGE_ROWS) {
            let ids = chunk.iter().map(|record| Lookup::Value(record.content()));
            let rows = self.sealed_rows(caller, ids.collect()).await?;
            let values = rows.values.into_iter();
            contents.extend(values.map(|(id, value)| (RecordId(id.0), value)));
        }
        Ok(contents)
    }

    async fn sealed_rows(&self, caller: &Caller, lookups: Vec<Lookup>) -> Result<Rows, Error> {
        let query = Query {
            realm: caller.realm,
            lookups,
            entries: false,
            sealed: true,
            limit: limits::PAGE_ROWS,
        };
        Ok(self.0.store.fetch(query).await?)
    }

    /// The content of a value in clear.
    ///
    /// # Errors
    /// `Internal` if it cannot be opened: another keyring, or a damaged row; the cause is logged.
    pub fn open(&self, value: &Value) -> Result<Zeroizing<Vec<u8>>, Error> {
        let binding = Binding {
            realm: value.realm,
            value: value.id,
            version: value.version,
        };
        let sealed = value.sealed.as_ref().ok_or_else(|| {
            tracing::error!(value = %value.id.0, "a value was asked for without its content");
            Error::Internal
        })?;
        open(&self.0.keyring, binding, sealed).map_err(|error| {
            tracing::error!(value = %value.id.0, %error, "a value cannot be opened");
            Error::Internal
        })
    }

    /// Uses of tokens, those included that are not yet written.
    pub async fn usage(
        &self,
        caller: &Caller,
        tokens: &[TokenId],
    ) -> Result<BTreeMap<TokenId, Usage>, Error> {
        let mut usage = self.0.store.usage(caller.realm, tokens).await?;
        for token in tokens {
            if let Some(pending) = self.0.usage.pending(caller.realm, *token) {
                usage
                    .entry(*token)
                    .and_modify(|stored| {
                        stored.uses += pending.uses;
                        stored.last_used_at = stored.last_used_at.max(pending.last_used_at);
                    })
                    .or_insert(pending);
            }
        }
        Ok(usage)
    }
}

fn may_read(caller: &Caller, token: &Token) -> bool {
    let (grants, tenant) = (&caller.grants, token.tenant.as_deref());
    grants.allow(Action::Read, &token.class, token.container)
        && caller.require_tenant(tenant).is_ok()
}
