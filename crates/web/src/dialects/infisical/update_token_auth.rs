//! `PATCH /api/v1/auth/token-auth/identities/{identityId}`: how tokens are made, and from where they may be used.
//!
//! The one thing a newcomer would get wrong: times and uses are those of tokens still to be made, but the addresses hold
//! for all of them, from the next request on.

use axum::extract::State;
use axum::response::Response;
use engine::Error;
use engine::error::Missing;
use engine::verbs::records::RecordEdit;
use engine::verbs::update::{Field, Guard};

use super::attach_token_auth::{Said, parse_ips, read};
use super::document::{AnyRefusal, BodyRefusal, NotFound, StoreAway, TokenAuthRequest};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::{Known, TokenAuth, json};
use super::roles::Permission;
use super::trusted_ips::{TrustedIp, addresses};
use super::wire::TokenAuthAnswer;
use super::{AUTH_IDENTITY_SEGMENT, Infisical};

/// Update Token Auth
///
/// Times and uses hold for tokens made from now on, trusted addresses for all.
#[utoipa::path(
    patch,
    path = "/api/v1/auth/token-auth/identities/{identityId}",
    operation_id = "updateTokenAuth",
    tag = "Token Auth",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    request_body(content = TokenAuthRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "How tokens are made now.", body = TokenAuthAnswer),
        AnyRefusal,
        NotFound,
        BodyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn update_token_auth(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<TokenAuthAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    let body = incoming.json().await?;
    let said = read(body.as_ref(), |said| {
        let (ttl, max) = (said.ttl_secs.unwrap_or(0), said.ttl_secs_max.unwrap_or(0));
        ttl == 0 || max == 0 || ttl <= max
    })?;
    let id = incoming.parameter(AUTH_IDENTITY_SEGMENT)?;
    let id = id.trim();
    let identity = infisical.identity(id).await?;
    let identity = identity.ok_or_else(|| error::no_identity(id))?;
    let auth = infisical.token_auth(identity.id).await?;
    let auth = auth.ok_or_else(not_attached)?;
    changed(&auth.body, &said, None)?;
    bearer.require(Permission::EditAuth)?;
    bearer.reach(
        Permission::EditAuth,
        "Failed to update token auth of identity with more privileged role",
    )?;
    bearer.guard(&identity.body)?;
    let trusted_ips = match &said.trusted_ips {
        Some(ips) => Some(parse_ips(ips)?),
        None => None,
    };
    if trusted_ips.is_none()
        && said.ttl_secs.is_none()
        && said.ttl_secs_max.is_none()
        && said.uses_max.is_none()
    {
        return Err(error::nothing_to_update());
    }
    let edit = move |record: &engine::record::Record| {
        // Judged anew on the record as it is now: somebody else may have changed the other of the two times.
        let auth = Known::<TokenAuth>::of(record)?.body;
        let auth = changed(&auth, &said, trusted_ips.clone())?;
        Ok(RecordEdit {
            addresses: Field::Set(addresses(&auth.trusted_ips)),
            body: Some(json(&auth)),
            ..RecordEdit::default()
        })
    };
    let updated = infisical
        .engine()
        .update_record(&bearer.caller, auth.id, Guard::Nothing, edit)
        .await;
    match updated {
        Ok(record) => Ok(TokenAuthAnswer::of(Known::of(&record)?, identity.id.0)),
        Err(Error::NotFound(Missing::Record { .. })) => Err(not_attached()),
        Err(error) => Err(error.into()),
    }
}

/// The configuration with what a body says about it.
fn changed(
    auth: &TokenAuth,
    said: &Said,
    trusted_ips: Option<Vec<TrustedIp>>,
) -> Result<TokenAuth, Error> {
    let changed = TokenAuth::new(
        said.ttl_secs.unwrap_or(auth.ttl_secs),
        said.ttl_secs_max.unwrap_or(auth.ttl_secs_max),
        said.uses_max.unwrap_or(auth.uses_max),
        trusted_ips.unwrap_or_else(|| auth.trusted_ips.clone()),
    );
    if changed.is_bounded() {
        Ok(changed)
    } else {
        let message = "Access token TTL cannot be greater than max TTL";
        Err(Error::invalid("accessTokenTTL", message))
    }
}

fn not_attached() -> WireError {
    // Lower case here, and only here.
    error::bad_request("The identity does not have token auth")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_result_is_judged() {
        let auth = TokenAuth::new(60, 120, 0, Vec::new());
        let with = |ttl_secs, ttl_secs_max| {
            let said = Said {
                ttl_secs,
                ttl_secs_max,
                ..Said::default()
            };
            changed(&auth, &said, None).is_ok()
        };
        assert!(with(None, Some(60)), "lowering the maximum alone");
        assert!(!with(None, Some(59)));
        assert!(with(Some(500), Some(0)), "0 is no bound");
        assert!(with(Some(0), None));
        assert!(!with(Some(121), None));
    }
}
