//! Uses of one token by many at once: they are counted together, up to the limit, and hold up nobody else.
//!
//! The one thing to know: the store has three writing connections here, and the row of the count is locked from outside, so
//! a use that took a connection of its own would leave none to anybody.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Database, connect};
use crate::Options;
use crate::contract::world::{Row, World};

const USES: u64 = 200;

/// A token, and what its uses come to while its count is locked by somebody else.
async fn hot(max: u64) -> (Database, World, JoinSet<bool>, tokio_postgres::Client) {
    let house = Database::new(Options {
        writers: 3,
        ..Options::default()
    })
    .await;
    let world = World::of(&house).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    assert!(
        world
            .store
            .spend(world.realm, id, max, world.now())
            .await
            .unwrap()
    );
    let other = connect(&house.url()).await;
    other.batch_execute("BEGIN").await.unwrap();
    let lock = "SELECT 1 FROM usage WHERE token = $1 FOR UPDATE";
    assert_eq!(other.execute(lock, &[&id.0]).await.unwrap(), 1);
    let mut uses = JoinSet::new();
    for _ in 0..USES {
        let world = world.clone();
        uses.spawn(async move {
            let spent = world.store.spend(world.realm, id, max, world.now());
            spent.await.unwrap()
        });
    }
    (house, world, uses, other)
}

#[tokio::test]
async fn writes_go_on_while_a_hot_token_is_used() {
    let (_house, world, uses, other) = hot(1_000).await;
    // So that each use is on its way.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    // Also writes of several realms, and the proof that writes succeed.
    let writes = async {
        for _ in 0..10 {
            assert!(world.write(world.batch()).await.unwrap());
            let elsewhere = world.another_realm();
            assert!(elsewhere.write(elsewhere.batch()).await.unwrap());
        }
        world.store.ready().await.unwrap();
    };
    let done = tokio::time::timeout(Duration::from_secs(8), writes).await;
    assert!(done.is_ok(), "writes wait for uses");
    other.batch_execute("COMMIT").await.unwrap();
    assert!(uses.join_all().await.into_iter().all(|counted| counted));
}

#[tokio::test]
async fn uses_that_have_gathered_stop_at_the_limit() {
    for max in [1, 2, 77, 128, USES, USES + 1, USES + 2] {
        let (_house, world, uses, other) = hot(max).await;
        other.batch_execute("COMMIT").await.unwrap();
        let counted = uses.join_all().await;
        let counted = counted.into_iter().filter(|counted| *counted).count() as u64;
        assert_eq!(counted, USES.min(max - 1), "of {max}");
        let usage = world.store.tokens_after(world.realm, None, 10).await;
        let ids: Vec<_> = usage.unwrap().into_iter().map(|token| token.id).collect();
        let usage = world.store.usage(world.realm, &ids).await.unwrap();
        let uses: u64 = usage.values().map(|usage| usage.uses).sum();
        assert_eq!(uses, (USES + 1).min(max));
    }
}
