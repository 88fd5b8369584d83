//! The contract over SQLite, and what only a file can be put through: full disks, torn logs, foreign and newer schemas.
//!
//! The one thing to know: [`Gate`] holds the writer inside a decision, so that a test knows which calls form one group.

#![allow(clippy::unwrap_used)]

mod disk;
mod groups;
mod opening;
mod refusals;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use async_trait::async_trait;
use engine::store::{Rows, Store, StoreError};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::contract::House;
use crate::contract::world::World;
use crate::{OpenError, Options, open};

crate::contract::suite!(Directory);

/// A directory with one file.
struct Directory {
    directory: TempDir,
    options: Options,
}

impl Directory {
    fn new(options: Options) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            options,
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("store.sqlite")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("store.sqlite-wal")
    }

    /// Changes the file behind the store's back.
    fn tamper(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.file()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    async fn try_open(&self) -> Result<Arc<dyn Store>, OpenError> {
        open_file(&self.file(), self.options.clone()).await
    }
}

#[async_trait]
impl House for Directory {
    async fn build() -> Self {
        Self::new(Options::default())
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }
}

async fn open_file(path: &Path, options: Options) -> Result<Arc<dyn Store>, OpenError> {
    open(&format!("sqlite://{}", path.display()), options).await
}

/// A commit that holds the writer until it is let go. All that is sent meanwhile forms one group with it.
struct Gate {
    open: Sender<()>,
    call: JoinHandle<Result<bool, StoreError>>,
}

impl Gate {
    /// Returns when the writer is inside. Meant for runtimes of one thread, where a spawned call has reached the queue
    /// after [`queued`].
    async fn shut(world: &World) -> Self {
        let (open, opened): (Sender<()>, Receiver<()>) = channel();
        let (enter, entered) = channel();
        let world = world.clone();
        let call = tokio::spawn(async move {
            let batch = world.batch();
            let decide = Box::new(move |_: &Rows| {
                enter.send(()).unwrap();
                opened.recv().unwrap();
                Some(batch.clone())
            });
            world.store.commit(world.query(Vec::new()), decide).await
        });
        queued().await;
        entered.recv().unwrap();
        Self { open, call }
    }

    async fn open(self) -> Result<bool, StoreError> {
        self.open.send(()).unwrap();
        self.call.await.unwrap()
    }
}

/// Lets every spawned call run until it waits for its answer.
async fn queued() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}
