//! `GET /api/v1/auth/token-auth/identities/{identityId}/tokens`: an identity's tokens, by pages.
//!
//! The one thing a newcomer would get wrong: the last changed comes first, so that a rename moves a token to the head of
//! the first page. Revoked and expired tokens are in the list until they are purged.

use axum::extract::State;
use axum::response::Response;
use std::cmp::Reverse;

use engine::permission::Action;
use engine::selection::{Selection, Which};

use super::detach_token_auth::NOT_ATTACHED;
use super::document::{AnyRefusal, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::roles::Permission;
use super::schema::{NUMBER_MAX, query_number};
use super::wire::{AccessToken, Refusal, TokensAnswer};
use super::{AUTH_IDENTITY_SEGMENT, Infisical};

/// List Tokens
///
/// The last changed comes first; revoked and expired ones are among them.
#[utoipa::path(
    get,
    path = "/api/v1/auth/token-auth/identities/{identityId}/tokens",
    operation_id = "getTokenAuthTokens",
    tag = "Token Auth",
    params(("identityId" = String, Path, description = "The id of the identity."), ("offset" = String, Query, description = "How many to leave out; 0 unless said otherwise."), ("limit" = String, Query, description = "How many to show, 1 to 100; 20 unless said otherwise.")),
    responses(
        (status = 200, description = "A page of tokens.", body = TokensAnswer),
        (status = 422, description = "The body or query breaks rules; `message` lists them.", body = Refusal),
        AnyRefusal,
        NotFound,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn list_tokens(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<TokensAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json().await?;
    let mut issues = Vec::new();
    let offset = incoming.query("offset")?;
    let offset = query_number(offset.as_deref(), "offset", 0, 0, NUMBER_MAX, &mut issues);
    let limit = incoming.query("limit")?;
    let limit = query_number(limit.as_deref(), "limit", 20, 1, 100, &mut issues);
    if !issues.is_empty() {
        return Err(error::unprocessable(issues));
    }
    let id = incoming.parameter(AUTH_IDENTITY_SEGMENT)?;
    let identity = infisical.identity(&id).await?;
    let identity = identity.ok_or_else(|| error::no_identity(&id))?;
    let auth = infisical.token_auth(identity.id).await?;
    let auth = auth.ok_or_else(|| error::bad_request(NOT_ATTACHED))?;
    bearer.require(Permission::Read)?;
    bearer.guard(&identity.body)?;
    let selection = Selection {
        owners: vec![auth.id],
        which: Which::Any,
        ..Selection::default()
    };
    let engine = infisical.engine();
    // The order is by the last change, which no index has: at most as many as one call may touch are sorted.
    let found = engine
        .find(&bearer.caller, Action::Read, &selection)
        .await?;
    let mut tokens = found.tokens;
    tokens.sort_by_key(|token| Reverse((token.updated_at, token.id)));
    let total_count = tokens.len();
    let page: Vec<_> = tokens
        .into_iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect();
    let ids: Vec<_> = page.iter().map(|token| token.id).collect();
    let usage = engine.usage(&bearer.caller, &ids).await?;
    let shown = page
        .iter()
        .map(|token| AccessToken::of(token, usage.get(&token.id)));
    Ok(TokensAnswer {
        tokens: shown.collect::<Result<_, _>>()?,
        total_count,
    })
}
