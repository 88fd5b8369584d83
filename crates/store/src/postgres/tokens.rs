//! The `token` table.
//!
//! The one thing to know: its rows are the hot ones, so it has no secondary index; an update replaces the whole row,
//! guarded by the version it had, and many of them are one statement.

use std::borrow::Cow;

use engine::batch::TokenWrite;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::StoreError;
use engine::token::Token;

use super::rows::{Parameter, each, text, try_each};
use super::script::{CHUNK_ROWS, Check, Script, stale};
use crate::columns::{integer, json};
use crate::nouns::token_columns as columns;

/// Tokens by ids, each looked up by its key. As a join it would be left to statistics, which a table that has just grown
/// does not have, whether the whole realm is read instead.
macro_rules! each_of {
    ($ids:literal) => {
        concat!(
            "SELECT found.* FROM ",
            $ids,
            " AS wanted (id) CROSS JOIN LATERAL (SELECT ",
            columns!(),
            " FROM token WHERE token.realm = $1 AND token.id = wanted.id LIMIT 1) AS found"
        )
    };
}

/// By id.
pub(super) const FIND: &str = each_of!("unnest($2::uuid[])");

/// By id, or found at one of some places: so that a token that is looked up by its secret needs no second round trip.
pub(super) const FIND_LOCATED: &str = each_of!(
    "(SELECT unnest($2::uuid[]) UNION SELECT holder \
     FROM unnest($3::text[], $4::bytea[]) AS place (space, key) CROSS JOIN LATERAL (SELECT holder, holder_kind \
     FROM locator WHERE locator.realm = $1 AND locator.space = place.space AND locator.key = place.key LIMIT 1) AS held \
     WHERE holder_kind = 't')"
);

/// In order of id, from the first.
pub(super) const FIRST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM token WHERE realm = $1 ORDER BY id LIMIT $2"
);

/// In order of id, after one.
pub(super) const AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM token WHERE realm = $1 AND id > $3 ORDER BY id LIMIT $2"
);

/// The arrays of [`arrays`], from the second parameter on.
macro_rules! unnested {
    ($more:literal, $name:literal) => {
        concat!(
            "unnest($2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], \
             $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::text[], $16::text[], \
             $17::text[], $18::text[], $19::uuid[], $20::bytea[], $21::text[], $22::uuid[], $23::text[], $24::text[], \
             $25::bigint[]",
            $more,
            ") AS row (",
            columns!(),
            $name,
            ")"
        )
    };
}

fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

fn optional_text(content: Option<&String>) -> Option<Cow<'_, str>> {
    content.map(|content| text(content))
}

/// The realm, then an array for each column, in the order of `columns!`.
fn arrays<'a>(realm: RealmId, tokens: &[&'a Token]) -> Result<Vec<Parameter<'a>>, StoreError> {
    Ok(vec![
        Box::new(realm.0),
        each(tokens, |token| token.id.0),
        try_each(tokens, |token| integer(token.version))?,
        each(tokens, |token| token.state.word()),
        each(tokens, |token| micros(token.expires_at)),
        each(tokens, |token| token.updated_at.as_micros()),
        each(tokens, |token| text(&token.updated_by)),
        each(tokens, |token| text(&token.class)),
        each(tokens, |token| token.container.map(|record| record.0)),
        each(tokens, |token| token.parent.map(|record| record.0)),
        each(tokens, |token| optional_text(token.name.as_ref())),
        try_each(tokens, |token| json(&token.tags))?,
        each(tokens, |token| optional_text(token.tenant.as_ref())),
        each(tokens, |token| token.created_at.as_micros()),
        each(tokens, |token| text(&token.created_by)),
        try_each(tokens, |token| json(&token.marks))?,
        try_each(tokens, |token| json(&token.locators))?,
        try_each(tokens, |token| json(&token.attributes))?,
        each(tokens, |token| token.value().map(|value| value.0)),
        each(tokens, |token| {
            let proof = token.access().and_then(|access| access.proof.as_ref());
            proof.map(<[u8; 32]>::as_slice)
        }),
        each(tokens, |token| {
            token.access().map(|access| text(&access.hint))
        }),
        each(tokens, |token| {
            let secret = token.access().and_then(|access| access.sealed_secret);
            secret.map(|value| value.0)
        }),
        try_each(tokens, |token| {
            let permissions = token.access().map(|access| json(&access.permissions));
            permissions.transpose()
        })?,
        try_each(tokens, |token| {
            let addresses = token.access().map(|access| json(&access.addresses));
            addresses.transpose()
        })?,
        try_each(tokens, |token| {
            let uses_max = token.access().and_then(|access| access.uses_max);
            uses_max.map(integer).transpose()
        })?,
    ])
}

fn taken() -> StoreError {
    StoreError::Taken {
        space: "token".to_owned(),
    }
}

/// Adds the statements for these writes, each of another token.
pub(super) fn write<'a>(
    script: &mut Script<'a>,
    realm: RealmId,
    writes: impl Iterator<Item = &'a TokenWrite>,
) -> Result<(), StoreError> {
    let (mut inserted, mut updated, mut former) = (Vec::new(), Vec::new(), Vec::new());
    let (mut deleted, mut last) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            TokenWrite::Insert(token) => inserted.push(token),
            TokenWrite::Update { token, from } => {
                updated.push(token);
                former.push(integer(*from)?);
            }
            TokenWrite::Delete { id, from } => {
                deleted.push(id.0);
                last.push(from.cast_signed());
            }
        }
    }
    for chunk in inserted.chunks(CHUNK_ROWS) {
        script.write(
            concat!(
                "INSERT INTO token (realm, ",
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
                "UPDATE token SET version = row.version, state = row.state, expires_at = row.expires_at, \
                 updated_at = row.updated_at, updated_by = row.updated_by, class = row.class, \
                 container = row.container, parent = row.parent, name = row.name, tags = row.tags, \
                 tenant = row.tenant, created_at = row.created_at, created_by = row.created_by, marks = row.marks, \
                 locators = row.locators, attributes = row.attributes, value = row.value, proof = row.proof, \
                 hint = row.hint, sealed_secret = row.sealed_secret, permissions = row.permissions, \
                 addresses = row.addresses, uses_max = row.uses_max FROM ",
                unnested!(", $26::bigint[]", ", former"),
                " WHERE token.realm = $1 AND token.id = row.id AND token.version = row.former"
            ),
            parameters,
            Check::Rows(chunk.len(), stale),
        );
    }
    for (chunk, last) in deleted.chunks(CHUNK_ROWS).zip(last.chunks(CHUNK_ROWS)) {
        script.write(
            "DELETE FROM token USING unnest($2::uuid[], $3::bigint[]) AS gone (id, version) \
             WHERE token.realm = $1 AND token.id = gone.id AND token.version = gone.version",
            vec![
                Box::new(realm.0),
                Box::new(chunk.to_vec()),
                Box::new(last.to_vec()),
            ],
            Check::Rows(chunk.len(), stale),
        );
        script.write(
            "DELETE FROM usage WHERE realm = $1 AND token = ANY($2::uuid[])",
            vec![Box::new(realm.0), Box::new(chunk.to_vec())],
            Check::None,
        );
    }
    Ok(())
}
