//! `GET /ctl/collections/{collection}`: one collection.
//!
//! The one thing a newcomer would get wrong: names are case-sensitive, although no two may differ only in case.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::Vault;
use super::call::Call;
use super::collections::Showing;
use super::error::{AnyRefusal, Failure, HttpError};
use super::vocabulary::schema::Collection;

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/ctl/collections/{collection}",
    operation_id = "get-collection",
    tag = "Collections",
    summary = "Get a collection",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        Showing,
    ),
    responses(
        (status = 200, description = "The collection", content(
            (Collection = "application/json"),
            (String = "application/pvschema"),
        )),
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
    let showing = Showing::read(&call, &query)?;
    call.note_audit(&query)?;
    let collection = call.collection(&name).await?;
    Ok(showing.one(&collection.schema))
}
