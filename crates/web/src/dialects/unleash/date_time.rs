//! The instants of this product's wire: which texts are read as one, and how one is written.
//!
//! The one thing a newcomer would get wrong: two checks follow each other, and they fail differently. The *grammar*
//! (a loose `date-time`: any blank may stand for the `T`, the zone may be missing) decides what the schema accepts; then
//! the text must also *name an instant*. A leap second passes the first and fails the second, so [`parse`] says which.
//!
//! Why not `jiff::Timestamp`: it ends 26 hours before the year does, and `9999-12-31T23:59:59Z`, which people write
//! for "never", must be kept.

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{self, DateTime};
use serde::{Serialize, Serializer};

/// An instant as the product knows it: whole milliseconds, UTC, between the years 1 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WireInstant(i64);

/// Why a text is no instant. Neither carries the text: the caller has it and decides how to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAnInstant {
    /// Outside the grammar.
    Grammar,
    /// Inside the grammar, but it names no instant that can be kept: a leap second, an offset of hours alone or out of
    /// range, a line separator instead of the `T`, or a result outside the years 1 to 9999.
    Value,
}

const MILLIS_PER_MINUTE: i64 = 60_000;
const EPOCH: DateTime = civil::date(1970, 1, 1).at(0, 0, 0, 0);

impl WireInstant {
    /// `0001-01-01T00:00:00.000Z`.
    pub(super) const MIN: Self = Self(-62_135_596_800_000);
    /// `9999-12-31T23:59:59.999Z`.
    pub(super) const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the Unix epoch; `None` outside the years 1 to 9999.
    pub(super) fn from_millis(millis: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&millis)
            .then_some(Self(millis))
    }

    /// From microseconds since the Unix epoch, cut toward the past; `None` outside the years 1 to 9999.
    pub(super) fn from_micros(micros: i64) -> Option<Self> {
        Self::from_millis(micros.div_euclid(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[cfg(test)]
    pub(super) const fn as_millis(self) -> i64 {
        self.0
    }

    /// The minute it lies in.
    pub(super) const fn start_of_minute(self) -> Self {
        Self(self.0 - self.0.rem_euclid(MILLIS_PER_MINUTE))
    }

    /// Microseconds since the Unix epoch; the last three digits are zero.
    pub(super) const fn as_micros(self) -> i64 {
        // The years 1 to 9999 in microseconds use 58 of 63 bits.
        self.0 * 1000
    }
}

impl fmt::Display for WireInstant {
    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`, the only form the product answers with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = EPOCH
            .checked_add(SignedDuration::from_millis(self.0))
            .expect("the years 1 to 9999 lie inside the civil calendar");
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second(),
            civil.millisecond()
        )
    }
}

impl fmt::Debug for WireInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for WireInstant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a date and time. Without a zone it is UTC; digits below the millisecond are cut, not rounded.
///
/// # Errors
/// [`NotAnInstant::Grammar`] or [`NotAnInstant::Value`]; see there.
pub(super) fn parse(text: &str) -> Result<WireInstant, NotAnInstant> {
    let mut parts = text.split(is_separator);
    let (Some(date), Some(time), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NotAnInstant::Grammar);
    };
    let date = parse_date(date.as_bytes()).ok_or(NotAnInstant::Grammar)?;
    let time = parse_time(time.as_bytes()).ok_or(NotAnInstant::Grammar)?;

    // From here on the text is grammatical and every refusal is about its value. The product's runtime knows no
    // instant with a line or paragraph separator in it, although its grammar counts them among the blanks.
    let between_lines = text.contains(['\u{2028}', '\u{2029}']);
    // Year 0 may be written, and an offset could carry it into the year 1; what was named is still no year of ours.
    if between_lines || time.second == 60 || date.year() < 1 {
        return Err(NotAnInstant::Value);
    }
    let offset_minutes = match time.zone {
        Zone::Utc => 0,
        Zone::Offset {
            sign,
            hours,
            minutes,
        } if hours <= 23 && minutes <= 59 => sign * (i64::from(hours) * 60 + i64::from(minutes)),
        Zone::Offset { .. } | Zone::HoursAlone => return Err(NotAnInstant::Value),
    };
    let local = civil::Time::new(time.hour, time.minute, time.second, 0)
        .map(|clock| date.to_datetime(clock))
        .expect("the grammar admits 00:00:00 to 23:59:59 only");
    let local_millis = i64::try_from(local.duration_since(EPOCH).as_millis())
        .expect("the civil calendar in milliseconds uses 50 bits");
    let millis = local_millis + i64::from(time.millisecond) - offset_minutes * MILLIS_PER_MINUTE;
    WireInstant::from_millis(millis).ok_or(NotAnInstant::Value)
}

/// Where the grammar parts date and time: `t`, `T`, or what ECMAScript counts as white space.
fn is_separator(c: char) -> bool {
    matches!(c, 't' | 'T') || is_ecmascript_blank(c)
}

/// White space and line ends of ECMAScript (`\s`). Not the same as Unicode's: U+FEFF is in, U+0085 is not.
pub(super) fn is_ecmascript_blank(c: char) -> bool {
    matches!(c, '\u{9}'..='\u{d}' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}'
        | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}')
}

/// `YYYY-MM-DD`, a day that exists.
fn parse_date(text: &[u8]) -> Option<civil::Date> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else {
        return None;
    };
    let year = i16::from(two_digits(y1, y2)?) * 100 + i16::from(two_digits(y3, y4)?);
    civil::Date::new(year, two_digits(m1, m2)?, two_digits(d1, d2)?).ok()
}

struct ClockText {
    hour: i8,
    minute: i8,
    second: i8,
    millisecond: i16,
    zone: Zone,
}

enum Zone {
    Utc,
    Offset { sign: i64, hours: i8, minutes: i8 },
    HoursAlone,
}

/// `HH:MM:SS`, a fraction of any length, and a zone or none. Seconds reach 60 in the last minute of the day only.
fn parse_time(text: &[u8]) -> Option<ClockText> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, ref rest @ ..] = *text else {
        return None;
    };
    let (hour, minute, second) = (
        two_digits(h1, h2)?,
        two_digits(m1, m2)?,
        two_digits(s1, s2)?,
    );
    if !(hour <= 23 && minute <= 59 && second <= 59) && (hour, minute, second) != (23, 59, 60) {
        return None;
    }
    let (millisecond, rest) = parse_fraction(rest)?;
    Some(ClockText {
        hour,
        minute,
        second,
        millisecond,
        zone: parse_zone(rest)?,
    })
}

/// The milliseconds of a fraction, and what follows it. No fraction is zero; a point without a digit is an error.
fn parse_fraction(text: &[u8]) -> Option<(i16, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = digits.split_at(length);
    let millis = [100, 10, 1]
        .iter()
        .zip(digits)
        .map(|(weight, digit)| weight * i16::from(digit - b'0'))
        .sum();
    (length > 0).then_some((millis, rest))
}

fn parse_zone(text: &[u8]) -> Option<Zone> {
    let (first, digits) = match text {
        [] | [b'z' | b'Z'] => return Some(Zone::Utc),
        [first, digits @ ..] => (first, digits),
    };
    let sign = match first {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    match *digits {
        [h1, h2] => two_digits(h1, h2).map(|_| Zone::HoursAlone),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => Some(Zone::Offset {
            sign,
            hours: two_digits(h1, h2)?,
            minutes: two_digits(m1, m2)?,
        }),
        _ => None,
    }
}

/// Two ASCII digits as a number from 0 to 99.
fn two_digits(tens: u8, units: u8) -> Option<i8> {
    let digit = |byte: u8| {
        byte.is_ascii_digit()
            .then(|| i8::try_from(byte - b'0').expect("a digit is at most nine"))
    };
    Some(digit(tens)? * 10 + digit(units)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        parse(text)
            .unwrap_or_else(|refusal| panic!("{text:?}: {refusal:?}"))
            .to_string()
    }

    fn all_are(refusal: NotAnInstant, texts: &[&str]) {
        for text in texts {
            assert_eq!(parse(text), Err(refusal), "{text:?}");
        }
    }

    #[test]
    fn every_separator_leads_to_the_same_instant() {
        let separators =
            "tT \t\n\r\u{b}\u{c}\u{a0}\u{1680}\u{2000}\u{200a}\u{202f}\u{205f}\u{3000}\u{feff}";
        for separator in separators.chars() {
            let text = format!("2030-01-01{separator}00:00:00Z");
            assert_eq!(shown(&text), "2030-01-01T00:00:00.000Z", "{text:?}");
        }
        assert_eq!(shown("2030-01-01t00:00:00z"), "2030-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_missing_zone_is_utc() {
        for text in ["2030-01-01T00:00:00", "2030-01-01 00:00:00"] {
            assert_eq!(shown(text), "2030-01-01T00:00:00.000Z");
        }
    }

    #[test]
    fn offsets_are_shifted_to_utc() {
        for (zone, expected) in [
            ("+02:00", "2029-12-31T22:00:00.000Z"),
            ("+0200", "2029-12-31T22:00:00.000Z"),
            ("-00:00", "2030-01-01T00:00:00.000Z"),
            ("+23:59", "2029-12-31T00:01:00.000Z"),
            ("-23:59", "2030-01-01T23:59:00.000Z"),
            ("-0230", "2030-01-01T02:30:00.000Z"),
        ] {
            assert_eq!(shown(&format!("2030-01-01T00:00:00{zone}")), expected);
            assert_eq!(shown(&format!("2030-01-01 00:00:00{zone}")), expected);
        }
    }

    #[test]
    fn fractions_are_cut_to_milliseconds() {
        let long = format!(".{}Z", "9".repeat(4000));
        for (fraction, expected) in [
            (".1Z", "100"),
            (".12", "120"),
            (".123456Z", "123"),
            (".999999Z", "999"),
            (".0009Z", "000"),
            (long.as_str(), "999"),
        ] {
            let text = format!("2030-01-01T00:00:00{fraction}");
            assert_eq!(shown(&text), format!("2030-01-01T00:00:00.{expected}Z"));
        }
        // Cut toward the past before the epoch too.
        assert_eq!(
            shown("1969-12-31T23:59:59.9999Z"),
            "1969-12-31T23:59:59.999Z"
        );
    }

    #[test]
    fn the_first_and_the_last_year_are_kept() {
        for text in [
            "0001-01-01T00:00:00.000Z",
            "0050-06-15T12:00:00.000Z",
            "9999-12-31T23:59:59.999Z",
        ] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(parse("0001-01-01T00:00:00Z"), Ok(WireInstant::MIN));
        assert_eq!(parse("9999-12-31T23:59:59.9999Z"), Ok(WireInstant::MAX));
        // A year below 100 after a blank is that year, not one of the last century.
        assert_eq!(shown("0050-01-01 00:00:00Z"), "0050-01-01T00:00:00.000Z");
        assert_eq!(shown("2000-02-29T00:00:00Z"), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn grammatical_texts_that_name_no_instant() {
        all_are(
            NotAnInstant::Value,
            &[
                "2016-12-31T23:59:60Z",
                "2016-12-31T23:59:60.5Z",
                "2016-12-31 23:59:60",
                "2030-01-01T23:59:60+00:00",
                "2030-01-01T00:00:00+02",
                "2030-01-01 00:00:00+02",
                "2030-01-01T00:00:00-02",
                "2030-01-01T00:00:00+24:00",
                "2030-01-01 00:00:00+24:00",
                "2030-01-01T00:00:00+99:99",
                "2030-01-01T00:00:00+02:60",
                "2030-01-01T00:00:00-2400",
                "0000-01-01T00:00:00Z",
                "0000-12-31T23:30:00-01:00",
                "0001-01-01T00:00:00+01:00",
                "9999-12-31T23:59:59-01:00",
                "2030-01-01\u{2028}00:00:00Z",
                "2030-01-01\u{2029}00:00:00Z",
            ],
        );
    }

    #[test]
    fn texts_outside_the_grammar() {
        all_are(
            NotAnInstant::Grammar,
            &[
                "",
                "tomorrow",
                "2030-01-01",
                "2030-01-01\n",
                "2030-01-01T00:00Z",
                "2030-01-01T24:00:00Z",
                "2030-01-01T22:59:60Z",
                "2030-01-01T23:58:60Z",
                "2030-01-01T23:60:00Z",
                "2030-01-01T23:59:61Z",
                "2030-13-01T00:00:00Z",
                "2030-00-01T00:00:00Z",
                "2030-01-00T00:00:00Z",
                "2030-02-30T00:00:00Z",
                "2100-02-29T00:00:00Z",
                "+010000-01-01T00:00:00Z",
                "2030-1-01T00:00:00Z",
                "2030-01-01T00:00:00+2",
                "2030-01-01T00:00:00+020",
                "2030-01-01T00:00:00+02:",
                "2030-01-01T00:00:00+02:0",
                "2030-01-01T00:00:00.Z",
                "2030-01-01T00:00:00,5Z",
                "2030-01-01T00:00:00ZZ",
                "2030-01-01T00:00:00 Z",
                "2030-01-01T00:00:00Z ",
                "2030-01-01T00:00:00Z\n",
                "2030-01-01TT00:00:00Z",
                "2030-01-01  00:00:00Z",
                " 2030-01-01T00:00:00Z",
                "2030-01-01\u{85}00:00:00Z",
                "2030-01-01\u{180e}00:00:00Z",
                "2030-01-01x00:00:00Z",
                "\u{662}030-01-01T00:00:00Z",
                "1893456000000",
                "true",
            ],
        );
    }

    #[test]
    fn milliseconds_and_microseconds() {
        let instant = WireInstant::from_micros(1_893_456_000_123_999).unwrap();
        assert_eq!(instant.as_millis(), 1_893_456_000_123);
        assert_eq!(instant.as_micros(), 1_893_456_000_123_000);
        assert_eq!(WireInstant::from_micros(-1).unwrap().as_millis(), -1);
        for edge in [WireInstant::MIN, WireInstant::MAX] {
            assert_eq!(WireInstant::from_millis(edge.as_millis()), Some(edge));
        }
        assert_eq!(
            WireInstant::from_millis(WireInstant::MAX.as_millis() + 1),
            None
        );
        assert_eq!(
            WireInstant::from_millis(WireInstant::MIN.as_millis() - 1),
            None
        );
        assert_eq!(WireInstant::from_micros(i64::MAX), None);
    }

    #[test]
    fn it_serializes_as_it_prints() {
        let json = serde_json::to_string(&WireInstant::MAX).unwrap();
        assert_eq!(json, "\"9999-12-31T23:59:59.999Z\"");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn nearly_right_texts_do_not_make_it_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[tT \u{2028}][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,5})?[zZ+-]?[0-9]{0,2}:?[0-9]{0,2}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(millis in WireInstant::MIN.as_millis()..=WireInstant::MAX.as_millis()) {
            let instant = WireInstant::from_millis(millis).unwrap();
            prop_assert_eq!(parse(&instant.to_string()), Ok(instant));
        }
    }
}
