//! Random sequences of the calls of MindBridge against a model: create, save by version, delete, read and query.
//!
//! The one thing to know: the record above a token is deleted, not the token; so the model keeps who deleted it and asks the
//! token's history for exactly that at the end.

use engine::caller::Actor;
use engine::event::Subject;
use engine::token::TokenId;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::trail::{Answer, Call, Refusal, Told, Trail, bearer, nobody};
use crate::backend::{Backend, any_backend};

const TOKENS: &str = "/api/v1/api-tokens";
const ONE: &str = "/api/v1/api-tokens/{id}";
const READ: &str = "api.api-tokens.read";
const WRITE: &str = "api.api-tokens.write";
const DELETE: &str = "api.api-tokens.delete";
const PERMISSIONS: [&str; 4] = [READ, WRITE, DELETE, "api.users.read"];
/// Names to choose from: few, so that they are taken.
const NAMES: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Create {
        name: Naming,
        permissions: usize,
        secs: i64,
    },
    Save {
        token: usize,
        name: Naming,
        version: Version,
    },
    Delete {
        token: usize,
    },
    Read {
        token: usize,
    },
    Current {
        token: usize,
    },
    Query {
        name: Option<usize>,
    },
    Wait {
        secs: i64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Naming {
    Of(usize),
    Blank,
    TooLong,
}

impl Naming {
    fn text(self) -> String {
        match self {
            Self::Of(number) => format!("name {number}"),
            Self::Blank => " ".to_owned(),
            Self::TooLong => "x".repeat(256),
        }
    }

    const fn problem(self) -> Option<&'static str> {
        match self {
            Self::Of(_) => None,
            Self::Blank => Some("ILLEGAL_ARGUMENT"),
            Self::TooLong => Some("LESS_VALUE_REQUIRED"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Version {
    Present,
    Former,
    Next,
}

/// The caller: whoever has the first token, or the bearer of some other.
type Who = Option<usize>;

fn step() -> impl Strategy<Value = (Who, Step)> {
    let token = 0..12_usize;
    let name = prop_oneof![
        10 => (0..NAMES).prop_map(Naming::Of),
        1 => Just(Naming::Blank),
        1 => Just(Naming::TooLong),
    ];
    let version = prop_oneof![
        4 => Just(Version::Present),
        1 => Just(Version::Former),
        1 => Just(Version::Next),
    ];
    let create = (name.clone(), 1..16_usize, 30..400_i64);
    let save = (token.clone(), name, version);
    let step = prop_oneof![
        5 => create.prop_map(|(name, permissions, secs)| Step::Create { name, permissions, secs }),
        8 => save.prop_map(|(token, name, version)| Step::Save { token, name, version }),
        3 => token.clone().prop_map(|token| Step::Delete { token }),
        2 => token.clone().prop_map(|token| Step::Read { token }),
        1 => token.clone().prop_map(|token| Step::Current { token }),
        2 => proptest::option::of(0..NAMES).prop_map(|name| Step::Query { name }),
        2 => (1..70_i64).prop_map(|secs| Step::Wait { secs }),
    ];
    let caller = prop_oneof![2 => Just(None), 1 => token.prop_map(Some)];
    (caller, step)
}

struct Token {
    outward: String,
    user: String,
    id: Uuid,
    record: Uuid,
    secret: String,
    name: String,
    version: u64,
    permissions: Vec<&'static str>,
    /// Seconds since the epoch.
    ends_at: i64,
    maker: String,
    /// Who has deleted it.
    deleted_by: Option<Actor>,
}

struct Model {
    trail: Trail,
    /// The first one first.
    tokens: Vec<Token>,
}

fn refused(status: u16, code: &'static str, actor: &Actor) -> Refusal {
    Refusal {
        status,
        code,
        actor: actor.clone(),
    }
}

fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_else(|| panic!("{value}"));
    text.to_owned()
}

/// The instant so many seconds after the epoch, as this wire has it.
fn date_time(secs: i64) -> String {
    let at = engine::clock::Timestamp::from_micros(secs * 1_000_000).unwrap();
    format!("{}Z", at.to_civil())
}

impl Model {
    async fn open(backend: Backend) -> Self {
        let trail = Trail::open(backend, "mindbridge", &[]).await;
        let secret = trail.credential("MindBridge");
        let listed = trail
            .app
            .engine
            .list(&trail.caller, None, 2)
            .await
            .unwrap()
            .0;
        assert_eq!(listed.len(), 1);
        let first = &listed[0];
        let token = Token {
            outward: text(&first.attributes["id"]),
            user: text(&first.attributes["user_id"]),
            id: first.id.0,
            record: first.parent.unwrap().0,
            secret,
            name: first.name.clone().unwrap(),
            version: 1,
            permissions: PERMISSIONS.to_vec(),
            ends_at: i64::MAX,
            maker: first.created_by.clone(),
            deleted_by: None,
        };
        Self {
            trail,
            tokens: vec![token],
        }
    }

    /// Which token a random number means: any but the first, that a random caller must not end everything.
    fn token_at(&self, number: usize) -> usize {
        match self.tokens.len() {
            1 => 0,
            count => 1 + number % (count - 1),
        }
    }

    fn bearer_of(&self, who: Who) -> &Token {
        &self.tokens[who.map_or(0, |number| self.token_at(number))]
    }

    /// Who calls, if the token opens anything and has the permission.
    fn caller(&self, who: Who, permission: Option<&str>) -> Result<Actor, Refusal> {
        let token = self.bearer_of(who);
        if token.deleted_by.is_some() || token.ends_at <= self.trail.now_secs() {
            return Err(refused(401, "UNKNOWN", &nobody()));
        }
        let actor = bearer(token.id, &token.name);
        if permission.is_some_and(|wanted| !token.permissions.contains(&wanted)) {
            return Err(refused(403, "INSUFFICIENT_PERMISSION", &actor));
        }
        Ok(actor)
    }

    fn is_taken(&self, name: &str, by_other_than: Option<usize>) -> bool {
        let mut others = self.tokens.iter().enumerate();
        others.any(|(number, token)| {
            Some(number) != by_other_than && token.deleted_by.is_none() && token.name == name
        })
    }

    async fn send(
        &mut self,
        who: Who,
        method: &str,
        (route, path): (&str, &str),
        body: Option<Value>,
        expected: &Result<Actor, Refusal>,
    ) -> Option<Answer> {
        let authorization = format!("Bearer {}", self.bearer_of(who).secret);
        let call = Call {
            method,
            route,
            path,
            authorization: &authorization,
            body,
            reads: method == "GET" || route.ends_with("/query"),
        };
        let expected = expected.clone().map(|_| ());
        self.trail.call(call, expected).await
    }

    async fn perform(&mut self, who: Who, step: Step) {
        match step {
            Step::Create {
                name,
                permissions,
                secs,
            } => self.create(who, name, permissions, secs).await,
            Step::Save {
                token,
                name,
                version,
            } => self.save(who, self.token_at(token), name, version).await,
            Step::Delete { token } => self.delete(who, self.token_at(token)).await,
            Step::Read { token } => self.read(who, self.token_at(token)).await,
            Step::Current { token } => {
                let path = "/api/v1/api-tokens/current";
                let expected = self.caller(Some(token), None);
                let answer = self.send(Some(token), "GET", (path, path), None, &expected);
                let answer = answer.await.map(|answer| text(&answer.body["id"]));
                let own = &self.bearer_of(Some(token)).outward;
                assert!(answer.is_none_or(|answer| answer == *own));
            }
            Step::Query { name } => self.query(who, name).await,
            Step::Wait { secs } => self.trail.pass(secs).await,
        }
    }

    async fn create(&mut self, who: Who, name: Naming, permissions: usize, secs: i64) {
        let wanted = PERMISSIONS.into_iter().enumerate();
        let wanted = wanted.filter(|(bit, _)| permissions & (1 << bit) != 0);
        let permissions: Vec<&str> = wanted.map(|(_, permission)| permission).collect();
        let expected = self.caller(who, Some(WRITE)).and_then(|actor| {
            if let Some(problem) = name.problem() {
                return Err(refused(400, problem, &actor));
            }
            // Nobody gives what they do not have.
            let own = &self.bearer_of(who).permissions;
            if permissions.iter().any(|one| !own.contains(one)) {
                return Err(refused(403, "INSUFFICIENT_PERMISSION", &actor));
            }
            if self.is_taken(&name.text(), None) {
                return Err(refused(400, "NON_UNIQUE_VALUE", &actor));
            }
            Ok(actor)
        });
        let ends_at = self.trail.now_secs() + secs;
        let body =
            json!({"name": name.text(), "expiry": date_time(ends_at), "permissions": permissions});
        let maker = self.bearer_of(who).user.clone();
        let answer = self
            .send(who, "POST", (TOKENS, TOKENS), Some(body), &expected)
            .await;
        let Some(answer) = answer else { return };
        let outward = text(&answer.body["id"]);
        let listed = self
            .trail
            .app
            .engine
            .list(&self.trail.caller, None, 500)
            .await;
        let listed = listed.unwrap().0;
        let same = |token: &&engine::token::Token| token.attributes["id"] == outward.as_str();
        let made = listed.iter().find(same).unwrap();
        let token = Token {
            outward,
            user: text(&answer.body["userId"]),
            id: made.id.0,
            record: made.parent.unwrap().0,
            secret: text(&answer.body["token"]),
            name: name.text(),
            version: 1,
            permissions,
            ends_at,
            maker,
            deleted_by: None,
        };
        let new = |subject, id, after| Told {
            subject,
            id: Some(id),
            version: 1,
            before: Value::Null,
            after,
        };
        let told = vec![
            new(
                Subject::Token,
                token.id,
                json!({"name": token.name, "state": "active", "parent": token.record,
                    "permissions": token.permissions, "attributes": {"id": token.outward}}),
            ),
            new(
                Subject::Record,
                token.record,
                json!({"state": "active", "body": {"token": token.id}}),
            ),
        ];
        self.trail.secret(&token.secret);
        self.trail
            .has_done(&answer, "token.issued", expected.unwrap(), told);
        self.tokens.push(token);
    }

    async fn save(&mut self, who: Who, number: usize, name: Naming, version: Version) {
        let token = &self.tokens[number];
        let sent = match version {
            Version::Present => token.version,
            Version::Former => token.version - 1,
            Version::Next => token.version + 1,
        };
        let expected = self.caller(who, Some(WRITE)).and_then(|actor| {
            if token.deleted_by.is_some() {
                return Err(refused(404, "ILLEGAL_ARGUMENT", &actor));
            }
            if sent != token.version {
                return Err(refused(409, "INVALID_STATE", &actor));
            }
            if let Some(problem) = name.problem() {
                return Err(refused(400, problem, &actor));
            }
            if self.is_taken(&name.text(), Some(number)) {
                return Err(refused(400, "NON_UNIQUE_VALUE", &actor));
            }
            Ok(actor)
        });
        let path = format!("{TOKENS}/{}", token.outward);
        let body = json!({"version": sent, "name": name.text()});
        let saver = self.bearer_of(who).user.clone();
        let answer = self
            .send(who, "PUT", (ONE, &path), Some(body), &expected)
            .await;
        let Some(answer) = answer else { return };
        let token = &mut self.tokens[number];
        token.version += 1;
        assert_eq!(answer.body["version"], token.version);
        assert_eq!(answer.body["name"], name.text());
        assert_eq!(answer.body["lastModifiedUserInfo"]["userId"], saver);
        // Every save is a version and an event, also one in which nothing differs.
        let (before, after) = if token.name == name.text() {
            (json!({}), json!({}))
        } else {
            (json!({"name": token.name}), json!({"name": name.text()}))
        };
        token.name = name.text();
        let told = Told {
            subject: Subject::Token,
            id: Some(token.id),
            version: token.version,
            before,
            after,
        };
        self.trail
            .has_done(&answer, "token.updated", expected.unwrap(), vec![told]);
    }

    async fn delete(&mut self, who: Who, number: usize) {
        if number == 0 {
            return;
        }
        let expected = self.caller(who, Some(DELETE)).and_then(|actor| {
            if self.tokens[number].deleted_by.is_some() {
                return Err(refused(404, "ILLEGAL_ARGUMENT", &actor));
            }
            Ok(actor)
        });
        let path = format!("{TOKENS}/{}", self.tokens[number].outward);
        let answer = self
            .send(who, "DELETE", (ONE, &path), None, &expected)
            .await;
        let (Some(answer), Ok(actor)) = (answer, expected) else {
            return;
        };
        let told = Told {
            subject: Subject::Record,
            id: Some(self.tokens[number].record),
            version: 2,
            before: json!({"state": "active"}),
            after: json!({"state": "deleted"}),
        };
        self.trail
            .has_done(&answer, "record.deleted", actor.clone(), vec![told]);
        self.tokens[number].deleted_by = Some(actor);
    }

    async fn read(&mut self, who: Who, number: usize) {
        let expected = self.caller(who, Some(READ)).and_then(|actor| {
            if self.tokens[number].deleted_by.is_some() {
                return Err(refused(404, "ILLEGAL_ARGUMENT", &actor));
            }
            Ok(actor)
        });
        let path = format!("{TOKENS}/{}", self.tokens[number].outward);
        let answer = self.send(who, "GET", (ONE, &path), None, &expected).await;
        if let Some(answer) = answer {
            let token = &self.tokens[number];
            assert_eq!(answer.body["version"], token.version);
            assert_eq!(answer.body["name"], token.name);
        }
    }

    async fn query(&mut self, who: Who, name: Option<usize>) {
        let expected = self.caller(who, Some(READ));
        let name = name.map(|number| Naming::Of(number).text());
        let filter = name
            .as_ref()
            .map_or_else(|| json!({}), |name| json!({ "name": name }));
        let path = format!("{TOKENS}/query?size=100&sort=creationDate");
        let route = "/api/v1/api-tokens/query";
        let answer = self
            .send(who, "POST", (route, &path), Some(filter), &expected)
            .await;
        let Some(answer) = answer else { return };
        let there = answer.body["content"].as_array().unwrap().iter();
        let mut there: Vec<_> = there
            .map(|one| {
                let version = one["version"].as_u64().unwrap();
                (
                    text(&one["id"]),
                    text(&one["name"]),
                    version,
                    text(&one["createdUserInfo"]["userId"]),
                )
            })
            .collect();
        let living = self.tokens.iter().filter(|token| {
            token.deleted_by.is_none() && name.as_ref().is_none_or(|name| *name == token.name)
        });
        let mut wanted: Vec<_> = living
            .map(|token| {
                // Also after the maker is gone.
                (
                    token.outward.clone(),
                    token.name.clone(),
                    token.version,
                    token.maker.clone(),
                )
            })
            .collect();
        there.sort();
        wanted.sort();
        assert_eq!(there, wanted);
        assert_eq!(answer.body["totalElements"], wanted.len());
    }

    /// After a restart: the rows that the events come to, and what an auditor is told of each token.
    async fn close(self) {
        let closed = self.trail.close().await;
        for token in &self.tokens {
            let (version, row) = &closed.rows[&(Subject::Token, token.id)];
            assert_eq!(
                (*version, &row["name"]),
                (token.version, &json!(token.name))
            );
            let (version, row) = &closed.rows[&(Subject::Record, token.record)];
            let (wanted, state) = match token.deleted_by {
                Some(_) => (2, "deleted"),
                None => (1, "active"),
            };
            assert_eq!((*version, &row["state"]), (wanted, &json!(state)));
            let told = closed
                .engine
                .token_history(&closed.caller, TokenId(token.id))
                .await;
            let told = told.unwrap();
            let above = usize::from(token.deleted_by.is_some());
            assert_eq!(told.len(), usize::try_from(token.version).unwrap() + above);
            // The last thing that happened to it is that it was deleted, and by whom.
            let last = told[0].0.clone();
            assert_eq!(last.verb == "record.deleted", token.deleted_by.is_some());
            if let Some(actor) = &token.deleted_by {
                assert_eq!(last.actor, *actor);
            }
        }
        assert_eq!(
            closed.rows.len(),
            2 * self.tokens.len(),
            "tokens and their users, nothing else"
        );
        closed.engine.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn tokens_saved_by_version_agree_with_their_trail(
        backend in any_backend(), steps in proptest::collection::vec(step(), 20..80)
    ) {
        super::block_on(async {
            let mut model = Model::open(backend).await;
            // Two to begin with, so that somebody else calls.
            for (number, permissions) in [15, 5].into_iter().enumerate() {
                model.create(None, Naming::Of(number), permissions, 1_000).await;
            }
            for (who, step) in steps {
                model.perform(who, step).await;
                model.query(None, None).await;
            }
            model.close().await;
        });
    }
}
