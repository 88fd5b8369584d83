//! `GET /v1/tokens/{id}/history`: what happened to one token, newest first.
//!
//! The one thing to know: also to a token that is gone, and also what happened to the records above it, with which a token
//! ends; secrets and values are in no change.

use axum::extract::{Request, State};
use engine::caller::ActorKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::wire::{no_token, parameters, required, token_id};

/// The changes of one token and of the records above it, at most the last 500.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenHistoryResponse {
    changes: Vec<ChangeView>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangeView {
    /// When, RFC 3339.
    at: String,
    /// What kind of principal: `token`, `operator`, `system`.
    actor_kind: &'static str,
    /// Who: a token's id, an operating system user, a part of the program.
    actor: String,
    /// Which verb, as in `token.updated`.
    verb: String,
    /// The request, as in log and answer.
    request: String,
    /// Why, as the caller said.
    reason: Option<String>,
    /// What was changed: `token`, or `record` for one above it.
    subject: &'static str,
    /// The id of that.
    id: uuid::Uuid,
    /// Its version after the change.
    version: u64,
    /// The fields that differ, before; `null` for something new.
    before: serde_json::Value,
    /// The fields that differ, after; `null` for something removed.
    after: serde_json::Value,
}

const fn word(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Token => "token",
        ActorKind::Operator => "operator",
        ActorKind::System => "system",
        ActorKind::Anonymous => "anonymous",
    }
}

/// Show what happened to one token and above it.
#[utoipa::path(
    get,
    operation_id = "token-history",
    path = "/v1/tokens/{id}/history",
    params(
        ("id" = uuid::Uuid, Path, description = "The token's id."),
        ("realm" = String, Query, description = "A realm's id or name, or a dialect's name."),
    ),
    responses(
        (status = 200, description = "Its changes, newest first.", body = TokenHistoryResponse),
        (status = 400, description = "A parameter is missing or wrong."),
        (status = 404, description = "No such realm, or nothing is known of such a token."),
    )
)]
pub(super) async fn handler(
    State(control): State<Control>,
    speaker: Speaker,
    request: Request,
) -> Result<axum::Json<TokenHistoryResponse>, Problem> {
    let parameters = parameters(request.uri(), &["realm"])?;
    let realm = control.realm(required(&parameters, "realm")?).await?;
    let id = token_id(request.uri())?;
    let caller = speaker.in_realm(realm.id);
    let history = control.engine.token_history(&caller, id).await?;
    if history.is_empty() {
        return Err(no_token());
    }
    let changes = history.into_iter().map(|(event, change)| ChangeView {
        at: event.at.to_string(),
        actor_kind: word(event.actor.kind),
        actor: event.actor.id,
        verb: event.verb,
        request: event.request,
        reason: event.reason,
        subject: change.subject.word(),
        id: change.id,
        version: change.version,
        before: change.before,
        after: change.after,
    });
    Ok(axum::Json(TokenHistoryResponse {
        changes: changes.collect(),
    }))
}
