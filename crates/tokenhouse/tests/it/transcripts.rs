//! The recorded conversations, replayed: the compatibility of each dialect *is* these files.
//!
//! The one thing to know: every file gets a fresh server with the settings that it states, at 2026-01-01T00:00:00Z.

use std::path::Path;

use crate::app::TestServer;
use crate::replay::replay_directory;

async fn replay(dialect: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(dialect);
    let replayed = replay_directory(&directory, TestServer::start).await;
    let replayed = replayed.unwrap_or_else(|report| panic!("{report}"));
    assert!(
        replayed.files > 0 && replayed.exchanges > 0,
        "no transcripts"
    );
}

#[tokio::test]
async fn mindbridge() {
    replay("mindbridge").await;
}

#[tokio::test]
async fn piiano() {
    replay("piiano").await;
}

#[tokio::test]
async fn unleash() {
    replay("unleash").await;
}
