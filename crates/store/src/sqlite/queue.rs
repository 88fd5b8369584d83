//! A bounded queue toward threads, and how long a caller waits for a place in it.
//!
//! The one thing to know: waiting ends with a refusal that is certain – what got no place was not begun.

use std::time::Duration;

use engine::store::StoreError;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::columns::unavailable;

/// The sending side.
pub(super) struct Queue<J> {
    jobs: mpsc::Sender<J>,
    wait: Duration,
}

/// What later calls get.
pub(super) fn closed() -> StoreError {
    unavailable("the store is closed")
}

impl<J> Queue<J> {
    pub(super) const fn new(jobs: mpsc::Sender<J>, wait: Duration) -> Self {
        Self { jobs, wait }
    }

    /// Puts a job in; waits for a place only if there is none at once.
    pub(super) async fn put(&self, job: J) -> Result<(), StoreError> {
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(closed()),
            Err(TrySendError::Full(job)) => {
                let sent = tokio::time::timeout(self.wait, self.jobs.send(job)).await;
                sent.map_err(|_| unavailable("too many calls are waiting for the store"))?
                    .map_err(|_| closed())
            }
        }
    }

    /// Puts a job in, however long it takes.
    pub(super) async fn put_patiently(&self, job: J) -> Result<(), StoreError> {
        self.jobs.send(job).await.map_err(|_| closed())
    }
}
