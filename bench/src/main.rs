//! The load generator: starts the real server and, beside it, a bare handler of the same framework, drives both with the
//! same requests and prints what the server makes of each in requests per second, latencies and their ratio.
//!
//! The one thing to know: generator and servers share the machine, so a figure without its ratio means little; and a run
//! in which anything was refused has no figures at all: it exits with 1.

mod bare;
mod client;
mod clock;
#[cfg(test)]
mod fake;
mod load;
mod nodes;
mod report;
mod scenario;
mod server;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use client::Connection;
use load::{Plan, Target};
use report::{Row, Section};
use scenario::Scenario;
use server::Server;

/// Nobody handles the cases apart: every error ends the run with its text.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Long enough for connections, caches and the allocator to settle.
const WARM_UP: Duration = Duration::from_secs(1);
/// Connections of one run; each is a socket and a task on both sides, and a
/// process may open 1,024 files by default.
const CONNECTIONS_MAX: usize = 500;
/// Length of one measured phase; an hour is a soak test, not a bench.
const SECONDS_MAX: u64 = 3_600;

/// Measures the server against a bare handler of the same framework.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    /// The tokenhouse program to measure, built with optimisation.
    #[arg(long, value_name = "PATH", required = true)]
    tokenhouse: Option<PathBuf>,
    /// Length of the measured phase of each cell, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// Numbers of connections, one line of each table per number.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64], value_parser = connections)]
    connections: Vec<usize>,
    /// Also write the tables to this file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Measure updates on a private PostgreSQL, through one node and through one
    /// of three, beside pgbench.
    Nodes {
        /// The tokenhouse program to measure, built with optimisation.
        #[arg(long, value_name = "PATH")]
        tokenhouse: PathBuf,
        /// PostgreSQL's own load generator.
        #[arg(long, value_name = "PATH", default_value = "pgbench")]
        pgbench: PathBuf,
        /// Length of the measured phase of each cell, in seconds.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
        seconds: u64,
        /// Numbers of connections, one line of the table per number.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64], value_parser = connections)]
        connections: Vec<usize>,
    },
    /// Serve the bare handler until ended; the bench starts it by itself.
    Bare {
        /// Size of the body of each answer, in bytes.
        #[arg(long, default_value_t = 0)]
        body_bytes: usize,
    },
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=CONNECTIONS_MAX).contains(&count) => Ok(count),
        _ => Err(format!("a number from 1 to {CONNECTIONS_MAX} is needed")),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            complain("the run failed: see the lines marked ERROR");
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for; `false` means that it ran and found errors.
fn run(arguments: &Arguments) -> Result<bool, Error> {
    let runtime = Runtime::new()?;
    match (&arguments.command, &arguments.tokenhouse) {
        (Some(Subcommands::Bare { body_bytes }), _) => {
            runtime.block_on(bare::serve(*body_bytes))?;
            Ok(true)
        }
        (
            Some(Subcommands::Nodes {
                tokenhouse,
                pgbench,
                seconds,
                connections,
            }),
            _,
        ) => {
            let (table, clean) =
                nodes::measure(&runtime, tokenhouse, pgbench, connections, *seconds)?;
            std::io::stdout().write_all(table.as_bytes())?;
            Ok(clean)
        }
        (None, Some(program)) => measure(&runtime, program, arguments),
        (None, None) => Err("--tokenhouse PATH is needed".into()),
    }
}

fn measure(runtime: &Runtime, program: &Path, arguments: &Arguments) -> Result<bool, Error> {
    let server = Server::start(program, &["serve", "--dev", "--listen", "127.0.0.1:0"])?;
    progress("preparing collections and tokens");
    let scenarios = runtime.block_on(async {
        let mut connection = Connection::open(server.address()).await?;
        Scenario::prepare_all(&mut connection).await
    })?;

    let mut text = heading(arguments);
    let mut clean = true;
    for scenario in scenarios {
        let section = compare(runtime, &server, &Arc::new(scenario), arguments)?;
        clean &= section.is_clean();
        let _ = write!(text, "\n{}", section.to_markdown());
    }
    // Shown before the server is stopped: if it does not stop cleanly, the
    // figures help to find out why.
    std::io::stdout().write_all(text.as_bytes())?;
    if let Some(path) = &arguments.output {
        std::fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    server.stop()?;
    Ok(clean)
}

/// Measures one scenario at every number of connections, the server and the
/// bare handler by turns, so that a slow drift of the machine hits both.
fn compare(
    runtime: &Runtime,
    server: &Server,
    scenario: &Arc<Scenario>,
    arguments: &Arguments,
) -> Result<Section, Error> {
    let title = scenario.title();
    let answer_bytes = scenario.answer_bytes();
    let bytes = answer_bytes.to_string();
    let bare = Server::start(&std::env::current_exe()?, &["bare", "--body-bytes", &bytes])?;
    let tokenhouse_target = Arc::new(Target::new(server.address()));
    let bare_target = Arc::new(Target::new(bare.address()));

    let mut rows = Vec::with_capacity(arguments.connections.len());
    for &connections in &arguments.connections {
        progress(&format!("{title}, {connections} connections"));
        let measured = Duration::from_secs(arguments.seconds);
        let plan = Plan {
            connections,
            warm_up: WARM_UP,
            measured,
        };
        rows.push(Row {
            plan,
            tokenhouse: runtime.block_on(load::run(&tokenhouse_target, scenario, plan))?,
            bare: runtime.block_on(load::run(&bare_target, scenario, plan))?,
        });
    }
    bare.stop()?;

    let memory = server.memory()?;
    let checked = runtime.block_on(async {
        let mut connection = Connection::open(server.address()).await?;
        scenario
            .confirm(&mut connection, tokenhouse_target.issued())
            .await
    });
    let objection = checked.err().map(|error| error.to_string());
    Ok(Section {
        title,
        answer_bytes,
        rows,
        memory,
        objection,
    })
}

/// What a reader must know to read the tables.
fn heading(arguments: &Arguments) -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!(
        "Closed loop, one keep-alive connection per worker; {} s of warm-up and {} s measured per \
         cell; generator and servers share {processors} processors.\n",
        WARM_UP.as_secs(),
        arguments.seconds,
    );
    if in_memory(&std::env::temp_dir()) {
        let _ = writeln!(
            text,
            "\n**Note**: the temporary directory lies in memory, where flushing to disk costs \
             nothing; set TMPDIR to a directory on a disk for figures of durable updates."
        );
    }
    text
}

/// Whether a directory is on a file system without a disk.
fn in_memory(directory: &Path) -> bool {
    /// The kernel's number for tmpfs (`linux/magic.h`).
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    rustix::fs::statfs(directory)
        .is_ok_and(|status| u64::try_from(status.f_type).is_ok_and(|kind| kind == TMPFS_MAGIC))
}

/// Progress and complaints go to standard error: standard output is the report.
fn progress(what: &str) {
    // Nobody left to read it is no reason to stop.
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}

fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "bench: error: {what}");
}
