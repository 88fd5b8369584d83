//! `POST /api/v1/api-tokens/query`: a page of the API tokens that match a filter.
//!
//! The one thing a newcomer would get wrong: it is a POST that changes nothing; a refused one is no refused change.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::permission::Action;

use super::MindBridge;
use super::document::{AnyRefusal, BodyRefusal, Paging, PermissionRefusal};
use super::error::{ActionableError, Refusal};
use super::fields::TOKEN_FIELDS;
use super::filter;
use super::incoming::{Call, answer};
use super::model::ApiToken;
use super::paging::{ApiTokenPage, Asked, Page};

/// Query API tokens
///
/// The body is a filter: `{}` for all, `{"name": {"$iprefix": "night"}}` for some. Keys that begin with `$` are operators,
/// all others names of fields; several are joined by AND. Asks for `api.api-tokens.read`.
#[utoipa::path(
    post,
    path = "/api/v1/api-tokens/query",
    operation_id = "queryApiTokens",
    tag = "API Tokens",
    params(Paging),
    request_body(content = Object, content_type = "application/json", description = "A filter."),
    responses(
        (status = 200, description = "The page.", body = ApiTokenPage),
        (status = 400, description = "The filter, the page or the order breaks a rule.", body = ActionableError),
        AnyRefusal,
        PermissionRefusal,
        BodyRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn query_tokens(
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
    who.require(Action::Read)?;
    let body = call.json(body).await?;
    let asked = Asked::of(&call.uri, TOKEN_FIELDS)?;
    let filter = filter::parse(&body, TOKEN_FIELDS)?;
    let found = mindbridge
        .walk(&who.reader(), &asked, &filter, false)
        .await?;
    let views = found
        .tokens
        .iter()
        .map(|(token, ids)| ApiToken::new(token, *ids, &found.people, None));
    let page = Page::new(&asked, views.collect(), found.total);
    Ok(answer(StatusCode::OK, &page))
}
