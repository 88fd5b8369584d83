//! One request on its way from bytes to checked input, in the order in which this product checks.
//!
//! The one thing a newcomer would get wrong: the order is part of the answer. First the key (401); then everything that
//! the request alone decides, body before path before query (400 PV1012); then the reason; then the collection (404).
//! A handler calls these methods in that order.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use engine::caller::Caller;
use engine::clock::Timestamp;
use engine::record::RecordId;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::caller::{self, Purpose};
use super::error::Failure;
use super::records::{self, CollectionBody};
use super::vocabulary::query::Query;
use super::vocabulary::schema::{self, Collection};
use super::{BODY_BYTES_MAX, Vault};
use crate::kit;
use crate::kit::trace::Trace;

/// What `Content-Type` a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/json`, also when nothing is said.
    Json,
    /// `application/pvschema`.
    PvSchema,
}

/// One request with a good key.
pub(super) struct Call {
    pub(super) vault: Arc<Vault>,
    /// When it began. Answers show this instant, which lies before the client sees them.
    pub(super) now: Timestamp,
    pub(super) caller: Caller,
    pub(super) trace: Trace,
    headers: HeaderMap,
    uri: Uri,
    /// Never locked: a body alone may not be shared between threads, and handlers share the call.
    body: Mutex<Body>,
}

/// A collection that is there.
pub(super) struct OpenCollection {
    pub(super) id: RecordId,
    pub(super) schema: Collection,
}

impl Call {
    /// The key comes first: without a good one nothing of the request is looked at.
    pub(super) async fn begin(vault: Arc<Vault>, request: Request) -> Result<Self, Failure> {
        let now = vault.engine.now();
        let (parts, body) = request.into_parts();
        let trace = parts
            .extensions
            .get::<Trace>()
            .cloned()
            .unwrap_or_else(|| Trace::new("untraced".to_owned()));
        let caller = caller::recognise(&vault, &parts.headers, &parts.extensions, &trace).await?;
        Ok(Self {
            vault,
            now,
            caller,
            trace,
            headers: parts.headers,
            uri: parts.uri,
            body: Mutex::new(body),
        })
    }

    /// The body's type. Nothing said is JSON.
    pub(super) fn media(&self) -> Result<Media, Failure> {
        let Some(value) = self.headers.get(header::CONTENT_TYPE) else {
            return Ok(Media::Json);
        };
        let essence = value.to_str().unwrap_or("?").split(';').next();
        match essence
            .map(|text| text.trim().to_ascii_lowercase())
            .as_deref()
        {
            Some("application/json" | "") => Ok(Media::Json),
            Some("application/pvschema") => Ok(Media::PvSchema),
            _ => Err(Failure::invalid("Content-Type", "is not supported")),
        }
    }

    /// The body, whole.
    pub(super) async fn bytes(&mut self) -> Result<Bytes, Failure> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let body = std::mem::take(body);
        Ok(kit::body::read(body, BODY_BYTES_MAX).await?)
    }

    /// The body as JSON without duplicate keys.
    pub(super) async fn json(&mut self) -> Result<Value, Failure> {
        if self.media()? != Media::Json {
            return Err(Failure::invalid("Content-Type", "must be application/json"));
        }
        let bytes = self.bytes().await?;
        parse(&bytes)
    }

    /// The collection that the path names.
    pub(super) fn collection_name(&self) -> Result<String, Failure> {
        let name = kit::path::segment(&self.uri, COLLECTION_SEGMENT).unwrap_or_default();
        if schema::is_collection_name(&name) {
            Ok(name)
        } else {
            let rule = "must be a letter, then letters, digits and underscores, at most 40";
            Err(Failure::invalid("collection", rule))
        }
    }

    /// The object that the path names.
    pub(super) fn object_id(&self) -> Result<Uuid, Failure> {
        let text = kit::path::segment(&self.uri, OBJECT_SEGMENT).unwrap_or_default();
        uuid(&text).ok_or_else(|| Failure::invalid("id", "must be a UUID"))
    }

    /// The query.
    pub(super) fn query(&self) -> Result<Query, Failure> {
        Ok(Query::parse(self.uri.query().unwrap_or_default())?)
    }

    /// Restricts the call to the tenants of its header.
    pub(super) fn restrict(&mut self) -> Result<(), Failure> {
        self.caller.tenants = caller::tenants(&self.headers)?;
        Ok(())
    }

    /// Notes why the call is made.
    pub(super) fn justify(&mut self, reason: Purpose) -> Result<(), Failure> {
        let required = self.vault.settings.reason_required;
        self.caller.reason = Some(reason.judge(required)?);
        Ok(())
    }

    /// Whether the answer is to be PVSchema: by `format`, else by `Accept`.
    pub(super) fn shown_as(&self, query: &Query) -> Result<Media, Failure> {
        match query.scalar("format")?.filter(|format| !format.is_empty()) {
            Some("json") => return Ok(Media::Json),
            Some("pvschema") => return Ok(Media::PvSchema),
            Some(_) => return Err(Failure::invalid("format", "must be json or pvschema")),
            None => {}
        }
        let accepted = self.headers.get_all(header::ACCEPT).iter();
        let asked = accepted
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|range| range.split(';').next())
            .map(|range| range.trim().to_ascii_lowercase())
            .find_map(|range| match range.as_str() {
                "application/pvschema" => Some(Media::PvSchema),
                "application/json" => Some(Media::Json),
                _ => None,
            });
        Ok(asked.unwrap_or(Media::Json))
    }

    /// The collection of this name, exactly as it was written.
    pub(super) async fn collection(&self, name: &str) -> Result<OpenCollection, Failure> {
        let place = records::collection_place(name);
        let found = self.vault.engine.find_record(&self.caller, place).await?;
        let record = found.ok_or_else(Failure::no_collection)?;
        let schema = CollectionBody::read(&record)?.collection;
        if schema.name != name {
            return Err(Failure::no_collection());
        }
        Ok(OpenCollection {
            id: record.id,
            schema,
        })
    }
}

/// `/api/pvlt/1.0/{plane}/collections/{collection}/…`
const COLLECTION_SEGMENT: usize = 5;
/// `/api/pvlt/1.0/data/collections/{collection}/objects/{id}`
const OBJECT_SEGMENT: usize = 7;

pub(super) fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    kit::json::strict(bytes)
        .map_err(|error| Failure::invalid("body", &format!("is no JSON: {error}")))
}

/// A UUID with dashes, in any case.
pub(super) fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

/// A successful answer in JSON.
pub(super) fn answer(body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            Failure::internal().into_response()
        }
    }
}

/// A successful answer without a body. It must not claim to be JSON: the official client would try to parse it.
pub(super) fn nothing() -> Response {
    StatusCode::OK.into_response()
}
