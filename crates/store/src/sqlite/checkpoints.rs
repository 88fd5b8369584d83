//! Moving the write-ahead log into the file, beside the writer rather than in its way.
//!
//! The one thing to know: the passive steps run on a thread of their own and block nobody, but under constant load they
//! never reach the end of the log, so it never starts over. Above a size the writer itself moves the rest between two
//! groups and lets the log begin anew; that is the only pause it makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};

/// How long the writer waits for readers that still need the end of the log, before it goes on without starting over.
const RESTART_WAIT: Duration = Duration::from_millis(50);

/// How large the log may get, in pages of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Pages after which a passive step is due.
    pub(super) step: u64,
    /// Pages after which the writer lets the log start over.
    pub(super) restart: u64,
}

/// The writer's side.
pub(super) struct Checkpoints {
    sizes: Sizes,
    /// Pages in the log after the last commit.
    log: Arc<AtomicU64>,
    /// Pages in the log when the last step was asked for.
    stepped: u64,
    /// Pages in the log at which the next restart is tried.
    restart_at: u64,
    busy_timeout: Duration,
    wake: Option<SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpoints {
    /// Watches the commits of `writer` and starts the thread that takes the steps through `own`.
    pub(super) fn start(
        writer: &mut Connection,
        own: Connection,
        sizes: Sizes,
        busy_timeout: Duration,
    ) -> Result<Self, std::io::Error> {
        let log = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&log);
        // The hook takes the place of SQLite's own automatic checkpoints, which would run inside COMMIT.
        writer
            .wal_hook(Some(move |_: &mut _, pages: i32| {
                seen.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            }))
            .map_err(std::io::Error::other)?;
        // One wake-up waits at the most: a step takes all there is.
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("store-checkpoints".to_owned())
            .spawn(move || steps(&own, &woken))?;
        Ok(Self {
            sizes,
            log,
            stepped: 0,
            restart_at: sizes.restart,
            busy_timeout,
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// Called between two groups.
    pub(super) fn after_group(&mut self, writer: &Connection) {
        let pages = self.log.load(Ordering::Relaxed);
        if pages < self.stepped {
            // The log has started over.
            self.stepped = 0;
            self.restart_at = self.sizes.restart;
        }
        if pages >= self.restart_at {
            self.restart(writer, pages);
        } else if pages >= self.stepped + self.sizes.step {
            self.stepped = pages;
            if let Some(wake) = &self.wake {
                // Full means that a wake-up is waiting already.
                let _ = wake.try_send(());
            }
        }
    }

    /// Called after a group was lost: where the log has no room to grow, it may still have room at its beginning.
    pub(super) fn relieve(&mut self, writer: &Connection) {
        let pages = self.log.load(Ordering::Relaxed);
        self.restart(writer, pages);
    }

    fn restart(&mut self, writer: &Connection, pages: u64) {
        let restarted = writer
            .busy_timeout(RESTART_WAIT)
            .and_then(|()| writer.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::RESTART));
        if let Err(error) = writer.busy_timeout(self.busy_timeout) {
            tracing::warn!(%error, "the writer's patience could not be restored");
        }
        if let Err(error) = restarted {
            // A reader (or a step) still needs the log; it grows until the next try.
            tracing::debug!(%error, pages, "the log could not start over yet");
            self.restart_at = pages + self.sizes.step;
        }
    }

    /// Ends the thread after the step it may be taking.
    pub(super) fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

fn steps(connection: &Connection, woken: &Receiver<()>) {
    let moved = metrics::gauge!("tokenhouse_store_log_pages_left");
    while woken.recv().is_ok() {
        match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
            Ok((log, done)) => moved.set(f64::from(log - done)),
            // Busy: the writer is restarting the log at this moment. Anything else is tried again at the next step,
            // and shows where it matters: when a commit fails.
            Err(error) => tracing::debug!(%error, "a checkpoint step was not taken"),
        }
    }
}
