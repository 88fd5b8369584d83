//! Servers and databases that will not do: what is said, that it says what to do, and that nothing is made there.
//!
//! The one thing to know: every URL here carries a password, and no refusal may show it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use postgres_server::Server;

use super::Database;
use crate::contract::House as _;
use crate::{Distribution, OpenError, Options, open};

/// Opens what must not open; its message, and the error itself.
async fn refusal(url: &str, options: Options) -> (String, OpenError) {
    let error = open(url, options).await.unwrap_err();
    let text = error.to_string();
    let all = format!("{text} {error:?}");
    assert!(!all.contains("hunter2"), "{all}");
    (text, error)
}

fn tables(house: &Database) -> String {
    house.tamper("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
}

/// A user of the shared server who may make tables in the database.
fn user(house: &Database, name: &str) -> String {
    house.tamper(&format!(
        "CREATE ROLE {name} LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO {name}"
    ));
    let user = format!("{name}:hunter2@");
    house.url().replace("postgres@", &user)
}

#[tokio::test]
async fn what_is_no_cluster_is_not_laid_out_as_one_and_stays_empty() {
    let house = Database::build().await;
    let options = || Options {
        distributed: Some(Distribution::Citus),
        ..Options::default()
    };
    let (text, error) = refusal(&house.url(), options()).await;
    assert!(
        matches!(error, OpenError::NotDistributed { .. }),
        "{error:?}"
    );
    assert!(text.contains("CREATE EXTENSION citus"), "{text}");
    assert_eq!(tables(&house), "0");
    // Nor beside tables that are there.
    house.open().await.close().await;
    let (_, error) = refusal(&house.url(), options()).await;
    assert!(
        matches!(error, OpenError::NotDistributed { .. }),
        "{error:?}"
    );
    let (text, _) = refusal("sqlite:///nowhere/at/all", options()).await;
    assert!(text.contains("one machine"), "{text}");
}

#[tokio::test]
async fn what_is_wrong_with_a_url_is_named_unless_it_may_be_a_password() {
    for (url, says) in [
        (
            "postgres://u:hunter2@host/db?sslcert=x",
            "the parameter sslcert",
        ),
        (
            "postgres://u:hunter2@host/db?connect_timeout=soon",
            "the parameter connect_timeout",
        ),
        ("postgres://u:hunter2@host/db?sslmode", "name=value"),
        (
            "postgres://u:hunter2@host/db?sslmode=verify-ca",
            "verify-ca",
        ),
        ("postgres://u:hunter2@host/db?sslmode=allow", "verify-full"),
        ("postgres://u:%zzhunter2@host/db", "%25"),
        ("postgres://u:hunter2%2@host/db", "%25"),
        ("postgres://u:hunter2@host/100%", "%25"),
        ("postgres://u:x?hunter2=1@host/db", "%3F"),
        ("postgres://u:x&y?hunter2=1&x@host/db", "%3F"),
        ("mysql://u:hunter2@host/db", "postgres://user@host/database"),
    ] {
        let (text, error) = refusal(url, Options::default()).await;
        assert!(error.is_usage(), "{url}: {error:?}");
        assert!(text.contains(says), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_database_that_is_only_read_says_why() {
    let house = Database::build().await;
    let url = user(&house, "reads_only");
    // From another database, because in this one nothing can be changed then.
    let change = |setting: &str, what: &str| {
        postgres_server::shared().sql("postgres", &format!("ALTER {setting} {what}"));
    };
    for setting in [
        "ROLE reads_only".to_owned(),
        format!("DATABASE {}", house.name),
    ] {
        change(&setting, "SET default_transaction_read_only = on");
        let (text, error) = refusal(&url, Options::default()).await;
        assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
        assert!(text.contains("default_transaction_read_only"), "{text}");
        change(&setting, "RESET default_transaction_read_only");
    }
    assert_eq!(tables(&house), "0");
    open(&url, Options::default()).await.unwrap().close().await;

    let made = tokio::task::spawn_blocking(|| {
        Server::start(&postgres_server::Options {
            files: vec![("standby.signal".to_owned(), Vec::new())],
            ..postgres_server::Options::default()
        })
    });
    let standby = made.await.unwrap();
    let (text, error) = refusal(&standby.url("postgres"), Options::default()).await;
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert!(text.contains("standby"), "{text}");
}

#[tokio::test]
async fn what_others_own_is_for_them_to_migrate() {
    let house = Database::build().await;
    house.open().await.close().await;
    house.tamper("DELETE FROM migration WHERE number > 1; DROP TABLE node, hold, acknowledgement");
    let url = user(&house, "no_owner");
    house.tamper(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO no_owner; \
         REVOKE CREATE ON SCHEMA public FROM no_owner",
    );
    let (text, error) = refusal(&url, Options::default()).await;
    assert!(
        matches!(error, OpenError::DatabaseRights { .. }),
        "{error:?}"
    );
    assert!(
        text.contains("no_owner") && text.contains("where others own them, they migrate"),
        "{text}"
    );
    // The lease was given back, so nobody waits for the one who could not.
    assert_eq!(house.tamper("SELECT leased_until FROM schema"), "0");
    house.open().await.close().await;
    house.tamper(
        "DELETE FROM migration WHERE number = 3; GRANT CREATE ON SCHEMA public TO no_owner",
    );
    let (text, _) = refusal(&url, Options::default()).await;
    assert!(text.contains("must be owner of table node"), "{text}");
    house.open().await.close().await;
    house.tamper("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO no_owner");
    open(&url, Options::default()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_server_that_takes_nobody_more_is_not_said_to_be_missing() {
    let house = Database::build().await;
    let url = user(&house, "one_too_many");
    house.tamper(&format!("ALTER DATABASE {} CONNECTION LIMIT 0", house.name));
    let (text, error) = refusal(&url, Options::default()).await;
    assert!(matches!(error, OpenError::Busy { .. }), "{error:?}");
    assert!(text.contains("too many connections"), "{text}");
}

/// A message of the protocol, version 3.
fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), content].concat()
}

#[tokio::test]
async fn an_old_server_is_told_to_be_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // What a server says to one who logs in and asks whether anything can be written there.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = [0; 4096];
        assert!(stream.read(&mut heard).unwrap() > 0);
        let welcome = [
            message(b'R', &[0; 4]),
            message(b'S', b"server_version\x009.6.24\0"),
            message(b'Z', b"I"),
        ];
        stream.write_all(&welcome.concat()).unwrap();
        assert!(stream.read(&mut heard).unwrap() > 0);
        let column = [
            &b"\0\x01transaction_read_only\0"[..],
            &[0; 6],
            &25_u32.to_be_bytes(),
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
        ];
        let answer = [
            message(b'T', &column.concat()),
            message(b'D', b"\0\x01\0\0\0\x03off"),
            message(b'C', b"SHOW\0"),
            message(b'Z', b"I"),
        ];
        stream.write_all(&answer.concat()).unwrap();
        // Until the other side has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let url = format!("postgres://u:hunter2@127.0.0.1:{port}/db?sslmode=disable");
    let (text, error) = refusal(&url, Options::default()).await;
    assert!(matches!(error, OpenError::TooOld { .. }), "{error:?}");
    assert!(text.contains("9.6.24") && text.contains("11"), "{text}");
    server.join().unwrap();
}

#[tokio::test]
async fn what_is_not_to_be_made_is_not_made() {
    let house = Database::build().await;
    let options = || Options {
        create: false,
        ..Options::default()
    };
    let (_, error) = refusal(&house.url(), options()).await;
    assert!(matches!(error, OpenError::Nothing { .. }), "{error:?}");
    assert_eq!(tables(&house), "0");
    house.open().await.close().await;
    open(&house.url(), options()).await.unwrap().close().await;
    // Nor is what an earlier program has made brought up to date: its nodes may be at work.
    house.tamper("DELETE FROM migration WHERE number = (SELECT max(number) FROM migration)");
    let before = house.tamper("SELECT count(*) FROM migration");
    let (_, error) = refusal(&house.url(), options()).await;
    assert!(matches!(error, OpenError::Behind { .. }), "{error:?}");
    assert_eq!(house.tamper("SELECT count(*) FROM migration"), before);
}
