//! API tokens in the words of MindBridge under concurrency, and the one trail they leave.
//!
//! The one thing to know: the version is the only thing that many clients race for; whoever loses must see 409 and must have
//! changed nothing.

use std::sync::Arc;

use engine::caller::Caller;
use engine::event::{Event, Outcome, Subject};
use serde_json::{Value, json};
use tokenhouse::config::Variables;
use tokio::sync::Barrier;
use web::native::default_realm;

use crate::app::{Answer, TestServer};
use crate::backend::{Backend, on_each_store};

const CLIENTS: usize = 16;
const ROUNDS: i64 = 100;
const TOKENS: &str = "/api/v1/api-tokens";

async fn send(server: &TestServer, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [
        ("authorization", "Bearer mindbridge-dev-token"),
        ("content-type", "application/json"),
    ];
    server.send(method, path, &headers, body.to_string()).await
}

async fn create(server: &TestServer, name: &str) -> Value {
    let body = json!({
        "name": name,
        "expiry": "2027-01-01T00:00:00Z",
        "permissions": ["api.users.read"],
    });
    let made = send(server, "POST", TOKENS, &body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    made.json()
}

async fn events(server: &TestServer) -> Vec<Event> {
    let engine = &server.app.engine;
    let realm = engine
        .open_realm(&default_realm("mindbridge"))
        .await
        .unwrap();
    let caller = Caller::system(realm, "test");
    engine.events(&caller, None, 500).await.unwrap()
}

on_each_store! {
    of_sixteen_that_save_one_version_exactly_one_wins,
    of_sixteen_that_want_one_name_exactly_one_gets_it,
    each_change_leaves_one_event_and_refused_ones_leave_theirs,
}

async fn of_sixteen_that_save_one_version_exactly_one_wins(backend: Backend) {
    let server = Arc::new(TestServer::start_on(backend, &[], &Variables::new()).await);
    let made = create(&server, "raced").await;
    let path = format!("{TOKENS}/{}", made["id"].as_str().unwrap());
    let before = events(&server).await.len();
    let start = Arc::new(Barrier::new(CLIENTS));
    for round in 1..=ROUNDS {
        let clients = (0..CLIENTS).map(|client| {
            let (server, path, start) = (Arc::clone(&server), path.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                let body = json!({"version": round, "name": format!("{round} by {client}")});
                send(&server, "PUT", &path, &body).await
            })
        });
        let (mut won, mut lost) = (Vec::new(), 0);
        for client in clients.collect::<Vec<_>>() {
            let answer = client.await.unwrap();
            match answer.status.as_u16() {
                200 => won.push(answer.json()),
                409 => {
                    let current = &answer.json()["problems"][0]["suggestedValues"][0];
                    assert_eq!(*current, (round + 1).to_string().as_str());
                    lost += 1;
                }
                other => panic!("{other}: {:?}", answer.body),
            }
        }
        assert_eq!((won.len(), lost), (1, CLIENTS - 1), "round {round}");
        let now = send(&server, "GET", &path, &json!({})).await.json();
        assert_eq!(now["version"], round + 1);
        assert_eq!(now, won[0], "round {round}");
    }
    // The trail says the same: a change for each round, and all the others as refused.
    server.app.engine.flush_refusals(true).await;
    let mut trail = events(&server).await;
    trail.truncate(trail.len() - before);
    let (done, refused): (Vec<_>, Vec<_>) = trail
        .into_iter()
        .partition(|event| event.outcome == Outcome::Done);
    assert_eq!(done.len(), usize::try_from(ROUNDS).unwrap());
    for (event, version) in done.iter().zip((2..=ROUNDS + 1).rev()) {
        assert_eq!(event.changes.len(), 1);
        assert_eq!(event.changes[0].version, u64::try_from(version).unwrap());
    }
    let sum: u64 = refused.iter().map(|event| event.count).sum();
    assert_eq!(sum, u64::try_from(ROUNDS).unwrap() * (CLIENTS as u64 - 1));
    // Names that were not won are free, and so are those that were given up.
    for client in 0..CLIENTS {
        for round in [1, ROUNDS - 1] {
            create(&server, &format!("{round} by {client}")).await;
        }
    }
}

async fn of_sixteen_that_want_one_name_exactly_one_gets_it(backend: Backend) {
    let server = Arc::new(TestServer::start_on(backend, &[], &Variables::new()).await);
    let clients = (0..CLIENTS).map(|_| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let body = json!({
                "name": "wanted",
                "expiry": "2027-01-01T00:00:00Z",
                "permissions": ["api.users.read"],
            });
            send(&server, "POST", TOKENS, &body).await.status.as_u16()
        })
    });
    let mut statuses = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        statuses.push(client.await.unwrap());
    }
    statuses.sort_unstable();
    let wanted: Vec<u16> = [201].into_iter().chain([400; CLIENTS - 1]).collect();
    assert_eq!(statuses, wanted);
    let filter = json!({"name": "wanted"});
    let page = send(&server, "POST", &format!("{TOKENS}/query"), &filter).await;
    assert_eq!(page.json()["totalElements"], 1);
}

async fn each_change_leaves_one_event_and_refused_ones_leave_theirs(backend: Backend) {
    let server = TestServer::start_on(backend, &[], &Variables::new()).await;
    let before = events(&server).await.len();
    let made = create(&server, "traced").await;
    let path = format!("{TOKENS}/{}", made["id"].as_str().unwrap());
    let rename = json!({"version": 1, "name": "renamed"});
    assert_eq!(send(&server, "PUT", &path, &rename).await.status, 200);
    assert_eq!(send(&server, "PUT", &path, &rename).await.status, 409);
    let query = format!("{TOKENS}/query");
    let filter = json!({"colour": "red"});
    assert_eq!(send(&server, "POST", &query, &filter).await.status, 400);
    assert_eq!(send(&server, "DELETE", &path, &json!({})).await.status, 204);
    server.app.engine.flush_refusals(true).await;
    let mut events = events(&server).await;
    events.truncate(events.len() - before);
    events.reverse();
    let said: Vec<_> = events
        .iter()
        .filter(|event| event.outcome == Outcome::Done)
        .map(|event| event.verb.as_str())
        .collect();
    assert_eq!(said, ["token.issued", "token.updated", "record.deleted"]);
    let refused: Vec<_> = events
        .iter()
        .filter(|event| event.outcome == Outcome::Refused)
        .map(|event| (event.verb.as_str(), event.reason.as_deref()))
        .collect();
    // A refused query is no refused change.
    let put = ("PUT /api/v1/api-tokens/{id}", Some("409 INVALID_STATE"));
    assert_eq!(refused, [put]);
    let subjects: Vec<_> = events[0]
        .changes
        .iter()
        .map(|change| change.subject)
        .collect();
    assert!(subjects.contains(&Subject::Token) && subjects.contains(&Subject::Record));
    assert!(!serde_json::to_string(&events).unwrap().contains("mb_"));
}
