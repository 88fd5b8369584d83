//! The running server: its listeners, the work it does at intervals, and how it stops.
//!
//! The one thing to know: [`Server::start`] is all that `serve`, the demo and the tests have in common. What only `serve`
//! does – the data directory, keys, first credentials, signals – is in `commands/serve.rs`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::caller::Caller;
use engine::verbs::keys::BindError;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use web::dialects::Dialect;
use web::native::MetricsText;

use crate::app::App;
use crate::config::Settings;
use crate::exit::Failure;
use crate::server::{Ceilings, Socket, run};
use crate::tls;

/// What closing the store may take, however little time requests are given: nodes that leave say so.
const CLOSING_MIN: Duration = Duration::from_secs(5);

/// How often the store is asked which keys are in use: a new one is taken into use that soon after the last node has it.
const KEYS_INTERVAL: Duration = Duration::from_secs(1);

/// The bound sockets of a server, before anything answers on them.
pub struct Sockets {
    public: Vec<(TcpListener, SocketAddr, Option<&'static str>)>,
    tls: Option<TlsAcceptor>,
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.urls()).finish()
    }
}

impl Sockets {
    /// Binds the main listener and those of single dialects.
    pub async fn bind(settings: &Settings) -> Result<Self, Failure> {
        let tls = match &settings.tls {
            Some(files) => Some(tls::acceptor(&files.certificate, &files.key)?),
            None => None,
        };
        let own = settings.dialects.iter().filter(|(_, one)| one.enabled);
        let own = own.filter_map(|(name, one)| Some((one.listen?, Some(*name))));
        let mut public = Vec::new();
        for (address, dialect) in [(settings.listen, None)].into_iter().chain(own) {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                Failure::failed(format!("cannot listen on {address}: {error}"))
                    .hint("name another address with --listen; port 0 lets the system choose")
            })?;
            let bound = listener.local_addr().map_err(Failure::failed)?;
            public.push((listener, bound, dialect));
        }
        Ok(Self { public, tls })
    }

    /// Where they are, as clients write it: the main listener first.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let public = self.public.iter();
        public
            .map(|(_, address, _)| format!("{scheme}://{address}"))
            .collect()
    }

    pub(crate) fn main_address(&self) -> SocketAddr {
        self.public[0].1
    }
}

/// A server that answers.
#[derive(Debug)]
pub struct Server {
    app: App,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
    at_intervals: JoinSet<()>,
    unfit: watch::Receiver<Option<BindError>>,
}

impl Server {
    /// Begins to answer on the sockets, and to do what is done at intervals.
    pub fn start(
        app: App,
        sockets: Sockets,
        control: Option<UnixListener>,
        settings: &Settings,
        metrics: &MetricsText,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let ceilings = Ceilings {
            head_timeout: settings.head_timeout,
            request_timeout: settings.request_timeout,
            connections: Arc::new(Semaphore::new(settings.connections_max)),
        };
        let address = sockets.main_address();
        let mut listeners = JoinSet::new();
        let own_listener = |dialect: &Arc<dyn Dialect>| {
            let own = settings.dialects.get(dialect.name());
            own.is_some_and(|one| one.listen.is_some())
        };
        for (listener, _, only) in sockets.public {
            let dialects: Vec<_> = app
                .dialects
                .iter()
                .filter(|dialect| match only {
                    Some(name) => dialect.name() == name,
                    None => !own_listener(dialect),
                })
                .cloned()
                .collect();
            let main = only.is_none();
            let shown = (main && settings.show_metrics).then(|| Arc::clone(metrics));
            let doors = app.doors(&dialects, settings.show_documents, shown);
            let socket = Socket::Public {
                listener,
                tls: sockets.tls.clone(),
                behind_proxy: settings.behind_proxy,
            };
            listeners.spawn(run(socket, doors.router, ceilings.clone(), stopped.clone()));
        }
        if let Some(listener) = control {
            let doors = app.control_doors(Arc::clone(metrics));
            let socket = Socket::Control(listener);
            listeners.spawn(run(socket, doors.router, ceilings, stopped));
        }
        let mut at_intervals = begin_intervals(&app, settings);
        let (found, unfit) = watch::channel(None);
        at_intervals.spawn(follow_keys(app.engine.clone(), found));
        Self {
            app,
            address,
            stop,
            listeners,
            at_intervals,
            unfit,
        }
    }

    /// Waits until this process must not answer any more, because it lacks keys that are in use by now. It happens to one
    /// that others had to take for dead, and that they went on without.
    pub async fn unfit(&self) -> BindError {
        let mut unfit = self.unfit.clone();
        let found = unfit.wait_for(Option::is_some).await;
        let found = found.ok().and_then(|error| error.clone());
        match found {
            Some(error) => error,
            // Nobody looks any more, so nothing will be found.
            None => std::future::pending().await,
        }
    }

    /// Where the main listener is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says that it is about to stop, where balancers ask whether it is ready; everything else is answered as before.
    pub fn turn_away(&self) {
        self.app.stopping.begin();
    }

    /// Stops: no new requests, those under way are answered if they are done before the deadline, counts are written, the
    /// store is closed.
    pub async fn stop(mut self, deadline: Duration) {
        self.turn_away();
        self.at_intervals.shutdown().await;
        // Nobody listens to it only if all listeners have ended already.
        let _ = self.stop.send(true);
        let ended = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!("requests that were still under way were cut off");
            self.listeners.shutdown().await;
        }
        // A store that is away must not keep the process longer than its supervisor is patient.
        let closing = self.app.engine.close();
        if tokio::time::timeout(deadline.max(CLOSING_MIN), closing)
            .await
            .is_err()
        {
            tracing::warn!(
                "the store did not close in time: uses that were counted since the last flush are lost"
            );
        }
    }
}

/// Follows the list of keys for as long as this process holds what is listed.
async fn follow_keys(engine: Engine, found: watch::Sender<Option<BindError>>) {
    let mut ticks = ticks(KEYS_INTERVAL).await;
    let mut troubled = false;
    // If that cannot be found out now, it is no embedded store.
    while engine.shares_its_store().await.unwrap_or(true) {
        ticks.tick().await;
        match engine.follow_keys().await {
            Ok(()) => troubled = false,
            Err(BindError::Engine(error)) => {
                // Once, and not each second for as long as the store is away.
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!(%error, "cannot find out which keys are in use");
                }
            }
            Err(error) => {
                tracing::error!(%error, "this node must not answer any more");
                found.send_replace(Some(error));
                break;
            }
        }
    }
    // So that whoever waits for it is not told that nobody looks.
    found.closed().await;
}

fn begin_intervals(app: &App, settings: &Settings) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let engine = app.engine.clone();
    let interval = settings.flush_interval;
    tasks.spawn(async move {
        let mut ticks = ticks(interval).await;
        loop {
            ticks.tick().await;
            engine.flush_usage().await;
            engine.flush_refusals(false).await;
        }
    });
    if !settings.purge_interval.is_zero() {
        let app = app.clone();
        let settings = settings.clone();
        tasks.spawn(async move {
            let mut ticks = ticks(settings.purge_interval).await;
            loop {
                ticks.tick().await;
                purge(&app, &settings).await;
            }
        });
    }
    tasks
}

/// The first tick comes after one interval: nothing is due at the start.
async fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Comes at once.
    ticks.tick().await;
    ticks
}

/// Purges the realm of each dialect. One that fails is tried again at the next interval.
async fn purge(app: &App, settings: &Settings) {
    for dialect in &app.dialects {
        let keep_ended = settings
            .dialects
            .get(dialect.name())
            .and_then(|one| one.keep_ended)
            .unwrap_or_else(|| dialect.keeps_ended());
        match purge_realm(
            &app.engine,
            dialect.as_ref(),
            settings.retention,
            keep_ended,
        )
        .await
        {
            Ok(purged) => tracing::info!(
                dialect = dialect.name(),
                tokens = purged.tokens,
                records = purged.records,
                values = purged.values,
                "purged"
            ),
            Err(error) => tracing::warn!(dialect = dialect.name(), %error, "could not purge"),
        }
    }
}

async fn purge_realm(
    engine: &Engine,
    dialect: &dyn Dialect,
    retention: Duration,
    keep_ended: bool,
) -> Result<engine::verbs::purge::Purged, engine::Error> {
    let caller = Caller::system(dialect.realm(), "purge");
    let secs = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
    let before = engine
        .now()
        .checked_add_secs(-secs)
        .unwrap_or(engine::clock::Timestamp::MIN);
    engine.purge(&caller, before, keep_ended).await
}
