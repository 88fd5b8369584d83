//! How the command line reaches the tokens: through the running server's control socket, or on the store itself.
//!
//! The one thing to know: whoever gets the lock of the data directory owns the store; who does not get it asks its owner.
//! Either way the same native routes answer, so a command cannot tell the difference, and no rule is written twice.

use std::io;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use engine::store::Role;
use serde_json::Value as Json;
use tower::ServiceExt as _;
use web::kit::trace::ClientAddress;
use web::native::Operator;

use crate::app::App;
use crate::client::{Answer, Client};
use crate::config::Settings;
use crate::data_dir::{DataDir, DataDirError};
use crate::exit::Failure;
use crate::open::{open, unusable};
use crate::{control, users};

/// The native routes, wherever they are.
pub(crate) enum Reached {
    /// Of a running server.
    Server(Client),
    /// Of this process, which owns the store until it closes it.
    Store {
        app: App,
        router: Router,
        _data: DataDir,
    },
}

impl Reached {
    /// Finds out who owns the data directory.
    pub(crate) async fn find(settings: &Settings) -> Result<Self, Failure> {
        // Where store and keyring lie elsewhere, there may never have been a server on this machine.
        let opened = if settings.store.is_some() && settings.keyring.is_some() {
            DataDir::create(&settings.data)
        } else {
            DataDir::open(&settings.data)
        };
        match opened {
            Ok(data) => Self::own(data, settings).await,
            Err(held @ DataDirError::Held { .. }) => Self::server(settings, &held).await,
            Err(error) => Err(unusable(&error)),
        }
    }

    /// The server that holds the data directory.
    pub(crate) async fn server(settings: &Settings, held: &DataDirError) -> Result<Self, Failure> {
        if let DataDirError::Held {
            store: Some(served),
            ..
        } = held
            && let Some(named) = &settings.store
            && *served != store::place(named.expose()).map_err(Failure::usage)?
        {
            let message = format!("{held}, which serves another store: {served}");
            return Err(Failure::usage(message).hint(
                "leave out --store to ask the server; to work on another store, name another directory with --data",
            ));
        }
        let unreachable = |error: io::Error| {
            Failure::unreachable(format!(
                "{held}, which does not answer on its control socket: {error}"
            ))
            .hint(
                "it may be starting or stopping: try again; only its own user and root may connect",
            )
        };
        let stream = control::connect(&settings.data)
            .await
            .map_err(unreachable)?;
        let client = Client::over(stream).await.map_err(unreachable)?;
        Ok(Self::Server(client))
    }

    async fn own(data: DataDir, settings: &Settings) -> Result<Self, Failure> {
        let keyring = settings.keyring_file(data.path());
        if keyring.read().map_err(Failure::failed)?.is_none() {
            let message = format!(
                "there is no keyring {}, so there are no tokens",
                keyring.path().display()
            );
            return Err(Failure::failed(message)
                .hint("name another directory with --data; `tokenhouse serve` makes one at its first start"));
        }
        // One command is over before a memory would be of use to it, and without one no node has to wait for it.
        let settings = Settings {
            live_entries: 0,
            ..settings.clone()
        };
        let app = open(&data, &settings, Role::Visitor).await?;
        let none = std::sync::Arc::new(String::new);
        let router = app.control_doors(none).router;
        Ok(Self::Store {
            app,
            router,
            _data: data,
        })
    }

    /// Asks; what is refused is a failure with the problem's own words.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        version: Option<u64>,
    ) -> Result<Json, Failure> {
        let answer = self.send(method, path, body, version).await?;
        if !answer.status.is_success() {
            return Err(refused(&answer));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))
    }

    /// As [`Reached::ask`]; `None` if there is no such thing.
    pub(crate) async fn look_for(&mut self, path: &str) -> Result<Option<Json>, Failure> {
        let answer = self.send(Method::GET, path, None, None).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}"))),
            _ => Err(refused(&answer)),
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        version: Option<u64>,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request.body(body).map_err(Failure::usage)?;
        let answered = match self {
            Self::Server(client) => client.send(request).await,
            Self::Store { router, .. } => {
                let operator = Operator(users::name_of(users::own()));
                request.extensions_mut().insert(operator);
                request.extensions_mut().insert(ClientAddress(None));
                let response = router.clone().oneshot(request).await;
                Answer::read(response.unwrap_or_else(|never| match never {})).await
            }
        };
        answered
            .map_err(|error| Failure::unreachable(format!("the server gave no answer: {error}")))
    }

    /// Writes what is still to be written.
    pub(crate) async fn close(self) {
        if let Self::Store { app, .. } = self {
            app.engine.close().await;
        }
    }
}

fn refused(answer: &Answer) -> Failure {
    let problem: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("no reason was given");
    let failure = Failure::failed(format!("refused: {detail} ({})", answer.status));
    match answer.status {
        StatusCode::PRECONDITION_FAILED => failure.hint(
            "somebody has changed the token meanwhile: look at it with `tokenhouse token show`",
        ),
        StatusCode::NOT_FOUND => failure.hint("`tokenhouse token list` shows ids and realms"),
        _ => failure,
    }
}
