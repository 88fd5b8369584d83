//! The Piiano half of the demo: a token gets tags and an end, then other data, and is then put away.
//!
//! The one thing to know: one `PATCH` does all of this in the product, told apart by what is sent; the expiration `0`
//! archives, after which the token stands for nothing.

use axum::http::StatusCode;
use serde_json::{Value as Json, json};

use super::{Line, Said, Talk};
use crate::exit::Failure;

const KEY: &str = "Bearer pvaultauth";
const COLLECTIONS: &str = "/api/pvlt/1.0/ctl/collections?reason=AppFunctionality";
const TOKENS: &str = "/api/pvlt/1.0/data/collections/customers/tokens";
const QUERY: &str = "/api/pvlt/1.0/data/collections/customers/query/tokens?reason=AppFunctionality";

/// An update, and whether the token stands for something afterwards.
struct Step {
    query: &'static str,
    body: Json,
    holds: fn(&View) -> bool,
}

/// The token as searching and detokenizing show it.
struct View {
    meta: Json,
    values: Json,
}

pub(super) async fn lines(talk: &mut Talk) -> Result<Vec<Line>, Failure> {
    let token = make(talk).await?;
    let steps = [
        Step {
            query: "&expiration_secs=86400",
            body: json!({ "tags": ["premium", "eu"] }),
            holds: |view| {
                let entry = &view.meta[0]["tokens"][0];
                entry["tags"] == json!(["premium", "eu"]) && entry["expiration_time"].is_string()
            },
        },
        Step {
            query: "",
            body: json!({ "object": { "fields": { "email": "jane@example.com" } } }),
            holds: |view| view.values[0]["fields"]["email"] == "jane@example.com",
        },
        Step {
            query: "&expiration_secs=0",
            body: json!({}),
            holds: |view| view.values == json!([]) && view.meta == json!([]),
        },
    ];
    let mut lines = Vec::new();
    for step in steps {
        let before = view(talk, &token).await?;
        let path = format!(
            "{TOKENS}?token_ids={token}&reason=AppFunctionality{}",
            step.query
        );
        let updated = talk
            .say("PATCH", &path, KEY, Some(step.body.clone()))
            .await?;
        // Nothing may come between the update and this.
        let after = view(talk, &token).await?;
        lines.push(line(&step, &before, &after, &updated));
    }
    Ok(lines)
}

async fn make(talk: &mut Talk) -> Result<String, Failure> {
    let collection = json!({
        "name": "customers",
        "type": "PERSONS",
        "properties": [{ "name": "email", "data_type_name": "EMAIL" }],
    });
    talk.say("POST", COLLECTIONS, KEY, Some(collection))
        .await?
        .needed("making a Vault collection")?;
    let request = json!([{
        "type": "randomized",
        "object": { "fields": { "email": "john@example.com" } },
        "tags": ["trial"],
    }]);
    let path = format!("{TOKENS}?reason=AppFunctionality");
    let made = talk
        .say("POST", &path, KEY, Some(request))
        .await?
        .needed("making a Vault token")?;
    Ok(made.body[0]["token_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn view(talk: &mut Talk, token: &str) -> Result<View, Failure> {
    let path = format!("{TOKENS}?token_ids={token}&reason=AppFunctionality");
    let values = talk
        .say("GET", &path, KEY, None)
        .await?
        .needed("detokenizing the Vault token")?;
    let meta = talk
        .say("POST", QUERY, KEY, Some(json!({ "token_ids": [token] })))
        .await?
        .needed("searching the Vault token")?;
    Ok(View {
        meta: meta.body,
        values: values.body,
    })
}

fn line(step: &Step, before: &View, after: &View, updated: &Said) -> Line {
    let body = if step.body == json!({}) {
        String::new()
    } else {
        format!(" {}", step.body)
    };
    let query = step.query.trim_start_matches('&');
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("&{query}")
    };
    Line {
        dialect: "piiano",
        call: format!("PATCH …/tokens?token_ids={{id}}{query}{body}"),
        before: before.words(),
        after: after.words(),
        next: match after.values[0]["fields"]["email"].as_str() {
            Some(email) => format!("detokenize: {email}"),
            None => format!("detokenize: {}", after.values),
        },
        micros: updated.micros,
        holds: updated.status == StatusCode::OK
            && before.values != json!([])
            && (step.holds)(after),
    }
}

impl View {
    /// Tags, end and value in one line.
    fn words(&self) -> String {
        let entry = &self.meta[0]["tokens"][0];
        if entry.is_null() {
            return "not found".to_owned();
        }
        let tags = entry["tags"].as_array().cloned().unwrap_or_default();
        let tags: Vec<&str> = tags.iter().filter_map(Json::as_str).collect();
        let end = entry["expiration_time"].as_str().map_or_else(
            || "never expires".to_owned(),
            |at| format!("expires {}", short(at)),
        );
        let email = self.values[0]["fields"]["email"].as_str().unwrap_or("-");
        format!("tags {}; {end}; {email}", tags.join(", "))
    }
}

/// An instant to the second.
fn short(at: &str) -> String {
    let end = at.find('.').unwrap_or(at.len());
    format!("{}Z", at[..end].trim_end_matches('Z'))
}
