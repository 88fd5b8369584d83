//! `PATCH /api/v1/auth/token-auth/tokens/{tokenId}`: the update of an access token, which is its name.
//!
//! The one thing a newcomer would get wrong: every check before the write has its own place, because clients see which one
//! comes first. An update that says nothing is refused at the very end, where the product fails; so an unknown token with
//! an empty body is 404.

use axum::extract::State;
use axum::response::Response;
use engine::selection::Selection;
use engine::verbs::update::{Edit, Field, Guard, Update};

use super::document::{AnyRefusal, BodyRefusal, NotFound, StoreAway, UpdateTokenRequest};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::Placed;
use super::roles::Permission;
use super::schema::{Fields, NAME_CHARS_MAX};
use super::wire::{AccessToken, TokenAnswer};
use super::{Infisical, TOKEN_SEGMENT};

/// Update Token
///
/// Gives a token another name. Revoked and expired ones can be renamed too.
#[utoipa::path(
    patch,
    path = "/api/v1/auth/token-auth/tokens/{tokenId}",
    operation_id = "updateTokenAuthToken",
    tag = "Token Auth",
    params(("tokenId" = String, Path, description = "The id of the token.")),
    request_body(content = UpdateTokenRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The token as it is now.", body = TokenAnswer),
        AnyRefusal,
        NotFound,
        BodyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn update_token(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<TokenAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    let body = incoming.json().await?;
    let mut fields = Fields::of(body.as_ref())?;
    let name = fields.text("name");
    fields.finish()?;
    let id = incoming.parameter(TOKEN_SEGMENT)?;
    // A token that is found has its identity and its token auth above it, or it would not be found.
    let placed = infisical.token(&id).await?;
    let Placed { token, identity } = placed.ok_or_else(|| error::no_token(&id))?;
    bearer.require(Permission::Edit)?;
    bearer.reach(
        Permission::CreateToken,
        "Failed to update token for identity with more privileged role",
    )?;
    bearer.guard(&identity.body)?;
    let name = name.ok_or_else(error::nothing_to_update)?;
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(error::too_long());
    }
    let update = Update {
        selection: Selection::of(token.id),
        edit: Edit {
            name: Field::Set(name),
            // The same name again is a change too: it moves the token to the head of the list.
            touch: true,
            ..Edit::default()
        },
        guard: Guard::Nothing,
    };
    let updated = infisical.engine().update(&bearer.caller, update).await?;
    let Some(token) = updated.tokens.first() else {
        return Err(error::no_token(&id));
    };
    let ids = [token.id];
    let usage = infisical.engine().usage(&bearer.caller, &ids).await?;
    Ok(TokenAnswer {
        token: AccessToken::of(token, usage.get(&token.id))?,
    })
}
