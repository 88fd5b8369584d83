//! `GET /data/collections/{collection}/tokens`: what tokens stand for.
//!
//! The one thing a newcomer would get wrong: nothing found is no error here. Unknown, archived and one-way tokens are left
//! out silently, and `options=archived` is refused: an archived token is readable again only after an update restores it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::permission::Action;
use engine::record::RecordId;
use engine::selection::Which;
use engine::value::Value;
use engine::verbs::find::Found;

use super::Vault;
use super::answers::DetokenizedToken;
use super::call::{Call, answer};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::metadata::Groups;
use super::objects::StoredObject;
use super::records::TokenBody;
use super::requests::{QueryToken, TokenType};
use super::selecting::Unknown;
use super::values::{Properties, View, show_all};

const METADATA: &str = "include_metadata";
const AGGREGATED: &str = "include_aggregated_data";

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/data/collections/{collection}/tokens",
    operation_id = "detokenize",
    tag = "Tokens",
    summary = "Detokenize",
    description = "The values of all active tokens that match every given criterion, one row for each token ID. Tokens that \
                   are unknown, archived or of type pci_oneway are left out.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("token_ids" = Option<Vec<String>>, Query, description = "Tokens with any of these IDs"),
        ("object_ids" = Option<Vec<uuid::Uuid>>, Query, description = "Tokens of any of these objects, all of which must exist"),
        ("tags" = Option<Vec<String>>, Query, description = "Tokens with at least all of these tags"),
        ("props" = Option<Vec<String>>, Query, description = "Properties to show, each optionally with a transformer (ssn.mask); all if absent"),
        ("options" = Option<Vec<String>>, Query, description = "include_metadata, include_aggregated_data"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
    ),
    responses(
        (status = 200, description = "The rows, by creation; empty if nothing matches", body = Vec<DetokenizedToken>),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "The collection, an object or a property is not found", body = HttpError),
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
    let selectors = View::parse(&query.list("props")?)?;
    let options = query.options(&[METADATA, AGGREGATED])?;
    selecting.require_any()?;
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;

    let collection = call.collection(&name).await?;
    let selection = selecting
        .resolve(&call, &collection, Which::Live, Unknown::Refuse)
        .await?;
    let found = match selection {
        Some(selection) => {
            let engine = &call.vault.engine;
            engine
                .find(&call.caller, Action::Reveal, &selection)
                .await?
        }
        None => Found {
            tokens: Vec::new(),
            rows: engine::store::Rows::default(),
        },
    };
    let view = if selectors.is_empty() {
        None
    } else {
        Some(View::resolve(&collection.schema, selectors)?)
    };
    let groups = Groups::of(&found, &call.caller, call.now);
    let pointed = pointed_at(&call, &found, &groups).await?;
    let mut rows = Vec::with_capacity(groups.matched.len());
    for (id, matched) in &groups.matched {
        let value = found.rows.values.get(id).ok_or_else(Failure::internal)?;
        if value.class == TokenType::PciOneway.name() {
            continue;
        }
        let properties = match value.refers_to {
            Some(object) => {
                let body = TokenBody::read(value)?;
                pointed
                    .get(&object)
                    .map(|held| held.only(&body.props))
                    .unwrap_or_default()
            }
            None => opened(&call, value)?,
        };
        rows.push(DetokenizedToken {
            token_id: value.external_id.clone().ok_or_else(Failure::internal)?,
            fields: match &view {
                Some(view) => view.show(&properties),
                None => show_all(&properties),
            },
            metadata: if options.is_empty() {
                None
            } else {
                Some(groups.metadata(*id, matched)?)
            },
        });
    }
    Ok(answer(&rows))
}

fn opened(call: &Call, value: &Value) -> Result<Properties, Failure> {
    let bytes = call.vault.engine.open(value)?;
    Ok(Properties::from_canonical(&bytes)?)
}

/// What the objects of the matched pointers hold now.
async fn pointed_at(
    call: &Call,
    found: &Found,
    groups: &Groups<'_>,
) -> Result<BTreeMap<RecordId, Properties>, Failure> {
    let mut objects: Vec<RecordId> = groups
        .matched
        .iter()
        .filter_map(|(id, _)| found.rows.values.get(id)?.refers_to)
        .collect();
    objects.sort_unstable();
    objects.dedup();
    if objects.is_empty() {
        return Ok(BTreeMap::new());
    }
    let contents = call.contents(&objects).await?;
    let held = contents.into_iter().map(|(id, properties)| {
        let record = found.rows.records.get(&id).ok_or_else(Failure::internal)?;
        let object = StoredObject::read(record.clone())?;
        Ok((id, object.with_builtins(properties)))
    });
    held.collect()
}
