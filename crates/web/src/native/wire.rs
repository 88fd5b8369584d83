//! The native wire: what goes in and out, as JSON.
//!
//! The one thing to know: input is read strictly – duplicate keys, unknown fields and unknown parameters are refused, so
//! that a misspelt restriction is an error and never silently no restriction.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use engine::clock::Timestamp;
use engine::store::Usage;
use engine::token::{Body as TokenBody, State, Token, TokenId};
use engine::verbs::find::Found;
use engine::verbs::realms::Realm;
use engine::verbs::update::{Field, Guard};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kit::body::{BodyError, read};
use crate::kit::{json, path};
use crate::native::problem::Problem;

/// Bytes of a request's body. The longest legal name and 200 tags of 256 characters fit several times.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// One token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenView {
    /// Its id; not secret.
    id: Uuid,
    /// The name of its realm.
    realm: String,
    /// `access` (a credential) or `data` (a stand-in for a value).
    family: &'static str,
    /// Which kind of token, in its dialect's words.
    class: String,
    name: Option<String>,
    tags: Vec<String>,
    /// The tenant it belongs to, where the product has tenants.
    tenant: Option<String>,
    /// `active`, `suspended`, `archived`, `revoked` or `expired`, as of now.
    state: &'static str,
    /// RFC 3339, UTC; absent time is `null`: it never ends by itself.
    expires_at: Option<String>,
    /// Counts its changes from 1; the entity tag, in quotation marks.
    version: u64,
    created_at: String,
    created_by: String,
    updated_at: String,
    updated_by: String,
    /// How often it was used, as far as it is counted.
    uses: u64,
    last_used_at: Option<String>,
    /// A few characters of an access token's secret, by which people recognise it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// What the bearer of an access token may do, in its dialect's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<String>>,
    /// From where an access token may be used; empty is anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<String>>,
    /// The id by which the product's clients know a data token. Not in answers of changes, which do not look it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// The record that a data token is kept in, a collection for instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Uuid>,
}

impl TokenView {
    pub(super) fn new(realm: &Realm, token: &Token, usage: Option<&Usage>, now: Timestamp) -> Self {
        let passed = token.expires_at.is_some_and(|at| at <= now);
        let state = if token.state == State::Active && passed {
            State::Expired
        } else {
            token.state
        };
        let access = token.access();
        Self {
            id: token.id.0,
            realm: realm.name.clone(),
            family: match token.body {
                TokenBody::Access(_) => "access",
                TokenBody::Data(_) => "data",
            },
            class: token.class.clone(),
            name: token.name.clone(),
            tags: token.tags.clone(),
            tenant: token.tenant.clone(),
            state: state.word(),
            expires_at: token.expires_at.map(|at| at.to_string()),
            version: token.version,
            created_at: token.created_at.to_string(),
            created_by: token.created_by.clone(),
            updated_at: token.updated_at.to_string(),
            updated_by: token.updated_by.clone(),
            uses: usage.map_or(0, |usage| usage.uses),
            last_used_at: usage.map(|usage| usage.last_used_at.to_string()),
            hint: access.map(|access| access.hint.clone()),
            permissions: access.map(|access| access.permissions.clone()),
            addresses: access
                .map(|access| access.addresses.iter().map(ToString::to_string).collect()),
            external_id: None,
            container: token.container.map(|container| container.0),
        }
    }

    /// The same of a token that was found with what it stands for.
    pub(super) fn found(
        realm: &Realm,
        found: &Found,
        token: &Token,
        usage: Option<&Usage>,
        now: Timestamp,
    ) -> Self {
        let value = found.value(token);
        Self {
            external_id: value.and_then(|value| value.external_id.clone()),
            ..Self::new(realm, token, usage, now)
        }
    }
}

/// A token as an answer, its version as the entity tag.
pub(super) fn token_answer(status: StatusCode, token: &Token, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    let tag = HeaderValue::from_str(&format!("\"{}\"", token.version))
        .expect("digits in quotation marks are a header's value");
    response.headers_mut().insert(header::ETAG, tag);
    response
}

/// The precondition of a write: `If-Match` with one entity tag, or `*`, or nothing.
pub(super) fn guard(headers: &HeaderMap) -> Result<Guard, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(Guard::Nothing);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" && values.next().is_none() {
        return Ok(Guard::Nothing);
    }
    let version = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok());
    match version {
        Some(version) if values.next().is_none() => Ok(Guard::Version(version)),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "If-Match takes one entity tag of this token as it was answered, as in \"3\"",
        )),
    }
}

/// The token in the path. What is no UUID is no token.
pub(super) fn token_id(uri: &Uri) -> Result<TokenId, Problem> {
    path::segment(uri, 2)
        .ok()
        .and_then(|text| text.parse().ok())
        .map(TokenId)
        .ok_or_else(no_token)
}

pub(super) fn no_token() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is no such token in this realm",
    )
}

/// The query's parameters, all of which must be among `known`.
pub(super) fn parameters(
    uri: &Uri,
    known: &[&'static str],
) -> Result<BTreeMap<&'static str, String>, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut parameters = BTreeMap::new();
    let pairs = uri.query().unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = known.iter().find(|one| **one == name) else {
            return Err(bad(format!(
                "the query has a parameter that is not known here; known are: {}",
                known.join(", ")
            )));
        };
        let value =
            path::decode(value).map_err(|_| bad(format!("{name} has a broken percent escape")))?;
        if parameters.insert(*name, value).is_some() {
            return Err(bad(format!("{name} stands twice in the query")));
        }
    }
    Ok(parameters)
}

/// A parameter without which nothing can be done.
pub(super) fn required<'a>(
    parameters: &'a BTreeMap<&'static str, String>,
    name: &'static str,
) -> Result<&'a str, Problem> {
    let present = parameters.get(name).filter(|value| !value.is_empty());
    present.map(String::as_str).ok_or_else(|| {
        let detail = format!("the parameter {name} is required, as in ?{name}=…");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// A body of JSON, strictly.
pub(super) async fn json_body<T: for<'de> Deserialize<'de>>(
    request: Request,
    media_types: &[&str],
) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    let media_type = parts.headers.get(header::CONTENT_TYPE);
    let essence = media_type
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|one| {
        media_types
            .iter()
            .any(|known| known.eq_ignore_ascii_case(one))
    }) {
        let detail = format!("the body's content type is {}", media_types.join(" or "));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let bytes = body_bytes(body).await?;
    let value: Json = json::strict(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("not JSON: {error}")))?;
    if !value.is_object() {
        let detail = "the body is a JSON object";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    serde_json::from_value(value).map_err(|error| {
        let detail = format!("the body does not fit: {}", without_content(&error));
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
}

/// No body at all.
pub(super) async fn no_body(request: Request) -> Result<(), Problem> {
    if body_bytes(request.into_body()).await?.is_empty() {
        return Ok(());
    }
    let detail = "this call takes no body";
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

async fn body_bytes(body: Body) -> Result<axum::body::Bytes, Problem> {
    read(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a body has at most {BODY_BYTES_MAX} bytes"),
            ),
            BodyError::Broken => Problem::new(StatusCode::BAD_REQUEST, "the body broke off"),
        })
}

/// serde quotes what it refuses (`invalid type: string "…"`); a problem must not repeat what may be a secret.
fn without_content(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once('"') {
        Some((before, rest)) => {
            let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
            format!("{before}…{after}")
        }
        None => text,
    }
}

/// An instant as RFC 3339 writes it.
pub(super) fn instant(field: &'static str, text: &str) -> Result<Timestamp, Problem> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .and_then(|at| Timestamp::from_micros(at.as_microsecond()))
        .ok_or_else(|| {
            let detail = format!(
                "{field} is an instant as RFC 3339 writes it, as in 2030-01-31T12:00:00Z, before 9999-12-31"
            );
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        })
}

/// A field of a merge patch: `null` is not the same as absent. To be read with `#[serde(default)]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Sent<T> {
    /// Not in the body.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// A value.
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T> Sent<T> {
    /// What it does to a field, its value checked.
    pub(super) fn field<U>(
        self,
        check: impl FnOnce(T) -> Result<U, Problem>,
    ) -> Result<Field<U>, Problem> {
        match self {
            Self::Absent => Ok(Field::Keep),
            Self::Null => Ok(Field::Clear),
            Self::Value(value) => check(value).map(Field::Set),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn preconditions_are_one_tag_or_any() {
        let guarded = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, value.parse().unwrap());
            }
            guard(&headers)
        };
        assert!(matches!(guarded(&[]), Ok(Guard::Nothing)));
        assert!(matches!(guarded(&["*"]), Ok(Guard::Nothing)));
        assert!(matches!(guarded(&["\"3\""]), Ok(Guard::Version(3))));
        for bad in [
            &["3"][..],
            &["\"\""],
            &["\"+3\""],
            &["W/\"3\""],
            &["\"3\", \"4\""],
            &["\"3\"", "\"4\""],
            &["*", "\"4\""],
            &["\"99999999999999999999\""],
        ] {
            assert_eq!(
                guarded(bad).unwrap_err().status,
                StatusCode::BAD_REQUEST,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn parameters_are_known_and_given_once() {
        let of = |text: &str| parameters(&text.parse().unwrap(), &["realm", "cursor"]);
        assert_eq!(of("/x?realm=a%2Fb").unwrap()["realm"], "a/b");
        assert!(of("/x").unwrap().is_empty());
        for bad in ["/x?realm=a&realm=b", "/x?other=1", "/x?realm=%zz"] {
            assert_eq!(
                of(bad).unwrap_err().status,
                StatusCode::BAD_REQUEST,
                "{bad}"
            );
        }
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        let error = serde_json::from_str::<u8>("\"hunter2 \\\" x\"").unwrap_err();
        let shown = without_content(&error);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("expected u8"), "{shown}");
    }

    #[test]
    fn instants() {
        assert_eq!(
            instant("x", "2030-01-01T02:00:00+02:00")
                .unwrap()
                .to_string(),
            "2030-01-01T00:00:00.000000Z"
        );
        for bad in [
            "",
            "tomorrow",
            "2030-01-01",
            "2030-13-01T00:00:00Z",
            "-000001-01-01T00:00:00Z",
        ] {
            assert!(instant("x", bad).is_err(), "{bad}");
        }
    }
}
