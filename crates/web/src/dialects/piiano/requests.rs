//! The bodies of the token calls as they come in, read strictly by hand.
//!
//! The one thing a newcomer would get wrong: these types decide by the request alone. Whether a property exists or a
//! value fits its type needs the schema and is decided later, after the match. `Debug` of a request never shows a value.

use std::fmt;

use engine::error::Error;
use engine::limits;
use engine::tags::Tags;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::call::uuid;
use super::error::Failure;
use super::fields::Fields;
use super::vocabulary::schema::is_property_name;
use super::vocabulary::template::Template;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenType {
    /// The values as they were; the same values in the same scope give the same token.
    Pci,
    /// As `pci`, but it cannot be detokenized.
    PciOneway,
    /// The values of its object as they are when it is detokenized.
    Pointer,
    /// The values as they were; always a new token.
    Randomized,
    /// The values as they were; the token's ID is computed from them.
    Deterministic,
}

impl TokenType {
    const ALL: [Self; 5] = [
        Self::Pci,
        Self::PciOneway,
        Self::Pointer,
        Self::Randomized,
        Self::Deterministic,
    ];

    /// The word on the wire, which is also the class of the engine's tokens.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pci => "pci",
            Self::PciOneway => "pci_oneway",
            Self::Pointer => "pointer",
            Self::Randomized => "randomized",
            Self::Deterministic => "deterministic",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// Where values come from: exactly one of these.
#[derive(Clone, PartialEq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum InputObject {
    /// The ID of a stored object.
    Id(Uuid),
    /// Values that conform to the schema, not necessarily all of them.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    Fields(Map<String, Value>),
    /// Output of encrypt. Not served yet: 501.
    Encrypted(EncryptedObject),
    /// The index of another entry of the same request; only in tokenize.
    RequestIndex(usize),
}

/// An encrypted object.
#[derive(Clone, PartialEq, Eq, ToSchema)]
pub(super) struct EncryptedObject {
    /// In base64.
    pub(super) ciphertext: String,
    /// The scope it was encrypted with; the ciphertext's own if absent.
    #[schema(value_type = String, required = false)]
    pub(super) scope: Option<String>,
}

impl fmt::Debug for InputObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id(_) => "Id",
            Self::Fields(_) => "Fields",
            Self::Encrypted(_) => "Encrypted",
            Self::RequestIndex(_) => "RequestIndex",
        })
    }
}

impl InputObject {
    fn read(value: &Value, place: &str) -> Result<Self, Failure> {
        let known = ["id", "fields", "encrypted", "request_index"];
        let fields = Fields::of(value, place, &known)?;
        if fields.len() != 1 {
            let rule = "must have exactly one of id, fields, encrypted and request_index";
            return Err(Failure::invalid(place, rule));
        }
        if let Some(text) = fields.text("id")? {
            let id = uuid(text).ok_or_else(|| fields.refuse("id", "must be a UUID"))?;
            return Ok(Self::Id(id));
        }
        if let Some(value) = fields.get("encrypted") {
            let place = fields.at("encrypted");
            let encrypted = Fields::of(value, &place, &["ciphertext", "scope"])?;
            let ciphertext = encrypted
                .text("ciphertext")?
                .ok_or_else(|| encrypted.refuse("ciphertext", "must be given"))?;
            return Ok(Self::Encrypted(EncryptedObject {
                ciphertext: ciphertext.to_owned(),
                scope: encrypted.text("scope")?.map(str::to_owned),
            }));
        }
        if let Some(index) = fields.get("request_index") {
            let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
            return index
                .map(Self::RequestIndex)
                .ok_or_else(|| fields.refuse("request_index", "must be a whole number from 0"));
        }
        match fields.get("fields") {
            Some(Value::Object(map)) if map.values().any(|value| !value.is_null()) => {
                Ok(Self::Fields(map.clone()))
            }
            Some(Value::Object(_)) => Err(fields.refuse("fields", "must hold a value")),
            _ => Err(fields.refuse("fields", "must be an object")),
        }
    }
}

/// The body of an update of tokens.
#[derive(Debug, Clone, ToSchema)]
pub(super) struct UpdateTokenRequest {
    /// Replace the tags of the tokens; an empty list removes all.
    #[schema(value_type = Vec<String>, required = false, max_items = 10)]
    tags: Option<Vec<String>>,
    /// Those of `tags` that no other token of the tenant may carry.
    #[schema(value_type = Vec<String>, required = false)]
    ensure_unique_tenant_tags: Vec<String>,
    /// The new data of the token, in place of all of the former.
    #[schema(value_type = InputObject, required = false)]
    pub(super) object: Option<InputObject>,
    /// The properties of `object` that become the token's data; all if absent.
    #[schema(value_type = Vec<String>, required = false)]
    pub(super) props: Vec<String>,
}

impl UpdateTokenRequest {
    pub(super) fn read(body: &Value) -> Result<Self, Failure> {
        let known = ["tags", "ensure_unique_tenant_tags", "object", "props"];
        let fields = Fields::of(body, "", &known)?;
        let object = object(&fields)?;
        if matches!(object, Some(InputObject::RequestIndex(_))) {
            return Err(fields.refuse("object.request_index", "has no meaning in an update"));
        }
        let props = props(&fields, "props")?;
        if object.is_none() && fields.get("props").is_some() {
            return Err(fields.refuse("props", "has a meaning only beside object"));
        }
        Ok(Self {
            tags: fields.texts("tags")?,
            ensure_unique_tenant_tags: fields
                .texts("ensure_unique_tenant_tags")?
                .unwrap_or_default(),
            object,
            props,
        })
    }

    /// The tags that replace the present ones; `None` keeps them.
    pub(super) fn tags(&self, max: usize) -> Result<Option<Tags>, Failure> {
        let unique = &self.ensure_unique_tenant_tags;
        if self.tags.is_none() && unique.is_empty() {
            return Ok(None);
        }
        let tags = self.tags.clone().unwrap_or_default();
        checked_tags("", tags, unique.clone(), max).map(Some)
    }
}

/// One token to be made.
#[derive(Debug, Clone, ToSchema)]
pub(super) struct TokenizeRequest {
    /// What the token is to be.
    #[schema(rename = "type")]
    pub(super) kind: TokenType,
    /// Where its values come from.
    pub(super) object: InputObject,
    /// Which of them; all if absent. A stored object's own properties only if they are named.
    #[schema(value_type = Vec<String>, required = false)]
    pub(super) props: Vec<String>,
    /// The token's ID, at most 128 of letters, digits, `-` and `_`; not together with `fptemplate`.
    #[schema(value_type = String, required = false)]
    pub(super) token_id: Option<String>,
    /// Within which the same values are the same token; across collections if it begins with `global:`.
    #[schema(value_type = String, required = false, default = "default")]
    pub(super) scope: String,
    /// The tags of the token; appended if it exists.
    #[schema(value_type = Vec<String>, required = false, max_items = 10)]
    tags: Vec<String>,
    /// Those of `tags` that no other token of the tenant may carry.
    #[schema(value_type = Vec<String>, required = false)]
    ensure_unique_tenant_tags: Vec<String>,
    /// Whether `fields` are also stored as a new object, which then owns the token.
    #[schema(value_type = bool, required = false, default = false)]
    pub(super) store_object: bool,
    /// The form of the token's ID: `primary_account_number`, or a UUID if absent.
    #[schema(value_type = String, required = false)]
    pub(super) fptemplate: Option<&'static str>,
    /// The properties that the form is taken from.
    #[schema(value_type = Vec<String>, required = false)]
    pub(super) fpprops: Vec<String>,
}

/// The body of a tokenization.
pub(super) fn read_tokenize(body: &Value) -> Result<Vec<TokenizeRequest>, Failure> {
    let items = body
        .as_array()
        .ok_or_else(|| Failure::invalid("body", "must be an array"))?;
    if items.is_empty() {
        return Err(Failure::invalid("body", "must have at least one item"));
    }
    if items.len() > limits::ISSUED_PER_CALL_MAX {
        return Err(Error::TooMany {
            what: "tokens to be made",
            max: limits::ISSUED_PER_CALL_MAX,
        }
        .into());
    }
    let requests = items
        .iter()
        .enumerate()
        .map(|(index, item)| TokenizeRequest::read(item, &format!("[{index}]")));
    requests.collect()
}

impl TokenizeRequest {
    /// Characters of a scope. Choice: the product documents none.
    const SCOPE_CHARS_MAX: usize = 256;

    fn read(value: &Value, place: &str) -> Result<Self, Failure> {
        let known = [
            "type",
            "object",
            "props",
            "token_id",
            "scope",
            "tags",
            "ensure_unique_tenant_tags",
            "store_object",
            "fptemplate",
            "fpprops",
        ];
        let fields = Fields::of(value, place, &known)?;
        let kind = fields
            .text("type")?
            .and_then(TokenType::from_name)
            .ok_or_else(|| {
                let rule = "must be one of pci, pci_oneway, pointer, randomized and deterministic";
                fields.refuse("type", rule)
            })?;
        let object = object(&fields)?.ok_or_else(|| fields.refuse("object", "must be given"))?;
        let scope = match fields.text("scope")? {
            None | Some("") => "default",
            Some(scope) if scope.chars().count() <= Self::SCOPE_CHARS_MAX => scope,
            Some(_) => {
                let rule = format!("has at most {} characters", Self::SCOPE_CHARS_MAX);
                return Err(fields.refuse("scope", &rule));
            }
        };
        let request = Self {
            kind,
            object,
            props: props(&fields, "props")?,
            token_id: fields.text("token_id")?.map(str::to_owned),
            scope: scope.to_owned(),
            tags: fields.texts("tags")?.unwrap_or_default(),
            ensure_unique_tenant_tags: fields
                .texts("ensure_unique_tenant_tags")?
                .unwrap_or_default(),
            store_object: fields.flag("store_object")?.unwrap_or(false),
            fptemplate: template(&fields)?,
            fpprops: props(&fields, "fpprops")?,
        };
        request.check(&fields)?;
        Ok(request)
    }

    /// The tags of the entry with this index.
    pub(super) fn tags(&self, index: usize, max: usize) -> Result<Tags, Failure> {
        let unique = self.ensure_unique_tenant_tags.clone();
        checked_tags(&format!("[{index}]."), self.tags.clone(), unique, max)
    }

    /// Rules between the fields.
    fn check(&self, fields: &Fields<'_>) -> Result<(), Failure> {
        if let Some(id) = &self.token_id {
            let fits = (1..=limits::EXTERNAL_ID_CHARS_MAX).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            if !fits {
                let rule = "must be 1 to 128 letters, digits, dashes and underscores";
                return Err(fields.refuse("token_id", rule));
            }
            if self.fptemplate.is_some() || !self.fpprops.is_empty() {
                let rule = "cannot be given together with fptemplate or fpprops";
                return Err(fields.refuse("token_id", rule));
            }
        }
        if self.fptemplate.is_some() == self.fpprops.is_empty() {
            let rule = "must be given together with fptemplate, and only then";
            return Err(fields.refuse("fpprops", rule));
        }
        let is_fields = matches!(self.object, InputObject::Fields(_));
        if self.store_object && !is_fields {
            return Err(fields.refuse("store_object", "must come with object.fields"));
        }
        if self.kind == TokenType::Pointer && is_fields && !self.store_object {
            let rule = "must be a stored object, because a pointer reads it later";
            return Err(fields.refuse("object", rule));
        }
        Ok(())
    }
}

fn object(fields: &Fields<'_>) -> Result<Option<InputObject>, Failure> {
    fields
        .get("object")
        .map(|value| InputObject::read(value, &fields.at("object")))
        .transpose()
}

/// Names of properties, each once. Empty is the same as absent.
fn props(fields: &Fields<'_>, name: &str) -> Result<Vec<String>, Failure> {
    let mut props: Vec<String> = Vec::new();
    for prop in fields.criteria(name)? {
        if !is_property_name(&prop) {
            return Err(fields.refuse(name, "must be names of properties"));
        }
        if !props.contains(&prop) {
            props.push(prop);
        }
    }
    Ok(props)
}

fn checked_tags(
    place: &str,
    tags: Vec<String>,
    unique: Vec<String>,
    max: usize,
) -> Result<Tags, Failure> {
    Tags::new(tags, unique, max).map_err(|error| match error {
        Error::Invalid { field, message } => {
            let name = match field {
                "unique_tags" => "ensure_unique_tenant_tags",
                other => other,
            };
            Failure::invalid(&format!("{place}{name}"), &format!("is refused: {message}"))
        }
        other => other.into(),
    })
}

fn template(fields: &Fields<'_>) -> Result<Option<&'static str>, Failure> {
    match fields.text("fptemplate")? {
        None => Ok(None),
        Some(name) => Template::from_name(name)
            .map(|template| Some(template.name()))
            .ok_or_else(|| fields.refuse("fptemplate", "must be primary_account_number")),
    }
}

/// What a search selects by: at least one of the lists must have an item.
#[derive(Debug, Clone, Default, PartialEq, Eq, ToSchema)]
pub(super) struct QueryToken {
    /// Tokens of any of these objects, all of which must exist.
    #[schema(value_type = Vec<Uuid>, required = false, max_items = 1000)]
    pub(super) object_ids: Vec<Uuid>,
    /// Tokens with any of these IDs.
    #[schema(value_type = Vec<String>, required = false, max_items = 1000)]
    pub(super) token_ids: Vec<String>,
    /// Tokens with at least all of these tags.
    #[schema(value_type = Vec<String>, required = false, max_items = 1000)]
    pub(super) tags: Vec<String>,
}

impl QueryToken {
    pub(super) fn read(body: &Value) -> Result<Self, Failure> {
        let fields = Fields::of(body, "", &["object_ids", "token_ids", "tags"])?;
        Ok(Self {
            object_ids: fields.uuids("object_ids")?,
            token_ids: fields.criteria("token_ids")?,
            tags: fields.criteria("tags")?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ID: &str = "cc9a39c5-4734-4786-b317-e16705d5128f";

    /// The field that a refusal names.
    fn named(failure: &Failure) -> String {
        let text = format!("{failure:?}");
        assert!(text.contains("PV1012"), "{text}");
        let after = text.split("context: [(\"").nth(1).unwrap();
        after.split('"').next().unwrap().to_owned()
    }

    #[test]
    fn an_update_may_be_empty_and_is_strict_otherwise() {
        let read = |body: &Value| {
            UpdateTokenRequest::read(body).and_then(|request| request.tags(10).map(|_| request))
        };
        let nothing = read(&json!({})).unwrap();
        assert!(nothing.object.is_none() && nothing.tags(10).unwrap().is_none());
        let none = read(&json!({"tags": []})).unwrap();
        assert!(
            none.tags(10).unwrap().unwrap().all().is_empty(),
            "removes all"
        );
        let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        for (body, field) in [
            (json!([]), "body"),
            (json!(null), "body"),
            (json!({"tag": ["x"]}), "tag"),
            (json!({"tags": null}), "tags"),
            (json!({"tags": "x"}), "tags"),
            (json!({"tags": [1]}), "tags"),
            (json!({"tags": [""]}), "tags"),
            (json!({"tags": eleven}), "tags"),
            (json!({"tags": ["x".repeat(257)]}), "tags"),
            (
                json!({"tags": ["a"], "ensure_unique_tenant_tags": ["b"]}),
                "ensure_unique_tenant_tags",
            ),
            (
                json!({"ensure_unique_tenant_tags": ["b"]}),
                "ensure_unique_tenant_tags",
            ),
            (json!({"props": ["a"]}), "props"),
            (json!({"object": null}), "object"),
            (json!({"object": {}}), "object"),
            (json!({"object": {"id": ID, "fields": {}}}), "object"),
            (json!({"object": {"id": "7"}}), "object.id"),
            (json!({"object": {"fields": {}}}), "object.fields"),
            (json!({"object": {"fields": {"a": null}}}), "object.fields"),
            (
                json!({"object": {"request_index": 0}}),
                "object.request_index",
            ),
            (
                json!({"object": {"request_index": -1}}),
                "object.request_index",
            ),
            (
                json!({"object": {"encrypted": {}}}),
                "object.encrypted.ciphertext",
            ),
            (
                json!({"object": {"encrypted": {"ciphertext": "A", "key": "x"}}}),
                "object.encrypted.key",
            ),
            (json!({"object": {"id": ID}, "props": ["a.mask"]}), "props"),
        ] {
            assert_eq!(named(&read(&body).unwrap_err()), field, "{body}");
        }
    }

    #[test]
    fn entries_to_tokenize_are_checked_against_themselves() {
        let entry = |more: Value| {
            let mut entry = json!({"type": "pci", "object": {"fields": {"a": 1}}});
            for (key, value) in more.as_object().unwrap() {
                entry[key] = value.clone();
            }
            json!([{"type": "randomized", "object": {"id": ID}}, entry])
        };
        let plain = read_tokenize(&entry(json!({}))).unwrap();
        assert_eq!((plain.len(), plain[1].scope.as_str()), (2, "default"));
        assert!(read_tokenize(&entry(json!({"type": "pointer", "store_object": true}))).is_ok());
        assert!(read_tokenize(&entry(json!({"token_id": "x".repeat(128)}))).is_ok());
        for (more, field) in [
            (json!({"type": "VALUE"}), "[1].type"),
            (json!({"oneway": true}), "[1].oneway"),
            (json!({"type": "pointer"}), "[1].object"),
            (json!({"store_object": 1}), "[1].store_object"),
            (
                json!({"object": {"id": ID}, "store_object": true}),
                "[1].store_object",
            ),
            (json!({"token_id": ""}), "[1].token_id"),
            (json!({"token_id": "x".repeat(129)}), "[1].token_id"),
            (json!({"token_id": "a b"}), "[1].token_id"),
            (
                json!({"token_id": "a", "fptemplate": "primary_account_number", "fpprops": ["a"]}),
                "[1].token_id",
            ),
            (
                json!({"fptemplate": "iban", "fpprops": ["a"]}),
                "[1].fptemplate",
            ),
            (
                json!({"fptemplate": "primary_account_number"}),
                "[1].fpprops",
            ),
            (json!({"fpprops": ["a"]}), "[1].fpprops"),
            (json!({"scope": "x".repeat(257)}), "[1].scope"),
            (json!({"scope": "a\u{0}"}), "[1].scope"),
        ] {
            let body = entry(more);
            assert_eq!(named(&read_tokenize(&body).unwrap_err()), field, "{body}");
        }
        assert!(read_tokenize(&json!([])).is_err() && read_tokenize(&json!({})).is_err());
        let many = vec![json!({}); limits::ISSUED_PER_CALL_MAX + 1];
        assert!(format!("{:?}", read_tokenize(&json!(many)).unwrap_err()).contains("TH1003"));
    }

    #[test]
    fn debug_shows_no_value() {
        let body = json!([{"type": "pci", "object": {"fields": {"ssn": "123-12-1234"}}}]);
        let text = format!("{:?}", read_tokenize(&body).unwrap());
        assert!(text.contains("Fields") && !text.contains("1234"), "{text}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\":,a-z_ 0-9]{0,80}", word: String, number: i64) {
            let odd = json!({"tags": [word], "props": word, "object": {"request_index": number}});
            let entry = json!([{"type": word, "object": {"id": word}, "scope": word, "tags": word}]);
            let parsed = serde_json::from_str::<Value>(&text).unwrap_or(Value::Null);
            for body in [odd, entry, parsed] {
                let _ = (UpdateTokenRequest::read(&body), read_tokenize(&body), QueryToken::read(&body));
            }
        }
    }
}
