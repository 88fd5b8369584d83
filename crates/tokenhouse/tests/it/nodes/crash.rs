//! A node that is killed and a database that crashes, both at once and under load: what was acknowledged is there, and what
//! was refused is not.
//!
//! The one thing to know: only a 4xx is a refusal. After a 503 or no answer at all nobody knows, and both are right.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use engine::entropy::SeededEntropy;
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::house::{Client, House, Node, below};

/// What one client knows of one token of its own.
struct Known {
    secret: String,
    /// The last expiry that was acknowledged.
    acknowledged: String,
    /// Later ones without an answer.
    open: Vec<String>,
}

/// The `turn`th expiry of a client: never the same twice.
fn expiry(number: usize, turn: usize) -> String {
    let (minutes, seconds) = (turn / 60 % 60, turn % 60);
    format!(
        "2{number:03}-01-01T{:02}:{minutes:02}:{seconds:02}.000Z",
        turn / 3600
    )
}

async fn write(
    nodes: Arc<Vec<Node>>,
    number: usize,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Known {
    let random = SeededEntropy::new(number as u64);
    let mut clients: Vec<Client> = nodes.iter().map(Client::of).collect();
    let mut known = Known {
        secret: clients[0].issue(&format!("crash-{number}")).await,
        acknowledged: String::new(),
        open: Vec::new(),
    };
    let mut turn = 0;
    while !over.load(SeqCst) {
        turn += 1;
        let at = expiry(number + 100, turn);
        let client = below(&random, clients.len());
        match clients[client].expire(&known.secret, &at).await {
            Some(200) => {
                known.acknowledged = at;
                known.open.clear();
                acknowledged.fetch_add(1, SeqCst);
            }
            Some(503) | None => {
                known.open.push(at);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => panic!("{other:?}"),
        }
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_a_node_and_the_database_crash() {
    let house = House::with_a_server();
    let nodes = Arc::new(house.three(&[]).await);
    let (over, acknowledged) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let (nodes, over) = (Arc::clone(&nodes), Arc::clone(&over));
        writers.spawn(write(nodes, number, over, Arc::clone(&acknowledged)));
    }
    let reaches = async |count: usize| {
        while acknowledged.load(SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    reaches(200).await;
    nodes[2].served.signal(Signal::KILL);
    house.server().stop_immediately();
    house.server().start_again();
    let before = acknowledged.load(SeqCst);
    // Nobody restarts the nodes that are left.
    let goes_on = tokio::time::timeout(Duration::from_mins(2), reaches(before + 200));
    goes_on.await.unwrap();
    over.store(true, SeqCst);

    let all = writers.join_all().await;
    for node in &nodes[..2] {
        let there: HashMap<String, String> =
            Client::of(node).expiries().await.into_iter().collect();
        for known in &all {
            let present = &there[&known.secret];
            assert!(
                *present == known.acknowledged || known.open.contains(present),
                "{present}, but {} was acknowledged, and open are {:?}",
                known.acknowledged,
                known.open
            );
        }
    }
}
