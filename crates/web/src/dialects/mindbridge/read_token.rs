//! `GET /api/v1/api-tokens/{id}` and `…/current`: one API token.
//!
//! The one thing a newcomer would get wrong: every token may see itself, whatever its permissions; that is how a client finds
//! out what it may do.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::permission::Action;

use super::MindBridge;
use super::document::{AnyRefusal, PermissionRefusal};
use super::error::{API_TOKEN, ActionableError, Refusal};
use super::incoming::{Call, answer};
use super::model::ApiToken;
use super::outward::OutwardId;
use super::records::token_place;

/// Read an API token
///
/// Asks for `api.api-tokens.read`.
#[utoipa::path(
    get,
    path = "/api/v1/api-tokens/{id}",
    operation_id = "getApiToken",
    tag = "API Tokens",
    params(("id" = String, Path, description = "The id of the token.")),
    responses(
        (status = 200, description = "The token.", body = ApiToken),
        (status = 404, description = "No token has this id.", body = ActionableError),
        AnyRefusal,
        PermissionRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn read_token(State(mindbridge): State<MindBridge>, request: Request) -> Response {
    let (call, _) = Call::open(request);
    let outcome = read(&mindbridge, &call).await;
    call.respond(outcome)
}

async fn read(mindbridge: &MindBridge, call: &Call) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    who.require(Action::Read)?;
    let reader = who.reader();
    let unknown = || Refusal::unknown_id(API_TOKEN, call.id());
    let id = OutwardId::parse(call.id()).ok_or_else(unknown)?;
    let token = mindbridge.token_at(&reader, token_place(id)).await?;
    let token = token.ok_or_else(unknown)?;
    let view = mindbridge.token_view(&reader, &token, None).await?;
    Ok(answer(StatusCode::OK, &view))
}

/// Read the API token of this call
///
/// Asks for no permission.
#[utoipa::path(
    get,
    path = "/api/v1/api-tokens/current",
    operation_id = "getCurrentApiToken",
    tag = "API Tokens",
    responses(
        (status = 200, description = "The token that was used to call.", body = ApiToken),
        (status = 403, description = "The address is not allowed.", body = ActionableError),
        AnyRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn current_token(
    State(mindbridge): State<MindBridge>,
    request: Request,
) -> Response {
    let (call, _) = Call::open(request);
    let outcome = current(&mindbridge, &call).await;
    call.respond(outcome)
}

async fn current(mindbridge: &MindBridge, call: &Call) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    let view = mindbridge
        .token_view(&who.reader(), &who.token, None)
        .await?;
    Ok(answer(StatusCode::OK, &view))
}
