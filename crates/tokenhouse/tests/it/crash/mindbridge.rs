//! Clients of the MindBridge API: some save one token version after version, others make tokens and delete them.
//!
//! The one thing to know: a save is guarded by the version, so one whose answer was lost must be found out by reading: to
//! ask again would be a conflict.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Numbers, Writer};
use crate::connection::Connection;

const TOKENS: &str = "/api/v1/api-tokens";
const CLIENTS: usize = 2;
/// Tokens of one answer, at the most.
const PAGE: usize = 100;

pub(super) async fn writers(server: &mut Connection, token: &str) -> Vec<Box<dyn Writer>> {
    let bearer = format!("Bearer {token}");
    let path = format!("{TOKENS}/current");
    let own = server.expect(200, "GET", &path, &bearer, None).await;
    // As far away as the first token's, so that the day on which the test runs does not matter.
    let expiry = own.unwrap()["expiry"].clone();
    let mut writers: Vec<Box<dyn Writer>> = Vec::new();
    for number in 0..CLIENTS {
        let prefix = format!("saved {number} ");
        let body = new_token(&format!("{prefix}0"), &expiry);
        let made = server
            .expect(201, "POST", TOKENS, &bearer, Some(body))
            .await;
        writers.push(Box::new(Save {
            bearer: bearer.clone(),
            id: made.unwrap()["id"].as_str().unwrap().to_owned(),
            prefix,
            numbers: Numbers::default(),
        }));
        writers.push(Box::new(MakeAndDelete {
            bearer: bearer.clone(),
            expiry: expiry.clone(),
            prefix: format!("made {number} "),
            tokens: Vec::new(),
            pending: None,
        }));
    }
    writers
}

fn new_token(name: &str, expiry: &Value) -> Value {
    json!({"name": name, "expiry": expiry, "permissions": ["api.users.read"]})
}

/// Saves the next version again and again; its name has the number.
struct Save {
    bearer: String,
    id: String,
    prefix: String,
    numbers: Numbers,
}

impl Save {
    async fn put(&self, server: &mut Connection, body: Value, expected: u16) -> Option<Value> {
        let path = format!("{TOKENS}/{}", self.id);
        let bearer = &self.bearer;
        server
            .expect(expected, "PUT", &path, bearer, Some(body))
            .await
    }
}

#[async_trait]
impl Writer for Save {
    async fn step(&mut self, server: &mut Connection) -> Option<()> {
        let number = self.numbers.attempt();
        // The first version is 1 and has the number 0.
        let body = json!({"version": number, "name": format!("{}{number}", self.prefix)});
        let saved = self.put(server, body, 200).await?;
        assert_eq!(saved["version"], number + 1);
        self.numbers.acknowledge();
        Some(())
    }

    async fn refused(&mut self, server: &mut Connection) -> Option<()> {
        let body = json!({"version": self.numbers.acknowledged, "name": "refused"});
        self.put(server, body, 409).await?;
        Some(())
    }

    async fn check(&mut self, server: &mut Connection) {
        let path = format!("{TOKENS}/{}", self.id);
        let token = server.expect(200, "GET", &path, &self.bearer, None).await;
        let token = token.unwrap();
        let name = token["name"].as_str().unwrap();
        let number: usize = name.strip_prefix(&self.prefix).unwrap().parse().unwrap();
        assert_eq!(
            token["version"],
            number + 1,
            "version and name are of one write"
        );
        self.numbers.settle(number);
    }
}

/// Makes tokens and deletes every second one.
struct MakeAndDelete {
    bearer: String,
    expiry: Value,
    prefix: String,
    tokens: Vec<Made>,
    /// What was asked for and not answered.
    pending: Option<Pending>,
}

struct Made {
    name: String,
    /// Unknown if the answer was lost.
    secret: Option<String>,
    id: String,
    deleted: bool,
}

enum Pending {
    Make(String),
    Delete(usize),
}

impl MakeAndDelete {
    /// All that are there, in order of creation.
    async fn list(&self, server: &mut Connection) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let page = all.len() / PAGE;
            let path = format!("{TOKENS}/query?page={page}&size={PAGE}&sort=creationDate");
            let filter = json!({"name": {"$iprefix": self.prefix}});
            let found = server
                .expect(200, "POST", &path, &self.bearer, Some(filter))
                .await;
            let found = found.unwrap();
            all.extend_from_slice(found["content"].as_array().unwrap());
            if found["last"] == true {
                assert_eq!(found["totalElements"], all.len());
                return all;
            }
        }
    }

    fn last_to_delete(&self) -> Option<usize> {
        let last = self.tokens.len().checked_sub(1)?;
        (last % 2 == 1 && !self.tokens[last].deleted).then_some(last)
    }
}

#[async_trait]
impl Writer for MakeAndDelete {
    async fn step(&mut self, server: &mut Connection) -> Option<()> {
        if let Some(number) = self.last_to_delete() {
            self.pending = Some(Pending::Delete(number));
            let path = format!("{TOKENS}/{}", self.tokens[number].id);
            server
                .expect(204, "DELETE", &path, &self.bearer, None)
                .await?;
            self.tokens[number].deleted = true;
        } else {
            let name = format!("{}{}", self.prefix, self.tokens.len());
            self.pending = Some(Pending::Make(name.clone()));
            let body = new_token(&name, &self.expiry);
            let made = server
                .expect(201, "POST", TOKENS, &self.bearer, Some(body))
                .await?;
            self.tokens.push(Made {
                name,
                secret: Some(made["token"].as_str().unwrap().to_owned()),
                id: made["id"].as_str().unwrap().to_owned(),
                deleted: false,
            });
        }
        self.pending = None;
        Some(())
    }

    async fn refused(&mut self, server: &mut Connection) -> Option<()> {
        let mut body = new_token("refused", &self.expiry);
        body["permissions"] = json!(["api.nothing.read"]);
        server
            .expect(400, "POST", TOKENS, &self.bearer, Some(body))
            .await?;
        if let Some(gone) = self.tokens.iter().find(|token| token.deleted) {
            let path = format!("{TOKENS}/{}", gone.id);
            server
                .expect(404, "DELETE", &path, &self.bearer, None)
                .await?;
        }
        Some(())
    }

    async fn check(&mut self, server: &mut Connection) {
        let there = self.list(server).await;
        let find = |name: &str| there.iter().find(|token| token["name"] == name);
        match self.pending.take() {
            Some(Pending::Delete(number)) => {
                self.tokens[number].deleted = find(&self.tokens[number].name).is_none();
            }
            Some(Pending::Make(name)) => {
                if let Some(token) = find(&name) {
                    self.tokens.push(Made {
                        name,
                        secret: None,
                        id: token["id"].as_str().unwrap().to_owned(),
                        deleted: false,
                    });
                }
            }
            None => {}
        }
        let living = |token: &&Made| !token.deleted;
        let names = |token: &Made| (token.name.clone(), token.id.clone());
        let wanted: Vec<_> = self.tokens.iter().filter(living).map(names).collect();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found: Vec<_> = there
            .iter()
            .map(|token| (text(&token["name"]), text(&token["id"])))
            .collect();
        assert_eq!(found, wanted);
        for token in &self.tokens {
            let status = if token.deleted { 404 } else { 200 };
            let path = format!("{TOKENS}/{}", token.id);
            let read = server
                .expect(status, "GET", &path, &self.bearer, None)
                .await;
            assert!(read.is_some());
            let Some(secret) = &token.secret else {
                continue;
            };
            let status = if token.deleted { 401 } else { 200 };
            let (path, bearer) = (format!("{TOKENS}/current"), format!("Bearer {secret}"));
            let read = server.expect(status, "GET", &path, &bearer, None).await;
            assert!(read.is_some());
        }
    }
}
