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
mod tests;
