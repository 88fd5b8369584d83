//! Refusals: a status and the problems that led to it, in the shape of this product's errors.
//!
//! The one thing a newcomer would get wrong: 400 is for two different moments. What a body *is* (its shape) is judged before
//! anything is looked up; what the rules say of it (a name that is taken, a limit) only after 404 and 409.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use engine::Error;
use engine::error::{Conflict, Forbidden, Missing};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::permission_for;
use super::records::NAME_SPACE;
use crate::kit::trace::RefusalReason;

/// What an API token is called in errors.
pub(super) const API_TOKEN: &str = "API_TOKEN";
/// What a user is called in errors.
pub(super) const USER: &str = "USER";

/// Characters of what the caller sent that an error repeats.
const ECHOED_CHARS_MAX: usize = 200;

/// What kind of problem.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ProblemType {
    /// None of the others.
    Unknown,
    /// A value that cannot be used.
    IllegalArgument,
    /// A value below its bound.
    GreaterValueRequired,
    /// A value above its bound.
    LessValueRequired,
    /// Something else has this value already.
    NonUniqueValue,
    /// A value of another type than wanted.
    IncorrectDataType,
    /// The caller lacks a permission.
    InsufficientPermission,
    /// The entity is not in the state that the call expects.
    InvalidState,
}

impl ProblemType {
    const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::IllegalArgument => "ILLEGAL_ARGUMENT",
            Self::GreaterValueRequired => "GREATER_VALUE_REQUIRED",
            Self::LessValueRequired => "LESS_VALUE_REQUIRED",
            Self::NonUniqueValue => "NON_UNIQUE_VALUE",
            Self::IncorrectDataType => "INCORRECT_DATA_TYPE",
            Self::InsufficientPermission => "INSUFFICIENT_PERMISSION",
            Self::InvalidState => "INVALID_STATE",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Severity {
    /// The call was not done.
    Error,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    /// What kind of problem.
    #[serde(rename = "problemType")]
    kind: ProblemType,
    /// How bad it is.
    severity: Severity,
    /// What kind of entity it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    entity_type: Option<&'static str>,
    /// Which entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    entity_id: Option<String>,
    /// Which field, or which place in a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    identifier: Option<String>,
    /// The values it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    values: Vec<String>,
    /// What is wrong, for people.
    reason: String,
    /// Values that would do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    suggested_values: Vec<String>,
    /// Always 1.
    #[serde(rename = "problemCount")]
    count: u32,
}

impl Problem {
    /// A problem that names nothing.
    pub(super) fn new(kind: ProblemType, reason: impl Into<String>) -> Self {
        Self {
            kind,
            severity: Severity::Error,
            entity_type: None,
            entity_id: None,
            identifier: None,
            values: Vec::new(),
            reason: reason.into(),
            suggested_values: Vec::new(),
            count: 1,
        }
    }

    /// A problem with a field.
    pub(super) fn with(
        kind: ProblemType,
        field: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            identifier: Some(field.into()),
            ..Self::new(kind, reason)
        }
    }

    /// Names the value it is about.
    #[must_use]
    pub(super) fn value(mut self, value: &str) -> Self {
        self.values.push(echoed(value));
        self
    }

    /// Names a value that would do.
    #[must_use]
    pub(super) fn suggesting(mut self, value: impl Into<String>) -> Self {
        self.suggested_values.push(value.into());
        self
    }
}

/// What the caller sent, cut to what an error repeats.
pub(super) fn echoed(text: &str) -> String {
    text.chars().take(ECHOED_CHARS_MAX).collect()
}

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActionableError {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// The reason phrase of the status.
    #[schema(value_type = String)]
    title: &'static str,
    /// What led to it.
    problems: Vec<Problem>,
    /// The id of the request, also in the log.
    instance: String,
    /// The status.
    status: u16,
    /// The path of the call.
    origin: String,
    /// How many problems there are.
    problem_count: usize,
    /// What kind of entity the call was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    entity_type: Option<&'static str>,
    /// Which entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    entity_id: Option<String>,
}

/// Why a call was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    problems: Vec<Problem>,
    entity: Option<(&'static str, String)>,
    allow: Option<&'static str>,
}

impl Refusal {
    /// With one problem.
    pub(super) fn one(status: StatusCode, problem: Problem) -> Self {
        Self::many(status, vec![problem])
    }

    /// With at least one.
    pub(super) fn many(status: StatusCode, problems: Vec<Problem>) -> Self {
        Self {
            status,
            problems,
            entity: None,
            allow: None,
        }
    }

    /// 400 with these problems, or nothing if there are none.
    pub(super) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self::many(StatusCode::BAD_REQUEST, problems))
        }
    }

    /// 400 with one problem.
    pub(super) fn bad(problem: Problem) -> Self {
        Self::one(StatusCode::BAD_REQUEST, problem)
    }

    /// Says which entity the call was about.
    #[must_use]
    pub(super) fn about(mut self, entity: &'static str, id: &str) -> Self {
        let id = echoed(id);
        for problem in &mut self.problems {
            problem.entity_type = Some(entity);
            problem.entity_id = Some(id.clone());
        }
        self.entity = Some((entity, id));
        self
    }

    /// 401, whatever is wrong with the credentials: a caller learns no more.
    pub(super) fn unauthenticated() -> Self {
        let reason = "a valid API token is required: Authorization: Bearer <token>";
        Self::one(
            StatusCode::UNAUTHORIZED,
            Problem::new(ProblemType::Unknown, reason),
        )
    }

    /// 403 for a permission that the caller lacks.
    pub(super) fn lacks(permission: &str) -> Self {
        let reason = format!("the permission {permission} is required");
        let problem = Problem::with(ProblemType::InsufficientPermission, "permissions", reason);
        Self::one(StatusCode::FORBIDDEN, problem.value(permission))
    }

    /// 403 for a permission that the caller would hand on without having it.
    pub(super) fn cannot_grant(permission: &str) -> Self {
        let reason =
            format!("a token grants only what its maker has: {permission} is not among it");
        let problem = Problem::with(ProblemType::InsufficientPermission, "permissions", reason);
        Self::one(StatusCode::FORBIDDEN, problem.value(permission))
    }

    fn forbidden(reason: &str) -> Self {
        let problem = Problem::new(ProblemType::InsufficientPermission, reason);
        Self::one(StatusCode::FORBIDDEN, problem)
    }

    /// 404: nothing has this id.
    pub(super) fn unknown_id(entity: &'static str, id: &str) -> Self {
        let problem = Problem::with(ProblemType::IllegalArgument, "id", "nothing has this id");
        Self::one(StatusCode::NOT_FOUND, problem.value(id)).about(entity, id)
    }

    /// 404: no such path.
    pub(super) fn no_such_path() -> Self {
        let reason = "there is nothing at this path";
        Self::one(
            StatusCode::NOT_FOUND,
            Problem::new(ProblemType::IllegalArgument, reason),
        )
    }

    /// 405: this path takes other methods.
    pub(super) fn wrong_method(allow: &'static str) -> Self {
        let reason = format!("this path takes {allow}");
        let problem = Problem::new(ProblemType::IllegalArgument, reason);
        Self {
            allow: Some(allow),
            ..Self::one(StatusCode::METHOD_NOT_ALLOWED, problem)
        }
    }

    /// 409: the version that was sent is not the present one.
    pub(super) fn stale(sent: u64, current: u64) -> Self {
        let reason = format!("the version is {current}: read again, then save");
        let problem = Problem::with(ProblemType::InvalidState, "version", reason)
            .value(&sent.to_string())
            .suggesting(current.to_string());
        Self::one(StatusCode::CONFLICT, problem)
    }

    fn taken_name() -> Self {
        let reason = "another API token has this name";
        Self::bad(Problem::with(ProblemType::NonUniqueValue, "name", reason))
    }

    fn unavailable() -> Self {
        let reason = "the server is busy or cannot reach its store: try again";
        Self::one(
            StatusCode::SERVICE_UNAVAILABLE,
            Problem::new(ProblemType::Unknown, reason),
        )
    }

    fn outcome_unknown() -> Self {
        let reason = "the store did not say whether this was done: look before you try again";
        Self::one(
            StatusCode::SERVICE_UNAVAILABLE,
            Problem::new(ProblemType::Unknown, reason),
        )
    }

    /// The answer to a call with this request id and path.
    pub(super) fn response(&self, instance: &str, origin: &str) -> Response {
        let body = ActionableError {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            problems: self.problems.clone(),
            instance: instance.to_owned(),
            status: self.status.as_u16(),
            origin: origin.to_owned(),
            problem_count: self.problems.len(),
            entity_type: self.entity.as_ref().map(|(kind, _)| *kind),
            entity_id: self.entity.as_ref().map(|(_, id)| id.clone()),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(problem) = self.problems.first() {
            let code = RefusalReason(problem.kind.word().to_owned());
            response.extensions_mut().insert(code);
        }
        response
    }
}

/// What the engine refuses, in this product's words.
///
/// Every case is here, so that a new one stops the build; some cannot come from this dialect's calls.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthenticated(_) => Self::unauthenticated(),
            Error::Forbidden(Forbidden::Action { action, .. }) => {
                Self::lacks(permission_for(action))
            }
            Error::Forbidden(Forbidden::Tenant) => {
                Self::forbidden("this belongs to another tenant")
            }
            Error::Forbidden(Forbidden::Itself) => {
                Self::forbidden("a token does not widen what it may do itself")
            }
            Error::Forbidden(Forbidden::Address) => {
                Self::forbidden("this token may not be used from your address")
            }
            Error::NotFound(Missing::Token | Missing::Record { .. }) | Error::Gone => Self::one(
                StatusCode::NOT_FOUND,
                Problem::new(ProblemType::IllegalArgument, "there is no such entity"),
            ),
            Error::Invalid { field, message } => Self::bad(Problem::with(
                ProblemType::IllegalArgument,
                wire_name(field),
                message,
            )),
            Error::Conflict(Conflict::Version { current }) => {
                let reason = format!("the version is {current}: read again, then save");
                let problem = Problem::with(ProblemType::InvalidState, "version", reason);
                Self::one(
                    StatusCode::CONFLICT,
                    problem.suggesting(current.to_string()),
                )
            }
            Error::Conflict(Conflict::Taken { space }) if space == NAME_SPACE => Self::taken_name(),
            // Two random ids or secrets that are the same: the next try makes others.
            Error::Conflict(Conflict::Taken { .. } | Conflict::Busy) | Error::Unavailable => {
                Self::unavailable()
            }
            Error::OutcomeUnknown => Self::outcome_unknown(),
            Error::TooMany { what, max } => Self::bad(Problem::with(
                ProblemType::LessValueRequired,
                wire_name(what),
                format!("at most {max}"),
            )),
            Error::Internal => Self::one(
                StatusCode::INTERNAL_SERVER_ERROR,
                Problem::new(
                    ProblemType::Unknown,
                    "something went wrong on the server: its log has the cause under this request's id",
                ),
            ),
        }
    }
}

/// The engine's names of inputs in this product's words.
fn wire_name(name: &'static str) -> &'static str {
    match name {
        "expires_at" => "expiry",
        "addresses" => "allowedAddresses",
        other => other,
    }
}
