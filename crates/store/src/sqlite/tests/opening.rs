//! Opening: what is refused, and whether the refusal says what to do.
//!
//! The one thing to know: whatever is refused is left as it was, also by a program that could have mended it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::{Directory, open_file};
use crate::contract::House;
use crate::contract::world::World;
use crate::{OpenError, Options};

/// Makes a store with an event in it, closes it, and changes the file.
async fn tampered(sql: &str) -> (Directory, World) {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    assert!(world.write(world.batch()).await.unwrap());
    world.store.close().await;
    house.tamper(sql);
    (house, world)
}

const NEWER: &str = "INSERT INTO refinery_schema_history \
    SELECT 9, 'from_the_future', applied_on, checksum FROM refinery_schema_history WHERE version = 1;";

#[tokio::test]
async fn a_schema_for_newer_programs_is_refused_with_both_versions() {
    let newer = format!("{NEWER} UPDATE schema SET minimum_program = 9;");
    let (house, _) = tampered(&newer).await;
    let error = house.try_open().await.unwrap_err();
    let text = error.to_string();
    let OpenError::Newer { needs, program, .. } = error else {
        panic!("{text}");
    };
    assert_eq!((needs, program), (9, 1));
    assert!(text.contains('9') && text.contains("has 1"), "{text}");
    // Refused means untouched: the newer program finds it as it was.
    house.tamper("UPDATE schema SET minimum_program = 1; DELETE FROM refinery_schema_history WHERE version = 9");
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
        (
            "UPDATE refinery_schema_history SET checksum = '1'",
            "first_tables",
        ),
        ("UPDATE refinery_schema_history SET name = 'other'", "other"),
        (
            "UPDATE refinery_schema_history SET version = 0",
            "other_history",
        ),
    ] {
        let sql = format!(
            "{sql}; UPDATE refinery_schema_history SET name = 'other_history' WHERE version = 0"
        );
        let (house, _) = tampered(&sql).await;
        let error = house.try_open().await.unwrap_err();
        assert!(matches!(error, OpenError::History { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn files_of_others_are_refused_and_left_alone() {
    let house = Directory::build().await;
    house.tamper("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (7)");
    let error = house.try_open().await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    house.tamper("UPDATE theirs SET x = 8 WHERE x = 7");

    let house = Directory::build().await;
    std::fs::write(
        house.file(),
        "not a database, but long enough to be one".repeat(200),
    )
    .unwrap();
    let error = house.try_open().await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn a_damaged_store_is_refused() {
    let (house, _) = tampered("").await;
    let mut bytes = std::fs::read(house.file()).unwrap();
    // The root of the list of tables, behind the header of the file.
    bytes[100..4096].fill(0x5a);
    std::fs::write(house.file(), bytes).unwrap();
    let error = house.try_open().await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn paths_that_cannot_be_are_explained() {
    let house = Directory::build().await;
    let here = house.directory.path();
    let attempt = async |path: &Path| {
        let opened = open_file(path, Options::default()).await;
        opened.unwrap_err()
    };
    let error = attempt(here).await;
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    let error = attempt(&here.join("missing/store.sqlite")).await;
    assert!(matches!(error, OpenError::NoDirectory { .. }), "{error}");
    assert!(error.to_string().contains("create it"), "{error}");
    std::fs::write(here.join("file"), "").unwrap();
    let error = attempt(&here.join("file/store.sqlite")).await;
    assert!(matches!(error, OpenError::NoDirectory { .. }), "{error}");
}

#[tokio::test]
async fn missing_rights_are_explained() {
    let house = Directory::build().await;
    let closed = house.directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let opened = open_file(&closed.join("store.sqlite"), Options::default()).await;
    // The superuser may write everywhere, and then opening must succeed.
    if std::fs::write(closed.join("probe"), "").is_ok() {
        opened.unwrap().ready().await.unwrap();
    } else {
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::Rights { .. }), "{error}");
    }
}

#[tokio::test]
async fn one_process_owns_the_store() {
    let house = Directory::new(Options {
        lock_wait: Duration::ZERO,
        ..Options::default()
    });
    let first = house.open().await;
    let error = house.try_open().await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    first.ready().await.unwrap();
    first.close().await;
    let second = house.open().await;
    // Dropped without closing: the writer lets go soon after.
    drop(second);
    let patient = Options::default();
    let third = open_file(&house.file(), patient).await.unwrap();
    third.ready().await.unwrap();
}

#[tokio::test]
async fn all_files_are_their_owners_alone() {
    let house = Directory::build().await;
    let world = World::of(&house).await;
    assert!(world.write(world.batch()).await.unwrap());
    let mut seen = 0;
    for entry in std::fs::read_dir(house.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert_eq!(seen, 4, "file, log, index of the log, lock");
}
