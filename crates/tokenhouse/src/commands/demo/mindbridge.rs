//! The MindBridge part of the demo: a token is renamed under the version that was read, and not under an older one.
//!
//! The one thing to know: the second update repeats the first as a client would whose answer was lost; it is refused and
//! changes nothing, because the version has moved on.

use axum::http::StatusCode;
use engine::clock::{Clock as _, SystemClock};
use serde_json::json;

use super::{Line, Talk};
use crate::exit::Failure;

const ADMIN: &str = "Bearer mindbridge-dev-token";
const TOKENS: &str = "/api/v1/api-tokens";
const DAYS_30: i64 = 30 * 86_400;

pub(super) async fn lines(talk: &mut Talk) -> Result<Vec<Line>, Failure> {
    let now = SystemClock.now();
    let expiry = now.checked_add_secs(DAYS_30).unwrap_or(now);
    let body = json!({
        "name": "Export",
        "expiry": expiry.to_string(),
        "permissions": ["api.engagements.read"],
    });
    let made = talk
        .say("POST", TOKENS, ADMIN, Some(body))
        .await?
        .needed("making a MindBridge token")?;
    let text = |key: &str| made.body[key].as_str().unwrap_or_default().to_owned();
    let path = format!("{TOKENS}/{}", text("id"));
    let bearer = format!("Bearer {}", text("token"));
    let version = made.body["version"].clone();

    let mut lines = Vec::new();
    for expected in [StatusCode::OK, StatusCode::CONFLICT] {
        let before = current(talk, &bearer).await?;
        let body = json!({ "version": version, "name": "Nightly export" });
        let call = format!("PUT {TOKENS}/{{id}} {body}");
        let updated = talk.say("PUT", &path, ADMIN, Some(body)).await?;
        // Nothing may come between the update and this: the token itself is asked what it is.
        let after = current(talk, &bearer).await?;
        let changed = before != after;
        lines.push(Line {
            dialect: "mindbridge",
            call,
            next: format!("/api-tokens/current: {after}"),
            micros: updated.micros,
            holds: updated.status == expected && changed == (expected == StatusCode::OK),
            before,
            after: format!("{} {after}", updated.status.as_u16()),
        });
    }
    Ok(lines)
}

/// What the token says of itself.
async fn current(talk: &mut Talk, bearer: &str) -> Result<String, Failure> {
    let path = format!("{TOKENS}/current");
    let said = talk
        .say("GET", &path, bearer, None)
        .await?
        .needed("reading the MindBridge token")?;
    let name = said.body["name"].as_str().unwrap_or_default();
    Ok(format!("{name:?} version {}", said.body["version"]))
}
