//! First credentials and what the settings of a start come to, on the real store; and a store that is away.
//!
//! The one thing to know: a start may be repeated, interrupted or doubled; the outcome is always one credential that
//! somebody knows.

use std::sync::Arc;

use engine::Error;
use engine::realm::RealmId;
use engine::secret::Secret;
use engine::selection::{Selection, Which};
use engine::verbs::update::Guard;
use serde_json::json;
use tokenhouse::config::Variables;
use web::dialects::{ALL, Dialect, Environment, FirstCredential, Mint, piiano};

use crate::app::TestServer;
use crate::backend::{Backend, on_each_store};
use crate::rig::Rig;

const ADMIN: &str = "*:*.unleash-admin-token";

fn environment(key: Option<&str>, dev: bool) -> Environment {
    let mut environment = Environment {
        dev,
        ..Environment::default()
    };
    if let Some(key) = key {
        let name = "PVAULT_SERVICE_ADMIN_API_KEY".to_owned();
        environment.variables.insert(name, key.to_owned());
    }
    environment
}

/// Starts the vault on what is there, as the program does, and starts it once more.
async fn vault(
    rig: &Rig,
    key: Option<&str>,
    dev: bool,
) -> (Arc<dyn Dialect>, Vec<FirstCredential>) {
    let environment = environment(key, dev);
    let dialect = piiano::open(&rig.engine, rig.realm, &environment).unwrap();
    let first = dialect.seed().await.unwrap();
    assert!(dialect.seed().await.unwrap().is_empty(), "once is enough");
    (dialect, first)
}

async fn is_good(rig: &Rig, key: &str) -> bool {
    let secret = Secret::parse(key).unwrap();
    match rig.engine.verify(rig.realm, &secret, None).await {
        Ok(_) => true,
        Err(Error::Unauthenticated(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

on_each_store! {
    a_vaults_key_is_generated_once_and_follows_its_setting,
    the_documented_key_is_dead_outside_development,
    eight_starts_at_once_make_one_first_token,
    eight_starts_at_once_put_one_setting_in_force,
    the_limit_of_tokens_holds_under_concurrency,
    a_store_that_is_away_is_a_503_in_every_dialects_words,
}

async fn a_vaults_key_is_generated_once_and_follows_its_setting(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (dialect, first) = vault(&rig, None, false).await;
    let generated = first[0].secret.expose().to_owned();
    assert!(is_good(&rig, &generated).await);
    assert!(!is_good(&rig, "pvaultauth").await);
    let minted = dialect.mint(Mint::default()).await.unwrap();
    let by_hand = minted.secret.expose().to_owned();
    rig.engine.issue(&rig.caller, minted.issue).await.unwrap();

    let rig = rig.reopened().await;
    let (_, first) = vault(&rig, None, false).await;
    assert!(first.is_empty());
    assert!(is_good(&rig, &generated).await);

    // A setting takes effect at the start, and so does a change of it, there and back.
    let rig = rig.reopened().await;
    let (_, first) = vault(&rig, Some("First-key-of-2026"), false).await;
    assert!(first.is_empty());
    assert!(is_good(&rig, "First-key-of-2026").await);
    assert!(!is_good(&rig, &generated).await);
    assert!(is_good(&rig, &by_hand).await, "other keys stay");
    for (now, former) in [
        ("Second-key-of-2026", "First-key-of-2026"),
        ("First-key-of-2026", "Second-key-of-2026"),
    ] {
        vault(&rig, Some(now), false).await;
        assert!(is_good(&rig, now).await);
        assert!(!is_good(&rig, former).await);
    }

    // What was revoked by hand is not brought back by a restart.
    let selection = Selection {
        secret: Some(Secret::parse("First-key-of-2026").unwrap()),
        which: Which::Any,
        ..Selection::default()
    };
    let revoked = rig
        .engine
        .revoke(&rig.caller, selection, Guard::Nothing)
        .await;
    assert_eq!(revoked.unwrap().tokens.len(), 1);
    let rig = rig.reopened().await;
    vault(&rig, Some("First-key-of-2026"), false).await;
    assert!(!is_good(&rig, "First-key-of-2026").await);
}

async fn the_documented_key_is_dead_outside_development(backend: Backend) {
    let rig = Rig::on(backend).await;
    vault(&rig, None, true).await;
    assert!(is_good(&rig, "pvaultauth").await);
    let rig = rig.reopened().await;
    let refused = piiano::open(
        &rig.engine,
        rig.realm,
        &environment(Some("pvaultauth"), false),
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("PVAULT_SERVICE_ADMIN_API_KEY")
    );
    // The store of a development server, opened in earnest: the key is there, but opens nothing.
    let environment = environment(None, false);
    let dialect = piiano::open(&rig.engine, rig.realm, &environment).unwrap();
    let doors = web::doors(
        &rig.engine,
        &[dialect],
        utoipa_axum::router::OpenApiRouter::new(),
    );
    let request = axum::extract::Request::get("/api/pvlt/1.0/system/info/version")
        .header("authorization", "Bearer pvaultauth")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = tower::ServiceExt::oneshot(doors.router, request)
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

/// Eight programs start at once on one store; what they have made and shown.
async fn eight_starts(
    rig: &Arc<Rig>,
    name: &'static str,
    environment: &Environment,
) -> (Vec<FirstCredential>, usize) {
    let opener = ALL.iter().find(|opener| opener.name == name).unwrap();
    let starts = (0..8).map(|_| {
        let dialect = (opener.open)(&rig.engine, rig.realm, environment).unwrap();
        tokio::spawn(async move { dialect.seed().await.unwrap() })
    });
    let mut shown = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        shown.extend(start.await.unwrap());
    }
    let (tokens, _) = rig.engine.list(&rig.caller, None, 500).await.unwrap();
    (shown, tokens.len())
}

async fn eight_starts_at_once_make_one_first_token(backend: Backend) {
    for opener in ALL {
        let rig = Arc::new(Rig::on(backend).await);
        let earnest = environment(None, false);
        let (shown, there) = eight_starts(&rig, opener.name, &earnest).await;
        assert_eq!((shown.len(), there), (1, 1), "{}", opener.name);
        let (again, there) = eight_starts(&rig, opener.name, &earnest).await;
        assert_eq!((again.len(), there), (0, 1), "{}", opener.name);
        // A signed one is not found by its digest.
        if opener.name != "infisical" {
            assert!(is_good(&rig, shown[0].secret.expose()).await);
        }
    }
}

async fn eight_starts_at_once_put_one_setting_in_force(backend: Backend) {
    let rig = Arc::new(Rig::on(backend).await);
    for key in ["First-key-of-2026", "Second-key-of-2026"] {
        let (shown, _) = eight_starts(&rig, "piiano", &environment(Some(key), false)).await;
        assert!(shown.is_empty());
        assert!(is_good(&rig, key).await);
    }
    assert!(!is_good(&rig, "First-key-of-2026").await);
    let (tokens, _) = rig.engine.list(&rig.caller, None, 500).await.unwrap();
    assert_eq!(tokens.len(), 2);
}

async fn the_limit_of_tokens_holds_under_concurrency(backend: Backend) {
    let limit = ("UNLEASH_API_TOKENS_LIMIT".to_owned(), "40".to_owned());
    let server = Arc::new(TestServer::start_on(backend, &[], &Variables::from([limit])).await);
    let creates = (0..80).map(|number| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let body = json!({"tokenName": format!("n{number}"), "type": "client"});
            let headers = [
                ("authorization", ADMIN),
                ("content-type", "application/json"),
            ];
            let answer = server
                .send("POST", "/api/admin/api-tokens", &headers, body.to_string())
                .await;
            answer.status.as_u16()
        })
    });
    let mut made = 0;
    for create in creates.collect::<Vec<_>>() {
        match create.await.unwrap() {
            201 => made += 1,
            400 => {}
            other => panic!("{other}"),
        }
    }
    // Three are there from the start.
    assert_eq!(made, 37);
}

async fn a_store_that_is_away_is_a_503_in_every_dialects_words(backend: Backend) {
    let server = TestServer::start_on(backend, &[], &Variables::new()).await;
    server.app.engine.close().await;
    for (path, authorization, field) in [
        ("/api/admin/api-tokens", ADMIN, "name"),
        (
            "/api/pvlt/1.0/ctl/collections",
            "Bearer pvaultauth",
            "error_code",
        ),
        ("/readyz", "", "title"),
    ] {
        let answer = server
            .send("GET", path, &[("authorization", authorization)], "")
            .await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.headers["retry-after"], "1", "{path}");
        assert!(answer.json()[field].is_string(), "{path}");
    }
    let secret = Secret::parse("x").unwrap();
    let verified = server
        .app
        .engine
        .verify(RealmId::SYSTEM, &secret, None)
        .await;
    assert_eq!(verified.unwrap_err(), Error::Unavailable);
}
