//! `POST /v1/tokens`: an access token of any dialect.
//!
//! The one thing to know: the dialect mints the secret in its product's form; it stands in this answer and, unless the
//! product shows it again, nowhere else.

use std::fmt;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::dialects::{Mint, Minted};
use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::wire::{TokenView, instant, json_body, token_answer};

/// A token to be issued: `realm` or `dialect` says where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IssueTokenRequest {
    /// A realm's id or name.
    realm: Option<String>,
    /// A dialect's name, for its first realm.
    dialect: Option<String>,
    /// Which kind of token, in the dialect's words; its usual kind if absent.
    class: Option<String>,
    /// What people call it.
    name: Option<String>,
    /// What its bearer may do, in the dialect's words.
    #[serde(default)]
    permissions: Vec<String>,
    /// When it ends, RFC 3339; never by itself if absent.
    expires_at: Option<String>,
}

/// The token, and its secret this once.
#[derive(Serialize, ToSchema)]
pub(super) struct IssueTokenResponse {
    #[serde(flatten)]
    token: TokenView,
    /// The secret: keep it, it is not shown again here.
    secret: String,
}

impl fmt::Debug for IssueTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueTokenResponse")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Issue an access token.
#[utoipa::path(
    post,
    operation_id = "issue-token",
    path = "/v1/tokens",
    request_body = IssueTokenRequest,
    responses(
        (status = 201, description = "Issued; the secret is in this answer only.", body = IssueTokenResponse),
        (status = 400, description = "Not JSON."),
        (status = 404, description = "No such realm."),
        (status = 409, description = "The secret is taken; try again."),
        (status = 415, description = "Not application/json."),
        (status = 422, description = "A field breaks a rule."),
    )
)]
pub(super) async fn handler(
    State(control): State<Control>,
    speaker: Speaker,
    request: Request,
) -> Result<Response, Problem> {
    let input: IssueTokenRequest = json_body(request, &["application/json"]).await?;
    let ((Some(word), None) | (None, Some(word))) = (&input.realm, &input.dialect) else {
        return Err(Problem::unprocessable(
            "either realm or dialect says where; not both",
        ));
    };
    let expires_at = input
        .expires_at
        .map(|text| instant("expires_at", &text))
        .transpose()?;
    let realm = control.realm(word).await?;
    let dialect = control.dialect(&realm)?;
    let mint = Mint {
        class: input.class,
        name: input.name,
        permissions: input.permissions,
        expires_at,
    };
    let Minted { issue, secret } = dialect
        .mint(mint)
        .await
        .map_err(|error| Problem::unprocessable(error.to_string()))?;
    let caller = speaker.in_realm(realm.id);
    let token = control.engine.issue(&caller, issue).await?;
    let body = IssueTokenResponse {
        token: TokenView::new(&realm, &token, None, control.engine.now()),
        secret: secret.expose().to_owned(),
    };
    let mut response = token_answer(StatusCode::CREATED, &token, &body);
    let location = format!("/v1/tokens/{}?realm={}", token.id.0, realm.id);
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
