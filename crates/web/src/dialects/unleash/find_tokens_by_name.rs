//! `GET /api/admin/api-tokens/{name}`: tokens with exactly this name.
//!
//! The one thing a newcomer would get wrong: the parameter is a name here and a secret in `PUT` and `DELETE` of the same
//! path. A secret given here is the name of nothing, and the answer is an empty list, never 404.

use axum::extract::State;
use axum::response::Response;
use engine::permission::Action;

use super::answer::{Answer, respond};
use super::document::{AnyRefusal, ApiError, ApiTokens};
use super::error::WireError;
use super::incoming::Incoming;
use super::{TOKEN_SEGMENT, Unleash};

/// Find API tokens by name
///
/// Names are not unique: all tokens with this name that the caller may see, none if there is none.
#[utoipa::path(
    get,
    path = "/api/admin/api-tokens/{token}",
    operation_id = "getApiTokensByName",
    tag = "API tokens",
    params(("token" = String, Path, description = "The name of the tokens, exactly.")),
    responses(
        (status = 200, description = "The tokens with this name.", body = ApiTokens),
        (status = 304, description = "The caller has them already (If-None-Match)."),
        (status = 400, description = "The name is not properly escaped.", body = ApiError),
        AnyRefusal,
        (status = 403, description = "The caller may not list tokens.", body = ApiError),
    ),
    security(("apiKey" = []))
)]
pub(super) async fn find_tokens_by_name(
    State(unleash): State<Unleash>,
    incoming: Incoming,
) -> Response {
    let outcome = find(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn find(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    let caller = unleash.administrator(incoming).await?;
    let name = incoming.parameter(TOKEN_SEGMENT)?;
    unleash.let_in(&caller, Action::Read)?;
    let named = |token: &engine::token::Token| token.name.as_deref() == Some(name.as_str());
    unleash.listed(&caller, named).await
}
