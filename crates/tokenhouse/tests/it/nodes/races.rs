//! Guarded and unguarded writes of one token through several nodes: none is lost.
//!
//! The one thing to know: what was acknowledged is looked for in the history of the token, where every change stands.

use std::collections::BTreeSet;

use engine::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::house::{Client, House};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_guarded_updates_through_two_nodes_exactly_one_wins() {
    let house = House::new();
    let nodes = house.three(&[]).await;
    let admin = house.first_credential("MindBridge");
    let mut one = Client::of(&nodes[0]);
    let mut two = Client::of(&nodes[1]);
    let bearer = format!("Bearer {admin}");
    let path = "/api/v1/api-tokens";
    // A token ends at most two years after it was made, whenever this runs.
    let next_year = SystemClock.now().checked_add_secs(365 * 86_400).unwrap();
    let expiry = format!("{}Z", &next_year.to_string()[..19]);
    let new = json!({
        "name": "raced",
        "expiry": expiry,
        "permissions": ["api.users.read"],
    });
    let (status, made) = one.ask("POST", path, &bearer, Some(new)).await.unwrap();
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap();
    let path = format!("{path}/{id}");
    for round in 0..50 {
        let (_, now) = one.ask("GET", &path, &bearer, None).await.unwrap();
        let version = &now["version"];
        let body = |who: &str| Some(json!({"name": format!("{who}-{round}"), "version": version}));
        let (first, second) = tokio::join!(
            one.ask("PUT", &path, &bearer, body("one")),
            two.ask("PUT", &path, &bearer, body("two")),
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        let winner = match (first.0, second.0) {
            (200, 409) => "one",
            (409, 200) => "two",
            other => panic!("round {round}: {other:?}"),
        };
        let (_, after) = two.ask("GET", &path, &bearer, None).await.unwrap();
        assert_eq!(after["name"], format!("{winner}-{round}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_acknowledged_updates_are_all_there() {
    let house = House::new();
    let nodes = house.three(&[]).await;
    let secret = Client::of(&nodes[0]).issue("hot").await;
    let mut writers = JoinSet::new();
    for number in 0..8_usize {
        let mut client = Client::of(&nodes[number % nodes.len()]);
        let secret = secret.clone();
        writers.spawn(async move {
            let mut written = Vec::new();
            for turn in 0..50 {
                let at = format!("21{number:02}-01-01T00:{turn:02}:00.000Z");
                assert_eq!(client.expire(&secret, &at).await, Some(200));
                written.push(at);
            }
            written
        });
    }
    let written: BTreeSet<String> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(written.len(), 400);
    let changes = house.sql("SELECT after FROM change WHERE after LIKE '%expires_at%'");
    let there: BTreeSet<String> = changes
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|after| after["expires_at"].as_str().map(str::to_owned))
        .map(|at| format!("{}Z", &at[..23]))
        .collect();
    let lost: Vec<_> = written.difference(&there).collect();
    assert!(
        lost.is_empty(),
        "{} are lost, as {:?}",
        lost.len(),
        lost.first()
    );
}
