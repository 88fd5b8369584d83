//! The update of each dialect in both languages, and what must be refused in both.
//!
//! The one thing to know: a case is made by asking the house under test, in the same order in both houses, so that ids and
//! secrets are equal there. Whatever draws on chance belongs here and nowhere else.

use std::sync::Arc;

use engine::caller::{Actor, Caller};
use engine::locator::{Key, Place, Space};
use engine::permission::Action;
use engine::realm::RealmId;
use engine::secret::Secret;
use engine::selection::{Selection, Which};
use engine::token::{Token, TokenId};
use engine::verbs::issue::Issue;
use engine::verbs::update::{Edit, Field, Guard, NewData, Update};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Case, LATER_SECS, Spoken};
use crate::app::TestServer;
use crate::rig::tags_of;

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

pub(super) async fn unleash(server: &TestServer, realm: RealmId) -> Case {
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

pub(super) async fn piiano(server: &TestServer, realm: RealmId) -> Case {
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

pub(super) async fn infisical(server: &TestServer, realm: RealmId) -> Case {
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

pub(super) async fn mindbridge(server: &TestServer, realm: RealmId) -> Case {
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
