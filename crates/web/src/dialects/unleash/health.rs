//! `GET /health` and `GET /ready`: is there a server, and does it take requests?
//!
//! The one thing a newcomer would get wrong: health is about the process, readiness about the store. A supervisor that
//! restarts on a failed health check must not restart a server whose disk is full.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::Unleash;
use super::answer::{Answer, respond};
use super::document::Health;
use super::incoming::Incoming;

/// Health
///
/// Whether the process answers. Does not look at credentials.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "getHealth",
    tag = "Operational",
    responses((status = 200, description = "It does.", body = Health))
)]
pub(super) async fn health(incoming: Incoming) -> Response {
    respond(&incoming, Ok(good()))
}

/// Readiness
///
/// Whether the store answers. Does not look at credentials.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "getReady",
    tag = "Operational",
    responses(
        (status = 200, description = "It does.", body = Health),
        (status = 503, description = "It does not."),
    )
)]
pub(super) async fn ready(State(unleash): State<Unleash>, incoming: Incoming) -> Response {
    let answer = match unleash.engine().ready().await {
        Ok(()) => good(),
        // The engine has logged the cause.
        Err(_) => Answer::empty(StatusCode::SERVICE_UNAVAILABLE),
    };
    respond(&incoming, Ok(answer))
}

fn good() -> Answer {
    Answer::json(StatusCode::OK, &json!({"health": "GOOD"}))
}
