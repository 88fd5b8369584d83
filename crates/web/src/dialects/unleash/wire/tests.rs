//! Answers byte by byte.
//!
//! The one thing a newcomer would get wrong: the order of the members is compared too, on purpose.

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::json;

use super::super::{date_time, schema};
use super::*;

fn at(text: &str) -> WireInstant {
    date_time::parse(text).unwrap()
}

fn json<T: Serialize>(answer: &T) -> String {
    serde_json::to_string(answer).unwrap()
}

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

const SECRET: &str = "default:production.cdc2a05bedbd30cbc2d91a055bec6271b6d0fa03a7dc29064914a348";

fn full(projects: &[String]) -> TokenView<'_> {
    TokenView {
        token_name: "full",
        kind: TokenType::Backend,
        projects,
        environment: "production",
        expires_at: Some(at("2032-01-01T00:00:00Z")),
        created_at: at("2026-11-22T01:46:38.236Z"),
        seen_at: None,
    }
}

#[test]
fn list_item_has_eleven_members_always() {
    let projects = names(&["default"]);
    let view = full(&projects);
    assert_eq!(
        json(&Tokens {
            tokens: vec![ListItem::new(SECRET, &view)]
        }),
        r#"{"tokens":[{"secret":"default:production.cdc2a05bedbd30cbc2d91a055bec6271b6d0fa03a7dc29064914a348","tokenName":"full","type":"backend","project":"default","projects":["default"],"environment":"production","expiresAt":"2032-01-01T00:00:00.000Z","createdAt":"2026-11-22T01:46:38.236Z","alias":null,"seenAt":null,"secure":false}]}"#
    );
    let unlimited = TokenView {
        expires_at: None,
        kind: TokenType::Client,
        seen_at: Some(at("2026-11-22T01:47:01.046Z")),
        ..view
    };
    assert_eq!(
        json(&ListItem::new("s", &unlimited)),
        r#"{"secret":"s","tokenName":"full","type":"client","project":"default","projects":["default"],"environment":"production","expiresAt":null,"createdAt":"2026-11-22T01:46:38.236Z","alias":null,"seenAt":"2026-11-22T01:47:01.046Z","secure":false}"#
    );
}

#[test]
fn a_token_whose_projects_are_gone_shows_none() {
    let item = serde_json::to_value(ListItem::new("s", &full(&[]))).unwrap();
    assert_eq!(item["projects"], json!([]));
    assert_eq!(item["project"], "");
    let two = names(&["a", "b"]);
    let item = serde_json::to_value(ListItem::new("s", &full(&two))).unwrap();
    assert_eq!(item["project"], "a,b");
}

#[test]
fn selector_item_leaves_absent_members_out() {
    let projects = names(&["default"]);
    let view = full(&projects);
    assert_eq!(
        json(&SelectorItem::new("MKJBoBMGGBzy_lXq9DIKNQ", &view)),
        r#"{"secret":"MKJBoBMGGBzy_lXq9DIKNQ","tokenName":"full","type":"backend","projects":["default"],"project":"default","environment":"production","expiresAt":"2032-01-01T00:00:00.000Z","createdAt":"2026-11-22T01:46:38.236Z","secure":true}"#
    );
    let seen = TokenView {
        expires_at: None,
        seen_at: Some(at("2027-01-01T00:00:00Z")),
        ..view
    };
    assert_eq!(
        json(&SelectorItem::new("MKJBoBMGGBzy_lXq9DIKNQ", &seen)),
        r#"{"secret":"MKJBoBMGGBzy_lXq9DIKNQ","tokenName":"full","type":"backend","projects":["default"],"project":"default","environment":"production","createdAt":"2026-11-22T01:46:38.236Z","seenAt":"2027-01-01T00:00:00.000Z","secure":true}"#
    );
}

#[test]
fn edge_item() {
    let projects = names(&["*"]);
    let admin = TokenView {
        kind: TokenType::Admin,
        environment: "*",
        ..full(&projects)
    };
    assert_eq!(
        json(&EdgeItem::new("*:*.unleash-admin-token", &admin)),
        r#"{"token":"*:*.unleash-admin-token","type":"admin","projects":["*"],"environment":"*"}"#
    );
    let none: Tokens<EdgeItem<'_>> = Tokens { tokens: vec![] };
    assert_eq!(json(&none), r#"{"tokens":[]}"#);
}

/// The answer to a request body.
fn created(body: &str, secret: &str, created_at: &str) -> String {
    let request = schema::parse_create(&serde_json::from_str(body).unwrap()).unwrap();
    json(&CreateAnswer::new(&request, secret, at(created_at)))
}

#[test]
fn created_echoes_the_request_in_its_order_then_defaults() {
    assert_eq!(
        created(
            r#"{"tokenName":"full","type":"backend","environment":"production","projects":["default"],"expiresAt":"2030-07-04T11:26:24+02:00"}"#,
            SECRET,
            "2026-11-22T01:46:38.236Z"
        ),
        r#"{"tokenName":"full","environment":"production","projects":["default"],"expiresAt":"2030-07-04T09:26:24.000Z","secret":"default:production.cdc2a05bedbd30cbc2d91a055bec6271b6d0fa03a7dc29064914a348","type":"backend","alias":null,"project":"default","createdAt":"2026-11-22T01:46:38.236Z","secure":false}"#
    );
    assert_eq!(
        created(
            r#"{"tokenName":"born-expired","type":"backend","expiresAt":"2021-01-01T00:00:00Z"}"#,
            "*:development.9baa",
            "2026-11-22T01:46:39.058Z"
        ),
        r#"{"tokenName":"born-expired","expiresAt":"2021-01-01T00:00:00.000Z","projects":["*"],"environment":"development","secret":"*:development.9baa","type":"backend","alias":null,"project":"*","createdAt":"2026-11-22T01:46:39.058Z","secure":false}"#
    );
    assert_eq!(
        created(
            r#"{"projects":["*"],"secret":"mine","type":"CLIENT","createdByUserId":3.0,"seenAt":1,"tokenName":"zz"}"#,
            "*:development.1",
            "2026-11-22T01:46:39.058Z"
        ),
        r#"{"projects":["*"],"createdByUserId":3,"tokenName":"zz","environment":"development","secret":"*:development.1","type":"client","alias":null,"project":"*","createdAt":"2026-11-22T01:46:39.058Z","secure":false}"#
    );
}

#[test]
fn created_without_a_kept_copy() {
    let body = json!({"tokenName": "full", "type": "backend", "environment": "production", "projects": ["default"], "expiresAt": "2030-07-04T11:26:24+02:00"});
    let mut request = schema::parse_create(&body).unwrap();
    assert_eq!(
        json(&UnkeptCreateAnswer::new(
            &request,
            "default:production.x",
            at("2026-11-22T01:46:38.236Z")
        )),
        r#"{"projects":["default"],"tokenName":"full","type":"backend","environment":"production","expiresAt":"2030-07-04T09:26:24.000Z","createdAt":"2026-11-22T01:46:38.236Z","secure":true,"secret":"default:production.x","project":"default"}"#
    );
    request.expires_at = None;
    let unlimited = json(&UnkeptCreateAnswer::new(&request, "s", WireInstant::MIN));
    assert!(!unlimited.contains("expiresAt"), "{unlimited}");
}

#[test]
fn features_with_and_without_segments() {
    let projects = names(&["default"]);
    let inline = FeatureList::new(FeatureQuery::new(&projects, "development", false), 0);
    let hash = inline.meta.query_hash.clone();
    assert_eq!(
        json(&inline),
        format!(
            r#"{{"version":2,"features":[],"query":{{"project":["default"],"environment":"development","inlineSegmentConstraints":true}},"meta":{{"revisionId":0,"etag":"\"{hash}:0:v1\"","queryHash":"{hash}"}}}}"#
        )
    );
    assert_eq!(inline.etag(), format!("\"{hash}:0:v1\""));

    let all = names(&["*"]);
    let separate = FeatureList::new(FeatureQuery::new(&all, "production", true), 7);
    let hash = separate.meta.query_hash.clone();
    assert_eq!(
        json(&separate),
        format!(
            r#"{{"version":2,"features":[],"query":{{"environment":"production","inlineSegmentConstraints":false}},"segments":[],"meta":{{"revisionId":7,"etag":"\"{hash}:7:v1\"","queryHash":"{hash}"}}}}"#
        )
    );
}

#[test]
fn a_token_without_projects_does_not_query_all_of_them() {
    let query = FeatureQuery::new(&[], "development", false);
    assert_eq!(
        json(&query),
        r#"{"project":[],"environment":"development","inlineSegmentConstraints":true}"#
    );
}

#[test]
fn segments_are_apart_from_client_spec_4_2_on() {
    for (header, expected) in [
        (None, false),
        (Some(""), false),
        (Some("4.1.9"), false),
        (Some("4.2.0-beta"), false),
        (Some("4.2.0"), true),
        (Some(" 5.2.0 "), true),
        (Some("5.2.0+b"), true),
        (Some("5.2.0-x.1"), true),
        (Some("10.0.0"), true),
    ] {
        assert_eq!(separates_segments(header), Ok(expected), "{header:?}");
    }
    for (header, word) in [
        ("5", "SemVer"),
        ("5.2", "SemVer"),
        ("4.2.0.1", "SemVer"),
        ("05.2.0", "SemVer"),
        ("5.2.0-", "SemVer"),
        ("99999999999999999999.0.0", "SemVer"),
        ("v5.2.0", "prefix"),
        ("undefined", "prefix"),
    ] {
        assert_eq!(
            separates_segments(Some(header)),
            Err(format!(
                "Invalid {word} in the Unleash-Client-Spec header: \"{header}\"."
            ))
        );
    }
}

#[test]
fn types_and_their_words() {
    for kind in [
        TokenType::Client,
        TokenType::Backend,
        TokenType::Frontend,
        TokenType::Admin,
    ] {
        assert_eq!(TokenType::from_word(kind.as_str()), Some(kind));
        assert_eq!(json(&kind), format!("\"{}\"", kind.as_str()));
    }
    assert_eq!(TokenType::from_word("CLIENT"), None);
    assert_eq!(TokenType::Backend.in_older_words(), TokenType::Client);
    assert_eq!(TokenType::Frontend.in_older_words(), TokenType::Frontend);
    assert_eq!(TokenType::Admin.in_older_words(), TokenType::Admin);
}

#[test]
fn debug_shows_no_secret() {
    let projects = names(&["default"]);
    let view = full(&projects);
    let request = schema::parse_create(&json!({"tokenName": "n", "type": "client"})).unwrap();
    let debug = format!(
        "{:?}{:?}{:?}{:?}{:?}",
        ListItem::new("hidden", &view),
        SelectorItem::new("hidden", &view),
        EdgeItem::new("hidden", &view),
        CreateAnswer::new(&request, "hidden", WireInstant::MIN),
        UnkeptCreateAnswer::new(&request, "hidden", WireInstant::MIN),
    );
    assert!(!debug.contains("hidden"), "{debug}");
}

proptest! {
    #[test]
    fn no_client_spec_makes_it_panic(header in "[0-9a-z.+ -]{0,16}|\\PC{0,8}") {
        let _ = separates_segments(Some(&header));
    }
}
