//! `DELETE /api/v1/identities/{identityId}`: the identity goes, and with it everything that hangs from it.
//!
//! The one thing a newcomer would get wrong: protection is asked twice. Before the write for the order of refusals, and by
//! the write itself, so that one whose setting was answered holds.

use axum::extract::State;
use axum::response::Response;
use engine::Error;
use engine::error::Missing;
use engine::record::Record;
use engine::verbs::update::Guard;

use super::document::{AnyRefusal, NotFound, StoreAway};
use super::error::WireError;
use super::get_identity::unknown_identity;
use super::incoming::{Incoming, respond};
use super::records::{Identity, Known};
use super::roles::Permission;
use super::wire::IdentityAnswer;
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
        AnyRefusal,
        NotFound,
        StoreAway,
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
    incoming.json().await?;
    let id = incoming.parameter(IDENTITY_SEGMENT)?;
    let identity = infisical.identity(&id).await?;
    let identity = identity.ok_or_else(|| unknown_identity(&id))?;
    bearer.require(Permission::Delete)?;
    bearer.guard(&identity.body)?;
    unless_protected(&identity.body)?;
    let attached = infisical.token_auth(identity.id).await?.is_some();
    // Asked once more by the write: a protection that came meanwhile holds.
    let guard = Guard::check(|record: &Record| unless_protected(&Known::of(record)?.body));
    let deleted = infisical
        .engine()
        .delete_record_if(&bearer.caller, identity.id, guard)
        .await;
    match deleted {
        Ok(record) => Ok(IdentityAnswer::of(
            Known::of(&record)?,
            infisical.realm(),
            attached,
        )),
        Err(Error::NotFound(Missing::Record { .. })) => Err(unknown_identity(&id)),
        Err(error) => Err(error.into()),
    }
}

fn unless_protected(identity: &Identity) -> Result<(), Error> {
    if identity.has_delete_protection {
        let message = "Identity has delete protection";
        Err(Error::invalid("hasDeleteProtection", message))
    } else {
        Ok(())
    }
}
