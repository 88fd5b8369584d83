//! The `record` table.
//!
//! The one thing to know: kinds and bodies mean nothing here; a tombstone is a row like others, with an index of its own
//! for the purge. Records above each other come in one statement, because each step upward would be a round trip.

use engine::batch::RecordWrite;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::record::Record;
use engine::store::StoreError;

use super::rows::{Parameter, each, text, try_each};
use super::script::{CHUNK_ROWS, Check, Script, stale};
use crate::columns::{integer, json};
use crate::nouns::record_columns as columns;

/// Records by a query for their ids, with what is above them, `$3` high at the most, each looked up by its key (see the
/// tokens for why not by a join).
macro_rules! upward {
    ($ids:literal) => {
        concat!(
            "WITH RECURSIVE above (id, parent, height) AS (SELECT first.id, first.parent, 1 FROM ",
            $ids,
            " AS start (id) CROSS JOIN LATERAL (SELECT id, parent FROM record \
             WHERE record.realm = $1 AND record.id = start.id LIMIT 1) AS first \
             UNION SELECT next.id, next.parent, above.height + 1 FROM above CROSS JOIN LATERAL (SELECT id, parent \
             FROM record WHERE record.realm = $1 AND record.id = above.parent LIMIT 1) AS next \
             WHERE above.height < $3::bigint) \
             SELECT found.* FROM (SELECT DISTINCT above.id FROM above) AS wanted CROSS JOIN LATERAL (SELECT ",
            columns!(),
            " FROM record WHERE record.realm = $1 AND record.id = wanted.id LIMIT 1) AS found"
        )
    };
}

/// By id.
pub(super) const FIND_UPWARD: &str = upward!("unnest($2::uuid[])");

/// The parents and containers of tokens.
pub(super) const FIND_ABOVE: &str = upward!(
    "(SELECT unnest(ARRAY[token.parent, token.container]) FROM unnest($2::uuid[]) AS of (id) \
     CROSS JOIN LATERAL (SELECT parent, container FROM token \
     WHERE token.realm = $1 AND token.id = of.id LIMIT 1) AS token)"
);

/// The same for tokens by id or found at one of some places.
pub(super) const FIND_ABOVE_LOCATED: &str = upward!(
    "(SELECT unnest(ARRAY[token.parent, token.container]) FROM (SELECT unnest($2::uuid[]) UNION SELECT holder \
     FROM unnest($4::text[], $5::bytea[]) AS place (space, key) CROSS JOIN LATERAL (SELECT holder, holder_kind \
     FROM locator WHERE locator.realm = $1 AND locator.space = place.space AND locator.key = place.key LIMIT 1) AS held \
     WHERE holder_kind = 't') AS of (id) CROSS JOIN LATERAL (SELECT parent, container FROM token \
     WHERE token.realm = $1 AND token.id = of.id LIMIT 1) AS token)"
);

/// Of one kind, in order of id, from the first.
pub(super) const FIRST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM record WHERE realm = $1 AND kind = $2 ORDER BY id LIMIT $3"
);

/// Of one kind, in order of id, after one.
pub(super) const AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM record WHERE realm = $1 AND kind = $2 AND id > $4 ORDER BY id LIMIT $3"
);

/// Tombstones, in order of id.
pub(super) const DELETED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM record WHERE realm = $1 AND state = 'deleted' AND updated_at < $2 ORDER BY id LIMIT $3"
);

/// The arrays of [`arrays`], from the second parameter on.
macro_rules! unnested {
    ($more:literal, $name:literal) => {
        concat!(
            "unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::uuid[], $8::bigint[], \
             $9::text[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[]",
            $more,
            ") AS row (",
            columns!(),
            $name,
            ")"
        )
    };
}

/// The realm, then an array for each column, in the order of `columns!`.
fn arrays<'a>(realm: RealmId, records: &[&'a Record]) -> Result<Vec<Parameter<'a>>, StoreError> {
    Ok(vec![
        Box::new(realm.0),
        each(records, |record| record.id.0),
        each(records, |record| text(&record.kind)),
        try_each(records, |record| integer(record.version))?,
        each(records, |record| record.state.word()),
        each(records, |record| {
            record.expires_at.map(Timestamp::as_micros)
        }),
        each(records, |record| record.parent.map(|parent| parent.0)),
        each(records, |record| record.created_at.as_micros()),
        each(records, |record| text(&record.created_by)),
        each(records, |record| record.updated_at.as_micros()),
        each(records, |record| text(&record.updated_by)),
        try_each(records, |record| json(&record.addresses))?,
        try_each(records, |record| json(&record.locators))?,
        try_each(records, |record| json(&record.marks))?,
        try_each(records, |record| json(&record.body))?,
    ])
}

fn taken() -> StoreError {
    StoreError::Taken {
        space: "record".to_owned(),
    }
}

/// Adds the statements for these writes, each of another record.
pub(super) fn write<'a>(
    script: &mut Script<'a>,
    realm: RealmId,
    writes: impl Iterator<Item = &'a RecordWrite>,
) -> Result<(), StoreError> {
    let (mut inserted, mut updated, mut former) = (Vec::new(), Vec::new(), Vec::new());
    let (mut deleted, mut last) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            RecordWrite::Insert(record) => inserted.push(record),
            RecordWrite::Update { record, from } => {
                updated.push(record);
                former.push(integer(*from)?);
            }
            RecordWrite::Delete { id, from } => {
                deleted.push(id.0);
                last.push(from.cast_signed());
            }
        }
    }
    for chunk in inserted.chunks(CHUNK_ROWS) {
        script.write(
            concat!(
                "INSERT INTO record (realm, ",
                columns!(),
                ") SELECT $1::uuid, row.* FROM ",
                unnested!("", ""),
                " ON CONFLICT (realm, id) DO NOTHING"
            ),
            arrays(realm, chunk)?,
            Check::Rows(chunk.len(), taken),
        );
    }
    for (chunk, former) in updated.chunks(CHUNK_ROWS).zip(former.chunks(CHUNK_ROWS)) {
        let mut parameters = arrays(realm, chunk)?;
        parameters.push(Box::new(former.to_vec()));
        script.write(
            concat!(
                "UPDATE record SET kind = row.kind, version = row.version, state = row.state, \
                 expires_at = row.expires_at, parent = row.parent, created_at = row.created_at, \
                 created_by = row.created_by, updated_at = row.updated_at, updated_by = row.updated_by, \
                 addresses = row.addresses, locators = row.locators, marks = row.marks, body = row.body FROM ",
                unnested!(", $16::bigint[]", ", former"),
                " WHERE record.realm = $1 AND record.id = row.id AND record.version = row.former"
            ),
            parameters,
            Check::Rows(chunk.len(), stale),
        );
    }
    for (chunk, last) in deleted.chunks(CHUNK_ROWS).zip(last.chunks(CHUNK_ROWS)) {
        script.write(
            "DELETE FROM record USING unnest($2::uuid[], $3::bigint[]) AS gone (id, version) \
             WHERE record.realm = $1 AND record.id = gone.id AND record.version = gone.version",
            vec![
                Box::new(realm.0),
                Box::new(chunk.to_vec()),
                Box::new(last.to_vec()),
            ],
            Check::Rows(chunk.len(), stale),
        );
    }
    Ok(())
}
