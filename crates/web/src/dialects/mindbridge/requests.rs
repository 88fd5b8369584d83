//! What clients send to make and to rename a token.
//!
//! The one thing a newcomer would get wrong: whatever is on the model may be in a body, and all but a few of it is ignored,
//! so that an entity can be sent back as it was read. What is *not* on the model is refused: it would be lost silently.

use engine::clock::Timestamp;
use engine::limits::{ADDRESSES_MAX, PERMISSIONS_MAX};
use ipnet::IpNet;
use jiff::Span;
use serde_json::{Map, Value};

use super::error::{Problem, ProblemType, Refusal, echoed};
use super::{addresses, date_time, permissions};

/// Every property of an API token.
const MODEL: [&str; 13] = [
    "id",
    "version",
    "creationDate",
    "lastModifiedDate",
    "createdUserInfo",
    "lastModifiedUserInfo",
    "userId",
    "name",
    "partialToken",
    "expiry",
    "allowedAddresses",
    "permissions",
    "token",
];

/// Characters of a name.
pub(super) const NAME_CHARS_MAX: usize = 255;
/// How long a token may last, as the product documents it.
const LIFE_YEARS_MAX: i64 = 2;

/// A body of an update whose shape is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rename {
    /// The version that was read.
    pub version: u64,
    /// The new name; judged by [`name_problem`] after the version.
    pub name: String,
}

/// A body of a create whose shape is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewToken {
    name: String,
    expiry: Timestamp,
    allowed_addresses: Vec<String>,
    permissions: Vec<String>,
}

/// A token to be made that keeps all rules.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GoodToken {
    /// Its name.
    pub name: String,
    /// When it ends.
    pub expiry: Timestamp,
    /// From where it may be used.
    pub addresses: Vec<IpNet>,
    /// What its bearer may do, as sent.
    pub permissions: Vec<String>,
}

/// Reads the shape of an update.
pub(super) fn rename(body: &Map<String, Value>) -> Result<Rename, Refusal> {
    let mut problems = unknown_properties(body);
    let version = match body.get("version") {
        None => Err(required("version")),
        Some(value) => value
            .as_i64()
            .and_then(|version| u64::try_from(version).ok())
            .ok_or_else(|| wrong_type("version", "a whole number that is not negative")),
    };
    let name = text(body, "name");
    let version = version.map_err(|problem| problems.push(*problem));
    let name = name.map_err(|problem| problems.push(*problem));
    Refusal::unless_none(problems)?;
    match (version, name) {
        (Ok(version), Ok(name)) => Ok(Rename { version, name }),
        _ => Err(Refusal::from(engine::Error::Internal)),
    }
}

/// Reads the shape of a create.
pub(super) fn new_token(body: &Map<String, Value>) -> Result<NewToken, Refusal> {
    let mut problems = unknown_properties(body);
    let name = text(body, "name").map_err(|problem| problems.push(*problem));
    let expiry = text(body, "expiry")
        .and_then(|text| {
            let rule = "a date-time with a zone, as in 2027-01-31T00:00:00Z";
            date_time::parse(&text).ok_or_else(|| wrong_type("expiry", rule))
        })
        .map_err(|problem| problems.push(*problem));
    let allowed_addresses = if body.contains_key("allowedAddresses") {
        texts(body, "allowedAddresses").map_err(|problem| problems.push(*problem))
    } else {
        Ok(Vec::new())
    };
    let permissions = texts(body, "permissions").map_err(|problem| problems.push(*problem));
    Refusal::unless_none(problems)?;
    match (name, expiry, allowed_addresses, permissions) {
        (Ok(name), Ok(expiry), Ok(allowed_addresses), Ok(permissions)) => Ok(NewToken {
            name,
            expiry,
            allowed_addresses,
            permissions,
        }),
        _ => Err(Refusal::from(engine::Error::Internal)),
    }
}

impl NewToken {
    /// Judges it by the rules for a token made now.
    pub(super) fn judge(self, now: Timestamp) -> Result<GoodToken, Refusal> {
        let lists = [
            too_many("allowedAddresses", &self.allowed_addresses, ADDRESSES_MAX),
            too_many("permissions", &self.permissions, PERMISSIONS_MAX),
        ];
        // Before the items: a problem for each would make an answer many times as long as the body.
        Refusal::unless_none(lists.into_iter().flatten().collect())?;
        let mut problems: Vec<Problem> = name_problem(&self.name).into_iter().collect();
        if self.expiry <= now {
            let reason = "a token ends in the future";
            let kind = ProblemType::GreaterValueRequired;
            problems.push(Problem::with(kind, "expiry", reason));
        } else if last_expiry(now).is_none_or(|last| self.expiry > last) {
            let reason = format!("a token ends at most {LIFE_YEARS_MAX} years after it was made");
            let problem = Problem::with(ProblemType::LessValueRequired, "expiry", reason);
            let last = last_expiry(now).map(date_time::to_text);
            problems.push(last.into_iter().fold(problem, Problem::suggesting));
        }
        let mut nets = Vec::new();
        for text in &self.allowed_addresses {
            match addresses::parse(text) {
                Some(net) => nets.push(net),
                None => problems.push(not_among(
                    "allowedAddresses",
                    text,
                    "is no IPv4 or IPv6 address and no CIDR block",
                )),
            }
        }
        if self.permissions.is_empty() {
            let reason = "a token has at least one permission";
            let kind = ProblemType::IllegalArgument;
            problems.push(Problem::with(kind, "permissions", reason));
        }
        for name in &self.permissions {
            if !permissions::is_known(name) {
                problems.push(not_among("permissions", name, "is no permission"));
            }
        }
        Refusal::unless_none(problems)?;
        Ok(GoodToken {
            name: self.name,
            expiry: self.expiry,
            addresses: nets,
            permissions: self.permissions,
        })
    }
}

/// What is wrong with a name, if anything.
pub(super) fn name_problem(name: &str) -> Option<Problem> {
    let (kind, reason) = if name.trim().is_empty() {
        let reason = "a name has at least one character that is no blank".to_owned();
        (ProblemType::IllegalArgument, reason)
    } else if name.contains('\0') {
        let reason = "a name has no NUL character".to_owned();
        (ProblemType::IllegalArgument, reason)
    } else if name.chars().count() > NAME_CHARS_MAX {
        let reason = format!("a name has at most {NAME_CHARS_MAX} characters");
        (ProblemType::LessValueRequired, reason)
    } else {
        return None;
    };
    Some(Problem::with(kind, "name", reason))
}

fn too_many(field: &'static str, items: &[String], max: usize) -> Option<Problem> {
    let reason = format!("at most {max}");
    (items.len() > max).then(|| Problem::with(ProblemType::LessValueRequired, field, reason))
}

/// The latest end of a token made at `now`.
pub(super) fn last_expiry(now: Timestamp) -> Option<Timestamp> {
    let years = Span::new().years(LIFE_YEARS_MAX);
    now.to_civil()
        .checked_add(years)
        .ok()
        .and_then(Timestamp::from_civil)
}

fn unknown_properties(body: &Map<String, Value>) -> Vec<Problem> {
    let unknown = body.keys().filter(|key| !MODEL.contains(&key.as_str()));
    // One is enough to find the mistake, and a body of nothing else would make an answer of its own size.
    let first = unknown.take(1).map(|key| {
        let key = echoed(key);
        let reason = format!("an API token has no property {key}");
        Problem::with(ProblemType::IllegalArgument, key, reason)
    });
    first.collect()
}

fn required(field: &'static str) -> Box<Problem> {
    let reason = format!("{field} is required");
    Box::new(Problem::with(ProblemType::IllegalArgument, field, reason))
}

fn wrong_type(field: &'static str, wanted: &str) -> Box<Problem> {
    let reason = format!("{field} is {wanted}");
    let kind = ProblemType::IncorrectDataType;
    Box::new(Problem::with(kind, field, reason))
}

fn not_among(field: &'static str, value: &str, rule: &str) -> Problem {
    let reason = format!("{} {rule}", echoed(value));
    Problem::with(ProblemType::IllegalArgument, field, reason).value(value)
}

fn text(body: &Map<String, Value>, field: &'static str) -> Result<String, Box<Problem>> {
    match body.get(field) {
        None => Err(required(field)),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong_type(field, "a string")),
    }
}

fn texts(body: &Map<String, Value>, field: &'static str) -> Result<Vec<String>, Box<Problem>> {
    let wrong = || wrong_type(field, "an array of strings");
    let list = match body.get(field) {
        None => return Err(required(field)),
        Some(value) => value.as_array().ok_or_else(wrong)?,
    };
    let items = list.iter().map(|item| item.as_str().map(str::to_owned));
    items.collect::<Option<Vec<String>>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_rename_has_a_version_and_a_name() {
        let read = |value: Value| rename(&object(&value));
        let good = read(json!({"version": 3, "name": "x", "permissions": 7, "token": null}));
        let wanted = Rename {
            version: 3,
            name: "x".to_owned(),
        };
        assert_eq!(good.unwrap(), wanted);
        for bad in [
            json!({}),
            json!({"version": 3}),
            json!({"name": "x"}),
            json!({"version": null, "name": "x"}),
            json!({"version": "3", "name": "x"}),
            json!({"version": 3.0, "name": "x"}),
            json!({"version": -1, "name": "x"}),
            json!({"version": 9_223_372_036_854_775_808_u64, "name": "x"}),
            json!({"version": 3, "name": null}),
            json!({"version": 3, "name": 4}),
            json!({"version": 3, "name": "x", "colour": "red"}),
        ] {
            assert_eq!(read(bad.clone()).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn of_lists_that_are_too_long_nothing_else_is_told() {
        let body = json!({
            "name": " ", "expiry": "2027-01-01T00:00:00Z",
            "allowedAddresses": vec!["x"; 100_000], "permissions": vec!["x"; 1_001],
        });
        let wanted = new_token(&object(&body)).unwrap();
        let refusal = wanted.judge(Timestamp::MIN).unwrap_err();
        let told = format!("{refusal:?}");
        assert_eq!(told.matches("at most 1000").count(), 2, "{told}");
        assert!(!told.contains("is no "), "{told}");
    }

    #[test]
    fn two_years_end_on_the_same_day() {
        let at = |text| date_time::parse(text).unwrap();
        let last = last_expiry(at("2024-02-29T12:00:00Z")).unwrap();
        assert_eq!(last, at("2026-02-28T12:00:00Z"));
        assert_eq!(last_expiry(Timestamp::MAX), None);
    }
}
