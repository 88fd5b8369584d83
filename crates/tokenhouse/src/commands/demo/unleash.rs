//! The Unleash half of the demo: an API token gets a later end, and then one that has passed.
//!
//! The one thing to know: the admin token is the documented one of development servers; the expiry with an offset is the
//! example of the product's own documentation.

use axum::http::StatusCode;
use serde_json::json;

use super::{Line, Said, Talk};
use crate::exit::Failure;

const ADMIN: &str = "*:*.unleash-admin-token";
const TOKENS: &str = "/api/admin/api-tokens";
const NAME: &str = "demo";

pub(super) async fn lines(talk: &mut Talk) -> Result<Vec<Line>, Failure> {
    let body = json!({
        "tokenName": NAME,
        "type": "backend",
        "environment": "development",
        "projects": ["default"],
    });
    let made = talk
        .say("POST", TOKENS, ADMIN, Some(body))
        .await?
        .needed("making an Unleash token")?;
    let secret = made.body["secret"].as_str().unwrap_or_default().to_owned();

    let mut lines = Vec::new();
    for (expiry, lives) in [
        ("2031-09-04T11:26:24+02:00", true),
        ("2023-09-04T11:26:24+02:00", false),
    ] {
        let before = expiry_of(talk).await?;
        let path = format!("{TOKENS}/{secret}");
        let body = json!({ "expiresAt": expiry });
        let updated = talk.say("PUT", &path, ADMIN, Some(body)).await?;
        // Nothing may come between the update and these two.
        let body = json!({ "tokens": [secret] });
        let validated = talk.say("POST", "/edge/validate", "", Some(body)).await?;
        let features = talk
            .say("GET", "/api/client/features", &secret, None)
            .await?;
        let after = expiry_of(talk).await?;
        lines.push(line(
            expiry, lives, before, after, &updated, &validated, &features,
        ));
    }
    Ok(lines)
}

fn line(
    expiry: &str,
    lives: bool,
    before: String,
    after: String,
    updated: &Said,
    validated: &Said,
    features: &Said,
) -> Line {
    let valid = validated.body["tokens"].as_array().map_or(0, Vec::len);
    let as_expected = if lives {
        valid == 1 && features.status == StatusCode::OK
    } else {
        valid == 0 && features.status == StatusCode::UNAUTHORIZED
    };
    Line {
        dialect: "unleash",
        call: format!("PUT {TOKENS}/{{secret}} {{\"expiresAt\":\"{expiry}\"}}"),
        next: format!(
            "/edge/validate knows {valid} of 1; /api/client/features {}",
            features.status.as_u16()
        ),
        micros: updated.micros,
        holds: updated.status == StatusCode::OK && as_expected && before != after,
        before,
        after,
    }
}

async fn expiry_of(talk: &mut Talk) -> Result<String, Failure> {
    let path = format!("{TOKENS}/{NAME}");
    let found = talk
        .say("GET", &path, ADMIN, None)
        .await?
        .needed("reading the Unleash token")?;
    let expiry = found.body["tokens"][0]["expiresAt"].as_str();
    Ok(expiry.map_or_else(|| "never expires".to_owned(), |at| format!("expires {at}")))
}
