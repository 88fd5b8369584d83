//! Reads of one statement.
//!
//! The one thing to know: one statement is one snapshot and changes nothing, so it needs no transaction and is repeated if
//! its connection breaks. What needs several statements begins a transaction: see the queries.

use std::time::Duration;

use deadpool_postgres::Pool;
use engine::store::StoreError;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::rows::Parameter;
use super::trouble::{Attempt, Trouble, of_pool, of_statement, until_certain};

/// A statement that reads.
struct Ask<'a> {
    pool: &'a Pool,
    sql: &'static str,
    parameters: Vec<Parameter<'a>>,
}

impl Attempt for Ask<'_> {
    type Output = Vec<Row>;

    async fn attempt(&mut self) -> Result<Vec<Row>, Trouble> {
        let client = self.pool.get().await.map_err(of_pool)?;
        let statement = client
            .prepare_cached(self.sql)
            .await
            .map_err(of_statement)?;
        let parameters: Vec<&(dyn ToSql + Sync)> = self
            .parameters
            .iter()
            .map(|parameter| &**parameter as &(dyn ToSql + Sync))
            .collect();
        client
            .query(&statement, &parameters)
            .await
            .map_err(of_statement)
    }

    fn in_doubt(&self) -> bool {
        false
    }
}

/// Those who read.
pub(super) struct Readers {
    pub(super) pool: Pool,
    /// Time for one read, with its repetitions.
    pub(super) deadline: Duration,
}

impl Readers {
    /// Reads rows and makes of each what `read` makes of it.
    pub(super) async fn all<T>(
        &self,
        sql: &'static str,
        parameters: Vec<Parameter<'_>>,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut ask = Ask {
            pool: &self.pool,
            sql,
            parameters,
        };
        let rows = until_certain(&mut ask, self.deadline).await?;
        rows.iter().map(read).collect()
    }
}
