//! Answers: a status, a body, and the headers that this product puts on every one.
//!
//! The one thing a newcomer would get wrong: *every* JSON answer has a weak entity tag, refusals too, but only a good
//! answer to GET or HEAD turns into 304. Empty answers have neither tag nor content type.

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::WireError;
use super::etag;
use super::incoming::Incoming;
use crate::kit::trace::RefusalReason;

const JSON: &str = "application/json; charset=utf-8";

/// An answer before it is known what the caller has already.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    /// A tag other than the usual one.
    strong: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    refusal: Option<String>,
}

impl Answer {
    fn new(status: StatusCode, content_type: Option<&'static str>, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type,
            body,
            strong: None,
            headers: Vec::new(),
            refusal: None,
        }
    }

    /// A JSON answer.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body)
            .expect("answers have only strings, numbers, booleans and lists, which all serialize");
        Self::new(status, Some(JSON), body)
    }

    /// A JSON answer whose bytes are there already.
    pub(super) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Self {
        Self::new(status, Some(JSON), body)
    }

    /// An answer without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::new(status, None, Vec::new())
    }

    /// A plain text.
    pub(super) fn text(status: StatusCode, content_type: &'static str, text: &str) -> Self {
        Self::new(status, Some(content_type), text.as_bytes().to_vec())
    }

    /// With a strong tag in place of the weak one. Its 304 says no tag, and no `Cache-Control` beats it.
    #[must_use]
    pub(super) fn tagged(mut self, etag: &str) -> Self {
        self.strong = Some(etag.to_owned());
        self
    }

    /// With one more header.
    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The response to a request, which may be 304.
    pub(super) fn to(self, incoming: &Incoming) -> Response {
        let reads = matches!(incoming.method, Method::GET | Method::HEAD);
        if !reads || !self.status.is_success() || self.content_type.is_none() {
            return self.into_response();
        }
        let known = incoming.header(&header::IF_NONE_MATCH);
        let fresh = if let Some(tag) = &self.strong {
            etag::is_fresh(known.as_deref(), None, tag)
        } else {
            let cache_control = incoming.header(&header::CACHE_CONTROL);
            let tag = etag::weak(&self.body);
            etag::is_fresh(known.as_deref(), cache_control.as_deref(), &tag)
        };
        if fresh {
            self.not_modified()
        } else {
            self.into_response()
        }
    }

    fn not_modified(mut self) -> Response {
        let tag = self.strong.is_none().then(|| etag::weak(&self.body));
        self.status = StatusCode::NOT_MODIFIED;
        self.content_type = None;
        self.body.clear();
        let mut response = self.into_response();
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(tag) = tag {
            headers.insert(header::ETAG, tag_value(&tag));
        }
        response
    }
}

/// The response to a request. A refusal that is our fault is logged under the id that the caller sees.
pub(super) fn respond(incoming: &Incoming, outcome: Result<Answer, WireError>) -> Response {
    let answer = outcome.unwrap_or_else(|refusal| {
        if refusal.status >= 500 {
            let request = incoming.trace.id();
            tracing::error!(request, error = refusal.id(), "answered with an error");
        }
        Answer::from(refusal)
    });
    answer.to(incoming)
}

fn tag_value(tag: &str) -> HeaderValue {
    HeaderValue::from_str(tag).expect("tags are hexadecimal and base64 in quotes")
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(content_type) = self.content_type {
            let tag = self.strong.unwrap_or_else(|| etag::weak(&self.body));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            headers.insert(header::ETAG, tag_value(&tag));
        }
        headers.extend(self.headers);
        if let Some(code) = self.refusal {
            response.extensions_mut().insert(RefusalReason(code));
        }
        *response.body_mut() = Body::from(self.body);
        response
    }
}

impl From<WireError> for Answer {
    fn from(error: WireError) -> Self {
        let status = StatusCode::from_u16(error.status)
            .expect("the constructors of refusals name statuses that exist");
        let mut answer = Self::new(status, error.content_type(), error.body_bytes());
        answer.refusal = Some(error.code().to_owned());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::unleash::error;
    use serde_json::json;
    use uuid::Uuid;

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers().get(name)?.to_str().ok()
    }

    #[test]
    fn json_answers_have_type_tag_and_vary() {
        let response = Answer::json(StatusCode::OK, &json!({"tokens": []})).into_response();
        assert_eq!(
            header(&response, "etag"),
            Some(r#"W/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE""#)
        );
        assert_eq!(header(&response, "content-type"), Some(JSON));
        assert_eq!(header(&response, "vary"), Some("Accept-Encoding"));
    }

    #[test]
    fn empty_answers_have_none_of_them() {
        let response = Answer::empty(StatusCode::ACCEPTED).into_response();
        for name in ["etag", "content-type", "vary"] {
            assert_eq!(header(&response, name), None, "{name}");
        }
    }

    #[test]
    fn refusals_carry_their_code() {
        let response = Answer::from(error::unavailable(Uuid::nil())).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let code = response.extensions().get::<RefusalReason>();
        assert_eq!(code, Some(&RefusalReason("ServiceUnavailable".to_owned())));
        let bare = Answer::from(error::wrong_token_type()).into_response();
        let code = bare.extensions().get::<RefusalReason>();
        assert_eq!(code, Some(&RefusalReason("WrongTokenType".to_owned())));
    }
}
