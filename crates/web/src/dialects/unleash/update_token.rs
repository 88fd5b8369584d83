//! `PUT /api/admin/api-tokens/{token}`: another expiry.
//!
//! The one thing a newcomer would get wrong: an unknown token is 200 with an empty body, as a known one; the product says
//! no more, and its clients rely on that. Whether there was one says the header `Tokenhouse-Matched`.

use axum::extract::State;
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use engine::clock::Timestamp;
use engine::permission::Action;
use engine::verbs::update::{Edit, Field, Guard, Update};

use super::answer::{Answer, respond};
use super::document::{AnyRefusal, ApiError, NotJson, UpdateApiToken};
use super::error::{self, WireError};
use super::incoming::Incoming;
use super::schema::parse_update;
use super::selector::meanings;
use super::wire::MATCHED_HEADER;
use super::{TOKEN_SEGMENT, Unleash};

/// Update an API token
///
/// Sets when the token ends. An instant that has passed ends it now, one in the future brings back one that had ended;
/// both hold for the very next request. An unknown token is no error: see the header of the answer.
#[utoipa::path(
    put,
    path = "/api/admin/api-tokens/{token}",
    operation_id = "updateApiToken",
    tag = "API tokens",
    params(("token" = String, Path, description = "The secret of the token, or its selector.")),
    request_body(content = UpdateApiToken, content_type = "application/json"),
    responses(
        (status = 200, description = "Done, or there is no such token.", headers(("Tokenhouse-Matched" = String, description = "`1` if the token was there, `0` if not."))),
        (status = 400, description = "The body breaks a rule, or the token is not properly escaped.", body = ApiError),
        AnyRefusal,
        (status = 403, description = "The caller may not change tokens (of this type).", body = ApiError),
        NotJson,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn update_token(State(unleash): State<Unleash>, incoming: Incoming) -> Response {
    let outcome = update(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn update(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    let caller = unleash.administrator(incoming).await?;
    let parameter = incoming.parameter(TOKEN_SEGMENT)?;
    unleash.let_in(&caller, Action::Update)?;
    let body = incoming.json(|| unleash.error_id())?;
    let expires_at = parse_update(body)
        .map_err(|details| error::invalid_data(&details, Some(unleash.error_id())))?;
    let expires_at = Timestamp::from_micros(expires_at.as_micros())
        .expect("both kinds of instants span the years 1 to 9999");

    let mut matched = false;
    for selection in meanings(&parameter) {
        let update = Update {
            selection,
            edit: Edit {
                expires_at: Field::Set(expires_at),
                ..Edit::default()
            },
            guard: Guard::Nothing,
        };
        let updated = unleash.engine().update(&caller, update).await;
        matched = !updated
            .map_err(|error| unleash.refusal(error))?
            .tokens
            .is_empty();
        if matched {
            break;
        }
    }
    Ok(done(matched))
}

/// The empty 200 of update and delete.
pub(super) fn done(matched: bool) -> Answer {
    let value = if matched { "1" } else { "0" };
    Answer::empty(StatusCode::OK).with(
        HeaderName::from_static(MATCHED_HEADER),
        HeaderValue::from_static(value),
    )
}
