//! History: what happened, newest first – of one token, or of a realm.
//!
//! The one thing to know: it is read, never kept apart. A token ends with any record above it, which is a change of that
//! record alone; so what happened to a token is its own changes *and* those of the records above it.

use serde_json::Value as Json;
use uuid::Uuid;

use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Change, Event, EventId, Subject};
use crate::limits;
use crate::permission::Action;
use crate::record::RecordId;
use crate::store::{Lookup, Query};
use crate::token::TokenId;

/// Changes with the events they belong to, newest first.
type History = Vec<(Event, Change)>;

impl Engine {
    /// The changes of one row with the events they belong to, newest first, at most one page.
    pub async fn history(
        &self,
        caller: &Caller,
        subject: Subject,
        id: Uuid,
    ) -> Result<History, Error> {
        caller.require_any(Action::Read, None)?;
        let store = &self.0.store;
        Ok(store
            .history(caller.realm, subject, id, limits::PAGE_ROWS)
            .await?)
    }

    /// What happened to a token, newest first, at most one page: its own changes, and those of the records above it from
    /// the time at which it was made to that at which its row went. So whoever deletes a record is found in the history of
    /// every token that ended with it, also after all these rows have been purged. Of each row its newest page is looked at.
    ///
    /// # Errors
    /// `Forbidden` without the right to see tokens and records.
    pub async fn token_history(&self, caller: &Caller, id: TokenId) -> Result<History, Error> {
        caller.require_any(Action::ReadRecord, None)?;
        let own = self.history(caller, Subject::Token, id.0).await?;
        let (Some((newest, last)), Some((oldest, _))) = (own.first(), own.last()) else {
            return Ok(Vec::new());
        };
        let (made, gone) = (instant(oldest), instant(newest));
        let is_gone = last.after.is_null();
        let mut next = self.parent(caller, Lookup::Token(id), &own).await?;
        let mut rows = vec![own];
        // Each is one further up; there are no more levels than that.
        for _ in 0..limits::ANCESTORS_MAX {
            let Some(record) = next else { break };
            let mut above = self.history(caller, Subject::Record, record.0).await?;
            next = self.parent(caller, Lookup::Record(record), &above).await?;
            above.retain(|(event, _)| {
                let at = instant(event);
                at > made && (!is_gone || at < gone)
            });
            rows.push(above);
        }
        Ok(merged(rows, limits::PAGE_ROWS))
    }

    /// The record above a row: what a row hangs from never changes, so the change that made or removed it says so; if
    /// neither is in sight, the row does.
    async fn parent(
        &self,
        caller: &Caller,
        row: Lookup,
        history: &History,
    ) -> Result<Option<RecordId>, Error> {
        let mut sides = history
            .iter()
            .flat_map(|(_, change)| [&change.after, &change.before]);
        if let Some(parent) = sides.find_map(|side| side.get("parent")) {
            return Ok(record_id(parent));
        }
        let query = Query {
            realm: caller.realm,
            lookups: vec![row.clone()],
            entries: false,
            sealed: false,
            limit: 1,
        };
        let rows = self.0.store.fetch(query).await?;
        Ok(match row {
            Lookup::Token(id) => rows.tokens.get(&id).and_then(|token| token.parent),
            Lookup::Record(id) => rows.records.get(&id).and_then(|record| record.parent),
            Lookup::Value(_) | Lookup::Located(_) | Lookup::Marked(_) => None,
        })
    }

    /// One page of a realm's events, newest first, before `before`.
    pub async fn events(
        &self,
        caller: &Caller,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        caller.require_any(Action::Read, None)?;
        let limit = limit.clamp(1, limits::PAGE_ROWS);
        Ok(self
            .0
            .store
            .events_before(caller.realm, before, limit)
            .await?)
    }

    /// The digest that was stored with an event.
    pub async fn event_digest(
        &self,
        caller: &Caller,
        id: EventId,
    ) -> Result<Option<[u8; 32]>, Error> {
        caller.require_any(Action::Read, None)?;
        Ok(self.0.store.event_digest(caller.realm, id).await?)
    }
}

/// When an event was, and its id where that does not decide.
const fn instant(event: &Event) -> (Timestamp, EventId) {
    (event.at, event.id)
}

fn record_id(parent: &Json) -> Option<RecordId> {
    Some(RecordId(parent.as_str()?.parse().ok()?))
}

/// One history of several, each of which keeps its order even if the clock was set back meanwhile.
fn merged(rows: Vec<History>, limit: usize) -> History {
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|row| row.into_iter().peekable())
        .collect();
    let mut all = Vec::new();
    while all.len() < limit {
        let heads = rows.iter_mut().filter_map(|row| {
            let at = row.peek().map(|(event, _)| instant(event))?;
            Some((at, row))
        });
        let Some((_, row)) = heads.max_by_key(|(at, _)| *at) else {
            break;
        };
        all.extend(row.next());
    }
    all
}
