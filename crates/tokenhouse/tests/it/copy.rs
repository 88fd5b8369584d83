//! Moving house with the real program: a file that was served is copied to PostgreSQL and served from there.
//!
//! The one thing to know: the same keyring opens both, and whoever has a token notices nothing. What a copy is made of, and
//! how it goes on after it was cut off, is tested beside the stores.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{Place, Served, program, run};

/// Asks a server; the status and the body.
fn ask(
    server: &Served,
    method: &str,
    path: &str,
    authorization: &str,
    body: &Value,
) -> (u16, Value) {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer[9..12].parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

const COLLECTIONS: &str = "/api/pvlt/1.0/ctl/collections?reason=AppFunctionality";
const TOKENS: &str = "/api/pvlt/1.0/data/collections/customers/tokens";

/// What its bearers know of a house.
struct Bearers {
    unleash: String,
    vault: String,
    identity: String,
    user: String,
    /// A client's token that ends in the future, and the id of a data token.
    client: String,
    data: String,
}

impl Bearers {
    /// Makes a client's token and a data token and changes both.
    fn of(server: &Served, place: &Place) -> Self {
        let path = place.data.join("first-credentials.txt");
        let text = std::fs::read_to_string(path).unwrap();
        let credential = |label: &str| {
            let mut lines = text.lines();
            let line = lines.find(|line| line.starts_with(label)).unwrap();
            line.split_once(": ").unwrap().1.to_owned()
        };
        let mut bearers = Self {
            unleash: credential("Unleash"),
            vault: format!("Bearer {}", credential("Piiano")),
            identity: format!("Bearer {}", credential("Infisical")),
            user: format!("Bearer {}", credential("MindBridge")),
            client: String::new(),
            data: String::new(),
        };
        let good = |(status, body): (u16, Value)| {
            assert!((200..300).contains(&status), "{status} {body}");
            body
        };
        let client = json!({
            "tokenName": "mover", "type": "client", "environment": "development", "projects": ["default"],
        });
        let admin = "/api/admin/api-tokens";
        let made = good(ask(server, "POST", admin, &bearers.unleash, &client));
        made["secret"]
            .as_str()
            .unwrap()
            .clone_into(&mut bearers.client);
        let path = format!("{admin}/{}", bearers.client);
        let later = json!({ "expiresAt": "2999-01-01T00:00:00Z" });
        good(ask(server, "PUT", &path, &bearers.unleash, &later));

        let collection = json!({
            "name": "customers", "type": "PERSONS",
            "properties": [{ "name": "email", "data_type_name": "EMAIL" }],
        });
        good(ask(
            server,
            "POST",
            COLLECTIONS,
            &bearers.vault,
            &collection,
        ));
        let object = |email| json!({ "fields": { "email": email } });
        let tokenized = json!([{ "type": "randomized", "object": object("john@example.com"), "tags": ["trial"] }]);
        let path = format!("{TOKENS}?reason=AppFunctionality");
        let made = good(ask(server, "POST", &path, &bearers.vault, &tokenized));
        made[0]["token_id"]
            .as_str()
            .unwrap()
            .clone_into(&mut bearers.data);
        let path = format!("{path}&token_ids={}", bearers.data);
        let other = json!({ "object": object("jane@example.com") });
        good(ask(server, "PATCH", &path, &bearers.vault, &other));
        bearers
    }

    /// What a token of each dialect is answered.
    fn answers(&self, server: &Served) -> Vec<(u16, Value)> {
        let data = format!("{TOKENS}?reason=AppFunctionality&token_ids={}", self.data);
        [
            ("/api/admin/api-tokens/mover", &self.unleash),
            ("/api/client/features", &self.client),
            (&data, &self.vault),
            ("/api/v1/identities/details", &self.identity),
            ("/api/v1/api-tokens/current", &self.user),
        ]
        .map(|(path, bearer)| {
            let (status, mut body) = ask(server, "GET", path, bearer, &Value::Null);
            // Uses are counted meanwhile: theirs are compared by `told`, while no server runs.
            if let Some(listed) = body.pointer_mut("/tokens/0/seenAt") {
                *listed = Value::Null;
            }
            (status, body)
        })
        .to_vec()
    }
}

/// All tokens, and what happened to each of them.
fn told(place: &Place, store: &str) -> Vec<Value> {
    let listed = place.json(&["list", "--store", store]);
    let mut told: Vec<Value> = Vec::new();
    for token in listed.as_array().unwrap() {
        let id = token["id"].as_str().unwrap();
        told.push(place.json(&["history", id, "--store", store]));
    }
    told.push(listed);
    told
}

#[test]
fn a_house_moves_and_nobody_notices() {
    let place = Place::new();
    let data = ["--data", place.path()];
    let server = Served::start_with(&data, &[]);
    let bearers = Bearers::of(&server, &place);
    let before = bearers.answers(&server);
    for (status, body) in &before {
        assert_eq!(*status, 200, "{body}");
    }
    assert!(before[2].1.to_string().contains("jane@example.com"));

    let postgres = postgres_server::shared();
    let database = postgres.create_database();
    // The server lets everybody in; a password is given to see that nobody shows it.
    let there = format!(
        "postgres://postgres:hunter2@127.0.0.1:{}/{database}",
        postgres.port()
    );
    let file = place.data.join("store.sqlite");
    let here = format!("sqlite://{}", file.display());
    let copy = ["copy", "--from", &here, "--to", &there];
    let (_, err) = run(&copy, 1);
    assert!(err.contains("in use by another process"), "{err}");
    server.stop(Signal::TERM);

    let history = told(&place, &here);
    let bytes = std::fs::read(&file).unwrap();
    // Killed wherever it is, it goes on with the same words.
    let mut ended = false;
    for millis in [40, 80, 160, 320] {
        let mut command = program();
        let mut child = command
            .args(copy)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(millis));
        let _ = child.kill();
        ended = child.wait().unwrap().success();
        if ended {
            break;
        }
    }
    if !ended {
        let (out, err) = run(&copy, 0);
        assert!(out.contains("copied and verified"), "{out}");
        assert!(
            err.contains("verifying token"),
            "lines, where there is no terminal: {err}"
        );
        assert!(!format!("{out}{err}").contains("hunter2"));
    }
    let (_, err) = run(&copy, 1);
    assert!(
        err.contains("is not empty") && !err.contains("hunter2"),
        "{err}"
    );
    assert!(
        std::fs::read(&file).unwrap() == bytes,
        "the source was changed"
    );

    assert_eq!(told(&place, &there), history);
    let moved = Served::start_with(&[&data[..], &["--store", &there]].concat(), &[]);
    assert_eq!(bearers.answers(&moved), before);
    let (_, err) = run(
        &["copy", "--from", &there, "--to", "sqlite:///nowhere/at/all"],
        1,
    );
    assert!(err.contains("running server"), "{err}");
    moved.stop(Signal::TERM);

    // Until a copy is complete, nothing is served from it.
    postgres.sql(
        &database,
        "CREATE TABLE copying (realm uuid, name text, note bytea)",
    );
    let (_, err) = run(&[&["serve"], &data[..], &["--store", &there]].concat(), 1);
    assert!(
        err.contains("not complete") && !err.contains("hunter2"),
        "{err}"
    );
}

#[test]
fn words_that_make_no_sense_are_refused_before_anything_is_made() {
    let place = Place::new();
    let file = format!("sqlite://{}", place.data.display());
    for (arguments, code, word) in [
        (&["--from", &file, "--to", &file][..], 2, "the same store"),
        (
            &["--from", "mysql://u:hunter2@h/d", "--to", &file],
            2,
            "mysql",
        ),
        (
            &[
                "--from",
                &file,
                "--to",
                "sqlite:///tmp/x",
                "--distributed",
                "many",
            ],
            2,
            "citus",
        ),
        (
            &["--from", &file, "--to", "sqlite:///tmp/x"],
            1,
            "holds nothing",
        ),
        (&["--from", &file], 2, "--to"),
    ] {
        let (out, err) = run(&[&["copy"], arguments].concat(), code);
        assert!(err.contains(word) && !err.contains("hunter2"), "{err}");
        assert_eq!(out, "");
    }
    assert!(!place.data.exists());
}
