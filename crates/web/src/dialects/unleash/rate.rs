//! How often one address may ask, counted by the minute of the clock.
//!
//! The one thing a newcomer would get wrong: the table of addresses is bounded. When it is full, all further addresses of
//! that minute share one count, so that a flood of addresses slows down strangers and not the server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use engine::clock::Timestamp;

/// Addresses with a count of their own in one minute; about 100 bytes each.
const ADDRESSES_MAX: usize = 10_000;

const MINUTE_MICROS: i64 = 60_000_000;

/// Counts of the present minute.
#[derive(Debug, Default)]
pub(super) struct Rate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    minute: i64,
    /// `None` stands for whoever has no address, and for those beyond the bound.
    calls: HashMap<Option<IpAddr>, u64>,
}

/// How a call stands toward the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it is within the limit.
    pub within: bool,
    /// Calls that are left in this minute.
    pub remaining: u64,
    /// Seconds until the next minute begins, at least one.
    pub reset_secs: i64,
}

impl Rate {
    /// Counts a call.
    pub(super) fn count(&self, address: Option<IpAddr>, limit: u64, now: Timestamp) -> Standing {
        let minute = now.as_micros().div_euclid(MINUTE_MICROS);
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.minute != minute {
            window.minute = minute;
            window.calls.clear();
        }
        let address = address.map(|address| address.to_canonical());
        let full = window.calls.len() >= ADDRESSES_MAX;
        let key = if full && !window.calls.contains_key(&address) {
            None
        } else {
            address
        };
        let calls = window.calls.entry(key).or_default();
        *calls = calls.saturating_add(1);
        let passed = now.as_micros().rem_euclid(MINUTE_MICROS) / 1_000_000;
        Standing {
            within: *calls <= limit,
            remaining: limit.saturating_sub(*calls),
            reset_secs: 60 - passed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000).unwrap()
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn each_address_has_its_own_count_in_each_minute() {
        let rate = Rate::default();
        for remaining in [1, 0] {
            let standing = rate.count(Some(address(1)), 2, at(30));
            assert_eq!(
                standing,
                Standing {
                    within: true,
                    remaining,
                    reset_secs: 30
                }
            );
        }
        assert!(!rate.count(Some(address(1)), 2, at(59)).within);
        assert!(
            !rate
                .count(Some("::ffff:0.0.0.1".parse().unwrap()), 2, at(59))
                .within
        );
        assert!(rate.count(Some(address(2)), 2, at(59)).within);
        assert!(rate.count(Some(address(1)), 2, at(60)).within);
    }

    #[test]
    fn the_table_is_bounded() {
        let rate = Rate::default();
        for number in 0..20_000 {
            rate.count(Some(address(number)), 5, at(0));
        }
        assert!(rate.0.lock().unwrap().calls.len() <= ADDRESSES_MAX + 1);
        assert!(
            !rate.count(Some(address(30_000)), 5, at(0)).within,
            "strangers share a count"
        );
        assert!(
            rate.count(Some(address(7)), 5, at(0)).within,
            "those known go on"
        );
    }
}
