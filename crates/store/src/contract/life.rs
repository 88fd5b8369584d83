//! Uses, and the life of a store: opening, closing, readiness.
//!
//! The one thing to know: uses are counted beside the tokens and have no event, so nothing here may move a version.

use std::sync::Arc;

use engine::batch::TokenWrite;
use engine::clock::SystemClock;
use engine::event::Subject;
use engine::live::LiveIndex;
use engine::locator::Holder;
use engine::store::{Lookup, Membership, Role, Store, StoreError, Usage};
use engine::token::{Token, TokenId};
use tokio::task::JoinSet;

use super::House;
use super::world::{Row, World, change, place};

pub(crate) async fn uses_add_up_and_touch_no_token(house: &dyn House) {
    let world = World::of(house).await;
    let tokens = [(); 3].map(|()| world.access_token());
    world.insert(tokens.clone().map(Row::Token).into()).await;
    let [early, late] = [world.now(), world.now()];
    let report = async |reports: &[(usize, u64, _)]| {
        let reports = reports.iter().map(|&(index, uses, last_used_at)| {
            let usage = Usage { uses, last_used_at };
            (world.realm, tokens[index].id, usage)
        });
        world.store.add_usage(reports.collect()).await.unwrap();
    };
    report(&[]).await;
    report(&[(0, 3, late), (1, 1, early)]).await;
    // An older report that arrives later adds its uses, but does not turn back the last one.
    report(&[(0, 4, early), (0, 1, early)]).await;
    report(&[(1, 0, late)]).await;
    let ids = tokens.each_ref().map(|token| token.id);
    let usage = world.store.usage(world.realm, &ids).await.unwrap();
    assert_eq!(usage.len(), 2, "those never used are left out");
    assert_eq!(
        (usage[&ids[0]].uses, usage[&ids[0]].last_used_at),
        (8, late)
    );
    assert_eq!(
        (usage[&ids[1]].uses, usage[&ids[1]].last_used_at),
        (1, late)
    );
    for token in tokens {
        assert_eq!(world.find_token(token.id).await, Some(token));
    }
    assert_eq!(world.events().await.len(), 1);
}

pub(crate) async fn a_limit_of_uses_is_exact(house: &dyn House) {
    let world = World::of(house).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token.clone())]).await;
    let at = world.now();
    let mut spenders = JoinSet::new();
    for _ in 0..40 {
        let (store, realm) = (Arc::clone(&world.store), world.realm);
        spenders.spawn(async move { store.spend(realm, id, 25, at).await.unwrap() });
    }
    let counted = spenders.join_all().await;
    assert_eq!(counted.iter().filter(|one| **one).count(), 25);
    let usage = world.store.usage(world.realm, &[id]).await.unwrap();
    assert_eq!((usage[&id].uses, usage[&id].last_used_at), (25, at));
    assert_eq!(world.find_token(id).await, Some(token));
    // Nothing is counted of a limit of none, nor of a token that is not there.
    let other = world.access_token();
    assert!(
        !world
            .store
            .spend(world.realm, other.id, 5, at)
            .await
            .unwrap()
    );
    world.insert(vec![Row::Token(other.clone())]).await;
    assert!(
        !world
            .store
            .spend(world.realm, other.id, 0, at)
            .await
            .unwrap()
    );
    assert!(
        world
            .store
            .spend(world.realm, other.id, 1, at)
            .await
            .unwrap()
    );
    assert!(
        !world
            .store
            .spend(world.realm, other.id, 1, at)
            .await
            .unwrap()
    );
}

pub(crate) async fn uses_of_what_is_gone_are_dropped(house: &dyn House) {
    let world = World::of(house).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token.clone())]).await;
    let last_used_at = world.now();
    let usage = Usage {
        uses: 1,
        last_used_at,
    };
    let report = vec![(world.realm, id, usage)];
    world.store.add_usage(report.clone()).await.unwrap();
    let mut batch = world.batch();
    batch.tokens.push(TokenWrite::Delete { id, from: 1 });
    assert!(world.write(batch).await.unwrap());
    world.store.add_usage(report).await.unwrap();
    let found = world.store.usage(world.realm, &[id]).await.unwrap();
    assert!(found.is_empty());
    // The next holder of the id begins at nothing.
    world.insert(vec![Row::Token(token)]).await;
    let found = world.store.usage(world.realm, &[id]).await.unwrap();
    assert!(found.is_empty());
}

pub(crate) async fn counts_stop_at_their_limit(house: &dyn House) {
    let world = World::of(house).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    for uses in [u64::MAX, u64::MAX, 1] {
        let usage = Usage {
            uses,
            last_used_at: world.now(),
        };
        let report = vec![(world.realm, id, usage)];
        world.store.add_usage(report).await.unwrap();
    }
    let found = world.store.usage(world.realm, &[id]).await.unwrap();
    assert_eq!(found[&id].uses, i64::MAX.cast_unsigned());
}

pub(crate) async fn a_store_that_was_closed_shows_everything_again(house: &dyn House) {
    let world = World::of(house).await;
    let record = world.record("kind", None);
    let value = world.value(Some(record.id));
    let token = Token {
        parent: Some(record.id),
        ..world.data_token(value.id)
    };
    let holder = Holder::Token(token.id);
    let [alias, tag] = [place("alias", b"a"), place("tag", b"t")];
    world
        .insert(vec![
            Row::Record(record.clone()),
            Row::Value(value.clone()),
            Row::Token(token.clone()),
            Row::Locator(alias.clone(), holder),
            Row::Mark(tag.clone(), holder),
        ])
        .await;
    let mut batch = world.batch();
    batch.event.changes = vec![change(Subject::Token, token.id.0, 1)];
    assert!(world.write(batch).await.unwrap());
    let usage = Usage {
        uses: 5,
        last_used_at: world.now(),
    };
    let report = vec![(world.realm, token.id, usage)];
    world.store.add_usage(report).await.unwrap();
    let events = world.events().await;
    world.store.close().await;

    let world = world.reopened(house).await;
    let rows = world
        .rows(vec![Lookup::Located(alias.clone()), Lookup::Marked(tag)])
        .await;
    assert_eq!(rows.located[&alias], holder);
    assert_eq!(rows.tokens[&token.id], token);
    assert_eq!(rows.records[&record.id], record);
    assert_eq!(world.find_value(value.id).await, Some(value));
    assert_eq!(world.events().await, events);
    let found = world.store.usage(world.realm, &[token.id]).await.unwrap();
    assert_eq!(found[&token.id], usage);
    // And goes on.
    assert!(world.write(world.batch()).await.unwrap());
}

pub(crate) async fn a_closed_store_is_unavailable(house: &dyn House) {
    let world = World::of(house).await;
    world.store.close().await;
    world.store.close().await;
    let (store, realm, now) = (&world.store, world.realm, world.now());
    let id = TokenId(world.id());
    let usage = Usage {
        uses: 1,
        last_used_at: now,
    };
    let refusals = [
        world.write(world.batch()).await.unwrap_err(),
        store.fetch(world.query(Vec::new())).await.unwrap_err(),
        store.tokens_after(realm, None, 1).await.unwrap_err(),
        store.events_before(realm, None, 1).await.unwrap_err(),
        store.add_usage(vec![(realm, id, usage)]).await.unwrap_err(),
        store.usage(realm, &[id]).await.unwrap_err(),
        store.ready().await.unwrap_err(),
    ];
    for refusal in refusals {
        let known = matches!(refusal, StoreError::Unavailable { unknown: false, .. });
        assert!(known, "{refusal:?}");
    }
}

pub(crate) async fn others_see_what_a_server_reports(house: &dyn House) {
    let store = house.open().await;
    if store.reports().await.unwrap().is_none() {
        // Nobody else can use it, so there is nobody to be let in.
        let alone = join(&store, 10, Role::Server, b"keys").await;
        assert_eq!(store.reports().await.unwrap(), None);
        store.close().await;
        return drop(alone);
    }
    let seen = async |store: &Arc<dyn Store>| {
        let reports = store.reports().await.unwrap().unwrap();
        let mut seen: Vec<_> = reports.into_iter().map(Option::unwrap).collect();
        seen.sort();
        seen
    };
    let _first = join(&store, 10, Role::Server, b"first").await;
    assert_eq!(seen(&store).await, [b"first"]);
    // One without a memory counts too; one that is over after a command does not.
    let (quiet, visitor) = (house.open().await, house.open().await);
    let _quiet = join(&quiet, 0, Role::Server, b"quiet").await;
    let _visitor = join(&visitor, 0, Role::Visitor, b"visit").await;
    for store in [&store, &quiet, &visitor] {
        assert_eq!(seen(store).await, [b"first", b"quiet"]);
    }
    store.close().await;
    assert_eq!(seen(&visitor).await, [b"quiet"]);
    quiet.close().await;
    assert!(seen(&visitor).await.is_empty());
    visitor.close().await;
}

/// Takes a place on a store, with a memory of this size.
async fn join(store: &Arc<dyn Store>, entries: usize, role: Role, keys: &[u8]) -> Arc<LiveIndex> {
    let live = Arc::new(LiveIndex::new(entries, Arc::new(SystemClock)));
    store.share(&live);
    let membership = Membership {
        role,
        settings: b"settings".to_vec(),
        settings_and_keys: b"settings and keys".to_vec(),
        keys: keys.to_vec(),
    };
    store.join(&membership).await.unwrap();
    live
}

pub(crate) async fn closing_waits_for_writes_under_way(house: &dyn House) {
    let world = World::of(house).await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let world = world.clone();
        calls.spawn(async move { (world.write(world.batch()).await, world.id()) });
    }
    tokio::task::yield_now().await;
    world.store.close().await;
    let mut applied = 0;
    for (outcome, _) in calls.join_all().await {
        match outcome {
            Ok(true) => applied += 1,
            Err(StoreError::Unavailable { unknown: false, .. }) => {}
            outcome => panic!("{outcome:?}"),
        }
    }
    let world = world.reopened(house).await;
    assert_eq!(world.events().await.len(), applied);
}

pub(crate) async fn a_store_at_work_is_ready(house: &dyn House) {
    let world = World::of(house).await;
    world.store.ready().await.unwrap();
    assert!(world.write(world.batch()).await.unwrap());
    world.store.ready().await.unwrap();
    assert_eq!(world.events().await.len(), 1);
}
