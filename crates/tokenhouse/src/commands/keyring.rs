//! `tokenhouse keyring …`: keys are added to the file, and shown beside what the store has in use.
//!
//! The one thing to know: `add` touches the file alone. Which key is active is the store's to say and the servers' to change
//! (`engine::verbs::keys`), so there is no command for it, and none that a person could give too early.

use std::collections::BTreeMap;

use axum::http::Method;
use engine::entropy::SystemEntropy;
use engine::key_list::{KeyId, KeyKind, KeyList, Keys};
use engine::keyring::Keyring;
use engine::verbs::keys::KeysInUse;
use serde_json::{Value as Json, json};

use crate::cli::{KeyringCommand, Reach};
use crate::config::{LogFormat, LogLevel, LogSettings, Settings, Variables};
use crate::data_dir::{DataDir, DataDirError};
use crate::exit::Failure;
use crate::keyring_file::KeyringFile;
use crate::logs;
use crate::open::{keys_in_use, unusable};
use crate::reach::Reached;
use crate::table::{harmless, plain, print, say};

/// Does one of them.
pub(super) async fn run(command: KeyringCommand, environment: Variables) -> Result<(), Failure> {
    logs::start(LogSettings {
        format: LogFormat::Human,
        level: LogLevel::WARN,
    });
    let (KeyringCommand::Add(reach) | KeyringCommand::Show(reach)) = &command;
    let settings = super::settings(&reach.place, reach.place.flags(), environment, false)?;
    let file = settings.keyring_file(&settings.data);
    match &command {
        KeyringCommand::Add(reach) => add(reach, &file),
        KeyringCommand::Show(reach) => show(reach, &settings, &file).await,
    }
}

fn missing(file: &KeyringFile) -> Failure {
    let message = format!("there is no keyring {}", file.path().display());
    Failure::failed(message)
        .hint("name it with --keyring or --data; `tokenhouse serve` makes one at its first start")
}

fn add(reach: &Reach, file: &KeyringFile) -> Result<(), Failure> {
    let added = file.add_keys(&SystemEntropy::new());
    let keyring = added
        .map_err(Failure::failed)?
        .ok_or_else(|| missing(file))?;
    let keys = keyring.keys();
    let newest = KeyKind::ALL.map(|kind| (kind, keys.of(kind).last()));
    let path = file.path().display().to_string();
    if reach.json {
        let added: Vec<Json> = newest
            .iter()
            .filter_map(|(kind, key)| Some(named(*kind, (*key)?)))
            .collect();
        return say(&json!({ "keyring": path, "added": added }).to_string());
    }
    for (kind, key) in newest {
        if let Some(key) = key {
            let (kind, id, check) = (kind.name(), key.id, &key.check);
            say(&format!("added {kind} key {id} (fingerprint {check})"))?;
        }
    }
    say(&format!(
        "\nThey are in {}, and not in use yet. Next:\n  \
         1. back the file up, and copy it to every other node of the store\n  \
         2. restart the nodes, one after the other; the last one's start takes the keys into use\n  \
         3. see that it has: tokenhouse keyring show",
        harmless(&path)
    ))
}

fn named(kind: KeyKind, key: &KeyId) -> Json {
    json!({ "kind": kind.name(), "id": key.id, "fingerprint": key.check })
}

async fn show(reach: &Reach, settings: &Settings, file: &KeyringFile) -> Result<(), Failure> {
    let keyring = file
        .read()
        .map_err(Failure::failed)?
        .ok_or_else(|| missing(file))?;
    let held = keyring.keys();
    let looked = look(settings, keyring).await;
    let (in_use, unknown) = match looked {
        Ok(in_use) => (Some(in_use), None),
        Err(failure) => (None, Some(failure.to_string())),
    };
    let rows = rows(&held, in_use.as_ref());
    let path = file.path().display().to_string();
    if reach.json {
        let nodes = in_use.as_ref().and_then(|in_use| in_use.reports.as_ref());
        let answer = json!({
            "keyring": path,
            "store_read": in_use.is_some(),
            "reason": unknown,
            "nodes": nodes.map(Vec::len),
            "keys": rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        });
        return say(&answer.to_string());
    }
    let mut table = plain(&["KIND", "ID", "FINGERPRINT", "FILE", "IN USE", "NODES"]);
    for row in &rows {
        table.add_row(row.to_cells());
    }
    print(&table)?;
    if let Some(reason) = unknown {
        anstream::eprintln!(
            "note: which keys are in use is not known, the store could not be asked: {}",
            harmless(&reason)
        );
    }
    Ok(())
}

/// What the store has in use: from the server that holds it, or from the store itself.
async fn look(settings: &Settings, keyring: Keyring) -> Result<KeysInUse, Failure> {
    let url = settings.store_url(&settings.data);
    let Some(path) = url.strip_prefix("sqlite:") else {
        return keys_in_use(&url, settings, keyring).await;
    };
    match DataDir::open(&settings.data) {
        Ok(_data) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !std::path::Path::new(path).exists() {
                return Err(Failure::failed(format!("there is no store {path} yet")));
            }
            keys_in_use(&url, settings, keyring).await
        }
        Err(held @ DataDirError::Held { .. }) => {
            let mut server = Reached::server(settings, &held).await?;
            let answer = server.ask(Method::GET, "/v1/keys", None, None).await;
            server.close().await;
            answered(&answer?)
        }
        Err(error) => Err(unusable(&error)),
    }
}

/// What a server answered.
fn answered(answer: &Json) -> Result<KeysInUse, Failure> {
    let list = KeyList::from_body(answer).map_err(Failure::failed)?;
    let nodes = answer.get("nodes").cloned().unwrap_or_default();
    let reports = serde_json::from_value(nodes)
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))?;
    Ok(KeysInUse { list, reports })
}

/// One key, wherever it is known.
#[derive(PartialEq, Eq, Debug)]
struct Row {
    kind: KeyKind,
    key: KeyId,
    file: InFile,
    /// Nothing where the store could not be asked.
    used: Option<Used>,
    /// How many nodes hold it, of how many; nothing where one process alone uses the store.
    nodes: Option<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum InFile {
    Yes,
    No,
    /// Another key has this id there.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Used {
    Active,
    Listed,
    Not,
}

/// All keys of the file, and those that only the store lists, by kind and id.
fn rows(held: &Keys, in_use: Option<&KeysInUse>) -> Vec<Row> {
    let list = in_use.and_then(|in_use| in_use.list.as_ref());
    let mut rows = Vec::new();
    for kind in KeyKind::ALL {
        let listed = list.map_or(&[][..], |list| list.keys().of(kind));
        let all = held.of(kind).iter().chain(listed);
        let all: BTreeMap<(u32, &str), &KeyId> =
            all.map(|key| ((key.id, key.check.as_str()), key)).collect();
        for key in all.into_values() {
            let file = match held.of(kind).iter().find(|held| held.id == key.id) {
                Some(held) if held == key => InFile::Yes,
                Some(_) => InFile::Other,
                None => InFile::No,
            };
            let is_listed = listed.contains(key);
            let used = in_use.map(|_| match list {
                Some(list) if is_listed && list.active(kind) == key.id => Used::Active,
                Some(_) if is_listed => Used::Listed,
                _ => Used::Not,
            });
            let reports = in_use.and_then(|in_use| in_use.reports.as_ref());
            let nodes = reports.map(|reports| {
                let known = reports.iter().flatten();
                let holders = known.filter(|keys| keys.of(kind).contains(key));
                (holders.count(), reports.len())
            });
            rows.push(Row {
                kind,
                key: key.clone(),
                file,
                used,
                nodes,
            });
        }
    }
    rows
}

impl Row {
    fn to_cells(&self) -> [String; 6] {
        let file = match self.file {
            InFile::Yes => "yes",
            InFile::No => "no",
            InFile::Other => "other",
        };
        let used = match self.used {
            Some(Used::Active) => "active",
            Some(Used::Listed) => "yes",
            Some(Used::Not) => "no",
            None => "?",
        };
        let nodes = match self.nodes {
            Some((holders, all)) => format!("{holders} of {all}"),
            None => "-".to_owned(),
        };
        let (kind, id) = (self.kind.name().to_owned(), self.key.id.to_string());
        let check = harmless(&self.key.check);
        [kind, id, check, file.to_owned(), used.to_owned(), nodes]
    }

    fn to_json(&self) -> Json {
        let mut row = named(self.kind, &self.key);
        row["in_file"] = json!(self.file == InFile::Yes);
        row["in_use"] = json!(self.used.map(|used| used != Used::Not));
        row["active"] = json!(self.used.map(|used| used == Used::Active));
        row["nodes"] = json!(self.nodes.map(|(holders, _)| holders));
        row
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use engine::entropy::SeededEntropy;

    #[test]
    fn a_key_is_shown_wherever_it_is_known() {
        let first = Keyring::generate(&SeededEntropy::new(1));
        let one = first.with_new_keys(&SeededEntropy::new(2)).unwrap().keys();
        let other = first.with_new_keys(&SeededEntropy::new(3)).unwrap().keys();
        let list = KeyList::founding(other.clone());
        let in_use = KeysInUse {
            list: Some(list),
            reports: Some(vec![Some(other), Some(one.clone()), None]),
        };
        let told = |rows: &[Row]| {
            let digest = rows.iter().filter(|row| row.kind == KeyKind::Digest);
            let mut told: Vec<_> = digest
                .map(|row| (row.key.id, row.file, row.used, row.nodes))
                .collect();
            told.sort_by_key(|(id, file, ..)| (*id, *file == InFile::Other));
            told
        };
        assert_eq!(
            told(&rows(&one, Some(&in_use))),
            [
                (1, InFile::Yes, Some(Used::Listed), Some((2, 3))),
                (2, InFile::Yes, Some(Used::Not), Some((1, 3))),
                (2, InFile::Other, Some(Used::Active), Some((1, 3))),
            ]
        );
        assert_eq!(
            told(&rows(&first.keys(), Some(&in_use)))[1],
            (2, InFile::No, Some(Used::Active), Some((1, 3)))
        );
        assert_eq!(
            told(&rows(&one, None)),
            [(1, InFile::Yes, None, None), (2, InFile::Yes, None, None)]
        );
    }
}
