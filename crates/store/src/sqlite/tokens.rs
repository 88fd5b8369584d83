//! The `token` table.
//!
//! The one thing to know: its rows are the hot ones, so it has no secondary index; an update replaces the whole row in
//! place, guarded by the version it had.

use engine::batch::TokenWrite;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::StoreError;
use engine::token::{Token, TokenId};
use rusqlite::{Connection, params};

use super::rows::failed;
use crate::columns::{integer, json, rows_max};
use crate::nouns::{self, token_columns as columns};

pub(super) fn find(
    connection: &Connection,
    realm: RealmId,
    id: TokenId,
) -> Result<Option<Token>, StoreError> {
    let mut statement = connection
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM token WHERE realm = ?1 AND id = ?2"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![realm.0, id.0]).map_err(failed)?;
    rows.next()
        .map_err(failed)?
        .map(|row| nouns::token(row, realm))
        .transpose()
}

pub(super) fn after(
    connection: &Connection,
    realm: RealmId,
    after: Option<TokenId>,
    limit: usize,
) -> Result<Vec<Token>, StoreError> {
    let mut statement = connection
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM token WHERE realm = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
        ))
        .map_err(failed)?;
    // An empty blob sorts before every id.
    let start = after.map_or_else(Vec::new, |id| id.0.as_bytes().to_vec());
    let mut rows = statement
        .query(params![realm.0, start, rows_max(limit)])
        .map_err(failed)?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        tokens.push(nouns::token(row, realm)?);
    }
    Ok(tokens)
}

pub(super) fn write(
    connection: &Connection,
    realm: RealmId,
    write: &TokenWrite,
) -> Result<(), StoreError> {
    match write {
        TokenWrite::Insert(token) => {
            let inserted = put(
                connection,
                token,
                None,
                "INSERT INTO token (realm, id, version, state, expires_at, updated_at, updated_by, class, container, \
                 parent, name, tags, tenant, created_at, created_by, value, proof, hint, sealed_secret, permissions, \
                 addresses, marks, locators, attributes, uses_max) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
                 ?19, ?20, ?21, ?22, ?23, ?24, ?25) ON CONFLICT (realm, id) DO NOTHING",
            )?;
            if inserted == 0 {
                return Err(StoreError::Taken {
                    space: "token".to_owned(),
                });
            }
        }
        TokenWrite::Update { token, from } => {
            let updated = put(
                connection,
                token,
                Some(*from),
                "UPDATE token SET version = ?3, state = ?4, expires_at = ?5, updated_at = ?6, updated_by = ?7, \
                 class = ?8, container = ?9, parent = ?10, name = ?11, tags = ?12, tenant = ?13, created_at = ?14, \
                 created_by = ?15, value = ?16, proof = ?17, hint = ?18, sealed_secret = ?19, permissions = ?20, \
                 addresses = ?21, marks = ?22, locators = ?23, attributes = ?24, uses_max = ?25 \
                 WHERE realm = ?1 AND id = ?2 AND version = ?26",
            )?;
            if updated == 0 {
                return Err(StoreError::Stale);
            }
        }
        TokenWrite::Delete { id, from } => {
            let deleted = connection
                .prepare_cached("DELETE FROM token WHERE realm = ?1 AND id = ?2 AND version = ?3")
                .and_then(|mut statement| {
                    statement.execute(params![realm.0, id.0, from.cast_signed()])
                })
                .map_err(failed)?;
            if deleted == 0 {
                return Err(StoreError::Stale);
            }
            connection
                .prepare_cached("DELETE FROM usage WHERE realm = ?1 AND token = ?2")
                .and_then(|mut statement| statement.execute(params![realm.0, id.0]))
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Runs an insert or update whose parameters are the columns in the order of the table, then the former version.
fn put(
    connection: &Connection,
    token: &Token,
    from: Option<u64>,
    sql: &str,
) -> Result<usize, StoreError> {
    let access = token.access();
    let permissions = access.map(|access| json(&access.permissions)).transpose()?;
    let addresses = access.map(|access| json(&access.addresses)).transpose()?;
    let tags = json(&token.tags)?;
    let marks = json(&token.marks)?;
    let locators = json(&token.locators)?;
    let attributes = json(&token.attributes)?;
    let uses_max = access.and_then(|access| access.uses_max);
    let uses_max = uses_max.map(integer).transpose()?;
    let version = integer(token.version)?;
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let columns = params![
        token.realm.0,
        token.id.0,
        version,
        token.state.word(),
        token.expires_at.map(Timestamp::as_micros),
        token.updated_at.as_micros(),
        token.updated_by,
        token.class,
        token.container.map(|record| record.0),
        token.parent.map(|record| record.0),
        token.name,
        tags,
        token.tenant,
        token.created_at.as_micros(),
        token.created_by,
        token.value().map(|value| value.0),
        access.map(|access| access.proof),
        access.map(|access| access.hint.as_str()),
        access
            .and_then(|access| access.sealed_secret)
            .map(|value| value.0),
        permissions,
        addresses,
        marks,
        locators,
        attributes,
        uses_max,
    ];
    let Some(from) = from else {
        return statement.execute(columns).map_err(failed);
    };
    let from = integer(from)?;
    let mut guarded = columns.to_vec();
    guarded.push(&from);
    statement.execute(guarded.as_slice()).map_err(failed)
}
