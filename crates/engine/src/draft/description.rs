//! What events say of a row, before and after.
//!
//! The one thing to know: nothing here is a secret, a value or a digest of one; whatever is added to a row stays out of events
//! until it is named here.

use serde_json::{Value as Json, json};

use crate::event::{Change, Subject};
use crate::record::Record;
use crate::token::{Body, Token};
use crate::value::Value;

/// Keeps of two descriptions only what differs.
pub(super) fn change(
    subject: Subject,
    id: uuid::Uuid,
    before: Option<(u64, Json)>,
    after: Option<(u64, Json)>,
) -> Change {
    let version = after
        .as_ref()
        .or(before.as_ref())
        .map_or(0, |(version, _)| *version);
    let (mut before, mut after) = (
        before.map_or(Json::Null, |(_, json)| json),
        after.map_or(Json::Null, |(_, json)| json),
    );
    if let (Some(old), Some(new)) = (before.as_object_mut(), after.as_object_mut()) {
        let same: Vec<String> = old
            .iter()
            .filter(|(key, value)| new.get(*key) == Some(value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in same {
            old.shift_remove(&key);
            new.shift_remove(&key);
        }
    }
    Change {
        subject,
        id,
        version,
        before,
        after,
    }
}

/// A token in an event: without proof, sealed secret or value.
pub(super) fn describe_token(token: &Token) -> Json {
    let mut json = json!({
        "class": token.class,
        "container": token.container,
        "parent": token.parent,
        "name": token.name,
        "tags": token.tags,
        "tenant": token.tenant,
        "state": token.state,
        "expires_at": token.expires_at.map(|at| at.to_string()),
        "attributes": token.attributes,
    });
    match &token.body {
        Body::Access(access) => {
            json["uses_max"] = json!(access.uses_max);
            json["permissions"] = json!(access.permissions);
            json["addresses"] = json!(access.addresses);
        }
        Body::Data(data) => json["value"] = json!(data.value),
    }
    json
}

/// A value in an event: which one and of what kind, never its content or a digest of it.
pub(super) fn describe_value(value: &Value) -> Json {
    json!({
        "version": value.version,
        "class": value.class,
        "container": value.container,
        "refers_to": value.refers_to,
        "body": value.body,
    })
}

/// A record in an event: its body is in clear, so a dialect puts nothing confidential there.
pub(super) fn describe_record(record: &Record) -> Json {
    json!({
        "kind": record.kind,
        "parent": record.parent,
        "state": record.state,
        "expires_at": record.expires_at.map(|at| at.to_string()),
        "addresses": record.addresses,
        "body": record.body,
    })
}
