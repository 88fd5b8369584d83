//! A client of the Unleash API: it prolongs its own token again and again.
//!
//! The one thing to know: the number of the step is the expiry, so that what is there says which step it is from.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Numbers, Writer};
use crate::connection::Connection;

/// The first start's admin token.
pub(super) const ADMIN: &str = "*:*.crash-test-admin-token";
const TOKENS: &str = "/api/admin/api-tokens";
const CLIENTS: usize = 2;

struct Prolong {
    secret: String,
    numbers: Numbers,
}

pub(super) async fn writers(server: &mut Connection) -> Vec<Box<dyn Writer>> {
    let mut writers: Vec<Box<dyn Writer>> = Vec::new();
    for number in 0..CLIENTS {
        let body = json!({"tokenName": format!("writer-{number}"), "type": "client"});
        let made = server.expect(201, "POST", TOKENS, ADMIN, Some(body)).await;
        writers.push(Box::new(Prolong {
            secret: made.unwrap()["secret"].as_str().unwrap().to_owned(),
            numbers: Numbers::default(),
        }));
    }
    writers
}

/// Decades away, so that the day on which the test runs does not matter.
fn expiry(number: usize) -> Value {
    if number == 0 {
        return Value::Null;
    }
    let (year, second) = (2130 + number / 60, number % 60);
    json!(format!("{year}-01-01T00:00:{second:02}.000Z"))
}

#[async_trait]
impl Writer for Prolong {
    async fn step(&mut self, server: &mut Connection) -> Option<()> {
        let body = json!({"expiresAt": expiry(self.numbers.attempt())});
        let path = format!("{TOKENS}/{}", self.secret);
        server.expect(200, "PUT", &path, ADMIN, Some(body)).await?;
        self.numbers.acknowledge();
        Some(())
    }

    async fn refused(&mut self, server: &mut Connection) -> Option<()> {
        let path = format!("{TOKENS}/{}", self.secret);
        let bad = json!({"expiresAt": "refused"});
        server.expect(400, "PUT", &path, ADMIN, Some(bad)).await?;
        // Only an admin's token opens this door.
        let later = json!({"expiresAt": "2129-01-01T00:00:00Z"});
        let own = self.secret.clone();
        server.expect(403, "PUT", &path, &own, Some(later)).await?;
        Some(())
    }

    async fn check(&mut self, server: &mut Connection) {
        let list = server.expect(200, "GET", TOKENS, ADMIN, None).await;
        let list = list.unwrap();
        let tokens = list["tokens"].as_array().unwrap();
        let own = |token: &&Value| token["secret"] == self.secret.as_str();
        let token = tokens.iter().find(own);
        let token = token.expect("an acknowledged token is there");
        let there = (0..=self.numbers.attempted).find(|one| expiry(*one) == token["expiresAt"]);
        self.numbers
            .settle(there.expect("an expiry that was asked for"));
    }
}
