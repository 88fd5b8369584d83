//! Opening: what is refused, and whether the refusal says what to do without showing the password.
//!
//! The one thing to know: the message is all that an operator has, so it is the message that is tested.

use std::time::Duration;

use postgres_server::Server;
use tokio::task::JoinSet;

use super::Database;
use crate::contract::House;
use crate::contract::world::World;
use crate::{OpenError, Options, Password, open};

async fn refusal(url: &str, options: Options) -> OpenError {
    open(url, options).await.unwrap_err()
}

/// Makes a store with an event in it, closes it, and changes the database.
async fn tampered(sql: &str) -> (Database, World) {
    let house = Database::build().await;
    let world = World::of(&house).await;
    assert!(world.write(world.batch()).await.unwrap());
    world.store.close().await;
    house.tamper(sql);
    (house, world)
}

#[tokio::test]
async fn urls_that_say_nothing_useful_are_refused() {
    for url in [
        "postgres://",
        "postgres:///database",
        "postgres://user:hunter2@host:port/database",
        "postgres://user:hunter2@host/database?sslmode=maybe",
        "postgres://user:hunter2@host/database?unknown=1",
        "postgres://user:hunter2@host/database#x",
        "postgres://user:hun#ter2@host/database",
    ] {
        let error = refusal(url, Options::default()).await;
        assert!(error.is_usage(), "{url}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("hunter2") && !text.contains("ter2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_missing_server_or_database_is_named() {
    let options = || Options {
        connect_timeout: Duration::from_millis(500),
        ..Options::default()
    };
    // A port that was just free has nobody behind it.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let url = format!("postgres://postgres:hunter2@127.0.0.1:{port}/store");
    let error = refusal(&url, options()).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let url = postgres_server::shared().url("nowhere");
    let error = refusal(&url, options()).await;
    assert!(matches!(&error, OpenError::NoDatabase { database, .. } if database == "nowhere"));
    assert!(error.to_string().contains("CREATE DATABASE"), "{error}");
}

#[tokio::test]
async fn a_password_is_taken_from_either_place_and_never_shown() {
    let server = Server::start(&postgres_server::Options {
        password: Some("hunter2".to_owned()),
        ..postgres_server::Options::default()
    });
    let database = server.create_database();
    let bare = format!("postgres://postgres@127.0.0.1:{}/{database}", server.port());
    let with = |password: &str| Options {
        password: Some(Password::new(password.to_owned())),
        ..Options::default()
    };
    for (url, options) in [
        (bare.clone(), Options::default()),
        (bare.clone(), with("hunter3")),
        (
            server.url(&database).replace("hunter2", "hunter3"),
            Options::default(),
        ),
    ] {
        assert!(!format!("{options:?}").contains("hunter"));
        let error = refusal(&url, options).await;
        let text = format!("{error} {error:?}");
        assert!(text.contains("password"), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }
    let error = refusal(&bare, Options::default()).await;
    assert!(matches!(error, OpenError::NoPassword { .. }), "{error:?}");
    let error = refusal(&bare, with("wrong")).await;
    assert!(matches!(error, OpenError::Login { .. }), "{error:?}");
    for (url, options) in [
        (server.url(&database), Options::default()),
        (bare, with("hunter2")),
    ] {
        let store = open(&url, options).await.unwrap();
        store.ready().await.unwrap();
        assert!(!format!("{store:?}").contains("hunter2"));
        store.close().await;
    }
}

#[tokio::test]
async fn a_user_without_rights_is_told_which() {
    let (house, _) = tampered("CREATE ROLE visitor LOGIN").await;
    let server = postgres_server::shared();
    let visitor = house.url().replace("postgres@", "visitor@");
    let error = refusal(&visitor, Options::default()).await;
    assert!(
        matches!(error, OpenError::DatabaseRights { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("visitor"), "{error}");
    // The tables may be used, but one may not be written.
    house.tamper("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO visitor");
    open(&visitor, Options::default())
        .await
        .unwrap()
        .close()
        .await;
    house.tamper("REVOKE DELETE ON token FROM visitor");
    let error = refusal(&visitor, Options::default()).await;
    assert!(error.to_string().contains("token"), "{error}");
    // Nor can an empty database be filled by one who may not create.
    let empty = server.create_database();
    let error = refusal(
        &server.url(&empty).replace("postgres@", "visitor@"),
        Options::default(),
    )
    .await;
    assert!(
        matches!(error, OpenError::DatabaseRights { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let server = postgres_server::shared();
    server.sql(
        "postgres",
        "CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    let error = refusal(&server.url("narrow"), Options::default()).await;
    assert!(matches!(&error, OpenError::Encoding { encoding, .. } if encoding == "LATIN1"));
}

#[tokio::test]
async fn tables_of_others_are_refused_and_left_alone() {
    for theirs in [
        "CREATE TABLE theirs (x int)",
        "CREATE TABLE schema (version int)",
        "CREATE TABLE schema (realm uuid, program text); INSERT INTO schema VALUES \
         ('00000000-0000-0000-0000-000000000000', 'other')",
    ] {
        let house = Database::build().await;
        house.tamper(theirs);
        let error = house.try_open().await.unwrap_err();
        assert!(
            matches!(error, OpenError::ForeignDatabase { .. }),
            "{error:?}"
        );
        let tables = house.tamper("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
        assert_eq!(tables, "1");
        // A schema of its own is a way out.
        house.tamper("CREATE SCHEMA ours");
        let url = format!("{}?options=-csearch_path%3Dours", house.url());
        open(&url, Options::default()).await.unwrap().close().await;
    }
}

const NEWER: &str = "INSERT INTO migration (realm, number, name, digest) \
    SELECT realm, 9, 'from_the_future', digest FROM migration WHERE number = 1;";

#[tokio::test]
async fn a_schema_for_newer_programs_is_refused_with_both_versions() {
    let newer = format!("{NEWER} UPDATE schema SET minimum_program = 9;");
    let (house, _) = tampered(&newer).await;
    let error = house.try_open().await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::NewerDatabase {
                needs: 9,
                program: 3,
                ..
            }
        ),
        "{error:?}"
    );
    house.tamper("UPDATE schema SET minimum_program = 1");
    house.try_open().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_that_suits_this_program_is_opened() {
    let (house, world) = tampered(NEWER).await;
    let world = world.reopened(&house).await;
    assert!(world.write(world.batch()).await.unwrap());
    assert_eq!(world.events().await.len(), 2);
}

#[tokio::test]
async fn a_history_that_differs_is_refused() {
    for (sql, word) in [
        ("UPDATE migration SET digest = '\\x00'", "first_tables"),
        ("UPDATE migration SET name = 'other'", "other"),
        (
            "UPDATE migration SET number = 0 WHERE number = 1",
            "not known",
        ),
    ] {
        let (house, _) = tampered(sql).await;
        let error = house.try_open().await.unwrap_err();
        assert!(
            matches!(error, OpenError::DatabaseHistory { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_may_open_an_empty_database_at_once() {
    let house = Database::build().await;
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let (url, options) = (house.url(), house.options.clone());
        opening.spawn(async move { open(&url, options).await.unwrap() });
    }
    let stores = opening.join_all().await;
    assert_eq!(house.tamper("SELECT count(*) FROM migration"), "3");
    // A second one may have had a turn, and found nothing left to do.
    assert_eq!(house.tamper("SELECT leased_until FROM schema"), "0");
    let world = World::of(&house).await;
    for store in stores {
        let world = world.over(store);
        assert!(world.write(world.batch()).await.unwrap());
        world.store.close().await;
    }
    assert_eq!(world.events().await.len(), 8);
}

#[tokio::test]
async fn a_migration_that_was_cut_short_is_finished() {
    // The node died after some tables, and its lease has run out.
    let (house, world) = tampered(
        "DELETE FROM migration; DROP TABLE usage; DROP INDEX change_history; \
         UPDATE schema SET turn = 5, leased_until = 1",
    )
    .await;
    let world = world.reopened(&house).await;
    assert!(world.write(world.batch()).await.unwrap());
    assert_eq!(house.tamper("SELECT turn, leased_until FROM schema"), "6|0");
    let tables = house.tamper("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(tables, "14");
}

#[tokio::test]
async fn another_node_that_migrates_is_waited_for() {
    let far = "DELETE FROM migration; UPDATE schema SET leased_until = 9000000000000000";
    let (house, _) = tampered(far).await;
    let options = Options {
        migration_wait: Duration::from_millis(300),
        ..Options::default()
    };
    let error = refusal(&house.url(), options).await;
    assert!(
        matches!(error, OpenError::MigrationWaits { .. }),
        "{error:?}"
    );
    // It gives its lease back, without having come to an end.
    let url = house.url();
    let waiting = tokio::spawn(async move { open(&url, Options::default()).await });
    house.tamper("UPDATE schema SET leased_until = 0");
    waiting.await.unwrap().unwrap().close().await;
}
