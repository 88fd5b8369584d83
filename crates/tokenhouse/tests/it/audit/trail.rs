//! A house in this process whose trail is kept by hand: what each call must leave behind, compared at the end with what is
//! in the store after a restart.
//!
//! The one thing to know: an event is found by the id of its request, which the answer carries. So a call that leaves two
//! events, or none, or an event under another's name, is told apart from one that leaves the right one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use engine::caller::{Actor, ActorKind, Caller};
use engine::clock::{Clock as _, ManualClock, Timestamp};
use engine::entropy::SeededEntropy;
use engine::event::{Change, Event, Outcome, Subject};
use engine::keyring::Keyring;
use engine::realm::RealmId;
use engine::store::Role;
use engine::{Engine, Parts};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokenhouse::app::App;
use tokenhouse::config::{Layers, Settings, Variables};
use tower::ServiceExt as _;
use uuid::Uuid;
use web::native::default_realm;

use crate::backend::{Backend, FreshStore};
use crate::rig::START;

/// A row that changed, as an event must tell it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) subject: Subject,
    /// `None` where no answer shows the id.
    pub(super) id: Option<Uuid>,
    pub(super) version: u64,
    /// Null for a new row.
    pub(super) before: Value,
    /// Of a new row a part, otherwise exactly the fields that differ; of objects in them parts are enough.
    pub(super) after: Value,
}

/// A call that is done.
struct Done {
    request: String,
    verb: &'static str,
    actor: Actor,
    changes: Vec<Told>,
}

/// Why a call is refused, and who is then recorded as the caller.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// As the trail has it; the answer may have nothing but a sentence.
    pub(super) code: &'static str,
    pub(super) actor: Actor,
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// The pattern of the route, which is what events name.
    pub(super) route: &'a str,
    pub(super) path: &'a str,
    pub(super) authorization: &'a str,
    pub(super) body: Option<Value>,
    /// Whether it changes nothing, whatever its method looks like.
    pub(super) reads: bool,
}

/// An answer of a call that was done.
pub(super) struct Answer {
    pub(super) body: Value,
    request: String,
}

/// Refusals are counted by minute, caller, verb and reason; the ids are those of their requests.
type Refused = BTreeMap<(i64, String, String, String), Vec<String>>;

pub(super) struct Trail {
    pub(super) app: App,
    pub(super) caller: Caller,
    credentials: Vec<(String, String)>,
    clock: Arc<ManualClock>,
    router: axum::Router,
    store: FreshStore,
    /// Events that are there before the first call.
    before: usize,
    done: Vec<Done>,
    refused: Refused,
    secrets: Vec<String>,
}

/// What is left of it after a restart, and the rows that all events of the realm come to when they are replayed.
pub(super) struct Closed {
    pub(super) engine: Engine,
    pub(super) caller: Caller,
    pub(super) rows: Replayed,
    _store: FreshStore,
}

/// Rows by what they are of, with their version.
pub(super) type Replayed = BTreeMap<(Subject, Uuid), (u64, Value)>;

/// Somebody who is not known.
pub(super) fn nobody() -> Actor {
    Actor {
        kind: ActorKind::Anonymous,
        id: String::new(),
        name: String::new(),
    }
}

/// The bearer of a token.
pub(super) fn bearer(id: Uuid, name: &str) -> Actor {
    Actor {
        kind: ActorKind::Token,
        id: id.to_string(),
        name: name.to_owned(),
    }
}

async fn parts(store: &FreshStore, clock: &Arc<ManualClock>, seed: u64) -> Parts {
    Parts {
        store: store.open().await,
        keyring: Keyring::generate(&SeededEntropy::new(11)),
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SeededEntropy::new(seed)),
        // Fewer than there are rows, so that the index is read through as well.
        live_entries: 8,
        role: Role::Server,
    }
}

impl Trail {
    /// A house that has had its first start, seen from one dialect.
    pub(super) async fn open(backend: Backend, dialect: &str, variables: &[(&str, &str)]) -> Self {
        let store = FreshStore::new(backend).await;
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START).unwrap()));
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables: Variables = variables.collect();
        let layers = Layers::new(BTreeMap::new(), variables).unwrap();
        let settings = Settings::resolve(&layers, false).unwrap();
        let app = App::open(parts(&store, &clock, 1).await, &settings)
            .await
            .unwrap();
        let credentials = app.seed().await.unwrap().into_iter();
        let credentials: Vec<_> = credentials
            .map(|one| (one.label, one.secret.expose().to_owned()))
            .collect();
        let realm = app
            .engine
            .open_realm(&default_realm(dialect))
            .await
            .unwrap();
        let caller = Caller::system(realm, "test");
        let before = app.engine.events(&caller, None, 500).await.unwrap().len();
        let router = app.doors(&app.dialects, false, None).router;
        let secrets = credentials.iter().map(|(_, secret)| secret.clone());
        Self {
            secrets: secrets.collect(),
            app,
            caller,
            credentials,
            clock,
            router,
            store,
            before,
            done: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Begins here: what was done until now belongs to the house.
    pub(super) async fn begin(&mut self) {
        let events = self.app.engine.events(&self.caller, None, 500).await;
        self.before = events.unwrap().len();
    }

    pub(super) fn realm(&self) -> RealmId {
        self.caller.realm
    }

    /// A credential of the first start, by what its label begins with.
    pub(super) fn credential(&self, label: &str) -> String {
        let mut all = self.credentials.iter();
        let found = all.find(|(known, _)| known.starts_with(label));
        found.expect("the first start makes it").1.clone()
    }

    /// Seconds since the epoch.
    pub(super) fn now_secs(&self) -> i64 {
        self.clock.now().as_micros().div_euclid(1_000_000)
    }

    /// Lets time pass, with what the program does every few seconds.
    pub(super) async fn pass(&self, secs: i64) {
        self.clock.advance_micros(secs * 1_000_000);
        self.app.engine.flush_refusals(false).await;
    }

    /// What no event may contain from now on.
    pub(super) fn secret(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// A call that is answered as `expected` says. `None` if it is refused; that is then noted as far as it must be.
    pub(super) async fn call(
        &mut self,
        call: Call<'_>,
        expected: Result<(), Refusal>,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(call.method).uri(call.path);
        if !call.authorization.is_empty() {
            request = request.header("authorization", call.authorization);
        }
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        if !body.is_empty() {
            // As a connection would: without a length there is no body for some products.
            request = request
                .header("content-type", "application/json")
                .header("content-length", body.len());
        }
        let request = request.body(Body::from(body.clone())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let request = response.headers()["x-request-id"].to_str().unwrap();
        let request = request.to_owned();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let answer = Answer {
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            request,
        };
        let said = format!("{} {} {body}: {}", call.method, call.path, answer.body);
        let Err(refusal) = expected else {
            assert!((200..300).contains(&status), "{status} {said}");
            return Some(answer);
        };
        assert_eq!(status, refusal.status, "{said}");
        // 401 and 403 of a known principal, and whatever is wrong with a change; nothing else.
        let known = refusal.actor.kind != ActorKind::Anonymous;
        if !call.reads || (known && matches!(status, 401 | 403)) {
            let minute = self.clock.now().as_micros().div_euclid(60_000_000);
            let who = json!(refusal.actor).to_string();
            let verb = format!("{} {}", call.method, call.route);
            let reason = format!("{status} {}", refusal.code);
            let same = self.refused.entry((minute, who, verb, reason)).or_default();
            same.push(answer.request);
        }
        None
    }

    /// What a call that was answered has done.
    pub(super) fn has_done(
        &mut self,
        answer: &Answer,
        verb: &'static str,
        actor: Actor,
        changes: Vec<Told>,
    ) {
        self.done.push(Done {
            request: answer.request.clone(),
            verb,
            actor,
            changes,
        });
    }

    /// Stops the house, opens the store anew and compares the trail that is there with the one that must be.
    pub(super) async fn close(self) -> Closed {
        self.app.engine.close().await;
        drop((self.router, self.app));
        let engine = Engine::new(parts(&self.store, &self.clock, 2).await);
        engine.bind().await.unwrap();
        let all = every_event(&engine, &self.caller).await;
        for event in &all {
            let stored = engine.event_digest(&self.caller, event.id).await.unwrap();
            assert_eq!(stored, Some(event.digest()));
        }
        let rows = replay(&all);
        let (done, refused): (Vec<_>, Vec<_>) = all[self.before..]
            .iter()
            .partition(|event| event.outcome == Outcome::Done);
        assert_eq!(done.len(), self.done.len(), "one event for each change");
        for (event, wanted) in done.into_iter().zip(&self.done) {
            compare(event, wanted);
        }
        compare_refused(&refused, &self.refused);
        let text = serde_json::to_string(&all).unwrap();
        for secret in &self.secrets {
            assert!(!text.contains(secret), "a secret is in the trail");
        }
        Closed {
            engine,
            caller: self.caller,
            rows,
            _store: self.store,
        }
    }
}

async fn every_event(engine: &Engine, caller: &Caller) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let before = all.last().map(|event| event.id);
        let page = engine.events(caller, before, 500).await.unwrap();
        if page.is_empty() {
            all.reverse();
            return all;
        }
        all.extend(page);
    }
}

fn compare(event: &Event, wanted: &Done) {
    let said = format!("{event:?}");
    assert_eq!(event.request, wanted.request, "{said}");
    assert_eq!(
        (event.verb.as_str(), event.count),
        (wanted.verb, 1),
        "{said}"
    );
    assert_eq!(event.actor, wanted.actor, "{said}");
    assert_eq!(event.changes.len(), wanted.changes.len(), "{said}");
    for (change, told) in event.changes.iter().zip(&wanted.changes) {
        assert_eq!(
            (change.subject, change.version),
            (told.subject, told.version),
            "{said}"
        );
        assert!(told.id.is_none_or(|id| id == change.id), "{said}");
        assert!(is_part(&told.before, &change.before), "{told:?} {said}");
        assert!(is_part(&told.after, &change.after), "{told:?} {said}");
        if let (Some(before), Some(after)) = (change.before.as_object(), change.after.as_object()) {
            let keys = |value: &Value| {
                value
                    .as_object()
                    .map(|map| map.keys().cloned().collect::<Vec<_>>())
            };
            let all =
                |map: &serde_json::Map<_, _>| Some(map.keys().cloned().collect::<Vec<String>>());
            assert_eq!(
                all(before),
                keys(&told.before),
                "nothing else changed: {said}"
            );
            assert_eq!(
                all(after),
                keys(&told.after),
                "nothing else changed: {said}"
            );
        }
    }
}

/// Whether all of `part` is in `whole`: of objects some fields, of anything else the same.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|other| is_part(value, other))),
        (part, whole) => part == whole,
    }
}

/// The first refusal of its kind in a minute is an event under its request; the others of that minute are one with their
/// number.
fn compare_refused(events: &[&Event], wanted: &Refused) {
    let mut firsts = Vec::new();
    let mut repeated = Vec::new();
    for ((_, who, verb, reason), requests) in wanted {
        let key = (who.clone(), verb.clone(), reason.clone());
        firsts.push((key.clone(), requests[0].clone(), 1));
        let others = requests.len() as u64 - 1;
        if others > 0 {
            repeated.push((key, String::new(), others));
        }
    }
    let mut wanted = [firsts, repeated].concat();
    let mut found: Vec<_> = events
        .iter()
        .map(|event| {
            assert_eq!(event.changes, [], "a refusal changes nothing");
            let who = json!(event.actor).to_string();
            let reason = event.reason.clone().unwrap();
            let key = (who, event.verb.clone(), reason);
            (key, event.request.clone(), event.count)
        })
        .collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}

/// What tokens and records come to when all changes of these events, oldest first, are made one after the other.
pub(super) fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Replayed {
    let mut rows = Replayed::new();
    for event in events {
        let changes = event.changes.iter();
        for change in changes.filter(|change| change.subject != Subject::Value) {
            apply(&mut rows, change);
        }
    }
    rows
}

fn apply(rows: &mut Replayed, change: &Change) {
    let key = (change.subject, change.id);
    match (change.before.as_object(), change.after.as_object()) {
        (None, Some(_)) => {
            assert_eq!(change.version, 1);
            let new = rows.insert(key, (1, change.after.clone()));
            assert!(new.is_none(), "made twice");
        }
        (Some(was), Some(after)) => {
            let (version, row) = rows.get_mut(&key).unwrap();
            assert_eq!(change.version, *version + 1, "no version is skipped");
            *version += 1;
            for (field, value) in was {
                assert_eq!(row[field], *value, "{field} before");
            }
            for (field, value) in after {
                row[field] = value.clone();
            }
        }
        (Some(_), None) => {
            rows.remove(&key).unwrap();
        }
        (None, None) => panic!("an empty change"),
    }
}
