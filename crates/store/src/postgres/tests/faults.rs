//! Commits that fail although the database is well: nothing happens twice, nothing is lost, and what cannot be known is
//! said to be unknown.
//!
//! The one thing to know: a fault is put before or after the real COMMIT, so that the client sees the same error and the
//! truth differs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::store::{Lookup, Rows, StoreError};
use engine::token::{Token, TokenId};
use tokio::task::JoinSet;

use super::Database;
use crate::contract::world::{Row, World, renamed};
use crate::{CommitFaults, Fault, Moment, Options};

const ALL: [(Fault, Moment); 6] = [
    (Fault::Serialization, Moment::BeforeCommit),
    (Fault::Serialization, Moment::AfterCommit),
    (Fault::Internal, Moment::BeforeCommit),
    (Fault::Internal, Moment::AfterCommit),
    (Fault::ConnectionLost, Moment::BeforeCommit),
    (Fault::ConnectionLost, Moment::AfterCommit),
];

/// Lets about half of the commits fail, in an order that is the same in every run for each number of commits.
#[derive(Debug)]
struct Dice {
    seed: Mutex<u64>,
    failed: AtomicUsize,
}

impl Dice {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            seed: Mutex::new(7),
            failed: AtomicUsize::new(0),
        })
    }
}

impl CommitFaults for Dice {
    fn at_commit(&self) -> Option<(Fault, Moment)> {
        let mut seed = self.seed.lock().unwrap();
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let fault = ALL.get(usize::try_from(*seed >> 33).unwrap() % 12).copied();
        if fault.is_some() {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
        fault
    }
}

/// The same fault at the first so many commits.
#[derive(Debug)]
struct First {
    left: AtomicUsize,
    fault: (Fault, Moment),
}

impl First {
    fn of(count: usize, fault: (Fault, Moment)) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(count),
            fault,
        })
    }
}

impl CommitFaults for First {
    fn at_commit(&self) -> Option<(Fault, Moment)> {
        let fetched = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        fetched.is_ok().then_some(self.fault)
    }
}

async fn world(faults: Arc<dyn CommitFaults>) -> (Database, World) {
    let house = Database::new(Options {
        commit_faults: Some(faults),
        deadline: Duration::from_mins(2),
        ..Options::default()
    })
    .await;
    let world = World::of(&house).await;
    (house, world)
}

fn counter(world: &World) -> Token {
    Token {
        name: Some("0".to_owned()),
        ..world.access_token()
    }
}

fn count(token: &Token) -> usize {
    token.name.as_deref().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_failing_commits_nothing_happens_twice_or_is_lost() {
    const WRITERS: usize = 8;
    const WRITES: usize = 25;
    let dice = Dice::new();
    let (_house, world) = world(dice.clone()).await;
    let shared = counter(&world);
    let shared_id = shared.id;
    world.insert(vec![Row::Token(shared)]).await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let world = world.clone();
        writers.spawn(async move {
            let own = counter(&world);
            let own_id = own.id;
            world.insert(vec![Row::Token(own)]).await;
            for version in 1..=WRITES as u64 {
                // As the engine does it: the last decision is the answer, and this one is guarded by a version.
                let last = Arc::new(Mutex::new(None));
                let (empty, deciding) = (world.batch(), Arc::clone(&last));
                let decide = Box::new(move |rows: &Rows| {
                    let own = &rows.tokens[&own_id];
                    let in_time = own.version == version;
                    *deciding.lock().unwrap() = Some(in_time);
                    if !in_time {
                        return None;
                    }
                    let mut batch = empty.clone();
                    for token in rows.tokens.values() {
                        let next = count(token) + 1;
                        batch.tokens.push(renamed(token, &next.to_string()));
                    }
                    Some(batch)
                });
                let query = world.query(vec![Lookup::Token(own_id), Lookup::Token(shared_id)]);
                assert!(world.store.commit(query, decide).await.unwrap());
                assert_eq!(*last.lock().unwrap(), Some(true), "a conflict with itself");
            }
            own_id
        });
    }
    let owned = writers.join_all().await;
    let failed = dice.failed.load(Ordering::SeqCst);
    assert!(failed > 20, "only {failed} commits were made to fail");
    for id in owned {
        let own = world.find_token(id).await.unwrap();
        assert_eq!((count(&own), own.version), (WRITES, WRITES as u64 + 1));
    }
    let shared = world.find_token(shared_id).await.unwrap();
    assert_eq!(count(&shared), WRITERS * WRITES);
    assert_eq!(shared.version, (WRITERS * WRITES) as u64 + 1);
    assert_eq!(world.events().await.len(), 1 + WRITERS + WRITERS * WRITES);
}

#[tokio::test]
async fn a_lost_answer_is_found_again() {
    for fault in ALL {
        let (_house, world) = world(First::of(1, fault)).await;
        let batch = world.batch();
        let event = batch.event.clone();
        assert!(world.write(batch).await.unwrap(), "{fault:?}");
        assert_eq!(world.events().await, [event], "{fault:?}");
    }
}

/// Counts uses until the limit refuses; gives how many were counted and how many are unknown.
async fn spend_all(world: &World, id: TokenId, max: u64) -> (u64, u64) {
    let (mut counted, mut unknown) = (0, 0);
    loop {
        match world.store.spend(world.realm, id, max, world.now()).await {
            Ok(true) => counted += 1,
            Ok(false) => return (counted, unknown),
            Err(StoreError::Unavailable { unknown: true, .. }) => unknown += 1,
            outcome => panic!("{outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_use_whose_answer_is_lost_is_never_given_twice() {
    let (_house, world) = world(Dice::new()).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    let (counted, unknown) = spend_all(&world, id, 30).await;
    assert!(unknown > 0);
    assert!(
        counted <= 30 && counted + unknown >= 30,
        "{counted} {unknown}"
    );
    let usage = world.store.usage(world.realm, &[id]).await.unwrap();
    assert_eq!(usage[&id].uses, 30);
}

#[tokio::test]
async fn each_fault_leaves_a_use_unknown_and_counted_once_at_most() {
    for (fault, moment) in ALL {
        let faults = First::of(0, (fault, moment));
        let (_house, world) = world(faults.clone()).await;
        let token = world.access_token();
        let id = token.id;
        world.insert(vec![Row::Token(token)]).await;
        faults.left.store(1, Ordering::SeqCst);
        let spent = world.store.spend(world.realm, id, 2, world.now()).await;
        assert!(
            matches!(spent, Err(StoreError::Unavailable { unknown: true, .. })),
            "{spent:?}"
        );
        let usage = world.store.usage(world.realm, &[id]).await.unwrap();
        let uses = usage.get(&id).map_or(0, |usage| usage.uses);
        assert_eq!(uses, u64::from(moment == Moment::AfterCommit));
    }
}

#[tokio::test]
async fn a_store_with_failing_commits_shows_everything_when_opened_without() {
    let (house, world) = world(Dice::new()).await;
    for _ in 0..20 {
        assert!(world.write(world.batch()).await.unwrap());
    }
    world.store.close().await;
    let plain = Database {
        name: house.name.clone(),
        options: Options::default(),
    };
    assert_eq!(world.reopened(&plain).await.events().await.len(), 20);
}
