//! Clients of the Infisical API: some rename a token again and again, others make tokens and revoke them, others make whole
//! identities and delete them.
//!
//! The one thing to know: a deleted identity takes its tokens along without a write of their own; so after a restart their
//! JWTs are shown too.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Numbers, Writer};
use crate::connection::Connection;

const AUTH: &str = "/api/v1/auth/token-auth";
const IDENTITIES: &str = "/api/v1/identities";
const CLIENTS: usize = 2;
/// Tokens of one answer, at the most.
const PAGE: usize = 100;

/// Whoever may do everything, and where.
#[derive(Clone)]
struct Admin {
    bearer: String,
    organization: String,
}

impl Admin {
    async fn post(&self, server: &mut Connection, path: &str, body: Value) -> Option<Value> {
        server
            .expect(200, "POST", path, &self.bearer, Some(body))
            .await
    }

    async fn identity(&self, server: &mut Connection, name: &str) -> Option<String> {
        let body = json!({"name": name, "organizationId": self.organization});
        let made = self.post(server, IDENTITIES, body).await?;
        Some(text(&made["identity"]["id"]))
    }

    async fn attach(&self, server: &mut Connection, identity: &str) -> Option<()> {
        let path = format!("{AUTH}/identities/{identity}");
        self.post(server, &path, json!({})).await.map(|_| ())
    }

    /// A new token of an identity: its id and its JWT.
    async fn token(
        &self,
        server: &mut Connection,
        identity: &str,
        name: &str,
    ) -> Option<(String, String)> {
        let path = format!("{AUTH}/identities/{identity}/tokens");
        let made = self.post(server, &path, json!({ "name": name })).await?;
        Some((text(&made["tokenData"]["id"]), text(&made["accessToken"])))
    }
}

pub(super) async fn writers(server: &mut Connection, token: &str) -> Vec<Box<dyn Writer>> {
    let bearer = format!("Bearer {token}");
    let path = format!("{IDENTITIES}/details");
    let details = server.expect(200, "GET", &path, &bearer, None).await;
    let admin = Admin {
        bearer,
        organization: text(&details.unwrap()["identityDetails"]["organization"]["id"]),
    };
    let mut writers: Vec<Box<dyn Writer>> = Vec::new();
    for number in 0..CLIENTS {
        let name = format!("owner {number}");
        let identity = admin.identity(server, &name).await.unwrap();
        admin.attach(server, &identity).await.unwrap();
        let (id, _) = admin.token(server, &identity, "n0").await.unwrap();
        writers.push(Box::new(Rename {
            admin: admin.clone(),
            id,
            numbers: Numbers::default(),
        }));
        let name = format!("issuer {number}");
        let identity = admin.identity(server, &name).await.unwrap();
        admin.attach(server, &identity).await.unwrap();
        writers.push(Box::new(IssueAndRevoke {
            admin: admin.clone(),
            identity,
            tokens: Vec::new(),
            pending: None,
        }));
        writers.push(Box::new(ComeAndGo {
            admin: admin.clone(),
            prefix: format!("person {number} "),
            people: Vec::new(),
            pending: None,
        }));
    }
    writers
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

/// Whether a JWT opens the one door that is open to everybody with a good one.
async fn assert_opens(server: &mut Connection, jwt: &str, good: bool) {
    let (status, bearer) = (if good { 200 } else { 401 }, format!("Bearer {jwt}"));
    let path = format!("{IDENTITIES}/details");
    let answer = server.expect(status, "GET", &path, &bearer, None).await;
    assert!(answer.is_some());
}

/// Gives one token the next name again and again.
struct Rename {
    admin: Admin,
    id: String,
    numbers: Numbers,
}

impl Rename {
    async fn patch(&self, server: &mut Connection, name: &str, expected: u16) -> Option<()> {
        let path = format!("{AUTH}/tokens/{}", self.id);
        let body = Some(json!({ "name": name }));
        let bearer = &self.admin.bearer;
        let answer = server.expect(expected, "PATCH", &path, bearer, body).await;
        answer.map(|_| ())
    }
}

#[async_trait]
impl Writer for Rename {
    async fn step(&mut self, server: &mut Connection) -> Option<()> {
        let name = format!("n{}", self.numbers.attempt());
        self.patch(server, &name, 200).await?;
        self.numbers.acknowledge();
        Some(())
    }

    async fn refused(&mut self, server: &mut Connection) -> Option<()> {
        self.patch(server, "refused\0", 422).await
    }

    async fn check(&mut self, server: &mut Connection) {
        let path = format!("{AUTH}/tokens/{}", self.id);
        let bearer = &self.admin.bearer;
        let answer = server.expect(200, "GET", &path, bearer, None).await;
        let name = text(&answer.unwrap()["token"]["name"]);
        let number = name.strip_prefix('n').unwrap();
        self.numbers.settle(number.parse().unwrap());
    }
}

/// Makes tokens of one identity and revokes every second one.
struct IssueAndRevoke {
    admin: Admin,
    identity: String,
    tokens: Vec<Issued>,
    /// What was asked for and not answered.
    pending: Option<Pending>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Issued {
    id: String,
    name: String,
    /// Unknown if the answer was lost.
    jwt: Option<String>,
    revoked: bool,
}

enum Pending {
    Issue(String),
    Revoke(usize),
}

impl IssueAndRevoke {
    async fn revoke(&self, server: &mut Connection, number: usize, expected: u16) -> Option<()> {
        let path = format!("{AUTH}/tokens/{}/revoke", self.tokens[number].id);
        let bearer = &self.admin.bearer;
        let answer = server.expect(expected, "POST", &path, bearer, None).await;
        answer.map(|_| ())
    }

    /// All tokens of the identity.
    async fn list(&self, server: &mut Connection) -> Vec<Issued> {
        let mut all = Vec::new();
        loop {
            let path = format!("{AUTH}/identities/{}/tokens", self.identity);
            let path = format!("{path}?limit={PAGE}&offset={}", all.len());
            let bearer = &self.admin.bearer;
            let list = server
                .expect(200, "GET", &path, bearer, None)
                .await
                .unwrap();
            let tokens = list["tokens"].as_array().unwrap();
            all.extend(tokens.iter().map(|token| Issued {
                id: text(&token["id"]),
                name: text(&token["name"]),
                jwt: None,
                revoked: token["isAccessTokenRevoked"].as_bool().unwrap(),
            }));
            if tokens.len() < PAGE {
                assert_eq!(list["totalCount"], all.len());
                return all;
            }
        }
    }
}

#[async_trait]
impl Writer for IssueAndRevoke {
    async fn step(&mut self, server: &mut Connection) -> Option<()> {
        let last = self.tokens.len().checked_sub(1);
        if let Some(last) = last.filter(|last| last % 2 == 1 && !self.tokens[*last].revoked) {
            self.pending = Some(Pending::Revoke(last));
            self.revoke(server, last, 200).await?;
            self.tokens[last].revoked = true;
        } else {
            let name = format!("t{}", self.tokens.len());
            self.pending = Some(Pending::Issue(name.clone()));
            let made = self.admin.token(server, &self.identity, &name).await?;
            let (id, jwt) = (made.0, Some(made.1));
            self.tokens.push(Issued {
                id,
                name,
                jwt,
                revoked: false,
            });
        }
        self.pending = None;
        Some(())
    }

    async fn refused(&mut self, server: &mut Connection) -> Option<()> {
        let path = format!("{AUTH}/identities/{}/tokens", self.identity);
        let body = json!({"name": format!("refused{}", "x".repeat(250))});
        let bearer = &self.admin.bearer;
        server
            .expect(422, "POST", &path, bearer, Some(body))
            .await?;
        match self.tokens.iter().position(|token| token.revoked) {
            Some(number) => self.revoke(server, number, 404).await,
            None => Some(()),
        }
    }

    async fn check(&mut self, server: &mut Connection) {
        let mut there = self.list(server).await;
        match self.pending.take() {
            Some(Pending::Revoke(number)) => {
                let same = |token: &&Issued| token.id == self.tokens[number].id;
                self.tokens[number].revoked = there.iter().find(same).unwrap().revoked;
            }
            Some(Pending::Issue(name)) => {
                let made = there.iter().find(|token| token.name == name);
                self.tokens.extend(made.cloned());
            }
            None => {}
        }
        let known = self.tokens.iter().cloned();
        let mut wanted: Vec<_> = known.map(|token| Issued { jwt: None, ..token }).collect();
        wanted.sort();
        there.sort();
        assert_eq!(there, wanted);
        for token in &self.tokens {
            if let Some(jwt) = &token.jwt {
                assert_opens(server, jwt, !token.revoked).await;
            }
        }
    }
}

/// Makes identities with a token each and deletes every second one.
struct ComeAndGo {
    admin: Admin,
    prefix: String,
    people: Vec<Person>,
    /// What was asked for and not answered.
    pending: Option<Change>,
}

struct Person {
    id: String,
    attached: bool,
    tokens: usize,
    jwt: Option<String>,
    deleted: bool,
}

enum Change {
    Come(String),
    Attach,
    Issue,
    Go,
}

impl ComeAndGo {
    /// Identities by what they are called, in the order of the list.
    async fn names(&self, server: &mut Connection) -> Vec<(String, String)> {
        let path = format!("{IDENTITIES}?orgId={}", self.admin.organization);
        let list = server
            .expect(200, "GET", &path, &self.admin.bearer, None)
            .await;
        let list = list.unwrap();
        let all = list["identities"].as_array().unwrap().iter();
        let named = all.map(|one| (text(&one["identity"]["name"]), text(&one["identity"]["id"])));
        named
            .filter(|(name, _)| name.starts_with(&self.prefix))
            .collect()
    }

    /// How many tokens an identity has; `None` if it is not attached.
    async fn tokens(&self, server: &mut Connection, id: &str) -> Option<usize> {
        let path = format!("{AUTH}/identities/{id}/tokens");
        let (status, list) = server
            .send("GET", &path, &self.admin.bearer, None)
            .await
            .unwrap();
        match status {
            200 => Some(list["tokens"].as_array().unwrap().len()),
            400 => None,
            other => panic!("{other}: {list}"),
        }
    }
}

#[async_trait]
impl Writer for ComeAndGo {
    async fn step(&mut self, server: &mut Connection) -> Option<()> {
        let number = self.people.len();
        let admin = self.admin.clone();
        match self.people.last_mut() {
            Some(person) if !person.attached => {
                self.pending = Some(Change::Attach);
                admin.attach(server, &person.id).await?;
                person.attached = true;
            }
            Some(person) if person.tokens == 0 => {
                self.pending = Some(Change::Issue);
                let (_, jwt) = admin.token(server, &person.id, "own").await?;
                person.tokens = 1;
                person.jwt = Some(jwt);
            }
            Some(person) if number.is_multiple_of(2) && !person.deleted => {
                self.pending = Some(Change::Go);
                let path = format!("{IDENTITIES}/{}", person.id);
                server
                    .expect(200, "DELETE", &path, &admin.bearer, None)
                    .await?;
                person.deleted = true;
            }
            _ => {
                let name = format!("{}{number}", self.prefix);
                self.pending = Some(Change::Come(name.clone()));
                let id = admin.identity(server, &name).await?;
                self.people.push(Person::new(id));
            }
        }
        self.pending = None;
        Some(())
    }

    async fn refused(&mut self, server: &mut Connection) -> Option<()> {
        let body =
            json!({"name": "refused", "organizationId": self.admin.organization, "role": "king"});
        let bearer = &self.admin.bearer;
        server
            .expect(404, "POST", IDENTITIES, bearer, Some(body))
            .await?;
        if let Some(gone) = self.people.iter().find(|person| person.deleted) {
            let path = format!("{IDENTITIES}/{}", gone.id);
            server.expect(404, "DELETE", &path, bearer, None).await?;
        }
        Some(())
    }

    async fn check(&mut self, server: &mut Connection) {
        let there = self.names(server).await;
        let pending = self.pending.take();
        if let Some(Change::Come(name)) = &pending {
            let made = there.iter().find(|(there, _)| there == name);
            let made = made.map(|(_, id)| Person::new(id.clone()));
            self.people.extend(made);
        } else if let Some(change) = &pending {
            let id = self.people.last().unwrap().id.clone();
            let gone = !there.iter().any(|(_, there)| *there == id);
            let tokens = match change {
                Change::Attach | Change::Issue => self.tokens(server, &id).await,
                Change::Come(_) | Change::Go => None,
            };
            let person = self.people.last_mut().unwrap();
            match change {
                Change::Attach => person.attached = tokens.is_some(),
                Change::Issue => person.tokens = tokens.unwrap(),
                Change::Go => person.deleted = gone,
                Change::Come(_) => {}
            }
        }
        let mut found: Vec<&str> = there.iter().map(|(_, id)| id.as_str()).collect();
        let living = self.people.iter().filter(|person| !person.deleted);
        let mut wanted: Vec<&str> = living.map(|person| person.id.as_str()).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        for person in &self.people {
            if !person.deleted {
                let tokens = person.attached.then_some(person.tokens);
                assert_eq!(self.tokens(server, &person.id).await, tokens);
            }
            if let Some(jwt) = &person.jwt {
                assert_opens(server, jwt, !person.deleted).await;
            }
        }
    }
}

impl Person {
    fn new(id: String) -> Self {
        Self {
            id,
            attached: false,
            tokens: 0,
            jwt: None,
            deleted: false,
        }
    }
}
