//! The OpenAPI document of this dialect without its paths, and the bodies of requests as it describes them.
//!
//! The one thing a newcomer would get wrong: nothing is read with these types. Bodies are read field by field in
//! `schema.rs`, because the product tells every broken rule at once, in its validator's shapes.

#![allow(dead_code, reason = "these types are only described, never built")]
#![allow(clippy::struct_field_names, reason = "the names are the product's")]

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::wire::Refusal;
/// What any call may be refused with.
#[derive(IntoResponses)]
pub(super) enum AnyRefusal {
    /// The call makes no sense here; `message` says why.
    #[response(status = 400)]
    Senseless(Refusal),
    /// No credentials, or none that are in force.
    #[response(status = 401)]
    Unauthenticated(Refusal),
    /// The JWT is bad, the caller may not do this, or not from this address.
    #[response(status = 403)]
    Forbidden(Refusal),
}

/// What a call that names something may be refused with.
#[derive(IntoResponses)]
pub(super) enum NotFound {
    /// There is no such thing in the caller's organization.
    #[response(status = 404)]
    NotFound(Refusal),
}

/// What a call with a body may be refused with.
#[derive(IntoResponses)]
pub(super) enum BodyRefusal {
    /// The body has more than 1 MiB.
    #[response(status = 413)]
    TooLarge(Refusal),
    /// The body is not JSON.
    #[response(status = 415)]
    NotJson(Refusal),
    /// The body or query breaks rules; `message` lists them.
    #[response(status = 422)]
    Invalid(Refusal),
}

/// What a call that needs the store may be refused with.
#[derive(IntoResponses)]
pub(super) enum StoreAway {
    /// The store does not answer.
    #[response(status = 503)]
    Away(Refusal),
}

/// An address or a block.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IpAddressRequest {
    /// For instance `10.0.0.0/8`, `192.0.2.1`, `::/0`.
    pub ip_address: String,
}

/// How tokens are to be made.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenAuthRequest {
    /// From where tokens may be used, at least one; holds for the existing ones too. Everywhere unless said otherwise.
    pub access_token_trusted_ips: Option<Vec<IpAddressRequest>>,
    /// Seconds that a token lives, up to ten years; 2592000 unless said otherwise. 0 is no end of its own: the maximum,
    /// or if that is 0 too the installation's own (`maxIdentityAccessTokenTTL` of the status), then decides.
    #[serde(rename = "accessTokenTTL")]
    pub access_token_ttl: Option<u64>,
    /// Seconds that it lives at the most, up to ten years; 2592000 unless said otherwise. 0 is no bound of its own.
    #[serde(rename = "accessTokenMaxTTL")]
    pub access_token_max_ttl: Option<u64>,
    /// How often it may be used, exactly; 0 (unless said otherwise) is any number.
    pub access_token_num_uses_limit: Option<u64>,
}

/// A token to be made.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateTokenRequest {
    /// What people call it, at most 255 characters; not unique.
    pub name: Option<String>,
    /// The slug of the own organization, if any.
    pub organization_slug: Option<String>,
}

/// A change of a token.
#[derive(ToSchema)]
pub(super) struct UpdateTokenRequest {
    /// What people call it, at most 255 characters; not unique. Kept as it is sent.
    pub name: Option<String>,
}

/// A note about an identity.
#[derive(ToSchema)]
pub(super) struct MetadataRequest {
    /// What it says something about.
    pub key: String,
    /// What it says.
    pub value: String,
}

/// An identity to be made.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateIdentityRequest {
    /// What people call it; not unique.
    pub name: String,
    /// The own organization.
    pub organization_id: String,
    /// `admin`, `member` or `no-access`, which it is unless said otherwise.
    pub role: Option<String>,
    /// Whether it refuses to be deleted.
    pub has_delete_protection: Option<bool>,
    /// Notes about it.
    pub metadata: Option<Vec<MetadataRequest>>,
}

/// A change of an identity.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateIdentityRequest {
    /// What people call it; not unique.
    pub name: Option<String>,
    /// `admin`, `member` or `no-access`.
    pub role: Option<String>,
    /// Whether it refuses to be deleted.
    pub has_delete_protection: Option<bool>,
    /// Notes about it, in place of all former ones.
    pub metadata: Option<Vec<MetadataRequest>>,
}

/// An instance to be set up.
#[derive(ToSchema)]
pub(super) struct BootstrapRequest {
    /// The e-mail address of whoever does it.
    pub email: String,
    /// 8 to 256 characters. There is no log-in for people here: it is checked and forgotten.
    pub password: String,
    /// What the organization is called, 1 to 64 characters.
    pub organization: String,
}

/// The document without its paths.
pub(super) fn frame() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token of a machine identity."));
    let schemes = ComponentsBuilder::new()
        .security_scheme("accessToken", SecurityScheme::Http(bearer.build()));
    let info = InfoBuilder::new()
        .title("Tokenhouse: the Infisical dialect")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Machine identities and their access tokens (Token Auth), as clients of Infisical know them.",
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(schemes.build()))
        .build()
}
