//! `GET /api/v1/identities/{identityId}`: an identity as a member of its organization.
//!
//! The one thing a newcomer would get wrong: the outer `id` is that of the membership; the identity's own stands in
//! `identityId` and in `identity.id`.

use super::document::{AnyRefusal, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::roles::Permission;
use super::wire::{Membership, MembershipAnswer};
use super::{IDENTITY_SEGMENT, Infisical};
use axum::extract::State;
use axum::response::Response;

/// Get Identity
///
/// The identity, its role and the ways to authenticate that it has.
#[utoipa::path(
    get,
    path = "/api/v1/identities/{identityId}",
    operation_id = "getIdentity",
    tag = "Identities",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    responses(
        (status = 200, description = "The identity.", body = MembershipAnswer),
        AnyRefusal,
        NotFound,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn get_identity(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<MembershipAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json().await?;
    let id = incoming.parameter(IDENTITY_SEGMENT)?;
    let identity = infisical.identity(&id).await?;
    let identity = identity.ok_or_else(|| unknown_identity(&id))?;
    bearer.require(Permission::Read)?;
    let attached = infisical.token_auth(identity.id).await?.is_some();
    Ok(MembershipAnswer {
        identity: Membership::of(identity, infisical.realm(), attached),
    })
}

/// 404 as the calls about identities say it: with a lower-case `id`.
pub(super) fn unknown_identity(id: &str) -> WireError {
    error::not_found(format!("Failed to find identity with id {id}"))
}
