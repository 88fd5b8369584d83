//! History: what happened, newest first – of one token, or of a realm.
//!
//! The one thing to know: it is read, never kept apart: the changes of a token are its history.

use uuid::Uuid;

use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Change, Event, EventId, Subject};
use crate::limits;
use crate::permission::Action;

impl Engine {
    /// The changes of one row with the events they belong to, newest first, at most one page.
    pub async fn history(
        &self,
        caller: &Caller,
        subject: Subject,
        id: Uuid,
    ) -> Result<Vec<(Event, Change)>, Error> {
        caller.require_any(Action::Read, None)?;
        let store = &self.0.store;
        Ok(store
            .history(caller.realm, subject, id, limits::PAGE_ROWS)
            .await?)
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
