//! The `usage` table: how often tokens were used, apart from the tokens.
//!
//! The one thing to know: a report or a use has no event by which a repetition could be told from the first, so if the
//! answer to its COMMIT is lost, nobody repeats it and the outcome is said to be unknown. A use that was counted although
//! its answer was lost is lost to its token: one too many counted, never one too few.
//!
//! Uses of a token that is gone are dropped, because nothing would ever remove their row. A report that runs at the very
//! moment of the removal may leave one behind; nothing reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_postgres::Pool;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::{StoreError, Usage};
use engine::token::TokenId;
use uuid::Uuid;

use super::faults::CommitFaults;
use super::pool::Session;
use super::rows::Parameter;
use super::transaction::{commit, on_commit};
use super::trouble::{Attempt, Trouble, of_statement};

/// By token.
pub(super) const OF: &str =
    "SELECT token, uses, last_used_at FROM usage WHERE realm = $1 AND token = ANY($2::uuid[])";

/// `$5` uses, unless there would be more than `$3` or the token is gone.
const SPEND: &str = "INSERT INTO usage (realm, token, uses, last_used_at) \
     SELECT $1::uuid, $2::uuid, $5::bigint, $4::bigint \
     WHERE $5::bigint <= $3::bigint AND EXISTS (SELECT 1 FROM token WHERE realm = $1 AND id = $2) \
     ON CONFLICT (realm, token) DO UPDATE SET \
     uses = usage.uses + excluded.uses, last_used_at = greatest(usage.last_used_at, excluded.last_used_at) \
     WHERE usage.uses <= $3 - $5";

/// Many reports, each of another token. Sums stop at 2^63-1.
const ADD: &str = "INSERT INTO usage (realm, token, uses, last_used_at) \
     SELECT $1::uuid, report.* FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS report (token, uses, last_used_at) \
     WHERE EXISTS (SELECT 1 FROM token WHERE token.realm = $1 AND token.id = report.token) \
     ON CONFLICT (realm, token) DO UPDATE SET \
     uses = usage.uses + least(excluded.uses, 9223372036854775807 - usage.uses), \
     last_used_at = greatest(usage.last_used_at, excluded.last_used_at)";

/// Means nothing, but is written.
const PROBE: &str = "UPDATE schema SET probe = 1 - probe WHERE realm = $1";

/// One statement in a transaction of its own, repeated only while it is certain that it was not committed.
pub(super) struct Count<'a> {
    pool: &'a Pool,
    faults: Option<&'a Arc<dyn CommitFaults>>,
    sql: &'static str,
    parameters: Vec<Parameter<'a>>,
    /// Set from the moment at which it may be committed.
    in_doubt: bool,
}

impl<'a> Count<'a> {
    /// Counts so many uses, if there are so many at the most with them; the outcome is the number of rows, 1 if they were
    /// counted.
    pub(super) fn spend(
        pool: &'a Pool,
        faults: Option<&'a Arc<dyn CommitFaults>>,
        (realm, token): (RealmId, TokenId),
        (uses, max): (u64, u64),
        at: Timestamp,
    ) -> Self {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let uses = i64::try_from(uses).unwrap_or(i64::MAX);
        Self {
            pool,
            faults,
            sql: SPEND,
            parameters: vec![
                Box::new(realm.0),
                Box::new(token.0),
                Box::new(max),
                Box::new(at.as_micros()),
                Box::new(uses),
            ],
            in_doubt: false,
        }
    }

    /// Writes to a row that nobody reads: the proof that writes succeed, up to the flush.
    pub(super) fn probe(pool: &'a Pool) -> Self {
        Self {
            pool,
            faults: None,
            sql: PROBE,
            parameters: vec![Box::new(Uuid::nil())],
            in_doubt: false,
        }
    }

    /// Adds the reports of one realm.
    pub(super) fn add(
        pool: &'a Pool,
        faults: Option<&'a Arc<dyn CommitFaults>>,
        realm: RealmId,
        reports: &BTreeMap<TokenId, Usage>,
    ) -> Self {
        let tokens: Vec<Uuid> = reports.keys().map(|token| token.0).collect();
        let uses = reports.values().map(|usage| usage.uses);
        let uses: Vec<i64> = uses
            .map(|uses| i64::try_from(uses).unwrap_or(i64::MAX))
            .collect();
        let last: Vec<i64> = reports
            .values()
            .map(|usage| usage.last_used_at.as_micros())
            .collect();
        Self {
            pool,
            faults,
            sql: ADD,
            parameters: vec![
                Box::new(realm.0),
                Box::new(tokens),
                Box::new(uses),
                Box::new(last),
            ],
            in_doubt: false,
        }
    }
}

impl Attempt for Count<'_> {
    type Output = u64;

    async fn attempt(&mut self) -> Result<u64, Trouble> {
        let session = Session::of(self.pool).await?;
        let statement = session
            .prepare_cached(self.sql)
            .await
            .map_err(of_statement)?;
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|parameter| &**parameter as &(dyn tokio_postgres::types::ToSql + Sync))
            .collect();
        let (begun, counted, unhurried) = tokio::join!(
            biased;
            session.batch_execute(on_commit::BEGIN),
            session.execute(&statement, &parameters),
            session.batch_execute(on_commit::UNHURRIED)
        );
        begun.map_err(of_statement)?;
        let counted = counted.map_err(of_statement)?;
        unhurried.map_err(of_statement)?;
        if counted == 0 {
            session.end_reading();
            return Ok(0);
        }
        self.in_doubt = true;
        commit(session, self.faults).await.map_err(|message| {
            Trouble::Refused(StoreError::Unavailable {
                message,
                unknown: true,
            })
        })?;
        Ok(counted)
    }

    fn in_doubt(&self) -> bool {
        self.in_doubt
    }
}

/// Reports by realm, those of one token together: a statement may touch a row only once.
pub(super) fn by_realm(
    usage: Vec<(RealmId, TokenId, Usage)>,
) -> BTreeMap<RealmId, BTreeMap<TokenId, Usage>> {
    let mut realms: BTreeMap<RealmId, BTreeMap<TokenId, Usage>> = BTreeMap::new();
    for (realm, token, report) in usage {
        realms
            .entry(realm)
            .or_default()
            .entry(token)
            .and_modify(|sum| {
                sum.uses = sum.uses.saturating_add(report.uses);
                sum.last_used_at = sum.last_used_at.max(report.last_used_at);
            })
            .or_insert(report);
    }
    realms
}
