//! Refusals: recorded too, without letting a loop of them fill the disk.
//!
//! The one thing to know: the first refusal of a (realm, caller, verb, reason) in a minute becomes an event; the others
//! of that minute are counted and become one event with their number when the minute is over. Nobody waits for the disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::caller::Actor;
use crate::clock::Timestamp;
use crate::event::{Event, EventId, Outcome};
use crate::limits;
use crate::realm::RealmId;

/// A call that was refused.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Refusal {
    /// Where.
    pub realm: RealmId,
    /// Who, as far as is known.
    pub actor: Actor,
    /// Which verb.
    pub verb: String,
    /// Why: a short code such as `403 PV1006`, never what the caller sent.
    pub reason: String,
}

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    counts: HashMap<Refusal, u64>,
    /// Refusals beyond the limit of distinct ones, counted together.
    overflow: u64,
}

/// What is to be written.
pub(crate) struct Due {
    /// Whether the refusal at hand is the first of its kind in this minute.
    pub(crate) first: bool,
    /// The repetitions of the minute that has ended.
    pub(crate) ended: Vec<(Refusal, u64)>,
}

impl Refusals {
    /// Counts one.
    pub(crate) fn count(&self, refusal: &Refusal, now: Timestamp) -> Due {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = minute.turn(now);
        let full = minute.counts.len() >= limits::REFUSALS_PER_MINUTE_MAX;
        let first = if let Some(count) = minute.counts.get_mut(refusal) {
            *count += 1;
            false
        } else if full {
            minute.overflow += 1;
            false
        } else {
            minute.counts.insert(refusal.clone(), 0);
            true
        };
        Due { first, ended }
    }

    /// The repetitions of a minute that has ended, if it has.
    pub(crate) fn ended(&self, now: Timestamp) -> Vec<(Refusal, u64)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .turn(now)
    }

    /// Everything counted and not yet written, whatever the minute: for the end of the process.
    pub(crate) fn drain(&self) -> Vec<(Refusal, u64)> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minute.take()
    }
}

impl Minute {
    fn turn(&mut self, now: Timestamp) -> Vec<(Refusal, u64)> {
        let number = now.as_micros().div_euclid(60_000_000);
        if number == self.number {
            return Vec::new();
        }
        self.number = number;
        self.take()
    }

    fn take(&mut self) -> Vec<(Refusal, u64)> {
        let mut ended: Vec<_> = std::mem::take(&mut self.counts)
            .into_iter()
            .filter(|(_, repeated)| *repeated > 0)
            .collect();
        let overflow = std::mem::take(&mut self.overflow);
        if overflow > 0 {
            ended.push((
                Refusal {
                    realm: RealmId::SYSTEM,
                    actor: Actor::system(),
                    verb: "refusals".to_owned(),
                    reason: "more distinct refusals than are counted apart".to_owned(),
                },
                overflow,
            ));
        }
        ended
    }
}

/// The event of a refusal that stands for `count` calls.
pub(crate) fn event(
    id: EventId,
    refusal: Refusal,
    request: &str,
    at: Timestamp,
    count: u64,
) -> Event {
    Event {
        id,
        realm: refusal.realm,
        at,
        actor: refusal.actor,
        verb: refusal.verb,
        outcome: Outcome::Refused,
        reason: Some(refusal.reason),
        request: request.to_owned(),
        count,
        changes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_event_a_minute_and_the_rest_as_a_number() {
        let refusals = Refusals::default();
        let at =
            |secs: i64| Timestamp::from_micros(1_767_225_600_000_000 + secs * 1_000_000).unwrap();
        let refusal = Refusal {
            realm: RealmId::SYSTEM,
            actor: Actor::system(),
            verb: "token.updated".to_owned(),
            reason: "403".to_owned(),
        };
        assert!(refusals.count(&refusal, at(0)).first);
        for second in 1..10 {
            let due = refusals.count(&refusal, at(second));
            assert!(!due.first && due.ended.is_empty());
        }
        let other = Refusal {
            reason: "404".to_owned(),
            ..refusal.clone()
        };
        assert!(refusals.count(&other, at(20)).first);
        let due = refusals.count(&refusal, at(61));
        assert!(due.first);
        assert_eq!(due.ended, vec![(refusal.clone(), 9)]);
        assert!(refusals.ended(at(62)).is_empty());
        assert!(
            refusals.ended(at(121)).is_empty(),
            "a single refusal has its event already"
        );
    }

    #[test]
    fn distinct_refusals_are_bounded() {
        let refusals = Refusals::default();
        let at = Timestamp::from_micros(0).unwrap();
        let mut firsts = 0;
        for number in 0..limits::REFUSALS_PER_MINUTE_MAX + 50 {
            let refusal = Refusal {
                realm: RealmId::SYSTEM,
                actor: Actor::operator(&number.to_string()),
                verb: "v".to_owned(),
                reason: "r".to_owned(),
            };
            firsts += usize::from(refusals.count(&refusal, at).first);
        }
        assert_eq!(firsts, limits::REFUSALS_PER_MINUTE_MAX);
        assert_eq!(
            refusals.drain().iter().map(|(_, count)| count).sum::<u64>(),
            50
        );
    }
}
