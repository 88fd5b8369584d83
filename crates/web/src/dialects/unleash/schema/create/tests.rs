//! What a create accepts, what it makes of it, and everything it refuses, with the texts.
//!
//! The one thing a newcomer would get wrong: who refuses (schema or handler) is part of each claim, for it decides whether
//! the answer has an id.

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::json;

use super::super::super::error;
use super::super::walk::arbitrary_json;
use super::*;

fn parse(body: &str) -> Result<CreateToken, SchemaFailure> {
    parse_create(&serde_json::from_str(body).unwrap())
}

fn accepted(body: &str) -> CreateToken {
    parse(body).unwrap_or_else(|failure| panic!("{body}: {failure:?}"))
}

/// The first detail of a middleware refusal, after a look at the second.
fn schema_finding(body: &str) -> String {
    let SchemaFailure::Middleware(details) = parse(body).unwrap_err() else {
        panic!("{body}: not refused by the schema");
    };
    let [first, second] = <[Detail; 2]>::try_from(details).unwrap();
    assert_eq!(second, one_of("/body"));
    first.message().to_owned()
}

fn handler_findings(body: &str) -> Vec<String> {
    let SchemaFailure::Handler(details) = parse(body).unwrap_err() else {
        panic!("{body}: not refused by the handler");
    };
    details
        .iter()
        .map(|detail| detail.message().to_owned())
        .collect()
}

#[test]
fn defaults_and_order_of_the_echo() {
    let token =
        accepted(r#"{"type":"CLIENT","tokenName":"upper","secret":"s","alias":"a","seenAt":1}"#);
    assert_eq!(
        (token.kind, token.environment.as_str()),
        (TokenType::Client, "development")
    );
    assert_eq!(token.projects, ["*"]);
    assert_eq!(
        token.echo,
        [EchoKey::TokenName, EchoKey::Projects, EchoKey::Environment]
    );

    let token = accepted(
        r#"{"projects":["a"],"createdByUserId":"12","type":"frontend","expiresAt":"2021-01-01T00:00:00Z","environment":"e","tokenName":1e21}"#,
    );
    assert_eq!(token.token_name, "1e+21");
    assert_eq!(
        token.echo,
        [
            EchoKey::Projects,
            EchoKey::CreatedByUserId,
            EchoKey::ExpiresAt,
            EchoKey::Environment,
            EchoKey::TokenName
        ]
    );
    assert_eq!(token.created_by_user_id, Some(Number::from(12)));
}

#[test]
fn names_are_kept_as_they_are() {
    for name in ["  padded name  ", "наме-名-😀", "\u{1}", &"n".repeat(5000)] {
        let token = parse_create(&json!({"tokenName": name, "type": "client"})).unwrap();
        assert_eq!(token.token_name, name);
    }
}

#[test]
fn the_schema_looks_at_members_in_its_own_order() {
    for (body, finding) in [
        (
            "{}",
            "The `/body/type` property is required. It was not present on the data you sent.",
        ),
        (
            r#"{"tokenName":"x"}"#,
            "The `/body/type` property is required. It was not present on the data you sent.",
        ),
        (
            r#"{"username":"legacy","type":"backend","expiresAt":"x"}"#,
            "The `/body/tokenName` property is required. It was not present on the data you sent.",
        ),
        (
            r#"{"type":"admin","tokenName":{},"projects":"x","environment":{},"expiresAt":5,"project":[]}"#,
            "The `/body/expiresAt` property must match format \"date-time\". You sent \"5\".",
        ),
        (
            r#"{"type":"client","tokenName":{},"projects":"x","environment":{},"project":[]}"#,
            "The `/body/environment` property must be string. You sent {}.",
        ),
        (
            r#"{"type":"client","tokenName":{},"projects":"x","project":[]}"#,
            "The `/body/project` property must be string. You sent [].",
        ),
        (
            r#"{"type":"client","tokenName":{},"projects":"x"}"#,
            "The `/body/projects` property must be array. You sent \"x\".",
        ),
        (
            r#"{"type":"client","tokenName":{},"projects":null}"#,
            "The `/body/projects` property must be array. You sent null.",
        ),
        (
            r#"{"type":"client","tokenName":{},"projects":["a",{}]}"#,
            "The `/body/projects/1` property must be string. You sent {}.",
        ),
        (
            r#"{"type":"client","tokenName":["a"]}"#,
            "The `/body/tokenName` property must be string. You sent [\"a\"].",
        ),
        (
            r#"{"type":["client"],"tokenName":"a"}"#,
            "The `/body/type` property must be string. You sent [\"client\"].",
        ),
        (
            r#"{"type":"client","tokenName":"x","expiresAt":"2030-01-01"}"#,
            "The `/body/expiresAt` property must match format \"date-time\". You sent \"2030-01-01\".",
        ),
    ] {
        assert_eq!(schema_finding(body), finding, "{body}");
    }
    for (sent, shown) in [
        ("\"admin\"", "admin"),
        ("5", "5"),
        ("null", ""),
        ("true", "true"),
        (r#""client\n""#, "client\\n"),
    ] {
        let body = format!(r#"{{"tokenName":{{}},"type":{sent},"environment":[]}}"#);
        assert_eq!(
            schema_finding(&body),
            format!(
                "The `/body/type` property must match pattern \"^([Cc][Ll][Ii][Ee][Nn][Tt]|[Bb][Aa][Cc][Kk][Ee][Nn][Dd]|[Ff][Rr][Oo][Nn][Tt][Ee][Nn][Dd])$\". You sent \"{shown}\"."
            )
        );
    }
    let SchemaFailure::Middleware(details) = parse("\"x\"").unwrap_err() else {
        panic!("not refused by the schema");
    };
    assert_eq!(details.len(), 1);
    assert_eq!(
        details[0].message(),
        "The `/body` property must be object. You sent \"x\"."
    );
}

#[test]
fn a_schema_finding_as_an_answer() {
    let id = "b70dffac-dc70-4579-9310-a4fc33cbf9a7".parse().unwrap();
    let error = parse(r#"{"type":"client"}"#).unwrap_err().to_error(id);
    assert_eq!(
        String::from_utf8(error.body_bytes()).unwrap(),
        r#"{"id":"b70dffac-dc70-4579-9310-a4fc33cbf9a7","name":"BadDataError","message":"Request validation failed: your request body or params contain invalid data. Refer to the `details` list for more information.","details":[{"path":"/body/tokenName","message":"The `/body/tokenName` property is required. It was not present on the data you sent."},{"message":"The \"/body\" property must match exactly one schema in oneOf. The data you provided matches more than one option in the schema. These options are mutually exclusive. Please refer back to the schema and remove any excess properties.","path":"/body"}]}"#
    );
}

#[test]
fn the_handler_tells_all_that_it_finds() {
    assert_eq!(
        handler_findings(
            r#"{"type":"client","tokenName":null,"projects":[],"environment":"","expiresAt":"2016-12-31T23:59:60Z","createdByUserId":"x"}"#
        ),
        [
            "\"tokenName\" is not allowed to be empty.",
            "\"expiresAt\" must be a valid date. You provided \"2016-12-31T23:59:60Z\".",
            "\"projects\" must contain at least 1 items. You provided [].",
            "\"environment\" is not allowed to be empty.",
            "\"createdByUserId\" must be a number. You provided \"x\".",
        ]
    );
    let error = parse(r#"{"tokenName":"","type":"client"}"#)
        .unwrap_err()
        .to_error(uuid::Uuid::nil());
    assert_eq!(
        error,
        error::invalid_data(
            &[Detail::of_handler(
                "\"tokenName\" is not allowed to be empty."
            )],
            None
        )
    );
}

#[test]
fn projects_are_a_set() {
    for (projects, expected) in [
        (r#"["a","b"]"#, &["a", "b"][..]),
        (r#"["default","*"]"#, &["*"]),
        (r#"["*","*"]"#, &["*"]),
        (r#"["*","a\u0000"]"#, &["*"]),
        ("[5,true]", &["5", "true"]),
        ("[null]", &[""]),
    ] {
        let body = format!(r#"{{"type":"client","tokenName":"a","projects":{projects}}}"#);
        assert_eq!(accepted(&body).projects, expected, "{projects}");
    }
    for (projects, finding) in [
        (
            r#"["default","default","default"]"#,
            "\"projects[1]\" contains a duplicate value. You provided \"default\".",
        ),
        (
            r#"["5","x",5]"#,
            "\"projects[2]\" contains a duplicate value. You provided \"5\".",
        ),
        (
            r#"["x","a\u0000"]"#,
            "\"projects[1]\" must not contain the NUL character.",
        ),
    ] {
        let body = format!(r#"{{"type":"client","tokenName":"a","projects":{projects}}}"#);
        assert_eq!(handler_findings(&body), [finding], "{projects}");
    }
}

#[test]
fn project_is_the_scope_where_projects_is_absent() {
    for (project, expected) in [
        (r#""default""#, &["default"][..]),
        (r#""a,b""#, &["a", "b"]),
        (r#""*""#, &["*"]),
        (r#""a,*""#, &["*"]),
        ("5", &["5"]),
        // As if it were not there.
        ("null", &["*"]),
    ] {
        let body = format!(r#"{{"type":"client","project":{project},"tokenName":"a"}}"#);
        let token = accepted(&body);
        assert_eq!(token.projects, expected, "{project}");
        assert_eq!(
            token.echo,
            [EchoKey::TokenName, EchoKey::Projects, EchoKey::Environment]
        );
    }
    for (project, finding) in [
        (r#""""#, "\"project\" is not allowed to be empty."),
        (
            r#""a,,b""#,
            "\"project\" must not have an empty name in it. You provided \"a,,b\".",
        ),
        (
            r#"",""#,
            "\"project\" must not have an empty name in it. You provided \",\".",
        ),
        (
            r#""a,b,a""#,
            "\"project[2]\" contains a duplicate value. You provided \"a\".",
        ),
        (
            r#""a\u0000""#,
            "\"project[0]\" must not contain the NUL character.",
        ),
    ] {
        let body = format!(r#"{{"type":"client","project":{project},"tokenName":"a"}}"#);
        assert_eq!(handler_findings(&body), [finding], "{project}");
    }
}

#[test]
fn project_and_projects_must_agree() {
    for (project, projects) in [
        ("a", json!(["a"])),
        ("a,b", json!(["b", "a"])),
        ("*", json!(["a", "*"])),
    ] {
        let body =
            json!({"type": "client", "tokenName": "a", "project": project, "projects": projects});
        parse_create(&body).unwrap();
    }
    for (project, projects) in [
        ("a", json!(["b"])),
        ("a", json!(["a", "b"])),
        ("*", json!(["a"])),
        ("a", json!(["*"])),
    ] {
        let body =
            json!({"type": "client", "tokenName": "a", "project": project, "projects": projects});
        assert_eq!(
            handler_findings(&body.to_string()),
            [format!(
                "\"project\" and \"projects\" must name the same projects. You provided \"{project}\" and {projects}."
            )]
        );
    }
    // A list that is refused on its own is not also told to disagree.
    assert_eq!(
        handler_findings(r#"{"type":"client","tokenName":"a","project":"a","projects":[]}"#),
        ["\"projects\" must contain at least 1 items. You provided []."]
    );
}

#[test]
fn the_nul_character_is_refused() {
    assert_eq!(
        handler_findings(r#"{"type":"client","tokenName":"a\u0000b","environment":"e\u0000"}"#),
        [
            "\"tokenName\" must not contain the NUL character.",
            "\"environment\" must not contain the NUL character.",
        ]
    );
}

#[test]
fn user_ids_are_safe_numbers() {
    for (sent, echoed) in [
        ("5", "5"),
        ("-5", "-5"),
        ("3.0", "3"),
        ("1.5", "1.5"),
        ("-0.0", "0"),
        ("\"12\"", "12"),
        ("\" 12 \"", "12"),
        ("\"1e3\"", "1000"),
        ("\"+05.50\"", "5.5"),
        ("\".5\"", "0.5"),
        ("\"5.\"", "5"),
        ("\"0.0000001\"", "1e-7"),
        ("9007199254740991", "9007199254740991"),
    ] {
        let body = format!(r#"{{"type":"client","tokenName":"a","createdByUserId":{sent}}}"#);
        assert_eq!(
            accepted(&body).created_by_user_id.unwrap().to_string(),
            echoed,
            "{sent}"
        );
    }
    for (sent, finding) in [
        ("\"abc\"", "must be a number. You provided \"abc\"."),
        ("\"0x1f\"", "must be a number. You provided \"0x1f\"."),
        (
            "\"Infinity\"",
            "must be a number. You provided \"Infinity\".",
        ),
        ("\" \"", "must be a number. You provided \" \"."),
        ("\"\"", "must be a number."),
        ("null", "must be a number."),
        ("false", "must be a number."),
        ("true", "must be a number. You provided true."),
        ("{}", "must be a number. You provided {}."),
        ("[1]", "must be a number. You provided [1]."),
        (
            "1e20",
            "must be a safe number. You provided 100000000000000000000.",
        ),
        (
            "9007199254740993",
            "must be a safe number. You provided 9007199254740992.",
        ),
        (
            "\"9007199254740993\"",
            "must be a safe number. You provided \"9007199254740993\".",
        ),
        (
            "\"-9007199254740992\"",
            "must be a safe number. You provided -9007199254740992.",
        ),
        (
            "\"1.00000000000000000001\"",
            "must be a safe number. You provided \"1.00000000000000000001\".",
        ),
        (
            "\"1e400\"",
            "must be a safe number. You provided \"1e400\".",
        ),
    ] {
        let body = format!(r#"{{"type":"client","tokenName":"a","createdByUserId":{sent}}}"#);
        assert_eq!(
            handler_findings(&body),
            [format!("\"createdByUserId\" {finding}")],
            "{sent}"
        );
    }
}

proptest! {
    #[test]
    fn no_body_makes_it_panic_or_widens_its_scope(
        body in arbitrary_json(&["tokenName", "type", "environment", "project", "projects", "expiresAt", "createdByUserId"])
    ) {
        if let Ok(token) = parse_create(&body) {
            prop_assert!(!token.projects.is_empty() && !token.token_name.is_empty());
            let sent = |key| body.get(key).is_some_and(|value| !value.is_null());
            let asked_for_all = body["projects"].as_array().is_some_and(|names| names.contains(&json!("*")))
                || body["project"] == "*";
            prop_assert!(token.projects != ["*"] || asked_for_all || !(sent("projects") || sent("project")));
        }
    }
}
