//! `GET /ctl/collections`: all collections, in order of creation.
//!
//! The one thing a newcomer would get wrong: a list in PVSchema is the schemas one after the other, not an array.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::Vault;
use super::call::Call;
use super::collections::Showing;
use super::error::{AnyRefusal, Failure, HttpError};
use super::records::{self, CollectionBody};
use super::vocabulary::schema::Collection;

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/ctl/collections",
    operation_id = "list-collections",
    tag = "Collections",
    summary = "List collections",
    params(Showing),
    responses(
        (status = 200, description = "All collections", content(
            (Vec<Collection> = "application/json"),
            (String = "application/pvschema"),
        )),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let query = call.query()?;
    let showing = Showing::read(&call, &query)?;
    call.note_audit(&query)?;
    let engine = &call.vault.engine;
    let mut collections = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = engine
            .list_records(&call.caller, records::COLLECTION, after)
            .await?;
        for record in &page {
            collections.push(CollectionBody::read(record)?.collection);
        }
        if next.is_none() {
            return Ok(showing.all(&collections));
        }
        after = next;
    }
}
