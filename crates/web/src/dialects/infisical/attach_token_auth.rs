//! `POST /api/v1/auth/token-auth/identities/{identityId}`: from now on the identity may have tokens.
//!
//! The one thing a newcomer would get wrong: attaching again after a detach makes a new record, so that tokens of the
//! former one stay dead.

use axum::extract::State;
use axum::response::Response;
use engine::Error;
use engine::error::Conflict;
use engine::limits::ADDRESSES_MAX;
use engine::verbs::records::NewRecord;
use serde_json::Value;

use super::document::{AnyRefusal, BodyRefusal, NotFound, StoreAway, TokenAuthRequest};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::{Known, TOKEN_AUTH, TokenAuth, json, token_auth_place};
use super::roles::Permission;
use super::schema::{Fields, NUMBER_MAX};
use super::settings::TTL_SECS_LIMIT;
use super::trusted_ips::{TrustedIp, addresses, everywhere};
use super::wire::TokenAuthAnswer;
use super::{AUTH_IDENTITY_SEGMENT, Infisical};

/// Seconds of a new token auth that says nothing else: 30 days.
const TTL_SECS_DEFAULT: u64 = 2_592_000;

/// Attach Token Auth
///
/// The identity may have tokens from now on.
#[utoipa::path(
    post,
    path = "/api/v1/auth/token-auth/identities/{identityId}",
    operation_id = "attachTokenAuth",
    tag = "Token Auth",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    request_body(content = TokenAuthRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "How tokens will be made.", body = TokenAuthAnswer),
        AnyRefusal,
        NotFound,
        BodyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn attach_token_auth(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

/// What a body says, field by field; what it does not say is `None`.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub trusted_ips: Option<Vec<String>>,
    pub ttl_secs: Option<u64>,
    pub ttl_secs_max: Option<u64>,
    pub uses_max: Option<u64>,
}

/// Reads a body; `bounded` says whether what it says is within its own bound.
pub(super) fn read(
    body: Option<&Value>,
    bounded: impl Fn(&Said) -> bool,
) -> Result<Said, WireError> {
    let mut fields = Fields::of(body)?;
    let trusted_ips = fields.objects("accessTokenTrustedIps", ["ipAddress"], 1..=ADDRESSES_MAX);
    let said = Said {
        trusted_ips: trusted_ips.map(|ips| ips.into_iter().map(|[ip]| ip).collect()),
        ttl_secs: fields.whole("accessTokenTTL", TTL_SECS_LIMIT),
        ttl_secs_max: fields.whole("accessTokenMaxTTL", TTL_SECS_LIMIT),
        uses_max: fields.whole("accessTokenNumUsesLimit", NUMBER_MAX),
    };
    if fields.is_clean() && !bounded(&said) {
        fields.custom_of_all("Access Token TTL cannot be greater than Access Token Max TTL.");
    }
    fields.finish()?;
    Ok(said)
}

/// The addresses of a body.
pub(super) fn parse_ips(ips: &[String]) -> Result<Vec<TrustedIp>, WireError> {
    ips.iter().map(|ip| TrustedIp::parse(ip)).collect()
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<TokenAuthAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    let body = incoming.json().await?;
    let said = read(body.as_ref(), |said| {
        said.ttl_secs.unwrap_or(TTL_SECS_DEFAULT) <= said.ttl_secs_max.unwrap_or(TTL_SECS_DEFAULT)
    })?;
    let id = incoming.parameter(AUTH_IDENTITY_SEGMENT)?;
    let id = id.trim();
    let identity = infisical.identity(id).await?;
    let identity = identity.ok_or_else(|| error::no_identity(id))?;
    if infisical.token_auth(identity.id).await?.is_some() {
        return Err(attached_already());
    }
    bearer.require(Permission::EditAuth)?;
    bearer.reach(
        Permission::EditAuth,
        "Failed to add token auth to identity with more privileged role",
    )?;
    bearer.guard(&identity.body)?;
    let trusted_ips = match &said.trusted_ips {
        Some(ips) => parse_ips(ips)?,
        None => everywhere(),
    };
    let auth = TokenAuth::new(
        said.ttl_secs.unwrap_or(TTL_SECS_DEFAULT),
        said.ttl_secs_max.unwrap_or(TTL_SECS_DEFAULT),
        said.uses_max.unwrap_or(0),
        trusted_ips,
    );
    let new = NewRecord {
        parent: Some(identity.id),
        locators: vec![token_auth_place(identity.id)],
        addresses: addresses(&auth.trusted_ips),
        ..NewRecord::new(infisical.engine().new_record_id(), TOKEN_AUTH, json(&auth))
    };
    let made = infisical.engine().create_record(&bearer.caller, new).await;
    match made {
        Ok(record) => Ok(TokenAuthAnswer::of(Known::of(&record)?, identity.id.0)),
        Err(Error::Conflict(Conflict::Taken { .. })) => Err(attached_already()),
        Err(Error::NotFound(_)) => Err(error::no_identity(id)),
        Err(error) => Err(error.into()),
    }
}

fn attached_already() -> WireError {
    error::bad_request("Failed to add Token Auth to already configured identity")
}
