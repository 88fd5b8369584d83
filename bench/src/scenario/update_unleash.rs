//! `PUT /api/admin/api-tokens/{secret}` with a new expiry, for one token or round robin over many.
//!
//! The one thing to know: one token shows what happens when every write wants the same row, many show what grouping of
//! unrelated writes brings.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::Error;
use crate::client::{Connection, Outgoing};

/// The admin token that a development server knows from its start.
const ADMIN: &str = "*:*.unleash-admin-token";
/// 2040-01-01T00:00:00Z in seconds since 1970. A token is created with this
/// expiry; request number *n* sets it to *n* + 1 seconds later, so that the
/// expiry that is found afterwards names the request that set it.
const FIRST_EXPIRY_SECS: i64 = 2_208_988_800;
/// What a secret may hold unescaped in a path, besides letters and digits.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b':')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

#[derive(Debug)]
pub(crate) struct UpdateUnleash {
    tokens: Vec<Token>,
}

#[derive(Debug)]
struct Token {
    name: String,
    path: String,
}

impl UpdateUnleash {
    /// Creates the tokens.
    pub(crate) async fn prepare(connection: &mut Connection, count: usize) -> Result<Self, Error> {
        let mut tokens = Vec::with_capacity(count);
        for index in 0..count {
            let name = format!("bench-{index}-of-{count}");
            let body = json!({
                "tokenName": name,
                "type": "client",
                "environment": "development",
                "projects": ["default"],
                "expiresAt": expiry(0),
            });
            let step = format!("creation of the Unleash token {name}");
            let request = call(Method::POST, "/api/admin/api-tokens", body.to_string());
            let created = connection
                .prepare(&step, request, StatusCode::CREATED)
                .await?;
            let secret = created["secret"]
                .as_str()
                .ok_or_else(|| format!("{step}: the answer has no secret"))?;
            let path = format!(
                "/api/admin/api-tokens/{}",
                utf8_percent_encode(secret, PATH)
            );
            tokens.push(Token { name, path });
        }
        Ok(Self { tokens })
    }

    pub(crate) fn title(&self) -> String {
        let count = match self.tokens.len() {
            1 => "one token".to_owned(),
            count => format!("spread over {count} tokens"),
        };
        format!("update unleash: PUT /api/admin/api-tokens/{{secret}}, expiry, {count}")
    }

    pub(crate) fn request(&self, sequence: u64) -> Outgoing {
        let token = &self.tokens[self.index(sequence)];
        let body = format!("{{\"expiresAt\":\"{}\"}}", expiry(sequence + 1));
        call(Method::PUT, &token.path, body)
    }

    /// Every token that was updated carries the expiry of one of its own
    /// requests, every other one still the first.
    pub(crate) async fn confirm(
        &self,
        connection: &mut Connection,
        issued: u64,
    ) -> Result<(), Error> {
        for (index, token) in self.tokens.iter().enumerate() {
            let step = format!("look-up of the Unleash token {}", token.name);
            let path = format!("/api/admin/api-tokens/{}", token.name);
            let request = call(Method::GET, &path, String::new());
            let found = connection.prepare(&step, request, StatusCode::OK).await?;
            let written = write_number(&found["tokens"][0]["expiresAt"])
                .ok_or_else(|| format!("{step}: no expiry of this run in {found}"))?;
            let was_updated = u64::try_from(index)? < issued;
            let plausible = match written.checked_sub(1) {
                None => !was_updated,
                Some(sequence) => sequence < issued && self.index(sequence) == index,
            };
            if !plausible {
                return Err(format!(
                    "{step}: after {issued} acknowledged updates the expiry is that of write {written}"
                )
                .into());
            }
        }
        Ok(())
    }

    fn index(&self, sequence: u64) -> usize {
        let count = u64::try_from(self.tokens.len()).unwrap_or(u64::MAX);
        usize::try_from(sequence % count).expect("a remainder by a length is an index")
    }
}

/// The expiry that write number `write` sets; number 0 is the creation.
fn expiry(write: u64) -> Timestamp {
    let seconds = i64::try_from(write).unwrap_or(i64::MAX);
    Timestamp::from_second(FIRST_EXPIRY_SECS.saturating_add(seconds))
        .expect("the year 9999 is more requests away than a run can make")
}

/// The reverse of [`expiry`]; `None` for anything that it cannot have made.
fn write_number(expires_at: &Value) -> Option<u64> {
    let expires_at: Timestamp = expires_at.as_str()?.parse().ok()?;
    u64::try_from(expires_at.as_second() - FIRST_EXPIRY_SECS).ok()
}

fn call(method: Method, path: &str, body: String) -> Outgoing {
    Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, ADMIN)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("the path has been percent-encoded")
}
