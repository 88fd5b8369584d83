//! The bodies of this product's refusals.
//!
//! The one thing a newcomer would get wrong: the order of keys depends on the refusal. Those about JWTs and about plain
//! permissions put `error` before `message`, all others the other way round. `Debug` shows no text: texts may repeat ids.

use std::borrow::Cow;
use std::fmt;

use axum::http::StatusCode;
use engine::Error;
use engine::error::{Forbidden, Unauthenticated};
use serde_json::{Map, Value, json};

use super::roles::Permission;

/// Why a request is not answered as it hoped. The id of the request comes in when it is written.
#[derive(Clone, PartialEq)]
pub(super) struct WireError {
    /// The status.
    pub status: StatusCode,
    /// The product's word for this kind of refusal.
    pub error: Cow<'static, str>,
    // Boxed, because results are moved about and most of them are no refusals.
    message: Box<Value>,
    details: Option<Box<Value>>,
    error_leads: bool,
}

impl fmt::Debug for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireError")
            .field("status", &self.status)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl WireError {
    fn new(status: StatusCode, error: &'static str, message: impl Into<Value>) -> Self {
        Self {
            status,
            error: Cow::Borrowed(error),
            message: Box::new(message.into()),
            details: None,
            error_leads: false,
        }
    }

    /// The body, under the id of its request.
    pub(super) fn body(&self, request: &str) -> Value {
        let mut body = Map::new();
        body.insert("reqId".to_owned(), request.into());
        body.insert("statusCode".to_owned(), self.status.as_u16().into());
        let texts = [
            ("message", Value::clone(&self.message)),
            ("error", self.error.clone().into()),
        ];
        let ordered: Vec<_> = if self.error_leads {
            texts.into_iter().rev().collect()
        } else {
            texts.into_iter().collect()
        };
        for (key, text) in ordered {
            body.insert(key.to_owned(), text);
        }
        if let Some(details) = &self.details {
            body.insert("details".to_owned(), Value::clone(details));
        }
        Value::Object(body)
    }

    /// The text, for tests of what says it.
    #[cfg(test)]
    pub(super) fn message(&self) -> &Value {
        &self.message
    }
}

/// 400.
pub(super) fn bad_request(message: impl Into<Value>) -> WireError {
    WireError::new(StatusCode::BAD_REQUEST, "BadRequest", message)
}

/// 401.
pub(super) fn unauthorized(message: &'static str) -> WireError {
    WireError::new(StatusCode::UNAUTHORIZED, "UnauthorizedError", message)
}

/// 403 for what is wrong with a JWT itself.
pub(super) fn token_error(message: &'static str) -> WireError {
    WireError {
        error_leads: true,
        ..WireError::new(StatusCode::FORBIDDEN, "TokenError", message)
    }
}

/// 403 in general.
pub(super) fn forbidden(message: impl Into<Value>) -> WireError {
    WireError::new(StatusCode::FORBIDDEN, "ForbiddenError", message)
}

/// 403 for a genuine JWT that is for something else. `path` is that of the request.
pub(super) fn wrong_kind(path: &str) -> WireError {
    WireError {
        error: Cow::Owned(format!("Forbidden access to {path}")),
        ..forbidden("You are not allowed to access this resource")
    }
}

/// 403 for what the caller's role does not permit. A role that lacks an action has no rule for it either, so that the
/// list of the caller's rules is empty.
pub(super) fn permission_denied(permission: Permission) -> WireError {
    let message = format!("You are not allowed to {} on identity", permission.word());
    WireError {
        error_leads: true,
        details: Some(Box::new(json!([]))),
        ..WireError::new(StatusCode::FORBIDDEN, "PermissionDenied", message)
    }
}

/// 403 at the privilege boundary; `what` is what could not be done.
pub(super) fn boundary(what: &'static str, permission: Permission) -> WireError {
    let action = permission.word();
    let message = format!("{what}. Missing permission {action} on identity");
    let details = json!({"missingPermissions": [{"action": action, "subject": "identity"}]});
    WireError {
        details: Some(Box::new(details)),
        ..WireError::new(StatusCode::FORBIDDEN, "PermissionBoundaryError", message)
    }
}

/// 403 for anybody but an instance admin who touches the identity of one.
pub(super) fn instance_admin() -> WireError {
    forbidden(
        "You are attempting to modify an instance admin identity. This requires elevated instance admin privileges",
    )
}

/// 404.
pub(super) fn not_found(message: impl Into<Value>) -> WireError {
    WireError::new(StatusCode::NOT_FOUND, "NotFound", message)
}

/// 404 for a token that is not there, or not to be seen.
pub(super) fn no_token(id: &str) -> WireError {
    not_found(format!("Token with ID {id} not found"))
}

/// 404 for an identity, as the calls about authentication say it.
pub(super) fn no_identity(id: &str) -> WireError {
    not_found(format!("Failed to find identity with ID {id}"))
}

/// 422 with the broken rules.
pub(super) fn unprocessable(issues: Vec<Value>) -> WireError {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    WireError::new(status, "ValidationFailure", Value::Array(issues))
}

/// 422 for a text that its column could not hold: here alone the message is a string.
pub(super) fn too_long() -> WireError {
    WireError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "ValidationFailure",
        "One or more field values exceed the maximum length allowed for this resource",
    )
}

/// 400 for an update that says nothing.
pub(super) fn nothing_to_update() -> WireError {
    bad_request("No fields to update")
}

/// 413.
pub(super) fn too_large() -> WireError {
    let message = "The body has more than 1 MiB";
    WireError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
}

/// 415.
pub(super) fn media_type() -> WireError {
    let message = "The body must be JSON, with content type application/json";
    WireError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        message,
    )
}

/// Why a credential is refused, where the dialect has not asked further.
pub(super) fn unauthenticated(cause: Unauthenticated) -> WireError {
    match cause {
        Unauthenticated::Absent => unauthorized("Token missing"),
        Unauthenticated::Malformed => token_error(super::jwt::MALFORMED),
        Unauthenticated::Unknown | Unauthenticated::Orphaned => {
            unauthorized("No identity access token found")
        }
        Unauthenticated::Expired => token_error(super::jwt::EXPIRED),
        Unauthenticated::Revoked => unauthorized("Failed to authorize: token has been revoked"),
        Unauthenticated::Exhausted => {
            unauthorized("Failed to authorize: token usage limit reached")
        }
    }
}

impl From<Error> for WireError {
    /// The border between engine and dialect.
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthenticated(cause) => unauthenticated(cause),
            Error::Forbidden(Forbidden::Address) => {
                forbidden("You are not allowed to access this resource from the current IP address")
            }
            // The dialect asks for its own permissions first and says them in its own words; this is the second lock.
            Error::Forbidden(Forbidden::Action { .. } | Forbidden::Tenant | Forbidden::Itself) => {
                forbidden("You are not allowed to access this resource")
            }
            Error::NotFound(missing) => not_found(missing.to_string()),
            Error::Invalid { message, .. } => bad_request(message.into_owned()),
            Error::Conflict(conflict) => {
                let message = conflict.to_string();
                Self::new(StatusCode::CONFLICT, "Conflict", message)
            }
            Error::Gone => Self::new(StatusCode::GONE, "Gone", "It is no longer there"),
            Error::TooMany { what, max } => bad_request(format!("Too many {what}: at most {max}")),
            Error::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The store does not answer, try again",
            ),
            Error::OutcomeUnknown => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The store did not say whether this was done, look before you try again",
            ),
            Error::Internal => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "Something went wrong",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_that_of_the_kind() {
        assert_eq!(
            no_token("x").body("req-1").to_string(),
            r#"{"reqId":"req-1","statusCode":404,"message":"Token with ID x not found","error":"NotFound"}"#
        );
        assert_eq!(
            token_error("invalid signature").body("req-1").to_string(),
            r#"{"reqId":"req-1","statusCode":403,"error":"TokenError","message":"invalid signature"}"#
        );
        assert_eq!(
            permission_denied(Permission::Edit).body("r").to_string(),
            r#"{"reqId":"r","statusCode":403,"error":"PermissionDenied","message":"You are not allowed to edit on identity","details":[]}"#
        );
        assert_eq!(
            boundary("Failed", Permission::CreateToken).body("r")["details"].to_string(),
            r#"{"missingPermissions":[{"action":"create-token","subject":"identity"}]}"#
        );
    }

    #[test]
    fn faults_of_ours_tell_nothing() {
        let body = WireError::from(Error::Internal).body("r");
        assert_eq!(body["message"], "Something went wrong");
        assert_eq!(body["statusCode"], 500);
    }
}
