//! Walking a body as the schema does: one place at a time, scalars coerced, the first finding ends it.
//!
//! The one thing a newcomer would get wrong: what a finding says was "sent" is the value *after* coercion, so `5` in the
//! place of a date is sent back as `"5"`. Within an object, what is required is looked at before any member's type.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::date_time::{self, WireInstant};
use super::super::error::Detail;
use super::javascript::{
    coerced_number, coerced_string, double, json_number_text, json_text, quoted,
};

/// What the schema found; one detail, or several where a `oneOf` tells what each of its branches found.
pub(super) type Findings = Vec<Detail>;

/// A value and where it stands, as in `/body/tokens/0`.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    value: &'a Value,
    path: String,
}

/// An object and where it stands.
#[derive(Debug)]
pub(super) struct Object<'a> {
    members: &'a Map<String, Value>,
    path: String,
}

/// What a member that is a date or a number holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DateOrNumber {
    /// A text inside the date grammar; `None` if it names no instant.
    Date(String, Option<WireInstant>),
    /// A number, which may be infinite.
    Number(f64),
}

/// The two kinds of numbers that schemas know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberKind {
    Number,
    Integer,
}

impl NumberKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Integer => "integer",
        }
    }
}

impl<'a> Place<'a> {
    /// The body as a whole.
    pub(super) fn body(value: &'a Value) -> Self {
        Self {
            value,
            path: "/body".into(),
        }
    }

    /// A finding about this place: `rule` continues "The … property", `sent` is the value after coercion, as JSON.
    pub(super) fn finding(&self, rule: &str, sent: &str) -> Findings {
        vec![Detail::of_schema(
            format!("The `{}` property {rule}. You sent {sent}.", self.path),
            self.path.clone(),
        )]
    }

    fn wrong_type(&self, wanted: &str) -> Findings {
        self.finding(&format!("must be {wanted}"), &json_text(self.value))
    }

    /// A finding about a text that is no date, or names none.
    pub(super) fn not_a_date_time(&self, text: &str) -> Findings {
        self.finding("must match format \"date-time\"", &quoted(text))
    }

    /// Must be an object; nothing is coerced into one.
    pub(super) fn object(self) -> Result<Object<'a>, Findings> {
        match self.value {
            Value::Object(members) => Ok(Object {
                members,
                path: self.path,
            }),
            _ => Err(self.wrong_type("object")),
        }
    }

    /// The value as it was sent.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// Whether the value counts as `null`, for the few members where a schema lets that pass: `null` itself, and the
    /// scalars that are coerced into it.
    pub(super) fn is_null(&self) -> bool {
        match self.value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Number(number) => double(number) == 0.0,
            Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
        }
    }

    /// Must be an array; nothing is coerced into one. The items with their places.
    pub(super) fn items(&self) -> Result<impl Iterator<Item = Place<'a>>, Findings> {
        match self.value {
            Value::Array(items) => {
                let path = self.path.clone();
                Ok(items.iter().enumerate().map(move |(index, value)| Place {
                    value,
                    path: format!("{path}/{index}"),
                }))
            }
            _ => Err(self.wrong_type("array")),
        }
    }

    /// Must be a string, or a scalar that becomes one.
    pub(super) fn string(&self) -> Result<Cow<'a, str>, Findings> {
        coerced_string(self.value).ok_or_else(|| self.wrong_type("string"))
    }

    /// As [`Self::string`], and not empty.
    pub(super) fn non_empty_string(&self) -> Result<Cow<'a, str>, Findings> {
        let text = self.string()?;
        if text.is_empty() {
            return Err(self.finding("must NOT have fewer than 1 characters", "\"\""));
        }
        Ok(text)
    }

    /// Must be an array of strings.
    pub(super) fn strings(&self) -> Result<Vec<String>, Findings> {
        self.items()?
            .map(|item| item.string().map(Cow::into_owned))
            .collect()
    }

    /// Must be a number, or a scalar that becomes one. May be infinite if a string says so.
    pub(super) fn number(&self, kind: NumberKind) -> Result<f64, Findings> {
        coerced_number(self.value)
            // "Not a fraction" as JavaScript asks it, `!(x % 1)`: infinity passes.
            .filter(|number| {
                kind == NumberKind::Number || !number.is_finite() || number.fract() == 0.0
            })
            .ok_or_else(|| self.wrong_type(kind.word()))
    }

    /// As [`Self::number`], and not below zero.
    pub(super) fn number_from_zero(&self, kind: NumberKind) -> Result<f64, Findings> {
        let number = self.number(kind)?;
        if number < 0.0 {
            return Err(self.finding("must be >= 0", &json_number_text(number)));
        }
        Ok(number)
    }

    /// Must be inside the date grammar, after coercion to a string.
    pub(super) fn date_time(&self) -> Result<(String, Option<WireInstant>), Findings> {
        let text = self.string()?;
        match date_time::parse(&text) {
            Ok(instant) => Ok((text.into_owned(), Some(instant))),
            Err(date_time::NotAnInstant::Value) => Ok((text.into_owned(), None)),
            Err(date_time::NotAnInstant::Grammar) => Err(self.not_a_date_time(&text)),
        }
    }

    /// Must be a date or a number: a `oneOf` of both. If it is neither, each branch tells what it found, and the second
    /// sees what the first has coerced.
    pub(super) fn date_or_number(&self, kind: NumberKind) -> Result<DateOrNumber, Findings> {
        let mut findings = match self.date_time() {
            Ok((text, instant)) => return Ok(DateOrNumber::Date(text, instant)),
            Err(findings) => findings,
        };
        let coerced = coerced_string(self.value).map(|text| Value::String(text.into_owned()));
        let second = Place {
            value: coerced.as_ref().unwrap_or(self.value),
            path: self.path.clone(),
        };
        match second.number(kind) {
            Ok(number) => Ok(DateOrNumber::Number(number)),
            Err(more) => {
                findings.extend(more);
                findings.push(one_of(&self.path));
                Err(findings)
            }
        }
    }
}

/// The detail that follows whatever the branches of a `oneOf` have found.
pub(super) fn one_of(path: &str) -> Detail {
    Detail::of_schema(
        format!(
            "The \"{path}\" property must match exactly one schema in oneOf. The data you provided matches more than one option in the schema. These options are mutually exclusive. Please refer back to the schema and remove any excess properties."
        ),
        path,
    )
}

impl<'a> Object<'a> {
    /// The first of these members that is not there is a finding.
    pub(super) fn require(&self, keys: &[&str]) -> Result<(), Findings> {
        match keys.iter().find(|&&key| !self.members.contains_key(key)) {
            Some(key) => Err(vec![Detail::missing(self.path_of(key))]),
            None => Ok(()),
        }
    }

    /// A member, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Place<'a>> {
        self.members.get(key).map(|value| Place {
            value,
            path: self.path_of(key),
        })
    }

    /// A member that [`Self::require`] has found.
    pub(super) fn expect(&self, key: &str) -> Place<'a> {
        self.get(key).expect("it was required before")
    }

    /// The value of a member that the schema does not look at.
    pub(super) fn raw(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key)
    }

    /// The keys, in the order in which they were sent.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.members.keys().map(String::as_str)
    }

    /// All members with their places.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'a str, Place<'a>)> {
        self.members.iter().map(|(key, value)| {
            let path = self.path_of(key);
            (key.as_str(), Place { value, path })
        })
    }

    /// The member as a string, if it is there.
    pub(super) fn optional_string(&self, key: &str) -> Result<Option<String>, Findings> {
        let text = self.get(key).map(|place| place.string()).transpose()?;
        Ok(text.map(Cow::into_owned))
    }

    /// Members that must be strings if they are there, in the schema's order; the values are not wanted.
    pub(super) fn check_strings(&self, keys: &[&str]) -> Result<(), Findings> {
        keys.iter()
            .filter_map(|key| self.get(key))
            .try_for_each(|place| place.string().map(drop))
    }

    /// JSON Pointer (RFC 6901): `~` and `/` in a key are escaped.
    fn path_of(&self, key: &str) -> String {
        format!(
            "{}/{}",
            self.path,
            key.replace('~', "~0").replace('/', "~1")
        )
    }
}

/// JSON of any shape whose objects often have the given keys.
#[cfg(test)]
pub(super) fn arbitrary_json(
    keys: &'static [&'static str],
) -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;

    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Eighths: what any JSON parser reads back exactly.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        "\\PC{0,12}".prop_map(Value::from),
        "[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:00:[0-6]0(Z|[+]02)?".prop_map(Value::from),
        prop::sample::select(vec!["*", "", "client", "default", "0x1f", "a,b", "a\0"])
            .prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 6, move |inner| {
        let key = prop_oneof![
            8 => prop::sample::select(keys.to_vec()).prop_map(str::to_owned),
            1 => "\\PC{0,4}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_escaped_in_paths() {
        let body = json!({"a/b~c": []});
        let object = Place::body(&body).object().unwrap();
        let (key, place) = object.members().next().unwrap();
        assert_eq!(key, "a/b~c");
        assert_eq!(place.string().unwrap_err()[0].path(), Some("/body/a~1b~0c"));
    }

    #[test]
    fn a_date_or_number_is_either_or_told_by_both() {
        for (value, expected) in [
            (json!(5), DateOrNumber::Number(5.0)),
            (json!("0x10"), DateOrNumber::Number(16.0)),
            (
                json!("2016-12-31T23:59:60Z"),
                DateOrNumber::Date("2016-12-31T23:59:60Z".into(), None),
            ),
        ] {
            assert_eq!(
                Place::body(&value).date_or_number(NumberKind::Integer),
                Ok(expected)
            );
        }
        for (value, first, second) in [
            (
                json!(true),
                "must match format \"date-time\". You sent \"true\".",
                "must be integer. You sent \"true\".",
            ),
            (
                json!(1.5),
                "must match format \"date-time\". You sent \"1.5\".",
                "must be integer. You sent \"1.5\".",
            ),
            (
                json!([5]),
                "must be string. You sent [5].",
                "must be integer. You sent [5].",
            ),
        ] {
            let findings = Place::body(&value)
                .date_or_number(NumberKind::Integer)
                .unwrap_err();
            let messages: Vec<_> = findings.iter().map(Detail::message).collect();
            assert_eq!(messages[0], format!("The `/body` property {first}"));
            assert_eq!(messages[1], format!("The `/body` property {second}"));
            assert!(
                messages[2]
                    .starts_with("The \"/body\" property must match exactly one schema in oneOf.")
            );
            assert_eq!(messages.len(), 3);
        }
    }
}
