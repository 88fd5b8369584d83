//! Whether there is room for one more token.
//!
//! The one thing a newcomer would get wrong: counting means walking all tokens, so it is not done for each create. A
//! count with much room left lets an eighth of that room be taken without counting again; near the limit every create
//! counts, and those under way count too. So the limit is never exceeded by this process, nor by up to eight together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Error;
use engine::caller::Caller;
use engine::limits::PAGE_ROWS;

use super::Unleash;

/// How much of the room that a count has found may be taken before the next count.
const SHARE: usize = 8;

/// The creates that are under way or need no count.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    /// Creates under way.
    under_way: usize,
    /// Creates that are still let through without a count.
    uncounted: usize,
}

/// A place for one token, held while it is made.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Room);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken().under_way -= 1;
    }
}

impl Room {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, and whether it needs no count.
    fn enter(&self) -> (Place<'_>, bool) {
        let mut taken = self.taken();
        taken.under_way += 1;
        let free = taken.uncounted > 0;
        taken.uncounted = taken.uncounted.saturating_sub(1);
        (Place(self), free)
    }

    /// Whether `counted` tokens and those under way fit into `max`.
    fn fits(&self, counted: usize, max: usize) -> bool {
        let mut taken = self.taken();
        let left = max.saturating_sub(counted);
        // One that is committed already may be counted twice here, which refuses too early but never too late.
        let fits = taken.under_way <= left;
        taken.uncounted = left.saturating_sub(taken.under_way) / SHARE;
        fits
    }
}

impl Unleash {
    /// A place for one more token, to be held until it is made; `None` if the limit is reached.
    pub(super) async fn room(&self, caller: &Caller) -> Result<Option<Place<'_>>, Error> {
        let (place, free) = self.room_taken().enter();
        if free {
            return Ok(Some(place));
        }
        let max = self.settings().tokens_max;
        let counted = self.count_up_to(caller, max).await?;
        Ok(self.room_taken().fits(counted, max).then_some(place))
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

    #[test]
    fn near_the_limit_every_create_counts_those_under_way() {
        let room = Room::default();
        let (first, free) = room.enter();
        assert!(!free && room.fits(8, 10));
        let (second, free) = room.enter();
        assert!(!free && room.fits(8, 10));
        let (third, _) = room.enter();
        assert!(!room.fits(8, 10), "three are under way for two places");
        drop(third);
        assert!(room.fits(8, 10));
        drop((first, second));
        let (_last, free) = room.enter();
        assert!(!free && !room.fits(10, 10));
    }

    #[test]
    fn far_from_it_some_pass_without_a_count() {
        let room = Room::default();
        drop(room.enter());
        let (place, _) = room.enter();
        assert!(room.fits(0, 2001));
        drop(place);
        let free = (0..1000).filter(|_| room.enter().1).count();
        assert_eq!(free, 250);
    }
}
