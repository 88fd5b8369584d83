//! The contract over a real PostgreSQL, and what only a server can be put through.
//!
//! The one thing to know: the tests of one process share a server and each has a database of its own in it; what stops the
//! server has one of its own.

#![allow(clippy::unwrap_used)]

mod crash;
mod encryption;
mod faults;
mod groups;
mod opening;
mod plans;
mod refusals;
mod spending;
mod unsuitable;

use std::sync::Arc;

use async_trait::async_trait;
use engine::store::Store;

use crate::contract::House;
use crate::{OpenError, Options, open};

crate::contract::suite!(Database);

/// A database of the shared server.
struct Database {
    name: String,
    options: Options,
}

impl Database {
    async fn new(options: Options) -> Self {
        let made = tokio::task::spawn_blocking(|| postgres_server::shared().create_database());
        Self {
            name: made.await.unwrap(),
            options,
        }
    }

    fn url(&self) -> String {
        postgres_server::shared().url(&self.name)
    }

    /// Changes the database behind the store's back, and gives what that prints.
    fn tamper(&self, sql: &str) -> String {
        postgres_server::shared().sql(&self.name, sql)
    }

    async fn try_open(&self) -> Result<Arc<dyn Store>, OpenError> {
        open(&self.url(), self.options.clone()).await
    }
}

/// A connection beside the store.
async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    // It ends with its client.
    drop(tokio::spawn(connection));
    client
}

#[async_trait]
impl House for Database {
    async fn build() -> Self {
        Self::new(Options::default()).await
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }
}
