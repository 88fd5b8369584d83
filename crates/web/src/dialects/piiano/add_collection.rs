//! `POST /ctl/collections`: a new collection, described in JSON or PVSchema.
//!
//! The one thing a newcomer would get wrong: a collection without properties is legal.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::verbs::records::NewRecord;

use super::Vault;
use super::call::Call;
use super::collections::{Showing, draft};
use super::error::{AnyRefusal, Failure, HttpError};
use super::records::{self, CollectionBody};
use super::vocabulary::schema::Collection;

#[utoipa::path(
    post,
    path = "/api/pvlt/1.0/ctl/collections",
    operation_id = "add-collection",
    tag = "Collections",
    summary = "Add a collection",
    params(Showing),
    request_body(content(
        (Collection = "application/json"),
        (String = "application/pvschema"),
    )),
    responses(
        (status = 200, description = "The collection", content(
            (Collection = "application/json"),
            (String = "application/pvschema"),
        )),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing", body = HttpError),
        (status = 404, description = "A data type is not found", body = HttpError),
        (status = 409, description = "A collection of this name exists", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let media = call.media()?;
    let bytes = call.bytes().await?;
    let draft = draft(media, &bytes)?;
    let query = call.query()?;
    let showing = Showing::read(&call, &query)?;
    call.note_audit(&query)?;
    let collection = Collection::create(&draft, &call.now.to_string())?;
    let engine = &call.vault.engine;
    let id = engine.new_record_id();
    let body = records::write(&CollectionBody::new(collection.clone()));
    let new = NewRecord {
        locators: vec![records::collection_place(&collection.name)],
        ..NewRecord::new(id, records::COLLECTION, body)
    };
    engine.create_record(&call.caller, new).await?;
    Ok(showing.one(&collection))
}
