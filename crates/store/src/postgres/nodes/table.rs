//! The tables of nodes, holds and acknowledgements.
//!
//! The one thing to know: each statement is a transaction of its own, so the order in which a task sends them is the
//! order in which they are there for others. What is removed only after a transaction of its owner has ended for certain
//! is removed under the lock of its realm, by `permit.rs`.

use engine::clock::Timestamp;
use engine::live::{Held, LiveKey};
use engine::realm::RealmId;
use engine::record::RecordId;
use engine::store::Membership;
use engine::token::TokenId;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::trouble::{Trouble, of_statement};
use super::link::Link;
use crate::columns::defect;
use crate::nodes::{Hold, HoldId, NodeId, ProcessId, Row};

/// All nodes lie in this realm.
const SYSTEM: Uuid = RealmId::SYSTEM.0;

/// Takes one hold away, under the lock of its realm.
pub(super) const RELEASE: &str = "DELETE FROM hold WHERE realm = $1 AND id = $2";

/// Whether a hold is still there, to be asked under the lock of its realm.
pub(in super::super) const STANDS: &str = "SELECT id FROM hold WHERE realm = $1 AND id = $2";

/// Bytes of one key in a hold: one for its kind, sixteen for what it is.
const KEY_BYTES: usize = 17;

/// A membership as it stands in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Node {
    pub(super) row: Row,
    /// Goes up with each renewal: whoever lives renews.
    pub(super) renewals: i64,
    /// A keyed digest of the settings that change verdicts and of all keys.
    pub(super) settings_and_keys: Vec<u8>,
    /// Of the settings alone, each with its name in clear and a keyed digest of its own, so that a difference can be named;
    /// a program from before the list of keys has not said it.
    pub(super) settings: Option<Vec<u8>>,
    /// Which keys it holds, if it has said so.
    pub(super) keys: Option<Vec<u8>>,
    /// Whether it answers from memory. Nobody has to wait for one that does not.
    pub(super) remembers: bool,
}

impl Node {
    /// Whether both may answer side by side, as far as that does not depend on the list of keys.
    pub(super) fn agrees_with(&self, membership: &Membership) -> bool {
        match &self.settings {
            Some(settings) => *settings == membership.settings,
            None => self.settings_and_keys == membership.settings_and_keys,
        }
    }

    /// The names of the settings in which they do not agree. Older programs do not tell.
    pub(super) fn other_settings(&self, membership: &Membership) -> Vec<String> {
        let theirs = self.settings.as_deref();
        theirs.map_or_else(Vec::new, |theirs| membership.other_settings(theirs))
    }
}

/// What is held as a column; nothing is the whole realm.
pub(super) fn to_column(held: &Held) -> Option<Vec<u8>> {
    let Held::Keys(keys) = held else { return None };
    let mut bytes = Vec::with_capacity(keys.len() * KEY_BYTES);
    for key in keys {
        let (kind, id) = match key {
            LiveKey::Secret(_, digest) => (b's', digest),
            LiveKey::Token(_, id) => (b't', id.0.as_bytes()),
            LiveKey::Record(_, id) => (b'r', id.0.as_bytes()),
        };
        bytes.push(kind);
        bytes.extend_from_slice(id);
    }
    Some(bytes)
}

/// The reverse; `None` for what [`to_column`] cannot have written.
pub(super) fn from_column(realm: RealmId, column: Option<&[u8]>) -> Option<Held> {
    let Some(bytes) = column else {
        return Some(Held::Realm(realm));
    };
    let (chunks, rest) = bytes.as_chunks::<KEY_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let keys = chunks.iter().map(|[kind, id @ ..]| {
        Some(match kind {
            b's' => LiveKey::Secret(realm, *id),
            b't' => LiveKey::Token(realm, TokenId(Uuid::from_bytes(*id))),
            b'r' => LiveKey::Record(realm, RecordId(Uuid::from_bytes(*id))),
            _ => return None,
        })
    });
    keys.collect::<Option<Vec<_>>>().map(Held::Keys)
}

/// Commits the row of a new membership.
pub(super) async fn join(
    link: &Link,
    id: NodeId,
    process: ProcessId,
    membership: &Membership,
    remembers: bool,
) -> Result<(), Trouble> {
    let sql = "INSERT INTO node (realm, id, process, expelled, renewals, settings, settings_alone, keys, remembers) \
               VALUES ($1, $2, $3, false, 0, $4, $5, $6, $7) ON CONFLICT (realm, id) DO NOTHING";
    link.ask(
        sql,
        &[
            (&SYSTEM, Type::UUID),
            (&id.0, Type::UUID),
            (&process.0, Type::UUID),
            (&membership.settings_and_keys, Type::BYTEA),
            (&membership.settings, Type::BYTEA),
            (&membership.keys, Type::BYTEA),
            (&remembers, Type::BOOL),
        ],
    )
    .await?;
    Ok(())
}

/// Renews a membership; `false` if it is over.
pub(super) async fn renew(link: &Link, id: NodeId) -> Result<bool, Trouble> {
    let sql = "UPDATE node SET renewals = renewals + 1 WHERE realm = $1 AND id = $2 AND NOT expelled \
               RETURNING id";
    let rows = link
        .ask(sql, &[(&SYSTEM, Type::UUID), (&id.0, Type::UUID)])
        .await?;
    Ok(!rows.is_empty())
}

/// Marks memberships as over.
pub(super) async fn expel(link: &Link, ids: &[NodeId]) -> Result<(), Trouble> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let sql = "UPDATE node SET expelled = true WHERE realm = $1 AND id = ANY($2) AND NOT expelled";
    link.ask(sql, &[(&SYSTEM, Type::UUID), (&ids, Type::UUID_ARRAY)])
        .await?;
    Ok(())
}

/// Marks those of these memberships that have not renewed since they were read: who has renewed is not dead.
pub(super) async fn expel_unrenewed(link: &Link, seen: &[(NodeId, i64)]) -> Result<(), Trouble> {
    let ids: Vec<Uuid> = seen.iter().map(|(id, _)| id.0).collect();
    let renewals: Vec<i64> = seen.iter().map(|(_, count)| *count).collect();
    let sql = "UPDATE node SET expelled = true FROM unnest($2::uuid[], $3::bigint[]) AS seen (id, renewals) \
               WHERE node.realm = $1 AND node.id = seen.id AND node.renewals = seen.renewals AND NOT node.expelled";
    link.ask(
        sql,
        &[
            (&SYSTEM, Type::UUID),
            (&ids, Type::UUID_ARRAY),
            (&renewals, Type::INT8_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// Takes rows away: of memberships whose leases are over for certain.
pub(super) async fn remove(link: &Link, ids: &[NodeId]) -> Result<(), Trouble> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let sql = "DELETE FROM node WHERE realm = $1 AND id = ANY($2)";
    link.ask(sql, &[(&SYSTEM, Type::UUID), (&ids, Type::UUID_ARRAY)])
        .await?;
    Ok(())
}

/// All memberships.
pub(super) async fn nodes(link: &Link) -> Result<Vec<Node>, Trouble> {
    let sql = "SELECT id, process, expelled, renewals, settings, settings_alone, keys, remembers \
               FROM node WHERE realm = $1";
    let rows = link.ask(sql, &[(&SYSTEM, Type::UUID)]).await?;
    let read = rows.iter().map(|row| {
        Ok(Node {
            row: Row {
                id: NodeId(row.try_get(0).map_err(of_statement)?),
                process: ProcessId(row.try_get(1).map_err(of_statement)?),
                expelled: row.try_get(2).map_err(of_statement)?,
            },
            renewals: row.try_get(3).map_err(of_statement)?,
            settings_and_keys: row.try_get(4).map_err(of_statement)?,
            settings: row.try_get(5).map_err(of_statement)?,
            keys: row.try_get(6).map_err(of_statement)?,
            remembers: row.try_get(7).map_err(of_statement)?,
        })
    });
    read.collect()
}

/// Which life of the store this is, and its clock.
pub(super) async fn incarnation(link: &Link) -> Result<(String, Timestamp), Trouble> {
    // A failover and a restoration begin a new timeline, the first eight characters of a log file's name; a restart has a
    // new time of start.
    let sql = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' \
               || extract(epoch FROM pg_postmaster_start_time())::text, \
               (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let known = "SELECT count(*) FROM pg_catalog.pg_proc WHERE proname IN \
                 ('pg_walfile_name', 'pg_current_wal_lsn', 'pg_postmaster_start_time')";
    let plain = "SELECT '', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let rows = match link.ask(sql, &[]).await {
        Err(Trouble::Refused(error)) => {
            // Only an engine without these functions is taken at its word that a failover loses nothing.
            let rows = link.ask(known, &[]).await?;
            let count: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
            if count.is_none_or(|count| count >= 3) {
                return Err(Trouble::Refused(error));
            }
            link.ask(plain, &[]).await?
        }
        answer => answer?,
    };
    let row = rows
        .first()
        .ok_or_else(|| Trouble::Refused(defect("no clock")))?;
    let micros: i64 = row.try_get(1).map_err(of_statement)?;
    let now = Timestamp::from_micros(micros).ok_or_else(|| {
        Trouble::Refused(defect(
            "the database's clock stands outside the years 1 to 9999",
        ))
    })?;
    Ok((row.try_get(0).map_err(of_statement)?, now))
}

/// Commits a hold.
pub(super) async fn place(link: &Link, hold: &Hold) -> Result<(), Trouble> {
    let keys = to_column(&hold.held);
    let sql = "INSERT INTO hold (realm, id, process, keys) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (realm, id) DO NOTHING";
    link.ask(
        sql,
        &[
            (&hold.realm.0, Type::UUID),
            (&hold.id.0, Type::UUID),
            (&hold.owner.0, Type::UUID),
            (&keys, Type::BYTEA),
        ],
    )
    .await?;
    Ok(())
}

/// All holds of all realms: there are few.
pub(super) async fn holds(link: &Link) -> Result<Vec<Hold>, Trouble> {
    let rows = link
        .ask("SELECT realm, id, process, keys FROM hold", &[])
        .await?;
    let read = rows.iter().map(|row| {
        let realm = RealmId(row.try_get(0).map_err(of_statement)?);
        let id: Uuid = row.try_get(1).map_err(of_statement)?;
        // What a later version holds in a way that this one cannot read may be anything.
        let held = from_column(realm, row.try_get(3).map_err(of_statement)?);
        let held = held.unwrap_or(Held::Realm(realm));
        Ok(Hold {
            id: HoldId(id),
            realm,
            owner: ProcessId(row.try_get(2).map_err(of_statement)?),
            held,
        })
    });
    read.collect()
}

/// Takes holds away that no transaction of their owner can still be under, with what was said of them.
pub(super) async fn release(link: &Link, realm: RealmId, ids: &[HoldId]) -> Result<(), Trouble> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let parameters: [super::link::Typed<'_>; 2] =
        [(&realm.0, Type::UUID), (&ids, Type::UUID_ARRAY)];
    link.ask(
        "DELETE FROM hold WHERE realm = $1 AND id = ANY($2)",
        &parameters,
    )
    .await?;
    let sql = "DELETE FROM acknowledgement WHERE realm = $1 AND hold = ANY($2)";
    link.ask(sql, &parameters).await?;
    Ok(())
}

/// Says that a membership has let go of what is held.
pub(super) async fn acknowledge(
    link: &Link,
    id: NodeId,
    holds: &[(RealmId, HoldId)],
) -> Result<(), Trouble> {
    let realms: Vec<Uuid> = holds.iter().map(|(realm, _)| realm.0).collect();
    let holds: Vec<Uuid> = holds.iter().map(|(_, hold)| hold.0).collect();
    let sql = "INSERT INTO acknowledgement (realm, hold, node) \
               SELECT said.realm, said.hold, $3 FROM unnest($1::uuid[], $2::uuid[]) AS said (realm, hold) \
               ON CONFLICT (realm, hold, node) DO NOTHING";
    link.ask(
        sql,
        &[
            (&realms, Type::UUID_ARRAY),
            (&holds, Type::UUID_ARRAY),
            (&id.0, Type::UUID),
        ],
    )
    .await?;
    Ok(())
}

/// Who has let go of what is held.
pub(super) async fn acknowledgements(
    link: &Link,
    realm: RealmId,
    hold: HoldId,
) -> Result<Vec<NodeId>, Trouble> {
    let sql = "SELECT node FROM acknowledgement WHERE realm = $1 AND hold = $2";
    let rows = link
        .ask(sql, &[(&realm.0, Type::UUID), (&hold.0, Type::UUID)])
        .await?;
    let read = rows
        .iter()
        .map(|row| row.try_get(0).map(NodeId).map_err(of_statement));
    read.collect()
}

/// Takes away what was said of holds that are gone: said too late to be taken away with them.
pub(super) async fn forget_stray(link: &Link) -> Result<(), Trouble> {
    let sql = "DELETE FROM acknowledgement AS said WHERE NOT EXISTS \
               (SELECT 1 FROM hold WHERE hold.realm = said.realm AND hold.id = said.hold)";
    link.ask(sql, &[]).await?;
    Ok(())
}

/// Wakes whoever listens on a channel. It may be lost: everybody looks by himself from time to time.
pub(super) async fn wake(link: &Link, channel: &str) -> Result<(), Trouble> {
    link.ask("SELECT pg_notify($1, '')", &[(&channel, Type::TEXT)])
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back_and_nothing_else_is_read() {
        let realm = RealmId(Uuid::from_u128(7));
        let id = Uuid::from_u128(u128::MAX / 3);
        for held in [
            Held::Realm(realm),
            Held::Keys(Vec::new()),
            Held::Keys(vec![
                LiveKey::Secret(realm, *id.as_bytes()),
                LiveKey::Token(realm, TokenId(id)),
                LiveKey::Record(realm, RecordId(id)),
            ]),
        ] {
            let column = to_column(&held);
            assert_eq!(from_column(realm, column.as_deref()), Some(held));
        }
        for bad in [&b"t"[..], &[b't'; 16], &[b'x'; KEY_BYTES]] {
            assert_eq!(from_column(realm, Some(bad)), None);
        }
    }
}
