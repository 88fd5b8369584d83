//! The OpenAPI document without its paths, and the bodies that only clients write.
//!
//! The one thing a newcomer would get wrong: requests are read by `requests.rs` and `filter.rs`, which are stricter than any
//! schema; these types are what a generated client sees of them.

#![allow(dead_code, reason = "these types are only described, never built")]

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};

use super::error::ActionableError;
use utoipa::{IntoParams, IntoResponses, ToSchema};

/// What any call may be refused with.
#[derive(IntoResponses)]
pub(super) enum AnyRefusal {
    /// No good credentials.
    #[response(status = 401)]
    Unauthenticated(ActionableError),
    /// The store does not answer.
    #[response(status = 503)]
    Away(ActionableError),
}

/// What a call that needs a permission may be refused with.
#[derive(IntoResponses)]
pub(super) enum PermissionRefusal {
    /// The permission is missing, or the address is not allowed.
    #[response(status = 403)]
    Forbidden(ActionableError),
}

/// What a call with a body may be refused with.
#[derive(IntoResponses)]
pub(super) enum BodyRefusal {
    /// The body is larger than 1 MiB.
    #[response(status = 413)]
    TooLarge(ActionableError),
    /// The body is not JSON.
    #[response(status = 415)]
    NotJson(ActionableError),
}

/// A token to be made. Further properties of an API token are taken and ignored.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateApiToken {
    /// 1 to 255 characters, not only blanks; no other token has it.
    pub name: String,
    /// When it ends: in the future, at most two years from now.
    #[schema(value_type = String, format = DateTime)]
    pub expiry: String,
    /// IPv4 or IPv6 addresses or CIDR blocks from where it may be used; empty is anywhere.
    #[schema(required = false)]
    pub allowed_addresses: Vec<String>,
    /// At least one, none that the caller lacks.
    pub permissions: Vec<String>,
}

/// A change of a token: its present version and its new name. Further properties of an API token are taken and ignored, so
/// that what was read can be sent back as a whole.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateApiToken {
    /// The version that was read.
    #[schema(format = Int64)]
    pub version: i64,
    /// 1 to 255 characters, not only blanks; no other token has it.
    pub name: String,
}

/// Which page, and in which order.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// The number of the page, from 0; 0 if absent.
    #[param(minimum = 0, required = false)]
    pub page: i32,
    /// Entities of a page, 1 to 100; 20 if absent.
    #[param(minimum = 1, maximum = 100, required = false)]
    pub size: i32,
    /// Keys, each with `asc` or `desc` behind it, joined by commas; `creationDate,asc` if absent.
    #[param(required = false)]
    pub sort: String,
}

/// The document without its paths.
pub(super) fn frame() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The secret of an API token."))
        .build();
    let schemes = ComponentsBuilder::new().security_scheme("bearer", SecurityScheme::Http(bearer));
    let info = InfoBuilder::new()
        .title("Tokenhouse: API tokens in the words of MindBridge")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "API tokens and their users. Every path is served without its leading `/api`, too.",
        ))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(schemes.build()))
        .build()
}
