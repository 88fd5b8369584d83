//! `GET /v1/tokens`: the tokens of a realm, page by page, in order of creation.
//!
//! The one thing to know: a page may be shorter than asked for (what hangs below something deleted is left out) and yet
//! not be the last; only `next` says so.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use engine::limits;
use engine::permission::Action;
use engine::selection::{Selection, Which};
use engine::token::TokenId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::wire::{TokenView, parameters, required};

/// Tokens of a page unless the query says otherwise.
const PAGE_DEFAULT: usize = 100;

/// One page.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListTokensResponse {
    tokens: Vec<TokenView>,
    /// The cursor of the next page; `null` after the last.
    next: Option<Uuid>,
}

/// List the tokens of a realm.
#[utoipa::path(
    get,
    operation_id = "list-tokens",
    path = "/v1/tokens",
    params(
        ("realm" = String, Query, description = "A realm's id or name, or a dialect's name."),
        ("cursor" = Option<Uuid>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, description = "Tokens of a page, 1 to 500; 100 if absent."),
    ),
    responses(
        (status = 200, description = "One page.", body = ListTokensResponse),
        (status = 400, description = "A parameter is missing or wrong."),
        (status = 404, description = "No such realm."),
    )
)]
pub(super) async fn handler(
    State(control): State<Control>,
    speaker: Speaker,
    request: Request,
) -> Result<axum::Json<ListTokensResponse>, Problem> {
    let parameters = parameters(request.uri(), &["realm", "cursor", "limit"])?;
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let realm = required(&parameters, "realm")?;
    let after = parameters
        .get("cursor")
        .map(|text| text.parse().map(TokenId))
        .transpose()
        .map_err(|_| bad("cursor is the next of the page before".to_owned()))?;
    let limit = match parameters.get("limit").map(|text| text.parse()) {
        None => PAGE_DEFAULT,
        Some(Ok(limit)) if (1..=limits::PAGE_ROWS).contains(&limit) => limit,
        Some(_) => return Err(bad(format!("limit is 1 to {}", limits::PAGE_ROWS))),
    };
    let realm = control.realm(realm).await?;
    let caller = speaker.in_realm(realm.id);
    let (page, next) = control.engine.list(&caller, after, limit).await?;
    let selection = Selection {
        ids: page.iter().map(|token| token.id).collect(),
        which: Which::Any,
        ..Selection::default()
    };
    // A second look, with what is above each token: a list knows the tokens alone.
    let found = control
        .engine
        .find(&caller, Action::Read, &selection)
        .await?;
    let ids: Vec<TokenId> = found.tokens.iter().map(|token| token.id).collect();
    let usage = control.engine.usage(&caller, &ids).await?;
    let now = control.engine.now();
    let tokens = found
        .tokens
        .iter()
        .map(|token| TokenView::found(&realm, &found, token, usage.get(&token.id), now))
        .collect();
    let next = next.map(|id| id.0);
    Ok(axum::Json(ListTokensResponse { tokens, next }))
}
