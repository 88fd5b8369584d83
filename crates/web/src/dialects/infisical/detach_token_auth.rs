//! `DELETE /api/v1/auth/token-auth/identities/{identityId}`: the identity has no tokens any more.
//!
//! The one thing a newcomer would get wrong: this is one row, however many tokens there are. All of them are refused from
//! the next request on, and a later attach does not bring them back.

use axum::extract::State;
use axum::response::Response;
use engine::Error;

use super::document::{AnyRefusal, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::Known;
use super::roles::Permission;
use super::wire::TokenAuthAnswer;
use super::{AUTH_IDENTITY_SEGMENT, Infisical};

/// The text wherever a token auth is missed, but for an update of it.
pub(super) const NOT_ATTACHED: &str = "The identity does not have Token Auth";

/// Delete Token Auth
///
/// All tokens of the identity are refused from the next request on.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/token-auth/identities/{identityId}",
    operation_id = "deleteTokenAuth",
    tag = "Token Auth",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    responses(
        (status = 200, description = "What was detached.", body = TokenAuthAnswer),
        AnyRefusal,
        NotFound,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn detach_token_auth(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<TokenAuthAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json().await?;
    let id = incoming.parameter(AUTH_IDENTITY_SEGMENT)?;
    let identity = infisical.identity(&id).await?;
    let identity = identity.ok_or_else(|| error::no_identity(&id))?;
    let auth = infisical.token_auth(identity.id).await?;
    let auth = auth.ok_or_else(|| error::bad_request(NOT_ATTACHED))?;
    bearer.require(Permission::Edit)?;
    bearer.reach(
        Permission::RevokeAuth,
        "Failed to revoke token auth of identity with more privileged role",
    )?;
    bearer.guard(&identity.body)?;
    let engine = infisical.engine();
    match engine.delete_record(&bearer.caller, auth.id).await {
        Ok(record) => Ok(TokenAuthAnswer::of(Known::of(&record)?, identity.id.0)),
        Err(Error::NotFound(_)) => Err(error::bad_request(NOT_ATTACHED)),
        Err(error) => Err(error.into()),
    }
}
