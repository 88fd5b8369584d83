//! `POST /data/collections/{collection}/query/tokens`: the metadata of tokens, of every type.
//!
//! The one thing a newcomer would get wrong: it is a POST that changes nothing, and it has no pages in this product.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::permission::Action;

use super::Vault;
use super::answers::TokenMetadata;
use super::call::{Call, answer};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::metadata::Groups;
use super::requests::QueryToken;
use super::selecting::{ARCHIVED, Unknown, which};

#[utoipa::path(
    post,
    path = "/api/pvlt/1.0/data/collections/{collection}/query/tokens",
    operation_id = "search-tokens",
    tag = "Tokens",
    summary = "Search tokens",
    description = "The metadata of all tokens that match every given criterion, one item for each token ID with one entry \
                   for each object that shares it.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("options" = Option<Vec<String>>, Query, description = "archived: only archived tokens; include_aggregated_data: accepted, always shown"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
    ),
    request_body = QueryToken,
    responses(
        (status = 200, description = "The metadata, by creation; empty if nothing matches", body = Vec<TokenMetadata>),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "The collection or an object is not found", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    call.trace.reads_only();
    let body = call.json().await?;
    let selecting = QueryToken::read(&body)?;
    selecting.require_any()?;
    let name = call.collection_name()?;
    let query = call.query()?;
    let options = query.options(&[ARCHIVED, "include_aggregated_data"])?;
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;

    let collection = call.collection(&name).await?;
    let selection = selecting
        .resolve(&call, &collection, which(&options), Unknown::Refuse)
        .await?;
    let Some(selection) = selection else {
        return Ok(answer(&Vec::<TokenMetadata>::new()));
    };
    let engine = &call.vault.engine;
    let found = engine.find(&call.caller, Action::Read, &selection).await?;
    let groups = Groups::of(&found, &call.caller, call.now);
    let shown = groups
        .matched
        .iter()
        .map(|(value, matched)| groups.metadata(*value, matched))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(answer(&shown))
}
