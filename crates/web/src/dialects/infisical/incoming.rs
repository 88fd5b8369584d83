//! A request as the handlers of this dialect get it, and the answer to it.
//!
//! The one thing a newcomer would get wrong: credentials come before the body. So the body stays unread until a handler asks
//! for it, which is after it has asked who calls; nobody makes the server wait for a mebibyte without credentials.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;

use super::error::{self, WireError};
use crate::kit::body::{self, BodyError};
use crate::kit::json;
use crate::kit::path::{decode, raw_segment};
use crate::kit::trace::{ClientAddress, RefusalReason, Trace};

/// Bytes of a body at the most, as with the product.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Characters of the random part of a request's id.
const REQUEST_ID_CHARS: usize = 14;

/// One request.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Its method.
    pub method: Method,
    /// Its path, without a trailing slash.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// From where it came.
    pub address: Option<IpAddr>,
    /// What is known of it beside its answer.
    pub trace: Trace,
    /// Until it is read. (A body cannot be shared, a request is.)
    body: Mutex<Option<Body>>,
}

/// What the `Authorization` header holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization<'a> {
    /// Nothing: no header, or an empty one.
    Absent,
    /// A scheme or a token of a kind that is not taken here.
    Unsupported,
    /// What stands behind `Bearer`.
    Bearer(&'a str),
}

impl Incoming {
    /// The credentials of the request.
    pub(super) fn authorization(&self) -> Authorization<'_> {
        let Some(value) = self.headers.get(header::AUTHORIZATION) else {
            return Authorization::Absent;
        };
        let Ok(text) = value.to_str() else {
            return Authorization::Unsupported;
        };
        let text = text.trim();
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        if text.is_empty() {
            Authorization::Absent
        } else if scheme.eq_ignore_ascii_case("bearer") && !rest.starts_with("st.") {
            Authorization::Bearer(rest)
        } else {
            Authorization::Unsupported
        }
    }

    /// Reads the body as JSON; `None` if there is none. To be asked for once, after the credentials.
    ///
    /// # Errors
    /// 400, 413, 415.
    pub(super) async fn json(&self) -> Result<Option<Value>, WireError> {
        let unread = self
            .body
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(body) = unread else {
            return Ok(None);
        };
        let bytes = match body::read(body, BODY_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(BodyError::TooLarge) => return Err(error::too_large()),
            Err(BodyError::Broken) => return Err(error::bad_request("The body broke off")),
        };
        if bytes.is_empty() {
            // Clients send such with a content type of JSON, of a form, or of nothing.
            return Ok(None);
        }
        if !self.is_json() {
            return Err(error::media_type());
        }
        let parsed = json::strict(&bytes).map(Some);
        parsed.map_err(|error| error::bad_request(format!("The body is not valid JSON: {error}")))
    }

    fn is_json(&self) -> bool {
        let content_type = self.headers.get(header::CONTENT_TYPE);
        let text = content_type.and_then(|value| value.to_str().ok());
        let essence = text.and_then(|text| text.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    }

    /// A parameter in the path, by the number of its segment.
    ///
    /// # Errors
    /// 400 if its escapes are broken.
    pub(super) fn parameter(&self, segment: usize) -> Result<String, WireError> {
        decode(raw_segment(&self.uri, segment))
            .map_err(|_| error::bad_request("Malformed URL encoding in path parameters"))
    }

    /// The last value of a parameter in the query.
    ///
    /// # Errors
    /// 400 if its escapes are broken.
    pub(super) fn query(&self, name: &str) -> Result<Option<String>, WireError> {
        let mut found = None;
        for pair in self.uri.query().unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if key == name {
                let value = decode(&value.replace('+', " "));
                found = Some(value.map_err(|_| {
                    error::bad_request("Malformed URL encoding in query parameters")
                })?);
            }
        }
        Ok(found)
    }

    /// The id of the request, as the product writes one: from the one in the log.
    pub(super) fn id(&self) -> String {
        let random: String = self.trace.id().chars().take(REQUEST_ID_CHARS).collect();
        format!("req-{random}")
    }
}

impl<S: Sync> FromRequest<S> for Incoming {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let address = parts.extensions.get::<ClientAddress>();
        let trace = parts.extensions.get::<Trace>();
        Ok(Self {
            address: address.and_then(|address| address.0),
            // Outside the doors (in tests of single parts) there is nobody to follow the request.
            trace: trace.cloned().unwrap_or_else(|| Trace::new(String::new())),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: Mutex::new(Some(body)),
        })
    }
}

/// The response: success is 200 everywhere, and a refusal says the id of its request.
pub(super) fn respond<T: Serialize>(
    incoming: &Incoming,
    outcome: Result<T, WireError>,
) -> Response {
    match outcome {
        Ok(answer) => json_response(StatusCode::OK, &answer),
        Err(refusal) => {
            let id = incoming.id();
            if refusal.status.is_server_error() {
                let request = incoming.trace.id();
                tracing::error!(request, id, "answered with an error");
            }
            let mut response = json_response(refusal.status, &refusal.body(&id));
            let reason = RefusalReason(refusal_code(&refusal));
            response.extensions_mut().insert(reason);
            if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
                let headers = response.headers_mut();
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}

/// The word for the audit trail; the one that repeats a path is cut before it.
fn refusal_code(refusal: &WireError) -> String {
    let word = refusal.error.split(' ').next();
    word.unwrap_or_default().to_owned()
}

/// A JSON answer.
pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body)
        .expect("answers have only texts, numbers, booleans and lists, which all serialize");
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn incoming(headers: &[(&str, &str)], body: impl Into<Body>) -> Incoming {
        let mut request = Request::builder().uri("/api/v1/x/a%20b?limit=5&limit=6&empty=");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let Ok(incoming) = Incoming::from_request(request, &()).await;
        incoming
    }

    #[tokio::test]
    async fn headers_of_every_client_are_understood() {
        for (value, expected) in [
            ("", Authorization::Absent),
            ("  ", Authorization::Absent),
            ("Bearer", Authorization::Bearer("")),
            ("bearer abc", Authorization::Bearer("abc")),
            ("Basic abc", Authorization::Unsupported),
            ("Bearer st.abc", Authorization::Unsupported),
        ] {
            let incoming = incoming(&[("authorization", value)], "").await;
            assert_eq!(incoming.authorization(), expected, "{value}");
        }
        assert_eq!(
            incoming(&[], "").await.authorization(),
            Authorization::Absent
        );
    }

    #[tokio::test]
    async fn bodies_are_read_when_they_are_asked_for() {
        let json = ("content-type", "application/json");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let status = async |header, body: &'static str| {
            let incoming = incoming(&[header], body).await;
            let read = incoming.json().await;
            read.map_err(|error| error.status.as_u16())
        };
        assert_eq!(status(json, "").await, Ok(None));
        assert_eq!(status(form, "").await, Ok(None));
        assert_eq!(status(form, "a=b").await, Err(415));
        for bad in ["{", r#"{"name":"a","name":"b"}"#, r#""\ud800""#] {
            assert_eq!(status(json, bad).await, Err(400), "{bad}");
        }
        let large = incoming(&[json], "x".repeat(BODY_BYTES_MAX + 1)).await;
        assert_eq!(large.json().await.unwrap_err().status, 413);
    }

    #[tokio::test]
    async fn paths_and_queries_are_decoded() {
        let incoming = incoming(&[], "").await;
        assert_eq!(incoming.parameter(3).unwrap(), "a b");
        assert_eq!(incoming.query("limit").unwrap().as_deref(), Some("6"));
        assert_eq!(incoming.query("empty").unwrap().as_deref(), Some(""));
        assert_eq!(incoming.query("offset").unwrap(), None);
    }
}
