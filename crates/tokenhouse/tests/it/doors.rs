//! Every door and who gets through it: a row for each operation of each OpenAPI document, really requested.
//!
//! The one thing to know: a new endpoint is in its dialect's document because it is described where it is written; this
//! test then fails until it has a row here. Add the row to the table of its dialect, with the status that each of the
//! columns must have.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use engine::caller::Caller;
use engine::secret::Secret;
use engine::verbs::issue::Issue;
use serde_json::{Value, json};
use tokenhouse::config::Variables;
use tower::ServiceExt as _;
use utoipa::openapi::OpenApi;
use web::native::{Operator, default_realm};

use crate::app::TestServer;
use crate::backend::{Backend, on_each_store};

/// One operation, and the status for each kind of caller that has no business there. Where a door is open to everybody,
/// the columns have the status of success.
struct Row {
    method: &'static str,
    path: &'static str,
    /// A body that is good, so that nothing but the caller can be refused.
    body: &'static str,
    /// Without a credential.
    nobody: u16,
    /// With a good credential that does not permit this.
    powerless: u16,
    /// With a credential that is good elsewhere: in another realm.
    foreign: u16,
}

const fn row(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    [nobody, powerless, foreign]: [u16; 3],
) -> Row {
    Row {
        method,
        path,
        body,
        nobody,
        powerless,
        foreign,
    }
}

const EXPIRY: &str = r#"{"expiresAt":"2031-01-01T00:00:00Z"}"#;
const NEW_TOKEN: &str = r#"{"tokenName":"x","type":"client"}"#;
const REGISTER: &str = r#"{"appName":"x","interval":1,"started":1,"strategies":[]}"#;
const METRICS: &str = r#"{"appName":"x","bucket":{"start":"2026-01-01T00:00:00Z","stop":"2026-01-01T00:01:00Z","toggles":{}}}"#;
const BULK: &str = r#"{"applications":[],"metrics":[]}"#;

/// Powerless is an admin token at the doors of SDKs, and a token of SDKs at the others.
const UNLEASH: &[Row] = &[
    row("get", "/api/admin/api-tokens", "", [401, 403, 401]),
    row("post", "/api/admin/api-tokens", NEW_TOKEN, [401, 403, 401]),
    row("get", "/api/admin/api-tokens/{token}", "", [401, 403, 401]),
    row(
        "put",
        "/api/admin/api-tokens/{token}",
        EXPIRY,
        [401, 403, 401],
    ),
    row(
        "delete",
        "/api/admin/api-tokens/{token}",
        "",
        [401, 403, 401],
    ),
    row("get", "/api/client/features", "", [401, 403, 401]),
    row("post", "/api/client/register", REGISTER, [401, 403, 401]),
    row("post", "/api/client/metrics", METRICS, [401, 403, 401]),
    row("post", "/api/client/metrics/bulk", BULK, [401, 403, 401]),
    row("post", "/api/client/metrics/edge", "{}", [401, 403, 401]),
    row("get", "/api/frontend", "", [401, 403, 401]),
    row("post", "/api/frontend", "{}", [401, 403, 401]),
    row(
        "post",
        "/api/frontend/client/register",
        REGISTER,
        [401, 403, 401],
    ),
    row(
        "post",
        "/api/frontend/client/metrics",
        METRICS,
        [401, 403, 401],
    ),
    row(
        "post",
        "/edge/validate",
        r#"{"tokens":["x"]}"#,
        [200, 403, 200],
    ),
    row("get", "/health", "", [200, 200, 200]),
    row("get", "/ready", "", [200, 200, 200]),
];

const OBJECT: &str = r#"{"email":"a@example.com"}"#;
const TOKENIZE: &str = r#"[{"type":"randomized","object":{"fields":{"email":"a@example.com"}}}]"#;
const COLLECTION: &str = r#"{"name":"more","type":"PERSONS","properties":[]}"#;

/// Powerless is a key without capabilities. A key of another realm is unknown.
const PIIANO: &[Row] = &[
    row("get", "/api/pvlt/1.0/data/info/health", "", [200, 200, 200]),
    row("get", "/api/pvlt/1.0/ctl/info/health", "", [200, 200, 200]),
    row(
        "get",
        "/api/pvlt/1.0/system/info/version",
        "",
        [401, 200, 401],
    ),
    row("get", "/api/pvlt/1.0/ctl/collections", "", [401, 403, 401]),
    row(
        "post",
        "/api/pvlt/1.0/ctl/collections",
        COLLECTION,
        [401, 403, 401],
    ),
    row(
        "get",
        "/api/pvlt/1.0/ctl/collections/{collection}",
        "",
        [401, 403, 401],
    ),
    row(
        "delete",
        "/api/pvlt/1.0/ctl/collections/{collection}",
        "",
        [401, 403, 401],
    ),
    row(
        "post",
        "/api/pvlt/1.0/data/collections/{collection}/objects",
        OBJECT,
        [401, 403, 401],
    ),
    row(
        "get",
        "/api/pvlt/1.0/data/collections/{collection}/objects/{id}",
        "",
        [401, 403, 401],
    ),
    row(
        "delete",
        "/api/pvlt/1.0/data/collections/{collection}/objects/{id}",
        "",
        [401, 403, 401],
    ),
    row(
        "post",
        "/api/pvlt/1.0/data/collections/{collection}/tokens",
        TOKENIZE,
        [401, 403, 401],
    ),
    row(
        "get",
        "/api/pvlt/1.0/data/collections/{collection}/tokens",
        "",
        [401, 403, 401],
    ),
    row(
        "patch",
        "/api/pvlt/1.0/data/collections/{collection}/tokens",
        "{}",
        [401, 403, 401],
    ),
    row(
        "delete",
        "/api/pvlt/1.0/data/collections/{collection}/tokens",
        "",
        [401, 403, 401],
    ),
    row(
        "post",
        "/api/pvlt/1.0/data/collections/{collection}/query/tokens",
        r#"{"token_ids":["x"]}"#,
        [401, 403, 401],
    ),
    row(
        "get",
        "/api/pvlt/1.0/data/collections/{collection}/count/tokens",
        "",
        [401, 403, 401],
    ),
];

const RENAME: &str = r#"{"version":1,"name":"x"}"#;
const NEW_API_TOKEN: &str =
    r#"{"name":"more","expiry":"2026-06-01T00:00:00Z","permissions":["api.users.read"]}"#;

/// Powerless is a token whose only permission is none of this server's.
const MINDBRIDGE: &[Row] = &[
    row("post", "/api/v1/api-tokens", NEW_API_TOKEN, [401, 403, 401]),
    row("get", "/api/v1/api-tokens/current", "", [401, 200, 401]),
    row("post", "/api/v1/api-tokens/query", "{}", [401, 403, 401]),
    row("get", "/api/v1/api-tokens/{id}", "", [401, 403, 401]),
    row("put", "/api/v1/api-tokens/{id}", RENAME, [401, 403, 401]),
    row("delete", "/api/v1/api-tokens/{id}", "", [401, 403, 401]),
    row("get", "/api/v1/users/current", "", [401, 200, 401]),
    row("post", "/api/v1/users/query", "{}", [401, 403, 401]),
    row("get", "/api/v1/users/{id}", "", [401, 403, 401]),
];

const NEW_IDENTITY: &str = r#"{"name":"x","organizationId":"{organization}"}"#;
const SET_UP: &str =
    r#"{"email":"ann@example.com","password":"correct horse","organization":"Acme"}"#;

/// Powerless is an identity whose role permits nothing. What is no JWT of ours is refused with 403 everywhere, also where
/// nobody has to say who calls. The instance is set up already.
const INFISICAL: &[Row] = &[
    row(
        "post",
        "/api/v1/auth/token-auth/identities/{identityId}",
        "{}",
        [401, 403, 403],
    ),
    row(
        "patch",
        "/api/v1/auth/token-auth/identities/{identityId}",
        r#"{"accessTokenTTL":60}"#,
        [401, 403, 403],
    ),
    row(
        "get",
        "/api/v1/auth/token-auth/identities/{identityId}",
        "",
        [401, 403, 403],
    ),
    row(
        "delete",
        "/api/v1/auth/token-auth/identities/{identityId}",
        "",
        [401, 403, 403],
    ),
    row(
        "post",
        "/api/v1/auth/token-auth/identities/{identityId}/tokens",
        "{}",
        [401, 403, 403],
    ),
    row(
        "get",
        "/api/v1/auth/token-auth/identities/{identityId}/tokens",
        "",
        [401, 403, 403],
    ),
    row(
        "get",
        "/api/v1/auth/token-auth/identities/{identityId}/tokens/{tokenId}",
        "",
        [401, 403, 403],
    ),
    row(
        "get",
        "/api/v1/auth/token-auth/tokens/{tokenId}",
        "",
        [401, 403, 403],
    ),
    row(
        "patch",
        "/api/v1/auth/token-auth/tokens/{tokenId}",
        r#"{"name":"x"}"#,
        [401, 403, 403],
    ),
    row(
        "post",
        "/api/v1/auth/token-auth/tokens/{tokenId}/revoke",
        "",
        [401, 403, 403],
    ),
    row("post", "/api/v1/identities", NEW_IDENTITY, [401, 403, 403]),
    row("get", "/api/v1/identities", "", [401, 403, 403]),
    row("get", "/api/v1/identities/details", "", [401, 200, 403]),
    row(
        "get",
        "/api/v1/identities/{identityId}",
        "",
        [401, 403, 403],
    ),
    row(
        "patch",
        "/api/v1/identities/{identityId}",
        r#"{"name":"x"}"#,
        [401, 403, 403],
    ),
    row(
        "delete",
        "/api/v1/identities/{identityId}",
        "",
        [401, 403, 403],
    ),
    row("post", "/api/v1/admin/bootstrap", SET_UP, [400, 400, 403]),
    row("get", "/api/status", "", [200, 200, 403]),
];

/// The house's pages are for everybody.
const NATIVE: &[Row] = &[
    row("get", "/", "", [200, 200, 200]),
    row("get", "/healthz", "", [200, 200, 200]),
    row("get", "/readyz", "", [200, 200, 200]),
    row("get", "/metrics", "", [200, 200, 200]),
    row("get", "/openapi/{document}", "", [200, 200, 200]),
];

/// The routes of the control socket: nobody is a request that did not come through it. There are no lesser operators;
/// "powerless" asks for another realm's token, and a foreign credential is nothing there.
const CONTROL: &[Row] = &[
    row("get", "/v1/realms", "", [403, 200, 200]),
    row("get", "/v1/keys", "", [403, 200, 200]),
    row("get", "/v1/tokens", "", [403, 200, 200]),
    row(
        "post",
        "/v1/tokens",
        r#"{"realm":"piiano","dialect":"unleash"}"#,
        [403, 422, 422],
    ),
    row("get", "/v1/tokens/{id}", "", [403, 404, 404]),
    row(
        "patch",
        "/v1/tokens/{id}",
        r#"{"name":"x"}"#,
        [403, 404, 404],
    ),
    row("post", "/v1/tokens/{id}/revoke", "", [403, 404, 404]),
    row("get", "/v1/tokens/{id}/history", "", [403, 404, 404]),
];

/// Rows and document name the same operations, or the test says what to do.
fn compare(name: &str, rows: &[Row], document: &OpenApi) {
    let document = serde_json::to_value(document).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if ["get", "put", "post", "delete", "patch", "head", "options"]
                .contains(&method.as_str())
            {
                described.insert((path.clone(), method.clone()));
            }
        }
    }
    let listed: BTreeSet<_> = rows
        .iter()
        .map(|row| (row.path.to_owned(), row.method.to_owned()))
        .collect();
    assert_eq!(
        listed.len(),
        rows.len(),
        "{name}: an operation has two rows"
    );
    let missing: Vec<_> = described.difference(&listed).collect();
    let surplus: Vec<_> = listed.difference(&described).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "the table of {name} in tests/it/doors.rs and its OpenAPI document differ.\n\
         Add a row, with the status for nobody, the powerless and the foreign, for: {missing:?}\n\
         Remove the row of: {surplus:?}"
    );
}

/// A server with a collection, an object and a powerless credential for each dialect.
struct House {
    server: TestServer,
    token: String,
    object: String,
    machines: Machines,
}

/// What the doors of machine identities are about.
struct Machines {
    organization: String,
    /// An identity that has a token, and one that cannot have any.
    identities: [String; 2],
    /// The id of the token, and the token itself. Its identity may do nothing.
    token: [String; 2],
}

impl Machines {
    async fn open(server: &TestServer) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let json = ("content-type", "application/json");
        let path = "/api/v1/admin/bootstrap";
        let made = server.send("POST", path, &[json], SET_UP).await.json();
        let organization = text(&made["organization"]["id"]);
        let bearer = format!(
            "Bearer {}",
            made["identity"]["credentials"]["token"].as_str().unwrap()
        );
        let send = async |path: &str, body: &str| {
            let headers = [("authorization", bearer.as_str()), json];
            let answer = server.send("POST", path, &headers, body.to_owned()).await;
            assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
            answer.json()
        };
        let new = NEW_IDENTITY.replace("{organization}", &organization);
        let made = send("/api/v1/identities", &new).await;
        let powerless = text(&made["identity"]["id"]);
        let made = send("/api/v1/identities", &new).await;
        let bare = text(&made["identity"]["id"]);
        let path = format!("/api/v1/auth/token-auth/identities/{powerless}");
        send(&path, "{}").await;
        let made = send(&format!("{path}/tokens"), "{}").await;
        Self {
            organization,
            identities: [powerless, bare],
            token: [text(&made["tokenData"]["id"]), text(&made["accessToken"])],
        }
    }
}

const POWERLESS_KEY: &str = "Powerless-key-1";
const FRONTEND: &str = "default:development.unleash-frontend-token";
const ADMIN: &str = "*:*.unleash-admin-token";

impl House {
    async fn open(backend: Backend) -> Self {
        let server = TestServer::start_on(backend, &[], &Variables::new()).await;
        issue_powerless_key(&server).await;
        let key = [
            ("authorization", "Bearer pvaultauth"),
            ("content-type", "application/json"),
        ];
        let collection = json!({
            "name": "customers",
            "type": "PERSONS",
            "properties": [{ "name": "email", "data_type_name": "EMAIL" }],
        });
        let path = "/api/pvlt/1.0/ctl/collections";
        let made = server
            .send("POST", path, &key, collection.to_string())
            .await;
        assert_eq!(made.status, 200, "{:?}", made.body);
        let path = "/api/pvlt/1.0/data/collections/customers/objects";
        let object = server.send("POST", path, &key, OBJECT).await.json()["id"].clone();
        let admin = [
            ("authorization", ADMIN),
            ("content-type", "application/json"),
        ];
        let made = server
            .send("POST", "/api/admin/api-tokens", &admin, NEW_TOKEN)
            .await;
        let token = made.json()["secret"].as_str().unwrap().to_owned();
        let object = object.as_str().unwrap().to_owned();
        Self {
            machines: Machines::open(&server).await,
            server,
            token,
            object,
        }
    }

    fn path(&self, row: &Row) -> String {
        let path = row
            .path
            .replace("{token}", &self.token)
            .replace("{collection}", "customers")
            .replace("{id}", &self.object)
            .replace("{tokenId}", &self.machines.token[0])
            .replace("{document}", "native.json");
        // Only what is not attached yet can be attached.
        let attaches = row.method == "post" && row.path.ends_with("{identityId}");
        let identity = &self.machines.identities[usize::from(attaches)];
        let path = path.replace("{identityId}", identity);
        // What must be said beside the path, or the call would be refused whoever calls.
        let path = match (row.method, row.path) {
            ("get", "/api/pvlt/1.0/data/collections/{collection}/objects/{id}") => {
                path + "?props=email"
            }
            ("get", "/api/pvlt/1.0/data/collections/{collection}/tokens") => path + "?token_ids=x",
            ("get", "/api/v1/identities") => path + "?orgId=" + &self.machines.organization,
            _ => path,
        };
        assert!(
            !path.contains('{'),
            "{path}: say in House::path what stands there"
        );
        path
    }

    async fn status(&self, row: &Row, credential: Option<&str>) -> u16 {
        let mut headers = Vec::new();
        if let Some(credential) = credential {
            headers.push(("authorization", credential));
        }
        if !row.body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        let method = row.method.to_ascii_uppercase();
        let body = row
            .body
            .replace("{organization}", &self.machines.organization);
        let answer = self
            .server
            .send(&method, &self.path(row), &headers, body)
            .await;
        answer.status.as_u16()
    }

    /// Asks at every door and collects what differs, so that one run shows everything.
    async fn try_all(&self, rows: &[Row], powerless: impl Fn(&Row) -> String, foreign: &str) {
        let mut wrong = Vec::new();
        for row in rows {
            let powerless = powerless(row);
            for (who, credential, expected) in [
                ("nobody", None, row.nobody),
                ("powerless", Some(powerless.as_str()), row.powerless),
                ("foreign", Some(foreign), row.foreign),
            ] {
                let got = self.status(row, credential).await;
                if got != expected {
                    let (method, path) = (row.method, row.path);
                    wrong.push(format!(
                        "{who}: {method} {path}: expected {expected}, got {got}"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn document(&self, name: &str) -> OpenApi {
        let metrics: web::native::MetricsText = std::sync::Arc::new(String::new);
        let app = &self.server.app;
        let mut documents = app.doors(&app.dialects, true, Some(metrics)).documents;
        documents.remove(name).unwrap()
    }
}

/// A key of the vault that nobody has given any capability.
async fn issue_powerless_key(server: &TestServer) {
    let engine = &server.app.engine;
    let realm = engine.open_realm(&default_realm("piiano")).await.unwrap();
    let issue = Issue {
        name: Some("powerless".to_owned()),
        ..Issue::with_secret(
            "api-key",
            Secret::parse(POWERLESS_KEY).unwrap(),
            String::new(),
            false,
        )
    };
    engine
        .issue(&Caller::system(realm, "test"), issue)
        .await
        .unwrap();
}

on_each_store! {
    unleash,
    piiano,
    mindbridge,
    infisical,
    another_tenants_token_is_refused_at_every_door_that_knows_tenants,
    native,
    control,
    documents_are_served,
}

async fn unleash(backend: Backend) {
    let house = House::open(backend).await;
    compare("unleash", UNLEASH, &house.document("unleash"));
    // An administrator has no business where SDKs come in, and they none where it does.
    let powerless = |row: &Row| {
        let of_sdks = row.path.starts_with("/api/client") || row.path.starts_with("/api/frontend");
        if of_sdks { ADMIN } else { FRONTEND }.to_owned()
    };
    house.try_all(UNLEASH, powerless, POWERLESS_KEY).await;
}

async fn piiano(backend: Backend) {
    let house = House::open(backend).await;
    compare("piiano", PIIANO, &house.document("piiano"));
    let powerless = |_: &Row| format!("Bearer {POWERLESS_KEY}");
    house
        .try_all(PIIANO, powerless, &format!("Bearer {FRONTEND}"))
        .await;
}

async fn mindbridge(backend: Backend) {
    let house = House::open(backend).await;
    compare("mindbridge", MINDBRIDGE, &house.document("mindbridge"));
    let headers = [
        ("authorization", "Bearer mindbridge-dev-token"),
        ("content-type", "application/json"),
    ];
    let body = r#"{"name":"powerless","expiry":"2026-06-01T00:00:00Z","permissions":["api.webhooks.read"]}"#;
    let made = house
        .server
        .send("POST", "/api/v1/api-tokens", &headers, body);
    let made = made.await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    house
        .try_all(
            MINDBRIDGE,
            |_| format!("Bearer {token}"),
            &format!("Bearer {FRONTEND}"),
        )
        .await;
}

async fn infisical(backend: Backend) {
    let house = House::open(backend).await;
    compare("infisical", INFISICAL, &house.document("infisical"));
    let powerless = |_: &Row| format!("Bearer {}", house.machines.token[1]);
    let foreign = format!("Bearer {FRONTEND}");
    house.try_all(INFISICAL, powerless, &foreign).await;
}

/// Inside a vault, a tenant is a wall: a key with every right does not reach over it when the request names another.
async fn another_tenants_token_is_refused_at_every_door_that_knows_tenants(backend: Backend) {
    let house = House::open(backend).await;
    let send = async |method: &str, path: &str, tenant: &str, body: String| {
        let headers = [
            ("authorization", "Bearer pvaultauth"),
            ("content-type", "application/json"),
            ("x-tenant-id", tenant),
        ];
        house.server.send(method, path, &headers, body).await
    };
    let tokens = "/api/pvlt/1.0/data/collections/customers/tokens";
    let objects = "/api/pvlt/1.0/data/collections/customers/objects";
    let person = json!({ "email": "b@example.com", "_tenant_id": "ours" });
    let made = send("POST", objects, "ours", person.to_string()).await;
    assert_eq!(made.status, 200, "{:?}", made.body);
    let object = made.json()["id"].as_str().unwrap().to_owned();
    let request = json!([{ "type": "randomized", "object": { "id": object }, "props": ["email"] }]);
    let made = send("POST", tokens, "ours", request.to_string()).await;
    assert_eq!(made.status, 200, "{:?}", made.body);
    let id = made.json()[0]["token_id"].as_str().unwrap().to_owned();
    let object = format!("{objects}/{object}");
    let shown = format!("{object}?props=email");
    let one = format!("{tokens}?token_ids={id}");
    let query = json!({ "token_ids": [id] }).to_string();
    let search = "/api/pvlt/1.0/data/collections/customers/query/tokens";
    for (method, path, body) in [
        ("GET", one.as_str(), String::new()),
        ("PATCH", &one, json!({ "tags": ["x"] }).to_string()),
        ("DELETE", &one, String::new()),
        ("POST", search, query),
        ("POST", tokens, request.to_string()),
        ("GET", &shown, String::new()),
        ("DELETE", &object, String::new()),
    ] {
        let answer = send(method, path, "theirs", body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {:?}", answer.body);
    }
    assert_eq!(
        send("GET", &one, "ours", String::new()).await.json()[0]["token_id"],
        id.as_str()
    );
}

async fn native(backend: Backend) {
    let house = House::open(backend).await;
    compare("native", NATIVE, &house.document("native"));
    house.try_all(NATIVE, |_| ADMIN.to_owned(), FRONTEND).await;
}

async fn control(backend: Backend) {
    let house = House::open(backend).await;
    let app = &house.server.app;
    let doors = app.control_doors(std::sync::Arc::new(String::new));
    let rows: Vec<_> = NATIVE.iter().chain(CONTROL).collect();
    let listed: Vec<Row> = rows
        .into_iter()
        .map(|one| {
            row(
                one.method,
                one.path,
                one.body,
                [one.nobody, one.powerless, one.foreign],
            )
        })
        .collect();
    compare("the control socket", &listed, &doors.documents["native"]);
    let mut wrong = Vec::new();
    for row in CONTROL {
        for (who, operator, expected) in [
            ("nobody", false, row.nobody),
            ("an operator who asks in another realm", true, row.powerless),
            ("an operator with a foreign credential", true, row.foreign),
        ] {
            let path = format!("{}?realm=piiano", house.path(row).trim_end_matches('?'));
            let path = if ["/v1/realms", "/v1/keys"].contains(&row.path)
                || row.method == "post" && row.path == "/v1/tokens"
            {
                house.path(row)
            } else {
                path
            };
            let mut request = Request::builder()
                .method(row.method.to_ascii_uppercase().as_str())
                .uri(path)
                .header("authorization", FRONTEND);
            if !row.body.is_empty() {
                request = request.header("content-type", "application/json");
            }
            let mut request = request.body(Body::from(row.body)).unwrap();
            if operator {
                request.extensions_mut().insert(Operator("ann".to_owned()));
            }
            let answer = doors.router.clone().oneshot(request).await.unwrap();
            let got = answer.status().as_u16();
            if got != expected {
                wrong.push(format!(
                    "{who}: {} {}: expected {expected}, got {got}",
                    row.method, row.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the documents on the wire say is what the doors are compared with.
async fn documents_are_served(backend: Backend) {
    let house = House::open(backend).await;
    for (name, rows) in [
        ("unleash", UNLEASH),
        ("piiano", PIIANO),
        ("infisical", INFISICAL),
        ("mindbridge", MINDBRIDGE),
        ("native", NATIVE),
    ] {
        let path = format!("/openapi/{name}.json");
        let document: Value = house.server.send("GET", &path, &[], "").await.json();
        assert_eq!(document["openapi"], "3.1.0", "{name}");
        let mut names = BTreeSet::new();
        for row in rows {
            let operation = &document["paths"][row.path][row.method];
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(names.insert(id.to_owned()), "{name}: `{id}` twice");
            assert!(
                operation["responses"].is_object(),
                "{name}: {} {}",
                row.method,
                row.path
            );
        }
    }
}
