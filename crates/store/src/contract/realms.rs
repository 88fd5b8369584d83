//! Realms: the same ids and keys in two of them are different rows, for every method.
//!
//! The one thing to know: a method that forgets its realm passes every other test, so a new one is added to the list
//! here.

use engine::batch::{MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::event::Subject;
use engine::locator::{Holder, Key};
use engine::record::Record;
use engine::store::{Lookup, MarkPage, Query, Usage};
use engine::token::{State, Token};
use engine::value::Value;

use super::House;
use super::world::{World, change, claim, place};

pub(crate) async fn realms_never_mix(house: &dyn House) {
    let here = World::of(house).await;
    let there = here.another_realm();
    // The same ids, keys and kinds in both, with other content.
    let record = here.record("kind", None);
    let value = here.value(Some(record.id));
    let token = Token {
        parent: Some(record.id),
        ..here.data_token(value.id)
    };
    let holder = Holder::Token(token.id);
    let [alias, tag] = [place("alias", b"a"), place("tag", b"t")];
    let mut events = Vec::new();
    for (world, word) in [(&here, "here"), (&there, "there")] {
        let mut batch = world.batch();
        batch.event.changes = vec![change(Subject::Token, token.id.0, 1)];
        batch.event.verb = word.to_owned();
        events.push(batch.event.clone());
        let realm = world.realm;
        batch.records.push(RecordWrite::Insert(Record {
            realm,
            kind: word.to_owned(),
            state: State::Deleted,
            ..record.clone()
        }));
        batch.values.push(ValueWrite::Insert(Value {
            realm,
            class: word.to_owned(),
            ..value.clone()
        }));
        batch.tokens.push(TokenWrite::Insert(Token {
            realm,
            name: Some(word.to_owned()),
            ..token.clone()
        }));
        batch.locators.push(claim(alias.clone(), holder, None));
        batch.marks.push(MarkWrite::Set(tag.clone(), holder));
        assert!(world.write(batch).await.unwrap());
        let usage = Usage {
            uses: word.len() as u64,
            last_used_at: world.now(),
        };
        world
            .store
            .add_usage(vec![(realm, token.id, usage)])
            .await
            .unwrap();
    }
    for ((world, word), event) in [(&here, "here"), (&there, "there")].into_iter().zip(events) {
        let (store, realm) = (&world.store, world.realm);
        let query = Query {
            entries: true,
            ..world.query(vec![
                Lookup::Located(alias.clone()),
                Lookup::Marked(tag.clone()),
            ])
        };
        let rows = store.fetch(query).await.unwrap();
        let tokens: Vec<&Token> = rows.tokens.values().collect();
        assert_eq!((tokens.len(), tokens[0].realm), (1, realm));
        assert_eq!(tokens[0].name.as_deref(), Some(word));
        assert_eq!(rows.values[&value.id].class, word);
        assert_eq!(rows.records[&record.id].kind, word);
        assert_eq!(store.tokens_after(realm, None, 9).await.unwrap().len(), 1);
        assert_eq!(
            store
                .records_after(realm, word, None, 9)
                .await
                .unwrap()
                .len(),
            1
        );
        let later = world.now();
        assert_eq!(
            store.deleted_records(realm, later, 9).await.unwrap().len(),
            1
        );
        let page = MarkPage {
            realm,
            space: tag.space.clone(),
            first: Key(Vec::new()),
            last: Key(vec![0xff]),
            after: None,
            limit: 9,
        };
        assert_eq!(store.marks(page).await.unwrap().len(), 1);
        assert_eq!(store.events_before(realm, None, 9).await.unwrap(), [event]);
        let history = store
            .history(realm, Subject::Token, token.id.0, 9)
            .await
            .unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].0.verb, word);
        let usage = store.usage(realm, &[token.id]).await.unwrap();
        assert_eq!(usage[&token.id].uses, word.len() as u64);
    }
    // What is removed here is still there.
    let mut batch = here.batch();
    batch.tokens.push(TokenWrite::Delete {
        id: token.id,
        from: 1,
    });
    batch.values.push(ValueWrite::Delete {
        id: value.id,
        from: 1,
    });
    assert!(here.write(batch).await.unwrap());
    assert_eq!(here.find_token(token.id).await, None);
    assert!(there.find_token(token.id).await.is_some());
    assert!(there.find_value(value.id).await.is_some());
    let usage = there.store.usage(there.realm, &[token.id]).await.unwrap();
    assert_eq!(usage.len(), 1);
}
