//! Request bodies: from bytes to values in which nothing is unchecked any more, or to the product's findings.
//!
//! The one thing a newcomer would get wrong: two validators stand behind each other. The *schema* (middleware) turns
//! scalars into the type it wants (`5` → `"5"`, `null` → `""`), stops at its first finding, and answers with an `id`;
//! the *handler* then has rules of its own, tells all that are broken, and answers without one. Which of the two refuses,
//! and in which order each looks at the members, is on the wire.

mod client;
mod create;
mod javascript;
mod walk;

use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;

pub(super) use client::{parse_bulk, parse_metrics, parse_register};
pub(super) use create::{CreateToken, EchoKey, parse_create};

use super::date_time::{self, WireInstant};
use super::error::{self, Detail, WireError};
use walk::Place;

/// Bytes of a request body: the product's own limit, 100 KiB.
pub(super) const BODY_BYTES_MAX: usize = 100 * 1024;

/// What a `Content-Type` header says about the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// JSON in UTF-8: parsed before anything else.
    Json,
    /// JSON in a character set (named here as sent) that is not read: refused before anything else.
    JsonInOtherCharset(String),
    /// Anything else, or nothing: not parsed, and refused after credentials and permissions.
    Other,
}

/// Reads a `Content-Type` header. Only `application/json` counts, with any parameters; not `application/problem+json`.
pub(super) fn body_kind(content_type: Option<&str>) -> BodyKind {
    let mut parts = content_type.unwrap_or_default().split(';');
    let media_type = parts.next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return BodyKind::Other;
    }
    let charset = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"'));
    match charset {
        Some(other) if !other.eq_ignore_ascii_case("utf-8") => {
            BodyKind::JsonInOtherCharset(other.to_owned())
        }
        _ => BodyKind::Json,
    }
}

/// A body that is no JSON. The message says where it broke and repeats nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MalformedBody {
    message: String,
}

impl MalformedBody {
    /// The 400 of the body parser.
    pub(super) fn to_error(&self) -> WireError {
        error::malformed_json(&self.message)
    }
}

impl fmt::Display for MalformedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for MalformedBody {}

/// Parses a JSON body as leniently as the product: an empty body is `{}`, a byte order mark is dropped, and of a member
/// that is there twice the last one counts, in the place of the first. Nesting is limited by the parser.
///
/// # Errors
/// [`MalformedBody`]; unlike the product also for bytes that are no UTF-8, lone surrogates and numbers beyond a double.
pub(super) fn parse_body(bytes: &[u8]) -> Result<Value, MalformedBody> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(bytes).map_err(|error| MalformedBody {
        message: error.to_string(),
    })
}

/// Who refused a body, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SchemaFailure {
    /// The schema, in middleware.
    Middleware(Vec<Detail>),
    /// The handler's rules.
    Handler(Vec<Detail>),
    /// A handler that answers bad data with an empty body (metrics).
    Silent,
}

impl SchemaFailure {
    /// The 400; `id` is used where the wire has one.
    pub(super) fn to_error(&self, id: Uuid) -> WireError {
        match self {
            Self::Middleware(details) => error::invalid_data(details, Some(id)),
            Self::Handler(details) => error::invalid_data(details, None),
            Self::Silent => error::empty(400),
        }
    }
}

/// Findings of the schema become a failure of middleware, so that `?` does the right thing in parsers with handlers.
impl From<Vec<Detail>> for SchemaFailure {
    fn from(details: Vec<Detail>) -> Self {
        Self::Middleware(details)
    }
}

/// The body of an update: `expiresAt`. Every other member is accepted and ignored.
///
/// # Errors
/// The schema's finding, to be answered with an id. A text inside the grammar that names no instant (see
/// [`date_time::NotAnInstant::Value`]) is answered as one outside: the product fails with 500 there.
pub(super) fn parse_update(body: &Value) -> Result<WireInstant, Vec<Detail>> {
    let body = Place::body(body).object()?;
    body.require(&["expiresAt"])?;
    let place = body.expect("expiresAt");
    let text = place.string()?;
    date_time::parse(&text).map_err(|_| place.not_a_date_time(&text))
}

/// The secrets in the body of `/edge/validate`, in the order of the request, repetitions included.
///
/// Texts, not checked secrets: the empty ones and those of the wrong shape are simply unknown.
pub(super) struct TokenList {
    tokens: Vec<String>,
}

impl TokenList {
    /// The texts as they were sent.
    pub(super) fn into_tokens(self) -> Vec<String> {
        self.tokens
    }
}

impl fmt::Debug for TokenList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenList({} tokens)", self.tokens.len())
    }
}

/// The body of `/edge/validate`: `tokens`, a list of strings.
///
/// # Errors
/// The schema's finding, to be answered with an id.
pub(super) fn parse_token_list(body: &Value) -> Result<TokenList, Vec<Detail>> {
    let body = Place::body(body).object()?;
    body.require(&["tokens"])?;
    let tokens = body.expect("tokens").strings()?;
    Ok(TokenList { tokens })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::walk::arbitrary_json;
    use super::*;

    fn only(details: Vec<Detail>) -> (String, String) {
        let [detail] = <[Detail; 1]>::try_from(details).unwrap();
        (
            detail.message().to_owned(),
            detail.path().unwrap().to_owned(),
        )
    }

    fn update_refusal(body: &str) -> (String, String) {
        only(parse_update(&parse_body(body.as_bytes()).unwrap()).unwrap_err())
    }

    #[test]
    fn update_takes_the_expiry_and_ignores_the_rest() {
        let body = json!({"tokenName": [], "type": 7, "expiresAt": "2031-09-04T11:26:24+02:00"});
        assert_eq!(
            parse_update(&body).unwrap().to_string(),
            "2031-09-04T09:26:24.000Z"
        );
    }

    #[test]
    fn update_findings_have_the_products_texts() {
        assert_eq!(
            update_refusal("{}"),
            (
                "The `/body/expiresAt` property is required. It was not present on the data you sent.".into(),
                "/body/expiresAt".into()
            )
        );
        for (body, sent) in [
            (r#"{"expiresAt":null}"#, r#""""#),
            (r#"{"expiresAt":""}"#, r#""""#),
            (r#"{"expiresAt":true}"#, r#""true""#),
            (r#"{"expiresAt":1893456000000}"#, r#""1893456000000""#),
            (r#"{"expiresAt":1e21}"#, r#""1e+21""#),
            (r#"{"expiresAt":-0}"#, r#""0""#),
            (r#"{"expiresAt":0.1e-7}"#, r#""1e-8""#),
            (
                r#"{"expiresAt":123456789012345678901234567890}"#,
                r#""1.2345678901234568e+29""#,
            ),
            (r#"{"expiresAt":"tomorrow"}"#, r#""tomorrow""#),
            (r#"{"expiresAt":"a\u0000\"\\\n"}"#, r#""a\u0000\"\\\n""#),
            (
                r#"{"expiresAt":"2030-01-01T00:00:00Z "}"#,
                r#""2030-01-01T00:00:00Z ""#,
            ),
            // These are inside the grammar and name no instant.
            (
                r#"{"expiresAt":"2016-12-31T23:59:60Z"}"#,
                r#""2016-12-31T23:59:60Z""#,
            ),
            (
                r#"{"expiresAt":"2030-01-01T00:00:00+02"}"#,
                r#""2030-01-01T00:00:00+02""#,
            ),
            (
                r#"{"expiresAt":"0000-01-01T00:00:00Z"}"#,
                r#""0000-01-01T00:00:00Z""#,
            ),
        ] {
            assert_eq!(
                update_refusal(body),
                (
                    format!(
                        "The `/body/expiresAt` property must match format \"date-time\". You sent {sent}."
                    ),
                    "/body/expiresAt".into()
                ),
                "{body}"
            );
        }
        for sent in ["{}", r#"{"a":1}"#, "[]", r#"["a",1]"#, "[null]"] {
            assert_eq!(
                update_refusal(&format!("{{\"expiresAt\":{sent}}}")).0,
                format!("The `/body/expiresAt` property must be string. You sent {sent}.")
            );
        }
        for sent in ["[]", r#"[1,{"a":2}]"#, r#""str""#, "null", "5", "true"] {
            assert_eq!(
                update_refusal(sent),
                (
                    format!("The `/body` property must be object. You sent {sent}."),
                    "/body".into()
                )
            );
        }
    }

    #[test]
    fn update_finding_as_an_answer() {
        let details = parse_update(&json!({})).unwrap_err();
        let error = SchemaFailure::from(details).to_error(Uuid::nil());
        assert_eq!(
            String::from_utf8(error.body_bytes()).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-000000000000","name":"BadDataError","message":"Request validation failed: your request body or params contain invalid data. Refer to the `details` list for more information.","details":[{"path":"/body/expiresAt","message":"The `/body/expiresAt` property is required. It was not present on the data you sent."}]}"#
        );
        assert_eq!(
            SchemaFailure::Silent.to_error(Uuid::nil()),
            error::empty(400)
        );
        assert_eq!(
            SchemaFailure::Handler(vec![]).to_error(Uuid::nil()).id(),
            None
        );
    }

    #[test]
    fn token_lists_keep_order_and_repetitions() {
        let body = json!({"tokens": ["a", 1, true, null, "", "a"], "x": []});
        assert_eq!(
            parse_token_list(&body).unwrap().into_tokens(),
            ["a", "1", "true", "", "", "a"]
        );
        for (body, message, path) in [
            (
                json!({}),
                "The `/body/tokens` property is required. It was not present on the data you sent.",
                "/body/tokens",
            ),
            (
                json!({"tokens": "a"}),
                "The `/body/tokens` property must be array. You sent \"a\".",
                "/body/tokens",
            ),
            (
                json!({"tokens": null}),
                "The `/body/tokens` property must be array. You sent null.",
                "/body/tokens",
            ),
            (
                json!({"tokens": ["a", [], {}]}),
                "The `/body/tokens/1` property must be string. You sent [].",
                "/body/tokens/1",
            ),
            (
                json!([]),
                "The `/body` property must be object. You sent [].",
                "/body",
            ),
        ] {
            let found = only(parse_token_list(&body).unwrap_err());
            assert_eq!(found, (message.to_owned(), path.to_owned()));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let list = parse_token_list(&json!({"tokens": ["hidden"]})).unwrap();
        let refusal = parse_token_list(&json!({"tokens": "hidden"})).unwrap_err();
        assert_eq!(format!("{list:?}"), "TokenList(1 tokens)");
        assert!(!format!("{refusal:?}").contains("hidden"));
    }

    #[test]
    fn bodies_are_parsed_leniently() {
        assert_eq!(parse_body(b"").unwrap(), json!({}));
        assert_eq!(
            parse_body(b"\xef\xbb\xbf{\"a\":1}").unwrap(),
            json!({"a": 1})
        );
        // The last value, in the place of the first.
        let twice = parse_body(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(twice.to_string(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn malformed_bodies_are_refused_without_repeating_them() {
        let deep = "[".repeat(100_000);
        for bytes in [
            &b"   "[..],
            br#"{"secret""#,
            br#"{"secret":"#,
            b"secret",
            br#"{"a":1}secret"#,
            b"\"secret\xff\"",
            br#""secret\ud800""#,
            b"1e400",
            deep.as_bytes(),
        ] {
            let refusal = parse_body(bytes).unwrap_err();
            assert!(!refusal.to_string().contains("secret"), "{refusal}");
            assert_eq!(refusal.to_error().status, 400);
            assert_eq!(refusal.to_error().id(), None);
        }
    }

    #[test]
    fn content_types() {
        for json in [
            "application/json",
            "APPLICATION/JSON",
            "application/json;",
            "application/json; charset=utf-8",
            "application/json;Charset=\"UTF-8\"",
            "application/json ;x=y",
        ] {
            assert_eq!(body_kind(Some(json)), BodyKind::Json, "{json}");
        }
        for other in [
            "",
            "application",
            "*/*",
            "text/json",
            "text/plain",
            "application/problem+json",
            "application/json x",
            "application/json, text/plain",
        ] {
            assert_eq!(body_kind(Some(other)), BodyKind::Other, "{other}");
        }
        assert_eq!(body_kind(None), BodyKind::Other);
        assert_eq!(
            body_kind(Some("application/json; charset=latin1")),
            BodyKind::JsonInOtherCharset("latin1".into())
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_body(&bytes);
        }

        #[test]
        fn no_body_makes_it_panic(body in arbitrary_json(&["expiresAt", "tokens"])) {
            let _ = (parse_update(&body), parse_token_list(&body));
        }

        #[test]
        fn no_content_type_makes_it_panic(header in "(application/json)?[; =\"a-z]{0,20}|\\PC{0,20}") {
            let _ = body_kind(Some(&header));
        }
    }
}
