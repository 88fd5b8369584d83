//! Walks in pages: in order, without gaps or repeats.
//!
//! The one thing to know: rows that are written or removed while a walk goes on may be in it or not; all others are in it
//! exactly once.

use engine::batch::{RecordWrite, ValueWrite};
use engine::event::{Event, EventId, Outcome, Subject};
use engine::locator::{Holder, Key, Space};
use engine::record::{Record, RecordId};
use engine::store::MarkPage;
use engine::token::{State, Token, TokenId};
use engine::value::{Value, ValueId};
use uuid::Uuid;

use super::House;
use super::world::{Row, World, change, place};

pub(crate) async fn tokens_in_order_without_gaps_or_repeats(house: &dyn House) {
    let world = World::of(house).await;
    let tokens: Vec<Token> = (0..23).map(|_| world.access_token()).collect();
    // Written in another order than that of their ids.
    let shuffled = (0..23).map(|number| Row::Token(tokens[number * 7 % 23].clone()));
    world.insert(shuffled.collect()).await;
    for size in [1, 5, 22, 23, 24] {
        let mut walked: Vec<Token> = Vec::new();
        loop {
            let after = walked.last().map(|token| token.id);
            let page = world.store.tokens_after(world.realm, after, size);
            let page = page.await.unwrap();
            assert!(page.len() <= size);
            if page.is_empty() {
                break;
            }
            walked.extend(page);
        }
        assert_eq!(walked, tokens);
    }
    let none = world.store.tokens_after(world.realm, None, 0);
    assert_eq!(none.await.unwrap(), []);
    // A cursor need not be a token that is there.
    let high = TokenId(Uuid::max());
    let none = world.store.tokens_after(world.realm, Some(high), 9);
    assert_eq!(none.await.unwrap(), []);
    let low = TokenId(Uuid::nil());
    let all = world.store.tokens_after(world.realm, Some(low), 99);
    assert_eq!(all.await.unwrap().len(), 23);
}

pub(crate) async fn records_of_one_kind_in_order(house: &dyn House) {
    let world = World::of(house).await;
    let mut users: Vec<Record> = (0..9).map(|_| world.record("user", None)).collect();
    users[3].state = State::Deleted;
    let others = ["use", "users", "role"].map(|kind| world.record(kind, None));
    let rows = users.iter().rev().chain(&others).cloned();
    world.insert(rows.map(Row::Record).collect()).await;
    let mut walked: Vec<Record> = Vec::new();
    loop {
        let after = walked.last().map(|record| record.id);
        let page = world.store.records_after(world.realm, "user", after, 4);
        let page = page.await.unwrap();
        if page.is_empty() {
            break;
        }
        walked.extend(page);
    }
    assert_eq!(walked, users);
    let none = world.store.records_after(world.realm, "nobody", None, 4);
    assert_eq!(none.await.unwrap(), []);
}

pub(crate) async fn tombstones_that_are_old_enough(house: &dyn House) {
    let world = World::of(house).await;
    let tombstone = || Record {
        state: State::Deleted,
        ..world.record("kind", None)
    };
    let alive = world.record("kind", None);
    // Ids and instants do not agree: the order is that of ids, the choice that of instants.
    let (mut first, mut second, mut third) = (tombstone(), tombstone(), tombstone());
    std::mem::swap(&mut first.updated_at, &mut third.updated_at);
    second.kind = "other".to_owned();
    let rows = [&first, &second, &third, &alive].map(|record| Row::Record(record.clone()));
    world.insert(rows.into()).await;
    let found = async |before, limit| -> Vec<RecordId> {
        let found = world.store.deleted_records(world.realm, before, limit);
        found
            .await
            .unwrap()
            .iter()
            .map(|record| record.id)
            .collect()
    };
    assert_eq!(found(world.now(), 9).await, [first.id, second.id, third.id]);
    assert_eq!(found(world.now(), 2).await, [first.id, second.id]);
    assert_eq!(found(first.updated_at, 9).await, [second.id, third.id]);
    assert_eq!(found(second.updated_at, 9).await, [third.id]);
    assert_eq!(found(third.updated_at, 9).await, []);
    // Brought back to life, or purged, it is none any more.
    let mut batch = world.batch();
    batch.records.push(RecordWrite::Update {
        record: Record {
            state: State::Active,
            version: 2,
            ..first.clone()
        },
        from: 1,
    });
    batch.records.push(RecordWrite::Delete {
        id: second.id,
        from: 1,
    });
    assert!(world.write(batch).await.unwrap());
    assert_eq!(found(world.now(), 9).await, [third.id]);
}

pub(crate) async fn superseded_versions_oldest_first(house: &dyn House) {
    let world = World::of(house).await;
    let values = [world.value(None), world.value(None)];
    world.insert(values.clone().map(Row::Value).into()).await;
    let mut expected: Vec<(ValueId, u64)> = Vec::new();
    let mut instants = Vec::new();
    for (index, from) in [(1, 1), (0, 1), (1, 2)] {
        let at = world.now();
        let next = Value {
            version: from + 1,
            created_at: at,
            ..values[index].clone()
        };
        let mut batch = world.batch();
        batch
            .values
            .push(ValueWrite::Supersede { value: next, from });
        assert!(world.write(batch).await.unwrap());
        expected.push((values[index].id, from));
        instants.push(at);
    }
    let found = async |before, limit| {
        let found = world.store.superseded_values(world.realm, before, limit);
        found.await.unwrap()
    };
    assert_eq!(found(world.now(), 9).await, expected);
    assert_eq!(found(world.now(), 1).await, expected[..1]);
    assert_eq!(found(instants[2], 9).await, expected[..2]);
    assert_eq!(found(instants[0], 9).await, []);
}

/// Pages of `limit` until the walk ends.
async fn walk(world: &World, first: &[u8], last: &[u8], limit: usize) -> Vec<(Vec<u8>, Holder)> {
    let mut walked: Vec<(Vec<u8>, Holder)> = Vec::new();
    loop {
        let page = MarkPage {
            realm: world.realm,
            space: Space::of("day"),
            first: Key(first.to_vec()),
            last: Key(last.to_vec()),
            after: walked
                .last()
                .map(|(key, holder)| (Key(key.clone()), *holder)),
            limit,
        };
        let page = world.store.marks(page).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return walked;
        }
        walked.extend(page.into_iter().map(|(key, holder)| (key.0, holder)));
    }
}

pub(crate) async fn marks_between_two_keys(house: &dyn House) {
    let world = World::of(house).await;
    let keys: [&[u8]; 7] = [b"", b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff\xff"];
    let mut marks = Vec::new();
    for key in keys {
        for _ in 0..3 {
            marks.push((key.to_vec(), Holder::Token(TokenId(world.id()))));
        }
    }
    let mut rows: Vec<Row> = marks
        .iter()
        .rev()
        .map(|(key, holder)| Row::Mark(place("day", key), *holder))
        .collect();
    rows.push(Row::Mark(place("dax", b"a"), marks[0].1));
    rows.push(Row::Mark(place("dayz", b"a"), marks[0].1));
    world.insert(rows).await;
    for limit in [1, 2, 4, 21, 100] {
        assert_eq!(walk(&world, b"", b"\xff\xff", limit).await, marks);
        assert_eq!(walk(&world, b"a", b"ab", limit).await, marks[6..15]);
        assert_eq!(walk(&world, b"a", b"a", limit).await, marks[6..9]);
        assert_eq!(walk(&world, b"aa", b"aa", limit).await, []);
        assert_eq!(walk(&world, b"b", b"a", limit).await, []);
    }
    // A cursor before the first key does not widen the range, one behind the last ends it.
    for (cursor, expected) in [(b"\x00", &marks[6..9]), (b"b", &[][..])] {
        let page = MarkPage {
            realm: world.realm,
            space: Space::of("day"),
            first: Key(b"a".to_vec()),
            last: Key(b"a".to_vec()),
            after: Some((Key(cursor.to_vec()), marks[0].1)),
            limit: 100,
        };
        let found = world.store.marks(page).await.unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|(key, holder)| (key.0, holder))
            .collect();
        assert_eq!(found, expected);
    }
}

pub(crate) async fn marks_of_one_key_in_order_of_their_holders(house: &dyn House) {
    let world = World::of(house).await;
    let [low, high] = [world.id(), world.id()];
    // The same id under two kinds of holder is two marks; ids decide before kinds.
    let holders = [
        Holder::Record(RecordId(low)),
        Holder::Value(ValueId(low)),
        Holder::Token(TokenId(high)),
    ];
    let rows = holders.map(|holder| Row::Mark(place("day", b"k"), holder));
    world.insert(rows.into()).await;
    for limit in [1, 2, 3] {
        let walked = walk(&world, b"k", b"k", limit).await;
        let ids: Vec<Uuid> = walked.iter().map(|(_, holder)| holder.id()).collect();
        assert_eq!(ids, [low, low, high]);
        for holder in holders {
            assert_eq!(walked.iter().filter(|(_, one)| *one == holder).count(), 1);
        }
    }
}

pub(crate) async fn events_newest_first_with_their_changes(house: &dyn House) {
    let world = World::of(house).await;
    let mut events: Vec<Event> = Vec::new();
    for number in 0..7 {
        let mut batch = world.batch();
        // Changes keep their order, whatever their ids.
        let changes = (0..number % 3).rev();
        batch.event.changes = changes
            .map(|version| {
                change(
                    Subject::Token,
                    Uuid::from_u128(u128::from(version)),
                    version,
                )
            })
            .collect();
        if number == 5 {
            batch.event.outcome = Outcome::Refused;
            batch.event.count = 1 << 40;
        }
        events.insert(0, batch.event.clone());
        assert!(world.write(batch).await.unwrap());
    }
    for size in [1, 3, 7, 8] {
        let mut walked: Vec<Event> = Vec::new();
        loop {
            let before = walked.last().map(|event| event.id);
            let page = world.store.events_before(world.realm, before, size);
            let page = page.await.unwrap();
            if page.is_empty() {
                break;
            }
            walked.extend(page);
        }
        assert_eq!(walked, events);
    }
}

pub(crate) async fn the_history_of_a_row_newest_first(house: &dyn House) {
    let world = World::of(house).await;
    let id = world.id();
    let mut expected = Vec::new();
    // Ten, so that an order by text would show; the last one removes the row and repeats its version.
    for version in (1..=10).chain([10]) {
        let mut batch = world.batch();
        let own = change(Subject::Token, id, version);
        batch.event.changes = vec![
            change(Subject::Record, id, version),
            own.clone(),
            change(Subject::Token, world.id(), version),
        ];
        let alone = Event {
            changes: Vec::new(),
            ..batch.event.clone()
        };
        expected.insert(0, (alone, own));
        assert!(world.write(batch).await.unwrap());
    }
    let history = async |limit| {
        let history = world.store.history(world.realm, Subject::Token, id, limit);
        history.await.unwrap()
    };
    assert_eq!(history(100).await, expected);
    assert_eq!(history(2).await, expected[..2]);
    let nobody = world.store.history(world.realm, Subject::Value, id, 9);
    assert_eq!(nobody.await.unwrap(), []);
}

pub(crate) async fn digests_of_events(house: &dyn House) {
    let world = World::of(house).await;
    let mut batch = world.batch();
    let record = world.record("kind", None);
    batch.event.changes = vec![
        change(Subject::Record, record.id.0, 1),
        engine::event::Change {
            before: serde_json::Value::Null,
            after: record.body.clone(),
            ..change(Subject::Token, world.id(), 2)
        },
    ];
    let event = batch.event.clone();
    assert!(world.write(batch).await.unwrap());
    let stored = world.store.event_digest(world.realm, event.id);
    assert_eq!(stored.await.unwrap(), Some(event.digest()));
    // What is read back has the digest that was stored: nothing of the event is lost or reordered.
    assert_eq!(world.events().await[0].digest(), event.digest());
    let unknown = EventId(world.id());
    let none = world.store.event_digest(world.realm, unknown);
    assert_eq!(none.await.unwrap(), None);
}
