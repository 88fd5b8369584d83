//! The readers: a few threads with a connection each, every read one transaction.
//!
//! The one thing to know: a reader sees every commit that had returned when its transaction began, and answers of the
//! writer are sent after COMMIT, so nobody misses a write that was acknowledged before asking.
//!
//! Threads of our own, because they were measured against the runtime's blocking pool: a lone read by primary key takes
//! no longer (0.02 to 0.1 ms, most of it waking a thread), and 64 at once get 2.4 times as many answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use engine::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::queue::{Queue, closed};
use super::rows::failed;
use crate::columns::defect;

/// One read, with the way back for its answer; or the sign for one thread to end.
type Job = Option<Box<dyn FnOnce(&Connection) + Send>>;

/// The threads, seen from outside.
pub(super) struct Readers {
    queue: Queue<Job>,
    threads: usize,
    /// Says nothing until all threads have ended, and then that they have.
    ended: watch::Receiver<()>,
}

impl Readers {
    /// Starts a thread for each connection. `places` reads may wait, and a caller for a place among them so long.
    pub(super) fn start(
        connections: Vec<Connection>,
        places: usize,
        wait: Duration,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(places);
        let jobs = Arc::new(Mutex::new(jobs));
        let (over, ended) = watch::channel(());
        let threads = connections.len();
        for connection in connections {
            let (jobs, over) = (Arc::clone(&jobs), over.clone());
            thread::Builder::new()
                .name("store-reader".to_owned())
                .spawn(move || {
                    work(&connection, &jobs);
                    drop(connection);
                    drop(over);
                })?;
        }
        Ok(Self {
            queue: Queue::new(queue, wait),
            threads,
            ended,
        })
    }

    /// Runs `read` in one read transaction.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = move |connection: &Connection| {
            let found = catch_unwind(AssertUnwindSafe(|| in_transaction(connection, read)));
            // Nobody waits for the answer of a dropped future.
            let _ = reply.send(found.unwrap_or_else(|_| Err(defect("a read panicked"))));
        };
        self.queue.put(Some(Box::new(job))).await?;
        // What is still in the queue when the last thread ends is dropped.
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Waits for the reads under way and closes the connections; later reads are refused.
    pub(super) async fn close(&self) {
        for _ in 0..self.threads {
            // An error means that all have ended already.
            let _ = self.queue.put_patiently(None).await;
        }
        let _ = self.ended.clone().changed().await;
    }
}

fn work(connection: &Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // One thread waits for the next job, the others for the lock: whoever gets a job lets go of it at once.
        let job = jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match job.flatten() {
            Some(job) => job(connection),
            None => return,
        }
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
