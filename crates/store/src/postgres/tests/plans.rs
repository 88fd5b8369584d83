//! Plans: a statement reads the rows it needs, also while nobody has counted how many there are.
//!
//! The one thing to know: a new table has no statistics, and a plan made then would read it from end to end until it has.

use std::time::Duration;

use engine::batch::{LocatorWrite, TokenWrite};
use engine::locator::Holder;
use engine::store::{Lookup, Rows};
use engine::token::Token;
use tokio::task::JoinSet;

use super::super::pool::PLANNER_HINTS;
use super::super::transaction::planning;
use super::super::{locators, records, tokens};
use super::{Database, connect};
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

type Parameters<'a> = &'a [&'a (dyn tokio_postgres::types::ToSql + Sync)];

#[tokio::test]
async fn plans_are_kept_where_the_transaction_says_so() {
    let house = Database::build().await;
    let _world = World::of(&house).await;
    let mut client = connect(&house.url()).await;
    for hint in PLANNER_HINTS {
        client.batch_execute(hint).await.unwrap();
    }
    let realm = uuid::Uuid::nil();
    let (ids, spaces, keys): (Vec<uuid::Uuid>, Vec<String>, Vec<Vec<u8>>) =
        (vec![realm], vec!["name".to_owned()], vec![b"x".to_vec()]);
    for kept in [false, true] {
        let transaction = client.transaction().await.unwrap();
        if kept {
            transaction.execute(planning::KEEP, &[]).await.unwrap();
        }
        let place = transaction.prepare(locators::FIND).await.unwrap();
        let token = transaction.prepare(tokens::FIND_LOCATED).await.unwrap();
        let above = transaction.prepare(records::FIND_ABOVE_LOCATED).await;
        let above = above.unwrap();
        for _ in 0..8 {
            let (one, two): (Parameters<'_>, Parameters<'_>) =
                (&[&realm, &spaces, &keys], &[&realm, &ids, &spaces, &keys]);
            let three: Parameters<'_> = &[&realm, &ids, &9_i64, &spaces, &keys];
            for (statement, parameters) in [(&place, one), (&token, two), (&above, three)] {
                let found = transaction.query(statement, parameters).await;
                assert!(found.unwrap().is_empty());
            }
        }
        transaction.execute(planning::ANEW, &[]).await.unwrap();
        let mode = transaction.query_one("SHOW plan_cache_mode", &[]).await;
        let mode: String = mode.unwrap().get(0);
        assert_eq!(mode, "force_custom_plan");
        let counted = "SELECT count(*) FROM pg_prepared_statements \
             WHERE generic_plans = 8 AND custom_plans = 0 AND statement LIKE '%LATERAL%'";
        let counted = transaction.query_one(counted, &[]).await.unwrap();
        assert_eq!(counted.get::<_, i64>(0), if kept { 3 } else { 0 });
        transaction.rollback().await.unwrap();
    }
}
