//! What the collection calls share: reading one, and showing them as JSON or PVSchema.
//!
//! The one thing a newcomer would get wrong: Vault's own properties are stored with no collection. They are added when
//! one is shown under `show_builtins`, and a request that lists them is only compared with them.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use super::call::{Call, Media, answer, parse};
use super::caller;
use super::error::Failure;
use super::vocabulary::draft::CollectionDraft;
use super::vocabulary::pvschema;
use super::vocabulary::query::Query;
use super::vocabulary::schema::Collection;

const SHOW_BUILTINS: &str = "show_builtins";

/// How collections are to be shown.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Showing {
    /// json (the default) or pvschema; outweighs `Accept`.
    #[param(value_type = Option<String>)]
    format: Media,
    /// show_builtins: the vault's own properties too.
    #[param(value_type = Option<Vec<String>>)]
    options: bool,
    /// A text for the audit trail.
    #[param(value_type = Option<String>)]
    #[allow(dead_code, reason = "read with the caller; described here")]
    custom_audit: (),
}

impl Showing {
    pub(super) fn read(call: &Call, query: &Query) -> Result<Self, Failure> {
        Ok(Self {
            format: call.shown_as(query)?,
            options: !query.options(&[SHOW_BUILTINS])?.is_empty(),
            custom_audit: (),
        })
    }

    fn shown(self, collection: &Collection) -> Collection {
        if self.options {
            collection.with_builtins()
        } else {
            collection.clone()
        }
    }

    pub(super) fn one(self, collection: &Collection) -> Response {
        let shown = self.shown(collection);
        match self.format {
            Media::Json => answer(&shown),
            Media::PvSchema => text(pvschema::print(&shown)),
        }
    }

    pub(super) fn all(self, collections: &[Collection]) -> Response {
        let shown: Vec<Collection> = collections.iter().map(|one| self.shown(one)).collect();
        match self.format {
            Media::Json => answer(&shown),
            Media::PvSchema => text(pvschema::print_all(&shown)),
        }
    }
}

fn text(schema: String) -> Response {
    ([(header::CONTENT_TYPE, "application/pvschema")], schema).into_response()
}

/// A collection as the body describes it, in either notation.
pub(super) fn draft(media: Media, bytes: &[u8]) -> Result<CollectionDraft, Failure> {
    match media {
        Media::Json => Ok(CollectionDraft::from_json(&parse(bytes)?)?),
        Media::PvSchema => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Failure::invalid("body", "must be UTF-8"))?;
            pvschema::parse(text)
                .map_err(|error| Failure::invalid("body", &format!("is no PVSchema: {error}")))
        }
    }
}

impl Call {
    /// Notes the text for the audit trail, the only reason that a call of the control plane has.
    pub(super) fn note_audit(&mut self, query: &Query) -> Result<(), Failure> {
        self.caller.reason = caller::custom_audit(query)?;
        Ok(())
    }
}
