//! The `event` and `change` tables: who did what, and the history of each row.
//!
//! The one thing to know: events go in first; one whose id is there already was committed by an earlier attempt, and
//! nothing else of its batch may be written. Its digest is stored beside it and must come out the same when the event is
//! read back, so the order of changes is kept.

use engine::event::{Change, Event, EventId};
use engine::realm::RealmId;
use engine::store::StoreError;
use tokio_postgres::Row;
use uuid::Uuid;

use super::rows::{each, text, try_each};
use super::script::{CHUNK_ROWS, Check, Script};
use crate::columns::{Columns, integer, json, rows_max};
use crate::nouns::{self, actor_word, outcome_word};

/// Which of these events are there.
pub(super) const WHICH: &str = "SELECT found.id FROM unnest($2::uuid[]) AS wanted (id) CROSS JOIN LATERAL (\
     SELECT id FROM event WHERE event.realm = $1 AND event.id = wanted.id LIMIT 1) AS found";

/// The newest.
pub(super) const NEWEST: &str = "SELECT id, at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, count \
     FROM event WHERE realm = $1 ORDER BY id DESC LIMIT $2";

/// The newest before one.
pub(super) const BEFORE: &str = "SELECT id, at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, count \
     FROM event WHERE realm = $1 AND id < $3 ORDER BY id DESC LIMIT $2";

/// The changes of some events: the event in the sixth column, in the order of each event.
pub(super) const CHANGES: &str = "SELECT id, subject, version, before, after, event FROM change \
     WHERE realm = $1 AND event = ANY($2::uuid[]) ORDER BY event, position";

/// Of one row. Its removal repeats its last version, so the event decides between the two.
pub(super) const HISTORY: &str = "SELECT event.id, at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, \
     count, change.id, subject, version, before, after \
     FROM change JOIN event ON event.realm = change.realm AND event.id = change.event \
     WHERE change.realm = $1 AND subject = $2 AND change.id = $3 ORDER BY version DESC, change.event DESC LIMIT $4";

/// The stored digest.
pub(super) const DIGEST: &str = "SELECT id, digest FROM event WHERE realm = $1 AND id = $2";

/// Adds the statements for these events and their changes.
pub(super) fn write<'a>(
    script: &mut Script<'a>,
    realm: RealmId,
    events: &[&'a Event],
) -> Result<(), StoreError> {
    script.write(
        "INSERT INTO event (realm, id, at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, count, \
         digest) SELECT $1::uuid, row.* FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], \
         $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bytea[]) AS row (id, at, actor_kind, \
         actor_id, actor_name, verb, outcome, reason, request, count, digest) ON CONFLICT (realm, id) DO NOTHING",
        vec![
            Box::new(realm.0),
            each(events, |event| event.id.0),
            each(events, |event| event.at.as_micros()),
            each(events, |event| actor_word(event.actor.kind)),
            each(events, |event| text(&event.actor.id)),
            each(events, |event| text(&event.actor.name)),
            each(events, |event| text(&event.verb)),
            each(events, |event| outcome_word(event.outcome)),
            each(events, |event| event.reason.as_deref().map(text)),
            each(events, |event| text(&event.request)),
            try_each(events, |event| integer(event.count))?,
            each(events, |event| event.digest().to_vec()),
        ],
        Check::Events(events.len()),
    );
    let all = events.iter().flat_map(|event| {
        let changes = event.changes.iter().enumerate();
        changes.map(move |(position, change)| (event.id.0, rows_max(position), change))
    });
    let changes: Vec<(Uuid, i64, &Change)> = all.collect();
    for chunk in changes.chunks(CHUNK_ROWS) {
        let ids: Vec<Uuid> = chunk.iter().map(|(event, _, _)| *event).collect();
        let positions: Vec<i64> = chunk.iter().map(|(_, position, _)| *position).collect();
        let rows: Vec<&'a Change> = chunk.iter().map(|(_, _, change)| *change).collect();
        script.write(
            // An event that is there already has its changes beside it.
            "INSERT INTO change (realm, event, position, subject, id, version, before, after) SELECT $1::uuid, row.* \
             FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::bigint[], $7::text[], $8::text[]) \
             AS row (event, position, subject, id, version, before, after) \
             ON CONFLICT (realm, event, position) DO NOTHING",
            vec![
                Box::new(realm.0),
                Box::new(ids),
                Box::new(positions),
                each(&rows, |change| change.subject.word()),
                each(&rows, |change| change.id),
                try_each(&rows, |change| integer(change.version))?,
                try_each(&rows, |change| json(&change.before))?,
                try_each(&rows, |change| json(&change.after))?,
            ],
            Check::Events(chunk.len()),
        );
    }
    Ok(())
}

/// A row of [`BEFORE`].
pub(super) fn read(row: &Row, realm: RealmId) -> Result<Event, StoreError> {
    nouns::event(&mut Columns::new(row, "event"), realm)
}

/// A row of [`CHANGES`].
pub(super) fn read_change(row: &Row) -> Result<(EventId, Change), StoreError> {
    let mut columns = Columns::new(row, "change");
    let change = nouns::change(&mut columns)?;
    Ok((EventId(columns.id()?), change))
}

/// A row of [`HISTORY`].
pub(super) fn read_history(row: &Row, realm: RealmId) -> Result<(Event, Change), StoreError> {
    let mut columns = Columns::new(row, "event");
    let event = nouns::event(&mut columns, realm)?;
    Ok((event, nouns::change(&mut columns)?))
}

/// A row of [`DIGEST`].
pub(super) fn read_digest(row: &Row) -> Result<[u8; 32], StoreError> {
    let mut columns = Columns::new(row, "event");
    columns.id()?;
    let digest = columns.optional_digest()?;
    digest.ok_or_else(|| columns.corrupt("no digest"))
}
