//! The `locator` and `mark` tables: how everything is found that is not found by its id.
//!
//! The one thing to know: a locator moves only from the holder that the batch states, so a claim that finds somebody
//! else (or nobody) is refused; releases, and setting and unsetting marks, are idempotent.

use engine::batch::{LocatorWrite, MarkWrite};
use engine::locator::{Holder, Key, Place};
use engine::realm::RealmId;
use engine::store::StoreError;
use tokio_postgres::Row;
use uuid::Uuid;

use super::rows::{Parameter, each, key, text};
use super::script::{CHUNK_ROWS, Check, Script};

/// Who is found at each of the places; the number of the place first.
pub(super) const FIND: &str = "SELECT wanted.number, found.holder_kind, found.holder \
     FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS wanted (space, key, number) \
     CROSS JOIN LATERAL (SELECT holder_kind, holder FROM locator WHERE locator.realm = $1 \
     AND locator.space = wanted.space AND locator.key = wanted.key LIMIT 1) AS found";

/// The holders of each of the marks, so many of each at the most; the number of the place first.
pub(super) const MARKED: &str = "SELECT wanted.number, found.holder_kind, found.holder \
     FROM unnest($2::text[], $3::bytea[], $4::bigint[]) WITH ORDINALITY AS wanted (space, key, most, number) \
     CROSS JOIN LATERAL (SELECT holder_kind, holder FROM mark WHERE mark.realm = $1 AND mark.space = wanted.space \
     AND mark.key = wanted.key ORDER BY holder, holder_kind LIMIT wanted.most) AS found \
     ORDER BY wanted.number, found.holder, found.holder_kind";

/// One page of a walk: what comes after a key, holder and kind. The nil id with no kind comes before every holder.
pub(super) const MARKS: &str = "SELECT key, holder_kind, holder FROM mark \
     WHERE realm = $1 AND space = $2 AND (key, holder, holder_kind) > ($3, $4, $5) AND key <= $6 \
     ORDER BY key, holder, holder_kind LIMIT $7";

/// Letter and id in the second and third column. Errors name the table only: a key may hold a person's tag.
pub(super) fn read_holder(row: &Row, table: &'static str) -> Result<Holder, StoreError> {
    let corrupt = |message: String| StoreError::Corrupt {
        table,
        id: "of a holder".to_owned(),
        message,
    };
    let read = || -> Result<Option<Holder>, tokio_postgres::Error> {
        Ok(Holder::from_parts(row.try_get(1)?, row.try_get(2)?))
    };
    read()
        .map_err(|error| corrupt(error.to_string()))?
        .ok_or_else(|| corrupt("an unknown kind of holder".to_owned()))
}

/// A row of a walk.
pub(super) fn read_mark(row: &Row) -> Result<(Key, Holder), StoreError> {
    let key = row.try_get(0).map_err(|error| StoreError::Corrupt {
        table: "mark",
        id: "of a key".to_owned(),
        message: error.to_string(),
    })?;
    Ok((Key(key), read_holder(row, "mark")?))
}

/// Space and key of places, as arrays.
pub(super) fn arrays<'a>(places: &[&'a Place]) -> [Parameter<'a>; 2] {
    [
        each(places, |place| text(&place.space.0)),
        each(places, |place| key(&place.key.0)),
    ]
}

/// Realm, places and their holders.
fn held<'a>(realm: RealmId, places: &[&'a Place], holders: &[Holder]) -> Vec<Parameter<'a>> {
    let [spaces, keys] = arrays(places);
    let letters: Vec<&str> = holders.iter().map(|holder| holder.letter()).collect();
    let ids: Vec<Uuid> = holders.iter().map(|holder| holder.id()).collect();
    vec![
        Box::new(realm.0),
        spaces,
        keys,
        Box::new(letters),
        Box::new(ids),
    ]
}

/// Places with their holders, in parts of a size.
struct Held<'a> {
    places: Vec<&'a Place>,
    holders: Vec<Holder>,
}

impl<'a> Held<'a> {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            holders: Vec::new(),
        }
    }

    fn push(&mut self, place: &'a Place, holder: Holder) {
        self.places.push(place);
        self.holders.push(holder);
    }

    fn chunks(&self) -> impl Iterator<Item = (&[&'a Place], &[Holder])> {
        let places = self.places.chunks(CHUNK_ROWS);
        places.zip(self.holders.chunks(CHUNK_ROWS))
    }
}

/// Adds the statements for these writes. Claims are each of another place, which is not released besides.
pub(super) fn write<'a>(
    script: &mut Script<'a>,
    realm: RealmId,
    writes: impl Iterator<Item = &'a LocatorWrite>,
) {
    let (mut claimed, mut moved, mut released) = (Held::new(), Held::new(), Held::new());
    let mut former = Vec::new();
    for write in writes {
        match write {
            LocatorWrite::Claim {
                place,
                holder,
                from: None,
            } => claimed.push(place, *holder),
            LocatorWrite::Claim {
                place,
                holder,
                from: Some(from),
            } => {
                moved.push(place, *holder);
                former.push(*from);
            }
            LocatorWrite::Release { place, holder } => released.push(place, *holder),
        }
    }
    for (places, holders) in claimed.chunks() {
        script.write(
            "INSERT INTO locator (realm, space, key, holder_kind, holder) SELECT $1::uuid, row.* \
             FROM unnest($2::text[], $3::bytea[], $4::text[], $5::uuid[]) AS row (space, key, holder_kind, holder) \
             ON CONFLICT (realm, space, key) DO NOTHING RETURNING space, key",
            held(realm, places, holders),
            Check::Places(places.to_vec()),
        );
    }
    for ((places, holders), former) in moved.chunks().zip(former.chunks(CHUNK_ROWS)) {
        let mut parameters = held(realm, places, holders);
        let letters: Vec<&str> = former.iter().map(|holder| holder.letter()).collect();
        let ids: Vec<Uuid> = former.iter().map(|holder| holder.id()).collect();
        parameters.extend([Box::new(letters) as Parameter<'a>, Box::new(ids)]);
        script.write(
            "UPDATE locator SET holder_kind = row.holder_kind, holder = row.holder \
             FROM unnest($2::text[], $3::bytea[], $4::text[], $5::uuid[], $6::text[], $7::uuid[]) \
             AS row (space, key, holder_kind, holder, former_kind, former) \
             WHERE locator.realm = $1 AND locator.space = row.space AND locator.key = row.key \
             AND locator.holder_kind = row.former_kind AND locator.holder = row.former \
             RETURNING locator.space, locator.key",
            parameters,
            Check::Places(places.to_vec()),
        );
    }
    for (places, holders) in released.chunks() {
        script.write(
            "DELETE FROM locator USING unnest($2::text[], $3::bytea[], $4::text[], $5::uuid[]) \
             AS gone (space, key, holder_kind, holder) \
             WHERE locator.realm = $1 AND locator.space = gone.space AND locator.key = gone.key \
             AND locator.holder_kind = gone.holder_kind AND locator.holder = gone.holder",
            held(realm, places, holders),
            Check::None,
        );
    }
}

/// Adds the statements for these marks. One that is both unset and set (an old tag that is also a new one) ends up set.
pub(super) fn write_marks<'a>(
    script: &mut Script<'a>,
    realm: RealmId,
    writes: impl Iterator<Item = &'a MarkWrite>,
) {
    let (mut set, mut unset) = (Held::new(), Held::new());
    for write in writes {
        match write {
            MarkWrite::Set(place, holder) => set.push(place, *holder),
            MarkWrite::Unset(place, holder) => unset.push(place, *holder),
        }
    }
    for (places, holders) in unset.chunks() {
        script.write(
            "DELETE FROM mark USING unnest($2::text[], $3::bytea[], $4::text[], $5::uuid[]) \
             AS gone (space, key, holder_kind, holder) \
             WHERE mark.realm = $1 AND mark.space = gone.space AND mark.key = gone.key \
             AND mark.holder = gone.holder AND mark.holder_kind = gone.holder_kind",
            held(realm, places, holders),
            Check::None,
        );
    }
    for (places, holders) in set.chunks() {
        script.write(
            "INSERT INTO mark (realm, space, key, holder_kind, holder) SELECT $1::uuid, row.* \
             FROM unnest($2::text[], $3::bytea[], $4::text[], $5::uuid[]) AS row (space, key, holder_kind, holder) \
             ON CONFLICT (realm, space, key, holder, holder_kind) DO NOTHING",
            held(realm, places, holders),
            Check::None,
        );
    }
}
