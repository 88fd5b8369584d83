//! A client of the Piiano API: it tags its own data token anew again and again.
//!
//! The one thing to know: the number of the step is the tag, so that what is there says which step it is from.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Numbers, Writer};
use crate::connection::Connection;

/// The administrator's key.
pub(super) const KEY: &str = "Crash-test-admin-key-1";
const BEARER: &str = "Bearer Crash-test-admin-key-1";
const COLLECTION: &str = "/api/pvlt/1.0/data/collections/customers";
const CLIENTS: usize = 2;

struct Tag {
    token_id: String,
    numbers: Numbers,
}

pub(super) async fn writers(server: &mut Connection) -> Vec<Box<dyn Writer>> {
    assert_eq!(BEARER.strip_prefix("Bearer "), Some(KEY));
    let schema = json!({"name": "customers", "type": "DATA",
        "properties": [{"name": "email", "data_type_name": "EMAIL"}]});
    let path = "/api/pvlt/1.0/ctl/collections";
    let made = server.expect(200, "POST", path, BEARER, Some(schema)).await;
    assert!(made.is_some());
    let mut writers: Vec<Box<dyn Writer>> = Vec::new();
    for number in 0..CLIENTS {
        let body = json!([{"type": "randomized", "tags": ["n0"],
            "object": {"fields": {"email": format!("w{number}@example.com")}}}]);
        let path = format!("{COLLECTION}/tokens?reason=AppFunctionality");
        let made = server.expect(200, "POST", &path, BEARER, Some(body)).await;
        writers.push(Box::new(Tag {
            token_id: made.unwrap()[0]["token_id"].as_str().unwrap().to_owned(),
            numbers: Numbers::default(),
        }));
    }
    writers
}

impl Tag {
    async fn patch(&self, server: &mut Connection, tags: Value, expected: u16) -> Option<()> {
        let id = &self.token_id;
        let path = format!("{COLLECTION}/tokens?reason=AppFunctionality&token_ids={id}");
        let body = Some(json!({ "tags": tags }));
        let answer = server.expect(expected, "PATCH", &path, BEARER, body).await;
        answer.map(|_| ())
    }
}

#[async_trait]
impl Writer for Tag {
    async fn step(&mut self, server: &mut Connection) -> Option<()> {
        let tags = json!([format!("n{}", self.numbers.attempt())]);
        self.patch(server, tags, 200).await?;
        self.numbers.acknowledge();
        Some(())
    }

    async fn refused(&mut self, server: &mut Connection) -> Option<()> {
        self.patch(server, json!(["refused", ""]), 400).await
    }

    async fn check(&mut self, server: &mut Connection) {
        let path = format!("{COLLECTION}/query/tokens?reason=AppFunctionality");
        let body = json!({"token_ids": [self.token_id]});
        let found = server.expect(200, "POST", &path, BEARER, Some(body)).await;
        let found = found.unwrap();
        let tags = found[0]["tokens"][0]["tags"].as_array().unwrap();
        assert_eq!(tags.len(), 1, "{tags:?}");
        let number = tags[0].as_str().unwrap().strip_prefix('n').unwrap();
        self.numbers.settle(number.parse().unwrap());
    }
}
