//! The reader connections: a small pool, each read one transaction on a thread that may block.
//!
//! The one thing to know: a reader sees every commit that had returned when its transaction began, and answers of the
//! writer are sent after COMMIT, so nobody misses a write that was acknowledged before asking.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::store::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::rows::{defect, failed, unavailable};

/// The pool.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One permit for each connection; closed with the store.
    free: Arc<Semaphore>,
    count: u32,
    wait: Duration,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>, wait: Duration) -> Self {
        let count = u32::try_from(connections.len()).unwrap_or(u32::MAX);
        Self {
            free: Arc::new(Semaphore::new(connections.len())),
            idle: Arc::new(Mutex::new(connections)),
            count,
            wait,
        }
    }

    /// Runs `read` in one read transaction.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(self.wait, Arc::clone(&self.free).acquire_owned())
            .await
            .map_err(|_| unavailable("no reader connection became free in time"))?
            .map_err(|_| unavailable("the store is closed"))?;
        let idle = Arc::clone(&self.idle);
        tokio::task::spawn_blocking(move || {
            // Dropped last, on a panic too, so that a permit always stands for a connection in the pool.
            let _permit = permit;
            let connection = Returned::take(&idle)?;
            in_transaction(connection.get(), read)
        })
        .await
        .map_err(|_| defect("a read panicked"))?
    }

    /// Waits for the reads under way and closes the connections; later reads are refused.
    pub(super) async fn close(&self) {
        let all = self.free.acquire_many(self.count).await;
        self.free.close();
        drop(all);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn in_transaction<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    let found = read(&transaction);
    transaction.commit().map_err(failed)?;
    found
}

/// A connection on loan, given back even if the read panics.
struct Returned<'a> {
    connection: Option<Connection>,
    idle: &'a Mutex<Vec<Connection>>,
}

impl<'a> Returned<'a> {
    fn take(idle: &'a Mutex<Vec<Connection>>) -> Result<Self, StoreError> {
        let connection = idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .ok_or_else(|| defect("a permit without a reader connection"))?;
        Ok(Self {
            connection: Some(connection),
            idle,
        })
    }

    fn get(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("the connection is only taken out when this is dropped")
    }
}

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(self.connection.take());
    }
}
