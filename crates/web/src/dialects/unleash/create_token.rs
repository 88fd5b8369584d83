//! `POST /api/admin/api-tokens`: a new client, backend or frontend token.
//!
//! The one thing a newcomer would get wrong: the order of the refusals is on the wire – permission for the type, then
//! environment, then the limit, then projects – because the product finds out about projects only when it inserts.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use engine::clock::Timestamp;
use engine::permission::Action;

use super::Unleash;
use super::answer::{Answer, respond};
use super::document::{AnyRefusal, ApiError, ApiToken, CreateApiToken, NotJson};
use super::error::{self, WireError};
use super::incoming::Incoming;
use super::list_tokens::instant;
use super::records::Kind;
use super::schema::{CreateToken, parse_create};
use super::scope::{ALL, Scope};
use super::wire::{CREATED_LOCATION, CreateAnswer, UnkeptCreateAnswer};

/// Create an API token
///
/// The answer shows the secret. The token is in force at once.
#[utoipa::path(
    post,
    path = "/api/admin/api-tokens",
    operation_id = "createApiToken",
    tag = "API tokens",
    request_body(content = CreateApiToken, content_type = "application/json"),
    responses(
        (status = 201, description = "The token with its secret.", body = ApiToken, headers(("location" = String, description = "Always `api-tokens`."))),
        (status = 400, description = "The body breaks a rule, or the limit of tokens is reached.", body = ApiError),
        AnyRefusal,
        (status = 403, description = "The caller may not make tokens (of this type).", body = ApiError),
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn create_token(State(unleash): State<Unleash>, incoming: Incoming) -> Response {
    let outcome = create(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn create(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    let caller = unleash.administrator(incoming).await?;
    unleash.let_in(&caller, Action::Issue)?;
    let body = incoming.json(|| unleash.error_id())?;
    let wanted = parse_create(body).map_err(|failure| failure.to_error(unleash.error_id()))?;

    caller
        .require(Action::Issue, wanted.kind.as_str(), None)
        .map_err(|error| unleash.refusal(error))?;
    if wanted.environment == ALL {
        return Err(error::environment_wildcard(wanted.kind));
    }
    let environments = std::slice::from_ref(&wanted.environment);
    let unknown = unleash.first_unknown(&caller, Kind::Environment, environments);
    if let Some(name) = unknown.await.map_err(|error| unleash.refusal(error))? {
        return Err(error::unknown_environment(name));
    }
    let room = unleash.room(&caller).await;
    let Some(place) = room.map_err(|error| unleash.refusal(error))? else {
        let limit = unleash.settings().tokens_max;
        return Err(error::exceeds_limit("api token", limit));
    };
    let unknown = unleash.first_unknown(&caller, Kind::Project, &wanted.projects);
    if let Some(name) = unknown.await.map_err(|error| unleash.refusal(error))? {
        return Err(error::unknown_project(name));
    }

    let scope = scope_of(&wanted);
    let secret = unleash.mint_secret(&scope);
    let expires_at = wanted
        .expires_at
        .and_then(|at| Timestamp::from_micros(at.as_micros()));
    let name = wanted.token_name.clone();
    let issue = unleash.issue(&scope, name, expires_at, secret.clone());
    let token = unleash.issue_in(place, &caller, issue).await;
    let token = token.map_err(|error| unleash.refusal(error))?;

    let created_at = instant(token.created_at);
    let answer = if unleash.settings().keep_secrets {
        let body = CreateAnswer::new(&wanted, secret.expose(), created_at);
        Answer::json(StatusCode::CREATED, &body)
    } else {
        let body = UnkeptCreateAnswer::new(&wanted, secret.expose(), created_at);
        Answer::json(StatusCode::CREATED, &body)
    };
    let location = HeaderValue::from_static(CREATED_LOCATION);
    Ok(answer.with(header::LOCATION, location))
}

fn scope_of(wanted: &CreateToken) -> Scope {
    Scope {
        kind: wanted.kind,
        projects: wanted.projects.clone(),
        environment: wanted.environment.clone(),
    }
}
