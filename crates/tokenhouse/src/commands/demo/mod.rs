//! `tokenhouse demo`: a token of each dialect is made, updated with its product's own call, and used at once.
//!
//! The one thing to know: nothing here is staged. Each value in the table is read back from an answer of the server, over
//! HTTP, and a line is true only if what was expected came.

mod infisical;
mod mindbridge;
mod piiano;
mod unleash;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use comfy_table::Table;
use engine::clock::{Clock as _, SystemClock};
use engine::store::Role;
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use web::native::MetricsText;

use crate::cli::DemoArguments;
use crate::client::Client;
use crate::config::{Layers, LogFormat, LogLevel, LogSettings, Settings, Variables};
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::logs;
use crate::open::{open, unusable};
use crate::serve::{Server, Sockets};
use crate::table::{plain, print, ruled, say};

/// Columns of a terminal in which the seven of the table can be read.
const WIDE: u16 = 120;

/// Shows it.
pub(super) async fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    logs::start(LogSettings {
        format: LogFormat::Human,
        level: LogLevel::WARN,
    });
    // Settings of this machine must not change what is shown.
    let flags = [("listen", "127.0.0.1:0"), ("purge_interval", "0")];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let layers = Layers::new(flags.into(), Variables::new()).map_err(Failure::failed)?;
    let settings = Settings::resolve(&layers, true).map_err(Failure::failed)?;
    let directory = tempfile::tempdir().map_err(Failure::failed)?;
    let data = DataDir::create(directory.path()).map_err(|error| unusable(&error))?;
    let app = open(&data, &settings, Role::Server).await?;
    app.seed().await.map_err(Failure::failed)?;
    let sockets = Sockets::bind(&settings).await?;
    let url = sockets.urls().join(" ");
    let metrics: MetricsText = Arc::new(String::new);
    let server = Server::start(app, sockets, None, &settings, &metrics);

    let shown = show(&server).await;
    server.stop(settings.stop_timeout).await;
    report(&shown?, &url, arguments.json)
}

async fn show(server: &Server) -> Result<Vec<Line>, Failure> {
    let stream = TcpStream::connect(server.address())
        .await
        .map_err(Failure::failed)?;
    let client = Client::over(stream).await.map_err(Failure::failed)?;
    let mut talk = Talk { client };
    let mut lines = unleash::lines(&mut talk).await?;
    lines.extend(piiano::lines(&mut talk).await?);
    lines.extend(infisical::lines(&mut talk).await?);
    lines.extend(mindbridge::lines(&mut talk).await?);
    Ok(lines)
}

/// One update, and what came of it.
#[derive(Debug)]
struct Line {
    dialect: &'static str,
    call: String,
    before: String,
    after: String,
    /// What the very next request shows.
    next: String,
    micros: i64,
    /// Whether all of it is as it must be.
    holds: bool,
}

/// A conversation over one connection.
struct Talk {
    client: Client,
}

/// An answer of either product: all their bodies are JSON or empty.
struct Said {
    status: StatusCode,
    body: Json,
    micros: i64,
}

impl Talk {
    async fn say(
        &mut self,
        method: &str,
        path: &str,
        credential: &str,
        body: Option<Json>,
    ) -> Result<Said, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, credential);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).map_err(Failure::failed)?;
        let began = SystemClock.now();
        let answer = self.client.send(request).await.map_err(Failure::failed)?;
        let micros = SystemClock.now().as_micros() - began.as_micros();
        Ok(Said {
            status: answer.status,
            body: serde_json::from_slice(&answer.body).unwrap_or_default(),
            micros,
        })
    }
}

impl Said {
    /// Stops the demo if a step that everything else rests on was refused.
    fn needed(self, step: &str) -> Result<Self, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        // The body names what was wrong; here it cannot hold a secret but the demo's own.
        let (status, body) = (self.status, &self.body);
        Err(Failure::failed(format!("{step}: {status} {body}")))
    }
}

fn report(lines: &[Line], url: &str, json: bool) -> Result<(), Failure> {
    let holds = !lines.is_empty() && lines.iter().all(|line| line.holds);
    if json {
        let updates: Vec<Json> = lines.iter().map(Line::to_json).collect();
        let report = json!({ "holds": holds, "server": url, "updates": updates });
        say(&format!("{report:#}"))?;
    } else {
        let wide = ruled(&[]).width().is_none_or(|width| width >= WIDE);
        let table = if wide { side_by_side } else { below_each_other }(lines);
        print(&table)?;
    }
    if holds {
        Ok(())
    } else {
        Err(Failure::failed("not everything was as it must be"))
    }
}

/// One row for each update.
fn side_by_side(lines: &[Line]) -> Table {
    let mut table = ruled(&[
        "DIALECT",
        "UPDATE",
        "BEFORE",
        "AFTER",
        "NEXT REQUEST",
        "TIME",
        "TRUE",
    ]);
    for line in lines {
        table.add_row([
            line.dialect,
            &line.call,
            &line.before,
            &line.after,
            &line.next,
            &line.time(),
            line.verdict(),
        ]);
    }
    table
}

/// The same where seven columns would break each word.
fn below_each_other(lines: &[Line]) -> Table {
    let mut table = plain(&[]);
    for line in lines {
        let verdict = format!("{}, true: {}", line.time(), line.verdict());
        for (name, text) in [
            (line.dialect, line.call.as_str()),
            ("  before", &line.before),
            ("  after", &line.after),
            ("  next", &line.next),
            ("  time", &verdict),
            ("", ""),
        ] {
            table.add_row([name, text]);
        }
    }
    table
}

impl Line {
    fn time(&self) -> String {
        format!("{}.{} ms", self.micros / 1000, self.micros % 1000 / 100)
    }

    const fn verdict(&self) -> &'static str {
        if self.holds { "yes" } else { "NO" }
    }

    fn to_json(&self) -> Json {
        json!({
            "dialect": self.dialect,
            "call": self.call,
            "before": self.before,
            "after": self.after,
            "next_request": self.next,
            "micros": self.micros,
            "holds": self.holds,
        })
    }
}
