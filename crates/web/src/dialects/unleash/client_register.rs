//! `POST /api/client/register`: a backend SDK says that it is there.
//!
//! The one thing a newcomer would get wrong: nothing is kept of it – there are no application pages here – but the body is
//! checked as the product does, because SDKs log what a server refuses.

use axum::extract::State;
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::answer::{Answer, respond};
use super::document::{AnyRefusal, ApiError, NotJson, OtherType, RegisterClient};
use super::error::WireError;
use super::incoming::{Incoming, Reading};
use super::schema::parse_register;
use super::{BACKEND_KINDS, PRODUCT_VERSION, Unleash};

/// Register a client
///
/// Called by every backend SDK when it starts.
#[utoipa::path(
    post,
    path = "/api/client/register",
    operation_id = "registerClientApplication",
    tag = "Client",
    request_body(content = RegisterClient, content_type = "application/json"),
    responses(
        (status = 202, description = "Heard.", headers(("X-Unleash-Version" = String, description = "The version of the product that is spoken."))),
        (status = 400, description = "The body breaks a rule.", body = ApiError),
        AnyRefusal,
        OtherType,
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn client_register(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let outcome = register(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn register(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.sdk(incoming, BACKEND_KINDS).await?;
    let body = incoming.json(|| unleash.error_id())?;
    let client = parse_register(body).map_err(|failure| failure.to_error(unleash.error_id()))?;
    tracing::debug!(
        app = client.app_name,
        sdk = client.sdk_version,
        "a client registered"
    );
    let version = HeaderValue::from_static(PRODUCT_VERSION);
    Ok(Answer::empty(StatusCode::ACCEPTED)
        .with(HeaderName::from_static("x-unleash-version"), version))
}
