//! Time: the instants Tokenhouse stores, and the clock they are read from.
//!
//! The one thing to know: nothing but [`SystemClock`] asks the machine for the time. Every verb reads the
//! [`Clock`] it was given, so that a test can stand at any instant and see the same answers twice.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::civil::{DateTime, Time, date};
use jiff::{Span, Unit};
use serde::{Deserialize, Serialize};

/// An instant in UTC with microseconds, between the years 1 and 9999.
///
/// Stored and compared as microseconds since the Unix epoch; microseconds are what both SQL backends keep.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the earliest instant a product's date grammar can name.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// From microseconds since the Unix epoch; `None` outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&micros)
            .then_some(Self(micros))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, cut (not rounded).
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `None` when the sum lies beyond the year 9999 (or before the year 1).
    pub fn checked_add_secs(self, secs: i64) -> Option<Self> {
        secs.checked_mul(1_000_000)
            .and_then(|micros| self.0.checked_add(micros))
            .and_then(Self::from_micros)
    }

    /// The number of the UTC day since the epoch; expiry is marked by day, so that purges walk days.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(86_400_000_000)
    }

    /// The same instant as a date and time of day in UTC, for printing. (`jiff::Timestamp` ends a day early: it cannot
    /// say 9999-12-31T23:59:59Z, which people write for "never".)
    pub fn to_civil(self) -> DateTime {
        let midnight = date(1970, 1, 1)
            .checked_add(Span::new().days(self.day()))
            .expect("years 1 to 9999 lie inside the civil calendar")
            .to_datetime(Time::midnight());
        midnight
            .checked_add(Span::new().microseconds(self.0.rem_euclid(86_400_000_000)))
            .expect("a day has 86,400,000,000 microseconds")
    }

    /// From a date and time of day in UTC, cut below the microsecond; `None` outside the years 1 to 9999.
    pub fn from_civil(at: DateTime) -> Option<Self> {
        let days = i64::from(at.date().since(date(1970, 1, 1)).ok()?.get_days());
        let nanos = at
            .time()
            .since(Time::midnight())
            .ok()?
            .total(Unit::Nanosecond)
            .ok()?;
        // Below 86,400,000,000,000, which an f64 holds exactly.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        let micros = (nanos as i64).div_euclid(1000);
        days.checked_mul(86_400_000_000)
            .and_then(|day| day.checked_add(micros))
            .and_then(Self::from_micros)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with microseconds and `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}Z", self.to_civil())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// The time since the machine was started, counted also while it sleeps; nobody sets it. Leases and deadlines between
    /// nodes are measured by it.
    fn since_boot(&self) -> Duration;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
            .expect("the machine's clock stands between the years 1 and 9999")
    }

    fn since_boot(&self) -> Duration {
        // Elsewhere the monotonic clock is the nearest thing; Linux has one that sleep does not stop.
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        Duration::try_from(time).expect("this clock starts at zero and goes forward")
    }
}

/// A clock that stands still until it is moved: for tests and recorded conversations.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    since_boot: AtomicI64,
}

impl ManualClock {
    /// Stands at `start`.
    pub const fn new(start: Timestamp) -> Self {
        Self {
            wall: AtomicI64::new(start.0),
            since_boot: AtomicI64::new(0),
        }
    }

    /// Moves forward by whole microseconds.
    pub fn advance_micros(&self, micros: i64) {
        self.since_boot.fetch_add(micros, Ordering::SeqCst);
        self.advance_wall_micros(micros);
    }

    /// Sets the wall clock alone forward or back, as an administrator or a time service does.
    pub fn advance_wall_micros(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        let micros = self.since_boot.load(Ordering::SeqCst);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bounds_are_the_years_one_and_9999() {
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_micros(Timestamp::MAX.as_micros() + 1), None);
        assert_eq!(Timestamp::MAX.checked_add_secs(1), None);
        assert_eq!(Timestamp::MIN.checked_add_secs(i64::MAX), None);
    }

    #[test]
    fn the_clock_since_the_start_goes_on() {
        let before = SystemClock.since_boot();
        assert!(before > Duration::ZERO && SystemClock.since_boot() >= before);
    }

    #[test]
    fn civil_times_survive_both_ways() {
        for text in [
            "0001-01-01T00:00:00",
            "1969-12-31T23:59:59.999999",
            "2028-02-29T12:30:00.000001",
            "9999-12-31T23:59:59.999999",
        ] {
            let civil: DateTime = text.parse().unwrap();
            let at = Timestamp::from_civil(civil).unwrap();
            assert_eq!(at.to_civil(), civil, "{text}");
        }
        let cut: DateTime = "1969-12-31T23:59:59.9999999".parse().unwrap();
        let cut = Timestamp::from_civil(cut).unwrap();
        assert_eq!((cut.as_micros(), cut.day()), (-1, -1));
        assert_eq!(
            Timestamp::from_civil("0000-12-31T00:00:00".parse().unwrap()),
            None
        );
    }
}
