//! The body of `POST /api/admin/api-tokens`, through schema and handler rules.
//!
//! The one thing a newcomer would get wrong: `project` is a member of its own beside `projects`. The product accepts and
//! then drops it, which makes a token for *all* projects out of one that was asked for one. Here it is the scope when
//! `projects` is absent, and must agree with it when both are there: a scope is never wider than what was asked.

use std::collections::HashSet;

use serde_json::{Number, Value};

use super::super::date_time::{WireInstant, is_ecmascript_blank};
use super::super::error::Detail;
use super::super::wire::TokenType;
use super::SchemaFailure;
use super::javascript::{self, SAFE_INTEGER_MAX, is_truthy, json_text, quoted};
use super::walk::{Findings, Object, Place, one_of};

/// The pattern of `type`, which is part of the text of its finding.
const TYPE_PATTERN: &str =
    "^([Cc][Ll][Ii][Ee][Nn][Tt]|[Bb][Aa][Cc][Kk][Ee][Nn][Dd]|[Ff][Rr][Oo][Nn][Tt][Ee][Nn][Dd])$";
const ALL_PROJECTS: &str = "*";
const DEFAULT_ENVIRONMENT: &str = "development";

/// A wanted token. Whether its environment and projects exist, and whether the caller may make it, is not checked yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CreateToken {
    /// Its name: not empty, otherwise any text.
    pub token_name: String,
    /// Its type; never admin.
    pub kind: TokenType,
    /// Its environment. May still be `*`, which is refused after the permission for the type.
    pub environment: String,
    /// Its projects, at least one and none twice; `["*"]` for all.
    pub projects: Vec<String>,
    /// When it ends; may be past.
    pub expires_at: Option<WireInstant>,
    /// Accepted and echoed; no effect.
    pub created_by_user_id: Option<Number>,
    /// The members that the 201 begins with, in its order.
    pub echo: Vec<EchoKey>,
}

/// A member of the request that its 201 repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EchoKey {
    /// `tokenName`
    TokenName,
    /// `environment`
    Environment,
    /// `projects`
    Projects,
    /// `expiresAt`
    ExpiresAt,
    /// `createdByUserId`
    CreatedByUserId,
}

impl EchoKey {
    fn of(key: &str) -> Option<Self> {
        match key {
            "tokenName" => Some(Self::TokenName),
            "environment" => Some(Self::Environment),
            "projects" => Some(Self::Projects),
            "expiresAt" => Some(Self::ExpiresAt),
            "createdByUserId" => Some(Self::CreatedByUserId),
            _ => None,
        }
    }
}

/// The body of a create: `tokenName` and `type`, optionally `environment`, `projects` or `project`, `expiresAt`,
/// `createdByUserId`. Other members are dropped.
///
/// # Errors
/// What the schema found first (with the second detail of its `oneOf`), or all that the handler's rules found.
pub(crate) fn parse_create(body: &Value) -> Result<CreateToken, SchemaFailure> {
    // A body that is no object never reaches the `oneOf`.
    let body = Place::body(body).object()?;
    let checked = check_schema(&body).map_err(|mut findings| {
        findings.push(one_of("/body"));
        findings
    })?;
    check_rules(&body, checked).map_err(SchemaFailure::Handler)
}

/// The members as the schema leaves them.
struct Checked {
    kind: TokenType,
    token_name: String,
    expires_at: Option<(String, Option<WireInstant>)>,
    environment: Option<String>,
    project: Option<String>,
    projects: Option<Vec<String>>,
}

/// The schema. The order of the steps is the order in which the product looks at the members.
fn check_schema(body: &Object<'_>) -> Result<Checked, Findings> {
    body.require(&["type", "tokenName"])?;
    let expires_at = body
        .get("expiresAt")
        .map(|place| place.date_time())
        .transpose()?;
    let kind = parse_type(&body.expect("type"))?;
    let environment = body.optional_string("environment")?;
    let project = body.optional_string("project")?;
    let projects = body
        .get("projects")
        .map(|place| place.strings())
        .transpose()?;
    let token_name = body.expect("tokenName").string()?.into_owned();
    Ok(Checked {
        kind,
        token_name,
        expires_at,
        environment,
        // `null` says that there is none; an empty text says nothing clear, and the rules refuse it.
        project: project.filter(|_| body.raw("project") != Some(&Value::Null)),
        projects,
    })
}

fn parse_type(place: &Place<'_>) -> Result<TokenType, Findings> {
    let text = place.string()?;
    match text.to_ascii_lowercase().as_str() {
        "client" => Ok(TokenType::Client),
        "backend" => Ok(TokenType::Backend),
        "frontend" => Ok(TokenType::Frontend),
        _ => Err(place.finding(
            &format!("must match pattern \"{TYPE_PATTERN}\""),
            &quoted(&text),
        )),
    }
}

/// The handler's rules, all of them, in the order in which the product tells what they found.
fn check_rules(body: &Object<'_>, checked: Checked) -> Result<CreateToken, Vec<Detail>> {
    let mut found = Vec::new();
    check_text(&mut found, "tokenName", &checked.token_name);
    if let Some((text, None)) = &checked.expires_at {
        found.push(rule(
            "expiresAt",
            "must be a valid date",
            &Value::from(text.as_str()),
        ));
    }
    let scope = checked
        .projects
        .as_deref()
        .map(|projects| check_projects(&mut found, projects));
    if let Some(environment) = &checked.environment {
        check_text(&mut found, "environment", environment);
    }
    let created_by_user_id = body.raw("createdByUserId").and_then(|value| {
        check_user_id(value)
            .map_err(|detail| found.push(detail))
            .ok()
    });
    let named = checked
        .project
        .as_deref()
        .map(|project| check_project(&mut found, project));

    let given = scope.as_ref().or(named.as_ref()).cloned();
    if let (Some(project), Some(projects), Some(Some(named)), Some(Some(scope))) =
        (&checked.project, &checked.projects, &named, &scope)
        && named.iter().collect::<HashSet<_>>() != scope.iter().collect::<HashSet<_>>()
    {
        found.push(Detail::of_handler(format!(
            "\"project\" and \"projects\" must name the same projects. You provided {} and {}.",
            quoted(project),
            json_text(&Value::from(projects.as_slice())),
        )));
    }
    if !found.is_empty() {
        return Err(found);
    }
    Ok(CreateToken {
        token_name: checked.token_name,
        kind: checked.kind,
        environment: checked
            .environment
            .unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned()),
        // Without findings a scope that was given is there, so the default stands for "none was given" only.
        projects: given
            .flatten()
            .unwrap_or_else(|| vec![ALL_PROJECTS.to_owned()]),
        expires_at: checked.expires_at.and_then(|(_, instant)| instant),
        created_by_user_id,
        echo: echo_of(body),
    })
}

/// What was sent, in the order in which it was sent, then the defaults.
fn echo_of(body: &Object<'_>) -> Vec<EchoKey> {
    let mut echo: Vec<EchoKey> = body.keys().filter_map(EchoKey::of).collect();
    for default in [EchoKey::Projects, EchoKey::Environment] {
        if !echo.contains(&default) {
            echo.push(default);
        }
    }
    echo
}

/// A detail of the handler. What was provided is told only where JavaScript takes it for true.
fn rule(label: &str, broken: &str, provided: &Value) -> Detail {
    let provided = if is_truthy(provided) {
        format!(" You provided {}.", json_text(provided))
    } else {
        String::new()
    };
    Detail::of_handler(format!("\"{label}\" {broken}.{provided}"))
}

/// Not empty, and without the one character that no SQL text can hold.
fn check_text(found: &mut Vec<Detail>, label: &str, text: &str) {
    if text.is_empty() {
        found.push(rule(label, "is not allowed to be empty", &Value::Null));
    } else {
        check_nul(found, label, text);
    }
}

fn check_nul(found: &mut Vec<Detail>, label: &str, text: &str) {
    if text.contains('\0') {
        found.push(rule(
            label,
            "must not contain the NUL character",
            &Value::Null,
        ));
    }
}

/// The scope that `projects` names; `None` if a rule is broken.
fn check_projects(found: &mut Vec<Detail>, projects: &[String]) -> Option<Vec<String>> {
    if projects.is_empty() {
        // An empty list is true in JavaScript, so it is told.
        found.push(rule(
            "projects",
            "must contain at least 1 items",
            &Value::Array(Vec::new()),
        ));
        return None;
    }
    check_names(found, "projects", projects.iter().map(String::as_str))
}

/// The scope that `project` names: projects joined by commas, as the product writes this member itself.
fn check_project(found: &mut Vec<Detail>, project: &str) -> Option<Vec<String>> {
    if project.is_empty() {
        found.push(rule("project", "is not allowed to be empty", &Value::Null));
        return None;
    }
    if project.split(',').any(str::is_empty) {
        found.push(rule(
            "project",
            "must not have an empty name in it",
            &Value::from(project),
        ));
        return None;
    }
    check_names(found, "project", project.split(','))
}

/// One `*` makes all the others moot. Otherwise no name may come twice; only the first that does is told, so that a
/// small request cannot ask for a large answer.
fn check_names<'a>(
    found: &mut Vec<Detail>,
    label: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<Vec<String>> {
    if names.clone().any(|name| name == ALL_PROJECTS) {
        return Some(vec![ALL_PROJECTS.to_owned()]);
    }
    let mut seen = HashSet::new();
    for (index, name) in names.clone().enumerate() {
        let label = format!("{label}[{index}]");
        if !seen.insert(name) {
            found.push(rule(
                &label,
                "contains a duplicate value",
                &Value::from(name),
            ));
            return None;
        }
        let before = found.len();
        check_nul(found, &label, name);
        if found.len() > before {
            return None;
        }
    }
    Some(names.map(str::to_owned).collect())
}

/// A number that a double holds exactly, or a decimal text of one.
fn check_user_id(value: &Value) -> Result<Number, Detail> {
    let number = match value {
        Value::Number(number) => javascript::double(number),
        Value::String(text) => {
            let text = text.trim_matches(is_ecmascript_blank);
            let number = javascript::decimal(text)
                .ok_or_else(|| rule("createdByUserId", "must be a number", value))?;
            if !number.is_finite() || loses_digits(text, number) {
                return Err(rule("createdByUserId", "must be a safe number", value));
            }
            number
        }
        _ => return Err(rule("createdByUserId", "must be a number", value)),
    };
    let unsafe_number = || {
        rule(
            "createdByUserId",
            "must be a safe number",
            &Value::from(number),
        )
    };
    if number.abs() > SAFE_INTEGER_MAX {
        return Err(unsafe_number());
    }
    // Whole numbers are written without a point, as JavaScript does.
    if number.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within 53 bits")]
        return Ok(Number::from(number as i64));
    }
    Number::from_f64(number).ok_or_else(unsafe_number)
}

/// Whether a decimal text without an exponent has digits that the double does not keep.
fn loses_digits(text: &str, number: f64) -> bool {
    if text.contains(['e', 'E']) {
        return false;
    }
    let normal = |text: &str| {
        let digits = text.trim_start_matches(['+', '-']).trim_start_matches('0');
        match digits.split_once('.') {
            Some((whole, fraction)) => format!("{whole}.{}", fraction.trim_end_matches('0')),
            None => format!("{digits}."),
        }
    };
    // Rust writes a double with all its digits and never with an exponent.
    normal(text) != normal(&number.to_string())
}

#[cfg(test)]
mod tests {
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
        let token = accepted(
            r#"{"type":"CLIENT","tokenName":"upper","secret":"s","alias":"a","seenAt":1}"#,
        );
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
            let body = json!({"type": "client", "tokenName": "a", "project": project, "projects": projects});
            parse_create(&body).unwrap();
        }
        for (project, projects) in [
            ("a", json!(["b"])),
            ("a", json!(["a", "b"])),
            ("*", json!(["a"])),
            ("a", json!(["*"])),
        ] {
            let body = json!({"type": "client", "tokenName": "a", "project": project, "projects": projects});
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
}
