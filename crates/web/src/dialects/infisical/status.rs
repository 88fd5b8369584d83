//! `GET /api/status`: how the installation is set.
//!
//! The one thing a newcomer would get wrong: it needs no credentials, but bad ones are refused here too.

use super::Infisical;
use super::document::AnyRefusal;
use super::error::WireError;
use super::incoming::{Incoming, respond};
use super::wire::{StatusAnswer, date};
use axum::extract::State;
use axum::response::Response;

/// Status
///
/// Needs no credentials, but refuses bad ones.
#[utoipa::path(
    get,
    path = "/api/status",
    operation_id = "getStatus",
    tag = "Status",
    responses(
        (status = 200, description = "How it is set.", body = StatusAnswer),
        AnyRefusal,
    )
)]
pub(super) async fn status(State(infisical): State<Infisical>, incoming: Incoming) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<StatusAnswer, WireError> {
    infisical.whoever(incoming).await?;
    Ok(StatusAnswer {
        date: date(infisical.engine().now()),
        message: "Ok",
        email_configured: false,
        invite_only_signup: true,
        redis_configured: false,
        secret_scanning_configured: false,
        audit_log_storage_disabled: false,
        max_identity_access_token_ttl: infisical.settings().ttl_secs_max,
    })
}
