//! A stand-in for the server in the tests of the generator, with the manners that the generator must notice.
//!
//! The one thing to know: it knows only the calls that the scenarios make, in the shapes of the products; it says nothing
//! about the server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The answer to a validation of the development token.
pub(crate) const VALIDATED: &str = r#"{"tokens":[{"token":"default:development.unleash-client-token","type":"client","projects":["default"],"environment":"development"}]}"#;

const MINDBRIDGE: &str = "Bearer mindbridge-dev-token";

/// How a fake behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    Good,
    /// Answers updates with 200 and keeps the old state.
    ForgetsUpdates,
    /// Has none of the development credentials.
    KnowsNobody,
}

struct Fake {
    manners: Manners,
    /// Unleash secret → (name, expiry).
    tokens: Mutex<HashMap<String, (String, Value)>>,
    /// The tags of the one Piiano token.
    tags: Mutex<Value>,
    /// The name of the Infisical token that is renamed.
    infisical: Mutex<Value>,
    /// Name and version of each MindBridge token; its id is its place here.
    mindbridge: Mutex<Vec<(Value, u64)>>,
}

/// Serves a router on a free port until the test's runtime ends.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("the loopback address has a free port");
    let address = listener
        .local_addr()
        .expect("a bound listener has an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The calls that the scenarios make.
pub(crate) fn router(manners: Manners) -> Router {
    let fake = Arc::new(Fake {
        manners,
        tokens: Mutex::default(),
        tags: Mutex::default(),
        infisical: Mutex::default(),
        mindbridge: Mutex::default(),
    });
    Router::new()
        .route("/edge/validate", post(validate))
        .route("/api/admin/api-tokens", post(create_token))
        .route(
            "/api/admin/api-tokens/{token}",
            get(find_token).put(update_token),
        )
        .route("/api/pvlt/1.0/ctl/collections", post(echo))
        .route(
            "/api/pvlt/1.0/data/collections/bench/objects",
            post(async || Json(json!({ "id": "6b0323e6-0000-4000-8000-000000000000" }))),
        )
        .route(
            "/api/pvlt/1.0/data/collections/bench/tokens",
            patch(update_tags).post(tokenize),
        )
        .route(
            "/api/pvlt/1.0/data/collections/bench/query/tokens",
            post(search),
        )
        .route("/api/v1/admin/bootstrap", post(set_up))
        .route(
            "/api/v1/identities",
            post(async || Json(json!({ "identity": { "id": "i" } }))),
        )
        .route("/api/v1/auth/token-auth/identities/i", post(echo))
        .route(
            "/api/v1/auth/token-auth/identities/i/tokens",
            post(async || Json(json!({ "accessToken": "jwt", "tokenData": { "id": "t" } }))),
        )
        .route(
            "/api/v1/auth/token-auth/tokens/t",
            get(read_name).patch(rename),
        )
        .route(
            "/api/v1/identities/details",
            get(async || Json(json!({ "identityDetails": { "organization": { "id": "o" } } }))),
        )
        .route("/api/v1/api-tokens", post(issue))
        .route("/api/v1/api-tokens/current", get(read_current))
        .route("/api/v1/api-tokens/{id}", get(read_token).put(save))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&fake),
            authenticate,
        ))
        .with_state(fake)
}

async fn authenticate(State(fake): State<Arc<Fake>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let sent = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let expected = match path {
        "/edge/validate" => None,
        "/api/v1/admin/bootstrap" if fake.manners != Manners::KnowsNobody => None,
        "/api/v1/identities/details" => Some("Bearer jwt"),
        "/api/v1/api-tokens/current" if sent != Some(MINDBRIDGE) => Some("Bearer mb_0"),
        _ if path.starts_with("/api/v1/api-tokens") => Some(MINDBRIDGE),
        _ if path.starts_with("/api/v1/") => Some("Bearer admin"),
        _ if path.starts_with("/api/pvlt/") => Some("Bearer pvaultauth"),
        _ => Some("*:*.unleash-admin-token"),
    };
    if expected.is_some() && (sent != expected || fake.manners == Manners::KnowsNobody) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    next.run(request).await
}

async fn validate(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Response {
    let known = json!({ "tokens": ["default:development.unleash-client-token"] });
    if fake.manners == Manners::KnowsNobody || body != known {
        return Json(json!({ "tokens": [] })).into_response();
    }
    VALIDATED.into_response()
}

async fn create_token(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Response {
    let name = body["tokenName"].as_str().unwrap_or_default().to_owned();
    let secret = format!("default:development.{name}");
    let mut tokens = fake.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.insert(secret.clone(), (name, body["expiresAt"].clone()));
    (StatusCode::CREATED, Json(json!({ "secret": secret }))).into_response()
}

async fn find_token(State(fake): State<Arc<Fake>>, Path(name): Path<String>) -> Json<Value> {
    let tokens = fake.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let named = tokens.values().filter(|(its_name, _)| *its_name == name);
    let found: Vec<Value> = named
        .map(|(_, expires_at)| json!({ "expiresAt": expires_at }))
        .collect();
    Json(json!({ "tokens": found }))
}

async fn update_token(
    State(fake): State<Arc<Fake>>,
    Path(secret): Path<String>,
    Json(body): Json<Value>,
) {
    let mut tokens = fake.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, expires_at)) = tokens.get_mut(&secret)
        && fake.manners != Manners::ForgetsUpdates
    {
        *expires_at = body["expiresAt"].clone();
    }
}

async fn echo(Json(body): Json<Value>) -> Json<Value> {
    Json(body)
}

async fn tokenize(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Json<Value> {
    let mut tags = fake.tags.lock().unwrap_or_else(PoisonError::into_inner);
    *tags = body[0]["tags"].clone();
    Json(json!([{ "token_id": "d27923c6-5d16-41e3-89ee-118b05a25372" }]))
}

async fn update_tags(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) {
    let mut tags = fake.tags.lock().unwrap_or_else(PoisonError::into_inner);
    if fake.manners != Manners::ForgetsUpdates {
        *tags = body["tags"].clone();
    }
}

async fn search(State(fake): State<Arc<Fake>>) -> Json<Value> {
    let tags = fake.tags.lock().unwrap_or_else(PoisonError::into_inner);
    Json(json!([{ "tokens": [{ "tags": *tags }] }]))
}

async fn set_up() -> Json<Value> {
    let credentials = json!({ "token": "admin" });
    Json(json!({ "identity": { "credentials": credentials }, "organization": { "id": "o" } }))
}

async fn read_name(State(fake): State<Arc<Fake>>) -> Json<Value> {
    let name = fake
        .infisical
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "token": { "name": *name } }))
}

async fn rename(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Json<Value> {
    if fake.manners != Manners::ForgetsUpdates {
        let mut name = fake
            .infisical
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *name = body["name"].clone();
    }
    Json(json!({ "token": { "name": body["name"] } }))
}

async fn issue(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Response {
    let mut tokens = fake
        .mindbridge
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let id = tokens.len();
    tokens.push((body["name"].clone(), 1));
    let made = json!({ "id": id.to_string(), "token": format!("mb_{id}") });
    (StatusCode::CREATED, Json(made)).into_response()
}

/// Of the development token, or the first that was made.
async fn read_current() -> Json<Value> {
    Json(json!({ "id": "0", "expiry": "2030-01-01T00:00:00Z" }))
}

async fn read_token(State(fake): State<Arc<Fake>>, Path(id): Path<usize>) -> Json<Value> {
    let tokens = fake
        .mindbridge
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (name, version) = &tokens[id];
    Json(json!({ "name": name, "version": version }))
}

async fn save(
    State(fake): State<Arc<Fake>>,
    Path(id): Path<usize>,
    Json(body): Json<Value>,
) -> Response {
    let mut tokens = fake
        .mindbridge
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (name, version) = &mut tokens[id];
    if body["version"] != *version {
        return StatusCode::CONFLICT.into_response();
    }
    if fake.manners != Manners::ForgetsUpdates {
        (*name, *version) = (body["name"].clone(), *version + 1);
    }
    Json(json!({ "name": body["name"], "version": *version })).into_response()
}
