//! `GET /data/collections/{collection}/objects/{id}`: what one object holds.
//!
//! The one thing a newcomer would get wrong: the caller must say what it wants to see, by `props` or by `unsafe` (all
//! there is), and never by both. A property without a value is left out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value};

use super::Vault;
use super::call::{Call, answer};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::selecting::ARCHIVED;
use super::values::{ID, Properties, View};
use super::vocabulary::builtin;
use super::vocabulary::schema::Collection;

const UNSAFE: &str = "unsafe";
const SHOW_BUILTINS: &str = "show_builtins";

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/data/collections/{collection}/objects/{id}",
    operation_id = "get-object-by-id",
    tag = "Objects",
    summary = "Get an object",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("id" = uuid::Uuid, Path, description = "The object's ID"),
        ("props" = Option<Vec<String>>, Query, description = "Properties to show, each optionally with a transformer (ssn.mask)"),
        ("options" = Option<Vec<String>>, Query, description = "unsafe: all properties; show_builtins: with unsafe, the vault's own too; archived: only an archived object"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
        ("X-Trans-Param" = Option<String>, Header, description = "Accepted; no built-in transformer takes a parameter"),
    ),
    responses(
        (status = 200, description = "Property → value", body = std::collections::HashMap<String, Value>),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "The collection, the object or a property is not found", body = HttpError),
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
    let selectors = View::parse(&query.list("props")?)?;
    let options = query.options(&[UNSAFE, SHOW_BUILTINS, ARCHIVED])?;
    let whole = options.contains(&UNSAFE);
    let builtins = options.contains(&SHOW_BUILTINS);
    if whole != selectors.is_empty() {
        let rule = "must be given, or options=unsafe, but not both";
        return Err(Failure::invalid("props", rule));
    }
    if builtins && !whole {
        return Err(Failure::invalid(
            "options",
            "has show_builtins only beside unsafe",
        ));
    }
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;

    let collection = call.collection(&name).await?;
    let archived = options.contains(&ARCHIVED);
    let object = call.find_object(&collection, id, archived).await?;
    let record = object.record.id;
    let mut contents = call.contents(&[record]).await?;
    let properties = object.with_builtins(contents.remove(&record).unwrap_or_default());
    let shown = if whole {
        all(&collection.schema, &properties, builtins)
    } else {
        View::resolve(&collection.schema, selectors)?.show(&properties)
    };
    Ok(answer(&shown))
}

/// The id, the users' properties in the order of the schema, and the vault's own if asked for.
fn all(schema: &Collection, properties: &Properties, builtins: bool) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut show = |name: &str| {
        if let Some(value) = properties.get(name) {
            shown.insert(name.to_owned(), value.clone());
        }
    };
    show(ID);
    for property in &schema.properties {
        show(&property.name);
    }
    for name in builtin::names().filter(|name| builtins && *name != ID) {
        show(name);
    }
    shown
}
