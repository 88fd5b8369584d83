//! `tokenhouse token …`: tokens from the command line, through the native routes.
//!
//! The one thing to know: ids name tokens, never secrets: an argument is visible to everybody on the machine. The one
//! secret that is printed is that of a token just issued, to standard output, once.

use std::fmt::Write as _;

use axum::http::Method;
use engine::clock::{Clock as _, SystemClock};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::cli::{
    IssueArguments, ListArguments, Reach, RevokeArguments, TokenArguments, TokenCommand,
    UpdateArguments,
};
use crate::config::{LogFormat, LogLevel, LogSettings, Variables};
use crate::exit::Failure;
use crate::reach::Reached;
use crate::table::{cell, harmless, plain, print, say};
use crate::{duration, logs};

/// Tokens fetched at a time.
const PAGE: usize = 500;

/// Does one of them.
pub(super) async fn run(command: TokenCommand, environment: Variables) -> Result<(), Failure> {
    let reach = match &command {
        TokenCommand::Issue(arguments) => &arguments.reach,
        TokenCommand::List(arguments) => &arguments.reach,
        TokenCommand::Show(arguments) | TokenCommand::History(arguments) => &arguments.reach,
        TokenCommand::Update(arguments) => &arguments.token.reach,
        TokenCommand::Revoke(arguments) => &arguments.token.reach,
    };
    // Standard error is for what the reader must know, unless there is no server that would log.
    logs::start(LogSettings {
        format: LogFormat::Human,
        level: LogLevel::WARN,
    });
    let settings = super::settings(&reach.place, reach.place.flags(), environment, false)?;
    // What is wrong with the arguments is said before anything is opened.
    let command = check(command)?;
    let mut reached = Reached::find(&settings).await?;
    let done = match command {
        Checked::Issue(arguments, body) => issue(&mut reached, &arguments, &body).await,
        Checked::List(arguments) => list(&mut reached, &arguments).await,
        Checked::Show(token) => show(&mut reached, &token).await,
        Checked::Update(token, body, version) => {
            let patch = Change::Update(body);
            change(&mut reached, &token, patch, version).await
        }
        Checked::Revoke(token, version) => {
            change(&mut reached, &token, Change::Revoke, version).await
        }
        Checked::History(token) => history(&mut reached, &token).await,
    };
    reached.close().await;
    done
}

/// Commands whose arguments make sense.
enum Checked {
    Issue(IssueArguments, Json),
    List(ListArguments),
    Show(Named),
    Update(Named, Json, Option<u64>),
    Revoke(Named, Option<u64>),
    History(Named),
}

/// A token by its id.
struct Named {
    id: Uuid,
    realm: Option<String>,
    json: bool,
}

fn check(command: TokenCommand) -> Result<Checked, Failure> {
    Ok(match command {
        TokenCommand::Issue(arguments) => {
            let body = issue_body(&arguments)?;
            Checked::Issue(arguments, body)
        }
        TokenCommand::List(arguments) => Checked::List(arguments),
        TokenCommand::Show(token) => Checked::Show(named(token)?),
        TokenCommand::Update(arguments) => {
            let body = update_body(&arguments)?;
            Checked::Update(named(arguments.token)?, body, arguments.if_version)
        }
        TokenCommand::Revoke(RevokeArguments { token, if_version }) => {
            Checked::Revoke(named(token)?, if_version)
        }
        TokenCommand::History(token) => Checked::History(named(token)?),
    })
}

fn named(token: TokenArguments) -> Result<Named, Failure> {
    let id = token.id.parse().map_err(|_| {
        // Not repeated: it may be a secret.
        Failure::usage("a token is named by its id, a UUID")
            .hint("`tokenhouse token list` shows ids; a secret is never an argument")
    })?;
    let Reach { json, .. } = token.reach;
    Ok(Named {
        id,
        realm: token.realm,
        json,
    })
}

fn issue_body(arguments: &IssueArguments) -> Result<Json, Failure> {
    let mut body = json!({ "realm": arguments.realm, "permissions": arguments.permissions });
    for (field, value) in [("class", &arguments.class), ("name", &arguments.name)] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    let expiry = &arguments.expiry;
    if let Some(at) = expiry_of(expiry.expires_at.as_deref(), expiry.expires_in.as_deref())? {
        body["expires_at"] = json!(at);
    }
    Ok(body)
}

fn update_body(arguments: &UpdateArguments) -> Result<Json, Failure> {
    let mut body = Map::new();
    if arguments.no_name {
        body.insert("name".to_owned(), Json::Null);
    } else if let Some(name) = &arguments.name {
        body.insert("name".to_owned(), json!(name));
    }
    if arguments.no_tags {
        body.insert("tags".to_owned(), Json::Null);
    } else if !arguments.tags.is_empty() {
        body.insert("tags".to_owned(), json!(arguments.tags));
    }
    let expiry = &arguments.expiry;
    let at = expiry_of(expiry.expires_at.as_deref(), expiry.expires_in.as_deref())?;
    if expiry.never_expires {
        body.insert("expires_at".to_owned(), Json::Null);
    } else if let Some(at) = at {
        body.insert("expires_at".to_owned(), json!(at));
    }
    if body.is_empty() {
        return Err(Failure::usage("nothing is to be changed")
            .hint("give --name, --tag, --expires-at, --expires-in, --never-expires, --no-name or --no-tags"));
    }
    Ok(Json::Object(body))
}

fn expiry_of(at: Option<&str>, within: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(within) = within else {
        return Ok(at.map(ToOwned::to_owned));
    };
    let wrong =
        || Failure::usage("--expires-in is a duration with its unit, as in 30m, 12h or 90d");
    let within = duration::parse(within).ok_or_else(wrong)?;
    let secs = i64::try_from(within.as_secs()).map_err(|_| wrong())?;
    let at = SystemClock.now().checked_add_secs(secs).ok_or_else(wrong)?;
    Ok(Some(at.to_string()))
}

async fn issue(
    reached: &mut Reached,
    arguments: &IssueArguments,
    body: &Json,
) -> Result<(), Failure> {
    let token = reached
        .ask(Method::POST, "/v1/tokens", Some(body), None)
        .await?;
    show_token(&token, arguments.reach.json)
}

async fn list(reached: &mut Reached, arguments: &ListArguments) -> Result<(), Failure> {
    let realms = match &arguments.realm {
        Some(realm) => vec![realm.clone()],
        None => realms(reached).await?,
    };
    let mut printed = 0;
    for realm in realms {
        let mut cursor = None::<String>;
        loop {
            let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let path = format!("/v1/tokens?realm={}&limit={PAGE}{after}", escaped(&realm));
            let page = reached.ask(Method::GET, &path, None, None).await?;
            let tokens = page["tokens"].as_array().cloned().unwrap_or_default();
            if arguments.reach.json {
                print_items(&tokens, printed)?;
            } else if !tokens.is_empty() {
                print_page(&tokens)?;
            }
            printed += tokens.len();
            cursor = page["next"].as_str().map(ToOwned::to_owned);
            if cursor.is_none() {
                break;
            }
        }
    }
    if arguments.reach.json {
        return say(if printed == 0 { "[]" } else { "]" });
    }
    if printed == 0 {
        anstream::eprintln!("no tokens");
    }
    Ok(())
}

/// One array over all pages, an item a line: no more than a page is in memory.
fn print_items(tokens: &[Json], printed: usize) -> Result<(), Failure> {
    for (number, token) in tokens.iter().enumerate() {
        let before = if printed + number == 0 { '[' } else { ',' };
        say(&format!("{before}{token}"))?;
    }
    Ok(())
}

fn print_page(tokens: &[Json]) -> Result<(), Failure> {
    let columns = [
        "id",
        "realm",
        "class",
        "name",
        "state",
        "version",
        "expires_at",
    ];
    let mut table = plain(&[
        "ID", "REALM", "CLASS", "NAME", "STATE", "VERSION", "EXPIRES", "KNOWN BY",
    ]);
    for token in tokens {
        // A credential by a few characters of its secret, a data token by the id that its product gave it.
        let known_by = token.get("hint").or_else(|| token.get("external_id"));
        let cells = columns.iter().map(|column| &token[*column]).chain(known_by);
        table.add_row(cells.map(cell));
    }
    print(&table)
}

async fn realms(reached: &mut Reached) -> Result<Vec<String>, Failure> {
    let answer = reached.ask(Method::GET, "/v1/realms", None, None).await?;
    let realms = answer["realms"].as_array().cloned().unwrap_or_default();
    let names = realms.iter().filter_map(|realm| realm["name"].as_str());
    Ok(names.map(ToOwned::to_owned).collect())
}

/// Where a token is, as the query says it: in the realm that is named, or in the first that has it.
async fn place(reached: &mut Reached, token: &Named, below: &str) -> Result<String, Failure> {
    let path = |realm: &str| format!("/v1/tokens/{}{below}?realm={}", token.id, escaped(realm));
    if let Some(realm) = &token.realm {
        return Ok(path(realm));
    }
    for realm in realms(reached).await? {
        // By its history, which a token that is gone has too.
        let history = format!("/v1/tokens/{}/history?realm={}", token.id, escaped(&realm));
        if reached.look_for(&history).await?.is_some() {
            return Ok(path(&realm));
        }
    }
    Err(Failure::failed("no realm has such a token")
        .hint("`tokenhouse token list` shows ids and realms"))
}

async fn show(reached: &mut Reached, token: &Named) -> Result<(), Failure> {
    let path = place(reached, token, "").await?;
    let answer = reached.ask(Method::GET, &path, None, None).await?;
    show_token(&answer, token.json)
}

enum Change {
    Update(Json),
    Revoke,
}

async fn change(
    reached: &mut Reached,
    token: &Named,
    change: Change,
    version: Option<u64>,
) -> Result<(), Failure> {
    let answer = match change {
        Change::Update(body) => {
            let path = place(reached, token, "").await?;
            let asked = reached.ask(Method::PATCH, &path, Some(&body), version);
            asked.await?
        }
        Change::Revoke => {
            let path = place(reached, token, "/revoke").await?;
            reached.ask(Method::POST, &path, None, version).await?
        }
    };
    show_token(&answer, token.json)
}

async fn history(reached: &mut Reached, token: &Named) -> Result<(), Failure> {
    let path = place(reached, token, "/history").await?;
    let answer = reached.ask(Method::GET, &path, None, None).await?;
    if token.json {
        return say(&format!("{answer:#}"));
    }
    let mut table = plain(&["AT", "OF", "VERSION", "VERB", "BY", "BEFORE", "AFTER"]);
    for change in answer["changes"].as_array().into_iter().flatten() {
        let columns = [
            "at", "subject", "version", "verb", "actor", "before", "after",
        ];
        table.add_row(columns.map(|column| cell(&change[column])));
    }
    print(&table)
}

fn show_token(token: &Json, json: bool) -> Result<(), Failure> {
    if json {
        return say(&format!("{token:#}"));
    }
    let mut table = plain(&[]);
    for (name, value) in token.as_object().into_iter().flatten() {
        table.add_row([harmless(name), cell(value)]);
    }
    print(&table)
}

/// A text as a value in a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("unleash/default"), "unleash/default");
        assert_eq!(escaped("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }

    #[test]
    fn durations_become_instants() {
        assert_eq!(
            expiry_of(Some("x"), None).ok().flatten().as_deref(),
            Some("x")
        );
        assert!(expiry_of(None, Some("90d")).is_ok_and(|at| at.is_some()));
        assert!(expiry_of(None, Some("90")).is_err());
        assert!(expiry_of(None, None).is_ok_and(|at| at.is_none()));
    }
}
