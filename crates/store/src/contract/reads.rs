//! What a query brings along, and what it does not.
//!
//! The one thing to know: a row that was asked for and is not there is an answer too, which a decision may rest on.

use engine::batch::RecordWrite;
use engine::limits;
use engine::locator::{Holder, Key, Place, Space};
use engine::record::{Record, RecordId};
use engine::store::{Lookup, Query, Rows, StoreError};
use engine::token::{self, Access, Body, State, Token};
use engine::value::{Sealed, Value};
use uuid::Uuid;

use super::House;
use super::world::{Row, World, place};

fn record_ids(rows: &Rows) -> Vec<RecordId> {
    rows.records.keys().copied().collect()
}

/// A chain of records, the topmost first.
fn chain(world: &World, length: usize) -> Vec<Record> {
    let mut chain: Vec<Record> = Vec::new();
    for _ in 0..length {
        let parent = chain.last().map(|record| record.id);
        chain.push(world.record("level", parent));
    }
    chain
}

fn entry(token: &Token) -> Row {
    let value = token.value().unwrap();
    Row::Mark(
        Place::new(Space::ENTRY, Key::of_id(value.0)),
        Holder::Token(token.id),
    )
}

pub(crate) async fn what_is_not_there_is_left_out(house: &dyn House) {
    let world = World::of(house).await;
    let missing = Uuid::from_u128(7);
    let rows = world
        .rows(vec![
            Lookup::Token(token::TokenId(missing)),
            Lookup::Value(engine::value::ValueId(missing)),
            Lookup::Record(RecordId(missing)),
            Lookup::Located(place("secret", b"none")),
            Lookup::Marked(place("tag", b"none")),
        ])
        .await;
    assert!(rows.tokens.is_empty() && rows.values.is_empty());
    assert!(rows.records.is_empty() && rows.located.is_empty());
    // Neither do dangling references lead to an error: a token whose value, container and parent are gone is a token.
    let token = Token {
        container: Some(RecordId(missing)),
        parent: Some(RecordId(missing)),
        ..world.data_token(engine::value::ValueId(missing))
    };
    let dangling = Holder::Record(RecordId(missing));
    let [located, tag] = [place("name", b"x"), place("tag", b"x")];
    world
        .insert(vec![
            Row::Token(token.clone()),
            Row::Locator(located.clone(), dangling),
            Row::Mark(tag.clone(), dangling),
        ])
        .await;
    let lookups = vec![
        Lookup::Token(token.id),
        Lookup::Located(located.clone()),
        Lookup::Marked(tag),
    ];
    let rows = world.rows(lookups).await;
    assert_eq!(rows.tokens.into_values().collect::<Vec<_>>(), [token]);
    assert!(rows.values.is_empty() && rows.records.is_empty());
    assert_eq!(rows.located[&located], dangling);
}

pub(crate) async fn tokens_bring_values_containers_objects_and_ancestors(house: &dyn House) {
    let world = World::of(house).await;
    let organization = world.record("organization", None);
    let collection = world.record("collection", Some(organization.id));
    let object = world.record("object", Some(collection.id));
    let owner = world.record("object", Some(collection.id));
    let elsewhere = world.record("collection", None);
    let pointer = Value {
        refers_to: Some(object.id),
        sealed: None,
        ..world.value(Some(elsewhere.id))
    };
    let token = Token {
        container: Some(collection.id),
        parent: Some(owner.id),
        ..world.data_token(pointer.id)
    };
    let unrelated = world.access_token();
    let records = [&organization, &collection, &object, &owner, &elsewhere];
    let mut rows: Vec<Row> = records.map(|record| Row::Record(record.clone())).into();
    rows.extend([
        Row::Value(pointer.clone()),
        Row::Token(token.clone()),
        Row::Token(unrelated),
    ]);
    world.insert(rows).await;

    let mut all = records.map(|record| record.id);
    all.sort_unstable();
    let rows = world.rows(vec![Lookup::Token(token.id)]).await;
    assert_eq!(rows.tokens.keys().collect::<Vec<_>>(), [&token.id]);
    assert_eq!(rows.values.keys().collect::<Vec<_>>(), [&pointer.id]);
    assert_eq!(record_ids(&rows), all);

    let rows = world.rows(vec![Lookup::Value(pointer.id)]).await;
    assert!(rows.tokens.is_empty());
    let mut above = [elsewhere.id, object.id, collection.id, organization.id];
    above.sort_unstable();
    assert_eq!(record_ids(&rows), above);

    let rows = world.rows(vec![Lookup::Record(owner.id)]).await;
    let mut above = [owner.id, collection.id, organization.id];
    above.sort_unstable();
    assert_eq!(record_ids(&rows), above);
}

pub(crate) async fn ancestors_end_at_the_limit(house: &dyn House) {
    let world = World::of(house).await;
    let chain = chain(&world, limits::ANCESTORS_MAX + 4);
    let lowest = chain.last().unwrap().id;
    let deepest_allowed = chain[limits::ANCESTORS_MAX - 1].id;
    let [too_deep, allowed] = [lowest, deepest_allowed].map(|parent| Token {
        parent: Some(parent),
        ..world.access_token()
    });
    let mut rows: Vec<Row> = chain.iter().cloned().map(Row::Record).collect();
    rows.extend([Row::Token(too_deep.clone()), Row::Token(allowed.clone())]);
    world.insert(rows).await;

    let rows = world.rows(vec![Lookup::Token(allowed.id)]).await;
    let above = token::ancestors(allowed.parent, &rows.records).unwrap();
    assert_eq!(above.len(), limits::ANCESTORS_MAX);
    let rows = world.rows(vec![Lookup::Token(too_deep.id)]).await;
    assert_eq!(rows.records.len(), limits::ANCESTORS_MAX);
    assert_eq!(token::ancestors(too_deep.parent, &rows.records), None);
    let rows = world.rows(vec![Lookup::Record(lowest)]).await;
    assert_eq!(rows.records.len(), limits::ANCESTORS_MAX + 1);

    // Records above each other in a circle end too.
    let [mut one, mut two] = [world.record("kind", None), world.record("kind", None)];
    (one.parent, two.parent) = (Some(two.id), Some(one.id));
    let below = Token {
        parent: Some(one.id),
        ..world.access_token()
    };
    let id = below.id;
    world
        .insert(vec![Row::Record(one), Row::Record(two), Row::Token(below)])
        .await;
    let rows = world.rows(vec![Lookup::Token(id)]).await;
    assert_eq!((rows.tokens.len(), rows.records.len()), (1, 2));
}

pub(crate) async fn a_short_walk_does_not_cut_a_longer_one(house: &dyn House) {
    let world = World::of(house).await;
    let chain = chain(&world, 2 * limits::ANCESTORS_MAX);
    // From the bottom a walk ends in the middle; from the middle it must reach the top all the same.
    let tokens: Vec<Token> = chain
        .iter()
        .rev()
        .map(|record| Token {
            parent: Some(record.id),
            ..world.access_token()
        })
        .collect();
    let lookups = tokens.iter().map(|token| Lookup::Token(token.id)).collect();
    let mut rows: Vec<Row> = chain.iter().cloned().map(Row::Record).collect();
    rows.extend(tokens.iter().cloned().map(Row::Token));
    world.insert(rows).await;
    let rows = world.rows(lookups).await;
    for (height, token) in tokens.iter().rev().enumerate() {
        let above = token::ancestors(token.parent, &rows.records);
        assert_eq!(above.is_some(), height < limits::ANCESTORS_MAX, "{height}");
    }
    assert_eq!(rows.records.len(), chain.len());
}

pub(crate) async fn locators_and_marks_lead_to_their_holders(house: &dyn House) {
    let world = World::of(house).await;
    let collection = world.record("collection", None);
    let value = world.value(Some(collection.id));
    let tokens = [(); 3].map(|()| world.access_token());
    let [by_token, by_value, by_record] =
        [b"t", b"v", b"r"].map(|key| place("name", key.as_slice()));
    let tag = place("tag", b"blue");
    world
        .insert(vec![
            Row::Record(collection.clone()),
            Row::Value(value.clone()),
            Row::Token(tokens[0].clone()),
            Row::Token(tokens[1].clone()),
            Row::Token(tokens[2].clone()),
            Row::Locator(by_token.clone(), Holder::Token(tokens[0].id)),
            Row::Locator(by_value.clone(), Holder::Value(value.id)),
            Row::Locator(by_record.clone(), Holder::Record(collection.id)),
            Row::Mark(tag.clone(), Holder::Token(tokens[1].id)),
            Row::Mark(tag.clone(), Holder::Token(tokens[2].id)),
            Row::Mark(tag.clone(), Holder::Record(collection.id)),
            Row::Mark(place("tag", b"blu"), Holder::Token(tokens[0].id)),
        ])
        .await;
    let rows = world.rows(vec![Lookup::Located(by_token.clone())]).await;
    assert_eq!(rows.tokens.keys().collect::<Vec<_>>(), [&tokens[0].id]);
    assert_eq!(rows.located[&by_token], Holder::Token(tokens[0].id));
    let rows = world.rows(vec![Lookup::Located(by_value)]).await;
    assert_eq!(rows.values.keys().collect::<Vec<_>>(), [&value.id]);
    assert_eq!(record_ids(&rows), [collection.id]);
    let rows = world.rows(vec![Lookup::Located(by_record)]).await;
    assert_eq!(record_ids(&rows), [collection.id]);
    let rows = world.rows(vec![Lookup::Marked(tag.clone())]).await;
    let marked: Vec<_> = rows.tokens.keys().copied().collect();
    assert_eq!(marked, [tokens[1].id, tokens[2].id]);
    assert_eq!(record_ids(&rows), [collection.id]);
    assert!(rows.located.is_empty());
    // United, and each once.
    let lookups = vec![
        Lookup::Marked(tag),
        Lookup::Located(by_token),
        Lookup::Token(tokens[1].id),
    ];
    assert_eq!(world.rows(lookups).await.tokens.len(), 3);
}

pub(crate) async fn entries_come_along_when_asked_for(house: &dyn House) {
    let world = World::of(house).await;
    let value = world.value(None);
    let entries = [(); 3].map(|()| world.data_token(value.id));
    let mut rows = vec![Row::Value(value.clone())];
    rows.extend(entries.iter().map(entry));
    rows.extend(entries.iter().cloned().map(Row::Token));
    world.insert(rows).await;
    let found = async |lookup, entries| {
        let query = Query {
            entries,
            ..world.query(vec![lookup])
        };
        let rows = world.store.fetch(query).await.unwrap();
        assert_eq!(rows.values.len(), 1);
        rows.tokens.len()
    };
    assert_eq!(found(Lookup::Token(entries[1].id), false).await, 1);
    assert_eq!(found(Lookup::Token(entries[1].id), true).await, 3);
    assert_eq!(found(Lookup::Value(value.id), false).await, 0);
    assert_eq!(found(Lookup::Value(value.id), true).await, 3);
}

pub(crate) async fn values_come_sealed_only_when_asked_for(house: &dyn House) {
    let world = World::of(house).await;
    let value = Value {
        sealed: Some(Sealed(vec![1; 100_000])),
        ..world.value(None)
    };
    let token = world.data_token(value.id);
    world
        .insert(vec![Row::Value(value.clone()), Row::Token(token.clone())])
        .await;
    for lookup in [Lookup::Value(value.id), Lookup::Token(token.id)] {
        for sealed in [true, false] {
            let query = Query {
                sealed,
                ..world.query(vec![lookup.clone()])
            };
            let found = world.store.fetch(query).await.unwrap().values[&value.id].clone();
            let expected = Value {
                sealed: value.sealed.clone().filter(|_| sealed),
                ..value.clone()
            };
            assert_eq!(found, expected);
        }
    }
}

pub(crate) async fn the_secret_of_an_access_token_comes_when_asked_for(house: &dyn House) {
    let world = World::of(house).await;
    let value = world.value(None);
    let token = world.token(Body::Access(Access {
        proof: Some([1; 32]),
        uses_max: None,
        hint: String::new(),
        sealed_secret: Some(value.id),
        permissions: Vec::new(),
        addresses: Vec::new(),
    }));
    world
        .insert(vec![Row::Value(value.clone()), Row::Token(token.clone())])
        .await;
    for sealed in [true, false] {
        let query = Query {
            sealed,
            ..world.query(vec![Lookup::Token(token.id)])
        };
        let rows = world.store.fetch(query).await.unwrap();
        assert_eq!(rows.tokens[&token.id], token);
        assert_eq!(rows.values.get(&value.id), Some(&value).filter(|_| sealed));
    }
}

pub(crate) async fn tombstones_are_rows_like_others(house: &dyn House) {
    let world = World::of(house).await;
    let alive = world.record("user", None);
    let id = alive.id;
    let token = Token {
        parent: Some(id),
        ..world.access_token()
    };
    world
        .insert(vec![Row::Record(alive.clone()), Row::Token(token.clone())])
        .await;
    let dead = Record {
        state: State::Deleted,
        version: 2,
        ..alive
    };
    let mut batch = world.batch();
    batch.records.push(RecordWrite::Update {
        record: dead.clone(),
        from: 1,
    });
    assert!(world.write(batch).await.unwrap());
    let rows = world.rows(vec![Lookup::Token(token.id)]).await;
    assert_eq!(rows.records[&id], dead);
    assert_eq!(world.find_record(id).await, Some(dead));
}

pub(crate) async fn more_tokens_than_the_limit_are_refused(house: &dyn House) {
    let world = World::of(house).await;
    let value = world.value(None);
    let tokens = [(); 5].map(|()| world.data_token(value.id));
    let tag = place("tag", b"blue");
    let mut rows = vec![Row::Value(value.clone())];
    for token in &tokens {
        rows.extend([
            Row::Token(token.clone()),
            entry(token),
            Row::Mark(tag.clone(), Holder::Token(token.id)),
        ]);
    }
    world.insert(rows).await;
    let found = async |lookups: Vec<Lookup>, limit| {
        let query = Query {
            entries: true,
            limit,
            ..world.query(lookups)
        };
        match world.store.fetch(query).await {
            Ok(rows) => rows.tokens.len(),
            Err(StoreError::TooMany { max }) if max == limit => usize::MAX,
            Err(error) => panic!("{error}"),
        }
    };
    let by_id = tokens.iter().map(|token| Lookup::Token(token.id));
    for lookups in [
        by_id.collect(),
        vec![Lookup::Marked(tag)],
        vec![Lookup::Value(value.id)],
        vec![Lookup::Token(tokens[4].id)],
    ] {
        for limit in [5, 6, usize::MAX] {
            assert_eq!(found(lookups.clone(), limit).await, 5);
        }
        for limit in [0, 1, 4] {
            assert_eq!(found(lookups.clone(), limit).await, usize::MAX);
        }
    }
    // A limit is no obstacle where no token is found.
    assert_eq!(found(Vec::new(), 0).await, 0);
}
