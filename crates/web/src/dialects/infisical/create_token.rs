//! `POST /api/v1/auth/token-auth/identities/{identityId}/tokens`: a new access token.
//!
//! The one thing a newcomer would get wrong: `expiresIn` is what is configured, 0 included; when the token really ends
//! stands in `tokenData` and in the JWT.

use axum::extract::State;
use axum::response::Response;
use engine::Error;

use super::detach_token_auth::NOT_ATTACHED;
use super::document::{AnyRefusal, BodyRefusal, CreateTokenRequest, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::minting::NewToken;
use super::roles::Permission;
use super::schema::{Fields, NAME_CHARS_MAX};
use super::wire::{AccessToken, NewTokenAnswer};
use super::{AUTH_IDENTITY_SEGMENT, Infisical};

/// Create Token
///
/// The only answer with the token itself.
#[utoipa::path(
    post,
    path = "/api/v1/auth/token-auth/identities/{identityId}/tokens",
    operation_id = "createTokenAuthToken",
    tag = "Token Auth",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    request_body(content = CreateTokenRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The new token.", body = NewTokenAnswer),
        AnyRefusal,
        NotFound,
        BodyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn create_token(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<NewTokenAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    let body = incoming.json().await?;
    let mut fields = Fields::of(body.as_ref())?;
    let name = fields.text("name");
    let slug = fields.text("organizationSlug");
    if slug.as_deref().is_some_and(|slug| !is_slug(slug)) {
        fields.custom("organizationSlug", "Invalid slug");
    }
    fields.finish()?;
    let id = incoming.parameter(AUTH_IDENTITY_SEGMENT)?;
    let identity = infisical.identity(&id).await?;
    let identity = identity.ok_or_else(|| error::no_identity(&id))?;
    let auth = infisical.token_auth(identity.id).await?;
    let auth = auth.ok_or_else(|| error::bad_request(NOT_ATTACHED))?;
    bearer.require(Permission::Edit)?;
    bearer.reach(
        Permission::CreateToken,
        "Failed to create token for identity with more privileged role",
    )?;
    bearer.guard(&identity.body)?;
    if let Some(slug) = &slug {
        bearer.same_slug(slug)?;
    }
    if name
        .as_ref()
        .is_some_and(|name| name.chars().count() > NAME_CHARS_MAX)
    {
        return Err(error::too_long());
    }
    let (issue, jwt) = infisical.mint_token(NewToken {
        parent: auth.id,
        auth: &auth.body,
        restricted: auth.restricted,
        identity: identity.id,
        identity_name: &identity.body.name,
        name,
        expires_at: None,
    })?;
    let token = match infisical.engine().issue(&bearer.caller, issue).await {
        Ok(token) => token,
        // Detached meanwhile.
        Err(Error::NotFound(_)) => return Err(error::bad_request(NOT_ATTACHED)),
        Err(error) => return Err(error.into()),
    };
    Ok(NewTokenAnswer {
        access_token: jwt.expose().to_owned(),
        expires_in: auth.body.ttl_secs,
        access_token_max_ttl: auth.body.ttl_secs_max,
        token_type: "Bearer",
        token_data: AccessToken::of(&token, None)?,
    })
}

fn is_slug(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_words_joined_by_dashes() {
        assert!(is_slug("acme-1a2b"));
        for bad in ["", "-", "a--b", "Acme", "a b", "a-"] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
