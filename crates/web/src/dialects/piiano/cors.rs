//! Browsers of other origins (CORS): who may call, and what a preflight is told.
//!
//! The one thing a newcomer would get wrong: by default no answer says a word of it, and OPTIONS is a 404 like every wrong
//! method. Only the setting makes an OPTIONS a preflight. Keys travel in a header, never in a cookie, so that credentials
//! in the sense of browsers are not allowed.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Vault;
use super::settings::Origins;

const METHODS: &str = "GET, POST, PATCH, DELETE";
const HEADERS: &str =
    "authorization, content-type, x-tenant-id, x-trans-param, x-pvault-request-id";
/// How long a browser may remember a preflight; short, because the setting can change.
const MAX_AGE_SECS: &str = "600";

/// Around every route: what the answer tells a browser. A HEAD is a wrong method here, although routers serve it.
pub(super) async fn around(
    State(vault): State<Arc<Vault>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = allowed(&vault.settings.origins, request.headers());
    if request.method() == Method::HEAD {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut response = next.run(request).await;
    tell(origin, &vault.settings.origins, response.headers_mut());
    response
}

/// What no route takes: a preflight, or nothing.
pub(super) fn unrouted(origins: &Origins, request: &Request) -> Response {
    let origin = allowed(origins, request.headers());
    let is_preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight && origin.is_some() {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECS),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    } else {
        StatusCode::NOT_FOUND.into_response()
    };
    tell(origin, origins, response.headers_mut());
    response
}

/// The origin that the answer is to name, if the request's may call.
fn allowed(origins: &Origins, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    match origins {
        Origins::None => None,
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::Listed(listed) => listed
            .iter()
            .any(|one| one.as_bytes() == origin.as_bytes())
            .then(|| origin.clone()),
    }
}

fn tell(origin: Option<HeaderValue>, origins: &Origins, headers: &mut HeaderMap) {
    if matches!(origins, Origins::Listed(_)) {
        // A cache must not give one origin's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::body::Body;

    use super::*;

    fn preflight(origins: &Origins, origin: &str) -> Response {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
            .body(Body::empty());
        unrouted(origins, &request.unwrap())
    }

    #[test]
    fn only_the_setting_makes_a_preflight() {
        let here = "https://a.example";
        let listed = Origins::Listed(vec![here.to_owned()]);
        for (origins, origin, status, named) in [
            (&Origins::None, here, 404, None),
            (&Origins::Any, here, 204, Some("*")),
            (&listed, here, 204, Some(here)),
            (&listed, "https://b.example", 404, None),
            (&listed, "https://a.example.evil", 404, None),
        ] {
            let response = preflight(origins, origin);
            assert_eq!(response.status().as_u16(), status, "{origins:?} {origin}");
            let told = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(told.map(|value| value.to_str().unwrap()), named);
        }
    }

    #[test]
    fn an_options_that_is_no_preflight_is_not_found() {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .header(header::ORIGIN, "https://a.example")
            .body(Body::empty());
        let response = unrouted(&Origins::Any, &request.unwrap());
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
