//! What is refused, and alone: damaged rows, statements that take too long; and sessions that were left in the middle.
//!
//! The one thing to know: whoever shares a transaction or a session with such a one must notice nothing.

use std::time::Duration;

use engine::store::{Lookup, Rows, StoreError};
use engine::token::TokenId;
use engine::value::ValueId;
use tokio::task::JoinSet;

use super::super::address::configure;
use super::super::pool::{Session, Times, pool};
use super::{Database, connect};
use crate::Options;
use crate::contract::House;
use crate::contract::world::{Row, World, renamed};

/// A store with a token and a value, of which one column was changed by `SET …`.
async fn damaged(table: &str, change: &str) -> (Database, World, TokenId, ValueId) {
    let house = Database::build().await;
    let world = World::of(&house).await;
    let (token, value) = (world.access_token(), world.value(None));
    let ids = (token.id, value.id);
    world
        .insert(vec![Row::Token(token), Row::Value(value)])
        .await;
    house.tamper(&format!("UPDATE {table} SET {change}"));
    (house, world, ids.0, ids.1)
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_not_shown() {
    for (table, change) in [
        ("token", "tags = 'secret content'"),
        ("token", "attributes = '{\"secret content\"'"),
        ("token", "state = 'secret content'"),
        ("token", "proof = 'secret content'"),
        ("token", "version = -7"),
        ("token", "expires_at = 9223372036854775807"),
        ("token", "name = chr(1114111) || 'secret content'"),
        ("token", "hint = NULL"),
        ("value", "scope_name = NULL"),
        ("value", "identity = 'secret content'"),
        ("value", "body = 'secret content'"),
    ] {
        let (_house, world, token, value) = damaged(table, change).await;
        let query = world.query(vec![Lookup::Token(token), Lookup::Value(value)]);
        let id = if table == "token" { token.0 } else { value.0 }.to_string();
        let read = world.store.fetch(query.clone()).await.map(|_| ());
        let nothing = Box::new(|_: &Rows| None);
        let decided = world.store.commit(query, nothing).await.map(|_| ());
        for outcome in [read, decided] {
            let error = outcome.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                matches!(&error, StoreError::Corrupt { table: named, id: row, .. } if *named == table && *row == id),
                "{change}: {text}"
            );
            assert!(!text.contains("secret"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_damaged_row_fails_those_alone_who_read_it() {
    let (_house, world, token, _) = damaged("token", "tags = '['").await;
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let world = world.clone();
        calls.spawn(async move {
            if number % 5 == 0 {
                let empty = world.batch();
                let decide = Box::new(move |rows: &Rows| {
                    let mut batch = empty.clone();
                    batch.tokens.push(renamed(&rows.tokens[&token], "never"));
                    Some(batch)
                });
                let query = world.query(vec![Lookup::Token(token)]);
                world.store.commit(query, decide).await
            } else {
                world.write(world.batch()).await
            }
        });
    }
    let outcomes = calls.join_all().await;
    let applied = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(true)));
    assert_eq!(applied.count(), 16);
    let corrupt = |outcome: &&Result<bool, StoreError>| {
        matches!(outcome, Err(StoreError::Corrupt { table: "token", .. }))
    };
    assert_eq!(outcomes.iter().filter(corrupt).count(), 4);
    assert_eq!(world.events().await.len(), 17);
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_is_given_up_in_time() {
    let house = Database::new(Options {
        wait: Duration::from_millis(100),
        deadline: Duration::from_millis(700),
        ..Options::default()
    })
    .await;
    let world = World::of(&house).await;
    assert!(world.write(world.batch()).await.unwrap());
    let other = connect(&house.url()).await;
    other.batch_execute("BEGIN").await.unwrap();
    let lock = "SELECT 1 FROM realm_lock WHERE realm = $1 FOR UPDATE";
    other.execute(lock, &[&world.realm.0]).await.unwrap();
    let refused = world.write(world.batch()).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { unknown: false, .. })),
        "{refused:?}"
    );
    // Other realms do not wait for this one.
    let elsewhere = world.another_realm();
    assert!(elsewhere.write(elsewhere.batch()).await.unwrap());
    other.batch_execute("COMMIT").await.unwrap();
    assert!(world.write(world.batch()).await.unwrap());
    assert_eq!(world.events().await.len(), 2);
}

#[tokio::test]
async fn a_dropped_read_leaves_no_transaction_behind() {
    let house = Database::build().await;
    let world = World::of(&house).await;
    let token = world.access_token();
    let id = token.id;
    world.insert(vec![Row::Token(token)]).await;
    for number in 0..40 {
        let reading = tokio::spawn({
            let world = world.clone();
            async move { world.find_token(id).await }
        });
        for _ in 0..number % 8 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        reading.abort();
    }
    assert!(world.find_token(id).await.is_some());
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND state LIKE 'idle in transaction%'";
    // A connection that is being closed is seen for a moment.
    while house.tamper(left) != "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn sessions_do_not_depend_on_the_settings_of_the_server() {
    let house = Database::build().await;
    let name = &house.name;
    house.tamper(&format!(
        "ALTER DATABASE {name} SET synchronous_commit = off; ALTER DATABASE {name} SET statement_timeout = 1000; \
         ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
    ));
    let (config, tls) = configure(&house.url(), &house.options).unwrap();
    let times = Times {
        connect: Duration::from_secs(5),
        wait: Duration::from_secs(6),
        statement: Duration::from_secs(7),
    };
    let pool = pool(&config, tls, times, 1).unwrap();
    let session = Session::of(&pool).await.unwrap();
    for (setting, value) in [
        ("synchronous_commit", "on"),
        ("statement_timeout", "7s"),
        ("lock_timeout", "6s"),
        ("idle_in_transaction_session_timeout", "3s"),
        ("enable_seqscan", "off"),
    ] {
        let shown = session.query_one(&format!("SHOW {setting}"), &[]).await;
        let shown: String = shown.unwrap().get(0);
        assert_eq!(shown, value, "{setting}");
    }
    let world = World::of(&house).await;
    assert!(world.write(world.batch()).await.unwrap());
}
