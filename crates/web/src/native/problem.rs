//! Problem details (RFC 9457): how the house says that something went wrong.
//!
//! The one thing to know: the engine's errors become problems here, in one `match` without `_`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::Error;
use engine::error::Conflict;
use serde_json::json;

use crate::kit::trace::RefusalReason;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// What went wrong and what to do, for the caller.
    pub detail: String,
}

impl Problem {
    /// Shorthand.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// 422: what was sent breaks a rule.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// Something is there, but not for this method.
    pub fn wrong_method(path: &str) -> Self {
        let detail = format!("{path} does not answer this method");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    /// Nothing is there.
    pub fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            // The expected version stands in the request as a precondition.
            Error::Conflict(Conflict::Version { .. }) => StatusCode::PRECONDITION_FAILED,
            Error::Conflict(Conflict::Taken { .. } | Conflict::Busy) => StatusCode::CONFLICT,
            Error::Gone => StatusCode::GONE,
            Error::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Unavailable | Error::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
            .extensions_mut()
            .insert(RefusalReason(title.to_owned()));
        response
    }
}
