//! The filter language against examples, arbitrary JSON, and an evaluator that knows no types.
//!
//! The one thing to know: the evaluator here walks the raw filter for every row. It is slow, and plainly what the language
//! says.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::dialects::mindbridge::fields::TOKEN_FIELDS;

/// A token as its JSON.
#[derive(Clone, Debug)]
struct Plain(Value);

impl Plain {
    fn value(&self, field: &str) -> &Value {
        &self.0[field]
    }
}

impl Row for Plain {
    fn datum(&self, field: Field) -> Datum<'_> {
        let spec = TOKEN_FIELDS
            .iter()
            .find(|spec| spec.field == field)
            .unwrap();
        let borrowed = |text: &'_ str| Cow::Owned(text.to_owned());
        match (spec.kind, self.value(spec.name)) {
            (_, Value::Null) => Datum::Null,
            (Kind::Number, value) => Datum::Number(value.as_i64().unwrap()),
            (Kind::Instant, value) => {
                Datum::Instant(date_time::parse(value.as_str().unwrap()).unwrap())
            }
            (Kind::Text, value) => Datum::Text(borrowed(value.as_str().unwrap())),
            (Kind::Texts, value) => {
                let items = value.as_array().unwrap().iter();
                Datum::Texts(items.map(|item| borrowed(item.as_str().unwrap())).collect())
            }
            (Kind::Flag, value) => Datum::Flag(value.as_bool().unwrap()),
        }
    }

    fn words(&self) -> &str {
        self.value("name").as_str().unwrap()
    }
}

fn row() -> Plain {
    Plain(json!({
        "id": "643eff00ec992f7ec42ed9f7",
        "version": 3,
        "creationDate": "2026-01-01T00:00:00Z",
        "name": "Nightly Export-Job",
        "expiry": null,
        "permissions": ["api.users.read", "api.api-tokens.read"],
        "allowedAddresses": [],
    }))
}

fn read(filter: &Value) -> Result<Filter, FilterError> {
    parse(filter.as_object().unwrap(), TOKEN_FIELDS)
}

#[test]
fn every_operator_says_what_it_says() {
    for (filter, wanted) in [
        (json!({}), true),
        (json!({"name": "Nightly Export-Job"}), true),
        (json!({"name": "nightly export-job"}), false),
        (json!({"name": {"$eq": "x"}}), false),
        (json!({"name": {"$ne": "x"}}), true),
        (json!({"expiry": null}), true),
        (json!({"expiry": {"$ne": null}}), false),
        (json!({"expiry": {"$lt": "2030-01-01T00:00:00Z"}}), false),
        (json!({"version": 3}), true),
        (json!({"version": 3.0}), true),
        (json!({"version": {"$gt": 2, "$lt": 3.5}}), true),
        (json!({"version": {"$gt": 3}}), false),
        (json!({"version": {"$gte": 3, "$lte": 3}}), true),
        (
            json!({"version": {"$lt": 18_446_744_073_709_551_615_u64}}),
            true,
        ),
        (json!({"creationDate": "2026-01-01T02:00:00+02:00"}), true),
        (
            json!({"creationDate": {"$gt": "2025-12-31T23:59:59.999Z"}}),
            true,
        ),
        (json!({"name": {"$in": ["x", "Nightly Export-Job"]}}), true),
        (json!({"name": {"$in": []}}), false),
        (json!({"name": {"$nin": []}}), true),
        (json!({"expiry": {"$in": [null]}}), true),
        (
            json!({"permissions": {"$contains": ["api.users.read"]}}),
            true,
        ),
        (
            json!({"permissions": {"$contains": ["api.users.read", "x"]}}),
            false,
        ),
        (json!({"permissions": {"$ncontains": ["x"]}}), true),
        (json!({"name": {"$isubstr": "EXPORT"}}), true),
        (json!({"name": {"$iprefix": "night"}}), true),
        (json!({"name": {"$iprefix": "export"}}), false),
        (json!({"name": {"$niprefix": "export"}}), true),
        (json!({"$keyword_prefix": "JO"}), true),
        (json!({"$keyword_prefix": "ob"}), false),
        (json!({"$keyword_prefix_not": "ob"}), true),
        (
            json!({"$or": [{"version": 4}, {"name": {"$isubstr": "job"}}]}),
            true,
        ),
        (json!({"$or": [{"version": 4}, {"version": 5}]}), false),
        (json!({"$and": [{"version": 3}, {"version": 4}]}), false),
        (json!({"$and": [{}], "version": 3}), true),
        (json!({"$or": [{"version": 3}], "version": 4}), false),
    ] {
        let parsed = read(&filter).unwrap_or_else(|error| panic!("{filter}: {error:?}"));
        assert_eq!(parsed.matches(&row()), wanted, "{filter}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (filter, place) in [
        (json!({"colour": "red"}), "colour"),
        (
            json!({"createdUserInfo": {"userId": "x"}}),
            "createdUserInfo",
        ),
        (json!({"$nor": []}), "$nor"),
        (json!({"$and": {}}), "$and"),
        (json!({"$or": []}), "$or"),
        (json!({"$and": [{}, 7]}), "$and[1]"),
        (
            json!({"$and": [{"name": {"$gt": true}}]}),
            "$and[0].name.$gt",
        ),
        (json!({"name": {}}), "name"),
        (json!({"name": {"$regex": "x"}}), "name.$regex"),
        (json!({"name": {"$and": []}}), "name.$and"),
        (json!({"name": 7}), "name"),
        (json!({"name": ["x"]}), "name"),
        (json!({"name": {"$in": "x"}}), "name.$in"),
        (json!({"name": {"$in": [7]}}), "name.$in"),
        (json!({"name": {"$contains": ["x"]}}), "name.$contains"),
        (json!({"version": {"$iprefix": "3"}}), "version.$iprefix"),
        (json!({"version": "3"}), "version"),
        (json!({"version": {"$gt": null}}), "version.$gt"),
        (json!({"expiry": "2030-01-01"}), "expiry"),
        (json!({"permissions": "api.users.read"}), "permissions"),
        (
            json!({"permissions": {"$contains": "x"}}),
            "permissions.$contains",
        ),
        (
            json!({"permissions": {"$contains": [7]}}),
            "permissions.$contains",
        ),
        (json!({"$keyword_prefix": 7}), "$keyword_prefix"),
        (
            json!({"name": {"$keyword_prefix": "x"}}),
            "name.$keyword_prefix",
        ),
    ] {
        let error = read(&filter).unwrap_err();
        assert_eq!(error.place, place, "{filter}");
        assert_eq!(Refusal::from(error).status, 400);
    }
}

#[test]
fn limits_are_the_last_that_pass() {
    let nested = |depth: usize| {
        let inner = json!({"version": 3});
        (1..depth).fold(inner, |inner, _| json!({"$and": [inner]}))
    };
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert!(read(&nested(DEPTH_MAX + 1)).is_err());
    let listed = |items: usize| json!({"name": {"$in": vec!["x"; items]}});
    assert!(read(&listed(TERMS_MAX - 1)).is_ok());
    assert!(read(&listed(TERMS_MAX)).is_err());
}

/// What the language says, term by term, on raw JSON; only for filters that are good.
fn naive(filter: &Value, row: &Value) -> bool {
    filter.as_object().unwrap().iter().all(|(key, value)| {
        let words = || {
            let name = row["name"].as_str().unwrap().to_lowercase();
            let prefix = value.as_str().unwrap().to_lowercase();
            let words: Vec<String> = name
                .split(|c: char| !c.is_alphanumeric())
                .map(str::to_owned)
                .collect();
            words
                .iter()
                .any(|word| !word.is_empty() && word.starts_with(&prefix))
        };
        match key.as_str() {
            "$and" => value.as_array().unwrap().iter().all(|one| naive(one, row)),
            "$or" => value.as_array().unwrap().iter().any(|one| naive(one, row)),
            "$keyword_prefix" => words(),
            "$keyword_prefix_not" => !words(),
            field => match value.as_object() {
                Some(operators) => operators
                    .iter()
                    .all(|(operator, operand)| naive_test(operator, &row[field], operand)),
                None => naive_test("$eq", &row[field], value),
            },
        }
    })
}

fn naive_test(operator: &str, value: &Value, operand: &Value) -> bool {
    let lower = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    let order = || match (value, operand) {
        (Value::Number(one), Value::Number(other)) => {
            one.as_f64().unwrap().partial_cmp(&other.as_f64().unwrap())
        }
        // Instants here are all written alike, so that their texts have their order.
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    };
    let list = |value: &Value| value.as_array().unwrap().clone();
    match operator {
        "$eq" => order() == Some(Ordering::Equal),
        "$ne" => order() != Some(Ordering::Equal),
        "$gt" => order() == Some(Ordering::Greater),
        "$gte" => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
        "$lt" => order() == Some(Ordering::Less),
        "$lte" => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
        "$in" => list(operand).contains(value),
        "$nin" => !list(operand).contains(value),
        "$contains" => list(operand).iter().all(|one| list(value).contains(one)),
        "$ncontains" => !list(operand).iter().all(|one| list(value).contains(one)),
        "$isubstr" => lower(value).contains(&lower(operand)),
        "$iprefix" => lower(value).starts_with(&lower(operand)),
        "$niprefix" => !lower(value).starts_with(&lower(operand)),
        other => panic!("{other}"),
    }
}

fn instant() -> impl Strategy<Value = Value> {
    (1..4_u8).prop_map(|day| json!(format!("2026-01-0{day}T00:00:00Z")))
}

fn name() -> impl Strategy<Value = Value> {
    "[aB -]{0,3}[aÄ]".prop_map(Value::from)
}

fn permission() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!("p")), Just(json!("q")), Just(json!("r"))]
}

fn arbitrary_row() -> impl Strategy<Value = Value> {
    let expiry = prop_oneof![Just(Value::Null), instant()];
    let permissions = proptest::collection::vec(permission(), 0..3);
    (name(), 1..4_i64, expiry, permissions).prop_map(|(name, version, expiry, permissions)| {
        json!({"name": name, "version": version, "expiry": expiry, "permissions": permissions})
    })
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

fn term() -> impl Strategy<Value = Value> {
    const EQUAL: &[&str] = &["$eq", "$ne"];
    const LISTED: &[&str] = &["$in", "$nin"];
    const ORDERED: &[&str] = &["$gt", "$gte", "$lt", "$lte"];
    const TEXTUAL: &[&str] = &["$isubstr", "$iprefix", "$niprefix"];
    let on =
        |field: &'static str, operator: &str, operand: Value| json!({field: {operator: operand}});
    let number = || (0..5_i64).prop_map(Value::from);
    prop_oneof![
        name().prop_map(|name| json!({"name": name})),
        (one_of(EQUAL), name()).prop_map(move |(operator, value)| on("name", operator, value)),
        (one_of(LISTED), proptest::collection::vec(name(), 0..3))
            .prop_map(move |(operator, value)| on("name", operator, value.into())),
        (one_of(TEXTUAL), "[AbÄ]{0,2}").prop_map(move |(operator, value)| on(
            "name",
            operator,
            value.into()
        )),
        (one_of(ORDERED), name()).prop_map(move |(operator, value)| on("name", operator, value)),
        (one_of(ORDERED), number())
            .prop_map(move |(operator, value)| on("version", operator, value)),
        (one_of(LISTED), proptest::collection::vec(number(), 0..3))
            .prop_map(move |(operator, value)| on("version", operator, value.into())),
        (one_of(ORDERED), instant())
            .prop_map(move |(operator, value)| on("expiry", operator, value)),
        (one_of(EQUAL), prop_oneof![Just(Value::Null), instant()])
            .prop_map(move |(operator, value)| on("expiry", operator, value)),
        (
            one_of(&["$contains", "$ncontains"]),
            proptest::collection::vec(permission(), 0..3)
        )
            .prop_map(move |(operator, value)| on("permissions", operator, value.into())),
        (
            one_of(&["$keyword_prefix", "$keyword_prefix_not"]),
            "[abAÄ]{0,2}"
        )
            .prop_map(|(operator, value)| json!({operator: value})),
    ]
}

fn arbitrary_filter() -> impl Strategy<Value = Value> {
    term().prop_recursive(4, 24, 3, |inner| {
        let terms = proptest::collection::vec(inner, 1..4);
        prop_oneof![
            terms.clone().prop_map(|terms| json!({"$and": terms})),
            terms.clone().prop_map(|terms| json!({"$or": terms})),
            (terms, term()).prop_map(|(terms, beside)| {
                let mut object = beside.as_object().unwrap().clone();
                object.insert("$or".to_owned(), terms.into());
                Value::Object(object)
            }),
        ]
    })
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        one_of(&[
            "$and",
            "$or",
            "$eq",
            "$in",
            "$contains",
            "$isubstr",
            "$keyword_prefix",
            "name",
            "version",
            "expiry",
            "permissions",
        ])
        .prop_map(str::to_owned),
        ".{0,5}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(20, 64, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((words.clone(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_objects_never_panic(
        pairs in proptest::collection::vec((".{0,5}", arbitrary_json()), 0..3),
        filter in arbitrary_json(),
    ) {
        let _ = parse(&pairs.into_iter().collect(), TOKEN_FIELDS);
        if let Value::Object(object) = filter
            && let Ok(filter) = parse(&object, TOKEN_FIELDS)
        {
            let _ = filter.matches(&row());
        }
    }

    #[test]
    fn good_filters_mean_what_the_language_says(filter in arbitrary_filter(), row in arbitrary_row()) {
        let parsed = read(&filter).unwrap();
        prop_assert_eq!(parsed.matches(&Plain(row.clone())), naive(&filter, &row));
    }
}
