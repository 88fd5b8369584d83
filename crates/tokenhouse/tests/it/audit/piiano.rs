//! Random sequences of the calls of Piiano against a model: tokenize, update by id or by tag, delete.
//!
//! The one thing to know: one call changes any number of tokens, and is one event all the same, with a change for each that
//! is another than before and none for the others.

use engine::caller::Actor;
use engine::clock::Timestamp;
use engine::event::Subject;
use engine::secret::Secret;
use engine::verbs::issue::Issue;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::trail::{Answer, Call, Refusal, Told, Trail};
use crate::backend::{Backend, any_backend};

const KEY: &str = "Audit-admin-key-1";
const WEAK: &str = "Audit-key-without-capabilities-1";
const ROUTE: &str = "/api/pvlt/1.0/data/collections/{collection}/tokens";
const PATH: &str = "/api/pvlt/1.0/data/collections/customers/tokens";
const TAGS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Tokenize {
        tag: usize,
    },
    /// Of the tokens that are meant: other tags (`None` leaves them), and an end (`None` leaves it).
    Update {
        whom: Whom,
        tag: Option<usize>,
        secs: Option<i64>,
    },
    Delete {
        whom: Whom,
    },
    BadTags {
        whom: Whom,
    },
    Wait {
        secs: i64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Whom {
    Id(usize),
    Tag(usize),
}

/// Whether the call is made with a key that permits nothing.
type Weak = bool;

fn step() -> impl Strategy<Value = (Weak, Step)> {
    let whom = prop_oneof![
        2 => (0..10_usize).prop_map(Whom::Id),
        2 => (0..TAGS.len()).prop_map(Whom::Tag),
    ];
    // 0 puts away at once; the longest outlives the sequence.
    let secs = prop_oneof![1 => Just(0_i64), 3 => 10..300_i64];
    let update = (
        whom.clone(),
        proptest::option::of(0..TAGS.len()),
        proptest::option::of(secs),
    );
    let step = prop_oneof![
        4 => (0..TAGS.len()).prop_map(|tag| Step::Tokenize { tag }),
        6 => update.prop_map(|(whom, tag, secs)| Step::Update { whom, tag, secs }),
        1 => whom.clone().prop_map(|whom| Step::Delete { whom }),
        1 => whom.prop_map(|whom| Step::BadTags { whom }),
        2 => (1..70_i64).prop_map(|secs| Step::Wait { secs }),
    ];
    (proptest::bool::weighted(0.15), step)
}

struct Token {
    id: Uuid,
    value: Uuid,
    outward: String,
    tag: usize,
    version: u64,
    expired: bool,
    expires_at: Option<Timestamp>,
    deleted: bool,
}

impl Token {
    fn described(&self) -> Value {
        let state = if self.expired { "expired" } else { "active" };
        let expires_at = self.expires_at.map(|at| at.to_string());
        json!({"tags": [TAGS[self.tag]], "state": state, "expires_at": expires_at})
    }
}

/// The fields of `own` that differ in `other`.
fn differing(own: &Value, other: &Value) -> Value {
    let fields = own.as_object().unwrap().iter();
    let differing = fields.filter(|(field, value)| other[field.as_str()] != **value);
    Value::Object(
        differing
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect(),
    )
}

struct Model {
    trail: Trail,
    admin: Actor,
    weak: Actor,
    tokens: Vec<Token>,
}

impl Model {
    async fn open(backend: Backend) -> Self {
        let mut trail =
            Trail::open(backend, "piiano", &[("PVAULT_SERVICE_ADMIN_API_KEY", KEY)]).await;
        let engine = trail.app.engine.clone();
        let first = engine.list(&trail.caller, None, 2).await.unwrap().0;
        assert_eq!(first.len(), 1);
        let issue = Issue {
            permissions: vec!["CapNothing".to_owned()],
            ..Issue::with_secret(
                "api-key",
                Secret::parse(WEAK).unwrap(),
                String::new(),
                false,
            )
        };
        let weak = engine.issue(&trail.caller, issue).await.unwrap();
        trail.begin().await;
        for secret in [KEY, WEAK] {
            trail.secret(secret);
        }
        let mut model = Self {
            trail,
            admin: Actor::bearer(&first[0]),
            weak: Actor::bearer(&weak),
            tokens: Vec::new(),
        };
        let path = "/api/pvlt/1.0/ctl/collections";
        let body = json!({"name": "customers", "type": "DATA",
            "properties": [{"name": "email", "data_type_name": "EMAIL"}]});
        let answer = model
            .send(false, "POST", (path, path), Some(body), &Ok(()))
            .await;
        let told = Told {
            subject: Subject::Record,
            id: None,
            version: 1,
            before: Value::Null,
            after: json!({"state": "active"}),
        };
        let admin = model.admin.clone();
        model
            .trail
            .has_done(&answer.unwrap(), "record.created", admin, vec![told]);
        model
    }

    async fn send(
        &mut self,
        weak: Weak,
        method: &str,
        (route, path): (&str, &str),
        body: Option<Value>,
        expected: &Result<(), Refusal>,
    ) -> Option<Answer> {
        let authorization = format!("Bearer {}", if weak { WEAK } else { KEY });
        let call = Call {
            method,
            route,
            path,
            authorization: &authorization,
            body,
            reads: route.ends_with("/query/tokens"),
        };
        self.trail.call(call, expected.clone()).await
    }

    /// A key without capabilities is refused when the collection is looked for, which is after the shape of the body.
    fn permit(&self, weak: Weak) -> Result<(), Refusal> {
        if weak {
            return Err(Refusal {
                status: 403,
                code: "PV1007",
                actor: self.weak.clone(),
            });
        }
        Ok(())
    }

    fn actor(&self, weak: Weak) -> Actor {
        let actor = if weak { &self.weak } else { &self.admin };
        actor.clone()
    }

    /// Which tokens that are in force are meant, and how the query says it.
    fn meant(&self, whom: Whom) -> (Vec<usize>, String) {
        let now = self.trail.app.engine.now();
        let in_force = |token: &Token| {
            !token.deleted && !token.expired && token.expires_at.is_none_or(|at| at > now)
        };
        let all = 0..self.tokens.len();
        match whom {
            Whom::Id(number) => {
                let number = number % self.tokens.len().max(1);
                let meant = all.filter(|one| *one == number && in_force(&self.tokens[*one]));
                let id = self
                    .tokens
                    .get(number)
                    .map_or("nobody", |token| &token.outward);
                (meant.collect(), format!("token_ids={id}"))
            }
            Whom::Tag(tag) => {
                let carries =
                    |one: &usize| self.tokens[*one].tag == tag && in_force(&self.tokens[*one]);
                (all.filter(carries).collect(), format!("tags={}", TAGS[tag]))
            }
        }
    }

    fn there(&self, meant: &[usize]) -> Result<(), Refusal> {
        if meant.is_empty() {
            return Err(Refusal {
                status: 404,
                code: "PV3009",
                actor: self.admin.clone(),
            });
        }
        Ok(())
    }

    async fn perform(&mut self, weak: Weak, step: Step) {
        match step {
            Step::Tokenize { tag } => self.tokenize(weak, tag).await,
            Step::Update { whom, tag, secs } => self.update(weak, whom, tag, secs).await,
            Step::Delete { whom } => self.delete(weak, whom).await,
            Step::BadTags { whom } => {
                let (_, query) = self.meant(whom);
                let path = format!("{PATH}?reason=Analytics&{query}");
                let body = json!({"tags": ["x", ""]});
                let refusal = Err(Refusal {
                    status: 400,
                    code: "PV1012",
                    actor: self.actor(weak),
                });
                self.send(weak, "PATCH", (ROUTE, &path), Some(body), &refusal)
                    .await;
            }
            Step::Wait { secs } => self.trail.pass(secs).await,
        }
    }

    async fn tokenize(&mut self, weak: Weak, tag: usize) {
        let expected = self.permit(weak);
        let email = format!("private{}@example.com", self.tokens.len());
        let body = json!([{"type": "randomized", "tags": [TAGS[tag]], "object": {"fields": {"email": email}}}]);
        let path = format!("{PATH}?reason=Analytics");
        let answer = self
            .send(weak, "POST", (ROUTE, &path), Some(body), &expected)
            .await;
        let Some(answer) = answer else { return };
        let listed = self
            .trail
            .app
            .engine
            .list(&self.trail.caller, None, 500)
            .await;
        let listed = listed.unwrap().0;
        let made = listed.last().unwrap();
        let token = Token {
            id: made.id.0,
            value: made.value().unwrap().0,
            outward: answer.body[0]["token_id"].as_str().unwrap().to_owned(),
            tag,
            version: 1,
            expired: false,
            expires_at: None,
            deleted: false,
        };
        let new = |subject, id, after| Told {
            subject,
            id: Some(id),
            version: 1,
            before: Value::Null,
            after,
        };
        let changes = vec![
            new(Subject::Token, token.id, token.described()),
            new(Subject::Value, token.value, json!({"version": 1})),
        ];
        self.trail.secret(&email);
        self.trail
            .has_done(&answer, "token.tokenized", self.admin.clone(), changes);
        self.tokens.push(token);
    }

    async fn update(&mut self, weak: Weak, whom: Whom, tag: Option<usize>, secs: Option<i64>) {
        let (meant, query) = self.meant(whom);
        let expected = self.permit(weak).and_then(|()| self.there(&meant));
        let mut path = format!("{PATH}?reason=Analytics&{query}");
        if let Some(secs) = secs {
            path = format!("{path}&expiration_secs={secs}");
        }
        let body = tag.map_or_else(|| json!({}), |tag| json!({"tags": [TAGS[tag]]}));
        let answer = self
            .send(weak, "PATCH", (ROUTE, &path), Some(body), &expected)
            .await;
        let Some(answer) = answer else { return };
        let now = self.trail.app.engine.now();
        let mut changes = Vec::new();
        for number in meant {
            let token = &mut self.tokens[number];
            let before = token.described();
            token.tag = tag.unwrap_or(token.tag);
            if let Some(secs) = secs {
                token.expires_at = Some(now.checked_add_secs(secs).unwrap());
                token.expired = secs == 0;
            }
            let after = token.described();
            if before == after {
                continue;
            }
            token.version += 1;
            changes.push(Told {
                subject: Subject::Token,
                id: Some(token.id),
                version: token.version,
                before: differing(&before, &after),
                after: differing(&after, &before),
            });
        }
        if !changes.is_empty() {
            self.trail
                .has_done(&answer, "token.updated", self.admin.clone(), changes);
        }
    }

    async fn delete(&mut self, weak: Weak, whom: Whom) {
        let (meant, query) = self.meant(whom);
        let expected = self.permit(weak).and_then(|()| self.there(&meant));
        let path = format!("{PATH}?reason=Analytics&{query}");
        let answer = self
            .send(weak, "DELETE", (ROUTE, &path), None, &expected)
            .await;
        let Some(answer) = answer else { return };
        let gone = |subject, id, version, before| Told {
            subject,
            id: Some(id),
            version,
            before,
            after: Value::Null,
        };
        let (mut changes, mut values) = (Vec::new(), Vec::new());
        for number in meant {
            let token = &mut self.tokens[number];
            token.deleted = true;
            changes.push(gone(
                Subject::Token,
                token.id,
                token.version,
                token.described(),
            ));
            values.push(gone(Subject::Value, token.value, 1, json!({"version": 1})));
        }
        values.sort_by_key(|told| told.id);
        changes.extend(values);
        self.trail
            .has_done(&answer, "token.deleted", self.admin.clone(), changes);
    }

    /// All that the vault shows as in force is what the model says.
    async fn agree(&mut self) {
        for (tag, name) in TAGS.into_iter().enumerate() {
            let (meant, _) = self.meant(Whom::Tag(tag));
            let path = "/api/pvlt/1.0/data/collections/customers/query/tokens?reason=Analytics";
            let route = "/api/pvlt/1.0/data/collections/{collection}/query/tokens";
            let body = json!({ "tags": [name] });
            let found = self
                .send(false, "POST", (route, path), Some(body), &Ok(()))
                .await;
            let found = found.unwrap().body;
            let found = found.as_array().unwrap().iter();
            let found: Vec<Value> = found
                .map(|one| json!([one["token_id"], one["tokens"][0]["expiration_time"]]))
                .collect();
            let wanted = meant.into_iter().map(|number| &self.tokens[number]);
            let wanted: Vec<Value> = wanted
                .map(|token| json!([token.outward, token.described()["expires_at"]]))
                .collect();
            assert_eq!(found, wanted);
        }
    }

    /// After a restart: the rows that the events come to.
    async fn close(self) {
        let closed = self.trail.close().await;
        for token in &self.tokens {
            let row = closed.rows.get(&(Subject::Token, token.id));
            assert_eq!(row.is_none(), token.deleted);
            let Some((version, row)) = row else { continue };
            assert_eq!(*version, token.version);
            assert_eq!(differing(&token.described(), row), json!({}));
        }
        closed.engine.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn data_tokens_agree_with_their_trail(backend in any_backend(), steps in proptest::collection::vec(step(), 20..70)) {
        super::block_on(async {
            let mut model = Model::open(backend).await;
            for (weak, step) in steps {
                model.perform(weak, step).await;
                model.agree().await;
            }
            model.close().await;
        });
    }
}
