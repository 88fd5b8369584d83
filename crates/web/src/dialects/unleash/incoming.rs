//! A request as the handlers of this dialect get it: its body read and parsed, its headers at hand.
//!
//! The one thing a newcomer would get wrong: a body that says it is JSON is parsed before anything else, credentials
//! included, so that an anonymous malformed body is 400 and not 401. Any other body is left unread, and refused with 415
//! only where a schema wants one, after credentials and permissions.

use std::net::IpAddr;

use axum::extract::{FromRequest, OriginalUri, Request};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::error::{self, WireError};
use super::frontend;
use super::schema::{BODY_BYTES_MAX, BodyKind, body_kind, parse_body};
use super::secret::{Presented, Undecodable, decode_parameter, presented};
use crate::kit::body::{self, BodyError};
use crate::kit::path::{is_below, raw_segment};
use crate::kit::trace::{ClientAddress, Trace};

/// The paths on which `Bearer` may stand before a secret, and that of the frontend API.
const API: &str = "/api";

/// One request.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Its method.
    pub method: Method,
    /// Its path, without a trailing slash.
    pub uri: Uri,
    /// Its path as it was sent, for texts that repeat it.
    pub sent_path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// From where it came.
    pub address: Option<IpAddr>,
    /// What is known of it beside its answer.
    pub trace: Trace,
    body: ParsedBody,
}

/// What became of a body.
#[derive(Debug)]
enum ParsedBody {
    /// It is JSON, or there is none.
    Json(Value),
    /// It is something else.
    Unread,
}

impl Incoming {
    /// The body, where a schema wants one.
    ///
    /// # Errors
    /// 415 if it is not JSON.
    pub(super) fn json(&self, id: impl FnOnce() -> Uuid) -> Result<&Value, WireError> {
        match &self.body {
            ParsedBody::Json(value) if self.is_json() => Ok(value),
            ParsedBody::Json(_) | ParsedBody::Unread => Err(error::content_type(
                id(),
                self.header(&header::CONTENT_TYPE).as_deref(),
            )),
        }
    }

    fn is_json(&self) -> bool {
        let content_type = self.header(&header::CONTENT_TYPE);
        body_kind(content_type.as_deref()) == BodyKind::Json
    }

    /// The credentials of the request.
    pub(super) fn presented(&self) -> Presented {
        let sent = self.headers.get(header::AUTHORIZATION);
        let bearer = is_below(self.uri.path(), API);
        presented(sent.map(axum::http::HeaderValue::as_bytes), bearer)
    }

    /// A parameter in the path, by the number of its segment.
    ///
    /// # Errors
    /// 400 if its escapes are broken; it is then repeated as it was sent.
    pub(super) fn parameter(&self, segment: usize) -> Result<String, WireError> {
        let raw = raw_segment(&self.uri, segment);
        decode_parameter(raw).map_err(|Undecodable| error::undecodable_parameter(raw))
    }

    /// A header's lines joined by commas; bytes that are no text count as absent.
    pub(super) fn header(&self, name: &header::HeaderName) -> Option<String> {
        let lines = self.headers.get_all(name).iter();
        let texts: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    async fn read(request: Request) -> Result<Self, WireError> {
        let (parts, body) = request.into_parts();
        let original = parts.extensions.get::<OriginalUri>();
        let mut incoming = Self {
            sent_path: original.map_or(&parts.uri, |uri| &uri.0).path().to_owned(),
            address: parts
                .extensions
                .get::<ClientAddress>()
                .and_then(|address| address.0),
            // Outside the doors (in tests of single parts) there is nobody to follow the request.
            trace: parts
                .extensions
                .get::<Trace>()
                .cloned()
                .unwrap_or_else(|| Trace::new(String::new())),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: ParsedBody::Json(json!({})),
        };
        let has_body = incoming.headers.contains_key(header::CONTENT_LENGTH)
            || incoming.headers.contains_key(header::TRANSFER_ENCODING);
        let content_type = incoming.header(&header::CONTENT_TYPE);
        incoming.body = match body_kind(content_type.as_deref()) {
            _ if !has_body => ParsedBody::Json(json!({})),
            BodyKind::Other => ParsedBody::Unread,
            BodyKind::JsonInOtherCharset(charset) => {
                return Err(error::unsupported_charset(&charset));
            }
            BodyKind::Json => {
                if let Some(encoding) = incoming.header(&header::CONTENT_ENCODING)
                    && !encoding.eq_ignore_ascii_case("identity")
                {
                    return Err(error::unsupported_encoding(&encoding));
                }
                let bytes =
                    body::read(body, BODY_BYTES_MAX)
                        .await
                        .map_err(|error| match error {
                            BodyError::TooLarge => error::too_large(),
                            BodyError::Broken => error::malformed_json("request aborted"),
                        })?;
                ParsedBody::Json(parse_body(&bytes).map_err(|malformed| malformed.to_error())?)
            }
        };
        Ok(incoming)
    }
}

impl<S: Sync> FromRequest<S> for Incoming {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let of_a_page = is_below(request.uri().path(), frontend::PREFIX);
        Self::read(request).await.map_err(|error| {
            let refused = Answer::from(error).into_response();
            if of_a_page {
                frontend::for_pages(refused)
            } else {
                refused
            }
        })
    }
}

/// A request whose method looks as if it changed something and that does not: its refusal is no refused change.
#[derive(Debug)]
pub(super) struct Reading(pub Incoming);

impl<S: Sync> FromRequest<S> for Reading {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if let Some(trace) = request.extensions().get::<Trace>() {
            trace.reads_only();
        }
        Incoming::from_request(request, state).await.map(Self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Body;

    async fn read(headers: &[(&str, &str)], body: &'static str) -> Result<Incoming, WireError> {
        let mut request = Request::builder()
            .method("PUT")
            .uri("/api/admin/api-tokens/a%2Fb");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let length = body.len().to_string();
        let request = request.header("content-length", length);
        Incoming::read(request.body(Body::from(body)).unwrap()).await
    }

    #[tokio::test]
    async fn json_is_parsed_first_and_nothing_else_is_read() {
        let json = ("content-type", "application/json; charset=utf-8");
        let incoming = read(&[json], r#"{"a":1}"#).await.unwrap();
        assert_eq!(incoming.json(Uuid::nil).unwrap()["a"], 1);
        assert_eq!(incoming.parameter(3).unwrap(), "a/b");
        assert_eq!(read(&[json], "{").await.unwrap_err().status, 400);
        let other = read(&[("content-type", "text/plain")], "{").await.unwrap();
        assert_eq!(other.json(Uuid::nil).unwrap_err().status, 415);
        assert_eq!(
            read(&[], "{")
                .await
                .unwrap()
                .json(Uuid::nil)
                .unwrap_err()
                .status,
            415
        );
    }

    #[tokio::test]
    async fn encodings_that_are_not_read_are_said_to_be() {
        let json = ("content-type", "application/json");
        for (name, value) in [
            ("content-encoding", "gzip"),
            ("content-type", "application/json; charset=latin1"),
        ] {
            let headers = [json, (name, value)];
            let headers = if name == "content-type" {
                &headers[1..]
            } else {
                &headers[..]
            };
            assert_eq!(
                read(headers, "{}").await.unwrap_err().status,
                415,
                "{value}"
            );
        }
        let same = read(&[json, ("content-encoding", "identity")], "{}").await;
        assert!(same.unwrap().json(Uuid::nil).is_ok());
    }

    #[tokio::test]
    async fn without_a_body_json_is_an_empty_object_and_anything_else_still_no_json() {
        let request = |content_type: &str| {
            let builder = Request::builder()
                .uri("/api/x")
                .header("content-type", content_type);
            Incoming::read(builder.body(Body::empty()).unwrap())
        };
        let json = request("application/json").await.unwrap();
        assert_eq!(json.json(Uuid::nil).unwrap(), &json!({}));
        let text = request("text/plain").await.unwrap();
        assert_eq!(text.json(Uuid::nil).unwrap_err().status, 415);
    }
}
