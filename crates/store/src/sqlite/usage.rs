//! The `usage` table: how often tokens were used, apart from the tokens.
//!
//! The one thing to know: reports add up and never touch a token. Uses of a token that is gone by then are dropped,
//! because nothing would ever remove their row.

use std::collections::BTreeMap;

use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::{StoreError, Usage};
use engine::token::TokenId;
use rusqlite::{Connection, params};

use super::rows::failed;
use crate::nouns;

/// Counts one use, unless there have been `max` already or the token is gone; says whether it was counted.
pub(super) fn spend(
    connection: &Connection,
    realm: RealmId,
    token: TokenId,
    max: u64,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let counted = connection
        .prepare_cached(
            "INSERT INTO usage (realm, token, uses, last_used_at) \
             SELECT ?1, ?2, 1, ?4 WHERE ?3 > 0 AND EXISTS (SELECT 1 FROM token WHERE realm = ?1 AND id = ?2) \
             ON CONFLICT (realm, token) DO UPDATE SET \
             uses = usage.uses + 1, last_used_at = max(usage.last_used_at, excluded.last_used_at) \
             WHERE usage.uses < ?3",
        )
        .and_then(|mut statement| {
            statement.execute(params![realm.0, token.0, max, at.as_micros()])
        })
        .map_err(failed)?;
    Ok(counted == 1)
}

pub(super) fn add(
    connection: &Connection,
    realm: RealmId,
    token: TokenId,
    usage: Usage,
) -> Result<(), StoreError> {
    // Sums stop at 2^63-1 instead of overflowing: SQLite would turn them into a fraction.
    connection
        .prepare_cached(
            "INSERT INTO usage (realm, token, uses, last_used_at) \
             SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM token WHERE realm = ?1 AND id = ?2) \
             ON CONFLICT (realm, token) DO UPDATE SET \
             uses = usage.uses + min(excluded.uses, 9223372036854775807 - usage.uses), \
             last_used_at = max(usage.last_used_at, excluded.last_used_at)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                realm.0,
                token.0,
                i64::try_from(usage.uses).unwrap_or(i64::MAX),
                usage.last_used_at.as_micros()
            ])
        })
        .map_err(failed)?;
    Ok(())
}

pub(super) fn of(
    connection: &Connection,
    realm: RealmId,
    tokens: &[TokenId],
) -> Result<BTreeMap<TokenId, Usage>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT token, uses, last_used_at FROM usage WHERE realm = ?1 AND token = ?2",
        )
        .map_err(failed)?;
    let mut found = BTreeMap::new();
    for token in tokens {
        let mut rows = statement.query(params![realm.0, token.0]).map_err(failed)?;
        if let Some(row) = rows.next().map_err(failed)? {
            let (id, usage) = nouns::usage(row)?;
            found.insert(id, usage);
        }
    }
    Ok(found)
}
