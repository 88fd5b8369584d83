//! Whether there is room for one more token.
//!
//! The one thing a newcomer would get wrong: counting means walking all tokens, so it is not done for each create. A
//! count with much room left lets an eighth of that room be taken without counting again; near the limit every create
//! counts. A create that counts waits until those before it have ended, and those after it wait for its count: so this
//! process neither exceeds the limit nor refuses a token for which there is room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use engine::Error;
use engine::caller::Caller;
use engine::limits::PAGE_ROWS;
use engine::token::Token;
use engine::verbs::issue::Issue;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::Unleash;

/// How much of the room that a count has found may be taken before the next count.
const SHARE: usize = 8;

/// The creates that are under way, and how many need no count.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Read by each create until its token is made; written by one that counts, so that nothing is half there.
    under_way: Arc<RwLock<()>>,
    /// Creates that are still let through without a count.
    uncounted: AtomicUsize,
}

/// A place for one token, held until it is made.
#[derive(Debug)]
pub(super) struct Place(#[allow(dead_code, reason = "held for its drop")] OwnedRwLockReadGuard<()>);

impl Room {
    /// A place that needs no count, if there is one.
    async fn enter(&self) -> Option<Place> {
        let held = Arc::clone(&self.under_way).read_owned().await;
        self.take().then_some(Place(held))
    }

    fn take(&self) -> bool {
        let one_less = |uncounted: usize| uncounted.checked_sub(1);
        let taken = self.uncounted.fetch_update(SeqCst, SeqCst, one_less);
        taken.is_ok()
    }

    /// Waits until no create is under way; none begins while the guard is held.
    async fn still(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.under_way).write_owned().await
    }

    /// A place beside `counted` tokens, if there is room in `max`.
    fn fit(&self, still: OwnedRwLockWriteGuard<()>, counted: usize, max: usize) -> Option<Place> {
        let beside_this_one = max.checked_sub(counted)?.checked_sub(1)?;
        self.uncounted.store(beside_this_one / SHARE, SeqCst);
        Some(Place(still.downgrade()))
    }
}

impl Unleash {
    /// A place for one more token, to be held until it is made; `None` if the limit is reached.
    pub(super) async fn room(&self, caller: &Caller) -> Result<Option<Place>, Error> {
        let room = self.room_taken();
        if let Some(place) = room.enter().await {
            return Ok(Some(place));
        }
        let still = room.still().await;
        // Another one may have counted while this one waited.
        if room.take() {
            return Ok(Some(Place(still.downgrade())));
        }
        let max = self.settings().tokens_max;
        let counted = self.count_up_to(caller, max).await?;
        Ok(room.fit(still, counted, max))
    }

    /// Issues a token in its place, which it keeps until the write has ended, also when its caller has hung up.
    pub(super) async fn issue_in(
        &self,
        place: Place,
        caller: &Caller,
        issue: Issue,
    ) -> Result<Token, Error> {
        let (engine, caller) = (self.engine().clone(), caller.clone());
        let work = async move {
            let issued = engine.issue(&caller, issue).await;
            drop(place);
            issued
        };
        let issued = tokio::spawn(tracing::Instrument::in_current_span(work)).await;
        issued.unwrap_or_else(|error| {
            tracing::error!(%error, "issuing a token panicked");
            Err(Error::Internal)
        })
    }

    /// How many tokens there are, expired ones too; stops at `max`.
    async fn count_up_to(&self, caller: &Caller, max: usize) -> Result<usize, Error> {
        let mut counted = 0;
        let mut after = None;
        loop {
            let (page, next) = self.engine().list(caller, after, PAGE_ROWS).await?;
            counted += page.len();
            if counted >= max || next.is_none() {
                return Ok(counted);
            }
            after = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn near_the_limit_every_create_counts_after_those_before_it() {
        let room = Room::default();
        assert!(room.enter().await.is_none(), "nothing was counted yet");
        let first = room.fit(room.still().await, 8, 10);
        assert!(first.is_some() && room.enter().await.is_none());
        let waiting = room.under_way.try_read().is_ok() && room.under_way.try_write().is_err();
        assert!(waiting, "the next count waits for the first token");
        drop(first);
        let second = room.fit(room.still().await, 9, 10);
        assert!(second.is_some());
        drop(second);
        assert!(room.fit(room.still().await, 10, 10).is_none());
        assert!(room.fit(room.still().await, 11, 10).is_none());
        assert!(
            room.under_way.try_write().is_ok(),
            "a refusal holds nothing"
        );
    }

    #[tokio::test]
    async fn far_from_it_some_pass_without_a_count() {
        let room = Room::default();
        drop(room.fit(room.still().await, 0, 2001));
        let mut places = Vec::new();
        while let Some(place) = room.enter().await {
            places.push(place);
        }
        assert_eq!(places.len(), 250);
    }
}
