//! Compares a body with its claim, as text or as JSON, and shows the difference when they disagree.
//! The one thing a newcomer would get wrong: text is the default on purpose. The order of keys is part of what some
//! clients and checksums (entity tags) see; a file says `@compare json` only where the product leaves the order open.

use serde_json::{Map, Value};

use super::pattern::{Bindings, Place, Template, next_hole};
use super::transcript::Compare;

/// Begins the string that stands for a hole written outside quotes; no JSON text of a transcript holds it.
const BARE: char = '\u{0}';
/// The key that opens an object: the answer may hold more keys than are written.
const OPEN: &str = "...";

/// Whether an expected body can be compared that way at all: the parser's check.
pub(super) fn check(compare: Compare, expected: &str) -> Result<(), String> {
    if compare == Compare::Text || expected.is_empty() {
        return Ok(());
    }
    let value = parse_claim(expected)?;
    check_strings(&value)
}

fn check_strings(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => Template::parse(text.trim_start_matches(BARE)).map(drop),
        Value::Array(items) => items.iter().try_for_each(check_strings),
        Value::Object(fields) => fields.values().try_for_each(check_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The bindings after a match, or the finding to report.
pub(super) fn compare(
    compare: Compare,
    expected: &str,
    got: &[u8],
    bindings: &Bindings,
) -> Result<Bindings, String> {
    let Ok(got) = std::str::from_utf8(got) else {
        return Err(format!(
            "body: not UTF-8: {:?}",
            String::from_utf8_lossy(got)
        ));
    };
    let template = Template::parse(expected)?;
    if compare == Compare::Text || template.is_empty() {
        let place = Place::Body;
        return template
            .matches(got, place, bindings)
            .ok_or_else(|| difference(&template, got, bindings));
    }
    let claim = parse_claim(expected)?;
    let Ok(value) = serde_json::from_str::<Value>(got) else {
        return Err(difference(&template, got, bindings));
    };
    matches(&claim, &value, compare == Compare::Set, bindings)
        .ok_or_else(|| difference(&template, got, bindings))
}

/// The claim as JSON, each hole outside quotes made a marked string.
fn parse_claim(expected: &str) -> Result<Value, String> {
    let mut text = String::new();
    let mut rest = expected;
    while let Some((before, inner, after)) = next_hole(rest)? {
        text.push_str(before);
        if inside_string(&text) {
            text.push_str("{{");
            text.push_str(inner);
            text.push_str("}}");
        } else {
            text.push_str("\"\\u0000{{");
            text.push_str(inner);
            text.push_str("}}\"");
        }
        rest = after;
    }
    text.push_str(rest);
    serde_json::from_str(&text).map_err(|error| format!("the expected body is not JSON: {error}"))
}

fn inside_string(text: &str) -> bool {
    let mut inside = false;
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    inside
}

fn matches(claim: &Value, got: &Value, as_sets: bool, bindings: &Bindings) -> Option<Bindings> {
    match (claim, got) {
        (Value::String(text), _) if text.starts_with(BARE) => Template::parse(&text[1..])
            .ok()?
            .matches_value(got, bindings),
        (Value::String(text), Value::String(got)) => {
            Template::parse(text)
                .ok()?
                .matches(got, Place::Line, bindings)
        }
        (Value::Array(claims), Value::Array(items)) => {
            if claims.len() != items.len() {
                None
            } else if as_sets {
                let items: Vec<&Value> = items.iter().collect();
                matches_any_order(claims, &items, bindings)
            } else {
                let mut bindings = bindings.clone();
                for (claim, item) in claims.iter().zip(items) {
                    bindings = matches(claim, item, as_sets, &bindings)?;
                }
                Some(bindings)
            }
        }
        (Value::Object(claims), Value::Object(fields)) => {
            matches_fields(claims, fields, as_sets, bindings)
        }
        _ => (claim == got).then(|| bindings.clone()),
    }
}

/// Each claim takes one item of its own; a wrong first choice is taken back.
fn matches_any_order(claims: &[Value], items: &[&Value], bindings: &Bindings) -> Option<Bindings> {
    let Some((claim, later)) = claims.split_first() else {
        return Some(bindings.clone());
    };
    (0..items.len()).find_map(|at| {
        let captured = matches(claim, items[at], true, bindings)?;
        let mut others = items.to_vec();
        others.remove(at);
        matches_any_order(later, &others, &captured)
    })
}

fn matches_fields(
    claims: &Map<String, Value>,
    fields: &Map<String, Value>,
    as_sets: bool,
    bindings: &Bindings,
) -> Option<Bindings> {
    if !claims.contains_key(OPEN) && claims.len() != fields.len() {
        return None;
    }
    let mut bindings = bindings.clone();
    for (key, claim) in claims.iter().filter(|(key, _)| *key != OPEN) {
        bindings = matches(claim, fields.get(key)?, as_sets, &bindings)?;
    }
    Some(bindings)
}

/// Both bodies, one above the other line by line: `-` expected, `+` got.
fn difference(template: &Template, got: &str, bindings: &Bindings) -> String {
    let shown = template.shown(bindings);
    let expected = parse_claim(&shown).map_or_else(|_| shown.clone(), |value| pretty(&value));
    let expected = expected.replace("\\u0000", "");
    let received =
        serde_json::from_str(got).map_or_else(|_| got.to_owned(), |value: Value| pretty(&value));
    let expected: Vec<&str> = expected.lines().collect();
    let received: Vec<&str> = received.lines().collect();
    let mut report = "body differs (- expected, + got):\n".to_owned();
    for (sign, line) in diff(&expected, &received, bindings) {
        report.push(sign);
        report.push(' ');
        report.push_str(line);
        report.push('\n');
    }
    if expected.is_empty() {
        report.push_str("(an empty body was expected)\n");
    }
    if received.is_empty() {
        report.push_str("(the body was empty)\n");
    }
    report
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// The longest common subsequence of lines; a line with holes equals one that it matches.
fn diff<'a>(
    expected: &[&'a str],
    received: &[&'a str],
    bindings: &Bindings,
) -> Vec<(char, &'a str)> {
    let same = |left: usize, right: usize| {
        let (left, right) = (
            expected[left].trim_end_matches(','),
            received[right].trim_end_matches(','),
        );
        left == right
            || Template::parse(left)
                .is_ok_and(|template| template.matches(right, Place::Line, bindings).is_some())
    };
    // Bodies are small; a table of lines × lines is what keeps this readable.
    let mut lengths = vec![vec![0_usize; received.len() + 1]; expected.len() + 1];
    for left in (0..expected.len()).rev() {
        for right in (0..received.len()).rev() {
            lengths[left][right] = if same(left, right) {
                lengths[left + 1][right + 1] + 1
            } else {
                lengths[left + 1][right].max(lengths[left][right + 1])
            };
        }
    }
    let mut lines = Vec::new();
    let (mut left, mut right) = (0, 0);
    while left < expected.len() || right < received.len() {
        if left < expected.len() && right < received.len() && same(left, right) {
            lines.push((' ', received[right]));
            left += 1;
            right += 1;
        } else if right == received.len()
            || (left < expected.len() && lengths[left + 1][right] >= lengths[left][right + 1])
        {
            lines.push(('-', expected[left]));
            left += 1;
        } else {
            lines.push(('+', received[right]));
            right += 1;
        }
    }
    lines
}
