//! The `event` and `change` tables: who did what, and the history of each row.
//!
//! The one thing to know: an event is inserted first in its transaction; if its id is there already, an earlier attempt
//! has committed and nothing else may be written. Its digest is stored beside it and must come out the same when the
//! event is read back, so the order of changes is kept.

use engine::event::{Change, Event, EventId, Subject};
use engine::realm::RealmId;
use engine::store::StoreError;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::rows::failed;
use crate::columns::{Columns, integer, json, rows_max};
use crate::nouns::{self, actor_word, outcome_word};

/// Writes an event with its changes; `false` if one with this id is there already.
pub(super) fn insert(connection: &Connection, event: &Event) -> Result<bool, StoreError> {
    let count = integer(event.count)?;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO event (realm, id, at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, count, \
             digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (realm, id) DO NOTHING",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                event.realm.0,
                event.id.0,
                event.at.as_micros(),
                actor_word(event.actor.kind),
                event.actor.id,
                event.actor.name,
                event.verb,
                outcome_word(event.outcome),
                event.reason,
                event.request,
                count,
                event.digest()
            ])
        })
        .map_err(failed)?;
    if inserted == 0 {
        return Ok(false);
    }
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO change (realm, event, position, subject, id, version, before, after) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .map_err(failed)?;
    for (position, change) in event.changes.iter().enumerate() {
        statement
            .execute(params![
                event.realm.0,
                event.id.0,
                rows_max(position),
                change.subject.word(),
                change.id,
                integer(change.version)?,
                json(&change.before)?,
                json(&change.after)?
            ])
            .map_err(failed)?;
    }
    Ok(true)
}

pub(super) fn before(
    connection: &Connection,
    realm: RealmId,
    before: Option<EventId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id, at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, count \
             FROM event WHERE realm = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )
        .map_err(failed)?;
    // A longer blob that begins with the highest id sorts after every id.
    let end = before.map_or_else(|| vec![0xff; 17], |id| id.0.as_bytes().to_vec());
    let mut rows = statement
        .query(params![realm.0, end, rows_max(limit)])
        .map_err(failed)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let mut event = nouns::event(&mut Columns::new(row, "event"), realm)?;
        event.changes = changes(connection, realm, event.id)?;
        events.push(event);
    }
    Ok(events)
}

fn changes(
    connection: &Connection,
    realm: RealmId,
    event: EventId,
) -> Result<Vec<Change>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id, subject, version, before, after FROM change \
             WHERE realm = ?1 AND event = ?2 ORDER BY position",
        )
        .map_err(failed)?;
    let mut rows = statement.query(params![realm.0, event.0]).map_err(failed)?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        changes.push(nouns::change(&mut Columns::new(row, "change"))?);
    }
    Ok(changes)
}

pub(super) fn history(
    connection: &Connection,
    realm: RealmId,
    subject: Subject,
    id: Uuid,
    limit: usize,
) -> Result<Vec<(Event, Change)>, StoreError> {
    // The removal of a row repeats its last version, so the event decides between the two.
    let mut statement = connection
        .prepare_cached(
            "SELECT event.id, at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, count, \
             change.id, subject, version, before, after \
             FROM change JOIN event ON event.realm = change.realm AND event.id = change.event \
             WHERE change.realm = ?1 AND subject = ?2 AND change.id = ?3 \
             ORDER BY version DESC, change.event DESC LIMIT ?4",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query(params![realm.0, subject.word(), id, rows_max(limit)])
        .map_err(failed)?;
    let mut history = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let mut columns = Columns::new(row, "event");
        let event = nouns::event(&mut columns, realm)?;
        history.push((event, nouns::change(&mut columns)?));
    }
    Ok(history)
}

pub(super) fn digest(
    connection: &Connection,
    realm: RealmId,
    id: EventId,
) -> Result<Option<[u8; 32]>, StoreError> {
    connection
        .prepare_cached("SELECT digest FROM event WHERE realm = ?1 AND id = ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![realm.0, id.0], |row| row.get(0))
                .optional()
        })
        .map_err(failed)
}
