//! Infisical: `GET /api/v1/identities/details`, by which its clients learn whether a token is good, and `PATCH
//! /api/v1/auth/token-auth/tokens/{id}` with a new name for one token.
//!
//! The one thing to know: both belong to one set-up, because an instance can be set up only once.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::Error;
use crate::client::{Connection, Outgoing};

/// What names begin with; the number of the write follows in ten digits, so that
/// all answers are of one size and the name that is found afterwards tells which
/// request set it.
const NAME: &str = "n";
const DETAILS: &str = "/api/v1/identities/details";

/// A token is shown and found good. The JWT is checked, and nothing is read but
/// the live index.
#[derive(Debug)]
pub(crate) struct VerifyInfisical {
    jwt: String,
    answer_bytes: usize,
}

/// A token is renamed by an administrator.
#[derive(Debug)]
pub(crate) struct UpdateInfisical {
    admin: String,
    path: String,
    answer_bytes: usize,
}

/// Sets the instance up, with one identity and two tokens of it: one that is
/// verified and one that is renamed. They are not the same, because an answer
/// says how often its token was used and so would grow.
pub(crate) async fn prepare(
    connection: &mut Connection,
) -> Result<(VerifyInfisical, UpdateInfisical), Error> {
    let step = "set-up of Infisical";
    let body = json!({
        "email": "bench@example.com",
        "password": "correct horse battery",
        "organization": "Bench",
    });
    let request = call(Method::POST, "/api/v1/admin/bootstrap", "", &body);
    let set_up = connection.prepare(step, request, StatusCode::OK).await?;
    let admin = text(step, &set_up["identity"]["credentials"]["token"])?;
    let organization = text(step, &set_up["organization"]["id"])?;

    let step = "creation of the Infisical identity";
    let body = json!({ "name": "bench", "organizationId": organization, "role": "member" });
    let request = call(Method::POST, "/api/v1/identities", &admin, &body);
    let made = connection.prepare(step, request, StatusCode::OK).await?;
    let identity = text(step, &made["identity"]["id"])?;

    let auth = format!("/api/v1/auth/token-auth/identities/{identity}");
    let request = call(Method::POST, &auth, &admin, &json!({}));
    let step = "Token Auth of the Infisical identity";
    connection.prepare(step, request, StatusCode::OK).await?;

    let step = "creation of an Infisical token";
    let mint = || call(Method::POST, &format!("{auth}/tokens"), &admin, &json!({}));
    let made = connection.prepare(step, mint(), StatusCode::OK).await?;
    let jwt = text(step, &made["accessToken"])?;
    let made = connection.prepare(step, mint(), StatusCode::OK).await?;
    let id = text(step, &made["tokenData"]["id"])?;

    let mut verify = VerifyInfisical {
        jwt,
        answer_bytes: 0,
    };
    let mut update = UpdateInfisical {
        admin,
        path: format!("/api/v1/auth/token-auth/tokens/{id}"),
        answer_bytes: 0,
    };
    verify.answer_bytes = verify.check(connection, &organization).await?;
    update.answer_bytes = update.check(connection).await?;
    Ok((verify, update))
}

impl VerifyInfisical {
    /// Asks once; the size of the good answer is that of all later ones.
    async fn check(&self, connection: &mut Connection, organization: &str) -> Result<usize, Error> {
        let answer = connection.exchange(self.request()).await?;
        let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
        if found.is_none_or(|found| found["identityDetails"]["organization"]["id"] != organization)
        {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("verify infisical: {} {body}", answer.status).into());
        }
        Ok(answer.body.len())
    }

    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    pub(crate) fn request(&self) -> Outgoing {
        bearer(Method::GET, DETAILS, &self.jwt)
            .body(Full::default())
            .expect("a JWT is plain in a header")
    }
}

impl UpdateInfisical {
    async fn check(&self, connection: &mut Connection) -> Result<usize, Error> {
        let answer = connection.exchange(self.request(0)).await?;
        if answer.status != StatusCode::OK {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("update infisical: {} {body}", answer.status).into());
        }
        Ok(answer.body.len())
    }

    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    pub(crate) fn request(&self, sequence: u64) -> Outgoing {
        let body = json!({ "name": format!("{NAME}{sequence:010}") });
        call(Method::PATCH, &self.path, &self.admin, &body)
    }

    /// The token carries the name that one of the requests gave it.
    pub(crate) async fn confirm(
        &self,
        connection: &mut Connection,
        issued: u64,
    ) -> Result<(), Error> {
        let step = "look-up of the Infisical token";
        let request = bearer(Method::GET, &self.path, &self.admin)
            .body(Full::default())
            .expect("a JWT is plain in a header");
        let found = connection.prepare(step, request, StatusCode::OK).await?;
        let name = &found["token"]["name"];
        let number = name.as_str().and_then(|name| name.strip_prefix(NAME));
        match number.map(str::parse::<u64>) {
            Some(Ok(sequence)) if sequence < issued => Ok(()),
            _ => Err(
                format!("{step}: after {issued} acknowledged updates the name is {name}").into(),
            ),
        }
    }
}

fn text(step: &str, value: &Value) -> Result<String, Error> {
    let text = value.as_str();
    let text = text.ok_or_else(|| format!("{step}: the answer lacks what is needed"))?;
    Ok(text.to_owned())
}

fn bearer(method: Method, path: &str, token: &str) -> hyper::http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    if token.is_empty() {
        return request;
    }
    request.header(AUTHORIZATION, format!("Bearer {token}"))
}

fn call(method: Method, path: &str, token: &str, body: &Value) -> Outgoing {
    bearer(method, path, token)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("ids and JWTs are plain in a URI and in a header")
}
