//! Plans: a statement reads the rows it needs, also while nobody has counted how many there are.
//!
//! The one thing to know: a new table has no statistics, and a plan made then would read it from end to end until it has.

use std::time::Duration;

use engine::batch::{LocatorWrite, TokenWrite};
use engine::locator::Holder;
use engine::store::{Lookup, Rows};
use engine::token::Token;
use tokio::task::JoinSet;

use super::Database;
use crate::contract::House;
use crate::contract::world::{World, place, renamed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realm_that_was_just_filled_is_not_read_from_end_to_end() {
    const TOKENS: usize = 4_000;
    const UPDATES: usize = 200;
    let house = Database::build().await;
    let world = World::of(&house).await;
    // Plans of the time when the tables are empty are made and kept.
    for _ in 0..20 {
        let query = world.query(vec![Lookup::Located(place("name", b"x"))]);
        assert!(!world.store.commit(query, Box::new(|_| None)).await.unwrap());
    }
    for table in ["token", "record", "locator"] {
        house.tamper(&format!(
            "ALTER TABLE {table} SET (autovacuum_enabled = off)"
        ));
    }
    let mut batch = world.batch();
    let mut ids = Vec::new();
    for number in 0..TOKENS {
        let record = world.record("kind", None);
        let token = Token {
            parent: Some(record.id),
            ..world.access_token()
        };
        ids.push(token.id);
        batch.locators.push(LocatorWrite::Claim {
            place: place("name", &number.to_be_bytes()),
            holder: Holder::Token(token.id),
            from: None,
        });
        batch.tokens.push(TokenWrite::Insert(token));
        batch
            .records
            .push(engine::batch::RecordWrite::Insert(record));
    }
    assert!(world.write(batch).await.unwrap());

    let mut calls = JoinSet::new();
    for number in 0..UPDATES {
        let (world, id) = (world.clone(), ids[number * 7 % TOKENS]);
        calls.spawn(async move {
            let name = place("name", &(number * 7 % TOKENS).to_be_bytes());
            let empty = world.batch();
            let decide = Box::new(move |rows: &Rows| {
                let mut batch = empty.clone();
                assert_eq!(rows.records.len(), 1);
                batch.tokens.push(renamed(&rows.tokens[&id], "again"));
                Some(batch)
            });
            let query = world.query(vec![Lookup::Located(name)]);
            world.store.commit(query, decide).await.unwrap()
        });
    }
    assert!(calls.join_all().await.into_iter().all(|applied| applied));

    // The server tells what it has done a moment later.
    let told = |column: &str, table: &str| -> usize {
        let sql = format!("SELECT {column} FROM pg_stat_user_tables WHERE relname = '{table}'");
        house.tamper(&sql).parse().unwrap()
    };
    while told("n_tup_upd", "token") < UPDATES {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for table in ["token", "record", "locator"] {
        let read = told("idx_tup_fetch + seq_tup_read", table);
        assert!(
            read < 10 * UPDATES,
            "{read} rows of {table} were read for {UPDATES} updates"
        );
    }
}
