//! The rules of the house that no compiler checks.
//!
//! The one thing to know: the first tests fail, the last one only prints: a long file or function is a question, not a
//! fault.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every Rust file below a directory of the repository: its path from there, and its text.
pub(crate) fn sources(below: &str) -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root.join(below), &mut found);
    found.sort();
    assert!(!found.is_empty(), "nothing below {below}");
    let shown = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    found
        .iter()
        .map(|path| (shown(path), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The lines that are code: comments may speak of anything. A `//` in a text ends the line too early, which errs on the
/// side of silence in a few places.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

/// Fails with all findings at once.
pub(crate) fn none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

/// Lines of code below `directories` in which one of `words` stands.
fn lines_with(directories: &[&str], words: &[&str], home: impl Fn(&str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in directories.iter().flat_map(|directory| sources(directory)) {
        if home(&path) {
            continue;
        }
        for (number, line) in code(&text) {
            if words.iter().any(|word| line.contains(word)) {
                findings.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    findings
}

#[test]
fn every_file_says_what_lives_in_it() {
    let mut findings = Vec::new();
    for (path, text) in sources("crates")
        .into_iter()
        .chain(sources("bench"))
        .chain(sources("harness"))
    {
        let lines = text.lines().take_while(|line| line.starts_with("//!"));
        let about: String = lines.map(|line| line[3..].trim_end()).collect();
        if !about.contains("The one thing ") {
            findings.push(path);
        }
    }
    none(
        &findings,
        "a file begins with `//!`: what lives here, and what a newcomer would get wrong",
    );
}

#[test]
fn no_dialect_names_another_and_nothing_else_names_one() {
    let names: Vec<&str> = web::dialects::ALL
        .iter()
        .map(|dialect| dialect.name)
        .collect();
    let products = ["unleash", "piiano", "pvault", "infisical", "mindbridge"];
    let mut findings = Vec::new();
    for name in &names {
        let other = |word: &&&str| {
            let own = **word == *name || (**word == "pvault" && *name == "piiano");
            !own
        };
        let others: Vec<&str> = products.iter().filter(other).copied().collect();
        for (path, text) in sources(&format!("crates/web/src/dialects/{name}")) {
            for (number, line) in text.lines().enumerate() {
                let line = line.to_ascii_lowercase();
                if others.iter().any(|other| line.contains(other)) {
                    findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    // Comments too: what is explained by one product is not understood without it.
    for directory in [
        "crates/engine/src",
        "crates/store/src",
        "crates/web/src/kit",
        "crates/web/src/native",
    ] {
        for (path, text) in sources(directory) {
            for (number, line) in text.lines().enumerate() {
                let line = line.to_ascii_lowercase();
                if products.iter().any(|name| line.contains(name)) {
                    findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    none(
        &findings,
        "a dialect names no other; engine, store, kit and native routes name none",
    );
}

#[test]
fn every_route_is_described_where_it_is_written() {
    let words = [".route(", ".route_service(", ".nest(", ".nest_service("];
    let findings = lines_with(
        &["crates/web/src/dialects", "crates/web/src/native"],
        &words,
        |_| false,
    );
    none(
        &findings,
        "a route is registered by `routes!`, which puts it into the OpenAPI document",
    );
}

#[test]
fn time_chance_and_environment_have_one_home_each() {
    let words = [
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "ZonedDateTime::now",
        "Uuid::new_v4",
        "Uuid::now_v7",
        "rand::random",
        "thread_rng",
        "env::var",
        "env::vars",
        "UtcDateTime::now",
        "Utc::now",
    ];
    let directories = [
        "crates/engine/src",
        "crates/store/src",
        "crates/web/src",
        "crates/tokenhouse/src",
        "bench/src",
    ];
    let home = |path: &str| {
        [
            "crates/engine/src/clock.rs",
            "crates/tokenhouse/src/main.rs",
            "bench/src/clock.rs",
        ]
        .contains(&path)
    };
    let findings = lines_with(&directories, &words, home);
    none(&findings, "time, chance and environment are arguments");
}

#[test]
fn the_engine_knows_nobody() {
    let words = [
        "axum",
        "hyper",
        "StatusCode",
        "http::",
        "rusqlite",
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "DELETE FROM",
        "utoipa",
    ];
    let findings = lines_with(&["crates/engine/src"], &words, |_| false);
    none(&findings, "the engine knows no HTTP and no SQL");
}

#[test]
fn crates_point_where_they_may() {
    let dependencies = |name: &str| -> Vec<String> {
        let path = root().join("crates").join(name).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        let table = manifest["dependencies"].as_table().unwrap();
        table.keys().cloned().collect()
    };
    for (name, allowed, forbidden) in [
        (
            "engine",
            &[][..],
            &[
                "axum",
                "hyper",
                "utoipa",
                "rusqlite",
                "tokio-postgres",
                "clap",
                "toml",
            ][..],
        ),
        ("store", &["engine"], &["axum", "hyper", "utoipa", "clap"]),
        (
            "web",
            &["engine"],
            &["rusqlite", "tokio-postgres", "clap", "toml"],
        ),
        (
            "tokenhouse",
            &["engine", "store", "web"],
            &["rusqlite", "tokio-postgres", "utoipa"],
        ),
    ] {
        let of = dependencies(name);
        for ours in ["engine", "store", "web", "tokenhouse", "bench"] {
            let may = allowed.contains(&ours);
            assert!(
                may || !of.iter().any(|one| one == ours),
                "{name} must not depend on {ours}"
            );
        }
        for foreign in forbidden {
            assert!(
                !of.iter().any(|one| one == foreign),
                "{name} must not depend on {foreign}"
            );
        }
    }
}

#[test]
fn migrations_are_only_ever_added() {
    let list = root().join("crates/tokenhouse/tests/it/migrations.sha256");
    let listed = fs::read_to_string(&list).unwrap();
    let mut expected = String::new();
    for backend in ["sqlite", "postgres"] {
        let directory = root()
            .join("crates/store/src")
            .join(backend)
            .join("migrations");
        let mut names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        for name in names {
            let digest = Sha256::digest(fs::read(directory.join(&name)).unwrap());
            for byte in digest {
                let _ = write!(expected, "{byte:02x}");
            }
            let _ = writeln!(expected, "  {backend}/{name}");
        }
    }
    assert!(
        listed == expected,
        "migrations differ from {}. One that is released must not change: undo the edit. For a new one, add its line:\n\
         {expected}",
        list.display()
    );
}

/// What lies in the root of the repository, folders aside.
const ROOT_FILES: [&str; 15] = [
    ".editorconfig",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "STYLE.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
];

/// What git follows there. Nothing where the sources lie outside of a repository: then nobody can add to it.
fn followed_in_the_root() -> Vec<String> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files"])
        .current_dir(root())
        .output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let names = String::from_utf8(listed).unwrap();
    let mut files: Vec<String> = names
        .lines()
        .filter(|name| !name.contains('/'))
        .map(str::to_owned)
        .collect();
    files.sort();
    files
}

#[test]
fn nothing_lies_about_in_the_root() {
    let missing = ROOT_FILES
        .iter()
        .filter(|name| !root().join(name).is_file());
    assert_eq!(missing.count(), 0);
    let files = followed_in_the_root();
    assert!(
        files.is_empty() || files == ROOT_FILES,
        "what is made by running something belongs elsewhere; what is to stay, into the list: {files:?}"
    );
}

#[test]
fn names_that_say_nothing_are_not_used() {
    let nothing = [
        "utils", "util", "common", "helpers", "helper", "types", "core", "misc",
    ];
    let mut findings = Vec::new();
    for (path, _) in sources("crates") {
        let parts = path.trim_end_matches(".rs").split('/');
        if parts.skip(2).any(|part| nothing.contains(&part)) {
            findings.push(path);
        }
    }
    none(&findings, "a module is named after what it is about");
}

#[test]
fn long_files_and_functions_are_shown() {
    const FILE_LINES: usize = 400;
    const FUNCTION_LINES: usize = 70;
    for (path, text) in sources("crates") {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES {
            println!("long file: {path}: {} lines", lines.len());
        }
        let mut begun: Option<(usize, usize, &str)> = None;
        for (number, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start().split('(').next().unwrap_or_default();
            let words: Vec<&str> = head.split_whitespace().collect();
            if words.contains(&"fn") && line.contains('(') {
                begun = Some((number, indent, words.last().copied().unwrap_or_default()));
            } else if let Some((start, depth, name)) = begun
                && *line == format!("{}}}", " ".repeat(depth))
            {
                if number - start > FUNCTION_LINES {
                    println!(
                        "long function: {path}:{}: {name}: {} lines",
                        start + 1,
                        number - start
                    );
                }
                begun = None;
            }
        }
    }
}
