//! One update, four words: the update of each dialect over HTTP, and the same one asked of the engine, leave the same behind.
//!
//! The one thing to know: two houses are built by the same calls from the same clock and the same chance, so that their
//! tokens are equal to the last byte. One is then updated in a dialect's words and the other in the engine's, and everything
//! is compared. What differs by nature is taken out in one place, [`Snapshot::comparable`], with the reasons.

mod cases;

use engine::Error;
use engine::caller::{Actor, Caller};
use engine::error::{Conflict, Forbidden};
use engine::event::{Event, EventId, Outcome};
use engine::permission::{Action, Grants};
use engine::realm::RealmId;
use engine::selection::{Selection, Which};
use engine::token::{Token, TokenId};
use engine::value::Value;
use engine::verbs::update::{Guard, Update};
use serde_json::Value as Json;
use tokenhouse::config::Variables;
use uuid::Uuid;
use web::native::default_realm;

use crate::app::{Answer, TestServer};
use crate::backend::{Backend, on_each_store};

/// Seconds between the making of the tokens and their update, so that no instant is equal by chance.
const LATER_SECS: i64 = 90;

/// A call in a dialect's words.
#[derive(Clone, Debug)]
struct Spoken {
    method: &'static str,
    path: String,
    authorization: String,
    body: Json,
    /// What is answered.
    status: u16,
}

/// One dialect: a token that is there, its update in both languages, and what must be refused in both.
struct Case {
    /// The token that is updated.
    token: TokenId,
    /// The credential behind the call, by whose bearer the event is signed.
    actor: Actor,
    /// Why the call is made, where a product asks for it.
    reason: Option<&'static str>,
    spoken: Spoken,
    update: Update,
    /// The same of a token that is not there.
    unknown: (Spoken, Selection),
    /// The same with a credential that does not permit it.
    without_permission: Spoken,
    /// The same for a version that is not the present one, where the wire can say one.
    stale: Option<Spoken>,
}

/// All that is there in a realm.
#[derive(Debug, PartialEq)]
struct Snapshot {
    tokens: Vec<Token>,
    values: Vec<Value>,
    contents: Vec<Vec<u8>>,
    /// All rows of all realms: where anything is found, and by what it is listed.
    locators: Vec<String>,
    marks: Vec<String>,
    /// What was done, oldest first, each with its changes.
    done: Vec<Event>,
}

impl Snapshot {
    async fn of(server: &TestServer, realm: RealmId) -> Self {
        let engine = &server.app.engine;
        let caller = Caller::system(realm, "test");
        let (tokens, next) = engine.list(&caller, None, 500).await.unwrap();
        assert_eq!(next, None);
        let selection = Selection {
            ids: tokens.iter().map(|token| token.id).collect(),
            which: Which::Any,
            ..Selection::default()
        };
        let found = engine
            .find(&caller, Action::Reveal, &selection)
            .await
            .unwrap();
        let values: Vec<Value> = found
            .tokens
            .iter()
            .filter_map(|token| found.value(token).cloned())
            .collect();
        let contents = values
            .iter()
            .map(|value| engine.open(value).unwrap().to_vec());
        let mut done = engine.events(&caller, None, 500).await.unwrap();
        assert!(done.len() < 500);
        done.retain(|event| event.outcome == Outcome::Done);
        done.reverse();
        Self {
            contents: contents.collect(),
            tokens,
            values,
            locators: server.dump("locator"),
            marks: server.dump("mark"),
            done,
        }
    }

    /// Without what differs by nature.
    fn comparable(mut self) -> Self {
        for event in &mut self.done {
            // A call over HTTP draws the id of its request from the same chance as the engine draws ids of events: after
            // it the two houses stand at different places of one stream.
            event.id = EventId(Uuid::nil());
            // And it is that id which the event names, while whoever calls the engine says what the request is called.
            event.request.clear();
        }
        for value in &mut self.values {
            // Sealed under a new random key each time; what is in it is compared as content.
            value.sealed = None;
        }
        self
    }
}

async fn send(server: &TestServer, spoken: &Spoken) -> Answer {
    let headers = [
        ("authorization", spoken.authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = server.send(
        spoken.method,
        &spoken.path,
        &headers,
        spoken.body.to_string(),
    );
    let answer = answer.await;
    assert_eq!(
        answer.status, spoken.status,
        "{spoken:?}: {:?}",
        answer.body
    );
    answer
}

/// A house with the token of a dialect, some time later.
async fn house(backend: Backend, dialect: &str) -> (TestServer, RealmId, Case) {
    let server = TestServer::start_on(backend, &[], &Variables::new()).await;
    let realm = server
        .app
        .engine
        .open_realm(&default_realm(dialect))
        .await
        .unwrap();
    let case = match dialect {
        "unleash" => cases::unleash(&server, realm).await,
        "piiano" => cases::piiano(&server, realm).await,
        "infisical" => cases::infisical(&server, realm).await,
        "mindbridge" => cases::mindbridge(&server, realm).await,
        other => panic!("{other} has an update too: add it here"),
    };
    server.clock.advance_micros(LATER_SECS * 1_000_000);
    (server, realm, case)
}

/// Refused in a dialect's words: nothing is touched.
async fn refuse_spoken(server: &TestServer, realm: RealmId, case: &Case) {
    let before = Snapshot::of(server, realm).await;
    let refused = [&case.unknown.0, &case.without_permission].into_iter();
    for spoken in refused.chain(&case.stale) {
        send(server, spoken).await;
        assert_eq!(Snapshot::of(server, realm).await, before, "{spoken:?}");
    }
}

/// Refused in the engine's: the same three, and the version for every dialect.
async fn refuse_asked(server: &TestServer, realm: RealmId, case: &Case, caller: &Caller) {
    let before = Snapshot::of(server, realm).await;
    let engine = &server.app.engine;
    let unknown = Update {
        selection: case.unknown.1.clone(),
        ..case.update.clone()
    };
    let done = engine.update(caller, unknown).await.unwrap();
    assert_eq!(
        done.tokens,
        [],
        "what is not there is nothing that could be refused"
    );
    assert_eq!(Snapshot::of(server, realm).await, before);

    let powerless = Caller {
        grants: Grants::to(&[Action::Read, Action::ReadRecord]).into(),
        ..caller.clone()
    };
    let refused = engine.update(&powerless, case.update.clone()).await;
    let action = Error::Forbidden(Forbidden::Action {
        action: case
            .update
            .edit
            .data
            .as_ref()
            .map_or(Action::Update, |_| Action::UpdateData),
        class: None,
    });
    assert_eq!(refused.unwrap_err(), action);
    assert_eq!(Snapshot::of(server, realm).await, before);

    let stale = Update {
        guard: Guard::Version(7),
        ..case.update.clone()
    };
    let refused = engine.update(caller, stale).await.unwrap_err();
    assert_eq!(refused, Error::Conflict(Conflict::Version { current: 1 }));
    assert_eq!(Snapshot::of(server, realm).await, before);
}

/// The event that a house has beyond what it had, which changes only the token (and what it stands for).
fn newest<'a>(after: &'a Snapshot, before: &Snapshot) -> &'a Event {
    assert_eq!(after.done.len(), before.done.len() + 1, "one event");
    assert_eq!(after.done[..before.done.len()], before.done[..]);
    &after.done[before.done.len()]
}

on_each_store! {
    an_update_leaves_the_same_behind_in_every_language,
}

async fn an_update_leaves_the_same_behind_in_every_language(backend: Backend) {
    for opener in web::dialects::ALL {
        let (spoken_to, realm, case) = house(backend, opener.name).await;
        let (asked, same_realm, same_case) = house(backend, opener.name).await;
        let before = Snapshot::of(&spoken_to, realm).await;
        let equal = Snapshot::of(&asked, same_realm).await;
        assert_eq!(
            before.tokens, equal.tokens,
            "{}: equal to begin with",
            opener.name
        );
        assert_eq!((realm, case.token), (same_realm, same_case.token));
        let caller = Caller {
            actor: same_case.actor.clone(),
            reason: same_case.reason.map(str::to_owned),
            ..Caller::system(realm, "asked")
        };
        refuse_spoken(&spoken_to, realm, &case).await;
        refuse_asked(&asked, realm, &same_case, &caller).await;

        send(&spoken_to, &case.spoken).await;
        let updated = asked.app.engine.update(&caller, same_case.update).await;
        let one = Snapshot::of(&spoken_to, realm).await;
        let other = Snapshot::of(&asked, realm).await;

        // That it is an update at all, and who made it.
        let event = newest(&one, &before);
        assert_eq!(
            (event.verb.as_str(), &event.actor),
            ("token.updated", &case.actor)
        );
        assert_eq!(event.changes[0].id, case.token.0, "{}", opener.name);
        assert_eq!(event.changes[0].version, 2);
        assert_ne!(event.changes[0].before, event.changes[0].after);
        newest(&other, &equal);
        let token = one
            .tokens
            .iter()
            .find(|token| token.id == case.token)
            .unwrap();
        assert_eq!(
            (token.version, token.updated_at),
            (2, spoken_to.app.engine.now())
        );
        assert_eq!(token.updated_by, case.actor.id);
        assert_eq!(updated.unwrap().tokens, std::slice::from_ref(token));

        assert_eq!(one.comparable(), other.comparable(), "{}", opener.name);
    }
}
