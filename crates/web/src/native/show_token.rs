//! `GET /v1/tokens/{id}`: one token.
//!
//! The one thing to know: its entity tag is its version, with which an update can be guarded.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::permission::Action;
use engine::selection::Selection;

use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::wire::{TokenView, no_token, parameters, required, token_answer, token_id};

/// Show one token.
#[utoipa::path(
    get,
    operation_id = "show-token",
    path = "/v1/tokens/{id}",
    params(
        ("id" = uuid::Uuid, Path, description = "The token's id."),
        ("realm" = String, Query, description = "A realm's id or name, or a dialect's name."),
    ),
    responses(
        (status = 200, description = "The token; ETag is its version.", body = TokenView),
        (status = 400, description = "A parameter is missing or wrong."),
        (status = 404, description = "No such realm or token."),
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
    let caller = speaker.in_realm(realm.id);
    let selection = Selection::of(id);
    let found = control
        .engine
        .find(&caller, Action::Read, &selection)
        .await?;
    let token = found.tokens.first().ok_or_else(no_token)?;
    let usage = control.engine.usage(&caller, &[id]).await?;
    let view = TokenView::found(&realm, &found, token, usage.get(&id), control.engine.now());
    Ok(token_answer(StatusCode::OK, token, &view))
}
