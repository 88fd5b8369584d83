//! New keys come into use while the nodes go on: restarted one after the other, no fresh token is refused.
//!
//! The one thing to know: what is asked for is a state, in the store's own rows: which keys are listed and active, and under
//! which one a value was sealed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::house::{ADMIN, Client, House};
use super::starts::{keyring_of, program};

const VAULT: &str = "Bearer Rotation-test-admin-key-1";
const COLLECTION: &str = "/api/pvlt/1.0/data/collections/customers";
const SETTINGS: [&str; 2] = [
    "--set",
    "environment.PVAULT_SERVICE_ADMIN_API_KEY=Rotation-test-admin-key-1",
];

/// How soon the nodes must have gone over once nothing is in the way; most of it is for a machine that does much else.
const SOON: Duration = Duration::from_secs(10);

/// The nodes that answer at present.
type Present = Arc<RwLock<Vec<Client>>>;

/// What the clients have counted.
#[derive(Default, Debug)]
struct Counts {
    verified: AtomicUsize,
    refused: AtomicUsize,
    revealed: AtomicUsize,
    wrong: AtomicUsize,
}

impl Client {
    /// A new data token for this value.
    async fn tokenize(&mut self, email: &str) -> Option<String> {
        let body = json!([{ "type": "randomized", "object": { "fields": { "email": email } } }]);
        let path = format!("{COLLECTION}/tokens?reason=AppFunctionality");
        let (status, made) = self.ask("POST", &path, VAULT, Some(body)).await?;
        assert_eq!(status, 200, "{made}");
        Some(made[0]["token_id"].as_str().unwrap().to_owned())
    }

    /// The value behind a data token.
    async fn reveal(&mut self, token: &str) -> Option<Value> {
        let path = format!("{COLLECTION}/tokens?token_ids={token}&reason=AppFunctionality");
        let (status, found) = self.ask("GET", &path, VAULT, None).await?;
        assert_eq!(status, 200, "{found}");
        Some(found[0]["fields"]["email"].clone())
    }

    /// The status of a verify; `None` if the node did not answer.
    async fn verify(&mut self, secret: &str) -> Option<u16> {
        let answer = self.ask("GET", "/api/client/features", secret, None).await;
        answer.map(|(status, _)| status)
    }

    /// A fresh secret, if the node answered.
    async fn mint(&mut self, name: &str) -> Option<String> {
        let body = json!({ "tokenName": name, "type": "client", "environment": "development",
            "projects": ["default"] });
        let path = "/api/admin/api-tokens";
        let (status, made) = self.ask("POST", path, ADMIN, Some(body)).await?;
        assert_eq!(status, 201, "{made}");
        Some(made["secret"].as_str().unwrap().to_owned())
    }
}

/// Makes tokens of both families through each node in turn, and asks all nodes for them at once.
async fn traffic(present: Present, number: usize, over: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut round = 0;
    while !over.load(SeqCst) {
        round += 1;
        let mut clients = {
            let present = present.read().await;
            present.iter().map(Client::again).collect::<Vec<_>>()
        };
        let at = round % clients.len();
        let name = format!("meanwhile-{number}-{round}");
        if let Some(secret) = clients[at].mint(&name).await {
            for client in &mut clients {
                // A node that is being stopped does not answer.
                let Some(status) = client.verify(&secret).await else {
                    continue;
                };
                counts.verified.fetch_add(1, SeqCst);
                counts.refused.fetch_add(usize::from(status != 200), SeqCst);
            }
            for client in &mut clients {
                let ended = client.expire(&secret, "2999-01-01T00:00:00Z").await;
                counts.wrong.fetch_add(
                    usize::from(ended.is_some_and(|status| status != 200)),
                    SeqCst,
                );
            }
        }
        let email = format!("{name}@example.com");
        if let Some(token) = clients[at].tokenize(&email).await {
            for client in &mut clients {
                let Some(value) = client.reveal(&token).await else {
                    continue;
                };
                counts.revealed.fetch_add(1, SeqCst);
                counts
                    .wrong
                    .fetch_add(usize::from(value != email.as_str()), SeqCst);
            }
        }
    }
}

/// What the store says of its keys.
struct Listed {
    digest: Vec<u64>,
    active: (u64, u64),
}

fn listed(house: &House) -> Listed {
    let body = house.sql("SELECT body FROM record WHERE kind = 'keyring'");
    let body: Value = serde_json::from_str(&body).unwrap();
    let digest = body["keys"]["digest"].as_array().unwrap().iter();
    let active = |kind: &str| body["active"][kind].as_u64().unwrap();
    Listed {
        digest: digest.map(|key| key["id"].as_u64().unwrap()).collect(),
        active: (active("digest"), active("sealing")),
    }
}

pub(super) fn has_switched(house: &House) -> bool {
    listed(house).active == (2, 2)
}

/// The id of the key that the value behind a data token is sealed under.
fn sealed_under(house: &House, token: &str) -> String {
    house.sql(&format!(
        "SELECT encode(substring(sealed FROM 2 FOR 4), 'hex') FROM value WHERE external_id = '{token}'"
    ))
}

/// Waits for what must come to be soon.
pub(super) async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(SOON, waiting).await;
    assert!(came.is_ok(), "{what} has not come to be");
}

/// Adds keys to the file of the house, and keeps what it was before under another name.
pub(super) fn add_keys(house: &House) -> PathBuf {
    let path = PathBuf::from(keyring_of(house));
    let before = path.with_extension("before");
    std::fs::copy(&path, &before).unwrap();
    let words = ["keyring", "add", "--keyring", path.to_str().unwrap()];
    let (code, said) = program(&words.map(str::to_owned), &[]);
    assert_eq!(code, Some(0), "{said}");
    before
}

/// What a command says of the store of this house, with this keyring.
fn with_keyring(house: &House, keyring: &std::path::Path, words: &[&str]) -> (Option<i32>, String) {
    let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    arguments.extend(house.arguments(house.server().port()));
    let at = arguments.iter().position(|word| word == "--keyring");
    arguments[at.unwrap() + 1] = keyring.display().to_string();
    arguments.extend(SETTINGS.map(str::to_owned));
    program(&arguments, &[("INIT_ADMIN_API_TOKENS", ADMIN)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_the_nodes_go_on() {
    let house = House::new();
    let mut nodes = house.three(&SETTINGS).await;
    let mut first = Client::of(&nodes[0]);
    let schema = json!({ "name": "customers", "type": "DATA",
        "properties": [{ "name": "email", "data_type_name": "EMAIL" }] });
    let path = "/api/pvlt/1.0/ctl/collections";
    let made = first.ask("POST", path, VAULT, Some(schema)).await;
    assert_eq!(made.map(|(status, _)| status), Some(200));
    let kept_secret = first.issue("kept").await;
    let kept_value = first.tokenize("kept@example.com").await.unwrap();
    assert_eq!(sealed_under(&house, &kept_value), "00000001");

    let present: Present = Arc::new(RwLock::new(nodes.iter().map(Client::of).collect()));
    let (over, counts) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Counts::default()),
    );
    let mut clients = JoinSet::new();
    for number in 0..3 {
        let (over, counts) = (Arc::clone(&over), Arc::clone(&counts));
        clients.spawn(traffic(Arc::clone(&present), number, over, counts));
    }

    let before = tokio::task::block_in_place(|| add_keys(&house));
    for number in 0..nodes.len() {
        let keys = listed(&house);
        assert_eq!((keys.digest, keys.active), (vec![1], (1, 1)), "too early");
        let node = nodes.remove(0);
        present.write().await.remove(0);
        let node = node.restarted().await;
        present.write().await.push(Client::of(&node));
        nodes.push(node);
        println!("restarted {}, {counts:?}", number + 1);
    }
    soon("the switch", || has_switched(&house)).await;
    assert_eq!(listed(&house).digest, [1, 2]);
    for node in &nodes {
        let mut client = Client::of(node);
        let sealing = async {
            loop {
                let token = client.tokenize("new@example.com").await.unwrap();
                if sealed_under(&house, &token) == "00000002" {
                    break;
                }
            }
        };
        let went_over = tokio::time::timeout(SOON, sealing).await;
        assert!(went_over.is_ok(), "still sealed under the old key");
    }
    over.store(true, SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    println!("{counts:?}");
    assert!(
        counts.verified.load(SeqCst) > 20 && counts.revealed.load(SeqCst) > 20,
        "{counts:?}"
    );
    assert_eq!(
        (counts.refused.load(SeqCst), counts.wrong.load(SeqCst)),
        (0, 0),
        "{counts:?}"
    );

    // What was there before works everywhere, and what is new too.
    let fresh = Client::of(&nodes[0]).issue("fresh").await;
    for node in &nodes {
        let mut client = Client::of(node);
        assert!(client.is_good(&kept_secret).await && client.is_good(&fresh).await);
        assert_eq!(
            client.reveal(&kept_value).await.unwrap(),
            "kept@example.com"
        );
    }

    tokio::task::block_in_place(|| {
        let (code, said) = with_keyring(&house, &before, &["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("lacks keys") && said.contains("digest key 2, sealing key 2"),
            "{said}"
        );
        assert!(
            said.contains("hint") && said.contains("keyring.before"),
            "{said}"
        );
        let (code, said) = with_keyring(&house, &before, &["token", "list"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("digest key 2"), "{said}");
        let (code, said) = with_keyring(&house, &before, &["keyring", "show"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.matches("active").count(), 2, "{said}");
        assert_eq!(said.matches("3 of 3").count(), 4, "{said}");
    });
}

/// Sends a verify, also to a node that stands still: the system keeps it for the node.
async fn ask_ahead(address: &str, secret: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /api/client/features HTTP/1.1\r\nhost: x\r\nauthorization: {secret}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_given_up_and_lacks_the_new_keys_says_so_and_ends() {
    let house = House::new();
    let stopped = house.node(&SETTINGS).await;
    let second = house.node(&SETTINGS).await;
    let mut client = Client::of(&stopped);
    let kept = client.issue("kept").await;
    tokio::task::block_in_place(|| add_keys(&house));
    stopped.served.signal(Signal::STOP);
    let second = second.restarted().await;
    // It is waited for as long as it might answer; a write that touches a token finds out that it does not.
    let mut other = Client::of(&second);
    assert_eq!(other.expire(&kept, "2999-01-01T00:00:00Z").await, Some(200));
    soon("the switch", || has_switched(&house)).await;
    let fresh = other.issue("fresh").await;
    assert!(other.is_good(&fresh).await);

    // Asked before it goes on, so that it has to answer before it can have looked which keys are in use. More than once:
    // those that it has not come to when it ends are only cut off.
    let mut asked = Vec::new();
    for _ in 0..8 {
        asked.push(ask_ahead(&stopped.address(), &fresh).await);
    }
    stopped.served.signal(Signal::CONT);
    // It cannot know this secret, and knows that.
    let mut refused = 0;
    for mut stream in asked {
        let mut answer = String::new();
        let read = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await;
        if read.expect("it goes on").is_ok_and(|bytes| bytes > 0) {
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            refused += 1;
        }
    }
    assert!(refused > 0);
    while let Some(status) = client.verify(&fresh).await {
        assert_eq!(status, 503);
    }
    let (code, log) = tokio::task::block_in_place(|| stopped.served.ended());
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("digest key 2, sealing key 2"), "{log}");
    assert!(other.is_good(&kept).await && other.is_good(&fresh).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_a_memory_are_waited_for_too() {
    let house = House::new();
    let settings = ["--set", "live_entries=0"];
    let (one, other) = (house.node(&settings).await, house.node(&settings).await);
    tokio::task::block_in_place(|| add_keys(&house));
    let one = one.restarted().await;
    assert_eq!(
        house.sql("SELECT count(*) FROM node WHERE NOT remembers"),
        "2"
    );
    assert_eq!(listed(&house).digest, [1]);
    let secret = Client::of(&one).issue("between").await;
    assert!(Client::of(&other).is_good(&secret).await);
    let other = other.restarted().await;
    soon("the switch", || has_switched(&house)).await;
    let fresh = Client::of(&other).issue("fresh").await;
    assert!(Client::of(&one).is_good(&fresh).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_keys_under_one_id_never_come_into_use() {
    let house = House::new();
    let (one, old) = (house.node(&[]).await, house.node(&[]).await);
    let path = PathBuf::from(keyring_of(&house));
    // Somebody has added keys to each copy of the file, instead of copying the file. (There is a node with the old one all
    // the time: none would be waited for while it is down.)
    let before = tokio::task::block_in_place(|| add_keys(&house));
    let one = one.restarted().await;
    std::fs::copy(&before, &path).unwrap();
    tokio::task::block_in_place(|| add_keys(&house));
    let other = house.node(&[]).await;
    old.served.stop(Signal::TERM);
    // One more looks at its start whether there is something that all hold.
    let third = house.node(&[]).await;
    assert_eq!(listed(&house).digest, [1]);
    let secret = Client::of(&one).issue("between").await;
    assert!(Client::of(&other).is_good(&secret).await);
    // With one file it goes on.
    let one = one.restarted().await;
    soon("the switch", || has_switched(&house)).await;
    assert!(Client::of(&one).is_good(&secret).await);
    assert!(Client::of(&third).is_good(&secret).await);
}
