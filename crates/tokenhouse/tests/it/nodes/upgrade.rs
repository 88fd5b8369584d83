//! A new version beside the one before it: its migrations let the nodes of the former schema go on.
//!
//! The one thing to know: the former program is the real one, built from sources that are kept for this, so these tests are
//! run by `upgrade/run.sh`, which builds it. Both directions count: whoever writes, the other must not answer with what was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::house::{ADMIN, Client, House, Node};
use super::rotation::{add_keys, has_switched, soon};
use super::starts::program;
use crate::cli::former_program;

const PAST: &str = "2020-01-01T00:00:00Z";
const FUTURE: &str = "2999-01-01T00:00:00Z";

/// Makes and changes tokens through each of two nodes, and asks the other each time.
async fn agree(one: &Node, other: &Node, rounds: usize) {
    let mut clients = [Client::of(one), Client::of(other)];
    for round in 0..rounds {
        let [writer, reader] = &mut clients;
        let secret = writer.issue(&format!("agreed-{round}")).await;
        assert!(reader.is_good(&secret).await, "fresh");
        for (at, good) in [(PAST, false), (FUTURE, true)] {
            assert_eq!(writer.expire(&secret, at).await, Some(200));
            assert_eq!(reader.is_good(&secret).await, good, "{at}");
        }
        assert_eq!(writer.delete(&secret).await, Some(200));
        assert!(!reader.is_good(&secret).await, "deleted");
        clients.swap(0, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of the schema before: upgrade/run.sh"]
async fn nodes_of_the_schema_before_go_on_beside_new_ones() {
    let house = House::new();
    let former = house.node_of(former_program, &[]).await;
    let second = house.node_of(former_program, &[]).await;
    agree(&former, &second, 10).await;
    let kept = Client::of(&former).issue("kept").await;
    let before = migrations(&house);

    // Its callers notice nothing while the new one starts and migrates.
    let over = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let traffic = {
        let (over, written) = (Arc::clone(&over), Arc::clone(&written));
        let mut client = Client::of(&former);
        tokio::spawn(async move {
            while !over.load(SeqCst) {
                let secret = client.issue("meanwhile").await;
                assert!(client.is_good(&secret).await);
                assert_eq!(client.expire(&secret, PAST).await, Some(200));
                assert!(!client.is_good(&secret).await);
                written.fetch_add(1, SeqCst);
            }
        })
    };
    let new = house.node(&[]).await;
    assert!(migrations(&house) > before, "there is something to migrate");
    agree(&former, &new, 20).await;
    over.store(true, SeqCst);
    traffic.await.unwrap();
    assert!(written.load(SeqCst) > 0);

    // One that ends comes back on the migrated store, whichever way.
    let former = former.replaced().await;
    agree(&new, &former, 20).await;
    assert!(Client::of(&former).is_good(&kept).await);
    second.served.signal(rustix::process::Signal::TERM);
    drop(second);
    let new = new.replaced().await;
    agree(&former, &new, 10).await;
    drop(former);

    // And the last of them gone, the new ones are among themselves.
    let other = house.node(&[]).await;
    agree(&new, &other, 10).await;
    let mut client = Client::of(&other);
    assert!(client.is_good(&kept).await);
    assert_eq!(client.expire(&kept, PAST).await, Some(200));
    assert!(!Client::of(&new).is_good(&kept).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of the schema before: upgrade/run.sh"]
async fn keys_are_added_when_the_last_former_node_is_gone_and_none_comes_back() {
    let house = House::new();
    let former = house.node_of(former_program, &[]).await;
    let new = house.node(&[]).await;
    tokio::task::block_in_place(|| add_keys(&house));
    // Beside it all keys must be the same: it would not find what is digested under another one.
    let mut serve = vec![
        "serve".to_owned(),
        "--listen".to_owned(),
        "127.0.0.1:0".to_owned(),
    ];
    serve.extend(house.arguments(house.server().port()));
    let environment = [("INIT_ADMIN_API_TOKENS", ADMIN)];
    let (code, said) = tokio::task::block_in_place(|| program(&serve, &environment));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("earlier version"), "{said}");
    agree(&former, &new, 3).await;
    let kept = Client::of(&former).issue("kept").await;
    former.served.stop(rustix::process::Signal::TERM);
    let new = new.restarted().await;
    soon("the switch", || has_switched(&house)).await;
    assert!(Client::of(&new).is_good(&kept).await);

    // It would take the last key of its file for the active one, whatever that is.
    let said = tokio::task::block_in_place(|| {
        let mut command = former_program();
        let output = command.args(&serve).envs(environment).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    });
    assert!(said.contains("the store belongs to keyring"), "{said}");
    let fresh = Client::of(&new).issue("fresh").await;
    assert!(Client::of(&new).is_good(&fresh).await);
}

/// How many migrations the store has seen.
fn migrations(house: &House) -> usize {
    let count = house.sql("SELECT count(*) FROM migration");
    count.parse().unwrap()
}
