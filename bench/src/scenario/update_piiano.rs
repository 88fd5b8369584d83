//! `PATCH /api/pvlt/1.0/data/collections/{collection}/tokens` with new tags for one token, selected by its id.
//!
//! The one thing to know: the token is owned by a stored object, so that object and collection are looked at too, as for
//! a real vault's tokens.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::Error;
use crate::client::{Connection, Outgoing};

/// The admin key that a development server knows from its start.
const ADMIN: &str = "Bearer pvaultauth";
const COLLECTION: &str = "bench";
const REASON: &str = "reason=AppFunctionality";
/// The tag at creation; request number *n* sets `a` followed by *n*, so that the
/// tag that is found afterwards names the request that set it.
const TAG: &str = "a";

#[derive(Debug)]
pub(crate) struct UpdatePiiano {
    token_id: String,
    path: String,
}

impl UpdatePiiano {
    /// Creates a collection with one property, an object, and a token of it.
    pub(crate) async fn prepare(connection: &mut Connection) -> Result<Self, Error> {
        let collection = json!({
            "name": COLLECTION,
            "type": "PERSONS",
            "properties": [{ "name": "email", "data_type_name": "EMAIL" }],
        });
        let request = call(Method::POST, "/api/pvlt/1.0/ctl/collections", &collection);
        connection
            .prepare("creation of the Piiano collection", request, StatusCode::OK)
            .await?;

        let step = "creation of the Piiano object";
        let path = data_path(&format!("objects?{REASON}"));
        let request = call(
            Method::POST,
            &path,
            &json!({ "email": "bench@example.com" }),
        );
        let object = connection.prepare(step, request, StatusCode::OK).await?;
        let object_id = text(step, &object["id"])?;

        let step = "creation of the Piiano token";
        let path = data_path(&format!("tokens?{REASON}"));
        let tokenize = json!([{
            "type": "randomized",
            "object": { "id": object_id },
            "props": ["email"],
            "tags": [TAG],
        }]);
        let request = call(Method::POST, &path, &tokenize);
        let tokens = connection.prepare(step, request, StatusCode::OK).await?;
        let token_id = text(step, &tokens[0]["token_id"])?;

        let path = data_path(&format!("tokens?token_ids={token_id}&{REASON}"));
        Ok(Self { token_id, path })
    }

    pub(crate) fn request(&self, sequence: u64) -> Outgoing {
        call(
            Method::PATCH,
            &self.path,
            &json!({ "tags": [format!("{TAG}{sequence}")] }),
        )
    }

    /// The token carries exactly the tag of one of the requests.
    pub(crate) async fn confirm(
        &self,
        connection: &mut Connection,
        issued: u64,
    ) -> Result<(), Error> {
        let step = "search of the Piiano token";
        let path = data_path(&format!("query/tokens?{REASON}"));
        let request = call(
            Method::POST,
            &path,
            &json!({ "token_ids": [self.token_id] }),
        );
        let found = connection.prepare(step, request, StatusCode::OK).await?;
        let tags = &found[0]["tokens"][0]["tags"];
        let only = tags
            .as_array()
            .filter(|tags| tags.len() == 1)
            .and_then(|tags| tags[0].as_str());
        let number = only
            .and_then(|tag| tag.strip_prefix(TAG))
            .map(str::parse::<u64>);
        match number {
            Some(Ok(sequence)) if sequence < issued => Ok(()),
            _ => Err(
                format!("{step}: after {issued} acknowledged updates the tags are {tags}").into(),
            ),
        }
    }
}

fn data_path(rest: &str) -> String {
    format!("/api/pvlt/1.0/data/collections/{COLLECTION}/{rest}")
}

fn text(step: &str, value: &Value) -> Result<String, Error> {
    let text = value
        .as_str()
        .ok_or_else(|| format!("{step}: the answer has no id"))?;
    Ok(text.to_owned())
}

fn call(method: Method, path: &str, body: &Value) -> Outgoing {
    Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, ADMIN)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("the ids of a vault are plain in a URI")
}
