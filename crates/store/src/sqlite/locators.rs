//! The `locator` and `mark` tables: how everything is found that is not found by its id.
//!
//! The one thing to know: a locator moves only from the holder that the batch states, so a claim that finds somebody
//! else (or nobody) is refused; releases, and setting and unsetting marks, are idempotent.

use engine::batch::{LocatorWrite, MarkWrite};
use engine::locator::{Holder, Key, Place};
use engine::realm::RealmId;
use engine::store::{MarkPage, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::rows::failed;
use crate::columns::rows_max;

/// Letter and id in the given columns. Errors name the space only: a key may hold a person's tag.
fn holder(
    row: &Row<'_>,
    letter: usize,
    id: usize,
    table: &'static str,
    space: &str,
) -> Result<Holder, StoreError> {
    let read = || -> rusqlite::Result<Option<Holder>> {
        let letter: String = row.get(letter)?;
        let id: Uuid = row.get(id)?;
        Ok(Holder::from_parts(&letter, id))
    };
    let corrupt = |message: String| StoreError::Corrupt {
        table,
        id: format!("in space {space}"),
        message,
    };
    read()
        .map_err(|error| corrupt(error.to_string()))?
        .ok_or_else(|| corrupt("an unknown kind of holder".to_owned()))
}

/// Who is found at a place.
pub(super) fn find(
    connection: &Connection,
    realm: RealmId,
    place: &Place,
) -> Result<Option<Holder>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT holder_kind, holder FROM locator WHERE realm = ?1 AND space = ?2 AND key = ?3",
        )
        .map_err(failed)?;
    statement
        .query_row(params![realm.0, place.space.0, place.key.0], |row| {
            Ok(holder(row, 0, 1, "locator", &place.space.0))
        })
        .optional()
        .map_err(failed)?
        .transpose()
}

/// Gives each holder of a mark to `each`, which may end the walk with an error.
pub(super) fn marked(
    connection: &Connection,
    realm: RealmId,
    place: &Place,
    mut each: impl FnMut(Holder) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT holder_kind, holder FROM mark WHERE realm = ?1 AND space = ?2 AND key = ?3 ORDER BY holder",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query(params![realm.0, place.space.0, place.key.0])
        .map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        each(holder(row, 0, 1, "mark", &place.space.0)?)?;
    }
    Ok(())
}

/// One page of a walk.
pub(super) fn marks(
    connection: &Connection,
    page: &MarkPage,
) -> Result<Vec<(Key, Holder)>, StoreError> {
    let (key, id, letter) = match &page.after {
        // Keys before the range's first would widen it.
        Some((key, holder)) if *key >= page.first => {
            (&key.0, holder.id().as_bytes().to_vec(), holder.letter())
        }
        // An empty blob sorts before every id.
        _ => (&page.first.0, Vec::new(), ""),
    };
    let mut statement = connection
        .prepare_cached(
            "SELECT holder_kind, holder, key FROM mark \
             WHERE realm = ?1 AND space = ?2 AND (key, holder, holder_kind) > (?3, ?4, ?5) AND key <= ?6 \
             ORDER BY key, holder, holder_kind LIMIT ?7",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query(params![
            page.realm.0,
            page.space.0,
            key,
            id,
            letter,
            page.last.0,
            rows_max(page.limit)
        ])
        .map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let holder = holder(row, 0, 1, "mark", &page.space.0)?;
        found.push((Key(row.get(2).map_err(failed)?), holder));
    }
    Ok(found)
}

pub(super) fn write(
    connection: &Connection,
    realm: RealmId,
    write: &LocatorWrite,
) -> Result<(), StoreError> {
    let (place, written) = match write {
        LocatorWrite::Claim {
            place,
            holder,
            from: None,
        } => (
            place,
            connection
                .prepare_cached(
                    "INSERT INTO locator (realm, space, key, holder_kind, holder) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT (realm, space, key) DO NOTHING",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        realm.0,
                        place.space.0,
                        place.key.0,
                        holder.letter(),
                        holder.id()
                    ])
                }),
        ),
        LocatorWrite::Claim {
            place,
            holder,
            from: Some(from),
        } => (
            place,
            connection
                .prepare_cached(
                    "UPDATE locator SET holder_kind = ?4, holder = ?5 \
                     WHERE realm = ?1 AND space = ?2 AND key = ?3 AND holder_kind = ?6 AND holder = ?7",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        realm.0,
                        place.space.0,
                        place.key.0,
                        holder.letter(),
                        holder.id(),
                        from.letter(),
                        from.id()
                    ])
                }),
        ),
        LocatorWrite::Release { place, holder } => (
            place,
            connection
                .prepare_cached(
                    "DELETE FROM locator \
                     WHERE realm = ?1 AND space = ?2 AND key = ?3 AND holder_kind = ?4 AND holder = ?5",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        realm.0,
                        place.space.0,
                        place.key.0,
                        holder.letter(),
                        holder.id()
                    ])
                }),
        ),
    };
    // A release of what somebody else holds by now is nothing: see `LocatorWrite::Release`.
    let released = matches!(write, LocatorWrite::Release { .. });
    if written.map_err(failed)? == 0 && !released {
        return Err(StoreError::Taken {
            space: place.space.to_string(),
        });
    }
    Ok(())
}

pub(super) fn write_mark(
    connection: &Connection,
    realm: RealmId,
    write: &MarkWrite,
) -> Result<(), StoreError> {
    let (sql, place, holder) = match write {
        MarkWrite::Set(place, holder) => (
            "INSERT INTO mark (realm, space, key, holder_kind, holder) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (realm, space, key, holder, holder_kind) DO NOTHING",
            place,
            holder,
        ),
        MarkWrite::Unset(place, holder) => (
            "DELETE FROM mark \
             WHERE realm = ?1 AND space = ?2 AND key = ?3 AND holder_kind = ?4 AND holder = ?5",
            place,
            holder,
        ),
    };
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![
                realm.0,
                place.space.0,
                place.key.0,
                holder.letter(),
                holder.id()
            ])
        })
        .map_err(failed)?;
    Ok(())
}
