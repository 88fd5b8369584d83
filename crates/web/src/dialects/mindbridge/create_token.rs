//! `POST /api/v1/api-tokens`: a new API token and its API Token User.
//!
//! The one thing a newcomer would get wrong: a token cannot hand on what it does not have itself, or whoever may make tokens
//! could do everything.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::permission::Action;

use super::MindBridge;
use super::document::{AnyRefusal, BodyRefusal, CreateApiToken};
use super::error::{ActionableError, Refusal};
use super::incoming::{Call, answer};
use super::model::ApiToken;
use super::outward::mint_secret;
use super::requests::new_token;

/// Create an API token
///
/// Makes the token and its API Token User. The answer has the secret, this once. Asks for `api.api-tokens.write`.
#[utoipa::path(
    post,
    path = "/api/v1/api-tokens",
    operation_id = "createApiToken",
    tag = "API Tokens",
    request_body(content = CreateApiToken, content_type = "application/json"),
    responses(
        (status = 201, description = "The token with its secret.", body = ApiToken),
        (status = 400, description = "The body breaks a rule, or the name is taken.", body = ActionableError),
        (status = 403, description = "A permission is missing, or the address is not allowed.", body = ActionableError),
        AnyRefusal,
        BodyRefusal,
    ),
    security(("bearer" = []))
)]
pub(super) async fn create_token(
    State(mindbridge): State<MindBridge>,
    request: Request,
) -> Response {
    let (call, body) = Call::open(request);
    let outcome = create(&mindbridge, &call, body).await;
    call.respond(outcome)
}

async fn create(mindbridge: &MindBridge, call: &Call, body: Body) -> Result<Response, Refusal> {
    let who = mindbridge.recognise(call).await?;
    who.require(Action::Issue)?;
    let body = call.json(body).await?;
    let engine = mindbridge.engine();
    let wanted = new_token(&body)?.judge(engine.now())?;
    if let Some(permission) = who.first_beyond(&wanted.permissions) {
        return Err(Refusal::cannot_grant(permission));
    }
    let secret = mint_secret(engine);
    let issue = mindbridge.issue(wanted, secret.clone());
    let token = engine.issue(&who.caller, issue).await?;
    let secret = Some(secret.expose().to_owned());
    let view = mindbridge.token_view(&who.reader(), &token, secret).await?;
    Ok(answer(StatusCode::CREATED, &view))
}
