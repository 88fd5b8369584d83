//! `POST /api/client/metrics`, `…/bulk`, `…/edge`: how often features were asked for. There are none, so nothing is kept.
//!
//! The one thing a newcomer would get wrong: Edge tells in bulk which tokens it has seen in use; those count as used, for
//! its clients never come here themselves.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use engine::Error;
use engine::secret::Secret;

use super::answer::{Answer, respond};
use super::document::{AnyRefusal, ApiError, BulkMetrics, ClientMetrics, NotJson, OtherType};
use super::error::WireError;
use super::incoming::{Incoming, Reading};
use super::schema::{parse_bulk, parse_metrics};
use super::secret::SecretText;
use super::{BACKEND_KINDS, Unleash};

/// Report usage
///
/// Called by every backend SDK from time to time.
#[utoipa::path(
    post,
    path = "/api/client/metrics",
    operation_id = "registerClientMetrics",
    tag = "Client",
    request_body(content = ClientMetrics, content_type = "application/json"),
    responses(
        (status = 202, description = "Heard."),
        (status = 400, description = "The body breaks a rule; without a body of its own if a date or count names nothing.", body = ApiError),
        AnyRefusal,
        OtherType,
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn client_metrics(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let outcome = metrics(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn metrics(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, BACKEND_KINDS).await?;
    let body = incoming.json(|| unleash.error_id())?;
    parse_metrics(body).map_err(|failure| failure.to_error(unleash.error_id()))?;
    Ok(Answer::empty(StatusCode::ACCEPTED))
}

/// Report usage in bulk
///
/// Called by Edge for the clients behind it.
#[utoipa::path(
    post,
    path = "/api/client/metrics/bulk",
    operation_id = "clientBulkMetrics",
    tag = "Client",
    request_body(content = BulkMetrics, content_type = "application/json"),
    responses(
        (status = 202, description = "Heard."),
        (status = 400, description = "The body breaks a rule; without a body of its own if a date or count names nothing.", body = ApiError),
        AnyRefusal,
        OtherType,
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn client_metrics_bulk(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let outcome = bulk(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn bulk(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, BACKEND_KINDS).await?;
    let body = incoming.json(|| unleash.error_id())?;
    let bulk = parse_bulk(body).map_err(|failure| failure.to_error(unleash.error_id()))?;
    let seen: HashSet<&String> = bulk.seen_tokens.iter().collect();
    for text in seen {
        let shaped = SecretText::new(text).and_then(|text| Secret::parse(text.expose()).ok());
        let Some(secret) = shaped else { continue };
        // A verify counts as a use. One that is not in force (any more) has not been used, whatever Edge has seen.
        let engine = unleash.engine();
        match engine
            .verify(unleash.realm(), &secret, incoming.address)
            .await
        {
            Ok(_) | Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => {}
            Err(error) => return Err(unleash.refusal(error)),
        }
    }
    Ok(Answer::empty(StatusCode::ACCEPTED))
}

/// Report on an Edge instance
///
/// Called by Edge about itself.
#[utoipa::path(
    post,
    path = "/api/client/metrics/edge",
    operation_id = "edgeInstanceData",
    tag = "Client",
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 202, description = "Heard."),
        (status = 400, description = "The body is malformed.", body = ApiError),
        AnyRefusal,
        OtherType,
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn client_metrics_edge(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let outcome = edge(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn edge(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, BACKEND_KINDS).await?;
    // Its form changes from one Edge to the next; that it is JSON is all that is asked.
    incoming.json(|| unleash.error_id())?;
    Ok(Answer::empty(StatusCode::ACCEPTED))
}
