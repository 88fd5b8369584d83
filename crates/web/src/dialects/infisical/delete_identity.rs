//! `DELETE /api/v1/identities/{identityId}`: the identity goes, and with it everything that hangs from it.
//!
//! The one thing a newcomer would get wrong: protection is a question to a caller who deletes by mistake, not a lock: who
//! may delete may also take it off. So it is looked at before the write, and one that is set at the same moment may come
//! too late.

use axum::extract::State;
use axum::response::Response;
use engine::Error;
use engine::error::Missing;

use super::error::{self, WireError};
use super::get_identity::unknown_identity;
use super::incoming::{Incoming, respond};
use super::roles::Permission;
use super::wire::{IdentityAnswer, Refusal};
use super::{IDENTITY_SEGMENT, Infisical};

/// Delete Identity
///
/// All its tokens are refused from the next request on.
#[utoipa::path(
    delete,
    path = "/api/v1/identities/{identityId}",
    operation_id = "deleteIdentity",
    tag = "Identities",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    responses(
        (status = 200, description = "What was deleted.", body = IdentityAnswer),
        (status = 400, description = "The call makes no sense here; `message` says why.", body = Refusal),
        (status = 401, description = "No credentials, or none that are in force.", body = Refusal),
        (status = 403, description = "The JWT is bad, the caller may not do this, or not from this address.", body = Refusal),
        (status = 404, description = "There is no such thing in the caller's organization.", body = Refusal),
        (status = 503, description = "The store does not answer.", body = Refusal),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn delete_identity(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<IdentityAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json()?;
    let id = incoming.parameter(IDENTITY_SEGMENT)?;
    let identity = infisical.identity(&id).await?;
    let identity = identity.ok_or_else(|| unknown_identity(&id))?;
    bearer.require(Permission::Delete)?;
    bearer.guard(&identity.body)?;
    if identity.body.has_delete_protection {
        return Err(error::bad_request("Identity has delete protection"));
    }
    let attached = infisical.token_auth(identity.id).await?.is_some();
    let engine = infisical.engine();
    match engine.delete_record(&bearer.caller, identity.id).await {
        Ok(_) => Ok(IdentityAnswer::of(identity, infisical.realm(), attached)),
        Err(Error::NotFound(Missing::Record { .. })) => Err(unknown_identity(&id)),
        Err(error) => Err(error.into()),
    }
}
