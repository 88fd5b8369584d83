//! The bodies of this product's refusals: their shapes, names and texts, as bytes on the wire.
//!
//! The one thing a newcomer would get wrong: whether a body has an `id` says *where* the refusal arose. What middleware
//! refuses (credentials, permissions, content type, schema, unknown paths) has one; what a handler refuses has none, and
//! body parser and token checks answer with a bare `message`. So the constructors ask for an id exactly where the wire
//! has one. Nothing is logged here, and `Debug` shows no text: texts repeat what the caller sent, secrets included.

use std::fmt;

use engine::Error;
use engine::error::{Conflict, Forbidden, Missing};
use engine::permission::Action;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::wire::TokenType;

/// One entry of `details`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Detail {
    message: String,
    path: Option<String>,
    /// The product writes `path` before `message` for absent properties, and after it for all others.
    path_leads: bool,
}

impl Detail {
    /// A rule of a handler, which names its property in the text and has no `path`.
    pub(super) fn of_handler(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            path: None,
            path_leads: false,
        }
    }

    /// A schema's rule: `message`, then `path`.
    pub(super) fn of_schema(message: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            path: Some(path.into()),
            path_leads: false,
        }
    }

    /// A property that is not there: `path`, then `message`.
    pub(super) fn missing(path: impl Into<String>) -> Self {
        let path = path.into();
        Self {
            message: format!(
                "The `{path}` property is required. It was not present on the data you sent."
            ),
            path: Some(path),
            path_leads: true,
        }
    }

    /// The text.
    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The property, as in `/body/expiresAt`.
    #[cfg(test)]
    pub(super) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    fn to_value(&self) -> Value {
        match (&self.path, self.path_leads) {
            (None, _) => json!({"message": self.message}),
            (Some(path), false) => json!({"message": self.message, "path": path}),
            (Some(path), true) => json!({"path": path, "message": self.message}),
        }
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detail")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A refusal: the status and what is sent with it.
#[derive(Clone, PartialEq)]
pub(super) struct WireError {
    /// The HTTP status.
    pub status: u16,
    /// The body: `null` stands for zero bytes, a string for plain text, anything else is sent as JSON.
    pub body: Value,
}

impl WireError {
    /// The bytes to send.
    pub(super) fn body_bytes(&self) -> Vec<u8> {
        match &self.body {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        }
    }

    /// The `Content-Type` of [`Self::body_bytes`]; none for an empty body. The product sends its plain texts as HTML.
    pub(super) fn content_type(&self) -> Option<&'static str> {
        match self.body {
            Value::Null => None,
            Value::String(_) => Some("text/html; charset=utf-8"),
            _ => Some("application/json; charset=utf-8"),
        }
    }

    /// The `id` in the body, under which the operator finds the cause.
    pub(super) fn id(&self) -> Option<&str> {
        self.body.get("id").and_then(Value::as_str)
    }
}

impl WireError {
    /// A word for what went wrong, for the record of refusals: the name in the body, or one by the status where the body
    /// has none. Never a text that repeats what was sent.
    pub(super) fn code(&self) -> &str {
        let name = self.body.get("name").and_then(Value::as_str);
        name.unwrap_or(match self.status {
            400 => "MalformedBody",
            401 => "ApiTokenRequired",
            403 => "WrongTokenType",
            413 => "TooLarge",
            415 => "UnsupportedBody",
            429 => "TooManyRequests",
            _ => "Refused",
        })
    }
}

/// What the engine refuses, in this product's words. The id goes where the wire has one.
///
/// Every case is here, so that a new one stops the build; some cannot come from this dialect's calls.
impl From<(Error, Uuid)> for WireError {
    fn from((error, id): (Error, Uuid)) -> Self {
        match error {
            Error::Unauthenticated(_) => unauthorized(id),
            Error::Forbidden(Forbidden::Action {
                action,
                class: None,
            }) => permission(id, route_permissions(action)),
            Error::Forbidden(Forbidden::Action {
                action: Action::Issue,
                class: Some(class),
            }) => operation_denied_on_create(&type_permission(Action::Issue, &class)),
            Error::Forbidden(Forbidden::Action {
                action,
                class: Some(class),
            }) => operation_denied_on_target(&type_permission(action, &class)),
            Error::Forbidden(Forbidden::Tenant) => {
                forbidden("This token belongs to somebody else.")
            }
            Error::Forbidden(Forbidden::Itself) => {
                operation_denied("A token cannot widen what it may do, or for how long.")
            }
            Error::Forbidden(Forbidden::Address) => {
                forbidden("This token cannot be used from your address.")
            }
            Error::NotFound(Missing::Token) => not_found("No token found"),
            Error::NotFound(Missing::Record { kind }) => not_found(&format!("No {kind} found")),
            Error::Invalid { field, message } => {
                bad_data(&format!("\"{}\": {message}", wire_name(field)), None)
            }
            Error::Conflict(Conflict::Version { current }) => {
                conflict(&format!("The token has changed: its version is {current}."))
            }
            Error::Conflict(Conflict::Taken { space }) => {
                name_exists(&format!("This {space} is taken."))
            }
            // Nothing was changed, and the next try may well succeed.
            Error::Conflict(Conflict::Busy) | Error::Unavailable => unavailable(id),
            Error::OutcomeUnknown => plain(
                503,
                Some(id),
                "ServiceUnavailable",
                "The store did not say whether this was done. Look before you try again.",
            ),
            Error::Gone => not_found("It is gone."),
            Error::TooMany { what, max } => bad_data(
                &format!("Too many {}: at most {max}.", wire_name(what)),
                None,
            ),
            Error::Internal => internal(id),
        }
    }
}

/// The engine's names of inputs in this product's words: clients look for these in the text of a 400.
fn wire_name(name: &'static str) -> &'static str {
    match name {
        "name" => "tokenName",
        "expires_at" => "expiresAt",
        "permissions" => "projects",
        other => other,
    }
}

/// The permissions of which a caller needs one to be let to a route, in the product's order.
pub(super) fn route_permissions(action: Action) -> &'static [&'static str] {
    match action {
        Action::Issue => &[
            "ADMIN",
            "CREATE_CLIENT_API_TOKEN",
            "CREATE_FRONTEND_API_TOKEN",
        ],
        Action::Read | Action::Reveal => {
            &["ADMIN", "READ_CLIENT_API_TOKEN", "READ_FRONTEND_API_TOKEN"]
        }
        Action::Update | Action::UpdateData | Action::Revoke => &[
            "ADMIN",
            "UPDATE_CLIENT_API_TOKEN",
            "UPDATE_FRONTEND_API_TOKEN",
        ],
        Action::Delete => &[
            "ADMIN",
            "DELETE_CLIENT_API_TOKEN",
            "DELETE_FRONTEND_API_TOKEN",
        ],
        Action::ReadRecord | Action::WriteRecord | Action::DeleteRecord => &["ADMIN"],
    }
}

/// The permission that a token of this type asks for.
fn type_permission(action: Action, class: &str) -> String {
    let verb = match action {
        Action::Issue => "CREATE",
        Action::Read | Action::Reveal => "READ",
        Action::Update | Action::UpdateData | Action::Revoke => "UPDATE",
        Action::Delete => "DELETE",
        Action::ReadRecord | Action::WriteRecord | Action::DeleteRecord => return "ADMIN".into(),
    };
    match TokenType::from_word(class) {
        Some(TokenType::Client | TokenType::Backend) => format!("{verb}_CLIENT_API_TOKEN"),
        Some(TokenType::Frontend) => format!("{verb}_FRONTEND_API_TOKEN"),
        Some(TokenType::Admin) | None => "ADMIN".to_owned(),
    }
}

impl fmt::Debug for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireError")
            .field("status", &self.status)
            .field("name", &self.body.get("name").and_then(Value::as_str))
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

// ---- shapes A (with `id`) and B (without): name, message, details ----

fn named(
    status: u16,
    id: Option<Uuid>,
    name: &str,
    message: &str,
    details: Vec<Value>,
) -> WireError {
    let mut body = Map::new();
    if let Some(id) = id {
        body.insert("id".into(), id.to_string().into());
    }
    body.insert("name".into(), name.into());
    body.insert("message".into(), message.into());
    body.insert("details".into(), details.into());
    WireError {
        status,
        body: Value::Object(body),
    }
}

/// The usual case: one detail that repeats the message.
fn plain(status: u16, id: Option<Uuid>, name: &str, message: &str) -> WireError {
    named(status, id, name, message, vec![json!({"message": message})])
}

fn with(
    mut error: WireError,
    members: impl IntoIterator<Item = (&'static str, Value)>,
) -> WireError {
    if let Value::Object(body) = &mut error.body {
        body.extend(
            members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value)),
        );
    }
    error
}

/// 401 of the admin API: no credentials at all. Says where to log in.
pub(super) fn authentication_required(id: Uuid) -> WireError {
    with(
        plain(
            401,
            Some(id),
            "AuthenticationRequired",
            "You must log in to use Unleash. Your request had no authorization header, so we could not authorize you. Try logging in at /auth/simple/login",
        ),
        [
            ("path", json!("/auth/simple/login")),
            ("type", json!("password")),
            ("defaultHidden", json!(false)),
        ],
    )
}

/// 401 of the admin API: credentials that nobody has.
pub(super) fn unauthorized(id: Uuid) -> WireError {
    plain(
        401,
        Some(id),
        "UnauthorizedError",
        "You must log in to use Unleash.",
    )
}

/// 403: the caller has none of the permissions that the route asks for.
pub(super) fn permission(id: Uuid, permissions: &[&str]) -> WireError {
    let needed = match permissions {
        [one] => format!("you need the \"{one}\" permission"),
        several => format!(
            "you need one of the following permissions: \"{}\"",
            several.join("\", \"")
        ),
    };
    let message = format!(
        "You don't have the required permissions to perform this operation. To perform this action, {needed}."
    );
    with(
        plain(403, Some(id), "PermissionError", &message),
        [("permissions", json!(permissions))],
    )
}

/// 403 of update and delete: the target's type needs a permission that the caller lacks.
pub(super) fn operation_denied_on_target(permission: &str) -> WireError {
    operation_denied(&format!(
        "You do not have the required access [{permission}] to perform this operation"
    ))
}

/// 403 of create: the wanted type needs a permission that the caller lacks. Worded otherwise than for a target.
pub(super) fn operation_denied_on_create(permission: &str) -> WireError {
    operation_denied(&format!(
        "You don't have the necessary access [{permission}] to perform this operation"
    ))
}

/// 403: a rule of a handler forbids it.
pub(super) fn operation_denied(message: &str) -> WireError {
    plain(403, None, "OperationDeniedError", message)
}

/// 403: the kind of caller may not do this at all.
pub(super) fn forbidden(message: &str) -> WireError {
    plain(403, None, "ForbiddenError", message)
}

const BAD_DATA: &str =
    "Request validation failed: your request body or params contain invalid data";

/// 400 with a list of findings: with an id if the schema found them, without if a handler did.
pub(super) fn invalid_data(details: &[Detail], id: Option<Uuid>) -> WireError {
    named(
        400,
        id,
        "BadDataError",
        &format!("{BAD_DATA}. Refer to the `details` list for more information."),
        details.iter().map(Detail::to_value).collect(),
    )
}

/// 400 for one plain reason.
pub(super) fn bad_data(reason: &str, id: Option<Uuid>) -> WireError {
    named(
        400,
        id,
        "BadDataError",
        &format!("{BAD_DATA}: {reason}"),
        vec![json!({"message": reason})],
    )
}

/// 400: a new token for every environment at once. Only admin tokens are that.
pub(super) fn environment_wildcard(kind: TokenType) -> WireError {
    let kind = match kind {
        TokenType::Frontend => "Frontend",
        TokenType::Client | TokenType::Backend | TokenType::Admin => "Client",
    };
    bad_data(
        &format!("{kind} token cannot be scoped to all environments"),
        None,
    )
}

/// 400: a new token for an environment that is not there.
pub(super) fn unknown_environment(name: &str) -> WireError {
    bad_data(&format!("Environment={name} does not exist"), None)
}

/// 400: a new token for a project that is not there. An empty name is called `invalid`, as the product does.
pub(super) fn unknown_project(name: &str) -> WireError {
    let name = if name.is_empty() { "invalid" } else { name };
    bad_data(&format!("Project={name} does not exist"), None)
}

/// 400: a parameter in the path whose percent escapes cannot be decoded, as it was sent.
pub(super) fn undecodable_parameter(raw: &str) -> WireError {
    bad_data(&format!("Failed to decode param '{raw}'"), None)
}

/// 400: one more `resource` (as in `api token`) would exceed the limit.
pub(super) fn exceeds_limit(resource: &str, limit: usize) -> WireError {
    plain(
        400,
        None,
        "ExceedsLimitError",
        &format!(
            "Failed to create {resource}. You can't create more than the established limit of {limit}."
        ),
    )
}

/// 404: no such path, answered as the caller wrote it (escapes kept, query dropped).
pub(super) fn path_not_found(id: Uuid, path: &str) -> WireError {
    plain(
        404,
        Some(id),
        "NotFoundError",
        &format!("The path you were looking for ({path}) is not available."),
    )
}

/// 404 of a handler, as in `No project found`.
pub(super) fn not_found(message: &str) -> WireError {
    plain(404, None, "NotFoundError", message)
}

/// 405: backend routes under the frontend API.
pub(super) fn frontend_not_implemented(id: Uuid) -> WireError {
    plain(
        405,
        Some(id),
        "NotImplementedError",
        "The frontend API does not support this endpoint.",
    )
}

/// 409: the name is taken.
pub(super) fn name_exists(message: &str) -> WireError {
    plain(409, None, "NameExistsError", message)
}

/// 409: it has changed since the caller looked. The product has no such case; ours has its shape.
pub(super) fn conflict(message: &str) -> WireError {
    plain(409, None, "ConflictError", message)
}

/// 503: the store does not answer. Nothing was done, or it cannot be told; the answer says when to try again.
pub(super) fn unavailable(id: Uuid) -> WireError {
    plain(
        503,
        Some(id),
        "ServiceUnavailable",
        "The server cannot reach its store at the moment. Try again.",
    )
}

/// 415: not JSON. `header` is the `Content-Type` as sent.
pub(super) fn content_type(id: Uuid, header: Option<&str>) -> WireError {
    let provided = match header {
        None | Some("") => "you didn't provide one",
        Some(header) => header,
    };
    plain(
        415,
        Some(id),
        "ContentTypeError",
        &format!(
            "We do not accept the content-type you provided ({provided}). Try using one of the content-types we do accept instead (application/json) and make sure the body is in the corresponding format."
        ),
    )
}

/// 500: our fault. The text is fixed, so that nothing of the cause leaves the house; the log has it under the same id.
pub(super) fn internal(id: Uuid) -> WireError {
    plain(
        500,
        Some(id),
        "UnknownError",
        "Something went wrong on the server. The server's log has the cause under this id.",
    )
}

// ---- shapes C and D: a bare message ----

fn bare(status: u16, message: &str) -> WireError {
    WireError {
        status,
        body: json!({"message": message}),
    }
}

/// 400 of the body parser. `message` is the parser's and repeats nothing of the body.
pub(super) fn malformed_json(message: &str) -> WireError {
    bare(400, message)
}

/// 413: the body exceeds [`super::schema::BODY_BYTES_MAX`].
pub(super) fn too_large() -> WireError {
    bare(413, "request entity too large")
}

/// 415 of the body parser: JSON in a character set other than UTF-8.
pub(super) fn unsupported_charset(charset: &str) -> WireError {
    bare(
        415,
        &format!("unsupported charset \"{}\"", charset.to_uppercase()),
    )
}

/// 415 of the body parser: a compressed body.
pub(super) fn unsupported_encoding(encoding: &str) -> WireError {
    bare(
        415,
        &format!(
            "unsupported content encoding \"{}\"",
            encoding.to_lowercase()
        ),
    )
}

/// 401 of the client and frontend APIs, whatever is wrong with the token.
pub(super) fn api_token_required() -> WireError {
    bare(
        401,
        "This endpoint requires an API token. Please add an authorization header to your request with a valid token",
    )
}

/// 403 anywhere: a good token of a type that this endpoint is not for.
pub(super) fn wrong_token_type() -> WireError {
    bare(
        403,
        "invalid token: expected a different token type for this endpoint",
    )
}

// ---- shape E, and the one plain text ----

/// No body at all: project deletes (400, 404) and failed metrics (400).
pub(super) fn empty(status: u16) -> WireError {
    WireError {
        status,
        body: Value::Null,
    }
}

/// 429 of the limits per minute: a text, not JSON. The `RateLimit-…` and `Retry-After` headers go with it.
pub(super) fn too_many_requests() -> WireError {
    WireError {
        status: 429,
        body: json!("Too many requests, please try again later."),
    }
}

#[cfg(test)]
mod tests;
