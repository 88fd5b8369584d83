//! `GET /api/v1/identities?orgId=`: all identities of the organization.
//!
//! The one thing a newcomer would get wrong: the product has no pages here, so there is a limit beyond which the list is
//! refused; a list that were cut would be taken for the whole.

use axum::extract::State;
use axum::response::Response;
use engine::Error;
use serde_json::json;

use super::Infisical;
use super::document::{AnyRefusal, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::{IDENTITY, Identity, Known, token_auth_place};
use super::roles::Permission;
use super::wire::{Membership, MembershipsAnswer, Refusal};

/// Identities in one answer: about 5 MB of JSON.
const IDENTITIES_MAX: usize = 10_000;

/// List Identities
///
/// All of them, in order of creation; beyond 10000 the list is refused.
#[utoipa::path(
    get,
    path = "/api/v1/identities",
    operation_id = "listIdentities",
    tag = "Identities",
    params(("orgId" = String, Query, description = "The own organization.")),
    responses(
        (status = 200, description = "The identities.", body = MembershipsAnswer),
        (status = 422, description = "The body or query breaks rules; `message` lists them.", body = Refusal),
        AnyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn list_identities(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(
    infisical: &Infisical,
    incoming: &Incoming,
) -> Result<MembershipsAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    incoming.json().await?;
    let Some(organization) = incoming.query("orgId")? else {
        return Err(error::unprocessable(vec![json!({
            "code": "invalid_type", "expected": "string", "received": "undefined",
            "path": ["orgId"], "message": "Required",
        })]));
    };
    bearer.same_organization(&organization)?;
    bearer.require(Permission::Read)?;
    let engine = infisical.engine();
    let mut identities = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = engine.list_records(&bearer.caller, IDENTITY, after).await?;
        let places = page.iter().map(|record| token_auth_place(record.id));
        let found = engine
            .find_records(&bearer.caller, places.collect())
            .await?;
        for (record, auth) in page.iter().zip(found) {
            let identity = Known::<Identity>::of(record)?;
            identities.push(Membership::of(identity, infisical.realm(), auth.is_some()));
        }
        if identities.len() > IDENTITIES_MAX {
            let max = IDENTITIES_MAX;
            return Err(Error::TooMany {
                what: "identities in one list",
                max,
            }
            .into());
        }
        if next.is_none() {
            return Ok(MembershipsAnswer {
                total_count: identities.len(),
                identities,
            });
        }
        after = next;
    }
}
