//! `DELETE /data/collections/{collection}/objects/{id}`: an object goes for good, and its tokens with it.
//!
//! The one thing a newcomer would get wrong: its tokens are not looked for. They hang from the object's row and are dead
//! with it, for the very next request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::Error;
use engine::error::Missing;

use super::Vault;
use super::call::{Call, nothing};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::selecting::ARCHIVED;

#[utoipa::path(
    delete,
    path = "/api/pvlt/1.0/data/collections/{collection}/objects/{id}",
    operation_id = "delete-object-by-id",
    tag = "Objects",
    summary = "Delete an object",
    description = "Deletes an object and its tokens, irreversibly.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("id" = uuid::Uuid, Path, description = "The object's ID"),
        ("options" = Option<Vec<String>>, Query, description = "archived: only an archived object"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
    ),
    responses(
        (status = 200, description = "The object is deleted"),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "The collection or the object is not found", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let name = call.collection_name()?;
    let id = call.object_id()?;
    let query = call.query()?;
    let archived = !query.options(&[ARCHIVED])?.is_empty();
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;

    let collection = call.collection(&name).await?;
    let object = call.find_object(&collection, id, archived).await?;
    let engine = &call.vault.engine;
    match engine.delete_record(&call.caller, object.record.id).await {
        // Somebody else was faster.
        Err(Error::NotFound(Missing::Record { .. })) => {
            Err(Failure::no_objects([id.to_string().as_str()]))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(nothing()),
    }
}
