//! What belongs to another realm is answered as what does not exist: the same status, the same body, the same headers.
//!
//! The one thing to know: both realms are on one engine and one store, speak the same dialect with the same key, and are
//! asked with good credentials; only the ids are of the other one.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokenhouse::config::Variables;
use tower::ServiceExt as _;
use web::dialects::{ALL, Dialect, Environment};

use crate::app::TestServer;

const NOBODY: &str = "01a213b0-0000-7000-8000-000000000000";
const NO_ID: &str = "643eff00ec992f7ec42ed9f7";

/// Two realms of one dialect, each with its first credential.
struct Neighbours {
    server: TestServer,
    dialects: [Arc<dyn Dialect>; 2],
    secrets: [String; 2],
}

impl Neighbours {
    async fn of(name: &str) -> Self {
        let server = TestServer::start(&Variables::new()).await;
        let opener = ALL.iter().find(|opener| opener.name == name).unwrap();
        let key = "a key that both of them have".to_owned();
        let environment = Environment {
            variables: [("AUTH_SECRET".to_owned(), key)].into(),
            dev: false,
        };
        let open = async |realm: &str| {
            let engine = &server.app.engine;
            let realm = engine.open_realm(&format!("{name}/{realm}")).await.unwrap();
            let dialect = (opener.open)(engine, realm, &environment).unwrap();
            let first = dialect.seed().await.unwrap();
            (dialect, first[0].secret.expose().to_owned())
        };
        let (one, secret) = open("one").await;
        let (other, others) = open("other").await;
        Self {
            server,
            dialects: [one, other],
            secrets: [secret, others],
        }
    }

    /// The answer of a realm to a credential: its status, its headers and its body, without what is the request's own.
    async fn ask(&self, realm: usize, secret: &str, call: &str, body: &Value) -> (u16, String) {
        let (method, path) = call.split_once(' ').unwrap();
        let spoken = [Arc::clone(&self.dialects[realm])];
        let router = self.server.app.doors(&spoken, false, None).router;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {secret}"))
            .header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let (mut parts, body) = answer.into_parts();
        let id = parts.headers.remove("x-request-id").unwrap();
        let id = id.to_str().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let text = text.replace(id, "ID").replace(&id[..14], "ID");
        (parts.status.as_u16(), format!("{:?} {text}", parts.headers))
    }

    /// Asks the first realm about ids of the second and about ones that nobody has.
    async fn compare(&self, calls: &[(&str, Value, u16)], theirs: &str, nobodys: &str) {
        for (call, body, status) in calls {
            let secret = &self.secrets[0];
            let ask = async |id: &str| {
                let call = call.replace("{id}", id);
                let body = body.to_string().replace("{id}", id);
                let body = serde_json::from_str(&body).unwrap();
                let (status, text) = self.ask(0, secret, &call, &body).await;
                (status, text.replace(id, "{id}"))
            };
            let (got, unknown) = (ask(theirs).await, ask(nobodys).await);
            assert_eq!(got, unknown, "{call}");
            assert_eq!(got.0, *status, "{call}: {}", got.1);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn machine_identities() {
    let both = Neighbours::of("infisical").await;
    let details = "GET /api/v1/identities/details";
    assert_eq!(
        both.ask(1, &both.secrets[1], details, &json!({})).await.0,
        200
    );
    let (status, answer) = both.ask(0, &both.secrets[1], details, &json!({})).await;
    assert_eq!(status, 401);
    assert!(
        answer.contains("No identity access token found"),
        "{answer}"
    );

    // Their organization, identity and token, as they see them.
    let organization = both.dialects[1].realm().to_string();
    let list = format!("GET /api/v1/identities?orgId={organization}");
    let (status, answer) = both.ask(1, &both.secrets[1], &list, &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("} ").unwrap().1).unwrap();
    let identity = text(&body["identities"][0]["identityId"]).to_owned();
    let list = format!("GET /api/v1/auth/token-auth/identities/{identity}/tokens");
    let (_, answer) = both.ask(1, &both.secrets[1], &list, &json!({})).await;
    let body: Value = serde_json::from_str(answer.split_once("} ").unwrap().1).unwrap();
    let token = text(&body["tokens"][0]["id"]).to_owned();

    let rename = json!({ "name": "x" });
    let auth = "/api/v1/auth/token-auth";
    let at = |method: &str, path: &str| format!("{method} {path}");
    let tokens = [
        at("GET", &format!("{auth}/tokens/{{id}}")),
        at("PATCH", &format!("{auth}/tokens/{{id}}")),
        at("POST", &format!("{auth}/tokens/{{id}}/revoke")),
        at("GET", &format!("{auth}/identities/{NOBODY}/tokens/{{id}}")),
    ];
    let tokens = tokens
        .each_ref()
        .map(|call| (call.as_str(), rename.clone(), 404));
    both.compare(&tokens, &token, NOBODY).await;
    let identities = [
        at("POST", &format!("{auth}/identities/{{id}}")),
        at("PATCH", &format!("{auth}/identities/{{id}}")),
        at("GET", &format!("{auth}/identities/{{id}}")),
        at("DELETE", &format!("{auth}/identities/{{id}}")),
        at("POST", &format!("{auth}/identities/{{id}}/tokens")),
        at("GET", &format!("{auth}/identities/{{id}}/tokens")),
        at("GET", "/api/v1/identities/{id}"),
        at("PATCH", "/api/v1/identities/{id}"),
        at("DELETE", "/api/v1/identities/{id}"),
    ];
    let identities = identities
        .each_ref()
        .map(|call| (call.as_str(), rename.clone(), 404));
    both.compare(&identities, &identity, NOBODY).await;
    let named = json!({ "name": "x", "organizationId": "{id}" });
    let organizations = [
        ("GET /api/v1/identities?orgId={id}", json!({}), 403),
        ("POST /api/v1/identities", named, 403),
    ];
    both.compare(&organizations, &organization, NOBODY).await;
    assert_eq!(
        both.ask(1, &both.secrets[1], details, &json!({})).await.0,
        200
    );
}

#[tokio::test]
async fn api_tokens() {
    let both = Neighbours::of("mindbridge").await;
    let current = "GET /api/v1/api-tokens/current";
    let (status, answer) = both.ask(1, &both.secrets[1], current, &json!({})).await;
    assert_eq!(status, 200);
    let theirs: Value = serde_json::from_str(answer.split_once("} ").unwrap().1).unwrap();
    let made_up = both.secrets[1].chars().rev().collect::<String>();
    let unknown = both.ask(0, &made_up, current, &json!({})).await;
    assert_eq!(unknown.0, 401);
    assert_eq!(
        both.ask(0, &both.secrets[1], current, &json!({})).await,
        unknown
    );

    let rename = json!({ "version": 1, "name": "x" });
    let tokens = [
        ("GET /api/v1/api-tokens/{id}", json!({}), 404),
        ("PUT /api/v1/api-tokens/{id}", rename, 404),
        ("DELETE /api/v1/api-tokens/{id}", json!({}), 404),
    ];
    both.compare(&tokens, text(&theirs["id"]), NO_ID).await;
    let users = [("GET /api/v1/users/{id}", json!({}), 404)];
    both.compare(&users, text(&theirs["userId"]), NO_ID).await;
    let (_, answer) = both
        .ask(
            0,
            &both.secrets[0],
            "POST /api/v1/api-tokens/query",
            &json!({}),
        )
        .await;
    assert!(answer.contains(r#""totalElements":1,"#), "{answer}");
    assert_eq!(
        both.ask(1, &both.secrets[1], current, &json!({})).await.0,
        200
    );
}
