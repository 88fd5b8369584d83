//! The `value` table: chains of sealed versions.
//!
//! The one thing to know: the present version is the one without `superseded_at`, which is always the highest; a version
//! is never overwritten, only superseded, forgotten or deleted.

use engine::batch::ValueWrite;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::StoreError;
use engine::value::{Value, ValueId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::failed;
use crate::columns::{integer, json, rows_max};
use crate::nouns;

/// The present version, with its content only if `sealed` is set: otherwise its pages are not even read.
pub(super) fn find(
    connection: &Connection,
    realm: RealmId,
    id: ValueId,
    sealed: bool,
) -> Result<Option<Value>, StoreError> {
    macro_rules! present {
        ($sealed:literal) => {
            concat!(
                "SELECT id, version, class, container, external_id, scope_name, scope_global, identity, refers_to, \
                 created_at, superseded_at, body, ",
                $sealed,
                " FROM value WHERE realm = ?1 AND id = ?2 ORDER BY version DESC LIMIT 1"
            )
        };
    }
    let sql = if sealed {
        present!("sealed")
    } else {
        present!("NULL")
    };
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params![realm.0, id.0]).map_err(failed)?;
    rows.next()
        .map_err(failed)?
        .map(|row| nouns::value(row, realm))
        .transpose()
}

pub(super) fn superseded(
    connection: &Connection,
    realm: RealmId,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<(ValueId, u64)>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id, version FROM value WHERE realm = ?1 AND superseded_at < ?2 \
             ORDER BY superseded_at, id, version LIMIT ?3",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query(params![realm.0, before.as_micros(), rows_max(limit)])
        .map_err(failed)?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        versions.push(nouns::value_version(row)?);
    }
    Ok(versions)
}

pub(super) fn write(
    connection: &Connection,
    realm: RealmId,
    write: &ValueWrite,
) -> Result<(), StoreError> {
    match write {
        ValueWrite::Insert(value) => {
            let there = connection
                .prepare_cached("SELECT 1 FROM value WHERE realm = ?1 AND id = ?2 LIMIT 1")
                .and_then(|mut statement| {
                    statement
                        .query_row(params![realm.0, value.id.0], |_| Ok(()))
                        .optional()
                })
                .map_err(failed)?;
            if there.is_some() {
                return Err(StoreError::Taken {
                    space: "value".to_owned(),
                });
            }
            insert(connection, value)
        }
        ValueWrite::Supersede { value, from } => {
            let superseded = connection
                .prepare_cached(
                    "UPDATE value SET superseded_at = ?4 \
                     WHERE realm = ?1 AND id = ?2 AND version = ?3 AND superseded_at IS NULL",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        realm.0,
                        value.id.0,
                        from.cast_signed(),
                        value.created_at.as_micros()
                    ])
                })
                .map_err(failed)?;
            if superseded == 0 {
                return Err(StoreError::Stale);
            }
            insert(connection, value)
        }
        ValueWrite::Delete { id, from } => {
            let present = connection
                .prepare_cached(
                    "DELETE FROM value \
                     WHERE realm = ?1 AND id = ?2 AND version = ?3 AND superseded_at IS NULL",
                )
                .and_then(|mut statement| {
                    statement.execute(params![realm.0, id.0, from.cast_signed()])
                })
                .map_err(failed)?;
            if present == 0 {
                return Err(StoreError::Stale);
            }
            connection
                .prepare_cached("DELETE FROM value WHERE realm = ?1 AND id = ?2")
                .and_then(|mut statement| statement.execute(params![realm.0, id.0]))
                .map_err(failed)?;
            Ok(())
        }
        ValueWrite::Forget { id, through } => {
            connection
                .prepare_cached(
                    "DELETE FROM value \
                     WHERE realm = ?1 AND id = ?2 AND version <= ?3 AND superseded_at IS NOT NULL",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        realm.0,
                        id.0,
                        i64::try_from(*through).unwrap_or(i64::MAX)
                    ])
                })
                .map_err(failed)?;
            Ok(())
        }
    }
}

fn insert(connection: &Connection, value: &Value) -> Result<(), StoreError> {
    let body = json(&value.body)?;
    let version = integer(value.version)?;
    connection
        .prepare_cached(
            "INSERT INTO value (realm, id, version, class, container, external_id, scope_name, scope_global, identity, \
             refers_to, created_at, body, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                value.realm.0,
                value.id.0,
                version,
                value.class,
                value.container.map(|record| record.0),
                value.external_id,
                value.scope.as_ref().map(|scope| scope.name.as_str()),
                value.scope.as_ref().map(|scope| scope.global),
                value.identity,
                value.refers_to.map(|record| record.0),
                value.created_at.as_micros(),
                body,
                value.sealed.as_ref().map(|sealed| sealed.0.as_slice()),
            ])
        })
        .map_err(failed)?;
    Ok(())
}
