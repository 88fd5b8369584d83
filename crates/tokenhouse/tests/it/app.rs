//! The server under test: the program's own, on a free port, with a clock that stands still and chance that repeats.
//!
//! The one thing to know: it is started through the same functions as `serve`; only clock, entropy and store are the
//! test's. It is a development server, so that the products' documented credentials are there.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use engine::Parts;
use engine::clock::{Clock as _, ManualClock, Timestamp};
use engine::entropy::SeededEntropy;
use engine::keyring::Keyring;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokenhouse::app::App;
use tokenhouse::config::{Layers, Settings, Variables};
use tokenhouse::serve::{Server, Sockets};
use tokio::net::TcpSocket;

use crate::backend::{Backend, FreshStore};
use crate::replay;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000;

/// A running server; dropping it stops it.
pub(crate) struct TestServer {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    /// Of all listeners, the main one first.
    pub(crate) urls: Vec<String>,
    server: Server,
    store: FreshStore,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

impl TestServer {
    /// A fresh one with these settings of the products.
    pub(crate) async fn start(variables: &Variables) -> Self {
        Self::start_with(&[], variables).await
    }

    /// A fresh one with these settings of ours, by their keys, too.
    pub(crate) async fn start_with(flags: &[(&str, &str)], variables: &Variables) -> Self {
        Self::start_on(Backend::Sqlite, flags, variables).await
    }

    /// The same on this kind of store.
    pub(crate) async fn start_on(
        backend: Backend,
        flags: &[(&str, &str)],
        variables: &Variables,
    ) -> Self {
        let fresh = FreshStore::new(backend).await;
        let flags = [("listen", "127.0.0.1:0")].iter().chain(flags);
        let flags = flags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let layers = Layers::new(flags.collect(), variables.clone()).unwrap();
        let settings = Settings::resolve(&layers, true).unwrap();
        let store = fresh.open().await;
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START).unwrap()));
        let entropy = Arc::new(SeededEntropy::new(1));
        let parts = Parts {
            store,
            keyring: Keyring::generate(entropy.as_ref()),
            clock: clock.clone(),
            entropy,
            live_entries: settings.live_entries,
            role: engine::store::Role::Server,
        };
        let app = App::open(parts, &settings).await.unwrap();
        app.seed().await.unwrap();
        let sockets = Sockets::bind(&settings).await.unwrap();
        let urls = sockets.urls();
        let metrics: web::native::MetricsText = Arc::new(|| "# nothing is recorded\n".to_owned());
        let server = Server::start(app.clone(), sockets, None, &settings, &metrics);
        Self {
            app,
            clock,
            urls,
            server,
            store: fresh,
        }
    }

    /// Stops it as a signal would.
    pub(crate) async fn stop(self, deadline: Duration) {
        self.server.stop(deadline).await;
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let here = Ipv4Addr::LOCALHOST;
        self.send_from(here, method, path, headers, body).await
    }

    /// The same from another address of this machine: all of 127.0.0.0/8 are.
    pub(crate) async fn send_from(
        &self,
        from: Ipv4Addr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(self.server.address()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// The whole of a table of the store, a line for each row, sorted: for what no verb shows.
    pub(crate) fn dump(&self, table: &str) -> Vec<String> {
        self.store.lines(&format!("SELECT * FROM {table}"))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

impl replay::Target for TestServer {
    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn advance(&self, by: Duration) {
        self.clock
            .advance_micros(i64::try_from(by.as_micros()).unwrap());
    }
}

#[tokio::test]
async fn the_house_answers_for_itself() {
    let server = TestServer::start(&Variables::new()).await;
    let index = server.send("GET", "/", &[], "").await;
    assert_eq!(index.status, StatusCode::OK);
    let dialects = index.json()["dialects"].as_array().unwrap().len();
    assert_eq!(dialects, web::dialects::ALL.len());
    for (path, status) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = server.send("GET", path, &[], "").await;
        assert_eq!(answer.json()["status"], status);
        assert_eq!(answer.headers["x-request-id"].len(), 16);
    }
    let metrics = server.send("GET", "/metrics", &[], "").await;
    assert_eq!(metrics.body, "# nothing is recorded\n");
    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("POST", "/healthz", 405),
        ("GET", "/openapi/nobody.json", 404),
        ("GET", "/v1/tokens?realm=unleash", 404),
        ("GET", "/v1/realms", 404),
    ] {
        let answer = server.send(method, path, &[], "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["status"], status);
    }
    assert_eq!(server.address().ip().to_string(), "127.0.0.1");
    assert_eq!(server.clock.now().as_micros(), START);
    assert_eq!(server.app.engine.now().as_micros(), START);
}
