//! `PATCH /v1/tokens/{id}`: a merge patch (RFC 7396) of one token.
//!
//! The one thing to know: absent, `null` and a value are three different things – kept, cleared, set – and `If-Match`
//! makes the update happen only to the version that the caller has seen.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::limits;
use engine::selection::Selection;
use engine::tags::Tags;
use engine::verbs::update::{Edit, Field, Update};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::wire::{
    Sent, TokenView, guard, instant, json_body, no_token, parameters, required, token_answer,
    token_id,
};

/// What is to change; what is absent stays, what is `null` goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateTokenRequest {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Sent<String>,
    /// All of its tags.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    tags: Sent<Vec<String>>,
    /// When it ends, RFC 3339; an instant that has passed ends it now.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    expires_at: Sent<String>,
}

impl TryFrom<UpdateTokenRequest> for Edit {
    type Error = Problem;

    fn try_from(request: UpdateTokenRequest) -> Result<Self, Problem> {
        let tags = |tags| Tags::new(tags, Vec::new(), limits::TAGS_MAX).map_err(Problem::from);
        Ok(Self {
            name: request.name.field(Ok)?,
            tags: request.tags.field(tags)?,
            expires_at: request
                .expires_at
                .field(|text| instant("expires_at", &text))?,
            ..Self::default()
        })
    }
}

/// Update one token.
#[utoipa::path(
    patch,
    operation_id = "update-token",
    path = "/v1/tokens/{id}",
    params(
        ("id" = uuid::Uuid, Path, description = "The token's id."),
        ("realm" = String, Query, description = "A realm's id or name, or a dialect's name."),
        ("If-Match" = Option<String>, Header, description = "The entity tag that the token must have."),
    ),
    request_body(content = UpdateTokenRequest, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "As it is now, in force.", body = TokenView),
        (status = 400, description = "Not JSON, or a parameter is missing or wrong."),
        (status = 404, description = "No such realm or token."),
        (status = 409, description = "Another token has this name, which must be unique in its dialect."),
        (status = 412, description = "The token has another version."),
        (status = 415, description = "Not application/merge-patch+json or application/json."),
        (status = 422, description = "A field breaks a rule."),
    )
)]
pub(super) async fn handler(
    State(control): State<Control>,
    speaker: Speaker,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = parameters(request.uri(), &["realm"])?;
    let realm = control.realm(required(&parameters, "realm")?).await?;
    let id = token_id(request.uri())?;
    let guard = guard(request.headers())?;
    let media_types = ["application/merge-patch+json", "application/json"];
    let input: UpdateTokenRequest = json_body(request, &media_types).await?;
    let mut edit: Edit = input.try_into()?;
    if edit.name != Field::Keep {
        // A name may be what its dialect finds the token by.
        let completed = control.dialect(&realm)?.complete(edit);
        edit = completed.map_err(|error| Problem::unprocessable(error.to_string()))?;
    }
    let update = Update {
        selection: Selection::of(id),
        edit,
        guard,
    };
    let caller = speaker.in_realm(realm.id);
    let updated = control.engine.update(&caller, update).await?;
    let token = updated.tokens.first().ok_or_else(no_token)?;
    let usage = control.engine.usage(&caller, &[id]).await?;
    let view = TokenView::new(&realm, token, usage.get(&id), control.engine.now());
    Ok(token_answer(StatusCode::OK, token, &view))
}
