//! `DELETE /api/admin/api-tokens/{token}`: the token goes, at once and for good.
//!
//! The one thing a newcomer would get wrong: a body is not wanted here, but one that says it is JSON is parsed all the
//! same, and refused if it is none.

use axum::extract::State;
use axum::response::Response;
use engine::permission::Action;

use super::answer::{Answer, respond};
use super::document::{AnyRefusal, ApiError};
use super::error::WireError;
use super::incoming::Incoming;
use super::selector::meanings;
use super::update_token::done;
use super::{TOKEN_SEGMENT, Unleash};

/// Delete an API token
///
/// It is refused from the very next request on. An unknown token is no error: see the header of the answer.
#[utoipa::path(
    delete,
    path = "/api/admin/api-tokens/{token}",
    operation_id = "deleteApiToken",
    tag = "API tokens",
    params(("token" = String, Path, description = "The secret of the token, or its selector.")),
    responses(
        (status = 200, description = "Done, or there is no such token.", headers(("Tokenhouse-Matched" = String, description = "`1` if the token was there, `0` if not."))),
        (status = 400, description = "The token is not properly escaped, or a body is malformed.", body = ApiError),
        AnyRefusal,
        (status = 403, description = "The caller may not delete tokens (of this type).", body = ApiError),
    ),
    security(("apiKey" = []))
)]
pub(super) async fn delete_token(State(unleash): State<Unleash>, incoming: Incoming) -> Response {
    let outcome = delete(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn delete(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    let caller = unleash.administrator(incoming).await?;
    let parameter = incoming.parameter(TOKEN_SEGMENT)?;
    unleash.let_in(&caller, Action::Delete)?;
    let mut matched = false;
    for selection in meanings(&parameter) {
        let deleted = unleash.engine().delete(&caller, selection).await;
        matched = !deleted.map_err(|error| unleash.refusal(error))?.is_empty();
        if matched {
            break;
        }
    }
    Ok(done(matched))
}
