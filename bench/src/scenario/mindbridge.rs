//! MindBridge: `GET /api/v1/api-tokens/current`, by which its clients learn what a token is, and `PUT
//! /api/v1/api-tokens/{id}` with a new name, guarded by the version.
//!
//! The one thing to know: a guarded update cannot be repeated by many at once on one token (all but one would be refused,
//! rightly), so the updates go round many tokens: so many that no two requests for the same one are under way together.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::Error;
use crate::client::{Connection, Outgoing};

/// The token that a development server knows from its start.
const ROOT: &str = "mindbridge-dev-token";
const TOKENS: &str = "/api/v1/api-tokens";
const CURRENT: &str = "/api/v1/api-tokens/current";
/// A request would have to be overtaken by as many others before the version of
/// the next one for its token were stale.
const COUNT: usize = 2_000;
/// A date without a fraction of a second is that much shorter than one with
/// microseconds, which most have.
const DATE_BYTES_LESS: usize = 7;
/// Digits by which a version can grow: more updates than a run can make.
const VERSION_BYTES_MORE: usize = 8;

/// A token is shown and told what it is.
#[derive(Debug)]
pub(crate) struct VerifyMindbridge {
    secret: String,
    answer_bytes: usize,
}

/// Tokens are renamed by another one.
#[derive(Debug)]
pub(crate) struct UpdateMindbridge {
    ids: Vec<String>,
    answer_bytes: usize,
}

impl VerifyMindbridge {
    /// Makes a token and asks once; the size of the good answer is that of all
    /// later ones.
    pub(crate) async fn prepare(connection: &mut Connection) -> Result<Self, Error> {
        let expiry = expiry(connection).await?;
        let made = create(connection, "bench verify", &expiry).await?;
        let secret = made["token"].as_str();
        let secret = secret.ok_or("creation of a MindBridge token: the answer has no secret")?;
        let mut scenario = Self {
            secret: secret.to_owned(),
            answer_bytes: 0,
        };
        let answer = connection.exchange(scenario.request()).await?;
        let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
        if found.is_none_or(|found| found["id"] != made["id"]) {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("verify mindbridge: {} {body}", answer.status).into());
        }
        scenario.answer_bytes = answer.body.len();
        Ok(scenario)
    }

    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    pub(crate) fn request(&self) -> Outgoing {
        get(CURRENT, &self.secret)
    }
}

impl UpdateMindbridge {
    /// Creates the tokens. An answer to an update is as large as that to a read.
    pub(crate) async fn prepare(connection: &mut Connection) -> Result<Self, Error> {
        let expiry = expiry(connection).await?;
        let mut scenario = Self {
            ids: Vec::with_capacity(COUNT),
            answer_bytes: 0,
        };
        for index in 0..COUNT {
            let made = create(connection, &name(index, 0), &expiry).await?;
            let id = made["id"].as_str();
            let id = id.ok_or("creation of a MindBridge token: the answer has no id")?;
            scenario.ids.push(id.to_owned());
        }
        let first = get(&scenario.path(0), ROOT);
        scenario.answer_bytes = connection.exchange(first).await?.body.len();
        Ok(scenario)
    }

    pub(crate) fn title(&self) -> String {
        let count = self.ids.len();
        format!(
            "update mindbridge: PUT {TOKENS}/{{id}}, name guarded by version, spread over {count} tokens"
        )
    }

    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Whether an answer may be of this size: dates and versions vary.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        let least = self.answer_bytes.saturating_sub(DATE_BYTES_LESS);
        (least..=self.answer_bytes + DATE_BYTES_LESS + VERSION_BYTES_MORE).contains(&bytes)
    }

    /// Number *n* is the (*n* / count)-th update of its token, which names the
    /// version that the one before has made.
    pub(crate) fn request(&self, sequence: u64) -> Outgoing {
        let (index, round) = self.turn(sequence);
        let body = json!({ "version": round + 1, "name": name(index, round + 1) });
        call(Method::PUT, &self.path(index), &body)
    }

    /// Every token has had all of its updates, in their order: its version is
    /// one more than they are, its name that of the last.
    pub(crate) async fn confirm(
        &self,
        connection: &mut Connection,
        issued: u64,
    ) -> Result<(), Error> {
        let (extra, rounds) = self.turn(issued);
        for index in 0..self.ids.len() {
            let updates = rounds + u64::from(index < extra);
            let step = format!("look-up of MindBridge token {index}");
            let request = get(&self.path(index), ROOT);
            let found = connection.prepare(&step, request, StatusCode::OK).await?;
            let (version, found) = (&found["version"], &found["name"]);
            if *version != updates + 1 || *found != name(index, updates) {
                return Err(format!(
                    "{step}: after {issued} acknowledged updates, {updates} of them of this one, \
                     the version is {version} and the name {found}"
                )
                .into());
            }
        }
        Ok(())
    }

    fn path(&self, index: usize) -> String {
        format!("{TOKENS}/{}", self.ids[index])
    }

    /// Which token a request is for, and how many requests for it came before.
    fn turn(&self, sequence: u64) -> (usize, u64) {
        let count = u64::try_from(self.ids.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(sequence % count);
        let index = index.expect("a remainder by a length is an index");
        (index, sequence / count)
    }
}

/// An end that a token may have: that of the token that is there already, since
/// there is no clock to ask.
async fn expiry(connection: &mut Connection) -> Result<Value, Error> {
    let step = "look-up of the MindBridge development token";
    let request = get(CURRENT, ROOT);
    let mut found = connection.prepare(step, request, StatusCode::OK).await?;
    Ok(found["expiry"].take())
}

async fn create(connection: &mut Connection, name: &str, expiry: &Value) -> Result<Value, Error> {
    let step = format!("creation of the MindBridge token {name}");
    let permissions = ["api.api-tokens.read", "api.users.read"];
    let body = json!({ "name": name, "expiry": expiry, "permissions": permissions });
    let request = call(Method::POST, TOKENS, &body);
    connection
        .prepare(&step, request, StatusCode::CREATED)
        .await
}

/// Of one length, so that answers are.
fn name(index: usize, update: u64) -> String {
    format!("bench {index:04} {update:010}")
}

fn get(path: &str, secret: &str) -> Outgoing {
    Request::builder()
        .uri(path)
        .header(AUTHORIZATION, format!("Bearer {secret}"))
        .body(Full::default())
        .expect("ids and secrets are letters and digits")
}

fn call(method: Method, path: &str, body: &Value) -> Outgoing {
    Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, format!("Bearer {ROOT}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("ids are letters and digits")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fake::{self, Manners};

    #[tokio::test]
    async fn each_request_names_the_version_that_the_one_before_has_made() {
        let address = fake::serve(fake::router(Manners::Good)).await;
        let mut connection = Connection::open(address).await.unwrap();
        let scenario = UpdateMindbridge::prepare(&mut connection).await.unwrap();
        let issued = u64::try_from(COUNT).unwrap() + 2;
        for sequence in 0..issued {
            let answer = connection
                .exchange(scenario.request(sequence))
                .await
                .unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{sequence}");
        }
        scenario.confirm(&mut connection, issued).await.unwrap();
        // One more is promised than was done.
        let missed = scenario.confirm(&mut connection, issued + 1).await;
        let missed = missed.unwrap_err().to_string();
        assert!(missed.contains("token 2: after 2003"), "{missed}");
        // The same again is stale.
        let again = connection.exchange(scenario.request(0)).await.unwrap();
        assert_eq!(again.status, StatusCode::CONFLICT);
    }

    #[test]
    fn only_dates_and_versions_may_vary() {
        let scenario = UpdateMindbridge {
            ids: Vec::new(),
            answer_bytes: 500,
        };
        assert!(
            [493, 500, 507, 515]
                .into_iter()
                .all(|bytes| scenario.fits(bytes))
        );
        assert!(![0, 492, 516].into_iter().any(|bytes| scenario.fits(bytes)));
    }
}
