//! Clocks that differ: a node whose clock is not the database's answers from the database, never from memory.
//!
//! The one thing to know: in the database of such a test another function stands before the server's own clock, so that
//! a real node finds itself ahead or behind. Whether it answers from memory shows in a row that is changed behind its back:
//! memory does not know of it.

use std::time::Duration;

use engine::Error;
use rustix::process::Signal;

use super::house::{Client, House};
use crate::backend::Backend;
use crate::rig::{Rig, Time};

/// Sets the database's clock off by so much.
fn shift(house: &House, millis: i64) {
    house.sql(&format!(
        "CREATE OR REPLACE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
         'SELECT pg_catalog.clock_timestamp() + {millis} * interval ''1 millisecond'''"
    ));
}

fn house_with_a_clock() -> House {
    let house = House::new();
    house.sql("CREATE SCHEMA shifted");
    house.sql(&format!(
        "ALTER DATABASE {} SET search_path = public, shifted, pg_catalog",
        house.database
    ));
    shift(&house, 0);
    house
}

/// A token that is asked for again and again while its row is changed.
struct Watched<'h> {
    house: &'h House,
    client: Client,
    secret: String,
}

impl Watched<'_> {
    fn set_state(&self, state: &str) {
        let changed = self.house.sql(&format!(
            "UPDATE token SET state = '{state}' WHERE name = 'watched' RETURNING 1"
        ));
        assert_eq!(changed, "1");
    }

    /// Whether the node answers from memory: the same both times, although the row is another.
    async fn is_from_memory(&mut self) -> bool {
        self.set_state("active");
        let before = self.client.is_good(&self.secret).await;
        self.set_state("revoked");
        let after = self.client.is_good(&self.secret).await;
        before == after
    }

    /// Returns when every lease that was asked for before is over, and others were asked for.
    async fn outlives_its_lease(&self) {
        let renewals = || -> i64 { self.house.sql("SELECT renewals FROM node").parse().unwrap() };
        // Four fit into one lease.
        let enough = renewals() + 5;
        for _ in 0..300 {
            if renewals() >= enough {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not renew");
    }

    async fn waits_until(&mut self, from_memory: bool) {
        for _ in 0..300 {
            if self.is_from_memory().await == from_memory {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("memory answers: not {from_memory} for 15 s and longer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_off_asks_the_database_until_it_is_right() {
    let house = house_with_a_clock();
    shift(&house, -2_000);
    let node = house.node(&[]).await;
    let mut client = Client::of(&node);
    let secret = client.issue("watched").await;
    let mut watched = Watched {
        house: &house,
        client,
        secret,
    };
    for _ in 0..10 {
        assert!(!watched.is_from_memory().await, "it has no lease");
    }
    shift(&house, 0);
    watched.waits_until(true).await;
    // Less than what is allowed changes nothing; more ends it, to either side.
    shift(&house, 100);
    watched.outlives_its_lease().await;
    watched.waits_until(true).await;
    shift(&house, 5_000);
    watched.waits_until(false).await;
    for _ in 0..10 {
        assert!(!watched.is_from_memory().await, "it has lost its lease");
    }
    let mut client = watched.client;
    assert_eq!(client.ask("GET", "/readyz", "", None).await.unwrap().0, 200);
    let served = node.served;
    let ended = tokio::task::spawn_blocking(move || served.stop(Signal::TERM));
    let (_, log) = ended.await.unwrap();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("the clock of this machine"))
        .collect();
    // Once each time that it went off, however often it was noticed, and not for what is allowed.
    assert_eq!(said.len(), 2, "{log}");
    let [ahead, behind] = said[..] else {
        unreachable!("there are two")
    };
    assert!(
        ahead.contains("milliseconds") && ahead.contains("=1"),
        "{ahead}"
    );
    assert!(
        behind.contains("milliseconds") && behind.contains("=-4"),
        "{behind}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ends_the_lease_before_the_next_answer() {
    let rig = Rig::set_up(Backend::Postgres, 1_000, Time::Jumps).await;
    let (_, secret) = rig.issue("jumps", &[]).await;
    let verify = async || match rig.engine.verify(rig.realm, &secret, None).await {
        Ok(_) => true,
        Err(Error::Unauthenticated(_)) => false,
        Err(error) => panic!("{error}"),
    };
    let set_state = |state: &str| {
        rig.tamper(&format!(
            "UPDATE token SET state = '{state}' WHERE name = 'jumps'"
        ));
    };
    // A machine that does much else may let a lease run out.
    for _ in 0..100 {
        set_state("active");
        let before = verify().await;
        set_state("revoked");
        if verify().await == before {
            rig.clock.advance_wall_micros(300_000);
            assert!(!verify().await);
            set_state("active");
            assert!(verify().await);
            return;
        }
    }
    panic!("memory never answers");
}
