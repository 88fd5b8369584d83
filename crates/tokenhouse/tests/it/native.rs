//! The native routes as the control socket speaks them, from issue to history.
//!
//! The one thing to know: the router is asked in process, with the extension that the socket's listener would add; that
//! the socket itself works is tested in `cli.rs` with the real program.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokenhouse::config::Variables;
use tower::ServiceExt as _;
use web::native::Operator;

use crate::app::TestServer;
use crate::backend::{Backend, on_each_store};

struct Control {
    router: Router,
    server: TestServer,
}

impl Control {
    async fn open(backend: Backend) -> Self {
        let server = TestServer::start_on(backend, &[], &Variables::new()).await;
        let router = server
            .app
            .control_doors(std::sync::Arc::new(String::new))
            .router;
        Self { router, server }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl ToString,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        request.extensions_mut().insert(Operator("ann".to_owned()));
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}: {bytes:?}"));
        (parts.status, parts.headers, json)
    }

    async fn post(&self, body: impl ToString) -> (StatusCode, HeaderMap, Value) {
        self.send("POST", "/v1/tokens", &JSON, body).await
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const PATCH: &str = "application/merge-patch+json";

on_each_store! {
    a_token_is_issued_changed_and_revoked_and_its_history_tells,
    lists_are_paged_and_realms_named,
    a_data_token_is_known_by_the_id_that_its_product_gave_it,
    bad_input_is_refused_clearly_and_changes_nothing,
    a_name_that_is_also_a_place_moves_it,
}

async fn a_token_is_issued_changed_and_revoked_and_its_history_tells(backend: Backend) {
    let control = Control::open(backend).await;
    let issue = json!({
        "dialect": "unleash", "class": "client", "name": "ci",
        "permissions": ["project:default", "environment:development"],
        "expires_at": "2030-01-01T00:00:00Z",
    });
    let (status, headers, token) = control.post(issue).await;
    assert_eq!(status, 201, "{token}");
    assert_eq!(headers["etag"], "\"1\"");
    let secret = token["secret"].as_str().unwrap();
    let path = headers["location"].to_str().unwrap().to_owned();
    let (status, _, shown) = control.send("GET", &path, &[], "").await;
    assert_eq!(status, 200);
    assert!(shown.get("secret").is_none(), "{shown}");
    assert_eq!(shown["expires_at"], "2030-01-01T00:00:00.000000Z");
    assert_eq!(shown["created_by"], "ann");

    // It works where its product is spoken, and is counted.
    let features = async || {
        let headers = [("authorization", secret)];
        let path = "/api/client/features";
        control.server.send("GET", path, &headers, "").await.status
    };
    assert_eq!(features().await, 200);
    let (_, _, shown) = control.send("GET", &path, &[], "").await;
    assert_eq!(shown["uses"], 1);

    // Absent is kept, null is cleared, a value is set; the expected version guards.
    let change = async |body: Value, tag: &str| {
        let headers = [("content-type", PATCH), ("if-match", tag)];
        control.send("PATCH", &path, &headers, body).await
    };
    let (status, headers, updated) =
        change(json!({ "tags": ["a", "b"], "expires_at": null }), "\"1\"").await;
    assert_eq!(status, 200, "{updated}");
    assert_eq!(headers["etag"], "\"2\"");
    assert_eq!(updated["name"], "ci");
    assert_eq!(updated["tags"], json!(["a", "b"]));
    assert_eq!(updated["expires_at"], Value::Null);
    let (status, _, problem) = change(json!({ "name": null }), "\"1\"").await;
    assert_eq!(status, 412, "{problem}");
    let (status, _, updated) = change(json!({ "name": null }), "*").await;
    assert_eq!(
        (status.as_u16(), &updated["name"], &updated["version"]),
        (200, &Value::Null, &json!(3))
    );
    let (status, _, updated) = change(json!({}), "\"3\"").await;
    assert_eq!(
        (status.as_u16(), &updated["version"]),
        (200, &json!(3)),
        "no change, no version"
    );

    // An expiry that has passed is in force at the next request, and so is its end.
    let (_, _, updated) = change(json!({ "expires_at": "2025-01-01T00:00:00Z" }), "\"3\"").await;
    assert_eq!(updated["state"], "expired");
    assert_eq!(features().await, 401);
    let (_, _, updated) = change(json!({ "expires_at": "2027-01-01T00:00:00Z" }), "\"4\"").await;
    assert_eq!(updated["state"], "active");
    assert_eq!(features().await, 200);

    let (id, query) = path.split_once('?').unwrap();
    let revoke = format!("{id}/revoke?{query}");
    let stale = [("if-match", "\"4\"")];
    assert_eq!(control.send("POST", &revoke, &stale, "").await.0, 412);
    let (status, _, revoked) = control.send("POST", &revoke, &[], "").await;
    assert_eq!(
        (status.as_u16(), &revoked["state"]),
        (200, &json!("revoked"))
    );
    assert_eq!(features().await, 401);
    let (_, _, again) = control.send("POST", &revoke, &[], "").await;
    assert_eq!(again["version"], revoked["version"]);

    let (_, _, history) = control
        .send("GET", &format!("{id}/history?{query}"), &[], "")
        .await;
    let changes = history["changes"].as_array().unwrap();
    let verbs: Vec<_> = changes
        .iter()
        .map(|change| change["verb"].as_str().unwrap())
        .collect();
    assert_eq!(
        verbs,
        [
            "token.revoked",
            "token.updated",
            "token.updated",
            "token.updated",
            "token.updated",
            "token.issued"
        ]
    );
    assert!(!history.to_string().contains(secret));
    assert_eq!(
        changes[4]["after"],
        json!({ "tags": ["a", "b"], "expires_at": null })
    );
}

async fn lists_are_paged_and_realms_named(backend: Backend) {
    let control = Control::open(backend).await;
    let (_, _, realms) = control.send("GET", "/v1/realms", &[], "").await;
    let realms = realms["realms"].as_array().unwrap();
    assert_eq!(realms.len(), web::dialects::ALL.len());
    assert!(realms.iter().all(|realm| realm["spoken"] == true));
    for number in 0..5 {
        let issue = json!({
            "realm": "unleash/default", "class": "client", "name": format!("n{number}"),
            "permissions": ["project:default", "environment:development"],
        });
        assert_eq!(control.post(issue).await.0, 201);
    }
    let mut names = Vec::new();
    let mut path = "/v1/tokens?realm=unleash&limit=3".to_owned();
    let mut pages = 0;
    loop {
        let (status, _, page) = control.send("GET", &path, &[], "").await;
        assert_eq!(status, 200, "{page}");
        let tokens = page["tokens"].as_array().unwrap();
        names.extend(
            tokens
                .iter()
                .map(|token| token["name"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/tokens?realm=unleash&limit=3&cursor={next}");
    }
    // Three development credentials were there before.
    assert_eq!(names[3..], ["n0", "n1", "n2", "n3", "n4"]);
    assert_eq!(pages, 3);
}

/// A row of a list is matched with what the product's clients hold.
async fn a_data_token_is_known_by_the_id_that_its_product_gave_it(backend: Backend) {
    let control = Control::open(backend).await;
    let key = [
        ("authorization", "Bearer pvaultauth"),
        ("content-type", "application/json"),
    ];
    let collection = json!({
        "name": "customers",
        "type": "PERSONS",
        "properties": [{ "name": "email", "data_type_name": "EMAIL" }],
    });
    let tokens = json!([{
        "type": "randomized",
        "token_id": "t-1",
        "object": { "fields": { "email": "ada@example.com" } },
    }]);
    for (path, body) in [
        ("/api/pvlt/1.0/ctl/collections", collection),
        ("/api/pvlt/1.0/data/collections/customers/tokens", tokens),
    ] {
        let made = control.server.send("POST", path, &key, body.to_string());
        let made = made.await;
        assert_eq!(made.status, 200, "{:?}", made.body);
    }
    let (_, _, page) = control
        .send("GET", "/v1/tokens?realm=piiano", &[], "")
        .await;
    let tokens = page["tokens"].as_array().unwrap();
    let token = tokens.iter().find(|token| token["family"] == "data");
    let token = token.unwrap();
    assert_eq!(token["external_id"], "t-1");
    assert!(token["container"].is_string(), "{token}");
    let path = format!("/v1/tokens/{}?realm=piiano", token["id"].as_str().unwrap());
    let (_, _, shown) = control.send("GET", &path, &[], "").await;
    assert_eq!(&shown, token);
    assert!(!page.to_string().contains("ada@example.com"));
}

async fn bad_input_is_refused_clearly_and_changes_nothing(backend: Backend) {
    let control = Control::open(backend).await;
    let unleash = |more: &str| format!(r#"{{"realm":"unleash"{more}}}"#);
    for (body, status) in [
        (String::new(), 400),
        ("{".to_owned(), 400),
        (r#"{"realm":"unleash","realm":"piiano"}"#.to_owned(), 400),
        ("[]".to_owned(), 422),
        ("null".to_owned(), 422),
        ("{}".to_owned(), 422),
        (r#"{"realm":"unleash","dialect":"unleash"}"#.to_owned(), 422),
        (r#"{"realm":"nowhere"}"#.to_owned(), 404),
        (unleash(r#","colour":"red""#), 422),
        (unleash(r#","class":"no such class""#), 422),
        (unleash(r#","expires_at":"tomorrow""#), 422),
        (unleash(r#","name":7"#), 422),
        (unleash(r#","permissions":"project:default""#), 422),
        (
            unleash(&format!(r#","name":"{}""#, "x".repeat(1_100_000))),
            413,
        ),
    ] {
        let shown: String = body.chars().take(80).collect();
        let (got, headers, problem) = control.post(body).await;
        assert_eq!(got, status, "{shown}: {problem}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(problem["detail"].as_str().unwrap().len() > 3, "{problem}");
    }
    let (status, ..) = control.send("POST", "/v1/tokens", &[], "{}").await;
    assert_eq!(status, 415);

    let (_, _, list) = control
        .send("GET", "/v1/tokens?realm=unleash", &[], "")
        .await;
    let id = list["tokens"][1]["id"].as_str().unwrap().to_owned();
    let before = list["tokens"][1].clone();
    let one = format!("/v1/tokens/{id}?realm=unleash");
    for (body, status) in [
        (r#"{"name":"a","name":"b"}"#, 400),
        (r#"{"secret":"x"}"#, 422),
        (r#"{"tags":"a"}"#, 422),
        (r#"{"tags":[""]}"#, 422),
        (r#"{"name":"a\u0000b"}"#, 422),
        (r#"{"expires_at":5}"#, 422),
    ] {
        let (got, _, problem) = control.send("PATCH", &one, &JSON, body).await;
        assert_eq!(got, status, "{body}: {problem}");
    }
    for (path, status) in [
        ("/v1/tokens", 400),
        ("/v1/tokens?realm=", 400),
        ("/v1/tokens?realm=unleash&realm=unleash", 400),
        ("/v1/tokens?realm=unleash&colour=red", 400),
        ("/v1/tokens?realm=unleash&limit=0", 400),
        ("/v1/tokens?realm=unleash&limit=501", 400),
        ("/v1/tokens?realm=unleash&cursor=x", 400),
        ("/v1/tokens?realm=%zz", 400),
        ("/v1/tokens/x?realm=unleash", 404),
        ("/v1/tokens/%ff?realm=unleash", 404),
        (&format!("/v1/tokens/{id}?realm=piiano"), 404),
        (&format!("/v1/tokens/{id}/history?realm=piiano"), 404),
        (&format!("/v1/tokens/{id}"), 400),
    ] {
        let (got, _, problem) = control.send("GET", path, &[], "").await;
        assert_eq!(got, status, "{path}: {problem}");
    }
    let revoke = format!("/v1/tokens/{id}/revoke?realm=unleash");
    assert_eq!(control.send("POST", &revoke, &JSON, "{}").await.0, 400);
    for tag in ["1", "\"x\"", "W/\"1\"", "\"1\", \"2\""] {
        let headers = [("if-match", tag)];
        assert_eq!(
            control.send("POST", &revoke, &headers, "").await.0,
            400,
            "{tag}"
        );
    }
    let (_, _, list) = control
        .send("GET", "/v1/tokens?realm=unleash", &[], "")
        .await;
    assert_eq!(list["tokens"][1], before);
    assert_eq!(list["tokens"].as_array().unwrap().len(), 3);
}

async fn a_name_that_is_also_a_place_moves_it(backend: Backend) {
    let control = Control::open(backend).await;
    let issue = async |name: &str| {
        let body = json!({ "dialect": "mindbridge", "name": name });
        let (status, _, token) = control.post(body).await;
        let id = token["id"].as_str().map(str::to_owned);
        (status.as_u16(), id)
    };
    let (_, Some(id)) = issue("alpha").await else {
        panic!("no token");
    };
    assert_eq!(issue("gamma").await.0, 201);
    let path = format!("/v1/tokens/{id}?realm=mindbridge");
    let rename = async |name: Value| {
        let body = json!({ "name": name });
        control.send("PATCH", &path, &JSON, body).await
    };
    for bad in [json!(null), json!(""), json!(" "), json!("x".repeat(256))] {
        let (status, _, problem) = rename(bad.clone()).await;
        assert_eq!(status, 422, "{bad}: {problem}");
    }
    let (status, _, problem) = rename(json!("gamma")).await;
    assert_eq!(status, 409, "{problem}");
    let (status, _, token) = rename(json!("beta")).await;
    assert_eq!((status.as_u16(), &token["name"]), (200, &json!("beta")));
    assert_eq!(issue("beta").await.0, 409, "the new name is taken");
    assert_eq!(issue("alpha").await.0, 201, "the former one is free");
    // What leaves the name alone leaves its place alone.
    let body = json!({ "expires_at": "2026-06-01T00:00:00Z" });
    assert_eq!(control.send("PATCH", &path, &JSON, body).await.0, 200);
    assert_eq!(issue("beta").await.0, 409);
}
