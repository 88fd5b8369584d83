//! The `record` table.
//!
//! The one thing to know: kinds and bodies mean nothing here; a tombstone is a row like others, with an index of its own
//! for the purge.

use engine::batch::RecordWrite;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use engine::store::StoreError;
use rusqlite::{Connection, Params, params};

use super::rows::failed;
use crate::columns::{integer, json, rows_max};
use crate::nouns::{self, record_columns as columns};

fn select(
    connection: &Connection,
    realm: RealmId,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(parameters).map_err(failed)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        records.push(nouns::record(row, realm)?);
    }
    Ok(records)
}

pub(super) fn find(
    connection: &Connection,
    realm: RealmId,
    id: RecordId,
) -> Result<Option<Record>, StoreError> {
    let found = select(
        connection,
        realm,
        concat!(
            "SELECT ",
            columns!(),
            " FROM record WHERE realm = ?1 AND id = ?2"
        ),
        params![realm.0, id.0],
    )?;
    Ok(found.into_iter().next())
}

pub(super) fn after(
    connection: &Connection,
    realm: RealmId,
    kind: &str,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    // An empty blob sorts before every id.
    let start = after.map_or_else(Vec::new, |id| id.0.as_bytes().to_vec());
    select(
        connection,
        realm,
        concat!(
            "SELECT ",
            columns!(),
            " FROM record WHERE realm = ?1 AND kind = ?2 AND id > ?3 ORDER BY id LIMIT ?4"
        ),
        params![realm.0, kind, start, rows_max(limit)],
    )
}

pub(super) fn deleted(
    connection: &Connection,
    realm: RealmId,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    select(
        connection,
        realm,
        concat!(
            "SELECT ",
            columns!(),
            " FROM record WHERE realm = ?1 AND state = 'deleted' AND updated_at < ?2 ORDER BY id LIMIT ?3"
        ),
        params![realm.0, before.as_micros(), rows_max(limit)],
    )
}

pub(super) fn write(
    connection: &Connection,
    realm: RealmId,
    write: &RecordWrite,
) -> Result<(), StoreError> {
    match write {
        RecordWrite::Insert(record) => {
            let inserted = put(
                connection,
                record,
                None,
                "INSERT INTO record (realm, id, kind, version, state, expires_at, parent, created_at, created_by, \
                 updated_at, updated_by, addresses, locators, marks, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT (realm, id) DO NOTHING",
            )?;
            if inserted == 0 {
                return Err(StoreError::Taken {
                    space: "record".to_owned(),
                });
            }
        }
        RecordWrite::Update { record, from } => {
            let updated = put(
                connection,
                record,
                Some(*from),
                "UPDATE record SET kind = ?3, version = ?4, state = ?5, expires_at = ?6, parent = ?7, created_at = ?8, \
                 created_by = ?9, updated_at = ?10, updated_by = ?11, addresses = ?12, \
                 locators = ?13, marks = ?14, body = ?15 \
                 WHERE realm = ?1 AND id = ?2 AND version = ?16",
            )?;
            if updated == 0 {
                return Err(StoreError::Stale);
            }
        }
        RecordWrite::Delete { id, from } => {
            let deleted = connection
                .prepare_cached("DELETE FROM record WHERE realm = ?1 AND id = ?2 AND version = ?3")
                .and_then(|mut statement| {
                    statement.execute(params![realm.0, id.0, from.cast_signed()])
                })
                .map_err(failed)?;
            if deleted == 0 {
                return Err(StoreError::Stale);
            }
        }
    }
    Ok(())
}

/// Runs an insert or update whose parameters are the columns in the order of the table, then the former version.
fn put(
    connection: &Connection,
    record: &Record,
    from: Option<u64>,
    sql: &str,
) -> Result<usize, StoreError> {
    let addresses = json(&record.addresses)?;
    let locators = json(&record.locators)?;
    let marks = json(&record.marks)?;
    let body = json(&record.body)?;
    let version = integer(record.version)?;
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let columns = params![
        record.realm.0,
        record.id.0,
        record.kind,
        version,
        record.state.word(),
        record.expires_at.map(Timestamp::as_micros),
        record.parent.map(|parent| parent.0),
        record.created_at.as_micros(),
        record.created_by,
        record.updated_at.as_micros(),
        record.updated_by,
        addresses,
        locators,
        marks,
        body,
    ];
    let Some(from) = from else {
        return statement.execute(columns).map_err(failed);
    };
    let from = integer(from)?;
    let mut guarded = columns.to_vec();
    guarded.push(&from);
    statement.execute(guarded.as_slice()).map_err(failed)
}
