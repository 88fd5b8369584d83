//! `GET /api/v1/auth/token-auth/tokens/{tokenId}`, and the older path below an identity: one token without its secret.
//!
//! The one thing a newcomer would get wrong: the older path names an identity too, and nobody looks at it.

use super::document::{AnyRefusal, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::Placed;
use super::roles::Permission;
use super::wire::{AccessToken, TokenAnswer};
use super::{Infisical, TOKEN_SEGMENT};
use axum::extract::State;
use axum::response::Response;

/// The number of the path segment with the token's id in the older path.
const OLDER_TOKEN_SEGMENT: usize = 7;

/// Get Token
///
/// The token without its secret, however it stands.
#[utoipa::path(
    get,
    path = "/api/v1/auth/token-auth/tokens/{tokenId}",
    operation_id = "getTokenAuthTokenById",
    tag = "Token Auth",
    params(("tokenId" = String, Path, description = "The id of the token.")),
    responses(
        (status = 200, description = "The token.", body = TokenAnswer),
        AnyRefusal,
        NotFound,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn get_token(State(infisical): State<Infisical>, incoming: Incoming) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

/// Get Token of an identity
///
/// The older path of the same. The id of the identity is not looked at.
#[utoipa::path(
    get,
    path = "/api/v1/auth/token-auth/identities/{identityId}/tokens/{tokenId}",
    operation_id = "getTokenAuthTokenOfIdentity",
    tag = "Token Auth",
    params(("identityId" = String, Path, description = "Anything."), ("tokenId" = String, Path, description = "The id of the token.")),
    responses(
        (status = 200, description = "The token.", body = TokenAnswer),
        AnyRefusal,
        NotFound,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn get_token_of_identity(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(
        &incoming,
        read(&infisical, &incoming, OLDER_TOKEN_SEGMENT).await,
    )
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<TokenAnswer, WireError> {
    read(infisical, incoming, TOKEN_SEGMENT).await
}

async fn read(
    infisical: &Infisical,
    incoming: &Incoming,
    segment: usize,
) -> Result<TokenAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json().await?;
    let id = incoming.parameter(segment)?;
    let Placed { token, .. } = infisical
        .token(&id)
        .await?
        .ok_or_else(|| error::no_token(&id))?;
    bearer.require(Permission::Read)?;
    let usage = infisical
        .engine()
        .usage(&bearer.caller, &[token.id])
        .await?;
    Ok(TokenAnswer {
        token: AccessToken::of(&token, usage.get(&token.id))?,
    })
}
