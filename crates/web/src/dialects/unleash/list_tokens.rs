//! `GET /api/admin/api-tokens`: all tokens that the caller may see.
//!
//! The one thing a newcomer would get wrong: there are no pages on this wire, and the entity tag is made of all bytes. So
//! tokens are walked page by page and written out at once; what is held is the answer's text, never the realm.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use engine::caller::Caller;
use engine::clock::Timestamp;
use engine::limits::PAGE_ROWS;
use engine::permission::Action;
use engine::token::{Token, TokenId};

use super::Unleash;
use super::answer::{Answer, respond};
use super::date_time::WireInstant;
use super::document::{AnyRefusal, ApiError, ApiTokens};
use super::error::WireError;
use super::incoming::Incoming;
use super::scope::Scope;
use super::selector::selector;
use super::wire::{ListItem, SelectorItem, TokenView};

/// List API tokens
///
/// All API tokens that the caller may see, in the order of their creation. There are no pages and no filters.
#[utoipa::path(
    get,
    path = "/api/admin/api-tokens",
    operation_id = "getAllApiTokens",
    tag = "API tokens",
    responses(
        (status = 200, description = "The tokens.", body = ApiTokens),
        (status = 304, description = "The caller has them already (If-None-Match)."),
        (status = 400, description = "A body that comes along is malformed.", body = ApiError),
        AnyRefusal,
        (status = 403, description = "The caller may not list tokens.", body = ApiError),
    ),
    security(("apiKey" = []))
)]
pub(super) async fn list_tokens(State(unleash): State<Unleash>, incoming: Incoming) -> Response {
    let outcome = list(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn list(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    let caller = unleash.administrator(incoming).await?;
    unleash.let_in(&caller, Action::Read)?;
    unleash.listed(&caller, |_| true).await
}

impl Unleash {
    /// The answer with all tokens that the caller may see and that are `wanted`.
    pub(super) async fn listed(
        &self,
        caller: &Caller,
        wanted: impl Fn(&Token) -> bool,
    ) -> Result<Answer, WireError> {
        let mut body = br#"{"tokens":["#.to_vec();
        let mut after: Option<TokenId> = None;
        loop {
            let page = self.engine().list(caller, after, PAGE_ROWS).await;
            let (mut tokens, next) = page.map_err(|error| self.refusal(error))?;
            tokens.retain(&wanted);
            self.write_items(caller, &tokens, &mut body).await?;
            match next {
                Some(_) => after = next,
                None => break,
            }
        }
        body.extend_from_slice(b"]}");
        Ok(Answer::json_bytes(StatusCode::OK, body))
    }

    async fn write_items(
        &self,
        caller: &Caller,
        tokens: &[Token],
        body: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        if tokens.is_empty() {
            return Ok(());
        }
        let engine = self.engine();
        let ids: Vec<TokenId> = tokens.iter().map(|token| token.id).collect();
        let usage = engine.usage(caller, &ids).await;
        let usage = usage.map_err(|error| self.refusal(error))?;
        let secrets = if self.settings().keep_secrets {
            let kept = engine.kept_secrets(caller, tokens).await;
            kept.map_err(|error| self.refusal(error))?
        } else {
            // Kept once, before the setting was turned off: not shown any more.
            std::collections::BTreeMap::new()
        };
        for token in tokens {
            let Some(scope) = Scope::of(token) else {
                continue;
            };
            let view = TokenView {
                token_name: token.name.as_deref().unwrap_or_default(),
                kind: self.settings().shown_type(scope.kind),
                projects: &scope.projects,
                environment: &scope.environment,
                expires_at: token.expires_at.map(instant),
                created_at: instant(token.created_at),
                seen_at: usage
                    .get(&token.id)
                    .map(|usage| seen_at(usage.last_used_at, token.created_at)),
            };
            if body.last() != Some(&b'[') {
                body.push(b',');
            }
            let written = match secrets.get(&token.id) {
                Some(secret) => {
                    serde_json::to_writer(&mut *body, &ListItem::new(secret.expose(), &view))
                }
                None => serde_json::to_writer(
                    &mut *body,
                    &SelectorItem::new(&selector(token.id), &view),
                ),
            };
            written.expect("items have only texts and lists of texts, and memory takes them all");
        }
        Ok(())
    }
}

/// To the minute, but not before the token was made. The caller's own token is in the list too: if each list knew of the use
/// that asked for it, none would ever be the same as the one before, and no caller would be told so (304).
fn seen_at(used: Timestamp, created: Timestamp) -> WireInstant {
    let at = instant(used);
    at.start_of_minute().max(instant(created))
}

/// Cut to the milliseconds that this product writes.
pub(super) fn instant(at: Timestamp) -> WireInstant {
    WireInstant::from_micros(at.as_micros())
        .expect("both kinds of instants span the years 1 to 9999")
}
