//! `GET /api/v1/identities/details`: what an identity may know of itself, whatever its role.
//!
//! The one thing a newcomer would get wrong: clients ask this to learn whether a token is good, so it needs no permission.

use super::Infisical;
use super::document::{AnyRefusal, StoreAway};
use super::error::WireError;
use super::incoming::{Incoming, respond};
use super::wire::{Details, DetailsAnswer, WireOrganization};
use axum::extract::State;
use axum::response::Response;

/// Identity details
///
/// The organization of the identity whose token is shown.
#[utoipa::path(
    get,
    path = "/api/v1/identities/details",
    operation_id = "getIdentityDetails",
    tag = "Identities",
    responses(
        (status = 200, description = "Where it belongs.", body = DetailsAnswer),
        AnyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn identity_details(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<DetailsAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json().await?;
    let organization = bearer.organization;
    Ok(DetailsAnswer {
        identity_details: Details {
            organization: WireOrganization::of(organization.body, infisical.realm()),
        },
    })
}
