//! A request as the handlers of this dialect get it, and how they answer it.
//!
//! The one thing a newcomer would get wrong: the body stays unread until the caller is known and permitted, so that nobody
//! can make the server read a mebibyte without credentials.

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::ID_SEGMENT;
use super::error::{Problem, ProblemType, Refusal};
use crate::kit::body::{self, BodyError};
use crate::kit::json;
use crate::kit::path::raw_segment;
use crate::kit::trace::{ClientAddress, Trace};

/// Bytes of a body. The largest documented entity has some 10 KiB; filters may be longer.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// One request without its body.
#[derive(Debug)]
pub(super) struct Call {
    /// Its method.
    pub method: Method,
    /// Its path, without a trailing slash, and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// From where it came.
    pub address: Option<IpAddr>,
    /// What is known of it beside its answer.
    pub trace: Trace,
}

impl Call {
    /// Takes a request apart.
    pub(super) fn open(request: Request) -> (Self, Body) {
        let (parts, body) = request.into_parts();
        let address = parts
            .extensions
            .get::<ClientAddress>()
            .and_then(|address| address.0);
        let trace = parts.extensions.get::<Trace>().cloned();
        let call = Self {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            address,
            // Outside the doors (in tests of single parts) there is nobody to follow the request.
            trace: trace.unwrap_or_else(|| Trace::new(String::new())),
        };
        (call, body)
    }

    /// The id in the path, as it was sent.
    pub(super) fn id(&self) -> &str {
        raw_segment(&self.uri, ID_SEGMENT)
    }

    /// The body, which must be a JSON object without duplicate keys.
    ///
    /// # Errors
    /// 413, 415, or 400, in this order.
    pub(super) async fn json(&self, body: Body) -> Result<Map<String, Value>, Refusal> {
        let malformed = |reason: &str| {
            let reason = format!("the body is no valid JSON: {reason}");
            Refusal::bad(Problem::new(ProblemType::IllegalArgument, reason))
        };
        let bytes = match body::read(body, BODY_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(BodyError::TooLarge) => {
                let reason = format!("a body has at most {BODY_BYTES_MAX} bytes");
                let problem = Problem::new(ProblemType::LessValueRequired, reason);
                return Err(Refusal::one(StatusCode::PAYLOAD_TOO_LARGE, problem));
            }
            Err(BodyError::Broken) => return Err(malformed("it broke off")),
        };
        if !self.says_json() {
            let reason = "the body must be application/json, in UTF-8 and not compressed";
            let problem = Problem::with(ProblemType::IllegalArgument, "Content-Type", reason);
            return Err(Refusal::one(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
        }
        let value = json::strict(&bytes).map_err(|error| malformed(&error.message))?;
        let Value::Object(object) = value else {
            let reason = "the body must be a JSON object";
            let problem = Problem::new(ProblemType::IncorrectDataType, reason);
            return Err(Refusal::bad(problem));
        };
        Ok(object)
    }

    fn says_json(&self) -> bool {
        let text = |name| {
            let value = self.headers.get(name);
            value.and_then(|value| value.to_str().ok())
        };
        if text(header::CONTENT_ENCODING).is_some_and(|one| !one.eq_ignore_ascii_case("identity")) {
            return false;
        }
        let mut parts = text(header::CONTENT_TYPE)
            .unwrap_or_default()
            .split(';')
            .map(str::trim);
        let json = parts
            .next()
            .is_some_and(|one| one.eq_ignore_ascii_case("application/json"));
        let readable = |parameter: &str| {
            let Some((name, value)) = parameter.split_once('=') else {
                return true;
            };
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        };
        json && parts.all(readable)
    }

    /// The answer to the call.
    pub(super) fn respond(&self, outcome: Result<Response, Refusal>) -> Response {
        outcome.unwrap_or_else(|refusal| self.refuse(&refusal))
    }

    /// The answer to a call that is refused. One that is our fault is logged under the id that the caller sees.
    pub(super) fn refuse(&self, refusal: &Refusal) -> Response {
        if refusal.status.is_server_error() {
            let request = self.trace.id();
            let status = refusal.status.as_u16();
            tracing::error!(request, status, "answered with an error");
        }
        // As the product's pages name their paths: without what stands before the version.
        let path = self.uri.path();
        let origin = path.strip_prefix("/api").unwrap_or(path);
        refusal.response(self.trace.id(), origin)
    }
}

/// A good answer.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, Json(body)).into_response()
}
