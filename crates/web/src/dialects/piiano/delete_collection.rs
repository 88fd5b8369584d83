//! `DELETE /ctl/collections/{collection}`: a collection goes with everything in it, at once.
//!
//! The one thing a newcomer would get wrong: it is one row. What hangs from it is dead from that moment and is purged
//! later; a new collection of the same name has another id and is empty.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::Error;
use engine::error::Missing;

use super::Vault;
use super::call::{Call, nothing};
use super::error::{AnyRefusal, Failure, HttpError};

#[utoipa::path(
    delete,
    path = "/api/pvlt/1.0/ctl/collections/{collection}",
    operation_id = "delete-collection",
    tag = "Collections",
    summary = "Delete a collection",
    description = "Deletes a collection with its objects and tokens, irreversibly.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("custom_audit" = Option<String>, Query, description = "A text for the audit trail"),
    ),
    responses(
        (status = 200, description = "The collection is deleted"),
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
    let query = call.query()?;
    call.note_audit(&query)?;
    let collection = call.collection(&name).await?;
    let engine = &call.vault.engine;
    match engine.delete_record(&call.caller, collection.id).await {
        // Somebody else was faster.
        Err(Error::NotFound(Missing::Record { .. })) => Err(Failure::no_collection()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(nothing()),
    }
}
