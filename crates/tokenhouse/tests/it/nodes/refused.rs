//! What stops a start, or a command: the message, what it says to do, and that nothing is left behind.
//!
//! The one thing to know: the password of the database is in every one of these calls, and in none of their messages.

use std::fs;
use std::path::PathBuf;

use postgres_server::{Options, Server};
use tempfile::TempDir;

use crate::cli::{Served, program};

const PASSWORD: &str = "hunter2";
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls");

/// A server that asks for a password and offers TLS, and a place for the files of those who connect to it.
struct Door {
    server: Server,
    directory: TempDir,
}

impl Door {
    fn new() -> Self {
        let file = |name: &str| fs::read(format!("{TLS}/{name}")).unwrap();
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let server = Server::start(&Options {
            fsync: false,
            password: Some(PASSWORD.to_owned()),
            settings: vec![
                setting("ssl", "on"),
                setting("ssl_cert_file", "server.crt"),
                setting("ssl_key_file", "server.key"),
            ],
            files: vec![
                ("server.crt".to_owned(), file("cert.pem")),
                ("server.key".to_owned(), file("key.pem")),
            ],
            ..Options::default()
        });
        Self {
            server,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text_of(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The words by which every program finds store and keyring.
    fn place(&self, url: &str) -> Vec<String> {
        let (data, keyring) = (self.text_of("data"), self.text_of("keyring.json"));
        ["--data", &data, "--keyring", &keyring, "--store", url]
            .map(str::to_owned)
            .to_vec()
    }

    /// Runs `serve`, which must end with this code; what it says.
    fn refused(&self, url: &str, more: &[&str], variables: &[(&str, &str)], code: i32) -> String {
        let mut words = vec!["serve".to_owned(), "--listen".into(), "127.0.0.1:0".into()];
        words.extend(self.place(url));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        said(&words, variables, code)
    }

    fn tables(&self, database: &str) -> String {
        let all = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        self.server.sql(database, all)
    }

    /// The URL of a database for another user, whom this makes.
    fn url_for(&self, user: &str, database: &str) -> String {
        let make = format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'");
        self.server.sql("postgres", &make);
        let url = self.server.url(database);
        url.replace("postgres:hunter2@", &format!("{user}:{PASSWORD}@"))
    }
}

/// Runs the program to its end: what it says, which never is the password.
fn said(words: &[String], variables: &[(&str, &str)], code: i32) -> String {
    let output = program()
        .args(words)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

#[test]
fn a_url_that_cannot_be_meant_is_a_wrong_argument() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    for (url, says) in [
        (
            "mysql://u:hunter2@localhost/db",
            "no store speaks \"mysql\"",
        ),
        ("postgres://u:hunter2%zz@localhost/db", "as %25"),
        (
            "postgres://u:hunter2@localhost/db?sslkey=x",
            "the parameter sslkey",
        ),
        (
            "postgres://u:hunter2@localhost/db?sslmode=verify-ca",
            "verify-ca there is not",
        ),
        ("postgres://u:hunter2@/db", "names no host"),
    ] {
        let serve = ["serve", "--data", &data, "--store", url].map(str::to_owned);
        let text = said(&serve, &[], 2);
        assert!(text.contains(says), "{url}: {text}");
        let copy = ["copy", "--from", url, "--to", url].map(str::to_owned);
        let text = said(&copy, &[], 2);
        assert!(text.contains(says), "{url}: {text}");
    }
    let file = format!("sqlite://{data}/store.sqlite");
    for more in [&["--store", file.as_str()][..], &[]] {
        let words = [
            &["serve", "--data", &data, "--distributed", "citus"][..],
            more,
        ]
        .concat();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let text = said(&words, &[], 2);
        assert!(text.contains("one machine"), "{text}");
    }
    let to = ["--to", "sqlite:///nowhere/else", "--distributed", "citus"].map(str::to_owned);
    let from = ["copy", "--from", &file].map(str::to_owned);
    Served::start_with(&["--data", &data], &[]).stop(rustix::process::Signal::TERM);
    let text = said(&[from.as_slice(), &to].concat(), &[], 2);
    assert!(text.contains("one machine"), "{text}");
}

#[test]
fn nothing_is_made_for_a_wrong_argument() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let words = ["serve", "--data", &data, "--distributed", "citus"].map(str::to_owned);
    said(&words, &[], 2);
    assert!(!directory.path().join("data/store.sqlite").exists());
    assert!(!directory.path().join("data/keyring.json").exists());
}

#[test]
fn who_is_not_let_in_is_told_where_the_password_goes() {
    let door = Door::new();
    let database = door.server.create_database();
    let url = door.server.url(&database);
    let bare = url.replace(":hunter2@", "@");
    let text = door.refused(&bare, &[], &[], 1);
    assert!(
        text.contains("asks for the password of \"postgres\""),
        "{text}"
    );
    assert!(
        text.contains("TOKENHOUSE_STORE_PASSWORD") && text.contains("store_password_file"),
        "{text}"
    );
    let wrong = [("TOKENHOUSE_STORE_PASSWORD", "hunter3")];
    let text = door.refused(&bare, &[], &wrong, 1);
    assert!(!text.contains("hunter3"), "{text}");
    assert!(text.contains("does not let \"postgres\" in"), "{text}");
    assert!(text.contains("TOKENHOUSE_STORE_PASSWORD"), "{text}");

    let (empty, full) = (door.text_of("empty"), door.text_of("full"));
    fs::write(&empty, "\n").unwrap();
    fs::write(&full, format!("{PASSWORD}\n")).unwrap();
    let file = |path: &str| format!("store_password_file={path}");
    let text = door.refused(&bare, &["--set", &file(&empty)], &[], 2);
    assert!(text.contains("nothing in its first line"), "{text}");
    let sqlite = format!("sqlite://{}", door.text_of("x.sqlite"));
    let out = ["copy", "--from", &bare, "--to", &sqlite].map(str::to_owned);
    assert!(said(&out, &[], 1).contains("--from-password-file"));
    assert!(!door.path("x.sqlite").exists());
    assert_eq!(door.tables(&database), "0");

    let words = door.place(&bare);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    let file = file(&full);
    words.extend(["--set", &file]);
    let served = Served::start_with(&words, &[]);
    served.stop(rustix::process::Signal::TERM);
}

#[test]
fn a_database_that_will_not_do_is_left_as_it_is() {
    let door = Door::new();
    let database = door.server.create_database();
    let url = door.server.url(&database);
    let text = door.refused(&url, &["--distributed", "citus"], &[], 1);
    assert!(text.contains("no Citus cluster"), "{text}");
    assert_eq!(door.tables(&database), "0");

    let text = door.refused(&door.server.url("nowhere"), &[], &[], 1);
    assert!(text.contains("CREATE DATABASE \"nowhere\""), "{text}");

    let visitor = door.url_for("visitor", &database);
    let text = door.refused(&visitor, &[], &[], 1);
    assert!(text.contains("does not let \"visitor\" do"), "{text}");
    assert_eq!(door.tables(&database), "0");

    door.server.sql(
        "postgres",
        &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
    );
    let text = door.refused(&url, &[], &[], 1);
    assert!(text.contains("does not accept writes"), "{text}");

    door.server.sql(
        "postgres",
        "CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    let text = door.refused(&door.server.url("narrow"), &[], &[], 1);
    assert!(text.contains("LATIN1") && text.contains("UTF8"), "{text}");
    assert_eq!(door.tables("narrow"), "0");

    let theirs = door.server.create_database();
    door.server.sql(&theirs, "CREATE TABLE theirs (x int)");
    let text = door.refused(&door.server.url(&theirs), &[], &[], 1);
    assert!(text.contains("tables of another program"), "{text}");
    assert_eq!(door.tables(&theirs), "1");
    // No keyring was made for what could not be opened.
    assert!(!door.path("keyring.json").exists());
}

#[test]
fn an_impostor_is_not_talked_to() {
    let door = Door::new();
    let database = door.server.create_database();
    let url = door.server.url(&database);
    // The authority of somebody else, and the system's.
    let other = format!("{TLS}/other.pem");
    for parameters in [
        format!("sslmode=verify-full&sslrootcert={other}"),
        "sslmode=verify-full".to_owned(),
    ] {
        let text = door.refused(&format!("{url}?{parameters}"), &[], &[], 1);
        assert!(text.contains("certificate that is not accepted"), "{text}");
        assert!(text.contains("sslrootcert"), "{text}");
    }
    let text = door.refused(&format!("{url}?sslrootcert=/nowhere.pem"), &[], &[], 1);
    assert!(text.contains("/nowhere.pem"), "{text}");
    assert_eq!(door.tables(&database), "0");

    let url = format!("{url}?sslmode=verify-full&sslrootcert={TLS}/cert.pem");
    let words = door.place(&url);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let served = Served::start_with(&words, &[]);
    let clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'tokenhouse' AND NOT ssl";
    assert_eq!(door.server.sql("postgres", clear), "0");
    let all = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'tokenhouse'";
    assert_eq!(door.server.sql("postgres", all), "t");
    served.stop(rustix::process::Signal::TERM);
}

#[test]
fn a_command_makes_no_store() {
    let door = Door::new();
    let database = door.server.create_database();
    let url = door.server.url(&database);
    let token = |words: &[&str], url: &str, code| {
        let mut all = vec!["token".to_owned()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all.extend(door.place(url));
        said(&all, &[], code)
    };
    let id = "01a2131c-8a71-7272-b22b-bdf9312832b6";
    let file = format!("sqlite://{}", door.text_of("elsewhere.sqlite"));
    let commands = [
        &["list", "--realm", "unleash"][..],
        &["show", id],
        &["history", id],
        &["revoke", id],
        &["issue", "--realm", "unleash"],
    ];
    for command in commands {
        // Without a keyring there is nothing to look for.
        assert!(token(command, &url, 1).contains("no keyring"));
    }
    // One of another store.
    let words = door.place(&format!("sqlite://{}", door.text_of("other.sqlite")));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Served::start_with(&words, &[]).stop(rustix::process::Signal::TERM);
    for command in commands {
        for place in [&url, &file] {
            let text = token(command, place, 1);
            assert!(text.contains("holds no store"), "{text}");
            assert!(text.contains("`tokenhouse serve` makes"), "{text}");
        }
    }
    assert_eq!(door.tables(&database), "0");
    let left = fs::read_dir(door.directory.path()).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name.to_str().unwrap().starts_with("elsewhere"));
    assert!(left.is_empty(), "{left:?}");
    fs::write(door.path("elsewhere.sqlite"), "").unwrap();
    assert!(token(commands[0], &file, 1).contains("holds no store"));
    assert_eq!(
        fs::metadata(door.path("elsewhere.sqlite")).unwrap().len(),
        0
    );
}
