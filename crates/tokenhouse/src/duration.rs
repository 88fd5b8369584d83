//! Durations as people write them in settings: `30s`, `5m`, `720h`, `7d`.
//!
//! The one thing to know: a unit is required, except for `0`; a bare number would be read as seconds by one half of the
//! readers and as milliseconds by the other.

use std::time::Duration;

/// Reads one; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // A century and more is a slip, and would overflow instants.
    let millis = number.checked_mul(millis)?;
    (millis <= 100 * 366 * 86_400_000).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("720h"), parse("30d"));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5h",
            "1 s",
            "1y",
            "99999999999999999999s",
            "40000d",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
