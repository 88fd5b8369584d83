//! Connections: two pools, one for those who write and one for those who read, and what every connection is told first.
//!
//! The one thing to know: a [`Session`] inside a transaction must not go back to its pool half-way, also when the future
//! that holds it is dropped. So it closes its connection, unless it is given back by [`Session::keep`].

use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, QueueMode,
    RecyclingMethod, Runtime,
};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::trouble::{Trouble, of_pool, of_statement};

/// Connections are replaced after this: some services cut them after an hour, and a failover leaves them on old servers.
const AGE_MAX: Duration = Duration::from_mins(50);

/// How long the server lets a connection rest inside a transaction. It bounds how long a node that hangs, or that the
/// network has cut off, keeps a realm locked. Between two statements of a write nothing but the decision is made, which is a
/// matter of milliseconds; a node that is so slow that it loses its connection writes again.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(3);

/// Times that every connection is bound by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Opening one.
    pub(super) connect: Duration,
    /// Waiting for a place in the pool.
    pub(super) wait: Duration,
    /// One statement, by the server.
    pub(super) statement: Duration,
}

/// Makes a pool of at most `size` connections; none is opened yet.
pub(super) fn pool(
    config: &Config,
    tls: MakeRustlsConnect,
    times: Times,
    size: usize,
) -> Result<Pool, String> {
    pool_told(config, tls, demands(times), times, size)
}

/// The same for connections on which the server itself sees to it that nothing is written. They are told so when they are
/// open: a server that is asked for while connecting must be one that writes, because another may be behind.
pub(super) fn pool_for_reading(
    config: &Config,
    tls: MakeRustlsConnect,
    times: Times,
    size: usize,
) -> Result<Pool, String> {
    let demands = format!("{}; SET default_transaction_read_only = on", demands(times));
    pool_told(config, tls, demands, times, size)
}

fn pool_told(
    config: &Config,
    tls: MakeRustlsConnect,
    demands: String,
    times: Times,
    size: usize,
) -> Result<Pool, String> {
    let recycling = ManagerConfig {
        // A broken connection is noticed by its task; what breaks later is noticed by the statement and repeated.
        recycling_method: RecyclingMethod::Fast,
    };
    Pool::builder(Manager::from_config(config.clone(), tls, recycling))
        .max_size(size.max(1))
        // The same few sessions, so that their caches stay warm.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(times.wait))
        .create_timeout(Some(times.connect * 2))
        .recycle_timeout(Some(times.connect))
        .post_create(Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let demands = demands.clone();
            Box::pin(async move {
                let told = client.batch_execute(&demands).await;
                told.map_err(HookError::Backend)?;
                for hint in PLANNER_HINTS {
                    // An engine that does not know one plans as it likes.
                    let _ = client.batch_execute(hint).await;
                }
                Ok(())
            })
        }))
        .pre_recycle(Hook::async_fn(|client: &mut ClientWrapper, metrics| {
            let old = metrics.age() > AGE_MAX;
            let stale = metrics.recycle_count % PLANS_KEPT_USES == PLANS_KEPT_USES - 1
                || metrics.last_used() > PLANS_KEPT_REST;
            Box::pin(async move {
                if old {
                    return Err(HookError::message("old enough"));
                }
                if stale {
                    // An engine that keeps none may refuse this; a broken connection is noticed by its first statement.
                    let _ = client.batch_execute("DISCARD PLANS").await;
                }
                Ok(())
            })
        }))
        .build()
        .map_err(|error| error.to_string())
}

/// Plans that a session keeps (see `transaction::planning`) are made for the size that its tables had: they are thrown away
/// when it has been taken from its pool so often, ...
const PLANS_KEPT_USES: usize = 64;

/// ... and when it has rested for so long.
const PLANS_KEPT_REST: Duration = Duration::from_secs(1);

/// All statements find their rows by a key. Left to itself, the planner reads a whole realm instead, once while the tables
/// are small and then for as long as it keeps that plan or has no statistics: a realm that has just been filled would be
/// hundreds of times as slow. So nothing but walking an index is offered, a page costs next to nothing beside looking at a
/// row, and each statement is planned for the size that its tables have now, unless its form leaves no choice.
pub(super) const PLANNER_HINTS: [&str; 8] = [
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_material = off",
    "SET random_page_cost = 0.01",
    "SET seq_page_cost = 0.01",
    "SET plan_cache_mode = force_custom_plan",
];

/// Returning means durable, whatever the server's default is. A level that waits for other servers is kept, and an engine
/// that does not know the setting has nothing to be overruled.
pub(super) const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit', true) = 'off'";

/// What every connection is told before anything else.
fn demands(times: Times) -> String {
    let statement = times.statement.as_millis();
    let lock = times.wait.as_millis();
    let idle = IDLE_IN_TRANSACTION_MAX.as_millis();
    format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
         SET idle_in_transaction_session_timeout = {idle}; {DURABLE}"
    )
}

/// A connection that is closed unless it is kept.
pub(super) struct Session {
    object: Option<Object>,
}

impl Session {
    pub(super) async fn of(pool: &Pool) -> Result<Self, Trouble> {
        let object = pool.get().await.map_err(of_pool)?;
        Ok(Self {
            object: Some(object),
        })
    }

    /// No transaction is open: back to the pool.
    pub(super) fn keep(mut self) {
        drop(self.object.take());
    }

    /// Takes everything back that was not committed, and keeps the connection.
    pub(super) async fn rollback(self) -> Result<(), Trouble> {
        self.batch_execute("ROLLBACK").await.map_err(of_statement)?;
        self.keep();
        Ok(())
    }

    /// The same, without letting anybody wait for it.
    pub(super) fn end_reading(self) {
        tokio::spawn(self.rollback());
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.object
            .as_deref()
            .expect("it is taken only by what consumes the session")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
