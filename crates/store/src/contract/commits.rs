//! What a commit promises: whole or nothing, once, and only over what it was decided on.
//!
//! The one thing to know: a batch that is refused must leave nothing, so each test looks at all rows afterwards and not
//! only at the answer.

use engine::batch::{Batch, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::event::Subject;
use engine::locator::Holder;
use engine::record::Record;
use engine::store::{Lookup, MarkPage, Query, StoreError};
use engine::token::{State, Token, TokenId};
use engine::value::{Sealed, Value, ValueId};
use serde_json::json;

use super::House;
use super::world::{Row, World, change, claim, place, renamed};

/// A batch with one write of each kind, and the places it uses.
fn everything(world: &World) -> (Batch, Token, Value, Record) {
    let record = world.record("collection", None);
    let value = world.value(Some(record.id));
    let token = Token {
        container: Some(record.id),
        parent: Some(record.id),
        ..world.data_token(value.id)
    };
    let mut batch = world.batch();
    batch.event.changes = vec![
        change(Subject::Token, token.id.0, 1),
        change(Subject::Record, record.id.0, 1),
        change(Subject::Value, value.id.0, 1),
    ];
    batch.tokens.push(TokenWrite::Insert(token.clone()));
    batch.values.push(ValueWrite::Insert(value.clone()));
    batch.records.push(RecordWrite::Insert(record.clone()));
    let holder = Holder::Token(token.id);
    batch
        .locators
        .push(claim(place("secret", b"k"), holder, None));
    batch.marks.push(MarkWrite::Set(place("tag", b"k"), holder));
    (batch, token, value, record)
}

async fn marked(world: &World, space: &'static str, key: &[u8]) -> Vec<Holder> {
    let place = place(space, key);
    let page = MarkPage {
        realm: world.realm,
        space: place.space,
        first: place.key.clone(),
        last: place.key,
        after: None,
        limit: 100,
    };
    let found = world.store.marks(page).await.unwrap();
    found.into_iter().map(|(_, holder)| holder).collect()
}

async fn assert_nothing_of(world: &World, batch: &Batch) {
    let digest = world.store.event_digest(world.realm, batch.event.id);
    assert_eq!(digest.await.unwrap(), None);
    for write in &batch.tokens {
        if let TokenWrite::Insert(token) = write {
            assert_eq!(world.find_token(token.id).await, None);
        }
    }
    for write in &batch.records {
        if let RecordWrite::Insert(record) = write {
            assert_eq!(world.find_record(record.id).await, None);
        }
    }
    for write in &batch.values {
        if let ValueWrite::Insert(value) = write {
            assert_eq!(world.find_value(value.id).await, None);
        }
    }
    assert_eq!(world.holder(&place("secret", b"k")).await, None);
    assert_eq!(marked(world, "tag", b"k").await, []);
    for change in &batch.event.changes {
        let history = world
            .store
            .history(world.realm, change.subject, change.id, 9);
        assert_eq!(history.await.unwrap(), []);
    }
}

pub(crate) async fn a_batch_is_applied_whole_and_comes_back_as_it_was(house: &dyn House) {
    let world = World::of(house).await;
    let (batch, token, value, record) = everything(&world);
    let event = batch.event.clone();
    assert!(world.write(batch).await.unwrap());

    assert_eq!(world.find_token(token.id).await.as_ref(), Some(&token));
    assert_eq!(world.find_value(value.id).await.as_ref(), Some(&value));
    assert_eq!(world.find_record(record.id).await.as_ref(), Some(&record));
    let holder = Holder::Token(token.id);
    assert_eq!(world.holder(&place("secret", b"k")).await, Some(holder));
    assert_eq!(marked(&world, "tag", b"k").await, [holder]);
    assert_eq!(world.events().await, [event]);

    // Every column that may be empty, empty; and an update replaces each of them.
    let bare = Token {
        version: 2,
        container: None,
        parent: None,
        name: None,
        tags: Vec::new(),
        tenant: None,
        state: State::Revoked,
        expires_at: None,
        ..world.access_token()
    };
    let bare = Token {
        id: token.id,
        ..bare
    };
    let bare_value = Value {
        container: None,
        external_id: None,
        scope: None,
        identity: None,
        refers_to: Some(record.id),
        body: json!(null),
        sealed: None,
        ..world.value(None)
    };
    let bare_record = Record {
        version: 2,
        kind: "other".to_owned(),
        state: State::Deleted,
        expires_at: None,
        addresses: Vec::new(),
        parent: Some(record.id),
        locators: Vec::new(),
        marks: Vec::new(),
        body: json!([]),
        updated_at: world.now(),
        updated_by: String::new(),
        ..record
    };
    let mut batch = world.batch();
    batch.event.reason = None;
    batch.tokens.push(TokenWrite::Update {
        token: bare.clone(),
        from: 1,
    });
    batch.values.push(ValueWrite::Insert(bare_value.clone()));
    batch.records.push(RecordWrite::Update {
        record: bare_record.clone(),
        from: 1,
    });
    let event = batch.event.clone();
    assert!(world.write(batch).await.unwrap());
    assert_eq!(world.find_token(token.id).await, Some(bare));
    assert_eq!(world.find_value(bare_value.id).await, Some(bare_value));
    assert_eq!(world.find_record(bare_record.id).await, Some(bare_record));
    assert_eq!(world.events().await[0], event);
}

pub(crate) async fn a_batch_with_one_refused_write_leaves_nothing(house: &dyn House) {
    let world = World::of(house).await;
    let there = world.access_token();
    let holder = Holder::Token(there.id);
    let taken = place("secret", b"taken");
    world
        .insert(vec![
            Row::Token(there.clone()),
            Row::Locator(taken.clone(), holder),
        ])
        .await;

    let spoil: [fn(&mut Batch, &Token); 5] = [
        |batch, there| batch.tokens.push(TokenWrite::Insert(there.clone())),
        |batch, there| {
            batch.tokens.push(TokenWrite::Delete {
                id: there.id,
                from: 2,
            });
        },
        |batch, _| {
            batch.values.push(ValueWrite::Delete {
                id: ValueId(batch.event.id.0),
                from: 1,
            });
        },
        |batch, there| {
            let id = engine::record::RecordId(there.id.0);
            batch.records.push(RecordWrite::Delete { id, from: 1 });
        },
        |batch, _| {
            let holder = Holder::Token(TokenId(batch.event.id.0));
            batch
                .locators
                .push(claim(place("secret", b"taken"), holder, None));
        },
    ];
    for spoil in spoil {
        let (mut batch, ..) = everything(&world);
        let good = batch.clone();
        spoil(&mut batch, &there);
        let refused = world.write(batch).await;
        assert!(
            matches!(refused, Err(StoreError::Taken { .. } | StoreError::Stale)),
            "{refused:?}"
        );
        assert_nothing_of(&world, &good).await;
    }
    assert_eq!(world.find_token(there.id).await, Some(there));
    assert_eq!(world.holder(&taken).await, Some(holder));
    assert_eq!(world.events().await.len(), 1);
}

pub(crate) async fn a_decision_for_nothing_writes_nothing(house: &dyn House) {
    let world = World::of(house).await;
    let applied = world
        .store
        .commit(world.query(Vec::new()), Box::new(|_| None))
        .await;
    assert!(!applied.unwrap());
    assert_eq!(world.events().await, []);
}

pub(crate) async fn an_event_is_applied_once(house: &dyn House) {
    let world = World::of(house).await;
    let (batch, token, ..) = everything(&world);
    assert!(world.write(batch.clone()).await.unwrap());
    // The same again would find its ids taken; but it has been done.
    assert!(!world.write(batch.clone()).await.unwrap());
    // Whatever else comes under the same id was not asked for by this event.
    let mut other = world.batch();
    other.event.id = batch.event.id;
    other.tokens.push(renamed(&token, "renamed"));
    assert!(!world.write(other).await.unwrap());
    assert_eq!(world.find_token(token.id).await, Some(token));
    assert_eq!(world.events().await, [batch.event]);
}

pub(crate) async fn the_same_event_id_in_another_realm_is_another_event(house: &dyn House) {
    let world = World::of(house).await;
    let elsewhere = world.another_realm();
    let here = world.batch();
    let mut there = elsewhere.batch();
    there.event.id = here.event.id;
    assert!(world.write(here.clone()).await.unwrap());
    assert!(elsewhere.write(there.clone()).await.unwrap());
    assert_eq!(world.events().await, [here.event]);
    assert_eq!(elsewhere.events().await, [there.event]);
}

pub(crate) async fn marks_are_set_and_unset_idempotently(house: &dyn House) {
    let world = World::of(house).await;
    let [a, b] = [(); 2].map(|()| Holder::Token(TokenId(world.id())));
    let tag = place("tag", b"blue");
    let write = async |marks: Vec<MarkWrite>| {
        let mut batch = world.batch();
        batch.marks = marks;
        assert!(world.write(batch).await.unwrap());
        marked(&world, "tag", b"blue").await
    };
    let set = |holder| MarkWrite::Set(tag.clone(), holder);
    let unset = |holder| MarkWrite::Unset(tag.clone(), holder);
    assert_eq!(write(vec![unset(a)]).await, []);
    assert_eq!(write(vec![set(a), set(a), set(b)]).await, [a, b]);
    assert_eq!(write(vec![set(a)]).await, [a, b]);
    // In any order: a tag that is both an old and a new one stays.
    assert_eq!(write(vec![set(a), unset(a)]).await, [a, b]);
    assert_eq!(write(vec![unset(b), unset(b)]).await, [a]);
}

pub(crate) async fn a_decision_gets_the_rows_it_asked_for(house: &dyn House) {
    let world = World::of(house).await;
    let (batch, token, value, record) = everything(&world);
    assert!(world.write(batch).await.unwrap());
    let query = Query {
        sealed: true,
        ..world.query(vec![
            Lookup::Located(place("secret", b"k")),
            Lookup::Marked(place("tag", b"k")),
        ])
    };
    let fetched = world.store.fetch(query.clone()).await.unwrap();
    let empty = world.batch();
    let decide = Box::new(move |rows: &engine::store::Rows| {
        let [found] = rows.tokens.values().collect::<Vec<_>>()[..] else {
            return None;
        };
        let mut batch = empty.clone();
        batch.tokens.push(renamed(found, "seen"));
        let complete = rows.values[&value.id] == value
            && rows.records[&record.id] == record
            && rows.located[&place("secret", b"k")] == Holder::Token(found.id)
            && rows.tokens == fetched.tokens;
        complete.then_some(batch)
    });
    assert!(world.store.commit(query, decide).await.unwrap());
    let seen = world.find_token(token.id).await.unwrap();
    assert_eq!((seen.version, seen.name.as_deref()), (2, Some("seen")));
}

pub(crate) async fn a_decision_over_too_many_tokens_is_not_asked(house: &dyn House) {
    let world = World::of(house).await;
    let tokens = [(); 3].map(|()| world.access_token());
    let lookups = tokens.iter().map(|token| Lookup::Token(token.id)).collect();
    let rows = tokens.into_iter().map(Row::Token).collect();
    world.insert(rows).await;
    let query = Query {
        limit: 2,
        ..world.query(lookups)
    };
    let decide = Box::new(|_: &engine::store::Rows| panic!("asked with too many tokens"));
    let refused = world.store.commit(query, decide).await;
    assert!(
        matches!(refused, Err(StoreError::TooMany { max: 2 })),
        "{refused:?}"
    );
}

pub(crate) async fn a_value_is_a_chain_of_versions(house: &dyn House) {
    let world = World::of(house).await;
    let mut present = world.value(None);
    let id = present.id;
    world.insert(vec![Row::Value(present.clone())]).await;
    let mut superseded = Vec::new();
    for from in 1..=4 {
        let at = world.now();
        let next = Value {
            version: from + 1,
            sealed: Some(Sealed(vec![u8::try_from(from).unwrap(); 5000])),
            created_at: at,
            ..present
        };
        let mut batch = world.batch();
        batch.values.push(ValueWrite::Supersede {
            value: next.clone(),
            from,
        });
        assert!(world.write(batch).await.unwrap());
        assert_eq!(world.find_value(id).await.as_ref(), Some(&next));
        superseded.push((id, from));
        present = next;
    }
    let listed = async || {
        let all = world.store.superseded_values(world.realm, world.now(), 100);
        all.await.unwrap()
    };
    assert_eq!(listed().await, superseded);

    // Forgetting takes superseded versions only, however far it is told to go, and may be repeated.
    for (through, left) in [(2, &superseded[2..]), (2, &superseded[2..]), (100, &[])] {
        let mut batch = world.batch();
        batch.values.push(ValueWrite::Forget { id, through });
        assert!(world.write(batch).await.unwrap());
        assert_eq!(listed().await, left);
        assert_eq!(world.find_value(id).await.as_ref(), Some(&present));
    }
    let mut batch = world.batch();
    batch.values.push(ValueWrite::Delete { id, from: 5 });
    assert!(world.write(batch).await.unwrap());
    assert_eq!(world.find_value(id).await, None);
}

pub(crate) async fn a_value_begins_anew_after_its_removal(house: &dyn House) {
    let world = World::of(house).await;
    let value = world.value(None);
    let id = value.id;
    world.insert(vec![Row::Value(value.clone())]).await;
    let next = Value {
        version: 2,
        ..value.clone()
    };
    let mut batch = world.batch();
    batch.values.push(ValueWrite::Supersede {
        value: next,
        from: 1,
    });
    assert!(world.write(batch).await.unwrap());
    let mut batch = world.batch();
    batch.values.push(ValueWrite::Delete { id, from: 2 });
    assert!(world.write(batch).await.unwrap());
    let left = world.store.superseded_values(world.realm, world.now(), 9);
    assert_eq!(left.await.unwrap(), [], "all versions go");
    world.insert(vec![Row::Value(value.clone())]).await;
    assert_eq!(world.find_value(id).await, Some(value));
}
