//! Instants as this wire writes them: ISO 8601 with a zone, never a bare date or a naive time.
//!
//! The one thing a newcomer would get wrong: what is written must be read back as the same instant, because clients send
//! whole entities back and filter by what they have read. So nothing is rounded: no fraction, milliseconds or microseconds,
//! whichever is needed.

use engine::clock::Timestamp;
use jiff::civil::DateTime;

const MICROS_PER_SEC: i64 = 1_000_000;
/// Bytes of `2026-01-01T00:00:00`.
const SECONDS_END: usize = 19;
/// The farthest zones are 18 hours from UTC, which no place on earth uses up.
const OFFSET_HOURS_MAX: i64 = 18;

/// As clients get it.
pub(super) fn to_text(at: Timestamp) -> String {
    let civil = at.to_civil();
    let micros = at.as_micros().rem_euclid(MICROS_PER_SEC);
    if micros == 0 {
        format!("{civil:.0}Z")
    } else if micros % 1000 == 0 {
        format!("{civil:.3}Z")
    } else {
        format!("{civil:.6}Z")
    }
}

/// What clients send: date, `T`, time with seconds, a fraction or none, and `Z` or an offset as in `+02:00`.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let head = bytes.get(..SECONDS_END)?;
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    };
    // A leap second is no instant that can be kept.
    if !head.iter().zip(shape).all(fits) || &head[17..] == b"60" {
        return None;
    }
    let rest = text.get(SECONDS_END..)?;
    let zone_at = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let (fraction, zone) = rest.split_at(zone_at);
    if !fraction.is_empty() {
        let digits = fraction.strip_prefix('.')?;
        if !(1..=9).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    let civil: DateTime = text.get(..SECONDS_END + fraction.len())?.parse().ok()?;
    Timestamp::from_civil(civil)?.checked_add_secs(-offset_secs(zone)?)
}

fn offset_secs(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let two = |digits: &str| {
        let good = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        good.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let good = minutes < 60 && hours * 60 + minutes <= OFFSET_HOURS_MAX * 60;
    good.then_some(sign * (hours * 60 + minutes) * 60)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zones_are_honoured() {
        let same = |text: &str| to_text(parse(text).unwrap());
        assert_eq!(same("2027-01-01T00:00:00Z"), "2027-01-01T00:00:00Z");
        assert_eq!(
            same("2027-01-01T02:00:00.5+02:00"),
            "2027-01-01T00:00:00.500Z"
        );
        assert_eq!(same("2026-12-31T23:30:00-00:30"), "2027-01-01T00:00:00Z");
        assert_eq!(
            same("2027-01-01T00:00:00.123456789Z"),
            "2027-01-01T00:00:00.123456Z"
        );
    }

    #[test]
    fn what_leaves_the_instant_open_is_refused() {
        for bad in [
            "",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "2027-01-01T00:00Z",
            "2027-01-01 00:00:00Z",
            "2027-01-01T00:00:00z",
            "2027-01-01T00:00:00.Z",
            "2027-01-01T00:00:00.1.2Z",
            "2027-02-30T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T23:59:60Z",
            "2027-01-01T00:00:00+2:00",
            "2027-01-01T00:00:00+19:00",
            "2027-01-01T00:00:00+02:60",
            "2027-01-01T00:00:00Z[UTC]",
            "0001-01-01T00:00:00+01:00",
            "１０27-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(micros in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()) {
            let at = Timestamp::from_micros(micros).unwrap();
            prop_assert_eq!(parse(&to_text(at)), Some(at));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
