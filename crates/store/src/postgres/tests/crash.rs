//! A server that crashes and comes back: nothing acknowledged is lost, nothing refused is there, and nobody restarts
//! anything here.
//!
//! The one thing to know: the server is the test's own and flushes, unlike the one that the other tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine::store::{Store, StoreError};
use postgres_server::Server;
use tokio::task::JoinSet;

use crate::contract::House;
use crate::contract::world::{Row, World};
use crate::{CommitFaults, Fault, Moment, Options, open};

/// A server of its own, which flushes.
struct Own {
    server: Arc<Server>,
    database: String,
}

#[async_trait]
impl House for Own {
    async fn build() -> Self {
        let server = Server::start(&postgres_server::Options::default());
        let database = server.create_database();
        Self {
            server: Arc::new(server),
            database,
        }
    }

    async fn open(&self) -> Arc<dyn Store> {
        let options = Options {
            connect_timeout: Duration::from_secs(2),
            ..Options::default()
        };
        open(&self.server.url(&self.database), options)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_under_load_loses_nothing_that_was_acknowledged() {
    let house = Own::build().await;
    let world = World::of(&house).await;
    let over = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let (world, over, count) = (world.clone(), Arc::clone(&over), Arc::clone(&acknowledged));
        writers.spawn(async move {
            let (mut there, mut absent) = (Vec::new(), Vec::new());
            while !over.load(Ordering::SeqCst) {
                let token = world.access_token();
                let id = token.id;
                let mut batch = world.batch();
                batch.tokens.push(engine::batch::TokenWrite::Insert(token));
                match world.write(batch).await {
                    Ok(applied) => {
                        assert!(applied);
                        count.fetch_add(1, Ordering::SeqCst);
                        there.push(id);
                    }
                    Err(StoreError::Unavailable { unknown: true, .. }) => {}
                    Err(StoreError::Unavailable { unknown: false, .. }) => {
                        absent.push(id);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            (there, absent)
        });
    }
    let reaches = async |count: usize| {
        while acknowledged.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for round in 1..=3 {
        reaches(round * 100).await;
        let server = Arc::clone(&house.server);
        let restart = tokio::task::spawn_blocking(move || {
            server.stop_immediately();
            server.start_again();
        });
        restart.await.unwrap();
        let before = acknowledged.load(Ordering::SeqCst);
        reaches(before + 50).await;
    }
    over.store(true, Ordering::SeqCst);
    for (there, absent) in writers.join_all().await {
        for id in there {
            assert!(
                world.find_token(id).await.is_some(),
                "an acknowledged write is lost"
            );
        }
        for id in absent {
            assert!(
                world.find_token(id).await.is_none(),
                "a refused write is there"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_soon_and_found_again() {
    let house = Own::build().await;
    let world = World::of(&house).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    world.store.ready().await.unwrap();
    house.server.stop();
    let unavailable = |outcome: Result<(), StoreError>| {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable { unknown: false, .. })),
            "{outcome:?}"
        );
    };
    let store = Arc::clone(&world.store);
    let calls = async {
        unavailable(store.ready().await);
        unavailable(world.write(world.batch()).await.map(|_| ()));
        unavailable(store.tokens_after(world.realm, None, 1).await.map(|_| ()));
        unavailable(store.fetch(world.query(Vec::new())).await.map(|_| ()));
        let now = world.now();
        unavailable(store.spend(world.realm, id, 9, now).await.map(|_| ()));
    };
    // Far below the time that a write may be repeated for.
    tokio::time::timeout(Duration::from_secs(5), calls)
        .await
        .expect("a server that is away is told soon");
    house.server.start_again();
    store.ready().await.unwrap();
    assert!(world.write(world.batch()).await.unwrap());
    assert!(world.find_token(id).await.is_some());
    assert_eq!(world.events().await.len(), 2);
    // Closing with the server away ends too.
    house.server.stop();
    store.close().await;
}

/// Stops the server at the moment of the first commit.
#[derive(Debug)]
struct Stop(Arc<Server>);

impl CommitFaults for Stop {
    fn at_commit(&self) -> Option<(Fault, Moment)> {
        self.0.stop_immediately();
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_found_out_in_time_is_unknown() {
    let house = Own::build().await;
    let options = Options {
        commit_faults: Some(Arc::new(Stop(Arc::clone(&house.server)))),
        deadline: Duration::from_millis(500),
        ..Options::default()
    };
    let url = house.server.url(&house.database);
    let store = open(&url, options).await.unwrap();
    let world = World::of(&house).await.over(store);
    let outcome = world.write(world.batch()).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable { unknown: true, .. })),
        "{outcome:?}"
    );
    house.server.start_again();
    // The next one is certain again: nothing of the first was left half.
    let events = world.events().await.len();
    assert!(events <= 1);
}
