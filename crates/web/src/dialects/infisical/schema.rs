//! What bodies and queries must be, and the product's list of what they are not.
//!
//! The one thing a newcomer would get wrong: every broken rule is told, not the first alone, and each in the shape of the
//! product's validator. Keys that are not known are dropped in silence: a real client sends some.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::error::{self, WireError};

/// Characters of the columns that hold names.
pub(super) const NAME_CHARS_MAX: usize = 255;

/// The largest whole number that every client reads exactly.
pub(super) const NUMBER_MAX: u64 = 9_007_199_254_740_991;

/// The fields of an object, and what was found wrong with those that were asked for.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    issues: Vec<Value>,
}

impl<'a> Fields<'a> {
    /// The fields of a body.
    ///
    /// # Errors
    /// 422 if there is none, or if it is no object.
    pub(super) fn of(body: Option<&'a Value>) -> Result<Self, WireError> {
        match body {
            Some(Value::Object(object)) => Ok(Self {
                object,
                issues: Vec::new(),
            }),
            other => {
                let path = json!([]);
                Err(error::unprocessable(vec![wrong_type(
                    "object",
                    other.or(Some(&Value::Null)),
                    &path,
                )]))
            }
        }
    }

    /// A text that may be left out.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.object.get(name)? {
            Value::String(text) => {
                if text.contains('\0') {
                    self.custom(name, "must not contain NUL characters");
                }
                Some(text.clone())
            }
            other => {
                self.issues
                    .push(wrong_type("string", Some(other), &json!([name])));
                None
            }
        }
    }

    /// A text that must be there; empty if it is not, and then the request is refused by [`Fields::finish`].
    pub(super) fn required_text(&mut self, name: &str) -> String {
        if !self.object.contains_key(name) {
            self.issues.push(wrong_type("string", None, &json!([name])));
        }
        self.text(name).unwrap_or_default()
    }

    /// A truth value that may be left out.
    pub(super) fn truth(&mut self, name: &str) -> Option<bool> {
        let value = self.object.get(name)?;
        if value.is_boolean() {
            return value.as_bool();
        }
        self.issues
            .push(wrong_type("boolean", Some(value), &json!([name])));
        None
    }

    /// A whole number from 0 to `max` that may be left out.
    pub(super) fn whole(&mut self, name: &str, max: u64) -> Option<u64> {
        match whole(self.object.get(name)?, max, &json!([name])) {
            Ok(number) => Some(number),
            Err(issue) => {
                self.issues.push(issue);
                None
            }
        }
    }

    /// A list of so many objects, each with these texts (trimmed), that may be left out. Of one that is longer nothing is
    /// looked at, or the list of what is wrong would be many times longer still.
    pub(super) fn objects<const N: usize>(
        &mut self,
        name: &str,
        keys: [&str; N],
        length: RangeInclusive<usize>,
    ) -> Option<Vec<[String; N]>> {
        let value = self.object.get(name)?;
        let Value::Array(items) = value else {
            self.issues
                .push(wrong_type("array", Some(value), &json!([name])));
            return None;
        };
        let (min, max) = length.into_inner();
        if items.len() < min {
            self.issues.push(json!({
                "code": "too_small", "minimum": min, "type": "array", "inclusive": true, "exact": false,
                "message": format!("Array must contain at least {min} element(s)"), "path": [name],
            }));
        }
        if items.len() > max {
            self.issues.push(json!({
                "code": "too_big", "maximum": max, "type": "array", "inclusive": true, "exact": false,
                "message": format!("Array must contain at most {max} element(s)"), "path": [name],
            }));
            return None;
        }
        let mut found = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let Value::Object(object) = item else {
                self.issues
                    .push(wrong_type("object", Some(item), &json!([name, at])));
                continue;
            };
            found.push(keys.map(|key| match object.get(key) {
                Some(Value::String(text)) if !text.contains('\0') => text.trim().to_owned(),
                Some(Value::String(_)) => {
                    let path = json!([name, at, key]);
                    let message = "must not contain NUL characters";
                    self.issues
                        .push(json!({"code": "custom", "path": path, "message": message}));
                    String::new()
                }
                other => {
                    let path = json!([name, at, key]);
                    self.issues.push(wrong_type("string", other, &path));
                    String::new()
                }
            }));
        }
        Some(found)
    }

    /// A rule of a field that no other method knows.
    pub(super) fn custom(&mut self, name: &str, message: &str) {
        self.issues
            .push(json!({"code": "custom", "path": [name], "message": message}));
    }

    /// A rule of the whole body.
    pub(super) fn custom_of_all(&mut self, message: &str) {
        self.issues
            .push(json!({"code": "custom", "message": message, "path": []}));
    }

    /// Whether nothing was found so far: rules between fields are asked for only then.
    pub(super) fn is_clean(&self) -> bool {
        self.issues.is_empty()
    }

    /// Refuses if anything was found.
    ///
    /// # Errors
    /// 422.
    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(error::unprocessable(self.issues))
        }
    }
}

/// A number in a query, read as JavaScript does: an empty text is 0.
pub(super) fn query_number(
    text: Option<&str>,
    name: &str,
    default: u64,
    min: u64,
    max: u64,
    issues: &mut Vec<Value>,
) -> u64 {
    let Some(text) = text else { return default };
    let text = text.trim();
    let number = if text.is_empty() {
        Ok(0.0)
    } else {
        text.parse::<f64>()
    };
    let bound = |code: &str, key: &str, bound: u64, word: &str| {
        json!({
            "code": code, key: bound, "type": "number", "inclusive": true, "exact": false,
            "message": format!("Number must be {word} than or equal to {bound}"), "path": [name],
        })
    };
    // Both bounds are far below 2^53, so that they compare exactly, and a number between them casts exactly.
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    let (low, high) = (min as f64, max as f64);
    match number {
        Ok(number) if number.is_finite() && number < low => {
            issues.push(bound("too_small", "minimum", min, "greater"));
        }
        Ok(number) if number.is_finite() && number > high => {
            issues.push(bound("too_big", "maximum", max, "less"));
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "see above"
        )]
        Ok(number) if number.is_finite() => return number as u64,
        _ => issues.push(json!({
            "code": "invalid_type", "expected": "number", "received": "nan", "path": [name],
            "message": "Expected number, received nan",
        })),
    }
    default
}

fn whole(value: &Value, max: u64, path: &Value) -> Result<u64, Value> {
    let Value::Number(number) = value else {
        return Err(wrong_type("number", Some(value), path));
    };
    if let Some(number) = number.as_u64() {
        if number <= max {
            return Ok(number);
        }
        return Err(json!({
            "code": "too_big", "maximum": max, "type": "number", "inclusive": true, "exact": false,
            "message": format!("Number must be less than or equal to {max}"), "path": path,
        }));
    }
    let float = number.as_f64().unwrap_or(f64::NAN);
    if float.fract() != 0.0 {
        return Err(json!({
            "code": "invalid_type", "expected": "integer", "received": "float",
            "message": "Expected integer, received float", "path": path,
        }));
    }
    if float < 0.0 {
        return Err(json!({
            "code": "too_small", "minimum": 0, "type": "number", "inclusive": true, "exact": false,
            "message": "Number must be greater than or equal to 0", "path": path,
        }));
    }
    // A whole number that JSON wrote as a fraction: 60.0, 6e1. Beyond 2^53 it is above every limit anyway.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts saturate"
    )]
    whole(&Value::from(float as u64), max, path)
}

fn wrong_type(expected: &str, got: Option<&Value>, path: &Value) -> Value {
    let received = match got {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    };
    let message = match got {
        None => "Required".to_owned(),
        Some(_) => format!("Expected {expected}, received {received}"),
    };
    json!({"code": "invalid_type", "expected": expected, "received": received, "path": path, "message": message})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn issues(check: impl Fn(&mut Fields<'_>), body: &Value) -> String {
        let mut fields = Fields::of(Some(body)).unwrap();
        check(&mut fields);
        fields.finish().unwrap_err().message().to_string()
    }

    #[test]
    fn the_shapes_are_the_validators() {
        assert_eq!(
            issues(|fields| drop(fields.text("name")), &json!({"name": null})),
            r#"[{"code":"invalid_type","expected":"string","received":"null","path":["name"],"message":"Expected string, received null"}]"#
        );
        assert_eq!(
            issues(|fields| drop(fields.required_text("name")), &json!({})),
            r#"[{"code":"invalid_type","expected":"string","received":"undefined","path":["name"],"message":"Required"}]"#
        );
        assert_eq!(
            issues(|fields| drop(fields.text("name")), &json!({"name": "a\0"})),
            r#"[{"code":"custom","path":["name"],"message":"must not contain NUL characters"}]"#
        );
        for none in [None, Some(&Value::Null)] {
            let refusal = Fields::of(none).unwrap_err();
            assert_eq!(
                refusal.message()[0]["message"],
                "Expected object, received null"
            );
        }
    }

    #[test]
    fn whole_numbers_are_whole_and_in_bounds() {
        let number =
            |value: Value| whole(&value, 100, &json!([])).map_err(|issue| issue["code"].clone());
        assert_eq!(number(json!(100)), Ok(100));
        assert_eq!(number(json!(60.0)), Ok(60));
        assert_eq!(number(json!(101)), Err(json!("too_big")));
        assert_eq!(number(json!(1e300)), Err(json!("too_big")));
        assert_eq!(number(json!(-1)), Err(json!("too_small")));
        assert_eq!(number(json!(1.5)), Err(json!("invalid_type")));
        assert_eq!(number(json!("60")), Err(json!("invalid_type")));
    }

    #[test]
    fn numbers_of_queries_are_javascripts() {
        let read = |text| {
            let mut issues = Vec::new();
            let number = query_number(text, "limit", 20, 1, 100, &mut issues);
            issues.is_empty().then_some(number)
        };
        assert_eq!(read(None), Some(20));
        assert_eq!(read(Some("100")), Some(100));
        assert_eq!(read(Some("1.5")), Some(1));
        for bad in ["", "0", "101", "abc", "-1", "inf", "NaN"] {
            assert_eq!(read(Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn lists_of_objects_are_trimmed() {
        let body = json!({"ips": [{"ipAddress": " 10.0.0.1 ", "more": 1}]});
        let mut fields = Fields::of(Some(&body)).unwrap();
        assert_eq!(
            fields.objects("ips", ["ipAddress"], 1..=2),
            Some(vec![["10.0.0.1".to_owned()]])
        );
        assert!(fields.finish().is_ok());
        for bad in [
            json!({"ips": []}),
            json!({"ips": [1]}),
            json!({"ips": [{}]}),
            json!({"ips": "x"}),
            json!({"ips": [1, 2, 3]}),
        ] {
            let mut fields = Fields::of(Some(&bad)).unwrap();
            drop(fields.objects("ips", ["ipAddress"], 1..=2));
            assert!(fields.finish().is_err(), "{bad}");
        }
    }

    #[test]
    fn of_a_list_that_is_too_long_nothing_else_is_told() {
        let body = json!({"ips": vec![1; 100_000]});
        assert_eq!(
            issues(
                |fields| drop(fields.objects("ips", ["ipAddress"], 1..=1_000)),
                &body
            ),
            r#"[{"code":"too_big","maximum":1000,"type":"array","inclusive":true,"exact":false,"message":"Array must contain at most 1000 element(s)","path":["ips"]}]"#
        );
    }

    proptest! {
        #[test]
        fn arbitrary_texts_never_panic(text in ".*") {
            let mut issues = Vec::new();
            query_number(Some(&text), "x", 1, 0, 10, &mut issues);
        }
    }
}
