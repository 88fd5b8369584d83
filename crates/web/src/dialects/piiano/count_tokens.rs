//! `GET /data/collections/{collection}/count/tokens`: how many tokens a collection has.
//!
//! The one thing a newcomer would get wrong: entries are counted, not ids: a token that two objects share counts twice.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::Vault;
use super::answers::Count;
use super::call::{Call, answer};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/data/collections/{collection}/count/tokens",
    operation_id = "get-tokens-count",
    tag = "Tokens",
    summary = "Count tokens",
    description = "How many tokens of the collection are active and archived. One entry is counted for each object that \
                   shares a token ID.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        Purpose,
    ),
    responses(
        (status = 200, description = "The numbers", body = Count),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing", body = HttpError),
        (status = 404, description = "The collection is not found", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let name = call.collection_name()?;
    let reason = Purpose::read(&call.query()?)?;
    call.justify(reason)?;
    let collection = call.collection(&name).await?;
    let engine = &call.vault.engine;
    let count = engine.count(&call.caller, collection.id).await?;
    Ok(answer(&Count {
        active: count.live,
        archived: count.ended,
        total: count.live + count.ended,
    }))
}
