//! `POST /edge/validate` with one token: the shortest way through the server to the live index and back.
//!
//! The one thing to know: it needs no credentials, so nothing but the token in the body is looked up.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};

use crate::Error;
use crate::client::{Connection, Outgoing};

/// The client token that a development server knows from its start.
const TOKEN: &str = "default:development.unleash-client-token";

#[derive(Debug)]
pub(crate) struct Verify {
    body: Bytes,
    answer_bytes: usize,
}

impl Verify {
    /// Asks once and takes the size of the good answer as the measure of all
    /// later ones.
    pub(crate) async fn prepare(connection: &mut Connection) -> Result<Self, Error> {
        let mut scenario = Self {
            body: serde_json::json!({ "tokens": [TOKEN] }).to_string().into(),
            answer_bytes: 0,
        };
        let answer = connection.exchange(scenario.request()).await?;
        let found: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        if found.is_none_or(|found| found["tokens"][0]["token"] != TOKEN) {
            return Err(format!(
                "verify: the development token is not confirmed: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            )
            .into());
        }
        scenario.answer_bytes = answer.body.len();
        Ok(scenario)
    }

    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    pub(crate) fn request(&self) -> Outgoing {
        Request::builder()
            .method(Method::POST)
            .uri("/edge/validate")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))
            .expect("the parts of this request are constants")
    }
}
