//! `PUT /api/v1/api-tokens/{id}`: rename a token, guarded by its version.
//!
//! The one thing a newcomer would get wrong: whether the version is the present one is decided inside the transaction that
//! saves. The look before it only tells a name that breaks a rule (400) from a token that is gone (404) or newer (409).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::Error;
use engine::error::Conflict;
use engine::permission::Action;
use engine::selection::Selection;
use engine::verbs::update::{Edit, Field, Guard, Update};

use super::MindBridge;
use super::document::{AnyRefusal, BodyRefusal, PermissionRefusal, UpdateApiToken};
use super::error::{API_TOKEN, ActionableError, Refusal};
use super::incoming::{Call, answer};
use super::model::ApiToken;
use super::outward::OutwardId;
use super::records::{name_place, token_place};
use super::requests::{name_problem, rename};

/// Update an API token
///
/// Renames the token and its API Token User, if `version` is the present one. Every save makes the next version, even one
/// that leaves the name as it is. Asks for `api.api-tokens.write`.
#[utoipa::path(
    put,
    path = "/api/v1/api-tokens/{id}",
    operation_id = "updateApiToken",
    tag = "API Tokens",
    params(("id" = String, Path, description = "The id of the token.")),
    request_body(content = UpdateApiToken, content_type = "application/json"),
    responses(
        (status = 200, description = "The token as it is now.", body = ApiToken),
        (status = 400, description = "The body breaks a rule, or the name is taken.", body = ActionableError),
        (status = 404, description = "No token has this id.", body = ActionableError),
        (status = 409, description = "The version is not the present one; nothing was changed.", body = ActionableError),
        AnyRefusal,
        PermissionRefusal,
        BodyRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn update_token(
    State(mindbridge): State<MindBridge>,
    request: Request,
) -> Response {
    let (call, body) = Call::open(request);
    let outcome = update(&mindbridge, &call, body).await;
    call.respond(outcome)
}

async fn update(mindbridge: &MindBridge, call: &Call, body: Body) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    who.require(Action::Update)?;
    let body = call.json(body).await?;
    let wanted = rename(&body)?;
    let reader = who.reader();
    let unknown = || Refusal::unknown_id(API_TOKEN, call.id());
    let id = OutwardId::parse(call.id()).ok_or_else(unknown)?;
    let user = mindbridge.user_at(&reader, token_place(id)).await?;
    let (_, token_id) = user.ok_or_else(unknown)?;
    let stale = |current| Refusal::stale(wanted.version, current).about(API_TOKEN, call.id());

    if let Some(problem) = name_problem(&wanted.name) {
        let token = mindbridge.tokens(&reader, vec![token_id]).await?.pop();
        let token = token.ok_or_else(unknown)?;
        if token.version != wanted.version {
            return Err(stale(token.version));
        }
        return Err(Refusal::bad(problem).about(API_TOKEN, call.id()));
    }
    let update = Update {
        selection: Selection::of(token_id),
        edit: Edit {
            locators: Field::Set(vec![name_place(&wanted.name)]),
            name: Field::Set(wanted.name.clone()),
            touch: true,
            ..Edit::default()
        },
        guard: Guard::Version(wanted.version),
    };
    let updated = mindbridge.engine().update(&who.caller, update).await;
    let mut updated = updated.map_err(|error| match error {
        Error::Conflict(Conflict::Version { current }) => stale(current),
        Error::Conflict(Conflict::Taken { .. }) => Refusal::from(error).about(API_TOKEN, call.id()),
        other => Refusal::from(other),
    })?;
    let token = updated.tokens.pop().ok_or_else(unknown)?;
    let view = mindbridge.token_view(&reader, &token, None).await?;
    Ok(answer(StatusCode::OK, &view))
}
