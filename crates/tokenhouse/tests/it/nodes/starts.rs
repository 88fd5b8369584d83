//! Starting beside others: what nodes must agree about, and what the command line does while they run.
//!
//! The one thing to know: a node that would answer differently does not answer at all.

use std::process::Command;
use std::time::Duration;

use super::house::{Client, House};

/// The keyring that the nodes of a house share.
pub(super) fn keyring_of(house: &House) -> String {
    let arguments = house.arguments(house.server().port());
    let keyring = arguments.iter().position(|word| word == "--keyring");
    arguments[keyring.unwrap() + 1].clone()
}

pub(super) fn program(arguments: &[String], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tokenhouse"))
        .env_clear()
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_other_settings_or_another_keyring_does_not_start() {
    let house = House::new();
    let node = house.node(&[]).await;
    let port = house.server().port();
    let mut arguments = house.arguments(port);
    arguments.insert(0, "serve".to_owned());
    arguments.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
    let refused = {
        let arguments = arguments.clone();
        tokio::task::spawn_blocking(move || {
            program(
                &arguments,
                &[("AUTH_SECRET", "another secret than that of the others")],
            )
        })
    };
    let (code, said) = refused.await.unwrap();
    assert_eq!(code, Some(1), "{said}");
    let both = "other settings: AUTH_SECRET, INIT_ADMIN_API_TOKENS";
    assert!(said.contains(both), "{said}");
    assert!(!said.contains("another secret than"), "{said}");
    let refused = {
        let mut arguments = arguments.clone();
        let switch = ["--set", "dialects.mindbridge.enabled=false"];
        arguments.extend(switch.map(str::to_owned));
        tokio::task::spawn_blocking(move || {
            program(
                &arguments,
                &[("INIT_ADMIN_API_TOKENS", super::house::ADMIN)],
            )
        })
    };
    let (code, said) = refused.await.unwrap();
    assert_eq!(code, Some(1), "{said}");
    let one = "other settings: dialects.mindbridge.enabled\n";
    assert!(said.contains(one), "{said}");

    let keyring = arguments
        .iter()
        .position(|word| word == "--keyring")
        .unwrap();
    let other = format!("{}.other", arguments[keyring + 1]);
    arguments[keyring + 1].clone_from(&other);
    let (code, said) = program(&arguments, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("keyring") && said.contains(&other), "{said}");

    // The others have noticed nothing.
    let mut client = Client::of(&node);
    let secret = client.issue("after").await;
    assert!(client.is_good(&secret).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_the_store_itself_is_in_force_on_the_nodes() {
    let house = House::new();
    let nodes = house.three(&[]).await;
    let mut clients: Vec<Client> = nodes.iter().map(Client::of).collect();
    let place = house.arguments(house.server().port());
    let run = |words: &[&str]| {
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend(place.clone());
        let environment = [("INIT_ADMIN_API_TOKENS", super::house::ADMIN)];
        let (code, said) = program(&arguments, &environment);
        assert_eq!(code, Some(0), "{said}");
        serde_json::from_str::<serde_json::Value>(said.lines().last().unwrap_or_default())
            .or_else(|_| serde_json::from_str(&said))
            .unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    let issue = [
        "token",
        "issue",
        "--json",
        "--realm",
        "unleash",
        "--class",
        "client",
        "--name",
        "by-hand",
        "--permission",
        "project:default",
        "--permission",
        "environment:development",
    ];
    let made = tokio::task::block_in_place(|| run(&issue));
    let secret = made["secret"].as_str().unwrap().to_owned();
    for client in &mut clients {
        assert!(client.is_good(&secret).await);
    }
    let id = made["id"]
        .as_str()
        .or_else(|| made["token"]["id"].as_str())
        .unwrap();
    tokio::task::block_in_place(|| run(&["token", "revoke", "--json", id]));
    for client in &mut clients {
        assert!(!client.is_good(&secret).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_go_on_with_another_store_in_the_place_of_its_own() {
    let house = House::new();
    let old = house.node(&[]).await;
    let mut client = Client::of(&old);
    client.issue("of the store that was").await;
    let name = &house.database;
    tokio::task::block_in_place(|| {
        for statement in [
            format!("DROP DATABASE {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            house.server().sql("postgres", &statement);
        }
    });
    // What it knows under the lease that it had is of the store that was.
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The keyring is the same, so nothing else tells the two apart.
    let new = house.node(&[]).await;
    let fresh = Client::of(&new).issue("fresh").await;
    let path = "/api/client/features";
    while let Some((status, _)) = client.ask("GET", path, &fresh, None).await {
        assert!(status >= 500, "{status}: it cannot know");
    }
    let (code, log) = tokio::task::block_in_place(|| old.served.ended());
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("another one than this process has begun with"),
        "{log}"
    );
    assert!(Client::of(&new).is_good(&fresh).await);
}
