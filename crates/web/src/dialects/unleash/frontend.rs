//! `/api/frontend`: what browser SDKs call with a frontend token. There are no features, so none is on.
//!
//! The one thing a newcomer would get wrong: a page of any origin may read every answer, refusals included – otherwise the
//! SDK in the page could not tell why it was refused – so that all of them pass [`for_pages`].

use axum::extract::State;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Unleash;
use super::answer::{Answer, respond};
use super::document::{
    AnyRefusal, ApiError, ClientMetrics, FrontendQuery, FrontendToggles, NotJson, OtherType,
    RegisterClient,
};
use super::error::{self, WireError};
use super::incoming::{Incoming, Reading};
use super::schema::{parse_metrics, parse_register};
use super::wire::TokenType;
use crate::kit::path::is_below;

/// Everything of this file lies here.
pub(super) const PREFIX: &str = "/api/frontend";

/// What belongs to backend SDKs, and would be looked for here by those who take this for a whole server.
const BACKEND_ONLY: [&str; 3] = [
    "/api/frontend/client/features",
    "/api/frontend/health",
    "/api/frontend/internal-backstage/prometheus",
];

/// For how long a browser remembers what it was told before a call: a day, in seconds.
const PREFLIGHT_SECS: &str = "86400";

/// Feature flags for browser SDKs
///
/// Those that are on for the context in the query: none.
#[utoipa::path(
    get,
    path = "/api/frontend",
    operation_id = "getFrontendFeatures",
    tag = "Frontend",
    responses(
        (status = 200, description = "The empty set.", body = FrontendToggles),
        (status = 304, description = "The caller has it already (If-None-Match)."),
        (status = 400, description = "A body that comes along is malformed.", body = ApiError),
        AnyRefusal,
        OtherType,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn frontend_get(State(unleash): State<Unleash>, incoming: Incoming) -> Response {
    let outcome = toggles(&unleash, &incoming).await;
    for_pages(respond(&incoming, outcome))
}

async fn toggles(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, &[TokenType::Frontend]).await?;
    Ok(no_toggles())
}

/// Feature flags for browser SDKs, with the context in the body
///
/// Those that are on for the context: none.
#[utoipa::path(
    post,
    path = "/api/frontend",
    operation_id = "getFrontendFeaturesPost",
    tag = "Frontend",
    request_body(content = FrontendQuery, content_type = "application/json"),
    responses(
        (status = 200, description = "The empty set.", body = FrontendToggles),
        (status = 400, description = "The body breaks a rule.", body = ApiError),
        AnyRefusal,
        OtherType,
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn frontend_post(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let outcome = toggles_for(&unleash, &incoming).await;
    for_pages(respond(&incoming, outcome))
}

async fn toggles_for(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, &[TokenType::Frontend]).await?;
    // Nothing depends on the context, so it is not looked into.
    incoming.json(|| unleash.error_id())?;
    Ok(no_toggles())
}

fn no_toggles() -> Answer {
    let body = json!({"toggles": []});
    let no_cache = HeaderValue::from_static("no-cache");
    Answer::json(StatusCode::OK, &body).with(header::CACHE_CONTROL, no_cache)
}

/// Register a browser client
///
/// Called by browser SDKs that count.
#[utoipa::path(
    post,
    path = "/api/frontend/client/register",
    operation_id = "registerFrontendClient",
    tag = "Frontend",
    request_body(content = RegisterClient, content_type = "application/json"),
    responses(
        (status = 200, description = "Heard.", content_type = "text/plain", body = String),
        (status = 400, description = "The body breaks a rule.", body = ApiError),
        AnyRefusal,
        OtherType,
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn frontend_register(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let outcome = register(&unleash, &incoming).await;
    for_pages(respond(&incoming, outcome))
}

async fn register(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, &[TokenType::Frontend]).await?;
    let body = incoming.json(|| unleash.error_id())?;
    parse_register(body).map_err(|failure| failure.to_error(unleash.error_id()))?;
    Ok(heard())
}

/// Report usage from a browser
///
/// Called by browser SDKs that count.
#[utoipa::path(
    post,
    path = "/api/frontend/client/metrics",
    operation_id = "registerFrontendMetrics",
    tag = "Frontend",
    request_body(content = ClientMetrics, content_type = "application/json"),
    responses(
        (status = 200, description = "Heard.", content_type = "text/plain", body = String),
        (status = 400, description = "The body breaks a rule.", body = ApiError),
        AnyRefusal,
        OtherType,
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn frontend_metrics(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let outcome = metrics(&unleash, &incoming).await;
    for_pages(respond(&incoming, outcome))
}

async fn metrics(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, &[TokenType::Frontend]).await?;
    let body = incoming.json(|| unleash.error_id())?;
    parse_metrics(body).map_err(|failure| failure.to_error(unleash.error_id()))?;
    Ok(heard())
}

fn heard() -> Answer {
    Answer::text(StatusCode::OK, "text/plain; charset=utf-8", "OK")
}

/// Answers what no route below [`PREFIX`] knows.
pub(super) async fn unknown(unleash: &Unleash, incoming: &Incoming) -> Response {
    // A browser asks first, and without credentials.
    if incoming.method == Method::OPTIONS {
        return preflight(incoming);
    }
    let refusal = match unleash.sdk(incoming, &[TokenType::Frontend]).await {
        Err(refusal) => refusal,
        Ok(_)
            if BACKEND_ONLY
                .iter()
                .any(|path| is_below(incoming.uri.path(), path)) =>
        {
            error::frontend_not_implemented(unleash.error_id())
        }
        Ok(_) => error::path_not_found(unleash.error_id(), &incoming.sent_path),
    };
    for_pages(respond(incoming, Err(refusal)))
}

fn preflight(incoming: &Incoming) -> Response {
    let methods = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");
    let age = HeaderValue::from_static(PREFLIGHT_SECS);
    let answer = Answer::empty(StatusCode::NO_CONTENT)
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        .with(header::ACCESS_CONTROL_MAX_AGE, age);
    let mut response = for_pages(answer.into_response());
    let wanted = incoming.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let headers = response.headers_mut();
    if let Some(wanted) = wanted {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    vary(headers, "Origin, Access-Control-Request-Headers");
    response
}

/// Lets a page of any origin read the answer.
pub(super) fn for_pages(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut say = |name, value| headers.insert(name, HeaderValue::from_static(value));
    say(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    say(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    say(header::ACCESS_CONTROL_EXPOSE_HEADERS, "ETag");
    vary(headers, "Origin, Accept-Encoding");
    response
}

fn vary(headers: &mut HeaderMap, names: &'static str) {
    headers.insert(header::VARY, HeaderValue::from_static(names));
}
