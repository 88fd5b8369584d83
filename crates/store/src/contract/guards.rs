//! What a commit refuses: another version, an id that is there, a place that somebody else holds, a broken batch.
//!
//! The one thing to know: the refusal says what is wrong (`Stale`, `Taken` and where), because dialects answer these
//! differently.

use engine::batch::{LocatorWrite, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::locator::Holder;
use engine::record::Record;
use engine::store::{MarkPage, StoreError};
use engine::token::{Token, TokenId};
use engine::value::{Value, ValueId};

use super::House;
use super::world::{Row, World, claim, place, renamed};

pub(crate) async fn writes_over_another_version_are_stale(house: &dyn House) {
    let world = World::of(house).await;
    let (mut token, mut record) = (world.access_token(), world.record("kind", None));
    (token.version, record.version) = (5, 5);
    let value = world.value(None);
    world
        .insert(vec![
            Row::Token(token.clone()),
            Row::Record(record.clone()),
            Row::Value(value.clone()),
        ])
        .await;

    let mut stale = Vec::new();
    for from in [0, 4, 6, u64::MAX >> 2] {
        let id = token.id;
        let next = Token {
            version: from + 1,
            ..token.clone()
        };
        let next_record = Record {
            version: from + 1,
            ..record.clone()
        };
        let mut batch = world.batch();
        batch.tokens.push(TokenWrite::Update { token: next, from });
        stale.push(batch);
        let mut batch = world.batch();
        batch.tokens.push(TokenWrite::Delete { id, from });
        stale.push(batch);
        let id = record.id;
        let mut batch = world.batch();
        let record = next_record;
        batch.records.push(RecordWrite::Update { record, from });
        stale.push(batch);
        let mut batch = world.batch();
        batch.records.push(RecordWrite::Delete { id, from });
        stale.push(batch);
        let id = value.id;
        let value = Value {
            version: from + 1,
            ..value.clone()
        };
        let mut batch = world.batch();
        batch.values.push(ValueWrite::Supersede { value, from });
        stale.push(batch);
        let mut batch = world.batch();
        batch.values.push(ValueWrite::Delete { id, from });
        stale.push(batch);
    }
    // What is not there has no version at all.
    let mut batch = world.batch();
    batch.tokens.push(renamed(&world.access_token(), "missing"));
    stale.push(batch);
    for batch in stale {
        let shown = format!("{:?} {:?} {:?}", batch.tokens, batch.records, batch.values);
        let refused = world.write(batch).await;
        assert!(
            matches!(refused, Err(StoreError::Stale)),
            "{refused:?}: {shown}"
        );
    }
    assert_eq!(world.find_token(token.id).await, Some(token));
    assert_eq!(world.find_record(record.id).await, Some(record));
    assert_eq!(world.find_value(value.id).await, Some(value));
}

pub(crate) async fn ids_that_are_there_are_taken(house: &dyn House) {
    let world = World::of(house).await;
    let (token, value) = (world.access_token(), world.value(None));
    let record = world.record("kind", None);
    world
        .insert(vec![
            Row::Token(token.clone()),
            Row::Value(value.clone()),
            Row::Record(record.clone()),
        ])
        .await;
    let mut next = world.batch();
    let value = Value {
        version: 2,
        ..value
    };
    next.values.push(ValueWrite::Supersede {
        value: value.clone(),
        from: 1,
    });
    assert!(world.write(next).await.unwrap());

    let mut batches = [world.batch(), world.batch(), world.batch()];
    batches[0].tokens.push(TokenWrite::Insert(token));
    batches[1].records.push(RecordWrite::Insert(record));
    batches[2].values.push(ValueWrite::Insert(Value {
        version: 1,
        ..value
    }));
    for (batch, word) in batches.into_iter().zip(["token", "record", "value"]) {
        let refused = world.write(batch).await;
        assert!(
            matches!(&refused, Err(StoreError::Taken { space }) if space == word),
            "{refused:?}"
        );
    }
}

pub(crate) async fn a_claim_moves_only_from_the_stated_holder(house: &dyn House) {
    let world = World::of(house).await;
    let here = place("alias", b"here");
    let token = Holder::Token(TokenId(world.id()));
    // The same id under another kind of row is somebody else.
    let value = Holder::Value(ValueId(token.id()));
    let third = Holder::Token(TokenId(world.id()));
    let attempt = async |write: LocatorWrite| {
        let mut batch = world.batch();
        batch.locators.push(write);
        match world.write(batch).await {
            Ok(applied) => applied,
            Err(StoreError::Taken { space }) => {
                assert_eq!(space, "alias");
                false
            }
            Err(error) => panic!("{error}"),
        }
    };
    let release = |holder| LocatorWrite::Release {
        place: here.clone(),
        holder,
    };
    assert!(!attempt(claim(here.clone(), token, Some(third))).await);
    assert_eq!(world.holder(&here).await, None);
    assert!(attempt(claim(here.clone(), token, None)).await);
    assert!(!attempt(claim(here.clone(), third, None)).await);
    assert!(!attempt(claim(here.clone(), token, None)).await);
    assert!(!attempt(claim(here.clone(), third, Some(value))).await);
    // Whoever lets go of what it does not hold takes nothing from the one who does.
    assert!(attempt(release(value)).await);
    assert!(attempt(release(third)).await);
    assert_eq!(world.holder(&here).await, Some(token));
    assert!(attempt(claim(here.clone(), value, Some(token))).await);
    assert_eq!(world.holder(&here).await, Some(value));
    assert!(!attempt(claim(here.clone(), third, Some(token))).await);
    // One key of one space says nothing about the next.
    assert!(attempt(claim(place("alias", b"her"), third, None)).await);
    assert!(attempt(claim(place("alia", b"here"), third, None)).await);
    assert!(attempt(release(value)).await);
    assert_eq!(world.holder(&here).await, None);
    assert!(attempt(release(value)).await);
    assert!(attempt(claim(here.clone(), third, None)).await);
    assert_eq!(world.holder(&here).await, Some(third));
    // Several who may have held a place may let go of it at once.
    let mut batch = world.batch();
    batch.locators = [token, third, value].map(release).into();
    assert!(world.write(batch).await.unwrap());
    assert_eq!(world.holder(&here).await, None);
}

pub(crate) async fn keys_may_be_long(house: &dyn House) {
    let world = World::of(house).await;
    let holders = [(); 4].map(|()| Holder::Token(TokenId(world.id())));
    // Bytes that no compression makes shorter, alike but for the last.
    let bytes: Vec<u8> = (0..700).flat_map(|_| *world.id().as_bytes()).collect();
    let places: Vec<_> = [1_500, 1_501, 2_700, 11_200]
        .into_iter()
        .flat_map(|length| {
            let mut key = bytes[..length].to_vec();
            let one = place("alias", &key);
            key[length - 1] ^= 1;
            [one, place("alias", &key)]
        })
        .collect();
    let mut batch = world.batch();
    for (place, holder) in places.iter().zip(holders.iter().cycle()) {
        batch.locators.push(claim(place.clone(), *holder, None));
        batch.marks.push(MarkWrite::Set(place.clone(), *holder));
    }
    assert!(world.write(batch).await.unwrap());
    for (number, (place, holder)) in places.iter().zip(holders.iter().cycle()).enumerate() {
        assert_eq!(world.holder(place).await, Some(*holder), "{number}");
        let mut batch = world.batch();
        batch.locators.push(claim(place.clone(), *holder, None));
        let refused = world.write(batch).await;
        assert!(
            matches!(&refused, Err(StoreError::Taken { space }) if space == "alias"),
            "{refused:?}"
        );
        let page = MarkPage {
            realm: world.realm,
            space: place.space.clone(),
            first: place.key.clone(),
            last: place.key.clone(),
            after: None,
            limit: 9,
        };
        let marked = world.store.marks(page.clone()).await.unwrap();
        assert_eq!(marked.len(), 1, "{number}");
        assert_eq!(marked[0].1, *holder);
        let after = MarkPage {
            after: Some(marked[0].clone()),
            ..page
        };
        assert_eq!(world.store.marks(after).await.unwrap(), []);
    }
    let mut batch = world.batch();
    for (place, holder) in places.iter().zip(holders.iter().cycle()) {
        let (place, holder) = (place.clone(), *holder);
        batch.marks.push(MarkWrite::Unset(place.clone(), holder));
        batch.locators.push(LocatorWrite::Release { place, holder });
    }
    assert!(world.write(batch).await.unwrap());
    assert_eq!(world.holder(&places[7]).await, None);
}

pub(crate) async fn a_batch_that_breaks_its_own_rules_is_refused(house: &dyn House) {
    let world = World::of(house).await;
    let elsewhere = world.another_realm();
    let token = world.access_token();
    let value = world.value(None);
    world
        .insert(vec![Row::Token(token.clone()), Row::Value(value.clone())])
        .await;
    let holder = Holder::Token(token.id);

    let mut broken = Vec::new();
    for number in 0..11 {
        let mut batch = world.batch();
        let (events, values) = (&mut batch.event, &mut batch.values);
        match number {
            0 => events.realm = elsewhere.realm,
            1 => batch
                .tokens
                .push(TokenWrite::Insert(elsewhere.access_token())),
            2 => values.push(ValueWrite::Insert(elsewhere.value(None))),
            3 => batch
                .records
                .push(RecordWrite::Insert(elsewhere.record("kind", None))),
            4 => batch.tokens.push(TokenWrite::Update {
                token: token.clone(),
                from: 1,
            }),
            5 => values.push(ValueWrite::Insert(Value {
                version: 2,
                ..world.value(None)
            })),
            6 => values.push(ValueWrite::Supersede {
                value: Value {
                    version: 3,
                    ..value.clone()
                },
                from: 1,
            }),
            7 => {
                let id = token.id;
                batch.tokens.push(renamed(&token, "twice"));
                batch.tokens.push(TokenWrite::Delete { id, from: 2 });
            }
            8 => {
                let record = world.record("kind", None);
                let id = record.id;
                batch.records.push(RecordWrite::Insert(record));
                batch.records.push(RecordWrite::Delete { id, from: 1 });
            }
            9 => {
                let here = place("alias", b"twice");
                batch.locators.push(claim(here.clone(), holder, None));
                batch.locators.push(LocatorWrite::Release {
                    place: here,
                    holder,
                });
            }
            _ => {
                let here = place("alias", b"twice");
                batch.locators.push(claim(here.clone(), holder, None));
                batch.locators.push(claim(here, holder, Some(holder)));
            }
        }
        broken.push(batch);
    }
    for (number, batch) in broken.into_iter().enumerate() {
        let refused = world.write(batch).await;
        assert!(
            matches!(refused, Err(StoreError::Internal { .. })),
            "{number}: {refused:?}"
        );
    }
    assert_eq!(world.events().await.len(), 1);
    assert_eq!(elsewhere.events().await, []);
    assert_eq!(world.find_token(token.id).await, Some(token));
    assert_eq!(world.find_value(value.id).await, Some(value));
}
