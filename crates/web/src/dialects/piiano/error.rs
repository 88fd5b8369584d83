//! What is answered when something is refused: the product's four-key body, and the border to the engine's errors.
//!
//! The one thing a newcomer would get wrong: `context` is always an object from string to string, never absent and
//! never null, and clients look for the *code* in the text. No `PV` number is invented: where the product's code is not
//! known, a code of our own (`TH…`) says what happened. Neither message nor context ever holds a value or a secret.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::Error;
use engine::error::{Conflict, Forbidden, Missing};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoResponses, ToSchema};

use super::records;
use super::vocabulary::query::{QueryError, QueryErrorKind};
use super::vocabulary::schema::{SchemaError, SchemaErrorKind};
use crate::kit::body::BodyError;
use crate::kit::trace::RefusalReason;

/// What any call may be refused with, beside what its own description says.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described, never built")]
pub(super) enum AnyRefusal {
    /// The key is missing or wrong
    #[response(status = 401)]
    Unauthenticated(HttpError),
    /// The body is too large, or too many tokens match
    #[response(status = 413)]
    TooLarge(HttpError),
    /// What is asked for is not served yet: delegation, encrypted objects, imports, objects that belong to others
    #[response(status = 501)]
    NotServed(HttpError),
    /// The store does not answer
    #[response(status = 503)]
    Away(HttpError),
}

/// The body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HttpError {
    /// Which rule, for programs.
    #[schema(example = "PV3009")]
    error_code: String,
    /// What is wrong, for people.
    #[schema(example = "The token is not found.")]
    message: String,
    /// Names and ids that the message is about; may be empty.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    context: Map<String, Value>,
    /// Where the code is explained.
    error_url: String,
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    context: Vec<(String, String)>,
}

/// Our own codes; the dialect's README explains each.
pub(super) mod own {
    pub(in super::super) const BODY_TOO_LARGE: &str = "TH1001";
    pub(in super::super) const QUERY_TOO_LONG: &str = "TH1002";
    pub(in super::super) const TOO_MANY: &str = "TH1003";
    pub(in super::super) const TOKEN_ID_TAKEN: &str = "TH2001";
    pub(in super::super) const TRANSACTION_USED: &str = "TH2002";
    pub(in super::super) const TAG_NOT_UNIQUE: &str = "TH2003";
    pub(in super::super) const COLLECTION_EXISTS: &str = "TH2004";
    pub(in super::super) const OBJECT_EXISTS: &str = "TH2005";
    pub(in super::super) const VALUE_NOT_UNIQUE: &str = "TH2006";
    pub(in super::super) const TAKEN: &str = "TH2009";
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            context: Vec::new(),
        }
    }

    pub(super) fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.push((key.into(), value.into()));
        self
    }

    /// The request has not the documented shape, or breaks a rule that has no code of its own. Names the field;
    /// `rule` ends a sentence that begins with it.
    pub(super) fn invalid(field: &str, rule: &str) -> Self {
        let field: String = field.chars().take(Self::FIELD_CHARS_MAX).collect();
        let message = format!("The request is invalid: {field} {rule}.");
        Self::new(StatusCode::BAD_REQUEST, "PV1012", message).with(field, rule)
    }

    pub(super) fn unauthorized() -> Self {
        let message = "The request is unauthorized.";
        Self::new(StatusCode::UNAUTHORIZED, "PV1005", message)
    }

    pub(super) fn no_capability() -> Self {
        let message = "The operation is forbidden due to missing capabilities.";
        Self::new(StatusCode::FORBIDDEN, "PV1007", message)
    }

    pub(super) fn policy() -> Self {
        let message = "The operation is forbidden due to a policy violation.";
        Self::new(StatusCode::FORBIDDEN, "PV1006", message)
    }

    pub(super) fn reason_missing() -> Self {
        let message = "The access reason is missing.";
        Self::new(StatusCode::BAD_REQUEST, "PV1001", message).with("reason", "")
    }

    pub(super) fn reason_unknown() -> Self {
        let message = "The access reason is invalid.";
        Self::new(StatusCode::BAD_REQUEST, "PV1002", message)
    }

    pub(super) fn no_collection() -> Self {
        let message = "The collection is not found.";
        Self::new(StatusCode::NOT_FOUND, "PV1004", message)
    }

    pub(super) fn no_token() -> Self {
        Self::new(StatusCode::NOT_FOUND, "PV3009", "The token is not found.")
    }

    pub(super) fn no_objects<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let ids = ids.into_iter().collect::<Vec<_>>().join(",");
        let message =
            format!("One or more Objects is not found: {ids}. For more details, view the logs.");
        Self::new(StatusCode::NOT_FOUND, "PV3005", message).with("ids", ids)
    }

    pub(super) fn no_property(name: &str) -> Self {
        let message = format!("The property {name} is not found.");
        Self::new(StatusCode::NOT_FOUND, "PV3004", message).with("property", name)
    }

    pub(super) fn no_values(object: &str) -> Self {
        let message = "One or more values are invalid.";
        Self::new(StatusCode::NOT_FOUND, "PV3003", message).with("objectid", object)
    }

    /// `rule` ends a sentence that begins with "must".
    pub(super) fn bad_value(property: &str, rule: &str) -> Self {
        let message = format!("The value of property {property} must {rule}.");
        Self::new(StatusCode::BAD_REQUEST, "PV3002", message).with("property", property)
    }

    pub(super) fn not_implemented() -> Self {
        let message = "This operation is not implemented.";
        Self::new(StatusCode::NOT_IMPLEMENTED, "PV2001", message)
    }

    pub(super) fn internal() -> Self {
        let message = "Something went wrong";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "PV1000", message)
    }
}

/// The border between the engine and this product: each case has its status and code.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthenticated(_) => Self::unauthorized(),
            Error::Forbidden(Forbidden::Action { class: None, .. }) => Self::no_capability(),
            Error::Forbidden(
                Forbidden::Action { class: Some(_), .. }
                | Forbidden::Tenant
                | Forbidden::Itself
                | Forbidden::Address,
            ) => Self::policy(),
            Error::NotFound(Missing::Token) => Self::no_token(),
            Error::NotFound(Missing::Record { kind }) => match kind.as_ref() {
                // What the engine calls what hangs below: the object was there when it was looked up.
                "owner" | "record" => Self::no_objects([]),
                _ => Self::no_collection(),
            },
            Error::Invalid { field, message } => {
                let field = match field {
                    "unique_tags" => "ensure_unique_tenant_tags",
                    "external_id" => "token_id",
                    "data" => "object",
                    "expires_at" => "expiration_secs",
                    other => other,
                };
                Self::invalid(field, &format!("is refused: {message}"))
            }
            Error::Conflict(Conflict::Taken { space }) => Self::taken(&space),
            Error::Conflict(Conflict::Version { .. } | Conflict::Busy) => {
                let message = "Concurrent conflicting updates to the same object.";
                Self::new(StatusCode::CONFLICT, "PV3218", message)
            }
            Error::Gone => Self::new(StatusCode::GONE, "PV1033", "The resource is gone."),
            Error::TooMany { what, max } => {
                let message = format!("One call may concern at most {max} {what}.");
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, own::TOO_MANY, message)
                    .with("maximum", max.to_string())
            }
            Error::Unavailable => {
                let message = "The operation timed out on the server.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "PV1009", message)
            }
            Error::OutcomeUnknown => {
                let message = "The operation timed out on the server and may have been done: look before you repeat it.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "PV1009", message)
            }
            Error::Internal => Self::internal(),
        }
    }
}

impl Failure {
    /// Characters of a foreign field name that an answer repeats.
    const FIELD_CHARS_MAX: usize = 100;

    /// A key that somebody living holds, by the space of its locator.
    fn taken(space: &str) -> Self {
        let (code, message) = match space {
            "external" => (own::TOKEN_ID_TAKEN, "The token ID is taken."),
            "unique-tag" => (
                own::TAG_NOT_UNIQUE,
                "A tag that must be unique is carried by another token of the tenant.",
            ),
            records::TRANSACTION_SPACE => {
                (own::TRANSACTION_USED, "The transaction ID has been used.")
            }
            records::COLLECTION_SPACE => (
                own::COLLECTION_EXISTS,
                "A collection of this name exists, or one that differs only in case.",
            ),
            records::OBJECT_SPACE => (own::OBJECT_EXISTS, "An object with this ID exists."),
            records::UNIQUE_SPACE => (
                own::VALUE_NOT_UNIQUE,
                "Another object has the value of a property that is unique.",
            ),
            _ => (own::TAKEN, "A key that must be unique is taken."),
        };
        Self::new(StatusCode::CONFLICT, code, message)
    }

    fn url(&self) -> String {
        if self.code.starts_with("PV") {
            format!("https://docs.piiano.com/api/error-codes#{}", self.code)
        } else {
            // Not one of the product's codes, so not one of its pages.
            format!("urn:tokenhouse:piiano:error#{}", self.code)
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error.kind {
            QueryErrorKind::TooMany if error.parameter.is_empty() => {
                let message = format!("The query is too long: {}.", error.message);
                Self::new(StatusCode::URI_TOO_LONG, own::QUERY_TOO_LONG, message)
            }
            QueryErrorKind::TooMany | QueryErrorKind::Invalid => {
                let parameter = if error.parameter.is_empty() {
                    "query"
                } else {
                    &error.parameter
                };
                Self::new(StatusCode::BAD_REQUEST, "PV1012", error.to_string())
                    .with(parameter, error.message.clone())
            }
        }
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        match error.kind {
            SchemaErrorKind::CollectionName => {
                let message = format!("The collection name is invalid: {}.", error.message);
                Self::new(StatusCode::BAD_REQUEST, "PV1008", message).with("name", error.message)
            }
            SchemaErrorKind::UnknownDataType => {
                let message = "The data type is not found.";
                Self::new(StatusCode::NOT_FOUND, "PV1004", message).with("property", error.field)
            }
            SchemaErrorKind::Shape | SchemaErrorKind::PropertyExists | SchemaErrorKind::Rule => {
                let message = format!("The request is invalid: {error}.");
                Self::new(StatusCode::BAD_REQUEST, "PV1012", message)
                    .with(error.field, error.message)
            }
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => {
                let message = format!("A body has at most {} bytes.", super::BODY_BYTES_MAX);
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, own::BODY_TOO_LARGE, message)
            }
            BodyError::Broken => Self::invalid("body", "broke off"),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let context = self
            .context
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)));
        let body = HttpError {
            error_code: self.code.to_owned(),
            message: self.message.clone(),
            context: context.collect(),
            error_url: self.url(),
        };
        let text = serde_json::to_string(&body).expect("strings are JSON");
        let mut response = (self.status, text).into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        let reason = RefusalReason(self.code.to_owned());
        response.extensions_mut().insert(reason);
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use engine::permission::Action;

    use super::*;

    async fn shown(failure: Failure) -> (u16, Value) {
        let response = failure.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let status = response.status().as_u16();
        let bytes = crate::kit::body::read(response.into_body(), 10_000).await;
        (status, serde_json::from_slice(&bytes.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a_body_has_exactly_the_four_keys() {
        let id = "5d9ae0e1-0000-4000-8000-000000000000";
        assert_eq!(
            shown(Failure::no_objects([id])).await,
            (
                404,
                json!({
                    "error_code": "PV3005",
                    "message": format!("One or more Objects is not found: {id}. For more details, view the logs."),
                    "context": {"ids": id},
                    "error_url": "https://docs.piiano.com/api/error-codes#PV3005",
                })
            )
        );
        let (_, body) = shown(Failure::no_token()).await;
        assert_eq!(body["context"], json!({}));
    }

    #[tokio::test]
    async fn every_case_of_the_engine_has_its_status_and_code() {
        let forbidden = |class: Option<&str>| {
            Error::Forbidden(Forbidden::Action {
                action: Action::Update,
                class: class.map(str::to_owned),
            })
        };
        let taken = |space: &'static str| {
            Error::Conflict(Conflict::Taken {
                space: space.into(),
            })
        };
        for (error, status, code) in [
            (
                Error::Unauthenticated(engine::error::Unauthenticated::Expired),
                401,
                "PV1005",
            ),
            (forbidden(None), 403, "PV1007"),
            (forbidden(Some("pci")), 403, "PV1006"),
            (Error::Forbidden(Forbidden::Tenant), 403, "PV1006"),
            (Error::NotFound(Missing::Token), 404, "PV3009"),
            (Error::no_record("container"), 404, "PV1004"),
            (Error::no_record("owner"), 404, "PV3005"),
            (Error::invalid("tags", "too many"), 400, "PV1012"),
            (taken("external"), 409, "TH2001"),
            (taken("piiano.transaction"), 409, "TH2002"),
            (taken("unique-tag"), 409, "TH2003"),
            (taken("piiano.collection"), 409, "TH2004"),
            (taken("piiano.object"), 409, "TH2005"),
            (taken("piiano.unique"), 409, "TH2006"),
            (taken("elsewhere"), 409, "TH2009"),
            (Error::Conflict(Conflict::Busy), 409, "PV3218"),
            (Error::Gone, 410, "PV1033"),
            (
                Error::TooMany {
                    what: "tokens",
                    max: 100_000,
                },
                413,
                "TH1003",
            ),
            (Error::Unavailable, 503, "PV1009"),
            (Error::OutcomeUnknown, 503, "PV1009"),
            (Error::Internal, 500, "PV1000"),
        ] {
            let (shown_status, body) = shown(error.clone().into()).await;
            assert_eq!(
                (shown_status, body["error_code"].as_str()),
                (status, Some(code)),
                "{error}"
            );
            let url = body["error_url"].as_str().unwrap();
            assert!(url.ends_with(&format!("#{code}")), "{url}");
            assert_eq!(url.starts_with("https:"), code.starts_with("PV"));
        }
    }

    #[tokio::test]
    async fn the_engines_words_for_fields_become_the_products() {
        for (engines, products) in [
            ("unique_tags", "ensure_unique_tenant_tags"),
            ("external_id", "token_id"),
            ("data", "object"),
            ("tags", "tags"),
        ] {
            let (_, body) = shown(Error::invalid(engines, "no").into()).await;
            assert!(body["context"][products].is_string(), "{body}");
        }
        let (_, body) = shown(Failure::invalid(&"x".repeat(5_000), "is unknown")).await;
        assert!(body.to_string().len() < 600);
    }
}
