//! An operating system that refuses to write, for real: a process whose files may not grow beyond a size.
//!
//! The one thing to know: the limit holds for a whole process, so the tests here run themselves again in a child.

use std::process::Command;

use engine::batch::TokenWrite;
use engine::store::StoreError;
use engine::token::TokenId;

use super::Directory;
use crate::Options;
use crate::contract::House;
use crate::contract::world::World;

/// Runs an ignored test of this file where no file may exceed `blocks` of 512 bytes. The signal that would end the
/// process is ignored, so that the write itself is refused.
fn under_a_limit(test: &str, blocks: u32) {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let child = Command::new("/bin/sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg(format!("sqlite::tests::refusals::{test}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let complained = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "{said}\n{complained}");
}

/// Inserts tokens one by one until `enough` says so; gives those that were acknowledged and those that were refused.
async fn insert_until(
    world: &World,
    enough: impl Fn(usize, usize) -> bool,
) -> (Vec<TokenId>, Vec<TokenId>) {
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    while !enough(kept.len(), refused.len()) {
        let mut token = world.access_token();
        token.name = Some("x".repeat(3000));
        let id = token.id;
        let mut batch = world.batch();
        batch.tokens.push(TokenWrite::Insert(token));
        match world.write(batch).await {
            Ok(true) => kept.push(id),
            Err(StoreError::Unavailable { .. }) => refused.push(id),
            outcome => panic!("{outcome:?}"),
        }
    }
    (kept, refused)
}

async fn assert_kept(world: &World, kept: &[TokenId], refused: &[TokenId], others: usize) {
    for id in kept {
        assert!(world.find_token(*id).await.is_some());
    }
    for id in refused {
        assert!(world.find_token(*id).await.is_none());
    }
    assert_eq!(world.events().await.len(), kept.len() + others);
}

#[test]
fn a_log_that_may_not_grow_starts_over() {
    under_a_limit("log_with_a_limit", 4 * 1024);
}

#[tokio::test]
#[ignore = "run in a child by a_log_that_may_not_grow_starts_over"]
async fn log_with_a_limit() {
    // Left alone, the log would reach the limit long before its own restart, while the file is still small.
    let house = Directory::new(Options {
        checkpoint_step_pages: 1_000_000,
        checkpoint_restart_pages: 1_000_000,
        ..Options::default()
    });
    let world = World::of(&house).await;
    let (mut kept, mut refused) = insert_until(&world, |_, refused| refused == 1).await;
    assert!(kept.len() > 20);
    assert_kept(&world, &kept, &refused, 0).await;
    // The refused call made the log start over; there is room again.
    let (more, none) = insert_until(&world, |kept, refused| kept == 20 || refused > 0).await;
    kept.extend(more);
    refused.extend(none);
    assert_eq!(refused.len(), 1);
    world.store.ready().await.unwrap();
    assert_kept(&world, &kept, &refused, 0).await;
    world.store.close().await;
    let world = world.reopened(&house).await;
    assert_kept(&world, &kept, &refused, 0).await;
}

#[test]
fn a_full_file_refuses_everything_until_there_is_room() {
    under_a_limit("file_with_a_limit", 2 * 1024);
}

#[tokio::test]
#[ignore = "run in a child by a_full_file_refuses_everything_until_there_is_room"]
async fn file_with_a_limit() {
    // Both the file and its log reach the limit: nothing more can be moved or written.
    let house = Directory::build().await;
    let world = World::of(&house).await;
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    loop {
        // The log may start over a few times before the file is full as well.
        let (more, one) = insert_until(&world, |_, refused| refused == 1).await;
        let full = more.is_empty();
        kept.extend(more);
        refused.extend(one);
        if full {
            break;
        }
    }
    assert_kept(&world, &kept, &refused, 0).await;
    // A smaller write may still fit where a larger one did not; in the end none does.
    let mut small = 0;
    let mut unready = false;
    for _ in 0..20 {
        small += usize::from(world.write(world.batch()).await.is_ok());
        let ready = world.store.ready().await;
        unready = matches!(ready, Err(StoreError::Unavailable { .. }));
    }
    assert!(unready, "{small} small writes were accepted");
    assert_kept(&world, &kept, &refused, small).await;
    world.store.close().await;
    // What could not be moved into the file is still in its log.
    let world = world.reopened(&house).await;
    assert_kept(&world, &kept, &refused, small).await;
}
