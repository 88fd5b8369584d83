//! Nobody sees what was before a returned write, and everybody knows a fresh token.
//!
//! The one thing to know: each write is followed at once by a question to every other node, on connections that are open
//! already, so that nothing but the protocol can have made it true in time.

use std::sync::Arc;

use engine::entropy::SeededEntropy;
use tokio::task::JoinSet;

use super::house::{Client, House, Node, below};

const PAST: &str = "2020-01-01T00:00:00Z";
const FUTURE: &str = "2999-01-01T00:00:00Z";

/// What one client has counted.
#[derive(Default, Debug, PartialEq, Eq)]
struct Counts {
    writes: usize,
    stale: usize,
    fresh: usize,
    refused: usize,
}

/// Makes tokens and changes them through random nodes, and asks the others each time.
async fn write_and_ask(nodes: Arc<Vec<Node>>, number: u64, rounds: usize) -> Counts {
    let random = SeededEntropy::new(number);
    let mut clients: Vec<Client> = nodes.iter().map(Client::of).collect();
    let mut counts = Counts::default();
    for round in 0..rounds {
        let at = below(&random, clients.len());
        let secret = clients[at].issue(&format!("client-{number}-{round}")).await;
        counts.fresh += 1;
        for client in &mut clients {
            counts.refused += usize::from(!client.is_good(&secret).await);
        }
        for _ in 0..3 {
            let at = below(&random, clients.len());
            let (answer, good, gone) = match below(&random, 5) {
                0 | 1 => (clients[at].expire(&secret, PAST).await, false, false),
                2 | 3 => (clients[at].expire(&secret, FUTURE).await, true, false),
                _ => (clients[at].delete(&secret).await, false, true),
            };
            assert_eq!(answer, Some(200));
            counts.writes += 1;
            for (other, client) in clients.iter_mut().enumerate() {
                if other != at {
                    counts.stale += usize::from(client.is_good(&secret).await != good);
                }
            }
            if gone {
                break;
            }
        }
    }
    counts
}

async fn by_eight_clients(nodes: &Arc<Vec<Node>>, rounds: usize) -> Counts {
    let mut clients = JoinSet::new();
    for number in 0..8 {
        clients.spawn(write_and_ask(Arc::clone(nodes), number, rounds));
    }
    let mut all = Counts::default();
    for one in clients.join_all().await {
        all.writes += one.writes;
        all.stale += one.stale;
        all.fresh += one.fresh;
        all.refused += one.refused;
    }
    println!("{all:?}");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_in_force_on_every_node_when_its_call_returns() {
    let house = House::new();
    let nodes = Arc::new(house.three(&[]).await);
    let counts = by_eight_clients(&nodes, 125).await;
    assert!(
        counts.writes >= 1_000 && counts.fresh >= 1_000,
        "{counts:?}"
    );
    assert_eq!((counts.stale, counts.refused), (0, 0), "{counts:?}");
    // What is over leaves nothing behind, while the nodes are there to take it away.
    let left = "SELECT count(*) FROM hold";
    for _ in 0..100 {
        if house.sql(left) == "0" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("holds stay: {}", house.sql(left));
}

/// So many tokens are in use with an index of a hundredth of that.
const TOKENS_IN_USE: usize = 10_000;
const FILLERS: usize = 50;
const SMALL: &str = "live_entries=100";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_that_is_far_too_small_changes_nothing() {
    let house = House::new();
    let settings = [
        "--set",
        SMALL,
        "--set",
        "environment.UNLEASH_API_TOKENS_LIMIT=100000",
    ];
    let nodes = Arc::new(house.three(&settings).await);
    let mut fillers = JoinSet::new();
    // Through one node, so that many of them share a transaction.
    for number in 0..FILLERS {
        let mut client = Client::of(&nodes[0]);
        fillers.spawn(async move {
            let mut secrets = Vec::new();
            for token in 0..TOKENS_IN_USE / FILLERS {
                secrets.push(client.issue(&format!("filler-{number}-{token}")).await);
            }
            secrets
        });
    }
    let in_use: Vec<String> = fillers.join_all().await.into_iter().flatten().collect();
    assert_eq!(in_use.len(), TOKENS_IN_USE);
    // Each of them is asked for while the others are written, so that what is remembered goes and comes all the time.
    let in_use = Arc::new(in_use);
    let mut readers = JoinSet::new();
    for number in 0..nodes.len() {
        let mut client = Client::of(&nodes[number]);
        let in_use = Arc::clone(&in_use);
        readers.spawn(async move {
            let mut refused = 0;
            for secret in in_use.iter().skip(number).step_by(3) {
                refused += usize::from(!client.is_good(secret).await);
            }
            refused
        });
    }
    let counts = by_eight_clients(&nodes, 20).await;
    assert_eq!((counts.stale, counts.refused), (0, 0), "{counts:?}");
    let refused: usize = readers.join_all().await.into_iter().sum();
    assert_eq!(refused, 0, "of those that nobody changes");
}
