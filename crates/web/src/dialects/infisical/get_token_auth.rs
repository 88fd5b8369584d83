//! `GET /api/v1/auth/token-auth/identities/{identityId}`: how an identity's tokens are made.
//!
//! The one thing a newcomer would get wrong: that it is not attached is 404 here, and 400 everywhere else. One client
//! drops what it manages on a 404, and on nothing else.

use super::document::{AnyRefusal, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::roles::Permission;
use super::wire::TokenAuthAnswer;
use super::{AUTH_IDENTITY_SEGMENT, Infisical};
use axum::extract::State;
use axum::response::Response;

/// Retrieve Token Auth
///
/// How the identity's tokens are made, and from where they may be used.
#[utoipa::path(
    get,
    path = "/api/v1/auth/token-auth/identities/{identityId}",
    operation_id = "getTokenAuth",
    tag = "Token Auth",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    responses(
        (status = 200, description = "How tokens are made.", body = TokenAuthAnswer),
        AnyRefusal,
        NotFound,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn get_token_auth(
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
    let auth =
        auth.ok_or_else(|| error::not_found("Token Auth configuration not found for identity"))?;
    bearer.require(Permission::Read)?;
    Ok(TokenAuthAnswer::of(auth, identity.id.0))
}
