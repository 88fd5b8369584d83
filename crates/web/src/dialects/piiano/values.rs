//! Values of properties: checked against a schema, brought into the form that is sealed, and shown again.
//!
//! The one thing a newcomer would get wrong: the sealed form is canonical – keys sorted at every depth, no blanks – because
//! "the same values" of a token is decided by its bytes. `Debug` shows the names of properties, never a value.

use std::collections::BTreeMap;
use std::fmt;

use engine::Error;
use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::Failure;
use super::vocabulary::builtin;
use super::vocabulary::data_type::{DataType, ValueRules};
use super::vocabulary::mask::{PropertySelector, Transformer};
use super::vocabulary::schema::Collection;

/// The built-in property that names an object.
pub(super) const ID: &str = "id";
/// The built-in property that names the tenant of an object.
pub(super) const TENANT_ID: &str = "_tenant_id";
/// Built-in properties by which an object belongs to another.
const OWNER: [&str; 2] = ["_owner_id", "_owner_collection"];

/// Properties that have a value, by name.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Properties(BTreeMap<String, Value>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The `fields` of a request, checked.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// `id`, in lower case.
    pub(super) id: Option<Uuid>,
    /// `_tenant_id`.
    pub(super) tenant: Option<String>,
    /// The properties of the collection's users.
    pub(super) properties: Properties,
}

impl Given {
    /// Checks each value against its type; null is no value.
    pub(super) fn read(
        schema: &Collection,
        fields: &Map<String, Value>,
        rules: &ValueRules,
    ) -> Result<Self, Failure> {
        let mut given = Self::default();
        for (name, value) in fields {
            let data_type = schema
                .data_type(name)
                .ok_or_else(|| Failure::no_property(name))?;
            if value.is_null() {
                continue;
            }
            let normal = data_type
                .validate_and_normalize(value, rules)
                .map_err(|violation| Failure::bad_value(name, violation.rule()))?;
            if builtin::data_type(name).is_none() {
                given.properties.0.insert(name.clone(), normal);
            } else if name == ID {
                given.id = normal.as_str().and_then(|text| text.parse().ok());
            } else if name == TENANT_ID {
                given.tenant = normal.as_str().map(str::to_owned);
            } else if OWNER.contains(&name.as_str()) {
                return Err(Failure::not_implemented());
            } else {
                return Err(Failure::invalid(name, "is set by the vault"));
            }
        }
        Ok(given)
    }

    /// Everything that was given, built-in properties too.
    pub(super) fn all(&self) -> Properties {
        let mut all = self.properties.clone();
        if let Some(id) = self.id {
            all.set(ID, id.to_string());
        }
        if let Some(tenant) = &self.tenant {
            all.set(TENANT_ID, tenant.as_str());
        }
        all
    }

    /// The first property without which no object can be stored.
    pub(super) fn missing<'s>(&self, schema: &'s Collection) -> Option<&'s str> {
        schema
            .properties
            .iter()
            .find(|property| !property.is_nullable && self.properties.get(&property.name).is_none())
            .map(|property| property.name.as_str())
    }
}

impl Properties {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of the named properties that have a value.
    pub(super) fn only(&self, names: &[String]) -> Self {
        let pairs = names.iter().filter_map(|name| self.0.get_key_value(name));
        Self(
            pairs
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    /// The bytes that are sealed, and by which two lists of values are the same.
    pub(super) fn canonical(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![b'{']);
        for (index, (name, value)) in self.0.iter().enumerate() {
            write_entry(index, name, value, &mut bytes);
        }
        bytes.push(b'}');
        bytes
    }

    /// Reads what [`Properties::canonical`] wrote.
    pub(super) fn from_canonical(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map(Self).map_err(|_| {
            // The parser's own text could quote the content.
            tracing::error!("a sealed content is no list of properties");
            Error::Internal
        })
    }
}

/// One value in canonical form.
pub(super) fn canonical(value: &Value) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::new());
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            bytes.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                write(item, bytes);
            }
            bytes.push(b']');
        }
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            bytes.push(b'{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                write_entry(index, name, value, bytes);
            }
            bytes.push(b'}');
        }
        plain => write_plain(plain, bytes),
    }
}

fn write_entry(index: usize, name: &str, value: &Value, bytes: &mut Vec<u8>) {
    if index > 0 {
        bytes.push(b',');
    }
    write_plain(name, bytes);
    bytes.push(b':');
    write(value, bytes);
}

fn write_plain<T: serde::Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    serde_json::to_writer(bytes, value).expect("strings, numbers and booleans are JSON");
}

/// What an answer shows of each value.
#[derive(Debug)]
pub(super) struct View(Vec<Shown>);

#[derive(Debug)]
struct Shown {
    selector: PropertySelector,
    transformer: Option<Transformer>,
}

impl View {
    /// Reads the names of `props`; whether they exist is asked by [`View::resolve`].
    pub(super) fn parse(props: &[&str]) -> Result<Vec<PropertySelector>, Failure> {
        let selectors = props.iter().map(|text| {
            PropertySelector::parse(text)
                .map_err(|error| Failure::invalid("props", &error.to_string()))
        });
        selectors.collect()
    }

    /// Finds each property in the schema and its transformer in the type.
    pub(super) fn resolve(
        schema: &Collection,
        selectors: Vec<PropertySelector>,
    ) -> Result<Self, Failure> {
        let shown = selectors.into_iter().map(|selector| {
            let data_type: DataType = schema
                .data_type(selector.property())
                .ok_or_else(|| Failure::no_property(selector.property()))?;
            let transformer = match selector.transformer() {
                None => None,
                Some(name) => Some(Transformer::find(data_type, name).ok_or_else(|| {
                    let rule = format!("names a transformer that type {data_type} does not have");
                    Failure::invalid("props", &rule)
                })?),
            };
            Ok(Shown {
                selector,
                transformer,
            })
        });
        shown.collect::<Result<_, Failure>>().map(Self)
    }

    /// The values by the names they were asked by; a property without a value is left out.
    pub(super) fn show(&self, properties: &Properties) -> Map<String, Value> {
        let mut shown = Map::new();
        for one in &self.0 {
            let Some(value) = properties.get(one.selector.property()) else {
                continue;
            };
            let value = match one.transformer {
                None => Some(value.clone()),
                Some(transformer) => transformer.transform(value),
            };
            if let Some(value) = value {
                shown.insert(one.selector.key().to_owned(), value);
            }
        }
        shown
    }
}

/// All values, in order of their names.
pub(super) fn show_all(properties: &Properties) -> Map<String, Value> {
    let pairs = properties.0.iter();
    pairs
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::dialects::piiano::vocabulary::draft::CollectionDraft;

    fn schema() -> Collection {
        let body = json!({"name": "c", "type": "PERSONS", "properties": [
            {"name": "email", "data_type_name": "EMAIL"},
            {"name": "ssn", "data_type_name": "SSN", "is_nullable": true},
            {"name": "weight", "data_type_name": "DOUBLE", "is_nullable": true},
            {"name": "extra", "data_type_name": "JSON", "is_nullable": true},
        ]});
        Collection::create(&CollectionDraft::from_json(&body).unwrap(), "now").unwrap()
    }

    fn given(fields: &Value) -> Result<Given, Failure> {
        Given::read(
            &schema(),
            fields.as_object().unwrap(),
            &ValueRules::default(),
        )
    }

    #[test]
    fn fields_are_checked_and_null_is_no_value() {
        let read = given(&json!({
            "id": "CC9A39C5-4734-4786-B317-E16705D5128F", "_tenant_id": "t1", "ssn": null, "email": "a@b.de",
        }))
        .unwrap();
        assert_eq!(read.tenant.as_deref(), Some("t1"));
        assert_eq!(read.properties.names().collect::<Vec<_>>(), ["email"]);
        let all = read.all();
        assert_eq!(
            all.get(ID),
            Some(&json!("cc9a39c5-4734-4786-b317-e16705d5128f"))
        );
        assert_eq!(
            all.names().collect::<Vec<_>>(),
            ["_tenant_id", "email", "id"]
        );
        assert_eq!(read.missing(&schema()), None);
        assert_eq!(
            given(&json!({"ssn": "123-12-1234"}))
                .unwrap()
                .missing(&schema()),
            Some("email")
        );
        for (fields, code) in [
            (json!({"nickname": "x"}), "PV3004"),
            (json!({"nickname": null}), "PV3004"),
            (json!({"email": "no address"}), "PV3002"),
            (json!({"_tenant_id": "a,b"}), "PV3002"),
            (json!({"_creation_time": "2024-01-01T00:00:00Z"}), "PV1012"),
            (
                json!({"_owner_id": "cc9a39c5-4734-4786-b317-e16705d5128f"}),
                "PV2001",
            ),
        ] {
            let refused = format!("{:?}", given(&fields).unwrap_err());
            assert!(refused.contains(code), "{fields}: {refused}");
            assert!(!refused.contains("no address"), "a value is shown");
        }
    }

    #[test]
    fn equal_values_are_equal_bytes() {
        let one = given(&json!({"extra": {"b": [1, {"d": 1, "c": 2}], "a": 2}, "email": "a@b.de"}))
            .unwrap();
        let two = given(&json!({"email": "a@b.de", "extra": {"a": 2, "b": [1, {"c": 2, "d": 1}]}}))
            .unwrap();
        let bytes = one.properties.canonical();
        assert_eq!(bytes, two.properties.canonical());
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            r#"{"email":"a@b.de","extra":{"a":2,"b":[1,{"c":2,"d":1}]}}"#
        );
        assert_eq!(canonical(&json!("a\"b")).as_slice(), br#""a\"b""#);
    }

    #[test]
    fn views_name_what_they_show_and_refuse_what_is_not_there() {
        let resolve = |props: &[&str]| View::resolve(&schema(), View::parse(props)?);
        let values = given(&json!({"email": "a@b.de", "ssn": "123-12-1234"}))
            .unwrap()
            .properties;
        let view = resolve(&["ssn.mask", "email", "weight"]).unwrap();
        let shown = Value::Object(view.show(&values)).to_string();
        assert_eq!(shown, r#"{"ssn.mask":"***-**-1234","email":"a@b.de"}"#);
        for (props, code) in [
            (["s-n"], "PV1012"),
            (["nickname"], "PV3004"),
            (["weight.mask"], "PV1012"),
            (["ssn.unmask"], "PV1012"),
        ] {
            assert!(
                format!("{:?}", resolve(&props).unwrap_err()).contains(code),
                "{props:?}"
            );
        }
    }

    #[test]
    fn debug_shows_names_only() {
        let values = given(&json!({"ssn": "123-12-1234"})).unwrap();
        let text = format!("{values:?}");
        assert!(text.contains("ssn") && !text.contains("1234"), "{text}");
    }

    proptest! {
        #[test]
        fn numbers_and_texts_survive(number: f64, text: String) {
            prop_assume!(number.is_finite());
            let mut properties = Properties::default();
            properties.set("number", number);
            properties.set("text", text);
            let bytes = properties.canonical();
            let read = Properties::from_canonical(&bytes).unwrap();
            prop_assert_eq!(&read, &properties);
            prop_assert_eq!(read.canonical(), bytes);
        }
    }
}
