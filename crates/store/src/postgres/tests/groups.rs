//! Groups: one transaction for all that has gathered, refusals alone.
//!
//! The one thing to know: that calls share a transaction is seen from the server's counter, not from how long they take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::batch::{MarkWrite, TokenWrite};
use engine::locator::Holder;
use engine::store::{Lookup, Rows, StoreError};
use tokio::task::JoinSet;

use super::{Database, connect};
use crate::contract::world::{Row, World, place, renamed};
use crate::{CommitFaults, Fault, Moment, Options};

/// Lets every commit be, and counts them.
#[derive(Debug, Default)]
struct Commits(AtomicUsize);

impl CommitFaults for Commits {
    fn at_commit(&self) -> Option<(Fault, Moment)> {
        self.0.fetch_add(1, Ordering::SeqCst);
        None
    }
}

/// A realm that somebody else keeps locked, so that everything that is sent meanwhile gathers behind the first write.
struct Locked {
    house: Database,
    world: World,
    commits: Arc<Commits>,
}

impl Locked {
    async fn new() -> Self {
        let commits = Arc::new(Commits::default());
        let house = Database::new(Options {
            commit_faults: Some(commits.clone()),
            ..Options::default()
        })
        .await;
        let world = World::of(&house).await;
        // The lock of a realm is made by its first write.
        assert!(world.write(world.batch()).await.unwrap());
        Self {
            house,
            world,
            commits,
        }
    }

    /// Sends the calls while the realm is locked and gives the number of commits they took, with their outcomes.
    async fn during<T: Send + 'static>(
        &self,
        calls: Vec<impl Future<Output = T> + Send + 'static>,
    ) -> (usize, Vec<T>) {
        let other = connect(&self.house.url()).await;
        let realm = self.world.realm.0;
        other.batch_execute("BEGIN").await.unwrap();
        let lock = "SELECT 1 FROM realm_lock WHERE realm = $1 FOR UPDATE";
        assert_eq!(other.execute(lock, &[&realm]).await.unwrap(), 1);
        let before = self.commits.0.load(Ordering::SeqCst);
        let mut running = JoinSet::new();
        for call in calls {
            running.spawn(call);
        }
        // On a runtime of one thread each call has reached its queue after this, and the first waits for the lock.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        other.batch_execute("COMMIT").await.unwrap();
        let outcomes = running.join_all().await;
        (self.commits.0.load(Ordering::SeqCst) - before, outcomes)
    }
}

#[tokio::test]
async fn what_has_gathered_is_one_transaction() {
    let locked = Locked::new().await;
    let calls = (0..50).map(|_| {
        let world = locked.world.clone();
        async move { world.write(world.batch()).await }
    });
    let (commits, outcomes) = locked.during(calls.collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(true))));
    // The first goes alone, the others gather meanwhile.
    assert!(commits <= 2, "{commits}");
    assert_eq!(locked.world.events().await.len(), 51);
}

#[tokio::test]
async fn tokens_of_one_container_are_marked_together() {
    let locked = Locked::new().await;
    let calls = (0..50).map(|_| {
        let world = locked.world.clone();
        async move {
            let token = world.access_token();
            let mut batch = world.batch();
            let holder = Holder::Token(token.id);
            batch.tokens.push(TokenWrite::Insert(token));
            batch
                .marks
                .push(MarkWrite::Set(place("container", b"one"), holder));
            world.write(batch).await.unwrap()
        }
    });
    let (commits, outcomes) = locked.during(calls.collect()).await;
    assert!(outcomes.into_iter().all(|applied| applied));
    assert!(commits <= 2, "{commits}");
    let found = locked
        .world
        .rows(vec![Lookup::Marked(place("container", b"one"))])
        .await;
    assert_eq!(found.tokens.len(), 50);
}

#[tokio::test]
async fn a_decision_sees_what_members_before_it_wrote() {
    let locked = Locked::new().await;
    let world = &locked.world;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    // Half of them read a mark that the other half sets.
    let calls = (0..20).map(|number| {
        let world = world.clone();
        async move {
            let tag = place("tag", b"blue");
            let marks = number % 2 == 0;
            let lookups = if marks {
                vec![Lookup::Token(id)]
            } else {
                vec![Lookup::Marked(tag.clone())]
            };
            let empty = world.batch();
            let decide = Box::new(move |rows: &Rows| {
                let mut batch = empty.clone();
                if marks {
                    batch.tokens.push(renamed(&rows.tokens[&id], "marked"));
                    batch
                        .marks
                        .push(MarkWrite::Set(tag.clone(), Holder::Token(id)));
                } else {
                    batch.event.count = rows.tokens.get(&id).map_or(0, |token| token.version);
                }
                Some(batch)
            });
            world
                .store
                .commit(world.query(lookups), decide)
                .await
                .unwrap()
        }
    });
    let (_, outcomes) = locked.during(calls.collect()).await;
    assert!(outcomes.into_iter().all(|applied| applied));
    let token = world.find_token(id).await.unwrap();
    assert_eq!(token.version, 11);
    // Those that came later saw later versions: in the order of the calls, each the writes of all before it.
    let mut seen: Vec<u64> = Vec::new();
    for event in world.events().await {
        if event.count != 1 {
            seen.push(event.count);
        }
    }
    assert!(seen.contains(&11), "{seen:?}");
}

#[tokio::test]
async fn one_that_is_refused_leaves_the_others_alone() {
    let locked = Locked::new().await;
    let calls = (0..20).map(|number| {
        let world = locked.world.clone();
        async move {
            let mut batch = world.batch();
            if number == 7 {
                batch.tokens.push(renamed(&world.access_token(), "missing"));
            }
            world.write(batch).await
        }
    });
    let (commits, outcomes) = locked.during(calls.collect()).await;
    let stale = |outcome: &&Result<bool, StoreError>| matches!(outcome, Err(StoreError::Stale));
    assert_eq!(outcomes.iter().filter(stale).count(), 1);
    assert_eq!(locked.world.events().await.len(), 20);
    assert!(commits >= 19, "each was tried alone: {commits}");
}

#[tokio::test]
async fn callers_who_come_again_and_again_are_all_answered_and_share_groups() {
    const CALLERS: usize = 16;
    const WRITES: usize = 20;
    let locked = Locked::new().await;
    let calls = (0..CALLERS).map(|_| {
        let world = locked.world.clone();
        async move {
            for _ in 0..WRITES {
                assert!(world.write(world.batch()).await.unwrap());
            }
        }
    });
    let (commits, _) = locked.during(calls.collect()).await;
    assert_eq!(locked.world.events().await.len(), 1 + CALLERS * WRITES);
    // How many of them share one depends on the machine; that they do does not.
    assert!(commits < CALLERS * WRITES / 2, "{commits}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_lose_no_increment() {
    let house = Database::new(Options::default()).await;
    let first = World::of(&house).await;
    let second = first.over(house.try_open().await.unwrap());
    let token = engine::token::Token {
        name: Some("0".to_owned()),
        ..first.access_token()
    };
    let id = token.id;
    first.insert(vec![Row::Token(token)]).await;
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let world = [&first, &second][number % 2].clone();
        calls.spawn(async move {
            let empty = world.batch();
            let decide = Box::new(move |rows: &Rows| {
                let token = &rows.tokens[&id];
                let count: usize = token.name.as_deref().unwrap().parse().unwrap();
                let mut batch = empty.clone();
                batch.tokens.push(renamed(token, &(count + 1).to_string()));
                Some(batch)
            });
            let query = world.query(vec![Lookup::Token(id)]);
            world.store.commit(query, decide).await.unwrap()
        });
    }
    assert!(calls.join_all().await.into_iter().all(|applied| applied));
    let token = second.find_token(id).await.unwrap();
    assert_eq!((token.name.as_deref(), token.version), (Some("100"), 101));
}
