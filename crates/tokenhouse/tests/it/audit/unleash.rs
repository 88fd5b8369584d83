//! Random sequences of the calls of Unleash against a model: create, another expiry, delete.
//!
//! The one thing to know: a token that is not there is answered as one that is, so that only the trail tells them apart: what
//! has changed nothing has left nothing.

use engine::caller::Actor;
use engine::clock::Timestamp;
use engine::event::Subject;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::trail::{Answer, Call, Refusal, Told, Trail, bearer, nobody};
use crate::backend::{Backend, any_backend};

const ADMIN: &str = "*:*.audit-admin-token";
const TOKENS: &str = "/api/admin/api-tokens";
const ONE: &str = "/api/admin/api-tokens/{token}";
const KINDS: [&str; 3] = ["client", "backend", "frontend"];

#[derive(Clone, Debug)]
enum Step {
    Create {
        kind: usize,
        bad: bool,
    },
    /// Seconds from now; `None` is no date at all.
    Expire {
        token: usize,
        secs: Option<i64>,
    },
    Delete {
        token: usize,
    },
    Wait {
        secs: i64,
    },
}

/// The caller: the administrator, or the bearer of some token, who may do nothing here.
type Who = Option<usize>;

fn step() -> impl Strategy<Value = (Who, Step)> {
    let token = 0..10_usize;
    let secs = prop_oneof![8 => (-40..120_i64).prop_map(Some), 1 => Just(None)];
    let create = (0..KINDS.len(), proptest::bool::weighted(0.1));
    let step = prop_oneof![
        3 => create.prop_map(|(kind, bad)| Step::Create { kind, bad }),
        6 => (token.clone(), secs).prop_map(|(token, secs)| Step::Expire { token, secs }),
        1 => token.clone().prop_map(|token| Step::Delete { token }),
        2 => (1..70_i64).prop_map(|secs| Step::Wait { secs }),
    ];
    let caller = prop_oneof![4 => Just(None), 1 => token.prop_map(Some)];
    (caller, step)
}

struct Token {
    id: Uuid,
    secret: String,
    name: String,
    version: u64,
    expired: bool,
    expires_at: Option<Timestamp>,
    deleted: bool,
}

struct Model {
    trail: Trail,
    admin: Actor,
    tokens: Vec<Token>,
}

impl Token {
    fn state(&self) -> &'static str {
        if self.expired { "expired" } else { "active" }
    }

    fn described_expiry(&self) -> Value {
        json!(self.expires_at.map(|at| at.to_string()))
    }
}

fn value_told(version_is_new: bool) -> Told {
    let described = json!({"version": 1});
    let (before, after) = if version_is_new {
        (Value::Null, described)
    } else {
        (described, Value::Null)
    };
    Told {
        subject: Subject::Value,
        id: None,
        version: 1,
        before,
        after,
    }
}

impl Model {
    async fn open(backend: Backend) -> Self {
        let mut trail = Trail::open(backend, "unleash", &[("INIT_ADMIN_API_TOKENS", ADMIN)]).await;
        trail.secret(ADMIN);
        let first = trail
            .app
            .engine
            .list(&trail.caller, None, 2)
            .await
            .unwrap()
            .0;
        assert_eq!(first.len(), 1);
        let admin = Actor::bearer(&first[0]);
        Self {
            trail,
            admin,
            tokens: Vec::new(),
        }
    }

    fn token_at(&self, number: usize) -> Option<usize> {
        (!self.tokens.is_empty()).then(|| number % self.tokens.len())
    }

    /// Who calls, and that everybody but the administrator is refused.
    fn caller(&self, who: Who) -> (String, Result<Actor, Refusal>) {
        let Some(number) = who.and_then(|number| self.token_at(number)) else {
            return (ADMIN.to_owned(), Ok(self.admin.clone()));
        };
        let token = &self.tokens[number];
        let now = self.trail.app.engine.now();
        let dead = token.deleted || token.expired || token.expires_at.is_some_and(|at| at <= now);
        let (status, code, actor) = if dead {
            (401, "UnauthorizedError", nobody())
        } else {
            (403, "WrongTokenType", bearer(token.id, &token.name))
        };
        let refusal = Refusal {
            status,
            code,
            actor,
        };
        (token.secret.clone(), Err(refusal))
    }

    async fn send(
        &mut self,
        authorization: &str,
        method: &str,
        (route, path): (&str, &str),
        body: Option<Value>,
        expected: &Result<Actor, Refusal>,
    ) -> Option<Answer> {
        let call = Call {
            method,
            route,
            path,
            authorization,
            body,
            reads: method == "GET",
        };
        self.trail.call(call, expected.clone().map(|_| ())).await
    }

    async fn perform(&mut self, who: Who, step: Step) {
        match step {
            Step::Create { kind, bad } => self.create(who, KINDS[kind], bad).await,
            Step::Expire { token, secs } => self.expire(who, token, secs).await,
            Step::Delete { token } => self.delete(who, token).await,
            Step::Wait { secs } => self.trail.pass(secs).await,
        }
    }

    fn bad(&self) -> Refusal {
        Refusal {
            status: 400,
            code: "BadDataError",
            actor: self.admin.clone(),
        }
    }

    async fn create(&mut self, who: Who, kind: &str, bad: bool) {
        let (authorization, expected) = self.caller(who);
        let name = format!("n{}", self.tokens.len());
        let environment = if bad { "nowhere" } else { "development" };
        let body = json!({"tokenName": name, "type": kind, "environment": environment, "projects": ["default"]});
        let expected = expected.and_then(|actor| if bad { Err(self.bad()) } else { Ok(actor) });
        let place = (TOKENS, TOKENS);
        let answer = self
            .send(&authorization, "POST", place, Some(body), &expected)
            .await;
        let Some(answer) = answer else { return };
        let listed = self
            .trail
            .app
            .engine
            .list(&self.trail.caller, None, 500)
            .await;
        let id = listed.unwrap().0.last().unwrap().id.0;
        let told = Told {
            subject: Subject::Token,
            id: Some(id),
            version: 1,
            before: Value::Null,
            after: json!({"name": name, "state": "active", "expires_at": null}),
        };
        let secret = answer.body["secret"].as_str().unwrap().to_owned();
        self.trail.secret(&secret);
        let changes = vec![told, value_told(true)];
        self.trail
            .has_done(&answer, "token.issued", expected.unwrap(), changes);
        self.tokens.push(Token {
            id,
            secret,
            name,
            version: 1,
            expired: false,
            expires_at: None,
            deleted: false,
        });
    }

    async fn expire(&mut self, who: Who, token: usize, secs: Option<i64>) {
        let Some(number) = self.token_at(token) else {
            return;
        };
        let (authorization, expected) = self.caller(who);
        let now = self.trail.app.engine.now();
        let at = secs.map(|secs| now.checked_add_secs(secs).unwrap());
        let expected = expected.and_then(|actor| {
            if at.is_none() {
                Err(self.bad())
            } else {
                Ok(actor)
            }
        });
        let body = match at {
            Some(at) => json!({"expiresAt": format!("{:.3}Z", at.to_civil())}),
            None => json!({"expiresAt": "soon"}),
        };
        let path = format!("{TOKENS}/{}", self.tokens[number].secret);
        let answer = self
            .send(&authorization, "PUT", (ONE, &path), Some(body), &expected)
            .await;
        let Some(answer) = answer else { return };
        let token = &mut self.tokens[number];
        if token.deleted {
            // Answered alike; there must be no event of it.
            return;
        }
        let before = (token.state(), token.described_expiry());
        token.expires_at = at;
        token.expired = at.is_some_and(|at| at <= now);
        let after = (token.state(), token.described_expiry());
        if before == after {
            return;
        }
        token.version += 1;
        let differing = |own: &(&str, Value), other: &(&str, Value)| {
            let mut side = json!({});
            if own.0 != other.0 {
                side["state"] = json!(own.0);
            }
            if own.1 != other.1 {
                side["expires_at"] = own.1.clone();
            }
            side
        };
        let told = Told {
            subject: Subject::Token,
            id: Some(token.id),
            version: token.version,
            before: differing(&before, &after),
            after: differing(&after, &before),
        };
        self.trail
            .has_done(&answer, "token.updated", expected.unwrap(), vec![told]);
    }

    async fn delete(&mut self, who: Who, token: usize) {
        let Some(number) = self.token_at(token) else {
            return;
        };
        let (authorization, expected) = self.caller(who);
        let path = format!("{TOKENS}/{}", self.tokens[number].secret);
        let answer = self
            .send(&authorization, "DELETE", (ONE, &path), None, &expected)
            .await;
        let Some(answer) = answer else { return };
        let token = &mut self.tokens[number];
        if std::mem::replace(&mut token.deleted, true) {
            return;
        }
        let told = Told {
            subject: Subject::Token,
            id: Some(token.id),
            version: token.version,
            before: json!({"name": token.name, "state": token.state(), "expires_at": token.described_expiry()}),
            after: Value::Null,
        };
        let changes = vec![told, value_told(false)];
        self.trail
            .has_done(&answer, "token.deleted", expected.unwrap(), changes);
    }

    /// All that the administrator sees is what the model says.
    async fn agree(&mut self) {
        let admin = Ok(self.admin.clone());
        let list = self
            .send(ADMIN, "GET", (TOKENS, TOKENS), None, &admin)
            .await;
        let list = list.unwrap().body;
        let shown = list["tokens"].as_array().unwrap().iter().skip(1);
        let shown: Vec<Value> = shown
            .map(|one| json!([one["secret"], one["tokenName"], one["expiresAt"]]))
            .collect();
        let there = self.tokens.iter().filter(|token| !token.deleted);
        let wanted: Vec<Value> = there
            .map(|token| {
                let expiry = token.expires_at.map(|at| format!("{:.3}Z", at.to_civil()));
                json!([token.secret, token.name, expiry])
            })
            .collect();
        assert_eq!(shown, wanted);
    }

    /// After a restart: the rows that the events come to.
    async fn close(self) {
        let closed = self.trail.close().await;
        for token in &self.tokens {
            let row = closed.rows.get(&(Subject::Token, token.id));
            let row = row
                .map(|(version, row)| (*version, row["state"].clone(), row["expires_at"].clone()));
            let wanted = (
                token.version,
                json!(token.state()),
                token.described_expiry(),
            );
            assert_eq!(row, (!token.deleted).then_some(wanted));
        }
        closed.engine.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn expiries_agree_with_their_trail(backend in any_backend(), steps in proptest::collection::vec(step(), 20..70)) {
        super::block_on(async {
            let mut model = Model::open(backend).await;
            for (who, step) in steps {
                model.perform(who, step).await;
                model.agree().await;
            }
            model.close().await;
        });
    }
}
