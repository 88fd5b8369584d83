//! `POST /data/collections/{collection}/objects`: a new object.
//!
//! The one thing a newcomer would get wrong: it must be complete. A token may be made of a single property, but an object
//! has a value for each that cannot be null.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Vault;
use super::call::{Call, answer};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::values::Given;
use super::vocabulary::expiration::Expiration;

/// An object that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Added {
    /// Its ID.
    id: Uuid,
}

#[utoipa::path(
    post,
    path = "/api/pvlt/1.0/data/collections/{collection}/objects",
    operation_id = "add-object",
    tag = "Objects",
    summary = "Add an object",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("expiration_secs" = Option<String>, Query, description = "Seconds until the object expires; empty: never; absent: the configured default"),
        ("import" = Option<bool>, Query, description = "Not served yet: 501 if true"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
    ),
    request_body(content = std::collections::HashMap<String, serde_json::Value>, description = "Property → value; `id` and `_tenant_id` may be among them"),
    responses(
        (status = 200, description = "The object's ID", body = Added),
        (status = 400, description = "The request is invalid, or a value does not fit its type", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "The collection or a property is not found", body = HttpError),
        (status = 409, description = "The ID or a unique value is taken", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let body = call.json().await?;
    let fields = body
        .as_object()
        .ok_or_else(|| Failure::invalid("body", "must be an object"))?;
    let name = call.collection_name()?;
    let query = call.query()?;
    let refuse = |rule: &str| Failure::invalid("expiration_secs", rule);
    let given = Expiration::parse(query.scalar("expiration_secs")?, call.now)
        .map_err(|error| refuse(&error.to_string()))?;
    let expires_at = match given {
        Expiration::Absent => call.vault.settings.object_life.counted_from(call.now),
        Expiration::Never => Ok(None),
        Expiration::At(at) => Ok(Some(at)),
        Expiration::Immediately => return Err(refuse("must not be 0")),
    };
    let expires_at = expires_at.map_err(|error| refuse(&error.to_string()))?;
    let import = query.boolean("import")?.unwrap_or(false);
    if !import
        && query
            .scalar("export_key")?
            .is_some_and(|key| !key.is_empty())
    {
        return Err(Failure::invalid("export_key", "must come with import"));
    }
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;
    if import {
        return Err(Failure::not_implemented());
    }

    let collection = call.collection(&name).await?;
    let given = Given::read(&collection.schema, fields, &call.vault.settings.values)?;
    let new = call.new_object(&collection, &given, expires_at)?;
    let engine = &call.vault.engine;
    engine.create_record(&call.caller, new.record).await?;
    Ok(answer(&Added { id: new.body.id }))
}
