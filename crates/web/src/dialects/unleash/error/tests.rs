//! Refusals byte by byte, as they were recorded, and the engine's refusals in this product's words.
//!
//! The one thing a newcomer would get wrong: these texts are the wire. A test that fails here is a client that breaks.

#![allow(clippy::unwrap_used)]
use super::*;

fn id(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn text(error: &WireError) -> String {
    String::from_utf8(error.body_bytes()).unwrap()
}

#[test]
fn credentials() {
    let error = authentication_required(id("981f41a3-f1e0-484e-9c18-f4061c65bff7"));
    assert_eq!(error.status, 401);
    assert_eq!(
        text(&error),
        r#"{"id":"981f41a3-f1e0-484e-9c18-f4061c65bff7","name":"AuthenticationRequired","message":"You must log in to use Unleash. Your request had no authorization header, so we could not authorize you. Try logging in at /auth/simple/login","details":[{"message":"You must log in to use Unleash. Your request had no authorization header, so we could not authorize you. Try logging in at /auth/simple/login"}],"path":"/auth/simple/login","type":"password","defaultHidden":false}"#
    );
    assert_eq!(
        text(&unauthorized(id("ad7e0639-8ffa-46b2-ba63-e025600e28d0"))),
        r#"{"id":"ad7e0639-8ffa-46b2-ba63-e025600e28d0","name":"UnauthorizedError","message":"You must log in to use Unleash.","details":[{"message":"You must log in to use Unleash."}]}"#
    );
    assert_eq!(
        text(&api_token_required()),
        r#"{"message":"This endpoint requires an API token. Please add an authorization header to your request with a valid token"}"#
    );
    assert_eq!(
        text(&wrong_token_type()),
        r#"{"message":"invalid token: expected a different token type for this endpoint"}"#
    );
}

#[test]
fn permissions_are_listed_in_text_and_member() {
    let one = permission(Uuid::nil(), &["READ_PROJECT_API_TOKEN"]);
    assert_eq!(
        text(&one),
        r#"{"id":"00000000-0000-0000-0000-000000000000","name":"PermissionError","message":"You don't have the required permissions to perform this operation. To perform this action, you need the \"READ_PROJECT_API_TOKEN\" permission.","details":[{"message":"You don't have the required permissions to perform this operation. To perform this action, you need the \"READ_PROJECT_API_TOKEN\" permission."}],"permissions":["READ_PROJECT_API_TOKEN"]}"#
    );
    let several = permission(Uuid::nil(), &["ADMIN", "B", "C"]);
    assert_eq!(
        several.body["message"],
        "You don't have the required permissions to perform this operation. To perform this action, you need one of the following permissions: \"ADMIN\", \"B\", \"C\"."
    );
    assert_eq!(several.body["permissions"], json!(["ADMIN", "B", "C"]));
}

#[test]
fn denials_differ_between_create_and_target() {
    assert_eq!(
        text(&operation_denied_on_create("CREATE_FRONTEND_API_TOKEN")),
        r#"{"name":"OperationDeniedError","message":"You don't have the necessary access [CREATE_FRONTEND_API_TOKEN] to perform this operation","details":[{"message":"You don't have the necessary access [CREATE_FRONTEND_API_TOKEN] to perform this operation"}]}"#
    );
    assert_eq!(
        operation_denied_on_target("ADMIN").body["message"],
        "You do not have the required access [ADMIN] to perform this operation"
    );
    assert_eq!(
        text(&forbidden("PATs require an authenticated user.")),
        r#"{"name":"ForbiddenError","message":"PATs require an authenticated user.","details":[{"message":"PATs require an authenticated user."}]}"#
    );
}

#[test]
fn bad_data_with_a_list_and_with_a_reason() {
    let listed = invalid_data(
        &[
            Detail::missing("/body/type"),
            Detail::of_schema("m", "/p"),
            Detail::of_handler("h"),
        ],
        Some(Uuid::nil()),
    );
    assert_eq!(
        text(&listed),
        r#"{"id":"00000000-0000-0000-0000-000000000000","name":"BadDataError","message":"Request validation failed: your request body or params contain invalid data. Refer to the `details` list for more information.","details":[{"path":"/body/type","message":"The `/body/type` property is required. It was not present on the data you sent."},{"message":"m","path":"/p"},{"message":"h"}]}"#
    );
    assert_eq!(
        text(&unknown_environment("bogus-env")),
        r#"{"name":"BadDataError","message":"Request validation failed: your request body or params contain invalid data: Environment=bogus-env does not exist","details":[{"message":"Environment=bogus-env does not exist"}]}"#
    );
    for (error, reason) in [
        (unknown_project("x"), "Project=x does not exist"),
        (unknown_project(""), "Project=invalid does not exist"),
        (
            environment_wildcard(TokenType::Backend),
            "Client token cannot be scoped to all environments",
        ),
        (
            environment_wildcard(TokenType::Frontend),
            "Frontend token cannot be scoped to all environments",
        ),
        (undecodable_parameter("%zz"), "Failed to decode param '%zz'"),
    ] {
        assert_eq!(error.status, 400);
        assert_eq!(error.body["details"], json!([{"message": reason}]));
    }
    assert_eq!(
        exceeds_limit("api token", 6).body["message"],
        "Failed to create api token. You can't create more than the established limit of 6."
    );
}

#[test]
fn paths_and_content_types() {
    let missing = path_not_found(
        id("85689098-ed77-46f8-af41-f9669bb8ecf1"),
        "/api/admin/api-tokens",
    );
    assert_eq!(
        text(&missing),
        r#"{"id":"85689098-ed77-46f8-af41-f9669bb8ecf1","name":"NotFoundError","message":"The path you were looking for (/api/admin/api-tokens) is not available.","details":[{"message":"The path you were looking for (/api/admin/api-tokens) is not available."}]}"#
    );
    assert_eq!(not_found("No project found").id(), None);
    let absent = "We do not accept the content-type you provided (you didn't provide one). Try using one of the content-types we do accept instead (application/json) and make sure the body is in the corresponding format.";
    assert_eq!(content_type(Uuid::nil(), None).body["message"], absent);
    assert_eq!(content_type(Uuid::nil(), Some("")).body["message"], absent);
    let given = content_type(Uuid::nil(), Some("text/plain; q=1"));
    assert_eq!(given.status, 415);
    assert!(text(&given).contains("(text/plain; q=1)"));
}

#[test]
fn bare_shapes() {
    assert_eq!(
        text(&too_large()),
        r#"{"message":"request entity too large"}"#
    );
    assert_eq!(
        text(&unsupported_charset("latin1")),
        r#"{"message":"unsupported charset \"LATIN1\""}"#
    );
    assert_eq!(
        text(&malformed_json("Unexpected end of JSON input")),
        r#"{"message":"Unexpected end of JSON input"}"#
    );
    assert_eq!(
        frontend_not_implemented(Uuid::nil()).content_type(),
        Some("application/json; charset=utf-8")
    );
}

#[test]
fn empty_and_text_bodies() {
    assert_eq!(empty(404).body_bytes(), b"");
    assert_eq!(empty(404).content_type(), None);
    assert_eq!(
        text(&too_many_requests()),
        "Too many requests, please try again later."
    );
    assert_eq!(
        too_many_requests().content_type(),
        Some("text/html; charset=utf-8")
    );
}

#[test]
fn statuses_of_the_rest() {
    for (error, status, name) in [
        (operation_denied("x"), 403, "OperationDeniedError"),
        (name_exists("x"), 409, "NameExistsError"),
        (internal(Uuid::nil()), 500, "UnknownError"),
    ] {
        assert_eq!(
            (error.status, error.body["name"].as_str().unwrap()),
            (status, name)
        );
    }
}

#[test]
fn the_engines_refusals_by_type_name_the_permission() {
    let denied = |action, class: Option<&str>| {
        let error = Error::Forbidden(Forbidden::Action {
            action,
            class: class.map(str::to_owned),
        });
        WireError::from((error, Uuid::nil()))
    };
    for (action, class, text) in [
        (
            Action::Issue,
            "frontend",
            "You don't have the necessary access [CREATE_FRONTEND_API_TOKEN] to perform this operation",
        ),
        (
            Action::Update,
            "backend",
            "You do not have the required access [UPDATE_CLIENT_API_TOKEN] to perform this operation",
        ),
        (
            Action::Delete,
            "client",
            "You do not have the required access [DELETE_CLIENT_API_TOKEN] to perform this operation",
        ),
        (
            Action::Update,
            "admin",
            "You do not have the required access [ADMIN] to perform this operation",
        ),
    ] {
        let error = denied(action, Some(class));
        assert_eq!(
            (error.status, error.body["message"].as_str().unwrap()),
            (403, text)
        );
    }
    let route = denied(Action::Update, None);
    assert_eq!(
        route.body["permissions"],
        json!([
            "ADMIN",
            "UPDATE_CLIENT_API_TOKEN",
            "UPDATE_FRONTEND_API_TOKEN"
        ])
    );
}

#[test]
fn the_engines_other_refusals_have_a_shape_of_this_product() {
    let named = |error: Error| {
        let error = WireError::from((error, Uuid::nil()));
        let name = error.body["name"].as_str().unwrap().to_owned();
        (error.status, name, error.id().is_some())
    };
    assert_eq!(
        named(Error::Unavailable),
        (503, "ServiceUnavailable".into(), true)
    );
    assert_eq!(
        named(Error::Conflict(Conflict::Busy)),
        (503, "ServiceUnavailable".into(), true)
    );
    assert_eq!(named(Error::Internal), (500, "UnknownError".into(), true));
    assert_eq!(
        named(Error::NotFound(Missing::Token)),
        (404, "NotFoundError".into(), false)
    );
    assert_eq!(
        named(Error::Conflict(Conflict::Version { current: 3 })),
        (409, "ConflictError".into(), false)
    );
    let name = WireError::from((Error::invalid("name", "too long"), Uuid::nil()));
    assert_eq!(
        name.body["details"],
        json!([{"message": "\"tokenName\": too long"}])
    );
}

#[test]
fn debug_shows_neither_messages_nor_what_was_sent() {
    let detail = Detail::of_schema("You sent \"*:*.secret\".", "/body/tokens");
    let error = invalid_data(std::slice::from_ref(&detail), Some(Uuid::nil()));
    let not_found = path_not_found(Uuid::nil(), "/api/admin/api-tokens/*:*.secret");
    let debug = format!("{detail:?} {error:?} {not_found:?}");
    assert!(!debug.contains("secret"), "{debug}");
    assert!(debug.contains("/body/tokens") && debug.contains("BadDataError"));
}
