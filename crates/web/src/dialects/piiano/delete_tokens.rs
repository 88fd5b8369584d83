//! `DELETE /data/collections/{collection}/tokens`: tokens go at once and for good.
//!
//! The one thing a newcomer would get wrong: `tenant_id` only narrows a selection, it is none by itself; and a second
//! delete of the same tokens is a 404.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::selection::Selection;

use super::Vault;
use super::call::{Call, nothing};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::requests::QueryToken;
use super::selecting::{ARCHIVED, Unknown, which};

#[utoipa::path(
    delete,
    path = "/api/pvlt/1.0/data/collections/{collection}/tokens",
    operation_id = "delete-tokens",
    tag = "Tokens",
    summary = "Delete tokens",
    description = "Deletes all tokens that match every given criterion, irreversibly.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("token_ids" = Option<Vec<String>>, Query, description = "Tokens with any of these IDs"),
        ("object_ids" = Option<Vec<uuid::Uuid>>, Query, description = "Tokens of any of these objects"),
        ("tags" = Option<Vec<String>>, Query, description = "Tokens with at least all of these tags"),
        ("tenant_id" = Option<String>, Query, description = "Only tokens of this tenant; beside one of the others"),
        ("options" = Option<Vec<String>>, Query, description = "archived: only archived tokens, instead of only active ones"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
    ),
    responses(
        (status = 200, description = "All matching tokens are deleted"),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "Nothing matches, or the collection is not found", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let name = call.collection_name()?;
    let query = call.query()?;
    let selecting = QueryToken::from_query(&query)?;
    let tenant = query
        .scalar("tenant_id")?
        .filter(|tenant| !tenant.is_empty())
        .map(str::to_owned);
    if tenant.is_some() && selecting.is_empty() {
        let rule = "must be given beside token_ids, object_ids or tags";
        return Err(Failure::invalid("tenant_id", rule));
    }
    let options = query.options(&[ARCHIVED])?;
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;

    let collection = call.collection(&name).await?;
    let selection = selecting
        .resolve(&call, &collection, which(&options), Unknown::MatchNothing)
        .await?
        .ok_or_else(Failure::no_token)?;
    let selection = Selection {
        tenant,
        ..selection
    };
    let deleted = call.vault.engine.delete(&call.caller, selection).await?;
    if deleted.is_empty() {
        return Err(Failure::no_token());
    }
    Ok(nothing())
}
