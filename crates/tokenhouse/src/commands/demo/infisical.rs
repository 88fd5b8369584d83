//! The Infisical part of the demo: a machine identity's access token is renamed, and then revoked.
//!
//! The one thing to know: the token is a JWT that carries its own end; that it is refused at the next request is the
//! server's doing, which asks its index and not the signature alone.

use axum::http::StatusCode;
use serde_json::{Value as Json, json};

use super::{Line, Said, Talk};
use crate::exit::Failure;

const API: &str = "/api/v1";
const AUTH: &str = "/api/v1/auth/token-auth";

pub(super) async fn lines(talk: &mut Talk) -> Result<Vec<Line>, Failure> {
    let (admin, id, bearer) = make(talk).await?;
    let token = format!("{AUTH}/tokens/{id}");
    let before = name_of(&talk.say("GET", &token, &admin, None).await?);
    let body = json!({ "name": "nightly-export" });
    let call = format!("PATCH {AUTH}/tokens/{{id}} {body}");
    let updated = talk.say("PATCH", &token, &admin, Some(body)).await?;
    // Nothing may come between the update and this.
    let read = talk.say("GET", &token, &admin, None).await?;
    let after = name_of(&read);
    let rename = Line {
        dialect: "infisical",
        call,
        next: format!("GET the token: {after}"),
        micros: updated.micros,
        holds: updated.status == StatusCode::OK
            && name_of(&updated) == "nightly-export"
            && after == "nightly-export"
            && before == "export",
        before,
        after,
    };

    let used = details(talk, &bearer).await?;
    let path = format!("{token}/revoke");
    let revoked = talk.say("POST", &path, &admin, Some(json!({}))).await?;
    let refused = details(talk, &bearer).await?;
    let revoke = Line {
        dialect: "infisical",
        call: format!("POST {AUTH}/tokens/{{id}}/revoke"),
        before: format!("the token answers {}", used.as_u16()),
        after: revoked.body["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        next: format!("/identities/details {}", refused.as_u16()),
        micros: revoked.micros,
        holds: used == StatusCode::OK
            && revoked.status == StatusCode::OK
            && refused == StatusCode::UNAUTHORIZED,
    };
    Ok(vec![rename, revoke])
}

/// Sets the product up, and makes an identity with Token Auth and one token: the administrator's credential, the token's
/// id and its own credential.
async fn make(talk: &mut Talk) -> Result<(String, String, String), Failure> {
    let body = json!({ "email": "demo@example.com", "password": "Demo-password-1", "organization": "demo" });
    let path = format!("{API}/admin/bootstrap");
    let made = talk
        .say("POST", &path, "", Some(body))
        .await?
        .needed("setting Infisical up")?;
    let admin = format!(
        "Bearer {}",
        text(&made.body["identity"]["credentials"]["token"])
    );
    let body = json!({
        "name": "exporter",
        "organizationId": made.body["organization"]["id"],
        "role": "member",
    });
    let path = format!("{API}/identities");
    let made = talk
        .say("POST", &path, &admin, Some(body))
        .await?
        .needed("making an Infisical identity")?;
    let identity = format!("{AUTH}/identities/{}", text(&made.body["identity"]["id"]));
    talk.say("POST", &identity, &admin, Some(json!({})))
        .await?
        .needed("attaching Token Auth")?;
    let path = format!("{identity}/tokens");
    let body = json!({ "name": "export" });
    let made = talk
        .say("POST", &path, &admin, Some(body))
        .await?
        .needed("making an Infisical token")?;
    let id = text(&made.body["tokenData"]["id"]).to_owned();
    let bearer = format!("Bearer {}", text(&made.body["accessToken"]));
    Ok((admin, id, bearer))
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn name_of(said: &Said) -> String {
    text(&said.body["token"]["name"]).to_owned()
}

async fn details(talk: &mut Talk, bearer: &str) -> Result<StatusCode, Failure> {
    let path = format!("{API}/identities/details");
    Ok(talk.say("GET", &path, bearer, None).await?.status)
}
