//! The `value` table: chains of sealed versions.
//!
//! The one thing to know: the present version is the one without `superseded_at`, which is always the highest; a version
//! is never overwritten, only superseded, forgotten or deleted.

use std::borrow::Cow;

use engine::batch::ValueWrite;
use engine::realm::RealmId;
use engine::store::StoreError;
use engine::value::Value;

use super::rows::{Parameter, each, text, try_each};
use super::script::{CHUNK_ROWS, Check, Script, stale};
use crate::columns::{integer, json};

/// Bytes of content in one statement, unless a single value is larger.
const CHUNK_BYTES: usize = 8 << 20;

/// Present versions by id; the content only where it is asked for: it lies outside the row and need not be read.
macro_rules! present {
    ($sealed:literal) => {
        concat!(
            "SELECT present.* FROM unnest($2::uuid[]) AS wanted (id) CROSS JOIN LATERAL (\
             SELECT id, version, class, container, external_id, scope_name, scope_global, identity, refers_to, \
             created_at, superseded_at, body, ",
            $sealed,
            " FROM value WHERE realm = $1 AND value.id = wanted.id ORDER BY version DESC LIMIT 1) AS present"
        )
    };
}

/// By id, with content.
pub(super) const FIND_SEALED: &str = present!("sealed");

/// By id, without.
pub(super) const FIND: &str = present!("NULL::bytea AS sealed");

/// Versions that were superseded before an instant.
pub(super) const SUPERSEDED: &str = "SELECT id, version FROM value WHERE realm = $1 AND superseded_at < $2 \
     ORDER BY superseded_at, id, version LIMIT $3";

fn taken() -> StoreError {
    StoreError::Taken {
        space: "value".to_owned(),
    }
}

/// Adds the statements for these writes. Inserts, changes and removals are each of another value.
pub(super) fn write<'a>(
    script: &mut Script<'a>,
    realm: RealmId,
    writes: impl Iterator<Item = &'a ValueWrite>,
) -> Result<(), StoreError> {
    let (mut inserted, mut changed) = (Vec::new(), Vec::new());
    let (mut deleted, mut last) = (Vec::new(), Vec::new());
    let (mut forgotten, mut through) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            ValueWrite::Insert(value) => inserted.push(value),
            // The version it follows is the one before its own: a batch that says otherwise does not come here.
            ValueWrite::Supersede { value, .. } => changed.push(value),
            ValueWrite::Delete { id, from } => {
                deleted.push(id.0);
                last.push(from.cast_signed());
            }
            ValueWrite::Forget { id, through: to } => {
                forgotten.push(id.0);
                through.push(i64::try_from(*to).unwrap_or(i64::MAX));
            }
        }
    }
    // A new value must have no version at all, not even a superseded one.
    insert(script, realm, &inserted, taken, true)?;
    for chunk in changed.chunks(CHUNK_ROWS) {
        script.write(
            "UPDATE value SET superseded_at = next.at FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) \
             AS next (id, version, at) WHERE value.realm = $1 AND value.id = next.id \
             AND value.version = next.version - 1 AND value.superseded_at IS NULL",
            vec![
                Box::new(realm.0),
                each(chunk, |value| value.id.0),
                try_each(chunk, |value| integer(value.version))?,
                each(chunk, |value| value.created_at.as_micros()),
            ],
            Check::Rows(chunk.len(), stale),
        );
    }
    insert(script, realm, &changed, stale, false)?;
    for (chunk, last) in deleted.chunks(CHUNK_ROWS).zip(last.chunks(CHUNK_ROWS)) {
        script.write(
            "DELETE FROM value USING unnest($2::uuid[], $3::bigint[]) AS gone (id, version) \
             WHERE value.realm = $1 AND value.id = gone.id AND value.version = gone.version \
             AND value.superseded_at IS NULL",
            vec![
                Box::new(realm.0),
                Box::new(chunk.to_vec()),
                Box::new(last.to_vec()),
            ],
            Check::Rows(chunk.len(), stale),
        );
        script.write(
            "DELETE FROM value WHERE realm = $1 AND id = ANY($2::uuid[])",
            vec![Box::new(realm.0), Box::new(chunk.to_vec())],
            Check::None,
        );
    }
    for (chunk, through) in forgotten.chunks(CHUNK_ROWS).zip(through.chunks(CHUNK_ROWS)) {
        script.write(
            "DELETE FROM value USING unnest($2::uuid[], $3::bigint[]) AS gone (id, through) \
             WHERE value.realm = $1 AND value.id = gone.id AND value.version <= gone.through \
             AND value.superseded_at IS NOT NULL",
            vec![
                Box::new(realm.0),
                Box::new(chunk.to_vec()),
                Box::new(through.to_vec()),
            ],
            Check::None,
        );
    }
    Ok(())
}

/// Parts of at most so many rows, and of so many bytes unless one row alone has more.
fn parts<'b, 'a>(values: &'b [&'a Value]) -> impl Iterator<Item = &'b [&'a Value]> {
    let mut rest = values;
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        for value in rest.iter().take(CHUNK_ROWS) {
            bytes += value.sealed.as_ref().map_or(0, |sealed| sealed.0.len());
            if count > 0 && bytes > CHUNK_BYTES {
                break;
            }
            count += 1;
        }
        let (part, after) = rest.split_at(count);
        rest = after;
        (count > 0).then_some(part)
    })
}

fn insert<'a>(
    script: &mut Script<'a>,
    realm: RealmId,
    values: &[&'a Value],
    refusal: fn() -> StoreError,
    new: bool,
) -> Result<(), StoreError> {
    macro_rules! insert {
        ($condition:literal) => {
            concat!(
                "INSERT INTO value (realm, id, version, class, container, external_id, scope_name, scope_global, \
                 identity, refers_to, created_at, body, sealed) SELECT $1::uuid, row.* FROM unnest($2::uuid[], \
                 $3::bigint[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::boolean[], $9::bytea[], \
                 $10::uuid[], $11::bigint[], $12::text[], $13::bytea[]) AS row (id, version, class, container, \
                 external_id, scope_name, scope_global, identity, refers_to, created_at, body, sealed)",
                $condition,
                " ON CONFLICT (realm, id, version) DO NOTHING"
            )
        };
    }
    let sql = if new {
        insert!(
            " WHERE NOT EXISTS (SELECT 1 FROM value WHERE value.realm = $1 AND value.id = row.id)"
        )
    } else {
        insert!("")
    };
    for part in parts(values) {
        let parameters: Vec<Parameter<'a>> = vec![
            Box::new(realm.0),
            each(part, |value| value.id.0),
            try_each(part, |value| integer(value.version))?,
            each(part, |value| text(&value.class)),
            each(part, |value| value.container.map(|record| record.0)),
            each(part, |value| optional_text(value.external_id.as_ref())),
            each(part, |value| {
                optional_text(value.scope.as_ref().map(|scope| &scope.name))
            }),
            each(part, |value| value.scope.as_ref().map(|scope| scope.global)),
            each(part, |value| {
                value.identity.as_ref().map(<[u8; 32]>::as_slice)
            }),
            each(part, |value| value.refers_to.map(|record| record.0)),
            each(part, |value| value.created_at.as_micros()),
            try_each(part, |value| json(&value.body))?,
            each(part, |value| {
                value.sealed.as_ref().map(|sealed| sealed.0.as_slice())
            }),
        ];
        script.write(sql, parameters, Check::Rows(part.len(), refusal));
    }
    Ok(())
}

fn optional_text(content: Option<&String>) -> Option<Cow<'_, str>> {
    content.map(|content| text(content))
}

/// The content of these values, for a bound on the bytes of a group.
pub(super) fn bytes(writes: &[ValueWrite]) -> usize {
    let sealed = writes.iter().filter_map(|write| match write {
        ValueWrite::Insert(value) | ValueWrite::Supersede { value, .. } => value.sealed.as_ref(),
        ValueWrite::Delete { .. } | ValueWrite::Forget { .. } => None,
    });
    sealed.map(|sealed| sealed.0.len()).sum()
}
