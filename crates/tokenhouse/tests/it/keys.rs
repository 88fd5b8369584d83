//! Keys in use: what the store lists, who is let in, and when newer keys are gone over to; and the commands around it.
//!
//! The one thing to know: here the steps of a start are made one by one, so that a process can be stopped between any two of
//! them. That whole nodes go on meanwhile is shown by `nodes/rotation.rs`.

use std::fs;
use std::sync::Arc;

use engine::caller::Caller;
use engine::clock::SystemClock;
use engine::entropy::{SeededEntropy, SystemEntropy};
use engine::error::Unauthenticated;
use engine::guard::Guard;
use engine::key_list::{KeyKind, KeyList};
use engine::keyring::Keyring;
use engine::locator::{Key, Place, Space};
use engine::realm::RealmId;
use engine::secret::Secret;
use engine::store::Role;
use engine::verbs::keys::BindError;
use engine::verbs::records::RecordEdit;
use engine::{Engine, Error, Parts};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::{Backend, FreshStore, on_each_store};
use crate::cli::{self, Served, run};

on_each_store! {
    a_store_from_before_the_list_gets_one_at_its_first_start,
    one_process_alone_goes_over_at_its_start,
    a_keyring_that_lacks_a_listed_key_is_not_let_in,
}

/// A keyring with this many keys of each kind; the first of them are those of every shorter one.
fn keyring(keys: u64) -> Keyring {
    let mut ring = Keyring::generate(&SeededEntropy::new(1));
    for seed in 2..=keys {
        ring = ring.with_new_keys(&SeededEntropy::new(seed)).unwrap();
    }
    ring
}

async fn engine(store: &FreshStore, keyring: Keyring) -> Engine {
    engine_as(Role::Server, store, keyring).await
}

async fn engine_as(role: Role, store: &FreshStore, keyring: Keyring) -> Engine {
    Engine::new(Parts {
        store: store.open().await,
        keyring,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy::new()),
        live_entries: if role == Role::Server { 100 } else { 0 },
        role,
    })
}

/// All that is done before anything is answered.
async fn start(engine: &Engine) -> Result<(), BindError> {
    engine.bind().await?;
    engine.join(&[]).await.unwrap();
    engine.follow_keys().await
}

async fn started(store: &FreshStore, keys: u64) -> Engine {
    let engine = engine(store, keyring(keys)).await;
    start(&engine).await.unwrap();
    engine
}

/// How many digest keys are listed, and which is active.
async fn in_use(engine: &Engine) -> (usize, u32) {
    let list = engine.keys_in_use().await.unwrap().list.unwrap();
    assert_eq!(list.active(KeyKind::Digest), list.active(KeyKind::Sealing));
    (list.keys().digest.len(), list.active(KeyKind::Digest))
}

fn system() -> (Caller, Place) {
    let place = Place::new(Space::of("keyring"), Key(Vec::new()));
    (Caller::system(RealmId::SYSTEM, "test"), place)
}

/// The body of the record that binds the store.
async fn body(engine: &Engine) -> Value {
    let (caller, place) = system();
    let record = engine.find_record(&caller, place).await.unwrap();
    record.unwrap().body
}

fn lacks(error: &BindError, key: &str) {
    assert!(
        matches!(error, BindError::Lacking(lacking) if lacking.to_string().contains(key)),
        "{error:?}"
    );
}

async fn a_store_from_before_the_list_gets_one_at_its_first_start(backend: Backend) {
    let store = FreshStore::new(backend).await;
    // Its keys were changed by hand once: the last one is the active one.
    let before = engine(&store, keyring(2)).await;
    let (caller, place) = system();
    let written = json!({ "schema": 1, "fingerprint": keyring(2).fingerprint() });
    let made = before.find_or_create(&caller, "keyring", place, written);
    made.await.unwrap();
    before.close().await;

    let stranger = engine(&store, Keyring::generate(&SeededEntropy::new(9))).await;
    let refused = start(&stranger).await.unwrap_err();
    assert!(
        matches!(refused, BindError::OtherKeyring { .. }),
        "{refused:?}"
    );
    stranger.close().await;

    let first = started(&store, 2).await;
    assert_eq!(in_use(&first).await, (2, 2));
    assert_eq!(first.keyring().active(KeyKind::Digest), 2);
    assert_eq!(first.keyring().active(KeyKind::Sealing), 2);
    // A program from before the list still knows its store.
    assert_eq!(body(&first).await["fingerprint"], keyring(2).fingerprint());
    first.close().await;
}

async fn one_process_alone_goes_over_at_its_start(backend: Backend) {
    let store = FreshStore::new(backend).await;
    let first = started(&store, 1).await;
    let realm = first.open_realm("test").await.unwrap();
    assert_eq!(in_use(&first).await, (1, 1));
    first.close().await;
    let second = started(&store, 3).await;
    assert_eq!(in_use(&second).await, (3, 3));
    assert_eq!(second.keyring().active(KeyKind::Sealing), 3);
    // A program from before the list would not look under the right key, so it must not take the store for its own.
    assert_ne!(body(&second).await["fingerprint"], keyring(3).fingerprint());
    let secret = Secret::parse("nobody-has-this-secret").unwrap();
    let unknown = second.verify(realm, &secret, None).await.unwrap_err();
    assert_eq!(unknown, Error::Unauthenticated(Unauthenticated::Unknown));
    second.close().await;
    // Nothing is written where nothing is new.
    let again = started(&store, 3).await;
    let (caller, place) = system();
    let record = again.find_record(&caller, place).await.unwrap().unwrap();
    assert_eq!(record.version, 3, "made, listed, made active");
    again.close().await;
}

async fn a_keyring_that_lacks_a_listed_key_is_not_let_in(backend: Backend) {
    let store = FreshStore::new(backend).await;
    started(&store, 2).await.close().await;
    let old = engine(&store, keyring(1)).await;
    lacks(
        &start(&old).await.unwrap_err(),
        "digest key 2, sealing key 2",
    );
    old.close().await;
    // Another key under the same id.
    let other = keyring(1).with_new_keys(&SeededEntropy::new(99)).unwrap();
    let other = engine(&store, other).await;
    lacks(
        &start(&other).await.unwrap_err(),
        "digest key 2 (it has another key under this id)",
    );
    assert_eq!(in_use(&other).await, (2, 2));
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_joins_in_the_moment_of_the_switch_is_seen_or_sees_it() {
    let store = FreshStore::new(Backend::Postgres).await;
    let old = started(&store, 1).await;
    let new = started(&store, 2).await;
    assert_eq!(in_use(&new).await, (1, 1), "the other lacks it");
    // These have looked at the list, and are not there yet.
    let early = engine(&store, keyring(1)).await;
    let late = engine(&store, keyring(1)).await;
    early.bind().await.unwrap();
    late.bind().await.unwrap();
    // This one is there, and has not looked again.
    early.join(&[]).await.unwrap();
    old.close().await;
    new.follow_keys().await.unwrap();
    assert_eq!(in_use(&new).await, (1, 1), "it is seen");

    // The switch goes on between the two steps of somebody who did not see it.
    let (caller, place) = system();
    let record = new.find_record(&caller, place).await.unwrap().unwrap();
    let list = KeyList::from_body(&record.body).unwrap().unwrap();
    let pending = list.step(&keyring(2).keys(), &[]).unwrap().to_body("x");
    let edit = move |_: &engine::record::Record| {
        Ok(RecordEdit {
            body: Some(pending.clone()),
            ..RecordEdit::default()
        })
    };
    new.update_record(&caller, record.id, Guard::Nothing, edit)
        .await
        .unwrap();
    new.follow_keys().await.unwrap();
    assert_eq!(
        in_use(&new).await,
        (2, 1),
        "listed, and not active while it is there"
    );
    let realm = new.open_realm("test").await.unwrap();
    let secret = Secret::parse("nobody-has-this-secret").unwrap();
    let answer = early.verify(realm, &secret, None).await.unwrap_err();
    assert_eq!(answer, Error::Unavailable, "it cannot know");
    let answer = new.verify(realm, &secret, None).await.unwrap_err();
    assert_eq!(answer, Error::Unauthenticated(Unauthenticated::Unknown));
    lacks(&early.follow_keys().await.unwrap_err(), "digest key 2");
    early.close().await;
    new.follow_keys().await.unwrap();
    assert_eq!(in_use(&new).await, (2, 2));

    // It has looked long ago, and looks again when it is there.
    late.join(&[]).await.unwrap();
    lacks(&late.follow_keys().await.unwrap_err(), "digest key 2");
    late.close().await;
    new.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_beside_no_server_goes_over_to_nothing() {
    let store = FreshStore::new(Backend::Postgres).await;
    started(&store, 1).await.close().await;
    let visitor = engine_as(Role::Visitor, &store, keyring(2)).await;
    start(&visitor).await.unwrap();
    assert_eq!(in_use(&visitor).await, (1, 1));
    visitor.close().await;
    started(&store, 1).await.close().await;
    started(&store, 2).await.close().await;
    let visitor = engine_as(Role::Visitor, &store, keyring(2)).await;
    start(&visitor).await.unwrap();
    assert_eq!(visitor.keyring().active(KeyKind::Digest), 2);
    visitor.close().await;
    let visitor = engine_as(Role::Visitor, &store, keyring(1)).await;
    lacks(&start(&visitor).await.unwrap_err(), "digest key 2");
    visitor.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_says_nothing_of_its_keys_is_waited_for() {
    let store = FreshStore::new(Backend::Postgres).await;
    started(&store, 1).await.close().await;
    let new = engine(&store, keyring(2)).await;
    new.bind().await.unwrap();
    new.join(&[]).await.unwrap();
    // As the program of the schema before writes it.
    let id = "11111111-1111-1111-1111-111111111111";
    let system = RealmId::SYSTEM;
    store.lines(&format!(
        "INSERT INTO node (realm, id, process, expelled, renewals, settings) \
         VALUES ('{system}', '{id}', '{id}', false, 0, '\\x00') RETURNING 1"
    ));
    new.follow_keys().await.unwrap();
    assert_eq!(in_use(&new).await, (1, 1));
    // Expelled, but its lease may not be over.
    store.lines(&format!(
        "UPDATE node SET expelled = true WHERE id = '{id}' RETURNING 1"
    ));
    let now = new.keys_in_use().await.unwrap().reports.unwrap();
    assert!(now.contains(&None), "{now:?}");
    store.lines(&format!("DELETE FROM node WHERE id = '{id}' RETURNING 1"));
    new.follow_keys().await.unwrap();
    assert_eq!(in_use(&new).await, (2, 2));
    new.close().await;
}

/// What `keyring show` says of the keys, by kind and id.
fn shown(place: &cli::Place, more: &[&str]) -> Value {
    let words = ["keyring", "show", "--json", "--data", place.path()];
    let (out, err) = run(&[&words[..], more].concat(), 0);
    assert!(err.is_empty(), "{err}");
    serde_json::from_str(&out).unwrap()
}

/// The id of each key that is in use, and whether it is active.
fn ids_in_use(shown: &Value) -> Vec<(String, bool)> {
    assert_eq!(shown["store_read"], true, "{shown}");
    let keys = shown["keys"].as_array().unwrap().iter();
    keys.filter(|key| key["in_use"] == true)
        .map(|key| {
            let id = format!("{} {}", key["kind"].as_str().unwrap(), key["id"]);
            (id, key["active"] == true)
        })
        .collect()
}

/// Tokens that each start makes unless they are there.
const SEEDS: [(&str, &str); 1] = [("INIT_ADMIN_API_TOKENS", "*:*.an-admin-token-of-the-start")];

/// The ids of all tokens.
fn tokens(place: &cli::Place) -> Vec<String> {
    let listed = place.json(&["list"]);
    let listed = listed.as_array().or_else(|| listed["tokens"].as_array());
    let ids = listed.unwrap().iter();
    ids.map(|token| token["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_embedded_store_goes_over_to_added_keys_at_the_next_start() {
    let place = cli::Place::new();
    let data = ["--data", place.path()];
    let (_, err) = run(&[&["keyring", "add"][..], &data].concat(), 1);
    assert!(err.contains("no keyring"), "{err}");
    let (_, err) = run(&[&["keyring", "show"][..], &data].concat(), 1);
    assert!(err.contains("no keyring"), "{err}");
    let server = Served::start_with(&data, &SEEDS);
    let first_tokens = tokens(&place);
    assert!(!first_tokens.is_empty());
    let file = place.data.join("keyring.json");
    let before = fs::read(&file).unwrap();

    let (out, _) = run(&[&["keyring", "add"][..], &data].concat(), 0);
    assert!(
        out.contains("digest key 2") && out.contains("sealing key 2"),
        "{out}"
    );
    assert!(out.contains("restart"), "{out}");
    let after = fs::read_to_string(&file).unwrap();
    let text: Value = serde_json::from_str(&after).unwrap();
    for kind in ["digest", "sealing"] {
        for key in text[kind].as_array().unwrap() {
            assert!(
                !out.contains(key["key"].as_str().unwrap()),
                "a key was shown"
            );
        }
    }
    // The server that runs is asked, and has not gone over.
    let old = [
        ("digest 1".to_owned(), true),
        ("sealing 1".to_owned(), true),
    ];
    let answer = shown(&place, &[]);
    assert_eq!(ids_in_use(&answer), old);
    assert_eq!(answer["keys"].as_array().unwrap().len(), 4);
    assert!(
        !answer
            .to_string()
            .contains(text["digest"][1]["key"].as_str().unwrap())
    );
    server.stop(Signal::TERM);

    // What every start makes unless it is there is found under the old key.
    for _ in 0..2 {
        Served::start_with(&data, &SEEDS).stop(Signal::TERM);
        assert_eq!(tokens(&place), first_tokens);
    }
    let new = |kind: &str| [(format!("{kind} 1"), false), (format!("{kind} 2"), true)];
    let new = [new("digest"), new("sealing")].concat();
    assert_eq!(ids_in_use(&shown(&place, &[])), new);

    // A copy of the store has the same list.
    let copied = format!("sqlite://{}", place.data.join("copied.sqlite").display());
    let from = format!("sqlite://{}", place.data.join("store.sqlite").display());
    run(&["copy", "--from", &from, "--to", &copied], 0);
    assert_eq!(ids_in_use(&shown(&place, &["--store", &copied])), new);

    // The old file is refused, with what is lacking and what to do, and nothing is lost.
    fs::write(&file, before).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for store in [&[][..], &["--store", &copied]] {
        let (_, err) = run(&[&serve[..], &data, store].concat(), 1);
        assert!(err.contains("digest key 2, sealing key 2"), "{err}");
        assert!(
            err.contains("hint") && err.contains("keyring.json"),
            "{err}"
        );
    }
    place.token(&["list"], 1);
    let answer = shown(&place, &[]);
    assert_eq!(ids_in_use(&answer), new);
    let lacking = answer["keys"].as_array().unwrap().iter();
    assert_eq!(lacking.filter(|key| key["in_file"] == false).count(), 2);
    fs::write(&file, after).unwrap();
    Served::start_with(&data, &SEEDS).stop(Signal::TERM);
    assert_eq!(tokens(&place), first_tokens);
}

#[test]
fn keys_are_listed_also_where_the_store_cannot_be_asked() {
    let place = cli::Place::new();
    fs::create_dir(&place.data).unwrap();
    let text = keyring(2).to_text();
    let file = place.data.join("keyring.json");
    fs::write(&file, text.as_bytes()).unwrap();
    let show = ["keyring", "show", "--data", place.path()];
    let (_, err) = run(&show, 1);
    assert!(err.contains("0600"), "{err}");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, private).unwrap();
    let (out, err) = run(&show, 0);
    assert_eq!(out.matches('?').count(), 4, "{out}");
    assert!(err.contains("no store"), "{err}");
    assert!(
        !place.data.join("store.sqlite").exists(),
        "looking makes nothing"
    );
    let nowhere = ["--json", "--store", "postgres://nobody@127.0.0.1:1/none"];
    let (out, _) = run(&[&show[..], &nowhere].concat(), 0);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["store_read"], false);
    assert!(
        answer["reason"].as_str().unwrap().contains("reached"),
        "{answer}"
    );
    assert_eq!(answer["keys"][0]["in_use"], Value::Null);
}
