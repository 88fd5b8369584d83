//! Values as the product's runtime writes and reads them: its texts of numbers and JSON are part of our answers.
//!
//! The one thing a newcomer would get wrong: every JSON number is a double there. `123456789012345678901` is sent back
//! as `123456789012345680000`, `1e21` as `1e+21`, and `-0` as `0`; Rust's own formatting does none of this.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::super::date_time::is_ecmascript_blank;

/// The largest whole number that a double still tells from its neighbours, 2^53 − 1.
pub(super) const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// The number as a double.
pub(super) fn double(number: &Number) -> f64 {
    // Without arbitrary precision every number has one, the large ones rounded as JavaScript would.
    number.as_f64().unwrap_or(f64::NAN)
}

/// `Number::toString` of ECMAScript (section 6.1.6.1.20), for base ten.
pub(super) fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .into();
    }
    if number == 0.0 {
        return "0".into();
    }
    // Rust gives the same shortest digits, as `d.ddde±x`; only the layout differs.
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("this format always writes an exponent");
    let exponent: i32 = exponent.parse().expect("its exponent is a small integer");
    let digits = mantissa.replace('.', "");
    let sign = if number < 0.0 { "-" } else { "" };
    let count = i32::try_from(digits.len()).expect("a double has at most 17 digits");
    let point = exponent + 1;
    let zeros = |number: i32| "0".repeat(usize::try_from(number).unwrap_or(0));
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or(0));
    match point {
        _ if count <= point && point <= 21 => format!("{sign}{digits}{}", zeros(point - count)),
        1..=21 => {
            let (whole, fraction) = split(point);
            format!("{sign}{whole}.{fraction}")
        }
        -5..=0 => format!("{sign}0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = split(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{sign}{first}{dot}{rest}e{exponent:+}")
        }
    }
}

/// `JSON.stringify` without blanks.
pub(super) fn json_text(value: &Value) -> String {
    let mut text = String::new();
    write_json(&mut text, value);
    text
}

/// `JSON.stringify` of a number: what is not finite has no JSON and becomes `null`.
pub(super) fn json_number_text(number: f64) -> String {
    if number.is_finite() {
        number_text(number)
    } else {
        "null".into()
    }
}

// Recursion ends at the nesting that the parser allows.
fn write_json(text: &mut String, value: &Value) {
    let mut comma = false;
    let mut part = |text: &mut String| {
        if std::mem::replace(&mut comma, true) {
            text.push(',');
        }
    };
    match value {
        Value::Number(number) => text.push_str(&json_number_text(double(number))),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                part(text);
                write_json(text, item);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (key, member) in members {
                part(text);
                text.push_str(&quoted(key));
                text.push(':');
                write_json(text, member);
            }
            text.push('}');
        }
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Null | Value::Bool(_) => text.push_str(&value.to_string()),
    }
}

/// A string as JSON; both sides escape the same characters.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every string has a JSON form")
}

/// What the schema makes of a value where it wants a string; `None` if it leaves it alone.
pub(super) fn coerced_string(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number_text(double(number)))),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null => Some(Cow::Borrowed("")),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// What the schema makes of a value where it wants a number; `None` if it leaves it alone.
pub(super) fn coerced_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(double(number)),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Null => Some(0.0),
        // An empty string would count as zero, but the schema turns only non-empty ones.
        Value::String(text) if !text.is_empty() => string_to_number(text),
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `StringToNumber` of ECMAScript (section 7.1.4.1); `None` for `NaN`.
pub(super) fn string_to_number(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_ecmascript_blank);
    if text.is_empty() {
        return Some(0.0);
    }
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0o", "0O"], 8), (["0b", "0B"], 2)] {
        let digits = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
        if let Some(digits) = digits {
            return digits_to_number(digits, radix);
        }
    }
    match text {
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => decimal(text),
    }
}

fn digits_to_number(digits: &str, radix: u32) -> Option<f64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0.0, |sum, digit| {
        let digit = digit.to_digit(radix)?;
        Some(sum * f64::from(radix) + f64::from(digit))
    })
}

/// A decimal literal with a sign, a point, an exponent. Infinite if it is too large for a double.
pub(super) fn decimal(text: &str) -> Option<f64> {
    // Rust would also read `inf` and `nan`; no word passes this.
    let plausible = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    plausible.then(|| text.parse().ok())?
}

/// Whether JavaScript takes a value for true.
pub(super) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => double(number) != 0.0,
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::walk::arbitrary_json;
    use super::*;

    #[test]
    fn numbers_are_written_as_javascript_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (5.0, "5"),
            (-1.5, "-1.5"),
            (12.5, "12.5"),
            (1_893_456_000_000.0, "1893456000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.234_567_890_123_456_8e29, "1.2345678901234568e+29"),
            (0.000_001, "0.000001"),
            (0.000_001_25, "0.00000125"),
            (1e-7, "1e-7"),
            (-1.5e-9, "-1.5e-9"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }

    #[test]
    fn json_is_written_as_javascript_does() {
        let value: Value = serde_json::from_str(
            r#"{"b":[1.0,-0.0,1e21,9007199254740993,null],"a":{"é\u2028\u0001":true}}"#,
        )
        .unwrap();
        assert_eq!(
            json_text(&value),
            "{\"b\":[1,0,1e+21,9007199254740992,null],\"a\":{\"é\u{2028}\\u0001\":true}}"
        );
        assert_eq!(json_number_text(f64::INFINITY), "null");
    }

    #[test]
    fn strings_become_numbers_as_in_javascript() {
        for (text, number) in [
            ("10", Some(10.0)),
            (" 5\n", Some(5.0)),
            ("\u{a0}7", Some(7.0)),
            ("1e3", Some(1000.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+5", Some(5.0)),
            ("-1", Some(-1.0)),
            ("0x1F", Some(31.0)),
            ("0b101", Some(5.0)),
            ("0o17", Some(15.0)),
            ("Infinity", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1e400", Some(f64::INFINITY)),
            ("", Some(0.0)),
            ("  ", Some(0.0)),
            ("abc", None),
            ("inf", None),
            ("nan", None),
            ("infinity", None),
            ("0x", None),
            ("-0x1", None),
            ("1_000", None),
            ("1 2", None),
            (".", None),
            ("e5", None),
        ] {
            assert_eq!(string_to_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn coercion_is_that_of_the_schema() {
        assert_eq!(coerced_number(&json!(null)), Some(0.0));
        assert_eq!(coerced_number(&json!(true)), Some(1.0));
        assert_eq!(coerced_number(&json!("")), None);
        assert_eq!(coerced_number(&json!([1])), None);
        assert_eq!(coerced_string(&json!(12.50)).as_deref(), Some("12.5"));
        assert_eq!(coerced_string(&json!(false)).as_deref(), Some("false"));
        assert_eq!(coerced_string(&json!(null)).as_deref(), Some(""));
        assert_eq!(coerced_string(&json!({})), None);
        for (value, truth) in [
            (json!(null), false),
            (json!(0), false),
            (json!(""), false),
            (json!("0"), true),
            (json!([]), true),
        ] {
            assert_eq!(is_truthy(&value), truth, "{value}");
        }
    }

    proptest! {
        #[test]
        fn texts_of_numbers_read_back_as_the_same(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            prop_assert_eq!(string_to_number(&number_text(number)), Some(number));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eExXoObB \u{feff}]{0,12}|\\PC{0,12}") {
            let _ = string_to_number(&text);
        }

        #[test]
        fn texts_of_json_read_back_as_the_same(value in arbitrary_json(&["a", "é\u{1}"])) {
            let back: Value = serde_json::from_str(&json_text(&value)).unwrap();
            prop_assert_eq!(json_text(&back), json_text(&value));
        }
    }
}
