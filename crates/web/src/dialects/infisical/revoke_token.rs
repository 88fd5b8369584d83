//! `POST /api/v1/auth/token-auth/tokens/{tokenId}/revoke`: a token is refused from the next request on.
//!
//! The one thing a newcomer would get wrong: a second revocation is 404, also of two at the same time; so it is the write
//! that finds out. It depends on nothing else of the token, or whoever changes the token all the time would keep it alive.
//! And no privilege boundary stands here: to take a token away gives nobody more.

use axum::extract::State;
use axum::response::Response;
use engine::Error;
use engine::error::Missing;
use engine::selection::Selection;
use engine::token::{State as TokenState, Token};
use engine::verbs::update::Guard;

use super::document::{AnyRefusal, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::Placed;
use super::roles::Permission;
use super::wire::{MessageAnswer, Refusal};
use super::{Infisical, TOKEN_SEGMENT};

/// Revoke Token
///
/// It is refused from the next request on, for good.
#[utoipa::path(
    post,
    path = "/api/v1/auth/token-auth/tokens/{tokenId}/revoke",
    operation_id = "revokeTokenAuthToken",
    tag = "Token Auth",
    params(("tokenId" = String, Path, description = "The id of the token.")),
    responses(
        (status = 200, description = "It is revoked.", body = MessageAnswer),
        (status = 413, description = "The body has more than 1 MiB.", body = Refusal),
        (status = 415, description = "The body is not JSON.", body = Refusal),
        AnyRefusal,
        NotFound,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn revoke_token(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<MessageAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json().await?;
    let id = incoming.parameter(TOKEN_SEGMENT)?;
    let gone = || error::not_found(format!("Token with ID {id} not found or already revoked"));
    let placed = infisical.token(&id).await?.ok_or_else(gone)?;
    let Placed { token, identity } = placed;
    unless_revoked(&token).map_err(|_| gone())?;
    bearer.require(Permission::Edit)?;
    bearer.guard(&identity.body)?;
    let revoked = infisical
        .engine()
        .revoke(
            &bearer.caller,
            Selection::of(token.id),
            Guard::check(unless_revoked),
        )
        .await;
    match revoked {
        Ok(revoked) if !revoked.tokens.is_empty() => Ok(MessageAnswer {
            message: "Successfully revoked access token",
        }),
        // Revoked or removed meanwhile.
        Ok(_) | Err(Error::NotFound(_)) => Err(gone()),
        Err(error) => Err(error.into()),
    }
}

fn unless_revoked(token: &Token) -> Result<(), Error> {
    if token.state == TokenState::Revoked {
        Err(Error::NotFound(Missing::Token))
    } else {
        Ok(())
    }
}
