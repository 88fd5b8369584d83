//! What a commit and a read promise when others are at work: nothing lost, nothing half, refusals alone.
//!
//! The one thing to know: nothing here waits for a schedule that may come or not; what must hold, holds under each of
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::locator::Holder;
use engine::store::{Decide, Lookup, Rows, StoreError};
use engine::token::{Token, TokenId};
use tokio::task::JoinSet;

use super::House;
use super::world::{Row, World, claim, place, renamed};

const CALLS: usize = 64;

/// Gives the token the name that `name` makes of its present one.
fn rename(world: &World, id: TokenId, name: impl Fn(&Token) -> String + Send + 'static) -> Decide {
    let empty = world.batch();
    Box::new(move |rows: &Rows| {
        let token = rows.tokens.get(&id)?;
        let mut batch = empty.clone();
        batch.tokens.push(renamed(token, &name(token)));
        Some(batch)
    })
}

fn count(token: &Token) -> usize {
    token.name.as_deref().unwrap().parse().unwrap()
}

pub(crate) async fn no_increment_is_lost(house: &dyn House) {
    let world = World::of(house).await;
    let token = Token {
        name: Some("0".to_owned()),
        ..world.access_token()
    };
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let world = world.clone();
        calls.spawn(async move {
            let increment = rename(&world, id, |token| (count(token) + 1).to_string());
            let query = world.query(vec![Lookup::Token(id)]);
            assert!(world.store.commit(query, increment).await.unwrap());
        });
    }
    calls.join_all().await;
    let token = world.find_token(id).await.unwrap();
    assert_eq!(count(&token), CALLS);
    assert_eq!(token.version, CALLS as u64 + 1);
    assert_eq!(world.events().await.len(), CALLS + 1);
}

pub(crate) async fn a_refused_call_fails_alone(house: &dyn House) {
    let world = World::of(house).await;
    let there = world.access_token();
    world.insert(vec![Row::Token(there.clone())]).await;
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (world, there) = (world.clone(), there.clone());
        calls.spawn(async move {
            let token = world.access_token();
            let id = token.id;
            let mut batch = world.batch();
            batch.tokens.push(engine::batch::TokenWrite::Insert(token));
            let bad = number % 7 == 3;
            if bad {
                batch.tokens.push(engine::batch::TokenWrite::Delete {
                    id: there.id,
                    from: 9,
                });
            }
            let outcome = world.write(batch).await;
            match (bad, outcome) {
                (true, Err(StoreError::Stale)) => (id, false),
                (false, Ok(true)) => (id, true),
                (_, outcome) => panic!("call {number}: {outcome:?}"),
            }
        });
    }
    for (id, applied) in calls.join_all().await {
        assert_eq!(world.find_token(id).await.is_some(), applied);
    }
}

pub(crate) async fn one_of_many_claims_wins(house: &dyn House) {
    let world = World::of(house).await;
    let here = place("alias", b"wanted");
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (world, here) = (world.clone(), here.clone());
        calls.spawn(async move {
            let holder = Holder::Token(TokenId(world.id()));
            let mut batch = world.batch();
            batch.locators.push(claim(here, holder, None));
            match world.write(batch).await {
                Ok(true) => Some(holder),
                Err(StoreError::Taken { .. }) => None,
                outcome => panic!("{outcome:?}"),
            }
        });
    }
    let winners: Vec<Holder> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(world.holder(&here).await, Some(winners[0]));
    assert_eq!(world.events().await.len(), 1);
}

pub(crate) async fn one_of_many_attempts_with_one_event_is_applied(house: &dyn House) {
    let world = World::of(house).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    let template = world.batch();
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (world, template) = (world.clone(), template.clone());
        calls.spawn(async move {
            let decide = Box::new(move |rows: &Rows| {
                let mut batch = template.clone();
                batch.tokens.push(renamed(&rows.tokens[&id], "once"));
                Some(batch)
            });
            let query = world.query(vec![Lookup::Token(id)]);
            world.store.commit(query, decide).await.unwrap()
        });
    }
    let applied = calls.join_all().await;
    assert_eq!(applied.into_iter().filter(|applied| *applied).count(), 1);
    assert_eq!(world.find_token(id).await.unwrap().version, 2);
}

pub(crate) async fn a_panicking_decision_fails_alone(house: &dyn House) {
    let world = World::of(house).await;
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let world = world.clone();
        calls.spawn(async move {
            if number % 9 == 4 {
                let decide = Box::new(|_: &Rows| panic!("a test lets a decision panic"));
                let outcome = world.store.commit(world.query(Vec::new()), decide).await;
                assert!(
                    matches!(outcome, Err(StoreError::Internal { .. })),
                    "{outcome:?}"
                );
                0
            } else {
                assert!(world.write(world.batch()).await.unwrap());
                1
            }
        });
    }
    let written: usize = calls.join_all().await.into_iter().sum();
    assert_eq!(world.events().await.len(), written);
}

pub(crate) async fn a_dropped_call_is_applied_whole_or_not_at_all(house: &dyn House) {
    let world = World::of(house).await;
    let mut made = Vec::new();
    for number in 0..CALLS {
        let (first, second) = (world.access_token(), world.access_token());
        made.push((first.id, second.id));
        let inserting = tokio::spawn({
            let world = world.clone();
            async move {
                let pair = vec![Row::Token(first), Row::Token(second)];
                world.insert(pair).await;
            }
        });
        for _ in 0..number % 4 {
            tokio::task::yield_now().await;
        }
        inserting.abort();
    }
    // Closing waits for what was begun; after that nothing changes any more.
    world.store.close().await;
    let world = world.reopened(house).await;
    let mut there = 0;
    for (first, second) in made {
        let found = world
            .rows(vec![Lookup::Token(first), Lookup::Token(second)])
            .await;
        assert!(matches!(found.tokens.len(), 0 | 2));
        there += found.tokens.len() / 2;
    }
    assert_eq!(world.events().await.len(), there);
}

pub(crate) async fn a_read_sees_every_acknowledged_write(house: &dyn House) {
    let world = World::of(house).await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let world = world.clone();
        calls.spawn(async move {
            let token = world.access_token();
            let id = token.id;
            world.insert(vec![Row::Token(token)]).await;
            for version in 2..20 {
                let query = world.query(vec![Lookup::Token(id)]);
                let next = rename(&world, id, |_| String::new());
                assert!(world.store.commit(query, next).await.unwrap());
                assert_eq!(world.find_token(id).await.unwrap().version, version);
            }
        });
    }
    calls.join_all().await;
}

pub(crate) async fn a_read_is_one_snapshot(house: &dyn House) {
    let world = World::of(house).await;
    // Two tokens that every write changes together.
    let pair = [world.access_token(), world.access_token()];
    let lookups = pair.clone().map(|token| Lookup::Token(token.id)).to_vec();
    world.insert(pair.map(Row::Token).into()).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (world, lookups, done) = (world.clone(), lookups.clone(), Arc::clone(&done));
        readers.spawn(async move {
            let mut reads = 0;
            while reads == 0 || !done.load(Ordering::SeqCst) {
                let rows = world.rows(lookups.clone()).await;
                let versions: Vec<u64> = rows.tokens.values().map(|token| token.version).collect();
                assert_eq!(versions[0], versions[1]);
                reads += 1;
            }
        });
    }
    for _ in 0..100 {
        let empty = world.batch();
        let decide = Box::new(move |rows: &Rows| {
            let mut batch = empty.clone();
            batch.tokens = rows
                .tokens
                .values()
                .map(|token| renamed(token, "both"))
                .collect();
            Some(batch)
        });
        let query = world.query(lookups.clone());
        assert!(world.store.commit(query, decide).await.unwrap());
    }
    done.store(true, Ordering::SeqCst);
    readers.join_all().await;
}
