//! When tokens expire: the `expiration_secs` parameter, and the settings that are Go durations.
//!
//! The one thing a newcomer would get wrong: absent, empty and `0` are three different wishes, and what *absent* means
//! depends on the call (keep it on update, the configured default on tokenize), so it is not resolved here.

use std::fmt;
use std::time::Duration;

use engine::clock::Timestamp;

/// What `expiration_secs` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// The parameter was not given.
    Absent,
    /// Given, but empty: never expires.
    Never,
    /// `0`: archived immediately. Some calls forbid it.
    Immediately,
    /// So many seconds from now, as an instant.
    At(Timestamp),
}

/// An `expiration_secs` that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpirationError {
    /// Something else than ASCII digits.
    NotDigits,
    /// An instant after the year 9999, which no date-time of the wire can express.
    TooFar,
}

impl fmt::Display for ExpirationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotDigits => "must be a whole number of seconds, or empty for no expiration",
            Self::TooFar => "must not lead beyond the year 9999",
        })
    }
}

impl std::error::Error for ExpirationError {}

impl Expiration {
    /// Reads the decoded parameter (`^[0-9]*$`), counting from `now`.
    pub fn parse(parameter: Option<&str>, now: Timestamp) -> Result<Self, ExpirationError> {
        let Some(digits) = parameter else {
            return Ok(Self::Absent);
        };
        if digits.is_empty() {
            return Ok(Self::Never);
        }
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ExpirationError::NotDigits);
        }
        // More digits than 64 bits hold are far beyond the last year as well.
        let secs: u64 = digits.parse().map_err(|_| ExpirationError::TooFar)?;
        if secs == 0 {
            return Ok(Self::Immediately);
        }
        after(now, Duration::from_secs(secs))
            .map(Self::At)
            .ok_or(ExpirationError::TooFar)
    }
}

/// `None` beyond the last instant. What is below a microsecond is cut, as everywhere.
fn after(now: Timestamp, duration: Duration) -> Option<Timestamp> {
    let micros = i64::try_from(duration.as_micros()).ok()?;
    now.as_micros()
        .checked_add(micros)
        .and_then(Timestamp::from_micros)
}

/// The configured life of new tokens: `PVAULT_EXPIRATION_TOKENS`, a Go duration, or empty for "never expires".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultExpiration(Option<Duration>);

impl DefaultExpiration {
    /// Reads the setting. Zero is refused: tokens that are archived when they are made are a mistake.
    pub fn parse(setting: &str) -> Result<Self, DurationError> {
        if setting.is_empty() {
            return Ok(Self(None));
        }
        let duration = parse_go_duration(setting)?;
        if duration.is_zero() {
            return Err(DurationError::NotPositive);
        }
        Ok(Self(Some(duration)))
    }

    /// When a token made now expires. `Ok(None)` is never.
    pub fn counted_from(self, now: Timestamp) -> Result<Option<Timestamp>, ExpirationError> {
        match self.0 {
            None => Ok(None),
            Some(duration) => after(now, duration)
                .map(Some)
                .ok_or(ExpirationError::TooFar),
        }
    }
}

/// A setting that is no usable Go duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationError {
    /// Not a sequence of numbers with units, such as `1h30m`.
    Syntax,
    /// Negative, or zero where a life is meant.
    NotPositive,
    /// Beyond what Go can hold: 2^63 nanoseconds, about 292 years.
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Syntax => {
                "must be a duration such as 720h or 1h30m; units are ns, us, ms, s, m, h"
            }
            Self::NotPositive => "must be a duration above zero",
            Self::TooLong => "must be a duration of at most 292 years",
        })
    }
}

impl std::error::Error for DurationError {}

/// Reads a duration as Go's `time.ParseDuration` does, but refuses negative ones. `0` needs no unit. Fractions below
/// one nanosecond are cut off.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut total: u128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or(DurationError::Syntax)?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        total = nanoseconds(number, unit)?
            .checked_add(total)
            .filter(|total| *total <= NANOSECONDS_MAX)
            .ok_or(DurationError::TooLong)?;
        rest = next;
    }
    if negative && total > 0 {
        return Err(DurationError::NotPositive);
    }
    let total = u64::try_from(total).map_err(|_| DurationError::TooLong)?;
    Ok(Duration::from_nanos(total))
}

/// Go's durations are signed 64-bit numbers of nanoseconds.
const NANOSECONDS_MAX: u128 = i64::MAX as u128;

fn nanoseconds(number: &str, unit: &str) -> Result<u128, DurationError> {
    let per_unit: u128 = match unit {
        "ns" => 1,
        // The micro sign and the Greek letter, both of which Go knows.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return Err(DurationError::Syntax),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(DurationError::Syntax);
    }
    let whole: u128 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| DurationError::TooLong)?,
    };
    let mut total = whole.checked_mul(per_unit).ok_or(DurationError::TooLong)?;
    // Eighteen digits are more than the largest unit has nanoseconds (thirteen digits).
    let mut weight = 1;
    let mut parts: u128 = 0;
    for digit in fraction.bytes().take(18) {
        parts = parts * 10 + u128::from(digit - b'0');
        weight *= 10;
    }
    total += parts * per_unit / weight;
    Ok(total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_civil(text.parse().unwrap()).unwrap()
    }

    fn now() -> Timestamp {
        at("2024-01-01T00:00:00.000001")
    }

    #[test]
    fn absent_empty_zero_and_seconds_differ() {
        let parse = |parameter| Expiration::parse(parameter, now());
        assert_eq!(parse(None), Ok(Expiration::Absent));
        assert_eq!(parse(Some("")), Ok(Expiration::Never));
        for zero in ["0", "000"] {
            assert_eq!(parse(Some(zero)), Ok(Expiration::Immediately));
        }
        let hour = at("2024-01-01T01:00:00.000001");
        for text in ["3600", "03600"] {
            assert_eq!(parse(Some(text)), Ok(Expiration::At(hour)));
        }
    }

    #[test]
    fn refused_expirations() {
        for text in ["-1", "+1", "1.5", " 1", "1 ", "1s", "٣", "1e3", "0x10"] {
            assert_eq!(
                Expiration::parse(Some(text), now()),
                Err(ExpirationError::NotDigits),
                "{text}"
            );
        }
        for text in ["251700000000", "18446744073709551616", &"9".repeat(1000)] {
            assert_eq!(
                Expiration::parse(Some(text), now()),
                Err(ExpirationError::TooFar),
                "{text}"
            );
        }
        let in_9998 = Expiration::parse(Some("251600000000"), now()).unwrap();
        assert!(
            matches!(in_9998, Expiration::At(at) if at.to_string().starts_with("9996-")),
            "{in_9998:?}"
        );
    }

    #[test]
    fn go_durations() {
        for (text, nanos) in [
            ("0", 0_u64),
            ("-0", 0),
            ("0s", 0),
            ("720h", 720 * 3_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("720h0m0s", 720 * 3_600_000_000_000),
            ("+1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("1us2ns", 1_002),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("0.0000000019s", 1),
            ("0.3333333333333333333333h", 1_199_999_999_999),
        ] {
            assert_eq!(
                parse_go_duration(text),
                Ok(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
        for (text, error) in [
            ("", DurationError::Syntax),
            ("-", DurationError::Syntax),
            ("1", DurationError::Syntax),
            ("h", DurationError::Syntax),
            (".s", DurationError::Syntax),
            ("1.2.3s", DurationError::Syntax),
            ("1d", DurationError::Syntax),
            ("1h 30m", DurationError::Syntax),
            ("1h-30m", DurationError::Syntax),
            ("1H", DurationError::Syntax),
            ("-1h", DurationError::NotPositive),
            ("2562048h", DurationError::TooLong),
            (
                "99999999999999999999999999999999999999999h",
                DurationError::TooLong,
            ),
            (
                "99999999999999999999999999999999999999h",
                DurationError::TooLong,
            ),
        ] {
            assert_eq!(parse_go_duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_default_expiration() {
        let never = DefaultExpiration::parse("").unwrap();
        assert_eq!(never, DefaultExpiration::default());
        assert_eq!(never.counted_from(now()), Ok(None));
        let hours = DefaultExpiration::parse("720h").unwrap();
        assert_eq!(
            hours.counted_from(now()).unwrap().unwrap().to_string(),
            "2024-01-31T00:00:00.000001Z"
        );
        assert_eq!(
            Expiration::parse(Some("251698233599"), at("2024-01-01T00:00:00.999999")),
            Ok(Expiration::At(Timestamp::MAX))
        );
        assert_eq!(
            hours.counted_from(Timestamp::MAX),
            Err(ExpirationError::TooFar)
        );
        for zero in ["0", "0s"] {
            assert_eq!(
                DefaultExpiration::parse(zero),
                Err(DurationError::NotPositive)
            );
        }
        assert!(DefaultExpiration::parse("a month").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text: String, like in "[+-]?([0-9.]{0,25}(ns|us|µs|ms|s|m|h)?){0,4}", digits in "[0-9]{0,30}") {
            let _ = (Expiration::parse(Some(&text), now()), Expiration::parse(Some(&digits), now()));
            let _ = (parse_go_duration(&text), parse_go_duration(&like), DefaultExpiration::parse(&like));
        }

        #[test]
        fn hours_minutes_seconds_add_up(h in 0_u64..2_000_000, m in 0_u64..60, s in 0_u64..60) {
            let expected = Duration::from_secs(h * 3600 + m * 60 + s);
            prop_assert_eq!(parse_go_duration(&format!("{h}h{m}m{s}s")), Ok(expected));
        }
    }
}
