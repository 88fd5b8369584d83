//! Machine identities where a transcript does not reach: many clients at once, forged tokens, first starts and restarts.
//!
//! The one thing to know: the exact number of uses is asked over HTTP with clients of their own, because what could go
//! wrong is between the requests.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use engine::Parts;
use engine::caller::Caller;
use engine::clock::{ManualClock, Timestamp};
use engine::entropy::SeededEntropy;
use engine::keyring::Keyring;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenhouse::app::App;
use tokenhouse::config::{Layers, Settings, Variables};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tower::ServiceExt as _;
use web::dialects::{Dialect, Mint};

use crate::app::TestServer;
use crate::backend::{Backend, on_each_store};

const DETAILS: &str = "/api/v1/identities/details";
const CLIENTS: usize = 16;
/// Of each client: half of the clients make more than [`LIMIT`] together.
const CALLS: usize = 8;
const LIMIT: u64 = 50;

/// A server that is set up, and its first token.
struct House {
    server: TestServer,
    admin: String,
    organization: String,
}

impl House {
    async fn open(variables: &Variables) -> Self {
        Self::open_on(Backend::Sqlite, variables).await
    }

    async fn open_on(backend: Backend, variables: &Variables) -> Self {
        let server = TestServer::start_on(backend, &[], variables).await;
        let headers = [("content-type", "application/json")];
        let body = json!({ "email": "ann@example.com", "password": "correct horse", "organization": "Acme" });
        let path = "/api/v1/admin/bootstrap";
        let made = server.send("POST", path, &headers, body.to_string()).await;
        let made = made.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            admin: text(&made["identity"]["credentials"]["token"]),
            organization: text(&made["organization"]["id"]),
            server,
        }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let bearer = format!("Bearer {}", self.admin);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = self.server.send("POST", path, &headers, body.to_string());
        let answer = answer.await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        answer.json()
    }

    /// A token of a new identity, with this configuration: its id and its JWT.
    async fn token(&self, config: Value) -> (String, String) {
        let new = json!({ "name": "ci", "organizationId": self.organization });
        let identity = self.post("/api/v1/identities", new).await;
        let id = identity["identity"]["id"].as_str().unwrap();
        let path = format!("/api/v1/auth/token-auth/identities/{id}");
        self.post(&path, config).await;
        let made = self.post(&format!("{path}/tokens"), json!({})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["tokenData"]["id"]), text(&made["accessToken"]))
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> u16 {
        let bearer = format!("Bearer {}", self.admin);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = self.server.send(method, path, &headers, body.to_string());
        answer.await.status.as_u16()
    }

    async fn details(&self, token: &str) -> (u16, Value) {
        self.details_from(Ipv4Addr::LOCALHOST, token).await
    }

    async fn details_from(&self, from: Ipv4Addr, token: &str) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answer = self.server.send_from(from, "GET", DETAILS, &headers, "");
        let answer = answer.await;
        (answer.status.as_u16(), answer.json())
    }

    /// How often a token has been used, as its answer says.
    async fn uses(&self, id: &str) -> u64 {
        let bearer = format!("Bearer {}", self.admin);
        let headers = [("authorization", bearer.as_str())];
        let path = format!("/api/v1/auth/token-auth/tokens/{id}");
        let answer = self.server.send("GET", &path, &headers, "").await;
        answer.json()["token"]["accessTokenNumUses"]
            .as_u64()
            .unwrap()
    }
}

/// How the sixteen clients of one token fare: calls that were answered, and calls that were refused for the address.
async fn sixteen_clients(house: &Arc<House>, token: &str, from: &[Ipv4Addr]) -> (u64, u64) {
    let start = Arc::new(Barrier::new(CLIENTS));
    let clients = (0..CLIENTS).map(|client| {
        let (house, token, start) = (Arc::clone(house), token.to_owned(), Arc::clone(&start));
        let from = from[client % from.len()];
        tokio::spawn(async move {
            start.wait().await;
            let (mut good, mut elsewhere) = (0, 0);
            for _ in 0..CALLS {
                match house.details_from(from, &token).await {
                    (200, _) => good += 1,
                    (403, body) => {
                        let text = "You are not allowed to access this resource from the current IP address";
                        assert_eq!(body["message"], text);
                        elsewhere += 1;
                    }
                    (status, body) => {
                        let text = "Failed to authorize: token usage limit reached";
                        assert_eq!((status, &body["message"]), (401, &json!(text)));
                    }
                }
            }
            (good, elsewhere)
        })
    });
    let mut sum = (0, 0);
    for client in clients.collect::<Vec<_>>() {
        let (good, elsewhere) = client.await.unwrap();
        sum = (sum.0 + good, sum.1 + elsewhere);
    }
    sum
}

on_each_store! {
    of_sixteen_clients_exactly_as_many_calls_succeed_as_the_limit_says,
    calls_from_elsewhere_burn_no_use_not_even_at_once_with_good_ones,
    nobody_keeps_a_token_alive_by_renaming_it,
    an_identity_whose_protection_was_answered_is_not_deleted,
}

async fn of_sixteen_clients_exactly_as_many_calls_succeed_as_the_limit_says(backend: Backend) {
    let house = Arc::new(House::open_on(backend, &Variables::new()).await);
    let limit = json!({ "accessTokenNumUsesLimit": LIMIT });
    let (id, token) = house.token(limit).await;
    let sum = sixteen_clients(&house, &token, &[Ipv4Addr::LOCALHOST]).await;
    assert_eq!(sum, (LIMIT, 0));
    assert_eq!(house.uses(&id).await, LIMIT);
}

async fn calls_from_elsewhere_burn_no_use_not_even_at_once_with_good_ones(backend: Backend) {
    let house = Arc::new(House::open_on(backend, &Variables::new()).await);
    let here = Ipv4Addr::LOCALHOST;
    let config = json!({
        "accessTokenNumUsesLimit": LIMIT,
        "accessTokenTrustedIps": [{ "ipAddress": here.to_string() }],
    });
    let (id, token) = house.token(config).await;
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let refused = u64::try_from(CLIENTS * CALLS).unwrap();
    let sum = sixteen_clients(&house, &token, &[elsewhere]).await;
    assert_eq!(sum, (0, refused));
    assert_eq!(house.uses(&id).await, 0);
    // Half of them from here: still more calls than the limit.
    let sum = sixteen_clients(&house, &token, &[here, elsewhere]).await;
    assert_eq!(sum, (LIMIT, refused / 2));
    assert_eq!(house.uses(&id).await, LIMIT);
    // The address is judged before the number, also when none is left.
    assert_eq!(house.details_from(elsewhere, &token).await.0, 403);
    assert_eq!(house.details_from(here, &token).await.0, 401);
}

#[tokio::test]
async fn a_token_of_another_installation_or_changed_by_a_letter_is_no_token() {
    let ours = House::open(&Variables::new()).await;
    let variables = [("AUTH_SECRET".to_owned(), "0123456789abcdef".to_owned())];
    let theirs = House::open(&variables.into()).await;
    let (_, token) = ours.token(json!({})).await;
    assert_eq!(ours.details(&token).await.0, 200);
    assert_eq!(theirs.details(&theirs.admin).await.0, 200);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = head.split_once('.').unwrap();
    let (_, others) = theirs.admin.split_once('.').unwrap();
    let (others, _) = others.rsplit_once('.').unwrap();
    assert_ne!(claims, others);
    for forged in [
        theirs.admin.clone(),
        format!("{header}.{others}.{signature}"),
        format!("{head}.{}", signature.chars().rev().collect::<String>()),
    ] {
        let (status, body) = ours.details(&forged).await;
        assert_eq!((status, &body["error"]), (403, &json!("TokenError")));
        assert_ne!(
            body["message"],
            "Your token has expired. Please re-authenticate."
        );
    }
}

/// The app of a server that is none for development, in a directory, in process.
async fn open(directory: &TempDir, entropy: u64) -> App {
    let data = directory.path().display().to_string();
    let flags = [("data".to_owned(), data)];
    let layers = Layers::new(flags.into(), Variables::new()).unwrap();
    let settings = Settings::resolve(&layers, false).unwrap();
    let url = settings.store_url(directory.path());
    let parts = Parts {
        store: store::open(&url, store::Options::default()).await.unwrap(),
        keyring: Keyring::generate(&SeededEntropy::new(11)),
        clock: Arc::new(ManualClock::new(
            Timestamp::from_micros(1_767_225_600_000_000).unwrap(),
        )),
        entropy: Arc::new(SeededEntropy::new(entropy)),
        live_entries: 1_000,
        role: engine::store::Role::Server,
    };
    App::open(parts, &settings).await.unwrap()
}

fn dialect(app: &App) -> &Arc<dyn Dialect> {
    let mut all = app.dialects.iter();
    all.find(|one| one.name() == "infisical").unwrap()
}

async fn ask(app: &App, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let router = app.doors(&app.dialects, false, None).router;
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn the_first_start_sets_up_and_its_token_outlives_a_restart() {
    let directory = TempDir::new().unwrap();
    let app = open(&directory, 1).await;
    let first = dialect(&app).seed().await.unwrap();
    assert_eq!(first.len(), 1);
    let token = first[0].secret.expose().to_owned();
    assert_eq!(ask(&app, "GET", DETAILS, &token, "").await.0, 200);
    let set_up = r#"{"email":"eve@example.com","password":"correct horse","organization":"Eve"}"#;
    let (status, body) = ask(&app, "POST", "/api/v1/admin/bootstrap", "", set_up).await;
    assert_eq!(status, 400);
    assert_eq!(body["message"], "Instance has already been set up");
    app.engine.close().await;

    let app = open(&directory, 2).await;
    assert!(dialect(&app).seed().await.unwrap().is_empty());
    let (status, body) = ask(&app, "GET", DETAILS, &token, "").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body["identityDetails"]["organization"]["name"],
        "Tokenhouse"
    );
}

#[tokio::test]
async fn whoever_has_the_machine_gets_in_again() {
    let directory = TempDir::new().unwrap();
    let app = open(&directory, 1).await;
    let early = dialect(&app).mint(Mint::default()).await.unwrap_err();
    assert!(early.to_string().contains("not set up"), "{early}");
    let first = dialect(&app).seed().await.unwrap();
    let token = first[0].secret.expose().to_owned();
    let caller = Caller::operator(dialect(&app).realm(), "ann", "test");
    let issue = async || {
        let minted = dialect(&app).mint(Mint::default()).await.unwrap();
        app.engine.issue(&caller, minted.issue).await.unwrap();
        minted.secret.expose().to_owned()
    };
    let second = issue().await;
    let (_, body) = ask(&app, "GET", DETAILS, &token, "").await;
    let organization = body["identityDetails"]["organization"]["id"].clone();
    let path = format!(
        "/api/v1/identities?orgId={}",
        organization.as_str().unwrap()
    );
    let (_, body) = ask(&app, "GET", &path, &second, "").await;
    assert_eq!(body["totalCount"], 1, "no second identity: {body}");

    // Even when the identity has deleted itself.
    let identity = body["identities"][0]["identityId"].as_str().unwrap();
    let one = format!("/api/v1/identities/{identity}");
    assert_eq!(ask(&app, "DELETE", &one, &second, "").await.0, 200);
    for dead in [&token, &second] {
        assert_eq!(ask(&app, "GET", DETAILS, dead, "").await.0, 401);
    }
    let third = issue().await;
    let (status, body) = ask(&app, "GET", &path, &third, "").await;
    assert_eq!((status, &body["totalCount"]), (200, &json!(1)), "{body}");
    for wrong in [
        Mint {
            class: Some("client".to_owned()),
            ..Mint::default()
        },
        Mint {
            permissions: vec!["admin".to_owned()],
            ..Mint::default()
        },
    ] {
        assert!(dialect(&app).mint(wrong).await.is_err());
    }
}

async fn nobody_keeps_a_token_alive_by_renaming_it(backend: Backend) {
    let house = Arc::new(House::open_on(backend, &Variables::new()).await);
    for _ in 0..10 {
        let (id, token) = house.token(json!({})).await;
        let path = format!("/api/v1/auth/token-auth/tokens/{id}");
        let renaming = Arc::new(AtomicBool::new(true));
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (house, path) = (Arc::clone(&house), path.clone());
                let renaming = Arc::clone(&renaming);
                tokio::spawn(async move {
                    while renaming.load(Ordering::Relaxed) {
                        let name = json!({ "name": client.to_string() });
                        assert_eq!(house.ask("PATCH", &path, &name).await, 200);
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let revoke = format!("{path}/revoke");
        let first = house.ask("POST", &revoke, &json!({})).await;
        let again = house.ask("POST", &revoke, &json!({})).await;
        renaming.store(false, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!((first, again), (200, 404));
        assert_eq!(house.details(&token).await.0, 401);
    }
}

async fn an_identity_whose_protection_was_answered_is_not_deleted(backend: Backend) {
    let house = Arc::new(House::open_on(backend, &Variables::new()).await);
    for _ in 0..40 {
        let new = json!({ "name": "ci", "organizationId": house.organization });
        let made = house.post("/api/v1/identities", new).await;
        let path = format!(
            "/api/v1/identities/{}",
            made["identity"]["id"].as_str().unwrap()
        );
        let ask = |method: &'static str, body: Value| {
            let (house, path) = (Arc::clone(&house), path.clone());
            tokio::spawn(async move { house.ask(method, &path, &body).await })
        };
        let protected = ask("PATCH", json!({ "hasDeleteProtection": true }));
        let deleted = ask("DELETE", json!({}));
        let outcome = (protected.await.unwrap(), deleted.await.unwrap());
        assert!(matches!(outcome, (200, 400) | (404, 200)), "{outcome:?}");
    }
}

#[tokio::test]
async fn who_says_nothing_of_himself_is_refused_before_his_body_comes() {
    let house = House::open(&Variables::new()).await;
    let mut stream = TcpStream::connect(&house.server.urls[0]["http://".len()..])
        .await
        .unwrap();
    let request = "PATCH /api/v1/auth/token-auth/tokens/x HTTP/1.1\r\nHost: localhost\r\n\
                   Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(5), read).await;
    read.expect("an answer, although most of the body is missing")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn the_command_line_keeps_the_limits_of_the_dialect() {
    let variables = [("MAX_MACHINE_IDENTITY_TOKEN_AGE".to_owned(), "60".to_owned())];
    let house = House::open(&variables.into()).await;
    let now = house.server.app.engine.now();
    let mint = async |name: &str, secs: i64| {
        let mint = Mint {
            name: Some(name.to_owned()),
            expires_at: now.checked_add_secs(secs),
            ..Mint::default()
        };
        dialect(&house.server.app).mint(mint).await
    };
    assert!(mint(&"x".repeat(255), 60).await.is_ok());
    for (name, secs) in [("late", 61), (&"x".repeat(256), 60), ("a\0b", 60)] {
        assert!(mint(name, secs).await.is_err(), "{name} {secs}");
    }
}
