//! What lies on the disk: after a crash, after a deletion, after somebody has damaged it.
//!
//! The one thing to know: files are copied, cut and read as bytes here, behind the store's back.

use engine::batch::ValueWrite;
use engine::store::{Lookup, StoreError};
use engine::token::TokenId;
use engine::value::{Sealed, Value};

use super::{Directory, open_file};
use crate::Options;
use crate::contract::House;
use crate::contract::world::{Row, World};

/// Never moves its log into the file, so that the log holds the whole history of a test.
fn without_checkpoints() -> Directory {
    Directory::new(Options {
        checkpoint_step_pages: u64::MAX >> 1,
        checkpoint_restart_pages: u64::MAX >> 2,
        ..Options::default()
    })
}

/// Writes tokens one after the other and gives their ids.
async fn write(world: &World, count: usize) -> Vec<TokenId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let token = world.access_token();
        ids.push(token.id);
        world.insert(vec![Row::Token(token)]).await;
    }
    ids
}

/// A directory with copies of the file and of so many bytes of its log, as a machine that lost power would leave them.
fn torn(house: &Directory, log_bytes: usize) -> Directory {
    let copy = Directory::new(Options::default());
    std::fs::copy(house.file(), copy.file()).unwrap();
    let log = std::fs::read(house.log()).unwrap();
    std::fs::write(copy.log(), &log[..log_bytes.min(log.len())]).unwrap();
    copy
}

#[tokio::test]
async fn what_was_acknowledged_is_there_without_a_clean_end() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let ids = write(&world, 40).await;
    // The store is still open: nothing was flushed for the copy's sake.
    let copy = torn(&house, usize::MAX);
    let after = world.reopened(&copy).await;
    for id in &ids {
        assert!(after.find_token(*id).await.is_some());
    }
    assert_eq!(after.events().await, world.events().await);
    assert_eq!(write(&after, 1).await.len(), 1);
}

#[tokio::test]
async fn a_torn_log_ends_at_a_whole_call() {
    let house = without_checkpoints();
    let world = World::of(&house).await;
    let ids = write(&world, 12).await;
    let length = usize::try_from(std::fs::metadata(house.log()).unwrap().len()).unwrap();
    let mut shown = Vec::new();
    // Down to nothing: a start that was cut off is gone on with by the next one.
    for tenth in 0..=10 {
        // One byte less than a whole number of frames is the nastiest place.
        let copy = torn(&house, (length * tenth / 10).saturating_sub(1));
        let after = world.reopened(&copy).await;
        let events = after.events().await.len();
        for (index, id) in ids.iter().enumerate() {
            let there = after.find_token(*id).await.is_some();
            assert_eq!(there, index < events, "{index} of {events}");
        }
        shown.push(events);
    }
    assert!(shown.is_sorted());
    assert!(shown[0] == 0 && shown[10] == 11, "{shown:?}");
}

#[tokio::test]
async fn the_log_is_moved_into_the_file_and_starts_over() {
    let options = Options {
        checkpoint_step_pages: 20,
        checkpoint_restart_pages: 100,
        ..Options::default()
    };
    let house = Directory::new(options);
    let world = World::of(&house).await;
    let fresh = std::fs::metadata(house.file()).unwrap().len();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.extend(write(&world, 50).await);
        // A reader in between must not be left behind either.
        assert!(world.find_token(ids[0]).await.is_some());
    }
    let log = std::fs::metadata(house.log()).unwrap().len();
    // 400 calls of at least five pages make more than 2000; the log kept little more than the limit.
    assert!(log < 400 * 4096, "{log}");
    assert!(std::fs::metadata(house.file()).unwrap().len() > fresh + 100 * 1024);
    for id in ids {
        assert!(world.find_token(id).await.is_some());
    }
    world.store.close().await;
    assert!(!house.log().exists(), "a clean end leaves one file");
}

#[tokio::test]
async fn what_was_deleted_is_not_in_the_file() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let marker = b"sealed bytes that nobody else writes";
    // A small one lies in a page among others, a large one in pages of its own.
    let values = [1, 1000].map(|times| Value {
        sealed: Some(Sealed(marker.repeat(times))),
        ..world.value(None)
    });
    let kept = world.value(None);
    let mut rows: Vec<Row> = values.clone().map(Row::Value).into();
    rows.push(Row::Value(kept));
    world.insert(rows).await;
    world.store.close().await;
    let holds = |house: &Directory| {
        let bytes = std::fs::read(house.file()).unwrap();
        bytes.windows(marker.len()).any(|window| window == marker)
    };
    assert!(holds(&house));

    let world = world.reopened(&house).await;
    let mut batch = world.batch();
    let ids = values.map(|value| value.id);
    batch.values = ids.map(|id| ValueWrite::Delete { id, from: 1 }).into();
    assert!(world.write(batch).await.unwrap());
    world.store.close().await;
    assert!(!holds(&house));
}

#[tokio::test]
async fn a_damaged_row_is_named_and_the_others_are_read() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let ids = write(&world, 2).await;
    let (value, record) = (world.value(None), world.record("kind", None));
    world
        .insert(vec![Row::Value(value.clone()), Row::Record(record.clone())])
        .await;
    world.store.close().await;
    let hex = |id: uuid::Uuid| id.simple().to_string();
    for (table, id, column, content) in [
        ("token", ids[0].0, "tags", "'[\"personal'"),
        ("value", value.id.0, "scope_global", "NULL"),
        ("record", record.id.0, "updated_at", "9223372036854775807"),
    ] {
        house.tamper(&format!(
            "UPDATE {table} SET {column} = {content} WHERE id = x'{}'",
            hex(id)
        ));
    }
    let world = world.reopened(&house).await;
    let lookups = [
        (Lookup::Token(ids[0]), "token", ids[0].0),
        (Lookup::Value(value.id), "value", value.id.0),
        (Lookup::Record(record.id), "record", record.id.0),
    ];
    for (lookup, expected, row) in lookups {
        let error = world
            .store
            .fetch(world.query(vec![lookup]))
            .await
            .unwrap_err();
        let text = error.to_string();
        let StoreError::Corrupt { table, id, .. } = error else {
            panic!("{text}");
        };
        assert_eq!((table, id), (expected, row.to_string()));
        assert!(!text.contains("personal"), "{text}");
    }
    assert!(world.find_token(ids[1]).await.is_some());
    // Nothing that was committed over it, either.
    let query = world.query(vec![Lookup::Token(ids[0])]);
    let refused = world.store.commit(query, Box::new(|_| None)).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn copies_are_stores_of_their_own() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let ids = write(&world, 3).await;
    world.store.close().await;
    let copy = house.directory.path().join("copy.sqlite");
    std::fs::copy(house.file(), &copy).unwrap();
    let first = world.reopened(&house).await;
    let second = world.over(open_file(&copy, Options::default()).await.unwrap());
    let more = write(&first, 1).await;
    assert!(second.find_token(ids[2]).await.is_some());
    assert!(second.find_token(more[0]).await.is_none());
}
