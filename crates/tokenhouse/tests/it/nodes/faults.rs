//! A node that hangs, dies or is cut off delays a write, and nothing else: it never answers something old.
//!
//! The one thing to know: the write happens while the node is away, and the node is asked at the very moment it is back.

use std::time::Duration;

use rustix::process::Signal;

use tokio::time::timeout;

use super::house::{Client, House};

const PAST: &str = "2020-01-01T00:00:00Z";

/// What a node that hangs can cost: the silence before it is expelled, its lease, and what a busy machine adds.
const DELAY_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_answers_nothing_old_when_it_goes_on() {
    let house = House::new();
    let nodes = house.three(&[]).await;
    let mut clients: Vec<Client> = nodes.iter().map(Client::of).collect();
    for round in 0..6 {
        let (stopped, writer) = (round % 3, (round + 1) % 3);
        let secret = clients[writer].issue(&format!("round-{round}")).await;
        assert!(clients[stopped].is_good(&secret).await, "it is in memory");
        nodes[stopped].served.signal(Signal::STOP);
        let written = timeout(DELAY_MAX, clients[writer].expire(&secret, PAST)).await;
        assert_eq!(written, Ok(Some(200)), "it waits for nobody for ever");
        nodes[stopped].served.signal(Signal::CONT);
        assert!(!clients[stopped].is_good(&secret).await, "round {round}");
        let fresh = clients[writer].issue(&format!("fresh-{round}")).await;
        assert!(clients[stopped].is_good(&fresh).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_was_stopped_writes_nothing_unseen_when_it_goes_on() {
    let house = House::new();
    let nodes = house.three(&[]).await;
    let mut clients: Vec<Client> = nodes.iter().map(Client::of).collect();
    for round in 0..4 {
        let secret = clients[1].issue(&format!("round-{round}")).await;
        assert!(clients[2].is_good(&secret).await);
        // Stopped somewhere in the middle of a write, and continued after the others have gone on without it.
        let mut slow = Client::of(&nodes[0]);
        let path = secret.clone();
        let writing = tokio::spawn(async move { slow.expire(&path, PAST).await });
        tokio::time::sleep(Duration::from_millis(3 * round)).await;
        nodes[0].served.signal(Signal::STOP);
        let other = clients[1].issue(&format!("other-{round}")).await;
        assert_eq!(clients[1].expire(&other, PAST).await, Some(200));
        assert!(!clients[2].is_good(&other).await);
        let _ = clients[2].is_good(&secret).await;
        nodes[0].served.signal(Signal::CONT);
        assert_eq!(writing.await.unwrap(), Some(200));
        assert!(!clients[2].is_good(&secret).await, "round {round}");
        assert!(!clients[1].is_good(&secret).await, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_killed_delays_one_write_and_comes_back() {
    let house = House::new();
    let mut nodes = house.three(&[]).await;
    for round in 0..3 {
        let victim = nodes.remove(0);
        let mut before = Client::of(&victim);
        let mut writer = Client::of(&nodes[0]);
        let secret = writer.issue(&format!("round-{round}")).await;
        assert!(before.is_good(&secret).await);
        let back = victim.replaced().await;
        assert_eq!(writer.expire(&secret, PAST).await, Some(200));
        let mut after = Client::of(&back);
        assert!(!after.is_good(&secret).await, "round {round}");
        let fresh = writer.issue(&format!("fresh-{round}")).await;
        assert!(after.is_good(&fresh).await);
        nodes.push(back);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_refuses_instead_of_remembering() {
    let house = House::new();
    let nodes = house.three(&[]).await;
    let mut clients: Vec<Client> = nodes.iter().map(Client::of).collect();
    for round in 0..2 {
        let secret = clients[1].issue(&format!("round-{round}")).await;
        let keeps = clients[1].issue(&format!("keeps-{round}")).await;
        assert!(clients[0].is_good(&secret).await && clients[0].is_good(&keeps).await);
        nodes[0].proxy.cut();
        assert_eq!(clients[1].expire(&secret, PAST).await, Some(200));
        // Its lease has run out before the write returned: it has to ask, and cannot.
        let features = "/api/client/features";
        let answer = clients[0].ask("GET", features, &secret, None).await;
        assert!(
            !matches!(answer, Some((200, _))),
            "round {round}: {answer:?}"
        );
        nodes[0].proxy.mend();
        let mut again = Client::of(&nodes[0]);
        let mut status = 503;
        for _ in 0..100 {
            let answer = again.ask("GET", features, &keeps, None).await;
            status = answer.map_or(0, |(status, _)| status);
            if status == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(status, 200, "it comes back without a restart");
        assert!(!again.is_good(&secret).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_only_a_later_version_could_read_stands_for_everything_and_goes_like_others() {
    let house = House::new();
    let nodes = house.three(&[]).await;
    let mut clients: Vec<Client> = nodes.iter().map(Client::of).collect();
    let secret = clients[0].issue("held").await;
    house.sql(
        "INSERT INTO hold (realm, id, process, keys) \
         SELECT realm, gen_random_uuid(), gen_random_uuid(), '\\x00ff' FROM token LIMIT 1",
    );
    for (at, good) in [(PAST, false), ("2999-01-01T00:00:00Z", true), (PAST, false)] {
        assert_eq!(clients[0].expire(&secret, at).await, Some(200));
        for client in &mut clients {
            assert_eq!(client.is_good(&secret).await, good, "{at}");
        }
    }
    let gone = async {
        while house.sql("SELECT count(*) FROM hold") != "0" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_mins(1), gone)
        .await
        .expect("it goes");
}
