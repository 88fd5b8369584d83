//! A database, the nodes on it, and clients of theirs.
//!
//! The one thing to know: a node is killed, stopped and cut off by its own process id and proxy; nothing here reaches
//! another test's.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use engine::entropy::{Entropy as _, SeededEntropy};
use postgres_server::Server;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::proxy::Proxy;
use crate::cli::{Served, program};
use crate::connection::Connection;

pub(super) const ADMIN: &str = "*:*.an-admin-token-for-nodes";
const TOKENS: &str = "/api/admin/api-tokens";

/// Longer than a node that hangs can make a write wait, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(1);

/// One database with what all its nodes share.
pub(super) struct House {
    pub(super) database: String,
    /// A server of its own, for what crashes it; otherwise the one that all tests share.
    own: Option<Server>,
    directory: TempDir,
    nodes: AtomicUsize,
}

/// One node, with a way of its own to the database.
pub(super) struct Node {
    pub(super) served: Served,
    pub(super) proxy: Proxy,
    arguments: Vec<String>,
    program: fn() -> Command,
}

impl House {
    pub(super) fn new() -> Self {
        Self::on(None)
    }

    /// One on a server of its own, which flushes.
    pub(super) fn with_a_server() -> Self {
        Self::with(&postgres_server::Options::default())
    }

    /// One on a server of its own that is set up like this.
    pub(super) fn with(options: &postgres_server::Options) -> Self {
        Self::on(Some(Server::start(options)))
    }

    fn on(own: Option<Server>) -> Self {
        let server = own.as_ref().unwrap_or_else(|| postgres_server::shared());
        Self {
            database: server.create_database(),
            own,
            directory: tempfile::tempdir().unwrap(),
            nodes: AtomicUsize::new(0),
        }
    }

    pub(super) fn server(&self) -> &Server {
        let shared = || postgres_server::shared();
        self.own.as_ref().unwrap_or_else(shared)
    }

    /// The words of the command line by which a program finds store and keyring, through `port`.
    pub(super) fn arguments(&self, port: u16) -> Vec<String> {
        let number = self.nodes.fetch_add(1, SeqCst);
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let url = format!("postgres://postgres@127.0.0.1:{port}/{}", self.database);
        let words = [
            "--data",
            &path(&format!("node-{number}")),
            "--keyring",
            &path("keyring.json"),
            "--store",
            &url,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Starts a node with these settings beside the common ones.
    pub(super) async fn node(&self, settings: &[&str]) -> Node {
        self.node_of(program, settings).await
    }

    /// The same of this program.
    pub(super) async fn node_of(&self, program: fn() -> Command, settings: &[&str]) -> Node {
        let proxy = Proxy::start(self.server().port()).await;
        let mut arguments = self.arguments(proxy.port());
        arguments.extend(settings.iter().map(|word| (*word).to_owned()));
        let served = start(program, &arguments).await;
        Node {
            served,
            proxy,
            arguments,
            program,
        }
    }

    /// Three of them, which start at the same time on the empty database.
    pub(super) async fn three(&self, settings: &[&str]) -> Vec<Node> {
        let (first, second, third) = tokio::join!(
            self.node(settings),
            self.node(settings),
            self.node(settings)
        );
        vec![first, second, third]
    }

    /// A credential that the first start has made: it stands in the file of whichever node was first.
    pub(super) fn first_credential(&self, label: &str) -> String {
        let nodes = std::fs::read_dir(self.directory.path()).unwrap();
        let files = nodes.map(|node| node.unwrap().path().join("first-credentials.txt"));
        let texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
        let lines: Vec<String> = texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let line = lines.iter().find(|line| line.starts_with(label)).unwrap();
        let (_, secret) = line.split_once(": ").unwrap();
        secret.to_owned()
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        self.server().sql(&self.database, sql)
    }
}

async fn start(program: fn() -> Command, arguments: &[String]) -> Served {
    let arguments = arguments.to_vec();
    let started = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let environment = [("INIT_ADMIN_API_TOKENS", ADMIN)];
        Served::start_program(program(), &words, &environment)
    });
    started.await.unwrap()
}

impl Node {
    pub(super) fn address(&self) -> String {
        self.served.url.trim_start_matches("http://").to_owned()
    }

    /// Kills it and starts it again, on another port.
    pub(super) async fn replaced(self) -> Self {
        self.served.signal(Signal::KILL);
        drop(self.served);
        Self {
            served: start(self.program, &self.arguments).await,
            ..self
        }
    }
}

impl Node {
    /// Stops it as an operator does and starts it again, on another port.
    pub(super) async fn restarted(self) -> Self {
        let served = self.served;
        let stopped = tokio::task::spawn_blocking(move || served.stop(Signal::TERM));
        stopped.await.unwrap();
        Self {
            served: start(self.program, &self.arguments).await,
            proxy: self.proxy,
            arguments: self.arguments,
            program: self.program,
        }
    }
}

/// A client of one node.
pub(super) struct Client {
    address: String,
    connection: Option<Connection>,
}

impl Client {
    pub(super) fn of(node: &Node) -> Self {
        Self::at(node.address())
    }

    pub(super) fn at(address: String) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// Another one of the same node.
    pub(super) fn again(&self) -> Self {
        Self {
            address: self.address.clone(),
            connection: None,
        }
    }

    /// Asks; `None` if the node did not answer.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        authorization: &str,
        body: Option<Value>,
    ) -> Option<(u16, Value)> {
        let asked = self.try_ask(method, path, authorization, body);
        let answer = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
        if answer.is_none() {
            self.connection = None;
        }
        answer
    }

    async fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        authorization: &str,
        body: Option<Value>,
    ) -> Option<(u16, Value)> {
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            self.connection = Some(Connection::open(&self.address).await?);
        }
        let connection = self.connection.as_mut()?;
        connection.send(method, path, authorization, body).await
    }

    /// Asks for a fresh token.
    pub(super) async fn try_issue(&mut self, name: &str) -> Option<(u16, Value)> {
        let body = json!({
            "tokenName": name,
            "type": "client",
            "environment": "development",
            "projects": ["default"],
        });
        self.ask("POST", TOKENS, ADMIN, Some(body)).await
    }

    /// A fresh token's secret.
    pub(super) async fn issue(&mut self, name: &str) -> String {
        let (status, made) = self.try_issue(name).await.unwrap();
        assert_eq!(status, 201, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    }

    /// Lets a token end at an instant.
    pub(super) async fn expire(&mut self, secret: &str, at: &str) -> Option<u16> {
        let path = format!("{TOKENS}/{secret}");
        let body = json!({ "expiresAt": at });
        let answer = self.ask("PUT", &path, ADMIN, Some(body)).await;
        answer.map(|(status, _)| status)
    }

    pub(super) async fn delete(&mut self, secret: &str) -> Option<u16> {
        let path = format!("{TOKENS}/{secret}");
        let answer = self.ask("DELETE", &path, ADMIN, None).await;
        answer.map(|(status, _)| status)
    }

    /// Whether a token is good here.
    pub(super) async fn is_good(&mut self, secret: &str) -> bool {
        let answer = self.ask("GET", "/api/client/features", secret, None).await;
        match answer.unwrap() {
            (200, _) => true,
            (401, _) => false,
            other => panic!("{other:?}"),
        }
    }

    /// The expiry of each token in the list, by its secret.
    pub(super) async fn expiries(&mut self) -> Vec<(String, String)> {
        let answer = self.ask("GET", TOKENS, ADMIN, None).await;
        let (status, list) = answer.unwrap();
        assert_eq!(status, 200);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tokens = list["tokens"].as_array().unwrap().iter();
        tokens
            .map(|token| (text(&token["secret"]), text(&token["expiresAt"])))
            .collect()
    }
}

/// A number below `bound`.
pub(super) fn below(random: &SeededEntropy, bound: usize) -> usize {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    usize::try_from(u64::from_be_bytes(bytes) % bound as u64).unwrap()
}
