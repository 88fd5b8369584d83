//! `DELETE /api/v1/api-tokens/{id}`: a token goes, and its user with it.
//!
//! The one thing a newcomer would get wrong: what is deleted is the user above the token. That is one row and one event; the
//! token below it is dead for the very next request, and its name is free.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use engine::Error;
use engine::permission::Action;

use super::MindBridge;
use super::document::{AnyRefusal, PermissionRefusal};
use super::error::{API_TOKEN, ActionableError, Refusal};
use super::incoming::Call;
use super::outward::OutwardId;
use super::records::token_place;

/// Delete an API token
///
/// The token and its API Token User are gone at once. Asks for `api.api-tokens.delete`.
#[utoipa::path(
    delete,
    path = "/api/v1/api-tokens/{id}",
    operation_id = "deleteApiToken",
    tag = "API Tokens",
    params(("id" = String, Path, description = "The id of the token.")),
    responses(
        (status = 204, description = "Gone."),
        (status = 404, description = "No token has this id.", body = ActionableError),
        AnyRefusal,
        PermissionRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn delete_token(
    State(mindbridge): State<MindBridge>,
    request: Request,
) -> Response {
    let (call, _) = Call::open(request);
    let outcome = delete(&mindbridge, &call).await;
    call.respond(outcome)
}

async fn delete(mindbridge: &MindBridge, call: &Call) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    who.require(Action::DeleteRecord)?;
    let unknown = || Refusal::unknown_id(API_TOKEN, call.id());
    let id = OutwardId::parse(call.id()).ok_or_else(unknown)?;
    let user = mindbridge.user_at(&who.reader(), token_place(id)).await?;
    let (record, _) = user.ok_or_else(unknown)?;
    let deleted = mindbridge
        .engine()
        .delete_record(&who.caller, record.id)
        .await;
    deleted.map_err(|error| match error {
        // Somebody else was quicker.
        Error::NotFound(_) => unknown(),
        other => Refusal::from(other),
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
