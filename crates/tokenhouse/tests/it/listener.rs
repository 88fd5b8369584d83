//! The listeners: ceilings of time and number, TLS, from where a request comes, and a graceful end.
//!
//! The one thing to know: these speak bytes over sockets, because what is tested is what a client library would hide.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::caller::Caller;
use engine::permission::Action;
use engine::secret::Secret;
use engine::selection::Selection;
use engine::token::TokenId;
use engine::verbs::issue::Issue;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokenhouse::config::Variables;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use web::native::default_realm;

use crate::app::TestServer;
use crate::backend::{Backend, on_each_store};

/// Long enough for a busy machine, short enough to fail.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(flags: &[(&str, &str)]) -> TestServer {
    TestServer::start_with(flags, &Variables::new()).await
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// Everything up to the end of the connection.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server ends the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The next bytes, or nothing if there are none for a while.
async fn some(stream: &mut TcpStream, wait: Duration) -> Option<String> {
    let mut bytes = vec![0; 4096];
    let read = timeout(wait, stream.read(&mut bytes)).await.ok()?.unwrap();
    Some(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = start(&[("head_timeout", "200ms")]).await;
    for begun in [
        "",
        "GET /healthz HT",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut stream = connect(&server).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains(" 200 "), "{begun:?}: {answer}");
    }
    // After an answer too: an idle connection does not stay for ever.
    let mut stream = connect(&server).await;
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_cut_off() {
    let server = start(&[("request_timeout", "200ms")]).await;
    let mut stream = connect(&server).await;
    let head = "POST /edge/validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    let answer = server.send("GET", "/healthz", &[], "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_ceiling_wait() {
    let server = start(&[("connections_max", "1")]).await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = connect(&server).await;
    first.write_all(request).await.unwrap();
    assert!(some(&mut first, PATIENCE).await.is_some());
    let mut second = connect(&server).await;
    second.write_all(request).await.unwrap();
    assert_eq!(some(&mut second, Duration::from_millis(300)).await, None);
    drop(first);
    let answer = some(&mut second, PATIENCE).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Sends a head without its last line, and returns when the server has read it and waits for the body: it says so to who
/// asks for that.
async fn begin(server: &TestServer, head: &str) -> TcpStream {
    let mut stream = connect(server).await;
    let head = format!("{head}expect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = some(&mut stream, PATIENCE).await.unwrap();
    assert_eq!(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let server = start(&[]).await;
    let address = server.address();
    let body = r#"{"tokens":["x"]}"#;
    let head = format!(
        "POST /edge/validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    // Connections are accepted in their order, so this one has been when the other is answered.
    let mut idle = connect(&server).await;
    let mut under_way = begin(&server, &head).await;
    let stopping = tokio::spawn(server.stop(PATIENCE));
    assert_eq!(
        rest(&mut idle).await,
        "",
        "an idle connection is closed at once"
    );
    assert!(!stopping.is_finished());
    under_way.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(&mut under_way).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    timeout(PATIENCE, stopping).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let server = start(&[]).await;
    let head = "POST /edge/validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n";
    let mut under_way = begin(&server, head).await;
    let stopped = timeout(PATIENCE, server.stop(Duration::from_millis(100)));
    stopped.await.expect("the deadline counts");
    assert_eq!(rest(&mut under_way).await, "");
}

#[tokio::test]
async fn tls_is_spoken_and_nothing_else() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
    let certificate = directory.join("cert.pem");
    let key = directory.join("key.pem");
    let flags = [
        ("tls_cert", certificate.to_str().unwrap()),
        ("tls_key", key.to_str().unwrap()),
    ];
    let server = start(&flags).await;
    assert!(server.urls[0].starts_with("https://127.0.0.1:"));

    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(server.address().ip());
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(name, connect(&server).await)
        .await
        .unwrap();
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));

    let mut plain = connect(&server).await;
    plain.write_all(request.as_bytes()).await.unwrap();
    assert!(!rest(&mut plain).await.contains("HTTP/1.1"));
}

const PINNED: &str = "default:development.0123456789abcdef0123456789abcdef0123456789abcdef01234567";

/// A token that is good from one network only.
async fn issue_pinned(server: &TestServer) {
    let engine = &server.app.engine;
    let realm = engine.open_realm(&default_realm("unleash")).await.unwrap();
    let issue = Issue {
        name: Some("pinned".to_owned()),
        permissions: vec![
            "environment:development".to_owned(),
            "project:default".to_owned(),
        ],
        addresses: vec!["10.0.0.0/8".parse().unwrap()],
        ..Issue::with_secret(
            "client",
            Secret::parse(PINNED).unwrap(),
            String::new(),
            false,
        )
    };
    let caller = Caller::system(realm, "test");
    engine.issue(&caller, issue).await.unwrap();
}

#[tokio::test]
async fn behind_a_proxy_the_last_hop_is_the_client_and_otherwise_the_socket_is() {
    for (proxied, forwarded, good) in [
        ("true", Some("1.2.3.4, 10.1.1.1"), true),
        ("true", Some("10.1.1.1, 1.2.3.4"), false),
        ("true", Some("10.1.1.1, nonsense"), false),
        ("true", None, false),
        ("false", Some("10.1.1.1"), false),
    ] {
        let server = start(&[("behind_proxy", proxied)]).await;
        issue_pinned(&server).await;
        let mut headers = vec![("authorization", PINNED)];
        headers.extend(forwarded.map(|hops| ("x-forwarded-for", hops)));
        let answer = server
            .send("GET", "/api/client/features", &headers, "")
            .await;
        assert_eq!(
            answer.status == 200,
            good,
            "{proxied} {forwarded:?}: {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn a_dialect_may_have_a_listener_of_its_own() {
    let server = start(&[("dialects.unleash.listen", "127.0.0.1:0")]).await;
    let of = |url: &str| {
        url.strip_prefix("http://")
            .unwrap()
            .parse::<SocketAddr>()
            .unwrap()
    };
    let [main, own] = [of(&server.urls[0]), of(&server.urls[1])];
    assert_eq!(main, server.address());
    let status = async |address: SocketAddr, path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let (features, health) = ("/api/client/features", "/api/pvlt/1.0/data/info/health");
    assert_eq!(
        (status(own, features).await, status(main, features).await),
        (401, 404)
    );
    // Its own words for what it does not know: to log in.
    assert_eq!(
        (status(own, health).await, status(main, health).await),
        (401, 200)
    );
    assert_eq!(
        (
            status(own, "/healthz").await,
            status(main, "/healthz").await
        ),
        (200, 200)
    );
    assert_eq!(
        (
            status(own, "/metrics").await,
            status(main, "/metrics").await
        ),
        (404, 200)
    );
    // Each shows what it speaks.
    for (dialect, own_shows, main_shows) in [("unleash", 200, 404), ("piiano", 404, 200)] {
        let path = format!("/openapi/{dialect}.json");
        let shown = (status(own, &path).await, status(main, &path).await);
        assert_eq!(shown, (own_shows, main_shows), "{dialect}");
    }
}

on_each_store! { what_ended_is_purged_at_intervals_unless_its_product_keeps_it }

async fn what_ended_is_purged_at_intervals_unless_its_product_keeps_it(backend: Backend) {
    let flags = [("purge_interval", "50ms"), ("retention", "1h")];
    let server = TestServer::start_on(backend, &flags, &Variables::new()).await;
    let engine = &server.app.engine;
    // A token that ends so many seconds from now.
    let issue = async |dialect: &str, number: usize, secs: i64| {
        let realm = engine.open_realm(&default_realm(dialect)).await.unwrap();
        let caller = Caller::system(realm, "test");
        let secret = Secret::parse(&format!("{PINNED}{number}")).unwrap();
        let issue = Issue {
            expires_at: engine.now().checked_add_secs(secs),
            ..Issue::with_secret("client", secret, String::new(), false)
        };
        let token = engine.issue(&caller, issue).await.unwrap();
        (caller, token.id)
    };
    let present = async |(caller, id): &(Caller, TokenId)| {
        let found = engine.find(caller, Action::Read, &Selection::of(*id)).await;
        !found.unwrap().tokens.is_empty()
    };
    let is_purged = async |token: &(Caller, TokenId)| {
        let gone = async {
            while present(token).await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("it is purged");
    };
    let kept = issue("unleash", 0, 60).await;
    let first = issue("piiano", 1, 60).await;
    let second = issue("piiano", 2, 1_000).await;
    server.clock.advance_micros(3_700 * 1_000_000);
    is_purged(&first).await;
    assert!(present(&second).await, "not before its retention is over");
    server.clock.advance_micros(2 * 86_400_000_000);
    is_purged(&second).await;
    // When a third one is gone, the round of all products in which the second went is over.
    let third = issue("piiano", 3, 60).await;
    server.clock.advance_micros(86_400_000_000);
    is_purged(&third).await;
    assert!(present(&kept).await, "this product lists what has ended");
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_cost_the_connection() {
    let server = start(&[]).await;
    for path in [
        "/api/v1/api-tokens",
        "/api/v1/identities",
        "/api/admin/api-tokens",
        "/api/pvlt/1.0/ctl/collections",
        "/v1/nowhere",
    ] {
        let mut stream = connect(&server).await;
        for _ in 0..3 {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // As client libraries do: the body is another write.
            sleep(Duration::from_millis(30)).await;
            stream.write_all(b"{\"a\": 12}").await.unwrap();
            let answer = some(&mut stream, PATIENCE).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer:?}");
            assert!(!answer.contains("connection: close"), "{path}: {answer}");
        }
    }
    // One that does not come keeps nobody waiting, and the answer says that the connection ends.
    let mut stream = connect(&server).await;
    let head = "POST /api/v1/identities HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}
