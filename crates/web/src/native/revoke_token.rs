//! `POST /v1/tokens/{id}/revoke`: out of force for good.
//!
//! The one thing to know: a revoked token stays in lists; nothing brings it back.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::selection::Selection;

use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::wire::{
    TokenView, guard, no_body, no_token, parameters, required, token_answer, token_id,
};

/// Revoke one token.
#[utoipa::path(
    post,
    operation_id = "revoke-token",
    path = "/v1/tokens/{id}/revoke",
    params(
        ("id" = uuid::Uuid, Path, description = "The token's id."),
        ("realm" = String, Query, description = "A realm's id or name, or a dialect's name."),
        ("If-Match" = Option<String>, Header, description = "The entity tag that the token must have."),
    ),
    responses(
        (status = 200, description = "Revoked, in force; revoking it again changes nothing.", body = TokenView),
        (status = 400, description = "A body, or a parameter is missing or wrong."),
        (status = 404, description = "No such realm or token."),
        (status = 412, description = "The token has another version."),
    )
)]
pub(super) async fn handler(
    State(control): State<Control>,
    speaker: Speaker,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = parameters(request.uri(), &["realm"])?;
    let realm = control.realm(required(&parameters, "realm")?).await?;
    let id = token_id(request.uri())?;
    let guard = guard(request.headers())?;
    no_body(request).await?;
    let caller = speaker.in_realm(realm.id);
    let selection = Selection::of(id);
    let updated = control.engine.revoke(&caller, selection, guard).await?;
    let token = updated.tokens.first().ok_or_else(no_token)?;
    let usage = control.engine.usage(&caller, &[id]).await?;
    let view = TokenView::new(&realm, token, usage.get(&id), control.engine.now());
    Ok(token_answer(StatusCode::OK, token, &view))
}
