//! What the program is built from: the lists of `deny.toml`, held to what cargo really resolves.
//!
//! The one thing to know: this is not cargo-deny, which also sees the texts of licences and the crates of other platforms;
//! it is what can be seen on every machine that builds, so that a new dependency cannot slip in unread.

use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// The packages of this platform, as cargo resolves them from the lock file.
fn packages() -> Vec<Value> {
    let cargo = env!("CARGO");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let host = Command::new(cargo).arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--all-features", "--filter-platform", host.unwrap()])
        .args(["--manifest-path", manifest])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn rules() -> toml::Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn dependencies_have_licences_sources_and_names_that_are_allowed() {
    let rules = rules();
    let texts = |list: &toml::Value, key: Option<&str>| -> Vec<String> {
        let entries = list.as_array().unwrap().iter();
        let text = |entry: &toml::Value| {
            key.map_or(entry, |key| &entry[key])
                .as_str()
                .map(str::to_owned)
        };
        entries.map(|entry| text(entry).unwrap()).collect()
    };
    let allowed = texts(&rules["licenses"]["allow"], None);
    let banned = texts(&rules["bans"]["deny"], Some("crate"));
    assert!(!allowed.is_empty() && !banned.is_empty());
    let packages = packages();
    assert!(packages.len() > 100, "cargo has told of all of them");
    let mut findings = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        let permitted = Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|needed| {
                let id = needed.license.id().map(|id| id.name);
                id.is_some_and(|id| allowed.iter().any(|one| one == id))
            })
        });
        if !permitted {
            findings.push(format!("{name}: its licence is `{licence}`"));
        }
        if banned.iter().any(|one| one == name) {
            findings.push(format!("{name}: deny.toml says why not"));
        }
        // Our own have none; all others come from the registry that cargo knows by itself.
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            findings.push(format!("{name}: comes from {}", source.unwrap_or_default()));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
