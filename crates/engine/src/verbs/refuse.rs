//! Refuse: record that a call was refused.
//!
//! The one thing to know: it never waits and never fails toward the caller; see [`crate::refusal`] for what is written.

use crate::batch::Batch;
use crate::engine::Engine;
use crate::event::EventId;
use crate::refusal::{Refusal, event};
use crate::store::{Decide, Query};

impl Engine {
    /// Counts a refusal; the first of its kind in a minute is written as an event in the background.
    pub fn refuse(&self, refusal: Refusal, request: &str) {
        let due = self.0.refusals.count(&refusal, self.now());
        if !due.first && due.ended.is_empty() {
            return;
        }
        let engine = self.clone();
        let request = request.to_owned();
        self.in_background(async move {
            engine.write_repetitions(due.ended).await;
            if due.first {
                engine.write_refusal(refusal, &request, 1).await;
            }
        });
    }

    /// Writes the repetitions of the minute that has ended; with `all`, also those of the present one. To be called every
    /// few seconds, and with `all` when the program stops.
    pub async fn flush_refusals(&self, all: bool) {
        let ended = if all {
            self.0.refusals.drain()
        } else {
            self.0.refusals.ended(self.now())
        };
        self.write_repetitions(ended).await;
    }

    async fn write_repetitions(&self, ended: Vec<(Refusal, u64)>) {
        for (refusal, count) in ended {
            self.write_refusal(refusal, "", count).await;
        }
    }

    async fn write_refusal(&self, refusal: Refusal, request: &str, count: u64) {
        let now = self.now();
        let id = EventId(self.0.ids.next(now, &*self.0.entropy));
        let realm = refusal.realm;
        let batch = Batch {
            event: event(id, refusal, request, now, count),
            tokens: Vec::new(),
            values: Vec::new(),
            records: Vec::new(),
            locators: Vec::new(),
            marks: Vec::new(),
        };
        let query = Query {
            realm,
            lookups: Vec::new(),
            entries: false,
            sealed: false,
            limit: 0,
        };
        let decide: Decide = Box::new(move |_| Some(batch.clone()));
        if let Err(error) = self.0.store.commit(query, decide).await {
            tracing::warn!(%error, "a refusal could not be recorded");
        }
    }
}
