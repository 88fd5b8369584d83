//! Purge: rows that nobody can see any more, or that ended longer ago than the retention, go for good.
//!
//! The one thing to know: it works in batches, each a transaction of its own with its own event, and decides anew inside
//! each of them: a token that was restored meanwhile stays.

use std::collections::BTreeMap;

use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits;
use crate::locator::{Holder, Key, Space};
use crate::permission::Action;
use crate::record::RecordId;
use crate::store::{Lookup, MarkPage, Query};
use crate::token::{Standing, State, Token, TokenId};
use crate::verbs::delete::{removal_lookups, remove_unused_values};

/// What went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Tokens.
    pub tokens: u64,
    /// Records.
    pub records: u64,
    /// Superseded versions of values.
    pub values: u64,
}

impl Engine {
    /// Purges a realm of everything that ended, was deleted or superseded before `before`; `keep_ended` spares tokens
    /// that have merely ended, because some products keep them in their lists for ever. Ended tokens that the caller may
    /// not delete stay.
    pub async fn purge(
        &self,
        caller: &Caller,
        before: Timestamp,
        keep_ended: bool,
    ) -> Result<Purged, Error> {
        caller.require_any(Action::Delete, None)?;
        caller.require_any(Action::DeleteRecord, None)?;
        let mut purged = Purged::default();
        self.purge_deleted(caller, before, &mut purged).await?;
        if !keep_ended {
            self.purge_ended(caller, before, &mut purged).await?;
        }
        self.purge_superseded(caller, before, &mut purged).await?;
        Ok(purged)
    }

    /// Below each tombstone first, then the tombstone: so that what is left is always below one.
    async fn purge_deleted(
        &self,
        caller: &Caller,
        before: Timestamp,
        purged: &mut Purged,
    ) -> Result<(), Error> {
        loop {
            let store = &self.0.store;
            let tombstones = store
                .deleted_records(caller.realm, before, limits::PAGE_ROWS)
                .await?;
            if tombstones.is_empty() {
                return Ok(());
            }
            let former = *purged;
            for record in tombstones {
                self.purge_below(caller, record.id, before, purged).await?;
            }
            if *purged == former {
                // None of them can go: leave them to the next purge rather than turn in circles.
                return Ok(());
            }
        }
    }

    /// Depth first; a level has at most as many entries as the tree is deep times a page.
    async fn purge_below(
        &self,
        caller: &Caller,
        tombstone: RecordId,
        before: Timestamp,
        purged: &mut Purged,
    ) -> Result<(), Error> {
        let mut below = vec![tombstone];
        let mut seen = BTreeMap::new();
        while let Some(id) = below.pop() {
            let children = self.children(caller, id).await?;
            if children.is_empty() {
                self.remove_record(caller, id, purged).await?;
                seen.remove(&id);
                continue;
            }
            if seen.insert(id, *purged) == Some(*purged) {
                tracing::warn!(record = %id.0, "what hangs from a deleted record cannot be purged");
                return Ok(());
            }
            let (tokens, records) = split(&children);
            self.remove_tokens(caller, tokens, before, true, purged)
                .await?;
            below.push(id);
            below.extend(records);
        }
        Ok(())
    }

    /// One page of what hangs from a record, by either mark.
    async fn children(&self, caller: &Caller, id: RecordId) -> Result<Vec<Holder>, Error> {
        let mut children = Vec::new();
        for space in [Space::CHILD, Space::CONTAINER] {
            let page = MarkPage {
                realm: caller.realm,
                space,
                first: Key::of_id(id.0),
                last: Key::of_id(id.0),
                after: None,
                limit: limits::PAGE_ROWS,
            };
            let marks = self.0.store.marks(page).await?;
            children.extend(marks.into_iter().map(|(_, holder)| holder));
            if !children.is_empty() {
                break;
            }
        }
        Ok(children)
    }

    async fn remove_record(
        &self,
        caller: &Caller,
        id: RecordId,
        purged: &mut Purged,
    ) -> Result<(), Error> {
        let query = Query {
            realm: caller.realm,
            lookups: vec![Lookup::Record(id), Lookup::Value(id.content())],
            entries: false,
            sealed: false,
            limit: limits::PAGE_ROWS,
        };
        let seed = self.event(caller, "record.purged");
        let engine = self.clone();
        let removed = self
            .transact(query, move |rows| {
                let now = engine.now();
                let mut draft = Draft::over(rows, now);
                let dead = rows.records.contains_key(&id) && !draft.is_rooted(Some(id));
                if dead {
                    draft.remove_record(id);
                    draft.remove_value(id.content());
                }
                Ok((draft.finish(seed.at(now)), dead))
            })
            .await?;
        purged.records += u64::from(removed);
        Ok(())
    }

    async fn purge_ended(
        &self,
        caller: &Caller,
        before: Timestamp,
        purged: &mut Purged,
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = MarkPage {
                realm: caller.realm,
                space: Space::EXPIRY_DAY,
                first: Key::of_day(Timestamp::MIN.day()),
                last: Key::of_day(before.day()),
                after: after.take(),
                limit: limits::PAGE_ROWS,
            };
            let marks = self.0.store.marks(page).await?;
            let tokens = marks.iter().filter_map(|(_, holder)| match holder {
                Holder::Token(id) => Some(*id),
                _ => None,
            });
            self.remove_tokens(caller, tokens.collect(), before, false, purged)
                .await?;
            match marks.last() {
                Some(last) if marks.len() == limits::PAGE_ROWS => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Removes those of `ids` that are orphaned or, unless only those are meant, ended before `before`.
    async fn remove_tokens(
        &self,
        caller: &Caller,
        ids: Vec<TokenId>,
        before: Timestamp,
        orphaned_only: bool,
        purged: &mut Purged,
    ) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut query = Query {
            realm: caller.realm,
            lookups: ids.iter().map(|id| Lookup::Token(*id)).collect(),
            entries: true,
            sealed: false,
            limit: limits::TOKENS_PER_CALL_MAX,
        };
        let rows = self.0.store.fetch(query.clone()).await?;
        query.lookups = rows.tokens.values().flat_map(removal_lookups).collect();
        let seed = self.event(caller, "token.purged");
        let engine = self.clone();
        let removed = self
            .transact(query, move |rows| {
                let now = engine.now();
                let due = |token: &&Token| match Standing::of(token, &rows.records, now) {
                    Standing::Orphaned => true,
                    Standing::Expired => {
                        let (grants, tenant) = (&seed.caller.grants, token.tenant.as_deref());
                        !orphaned_only
                            && ended(token, before)
                            && grants.allow(Action::Delete, &token.class, token.container)
                            && seed.caller.require_tenant(tenant).is_ok()
                    }
                    Standing::Live | Standing::Inactive => false,
                };
                let wanted = ids.iter().filter_map(|id| rows.tokens.get(id));
                let gone: Vec<Token> = wanted.filter(due).cloned().collect();
                let mut draft = Draft::over(rows, now);
                for token in &gone {
                    draft.remove_token(token.id);
                }
                remove_unused_values(&mut draft, rows, &gone);
                Ok((draft.finish(seed.at(now)), gone.len() as u64))
            })
            .await?;
        purged.tokens += removed;
        Ok(())
    }

    async fn purge_superseded(
        &self,
        caller: &Caller,
        before: Timestamp,
        purged: &mut Purged,
    ) -> Result<(), Error> {
        loop {
            let store = &self.0.store;
            let versions = store
                .superseded_values(caller.realm, before, limits::PAGE_ROWS)
                .await?;
            if versions.is_empty() {
                return Ok(());
            }
            let query = Query {
                realm: caller.realm,
                lookups: Vec::new(),
                entries: false,
                sealed: false,
                limit: 0,
            };
            let count = versions.len() as u64;
            let seed = self.event(caller, "value.forgotten");
            let engine = self.clone();
            self.transact(query, move |rows| {
                let now = engine.now();
                let mut draft = Draft::over(rows, now);
                for (value, version) in &versions {
                    draft.forget_value(*value, *version);
                }
                Ok((draft.finish(seed.at(now)), ()))
            })
            .await?;
            purged.values += count;
        }
    }
}

fn ended(token: &Token, before: Timestamp) -> bool {
    token.expires_at.is_some_and(|at| at < before)
        && matches!(token.state, State::Active | State::Expired)
}

fn split(holders: &[Holder]) -> (Vec<TokenId>, Vec<RecordId>) {
    let mut tokens = Vec::new();
    let mut records = Vec::new();
    for holder in holders {
        match holder {
            Holder::Token(id) => tokens.push(*id),
            Holder::Record(id) => records.push(*id),
            Holder::Value(_) => {}
        }
    }
    (tokens, records)
}
