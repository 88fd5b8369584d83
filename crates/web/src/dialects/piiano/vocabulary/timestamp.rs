//! The notations that a TIMESTAMP value may have: RFC 3339 and those that Go's `time` package names.
//!
//! The one thing a newcomer would get wrong: this only *checks*. A timestamp is stored as it was written, because the
//! product documents no normal form for it; nothing here converts to UTC. As in Go, a weekday need not fit its date
//! and a zone's abbreviation is not looked up.

use jiff::civil;

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// The longest notation is RFC 850 with a long weekday and a long abbreviation; anything longer needs no look.
const BYTES_MAX: usize = 64;

/// Whether the text is an instant in one of the notations.
pub(super) fn is_timestamp(text: &str) -> bool {
    if text.len() > BYTES_MAX || !text.is_ascii() {
        return false;
    }
    [rfc3339, unix_date_or_ansic, rfc822, rfc850, rfc1123]
        .into_iter()
        .any(|notation| {
            let mut scanner = Scanner { rest: text };
            notation(&mut scanner).is_some() && scanner.rest.is_empty()
        })
}

/// Whether the text is a day that exists, written `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
    let mut scanner = Scanner { rest: text };
    scanner.dashed_date().is_some() && scanner.rest.is_empty()
}

/// `2006-01-02T15:04:05Z`, with a fraction of one to nine digits, or with `+07:00` instead of `Z`.
fn rfc3339(scanner: &mut Scanner<'_>) -> Option<()> {
    scanner.dashed_date()?;
    scanner.literal("T")?;
    scanner.clock_with_seconds()?;
    if scanner.literal(".").is_some() {
        let digits = scanner.rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        scanner.skip(digits);
    }
    if scanner.literal("Z").is_some() {
        return Some(());
    }
    scanner.offset(true)
}

/// `Mon Jan _2 15:04:05 MST 2006` (UnixDate), and without the zone (ANSIC). `_2` is padded with a blank.
fn unix_date_or_ansic(scanner: &mut Scanner<'_>) -> Option<()> {
    scanner.short_weekday()?;
    scanner.literal(" ")?;
    let month = scanner.month()?;
    scanner.literal(" ")?;
    let padded = scanner.literal(" ").is_some();
    let width = if !padded && scanner.rest.as_bytes().get(1)?.is_ascii_digit() {
        2
    } else {
        1
    };
    let day = scanner.number(width)?;
    scanner.literal(" ")?;
    scanner.clock_with_seconds()?;
    scanner.literal(" ")?;
    if !scanner
        .rest
        .starts_with(|first: char| first.is_ascii_digit())
    {
        scanner.zone_name()?;
        scanner.literal(" ")?;
    }
    let year = scanner.number(4)?;
    real_date(year, month, day)
}

/// `02 Jan 06 15:04 MST` and `02 Jan 06 15:04 -0700`.
fn rfc822(scanner: &mut Scanner<'_>) -> Option<()> {
    let day = scanner.number(2)?;
    scanner.literal(" ")?;
    let month = scanner.month()?;
    scanner.literal(" ")?;
    let year = scanner.short_year()?;
    real_date(year, month, day)?;
    scanner.literal(" ")?;
    scanner.clock()?;
    scanner.literal(" ")?;
    scanner.zone()
}

/// `Monday, 02-Jan-06 15:04:05 MST`.
fn rfc850(scanner: &mut Scanner<'_>) -> Option<()> {
    scanner.long_weekday()?;
    scanner.literal(", ")?;
    let day = scanner.number(2)?;
    scanner.literal("-")?;
    let month = scanner.month()?;
    scanner.literal("-")?;
    let year = scanner.short_year()?;
    real_date(year, month, day)?;
    scanner.literal(" ")?;
    scanner.clock_with_seconds()?;
    scanner.literal(" ")?;
    scanner.zone_name()
}

/// `Mon, 02 Jan 2006 15:04:05 MST` and `Mon, 02 Jan 2006 15:04:05 -0700`.
fn rfc1123(scanner: &mut Scanner<'_>) -> Option<()> {
    scanner.short_weekday()?;
    scanner.literal(", ")?;
    let day = scanner.number(2)?;
    scanner.literal(" ")?;
    let month = scanner.month()?;
    scanner.literal(" ")?;
    let year = scanner.number(4)?;
    real_date(year, month, day)?;
    scanner.literal(" ")?;
    scanner.clock_with_seconds()?;
    scanner.literal(" ")?;
    scanner.zone()
}

fn real_date(year: i16, month: i16, day: i16) -> Option<()> {
    let month = i8::try_from(month).ok()?;
    let day = i8::try_from(day).ok()?;
    civil::Date::new(year, month, day).ok().map(|_| ())
}

/// What is left of an ASCII text. Each step takes its part from the front or answers `None`.
struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn literal(&mut self, expected: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    /// A name of a list in any case, as Go compares it: all of it, or only its first `width` letters.
    fn name(&mut self, names: &[&str], width: Option<usize>) -> Option<i16> {
        for (index, name) in names.iter().enumerate() {
            let wanted = &name[..width.unwrap_or(name.len())];
            let found = self.rest.get(..wanted.len());
            if found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)) {
                self.skip(wanted.len());
                return i16::try_from(index + 1).ok();
            }
        }
        None
    }

    fn short_weekday(&mut self) -> Option<i16> {
        self.name(&WEEKDAYS, Some(3))
    }

    fn long_weekday(&mut self) -> Option<i16> {
        self.name(&WEEKDAYS, None)
    }

    fn month(&mut self) -> Option<i16> {
        self.name(&MONTHS, None)
    }

    fn number(&mut self, width: usize) -> Option<i16> {
        let digits = self.rest.get(..width)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.skip(width);
        digits.parse().ok()
    }

    fn number_up_to(&mut self, width: usize, max: i16) -> Option<()> {
        self.number(width)
            .filter(|number| *number <= max)
            .map(|_| ())
    }

    /// Two digits of a year: 69 to 99 belong to the twentieth century, as in Go.
    fn short_year(&mut self) -> Option<i16> {
        let year = self.number(2)?;
        Some(if year >= 69 { 1900 + year } else { 2000 + year })
    }

    fn dashed_date(&mut self) -> Option<()> {
        let year = self.number(4)?;
        self.literal("-")?;
        let month = self.number(2)?;
        self.literal("-")?;
        let day = self.number(2)?;
        real_date(year, month, day)
    }

    fn clock(&mut self) -> Option<()> {
        self.number_up_to(2, 23)?;
        self.literal(":")?;
        self.number_up_to(2, 59)
    }

    /// Second 60 is refused, as Go does.
    fn clock_with_seconds(&mut self) -> Option<()> {
        self.clock()?;
        self.literal(":")?;
        self.number_up_to(2, 59)
    }

    fn sign(&mut self) -> Option<()> {
        self.literal("+").or_else(|| self.literal("-"))
    }

    fn offset(&mut self, colon: bool) -> Option<()> {
        self.sign()?;
        self.number_up_to(2, 24)?;
        if colon {
            self.literal(":")?;
        }
        self.number_up_to(2, 59)
    }

    /// An abbreviation, or an offset of four digits.
    fn zone(&mut self) -> Option<()> {
        let numeric = self.rest.len() == 5 && self.rest.starts_with(['+', '-']);
        if numeric {
            self.offset(false)
        } else {
            self.zone_name()
        }
    }

    /// Three to five capitals, `GMT+3`, or the bare `+03` that Go prints for zones without an abbreviation.
    fn zone_name(&mut self) -> Option<()> {
        let letters = self.rest.bytes().take_while(u8::is_ascii_uppercase).count();
        let signed_may_follow = letters == 0 || self.rest.starts_with("GMT");
        if letters != 0 && !(3..=5).contains(&letters) {
            return None;
        }
        self.skip(letters);
        if signed_may_follow && self.sign().is_some() {
            return self.number_up_to(2, 23).or_else(|| self.number_up_to(1, 9));
        }
        (letters != 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_notation() {
        for text in [
            "2006-01-02T15:04:05Z",
            "2006-01-02T15:04:05.999999999Z",
            "2006-01-02T15:04:05.1+07:00",
            "2024-02-29T23:59:59-11:30",
            "Mon Jan  2 15:04:05 MST 2006",
            "Mon Jan 12 15:04:05 CEST 2006",
            "Mon Jan 2 15:04:05 UTC 2006",
            "Mon Jan  2 15:04:05 +03 2006",
            "Mon Jan  2 15:04:05 2006",
            "02 Jan 06 15:04 MST",
            "02 Jan 06 15:04 -0700",
            "Monday, 02-Jan-06 15:04:05 MST",
            "Mon, 02 Jan 2006 15:04:05 MST",
            "Mon, 02 Jan 2006 15:04:05 GMT",
            "mon, 02 JAN 2006 15:04:05 -0700",
            "Mon, 02 Jan 2006 15:04:05 GMT+3",
        ] {
            assert!(is_timestamp(text), "{text}");
        }
    }

    #[test]
    fn wrong_shapes_and_moments_that_do_not_exist() {
        for text in [
            "",
            "2006-01-02",
            "2006-01-02 15:04:05Z",
            "2006-01-02T15:04:05",
            "2006-01-02t15:04:05z",
            "2006-01-02T15:04:05.Z",
            "2006-01-02T15:04:05.1234567890Z",
            "2006-01-02T15:04:05+0700",
            "2006-01-02T24:00:00Z",
            "2006-01-02T15:60:00Z",
            "2006-01-02T15:04:60Z",
            "2023-02-29T00:00:00Z",
            "2006-13-01T00:00:00Z",
            "2006-00-01T00:00:00Z",
            "12006-01-01T00:00:00Z",
            "2006-01-02T15:04:05Z ",
            "Xyz Jan  2 15:04:05 MST 2006",
            "Mon Jan 32 15:04:05 MST 2006",
            "Mon Jan   2 15:04:05 2006",
            "02 Jan 2006 15:04 MST",
            "Mon, 02-Jan-06 15:04:05 MST",
            "Mon, 02 Jan 2006 15:04:05",
            "Mon, 02 Jan 2006 15:04:05 ab",
            "Mon, 31 Feb 2006 15:04:05 MST",
            "1136214245",
            "２006-01-02T15:04:05Z",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }

    #[test]
    fn dates() {
        assert!(is_date("2024-02-29"));
        assert!(is_date("0001-01-01"));
        for text in [
            "2023-02-29",
            "2024-2-9",
            "2024-02-30",
            "24-02-01",
            "2024/02/01",
            "2024-02-01 ",
            "",
            "é024-01-01",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text: String, like in "[A-Za-z]{0,9},? ?[0-9]{0,4}[- ][A-Za-z0-9]{0,3}[- T][0-9: +-]{0,20}[A-Zé]{0,5}") {
            let _ = (is_timestamp(&text), is_date(&text), is_timestamp(&like), is_date(&like));
        }

        #[test]
        fn what_the_clock_prints_is_accepted(nanos in 0_i128..253_000_000_000_000_000_000) {
            let printed = jiff::Timestamp::from_nanosecond(nanos).expect("in range").to_string();
            prop_assert!(is_timestamp(&printed), "{}", printed);
        }
    }
}
