//! One connection that many tasks send through at the same time.
//!
//! The one thing to know: nothing is ever left open on it – each statement is a transaction of its own – so nobody waits
//! for a turn, and it may be lost at any time: the next one who needs it opens another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::trouble::{Trouble, of_connection, of_statement};

/// The channel on which holds are told of.
pub(super) const HOLDS: &str = "tokenhouse_holds";
/// And acknowledgements.
pub(super) const ACKNOWLEDGEMENTS: &str = "tokenhouse_acknowledgements";

/// What a parameter is; said with each statement, so that it needs no round trip to be prepared.
pub(super) type Typed<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection, when it is needed.
pub(super) struct Link {
    config: Config,
    tls: MakeRustlsConnect,
    /// What a new connection is told first: what must succeed, and what an engine need not know.
    first: (Vec<String>, Vec<String>),
    /// Counts the notices that have arrived, by what they tell of; a lost connection counts as one of each, for it may have
    /// lost some.
    holds: watch::Sender<u64>,
    acknowledgements: watch::Sender<u64>,
    timeout: Duration,
    client: Mutex<Option<Arc<Client>>>,
}

impl Link {
    pub(super) fn new(
        config: Config,
        tls: MakeRustlsConnect,
        first: (Vec<String>, Vec<String>),
        timeout: Duration,
    ) -> Self {
        Self {
            config,
            tls,
            first,
            holds: watch::Sender::new(0),
            acknowledgements: watch::Sender::new(0),
            timeout,
            client: Mutex::default(),
        }
    }

    /// To be woken by notices of holds that come after this call.
    pub(super) fn holds(&self) -> watch::Receiver<u64> {
        self.holds.subscribe()
    }

    /// The same for acknowledgements.
    pub(super) fn acknowledgements(&self) -> watch::Receiver<u64> {
        self.acknowledgements.subscribe()
    }

    /// Sends a statement and waits for its rows.
    pub(super) async fn ask(
        &self,
        sql: &str,
        parameters: &[Typed<'_>],
    ) -> Result<Vec<Row>, Trouble> {
        let client = self.client().await?;
        let answer = tokio::time::timeout(self.timeout, client.query_typed(sql, parameters)).await;
        let Ok(rows) = answer else {
            // Whoever answers as late as this may never do; the server ends what it was doing by itself.
            self.drop_client(&client).await;
            let message = "the database does not answer in time";
            return Err(Trouble::Again(message.to_owned()));
        };
        rows.map_err(of_statement)
    }

    async fn drop_client(&self, lost: &Arc<Client>) {
        let mut client = self.client.lock().await;
        if client
            .as_ref()
            .is_some_and(|present| Arc::ptr_eq(present, lost))
        {
            *client = None;
        }
    }

    async fn client(&self) -> Result<Arc<Client>, Trouble> {
        let mut present = self.client.lock().await;
        if let Some(client) = present.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        *present = None;
        let opened = tokio::time::timeout(self.timeout, self.open()).await;
        let client =
            opened.map_err(|_| Trouble::Again("the database does not answer".to_owned()))??;
        let client = Arc::new(client);
        *present = Some(Arc::clone(&client));
        Ok(client)
    }

    async fn open(&self) -> Result<Client, Trouble> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, mut connection) = connected.map_err(of_connection)?;
        let (holds, acknowledgements) = (self.holds.clone(), self.acknowledgements.clone());
        let one_more = |counter: &watch::Sender<u64>| counter.send_modify(|count| *count += 1);
        tokio::spawn(async move {
            loop {
                let message =
                    std::future::poll_fn(|context| connection.poll_message(context)).await;
                match message {
                    Some(Ok(AsyncMessage::Notification(notice))) => match notice.channel() {
                        HOLDS => one_more(&holds),
                        ACKNOWLEDGEMENTS => one_more(&acknowledgements),
                        _ => {}
                    },
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            }
            one_more(&holds);
            one_more(&acknowledgements);
        });
        for statement in &self.first.0 {
            client
                .batch_execute(statement)
                .await
                .map_err(of_statement)?;
        }
        for statement in &self.first.1 {
            let _ = client.batch_execute(statement).await;
        }
        Ok(client)
    }
}

impl std::fmt::Debug for Link {
    /// The configuration may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
