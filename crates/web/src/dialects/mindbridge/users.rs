//! `GET /api/v1/users/current`, `GET /api/v1/users/{id}`, `POST /api/v1/users/query`: the API Token Users.
//!
//! The one thing a newcomer would get wrong: a user is its token under another id. There are no other users, and none can be
//! changed or deleted but with its token.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::permission::Action;

use super::MindBridge;
use super::document::{AnyRefusal, BodyRefusal, Paging, PermissionRefusal};
use super::error::{ActionableError, Refusal, USER};
use super::fields::USER_FIELDS;
use super::filter;
use super::incoming::{Call, answer};
use super::model::User;
use super::outward::OutwardId;
use super::paging::{Asked, Page, UserPage};
use super::records::user_place;

/// Read the user of this call
///
/// Asks for no permission: good for trying out a token.
#[utoipa::path(
    get,
    path = "/api/v1/users/current",
    operation_id = "getCurrentUser",
    tag = "Users",
    responses(
        (status = 200, description = "The user of the token that was used to call.", body = User),
        (status = 403, description = "The address is not allowed.", body = ActionableError),
        AnyRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn current_user(
    State(mindbridge): State<MindBridge>,
    request: Request,
) -> Response {
    let (call, _) = Call::open(request);
    let outcome = current(&mindbridge, &call).await;
    call.respond(outcome)
}

async fn current(mindbridge: &MindBridge, call: &Call) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    let view = mindbridge.user_view(&who.reader(), &who.token).await?;
    Ok(answer(StatusCode::OK, &view))
}

/// Read a user
///
/// Asks for `api.users.read`.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    operation_id = "getUser",
    tag = "Users",
    params(("id" = String, Path, description = "The id of the user.")),
    responses(
        (status = 200, description = "The user.", body = User),
        (status = 404, description = "No user has this id.", body = ActionableError),
        AnyRefusal,
        PermissionRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn read_user(State(mindbridge): State<MindBridge>, request: Request) -> Response {
    let (call, _) = Call::open(request);
    let outcome = read(&mindbridge, &call).await;
    call.respond(outcome)
}

async fn read(mindbridge: &MindBridge, call: &Call) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    who.require(Action::ReadRecord)?;
    let reader = who.reader();
    let unknown = || Refusal::unknown_id(USER, call.id());
    let id = OutwardId::parse(call.id()).ok_or_else(unknown)?;
    let token = mindbridge.token_at(&reader, user_place(id)).await?;
    let token = token.ok_or_else(unknown)?;
    let view = mindbridge.user_view(&reader, &token).await?;
    Ok(answer(StatusCode::OK, &view))
}

/// Query users
///
/// The body is a filter, as for API tokens. Asks for `api.users.read`.
#[utoipa::path(
    post,
    path = "/api/v1/users/query",
    operation_id = "queryUsers",
    tag = "Users",
    params(Paging),
    request_body(content = Object, content_type = "application/json", description = "A filter."),
    responses(
        (status = 200, description = "The page.", body = UserPage),
        (status = 400, description = "The filter, the page or the order breaks a rule.", body = ActionableError),
        AnyRefusal,
        PermissionRefusal,
        BodyRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn query_users(
    State(mindbridge): State<MindBridge>,
    request: Request,
) -> Response {
    let (call, body) = Call::open(request);
    call.trace.reads_only();
    let outcome = query(&mindbridge, &call, body).await;
    call.respond(outcome)
}

async fn query(mindbridge: &MindBridge, call: &Call, body: Body) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    who.require(Action::ReadRecord)?;
    let body = call.json(body).await?;
    let asked = Asked::of(&call.uri, USER_FIELDS)?;
    let filter = filter::parse(&body, USER_FIELDS)?;
    let found = mindbridge
        .walk(&who.reader(), &asked, &filter, true)
        .await?;
    let views = found
        .tokens
        .iter()
        .map(|(token, ids)| User::new(token, *ids, &found.people));
    let page = Page::new(&asked, views.collect(), found.total);
    Ok(answer(StatusCode::OK, &page))
}
