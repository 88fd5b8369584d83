//! The beginning and the end of a transaction that writes.
//!
//! The one thing to know: it begins by locking its realm's row, so writes of a realm follow one another on all nodes, and
//! whoever gets the lock knows that every transaction before it has ended. After an error at COMMIT nothing else tells.

use std::sync::Arc;

use deadpool_postgres::Pool;
use engine::realm::RealmId;

use super::faults::{CommitFaults, Fault, Moment};
use super::pool::Session;
use super::trouble::{Trouble, of_statement, shown};

/// What begins and precedes the end of a transaction.
pub(super) mod on_commit {
    /// The realm's lock is what isolates writes; at this level each statement sees what was committed before it began.
    pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

    /// A COMMIT that waits for another server must not be cut short by the time limit of statements: PostgreSQL would then
    /// report a success that the other server has not seen.
    pub(crate) const UNHURRIED: &str = "SET LOCAL statement_timeout = 0";
}

/// What tells a session how to come by the plan of a statement, until its transaction ends. Engines that do not know the
/// setting are not told.
pub(super) mod planning {
    /// Plans are kept. Only for statements whose form leaves the planner no choice that matters: what is read is looked up
    /// in a `LATERAL … LIMIT 1`, row by row. Making a plan costs more than following it, and a group needs several.
    /// Citus chooses by itself: it knows which server to ask only by the value of a parameter.
    pub(crate) const KEEP: &str = "SELECT set_config('plan_cache_mode', \
         CASE WHEN current_setting('citus.shard_count', true) IS NULL THEN 'force_generic_plan' ELSE 'auto' END, true) \
         WHERE current_setting('plan_cache_mode', true) IS NOT NULL";

    /// Back to a new plan each time, for joins with a table that grows.
    pub(crate) const ANEW: &str = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true) \
         WHERE current_setting('plan_cache_mode', true) IS NOT NULL";
}

/// Locks the realm.
pub(super) const LOCK: &str = "SELECT realm FROM realm_lock WHERE realm = $1 FOR UPDATE";

/// Makes the lock of a realm that is written for the first time.
pub(super) const MAKE_LOCK: &str =
    "INSERT INTO realm_lock (realm) VALUES ($1) ON CONFLICT (realm) DO NOTHING";

/// A session in a transaction that has locked a realm.
pub(super) async fn locked(pool: &Pool, realm: RealmId) -> Result<Session, Trouble> {
    let session = Session::of(pool).await?;
    let made = session.execute(MAKE_LOCK, &[&realm.0]).await;
    made.map_err(of_statement)?;
    let begun = session.batch_execute(on_commit::BEGIN).await;
    begun.map_err(of_statement)?;
    let locked = session.query(LOCK, &[&realm.0]).await;
    locked.map_err(of_statement)?;
    Ok(session)
}

/// Returns when every transaction has ended that wrote in a realm before this call.
pub(super) async fn ended_for_certain(pool: &Pool, realm: RealmId) -> Result<(), Trouble> {
    locked(pool, realm).await?.rollback().await
}

/// Commits. After an error it cannot be told whether it happened, whatever the error is.
pub(super) async fn commit(
    session: Session,
    faults: Option<&Arc<dyn CommitFaults>>,
) -> Result<(), String> {
    let fault = faults.and_then(|faults| faults.at_commit());
    if let Some((fault, Moment::BeforeCommit)) = fault {
        if fault == Fault::ConnectionLost {
            drop(session);
        } else {
            let _ = session.rollback().await;
        }
        return Err(format!("{fault:?}, as asked for"));
    }
    let committed = session.batch_execute("COMMIT").await;
    committed.map_err(|error| shown(&error))?;
    if let Some((fault, _)) = fault {
        if fault != Fault::ConnectionLost {
            session.keep();
        }
        return Err(format!("{fault:?}, as asked for"));
    }
    session.keep();
    Ok(())
}
