//! `POST /edge/validate`: which of these secrets are in force? Asked by Edge, without credentials.
//!
//! The one thing a newcomer would get wrong: whoever can reach this can ask, so it must cost little. What cannot be a
//! secret of ours costs no look-up, and a secret that is named a thousand times costs one.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use engine::Error;
use engine::secret::Secret;

use super::Unleash;
use super::answer::{Answer, respond};
use super::date_time::WireInstant;
use super::document::{ApiError, TokenStrings, ValidatedTokens};
use super::error::{self, WireError};
use super::incoming::{Incoming, Reading};
use super::schema::parse_token_list;
use super::scope::Scope;
use super::secret::{ReadablePart, SecretText};
use super::wire::{EdgeItem, TokenType, TokenView, Tokens};

/// Validate tokens
///
/// Those of the secrets that are in force, in the order of the request. Needs no credentials.
#[utoipa::path(
    post,
    path = "/edge/validate",
    operation_id = "getValidTokens",
    tag = "Edge",
    request_body(content = TokenStrings, content_type = "application/json"),
    responses(
        (status = 200, description = "The tokens that are in force.", body = ValidatedTokens),
        (status = 400, description = "The body breaks a rule.", body = ApiError),
        (status = 403, description = "A client, backend or frontend token was sent as credentials.", body = ApiError),
        (status = 413, description = "The body has more than 100 KiB.", body = ApiError),
        (status = 415, description = "The body is not JSON.", body = ApiError),
        (status = 429, description = "More calls from this address in a minute than a setting allows.", content_type = "text/html", body = String),
        (status = 503, description = "The store does not answer.", body = ApiError),
    )
)]
pub(super) async fn validate(
    State(unleash): State<Unleash>,
    Reading(incoming): Reading,
) -> Response {
    let Some(limit) = unleash.settings().validations_per_minute else {
        let outcome = answer(&unleash, &incoming).await;
        return respond(&incoming, outcome);
    };
    let now = unleash.engine().now();
    let standing = unleash.validations().count(incoming.address, limit, now);
    let outcome = if standing.within {
        answer(&unleash, &incoming).await
    } else {
        Err(error::too_many_requests())
    };
    let mut response = respond(&incoming, outcome);
    let reset = standing.reset_secs.to_string();
    let mut say = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).expect("digits and `;w=`");
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    };
    say("ratelimit-policy", format!("{limit};w=60"));
    say("ratelimit-limit", limit.to_string());
    say("ratelimit-remaining", standing.remaining.to_string());
    say("ratelimit-reset", reset.clone());
    if !standing.within {
        say("retry-after", reset);
    }
    response
}

async fn answer(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    unleash.anybody(incoming).await?;
    let body = incoming.json(|| unleash.error_id())?;
    let wanted = parse_token_list(body)
        .map_err(|details| error::invalid_data(&details, Some(unleash.error_id())))?
        .into_tokens();
    let mut known: HashMap<&str, Option<Scope>> = HashMap::new();
    for text in &wanted {
        if !known.contains_key(text.as_str()) {
            let scope = in_force(unleash, incoming, text).await?;
            known.insert(text, scope);
        }
    }
    let items = wanted.iter().filter_map(|text| {
        let scope = known.get(text.as_str())?.as_ref()?;
        let view = TokenView {
            token_name: "",
            kind: unleash.settings().shown_type(scope.kind),
            projects: &scope.projects,
            environment: &scope.environment,
            expires_at: None,
            // Neither instant is part of this answer.
            created_at: WireInstant::MIN,
            seen_at: None,
        };
        Some(EdgeItem::new(text, &view))
    });
    let tokens = items.collect();
    Ok(Answer::json(StatusCode::OK, &Tokens { tokens }))
}

/// What a secret opens now, if anything.
async fn in_force(
    unleash: &Unleash,
    incoming: &Incoming,
    text: &str,
) -> Result<Option<Scope>, WireError> {
    // Every secret here has a scope in it, and personal ones are never confirmed.
    let shaped = SecretText::new(text).is_some() && ReadablePart::of(text).is_some();
    let Some(secret) = Secret::parse(text).ok().filter(|_| shaped) else {
        return Ok(None);
    };
    let engine = unleash.engine();
    let token = match engine
        .verify(unleash.realm(), &secret, incoming.address)
        .await
    {
        Ok(verified) => verified.token,
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => return Ok(None),
        Err(error) => return Err(unleash.refusal(error)),
    };
    let hidden =
        |scope: &Scope| scope.kind == TokenType::Admin && unleash.settings().hide_admin_tokens;
    Ok(Scope::of(&token).filter(|scope| scope.opens_something() && !hidden(scope)))
}
