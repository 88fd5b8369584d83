//! One update, four words: the update of each dialect over HTTP, and the same one asked of the engine, leave the same behind.
//!
//! The one thing to know: two houses are built by the same calls from the same clock and the same chance, so that their
//! tokens are equal to the last byte. One is then updated in a dialect's words and the other in the engine's, and everything
//! is compared. What differs by nature is taken out in one place, [`Snapshot::comparable`], with the reasons.

use std::sync::Arc;

use engine::Error;
use engine::caller::{Actor, Caller};
use engine::error::{Conflict, Forbidden};
use engine::event::{Event, EventId, Outcome};
use engine::locator::{Key, Place, Space};
use engine::permission::{Action, Grants};
use engine::realm::RealmId;
use engine::secret::Secret;
use engine::selection::{Selection, Which};
use engine::token::{Token, TokenId};
use engine::value::Value;
use engine::verbs::issue::Issue;
use engine::verbs::update::{Edit, Field, Guard, NewData, Update};
use serde_json::{Value as Json, json};
use tokenhouse::config::Variables;
use uuid::Uuid;
use web::native::default_realm;

use crate::app::{Answer, TestServer};
use crate::rig::tags_of;

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

/// The answer to a call that prepares.
async fn ask(server: &TestServer, authorization: &str, path: &str, body: Json) -> Json {
    let headers = [
        ("authorization", authorization),
        ("content-type", "application/json"),
    ];
    let answer = server.send("POST", path, &headers, body.to_string()).await;
    assert!(answer.status.is_success(), "{path}: {:?}", answer.body);
    answer.json()
}

fn text(value: &Json) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

/// The token with this secret.
async fn token_of(server: &TestServer, realm: RealmId, secret: &str) -> Token {
    let secret = Secret::parse(secret).unwrap();
    let verified = server.app.engine.verify(realm, &secret, None).await;
    Arc::unwrap_or_clone(verified.unwrap().token)
}

/// Selects a token that is not there in the same way.
fn nobody() -> Selection {
    Selection::of(TokenId(Uuid::nil()))
}

impl Spoken {
    fn at(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    fn by(&self, authorization: &str) -> Self {
        Self {
            authorization: authorization.to_owned(),
            ..self.clone()
        }
    }

    fn answered(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

async fn unleash(server: &TestServer, realm: RealmId) -> Case {
    let admin = "*:*.unleash-admin-token";
    let tokens = "/api/admin/api-tokens";
    let body = json!({"tokenName": "app", "type": "client", "environment": "development",
        "projects": ["default"], "expiresAt": "2027-01-01T00:00:00Z"});
    let secret = text(&ask(server, admin, tokens, body).await["secret"]);
    let selection = |secret: &str| Selection {
        secret: Some(Secret::parse(secret).unwrap()),
        which: Which::Any,
        ..Selection::default()
    };
    let spoken = Spoken {
        method: "PUT",
        path: format!("{tokens}/{secret}"),
        authorization: admin.to_owned(),
        body: json!({"expiresAt": "2026-03-01T00:00:00.000Z"}),
        status: 200,
    };
    let other = "*:development.0123456789abcdef0123456789abcdef";
    Case {
        token: token_of(server, realm, &secret).await.id,
        actor: Actor::bearer(&token_of(server, realm, admin).await),
        reason: None,
        update: Update {
            selection: selection(&secret),
            edit: Edit {
                // 2026-03-01.
                expires_at: Field::Set(
                    engine::clock::Timestamp::from_micros(1_772_323_200_000_000).unwrap(),
                ),
                ..Edit::default()
            },
            guard: Guard::Nothing,
        },
        // Known or not, the product answers alike.
        unknown: (spoken.at(&format!("{tokens}/{other}")), selection(other)),
        without_permission: spoken.by(&secret).answered(403),
        stale: None,
        spoken,
    }
}

async fn piiano(server: &TestServer, realm: RealmId) -> Case {
    let engine = &server.app.engine;
    let key = "Bearer pvaultauth";
    let base = "/api/pvlt/1.0/data/collections/customers/tokens";
    let schema = json!({"name": "customers", "type": "DATA",
        "properties": [{"name": "email", "data_type_name": "EMAIL"}]});
    ask(server, key, "/api/pvlt/1.0/ctl/collections", schema).await;
    let tokenize = async |kind: &str, email: &str| {
        let body = json!([{"type": kind, "tags": ["old", "kept"], "object": {"fields": {"email": email}}}]);
        let made = ask(server, key, &format!("{base}?reason=Analytics"), body).await;
        text(&made[0]["token_id"])
    };
    // The second is what the first becomes: its content is the new data as the product's own words make it.
    let target = tokenize("pci", "ann@example.com").await;
    let model = tokenize("randomized", "eve@example.com").await;
    let caller = Caller::system(realm, "test");
    let (listed, _) = engine.list(&caller, None, 500).await.unwrap();
    let container = listed.iter().find_map(|token| token.container);
    let selection = |id: &str| Selection {
        external_ids: vec![id.to_owned()],
        container,
        ..Selection::default()
    };
    let token = async |id: &str| {
        let found = engine.find(&caller, Action::Reveal, &selection(id)).await;
        let found = found.unwrap();
        (
            found.tokens[0].clone(),
            found.value(&found.tokens[0]).unwrap().clone(),
        )
    };
    let (_, new) = token(&model).await;
    let weak = Secret::parse("Key-without-capabilities-1").unwrap();
    let issue = Issue {
        permissions: vec!["CapNothing".to_owned()],
        ..Issue::with_secret("api-key", weak.clone(), String::new(), false)
    };
    engine.issue(&caller, issue).await.unwrap();
    let path = |id: &str| format!("{base}?reason=Analytics&token_ids={id}&expiration_secs=3600");
    let spoken = Spoken {
        method: "PATCH",
        path: path(&target),
        authorization: key.to_owned(),
        body: json!({"tags": ["kept", "new"], "object": {"fields": {"email": "eve@example.com"}}}),
        status: 200,
    };
    Case {
        token: token(&target).await.0.id,
        actor: Actor::bearer(&token_of(server, realm, "pvaultauth").await),
        reason: Some("Analytics"),
        update: Update {
            selection: selection(&target),
            edit: Edit {
                tags: Field::Set(tags_of(&["kept", "new"], &[])),
                expires_at: Field::Set(engine.now().checked_add_secs(LATER_SECS + 3600).unwrap()),
                data: Some(NewData {
                    content: engine.open(&new).unwrap(),
                    body: new.body,
                    classes: ["pci", "pci_oneway", "randomized"]
                        .map(str::to_owned)
                        .to_vec(),
                }),
                ..Edit::default()
            },
            guard: Guard::Nothing,
        },
        unknown: (
            spoken.at(&path("nobody")).answered(404),
            selection("nobody"),
        ),
        without_permission: spoken.by("Bearer Key-without-capabilities-1").answered(403),
        stale: None,
        spoken,
    }
}

async fn infisical(server: &TestServer, realm: RealmId) -> Case {
    let set_up =
        json!({"email": "ann@example.com", "password": "correct horse", "organization": "Acme"});
    let made = ask(server, "", "/api/v1/admin/bootstrap", set_up).await;
    let admin = format!("Bearer {}", text(&made["identity"]["credentials"]["token"]));
    let organization = &made["organization"]["id"];
    let auth = "/api/v1/auth/token-auth";
    let token_for = async |role: &str| {
        let body = json!({"name": role, "organizationId": organization, "role": role});
        let identity = ask(server, &admin, "/api/v1/identities", body).await;
        let path = format!("{auth}/identities/{}", text(&identity["identity"]["id"]));
        ask(server, &admin, &path, json!({})).await;
        let made = ask(
            server,
            &admin,
            &format!("{path}/tokens"),
            json!({"name": "old"}),
        )
        .await;
        (text(&made["tokenData"]["id"]), text(&made["accessToken"]))
    };
    let (id, _) = token_for("no-access").await;
    let (_, member) = token_for("member").await;
    let (listed, _) = server
        .app
        .engine
        .list(&Caller::system(realm, "test"), None, 500)
        .await
        .unwrap();
    let token = TokenId(id.parse().unwrap());
    let spoken = Spoken {
        method: "PATCH",
        path: format!("{auth}/tokens/{id}"),
        authorization: admin,
        body: json!({"name": "new"}),
        status: 200,
    };
    let nil = format!("{auth}/tokens/{}", Uuid::nil());
    Case {
        token,
        // The first that was made.
        actor: Actor::bearer(&listed[0]),
        reason: None,
        update: Update {
            selection: Selection::of(token),
            edit: Edit {
                name: Field::Set("new".to_owned()),
                touch: true,
                ..Edit::default()
            },
            guard: Guard::Nothing,
        },
        unknown: (spoken.at(&nil).answered(404), nobody()),
        without_permission: spoken.by(&format!("Bearer {member}")).answered(403),
        stale: None,
        spoken,
    }
}

async fn mindbridge(server: &TestServer, realm: RealmId) -> Case {
    let secret = "mindbridge-dev-token";
    let bearer = format!("Bearer {secret}");
    let tokens = "/api/v1/api-tokens";
    let create = async |name: &str| {
        let body = json!({"name": name, "expiry": "2027-01-01T00:00:00Z", "permissions": ["api.users.read"]});
        let made = ask(server, &bearer, tokens, body).await;
        (text(&made["id"]), text(&made["token"]))
    };
    let (id, own) = create("old").await;
    let (_, weak) = create("weak").await;
    let token = token_of(server, realm, &own).await.id;
    let name = Place::new(Space::of("mindbridge.name"), Key(b"new".to_vec()));
    let spoken = Spoken {
        method: "PUT",
        path: format!("{tokens}/{id}"),
        authorization: bearer.clone(),
        body: json!({"version": 1, "name": "new"}),
        status: 200,
    };
    let nobodys = format!("{tokens}/ffffffffffffffffffffffff");
    Case {
        token,
        actor: Actor::bearer(&token_of(server, realm, secret).await),
        reason: None,
        update: Update {
            selection: Selection::of(token),
            edit: Edit {
                name: Field::Set("new".to_owned()),
                locators: Field::Set(vec![name]),
                touch: true,
                ..Edit::default()
            },
            guard: Guard::Version(1),
        },
        unknown: (spoken.at(&nobodys).answered(404), nobody()),
        without_permission: spoken.by(&format!("Bearer {weak}")).answered(403),
        stale: Some(Spoken {
            body: json!({"version": 7, "name": "new"}),
            ..spoken.clone().answered(409)
        }),
        spoken,
    }
}

/// A house with the token of a dialect, some time later.
async fn house(dialect: &str) -> (TestServer, RealmId, Case) {
    let server = TestServer::start(&Variables::new()).await;
    let realm = server
        .app
        .engine
        .open_realm(&default_realm(dialect))
        .await
        .unwrap();
    let case = match dialect {
        "unleash" => unleash(&server, realm).await,
        "piiano" => piiano(&server, realm).await,
        "infisical" => infisical(&server, realm).await,
        "mindbridge" => mindbridge(&server, realm).await,
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

#[tokio::test]
async fn an_update_leaves_the_same_behind_in_every_language() {
    for opener in web::dialects::ALL {
        let (spoken_to, realm, case) = house(opener.name).await;
        let (asked, same_realm, same_case) = house(opener.name).await;
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
