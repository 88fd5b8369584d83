//! Groups: one transaction for all that has gathered, refusals alone, losses together.
//!
//! The one thing to know: a loss (disk full, an I/O error) is everybody's in the group, because their one flush is what
//! failed.

use std::time::Duration;

use engine::batch::{TokenWrite, ValueWrite};
use engine::store::{Lookup, StoreError};
use engine::value::{Sealed, Value};
use tokio::task::JoinSet;

use super::{Directory, Gate, queued};
use crate::Options;
use crate::contract::House;
use crate::contract::world::{Row, World, renamed};

/// Transactions in the log: frames that say how large the file is after them.
/// A frame is 24 bytes, of which 4 to 8 hold that size, and a page of 4096; 32 bytes come before the first.
fn transactions(house: &Directory) -> usize {
    let log = std::fs::read(house.log()).unwrap();
    let frames = log[32..].chunks_exact(24 + 4096);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn what_has_gathered_is_one_transaction() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let before = transactions(&house);
    let gate = Gate::shut(&world).await;
    let mut calls = Vec::new();
    for _ in 0..50 {
        let world = world.clone();
        calls.push(tokio::spawn(
            async move { world.write(world.batch()).await },
        ));
    }
    queued().await;
    assert!(gate.open().await.unwrap());
    for call in calls {
        assert!(call.await.unwrap().unwrap());
    }
    assert_eq!(transactions(&house), before + 1);
    assert_eq!(world.events().await.len(), 51);
}

#[tokio::test]
async fn a_lone_write_waits_for_nobody_and_reads_write_nothing() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let before = transactions(&house);
    assert!(world.write(world.batch()).await.unwrap());
    assert_eq!(transactions(&house), before + 1);
    let nothing = world
        .store
        .commit(world.query(Vec::new()), Box::new(|_| None))
        .await;
    assert!(!nothing.unwrap());
    world.store.ready().await.unwrap();
    world.events().await;
    assert_eq!(transactions(&house), before + 1);
}

#[tokio::test]
async fn refused_members_leave_the_others_and_each_sees_those_before_it() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let token = world.access_token();
    let id = token.id;
    let gate = Gate::shut(&world).await;
    let mut calls = Vec::new();
    let mut inserting = world.batch();
    inserting.tokens.push(TokenWrite::Insert(token.clone()));
    let mut again = world.batch();
    again.tokens.push(TokenWrite::Insert(token.clone()));
    let mut renaming = world.batch();
    renaming.tokens.push(renamed(&token, "second"));
    let mut stale = world.batch();
    stale.tokens.push(renamed(&token, "third"));
    for batch in [inserting, again, renaming, stale] {
        let world = world.clone();
        calls.push(tokio::spawn(async move { world.write(batch).await }));
        queued().await;
    }
    assert!(gate.open().await.unwrap());
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    assert!(
        matches!(
            outcomes[..],
            [
                Ok(true),
                Err(StoreError::Taken { .. }),
                Ok(true),
                Err(StoreError::Stale)
            ]
        ),
        "{outcomes:?}"
    );
    let found = world.find_token(id).await.unwrap();
    assert_eq!(found.name.as_deref(), Some("second"));
    assert_eq!(world.events().await.len(), 3);
}

/// A value that does not fit into the pages of [`small`].
fn enormous(world: &World) -> ValueWrite {
    ValueWrite::Insert(Value {
        sealed: Some(Sealed(vec![7; 2_000_000])),
        ..world.value(None)
    })
}

/// A store that is full after some hundred kilobytes.
fn small() -> Directory {
    Directory::new(Options {
        pages_max: Some(150),
        ..Options::default()
    })
}

#[tokio::test]
async fn a_full_disk_loses_the_group_as_a_whole_and_the_store_goes_on() {
    let house = small();
    let world = World::of(&house).await;
    let there = world.access_token();
    world.insert(vec![Row::Token(there.clone())]).await;
    let events = world.events().await;

    let gate = Gate::shut(&world).await;
    let mut good = world.batch();
    good.tokens.push(renamed(&there, "lost"));
    let mut refused = world.batch();
    refused
        .tokens
        .push(renamed(&there, "refused because of the one before"));
    let mut full = world.batch();
    full.values.push(enormous(&world));
    let mut calls = Vec::new();
    for batch in [good, refused, full] {
        let world = world.clone();
        calls.push(tokio::spawn(async move { world.write(batch).await }));
        queued().await;
    }
    // What comes after the loss is the next group.
    let after = tokio::spawn({
        let (world, batch) = (world.clone(), world.batch());
        async move { world.write(batch).await }
    });
    queued().await;
    let mut outcomes = vec![gate.open().await];
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    for outcome in &outcomes {
        let Err(StoreError::Unavailable { message, unknown }) = outcome else {
            panic!("{outcomes:?}");
        };
        assert!(!unknown && message.contains("full"), "{outcomes:?}");
    }
    assert!(after.await.unwrap().unwrap());
    assert_eq!(world.find_token(there.id).await.as_ref(), Some(&there));
    assert_eq!(world.events().await[1..], events);

    // It is ready again once a write has proved it, and writes that fit go on.
    world.store.ready().await.unwrap();
    let mut batch = world.batch();
    batch.tokens.push(renamed(&there, "kept"));
    assert!(world.write(batch).await.unwrap());
}

#[tokio::test]
async fn room_that_was_made_is_used() {
    let house = small();
    let world = World::of(&house).await;
    let mut values = Vec::new();
    let refused = loop {
        let value = Value {
            sealed: Some(Sealed(vec![7; 20_000])),
            ..world.value(None)
        };
        let mut batch = world.batch();
        batch.values.push(ValueWrite::Insert(value.clone()));
        match world.write(batch).await {
            Ok(_) => values.push(value),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        refused,
        StoreError::Unavailable { unknown: false, .. }
    ));
    assert!(values.len() > 5);
    assert_eq!(world.events().await.len(), values.len());
    let gone = values.pop().unwrap();
    let mut batch = world.batch();
    batch.values.push(ValueWrite::Delete {
        id: gone.id,
        from: 1,
    });
    assert!(world.write(batch).await.unwrap());
    world.insert(vec![Row::Value(gone.clone())]).await;
    for value in values.iter().chain([&gone]) {
        assert_eq!(world.find_value(value.id).await.as_ref(), Some(value));
    }
}

#[tokio::test]
async fn a_full_queue_refuses_after_a_while_and_forgets_nobody() {
    let house = Directory::new(Options {
        queue: 2,
        wait: Duration::from_millis(30),
        ..Options::default()
    });
    let world = World::of(&house).await;
    let gate = Gate::shut(&world).await;
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        let world = world.clone();
        calls.spawn(async move { world.write(world.batch()).await });
    }
    // There is room for two, and nobody leaves.
    for _ in 0..3 {
        let refused = calls.join_next().await.unwrap().unwrap();
        assert!(
            matches!(refused, Err(StoreError::Unavailable { unknown: false, .. })),
            "{refused:?}"
        );
    }
    assert!(gate.open().await.unwrap());
    for applied in calls.join_all().await {
        assert!(applied.unwrap());
    }
    assert_eq!(world.events().await.len(), 3);
}

#[tokio::test]
async fn a_panic_in_a_group_spares_the_others() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let token = world.access_token();
    world.insert(vec![Row::Token(token.clone())]).await;
    let gate = Gate::shut(&world).await;
    let panicking = tokio::spawn({
        let (world, id) = (world.clone(), token.id);
        async move {
            let decide = Box::new(|_: &_| panic!("a test lets a decision panic"));
            let query = world.query(vec![Lookup::Token(id)]);
            world.store.commit(query, decide).await
        }
    });
    queued().await;
    let mut batch = world.batch();
    batch.tokens.push(renamed(&token, "spared"));
    let spared = tokio::spawn({
        let world = world.clone();
        async move { world.write(batch).await }
    });
    queued().await;
    assert!(gate.open().await.unwrap());
    let outcome = panicking.await.unwrap();
    assert!(
        matches!(outcome, Err(StoreError::Internal { .. })),
        "{outcome:?}"
    );
    assert!(spared.await.unwrap().unwrap());
    assert_eq!(world.find_token(token.id).await.unwrap().version, 2);
}
