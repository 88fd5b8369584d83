//! Updates on PostgreSQL, through one node and through one of three, beside pgbench writing the same rows in one
//! transaction each.
//!
//! The one thing to know: the nodes besides the first are asked nothing: what is measured is what a write waits for them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use postgres_server::Server as Postgres;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::Connection;
use crate::load::{self, Measurement, Plan, Target};
use crate::scenario::Scenario;
use crate::server::Server;
use crate::{Error, WARM_UP, progress};

/// The credential that the scenario knows from development servers.
const ADMIN: (&str, &str) = ("INIT_ADMIN_API_TOKENS", "*:*.unleash-admin-token");
/// Tokens that are updated, by each of the writers in turn.
const TOKENS: usize = 1_000;
/// How many nodes there are, besides the one that is asked.
const OTHERS: [usize; 2] = [0, 2];

/// One transaction with the rows of an update: the token, its event, its change.
const TRANSACTION: &str = "\
\\set n random(1, 1000)
BEGIN;
UPDATE token SET version = version + 1, expires_at = 2208988800000000 + :n, updated_at = 2208988800000000 \
WHERE realm = md5('bench')::uuid AND id = md5(:n::text)::uuid;
INSERT INTO event SELECT md5('bench')::uuid, gen_random_uuid(), at, actor_kind, actor_id, actor_name, verb, outcome, \
reason, request, count, digest FROM event_sample;
INSERT INTO change SELECT md5('bench')::uuid, gen_random_uuid(), position, subject, gen_random_uuid(), version, before, \
after FROM change_sample;
COMMIT;
";

/// The rows that the transaction updates, and samples of what it inserts: taken
/// from what the program itself has written.
const SAMPLES: &str = "\
CREATE TABLE event_sample AS SELECT at, actor_kind, actor_id, actor_name, verb, outcome, reason, request, count, digest \
FROM event WHERE verb = 'token.updated' LIMIT 1;
CREATE TABLE change_sample AS SELECT position, subject, version, before, after FROM change \
WHERE subject = 'token' AND version > 1 LIMIT 1;
INSERT INTO token SELECT md5('bench')::uuid, md5(n::text)::uuid, 1, state, expires_at, updated_at, updated_by, class, \
container, parent, name, tags, tenant, created_at, created_by, marks, locators, attributes, value, proof, hint, \
sealed_secret, permissions, addresses, uses_max FROM generate_series(1, 1000) AS n, \
(SELECT * FROM token WHERE name LIKE 'bench-%' LIMIT 1) AS one;";

/// What is measured at one number of connections.
struct Cell {
    connections: usize,
    pgbench: f64,
    /// With no other node, and with two.
    updates: Vec<Measurement>,
}

/// Measures, and gives a table; `false` beside it if anything was refused.
pub(crate) fn measure(
    runtime: &Runtime,
    program: &Path,
    pgbench: &Path,
    connections: &[usize],
    seconds: u64,
) -> Result<(String, bool), Error> {
    let postgres = Postgres::start(&postgres_server::Options::default());
    let mut cells: Vec<Cell> = Vec::new();
    for others in OTHERS {
        let house = House::start(&postgres, program, others)?;
        let scenario = runtime.block_on(async {
            let mut connection = Connection::open(house.first().address()).await?;
            Scenario::prepare_update(&mut connection, TOKENS).await
        })?;
        let scenario = Arc::new(scenario);
        let target = Arc::new(Target::new(house.first().address()));
        for (index, &connections) in connections.iter().enumerate() {
            progress(&format!(
                "updates beside {others} others, {connections} connections"
            ));
            let plan = Plan {
                connections,
                warm_up: WARM_UP,
                measured: Duration::from_secs(seconds),
            };
            let measured = runtime.block_on(load::run(&target, &scenario, plan))?;
            if others == 0 {
                if index == 0 {
                    postgres.sql(&house.database, SAMPLES);
                }
                let tps = house.pgbench(&postgres, pgbench, connections, seconds)?;
                cells.push(Cell {
                    connections,
                    pgbench: tps,
                    updates: vec![measured],
                });
            } else {
                cells[index].updates.push(measured);
            }
        }
        runtime.block_on(async {
            let mut connection = Connection::open(house.first().address()).await?;
            scenario.confirm(&mut connection, target.issued()).await
        })?;
        house.stop()?;
    }
    let clean = cells
        .iter()
        .all(|cell| cell.updates.iter().all(|update| update.failed() == 0));
    Ok((table(&cells), clean))
}

fn table(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| connections | pgbench, tx/s | one node, req/s | p50 ms | p99 ms | to pgbench | beside two others, req/s | p50 ms | p99 ms |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for cell in cells {
        let _ = write!(text, "| {} | {:.0} ", cell.connections, cell.pgbench);
        for (index, update) in cell.updates.iter().enumerate() {
            let rate = update.requests_per_second();
            let millis = |quantile| update.latency(quantile).as_secs_f64() * 1e3;
            let _ = write!(
                text,
                "| {rate:.0} | {:.2} | {:.2} ",
                millis(0.5),
                millis(0.99)
            );
            if index == 0 {
                let _ = write!(text, "| {:.2} ", rate / cell.pgbench);
            }
        }
        text.push_str("|\n");
    }
    text
}

/// Nodes on a database of their own.
struct House {
    database: String,
    nodes: Vec<Server>,
    directory: TempDir,
}

impl House {
    fn start(postgres: &Postgres, program: &Path, others: usize) -> Result<Self, Error> {
        let mut house = Self {
            database: postgres.create_database(),
            nodes: Vec::new(),
            directory: tempfile::tempdir()?,
        };
        let path = |name: &str| house.directory.path().join(name).display().to_string();
        for node in 0..=others {
            let (data, keyring) = (path(&format!("node-{node}")), path("keyring.json"));
            let url = postgres.url(&house.database);
            let arguments = [
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--data",
                &data,
                "--keyring",
                &keyring,
                "--store",
                &url,
            ];
            house
                .nodes
                .push(Server::start_with(program, &arguments, &[ADMIN])?);
        }
        Ok(house)
    }

    fn first(&self) -> &Server {
        &self.nodes[0]
    }

    fn pgbench(
        &self,
        postgres: &Postgres,
        pgbench: &Path,
        clients: usize,
        seconds: u64,
    ) -> Result<f64, Error> {
        progress(&format!("pgbench, {clients} clients"));
        let script: PathBuf = self.directory.path().join("update.sql");
        std::fs::write(&script, TRANSACTION)?;
        let output = Command::new(pgbench)
            .args([
                "-n",
                "-M",
                "prepared",
                "-j",
                "2",
                "-c",
                &clients.to_string(),
            ])
            .args(["-T", &seconds.to_string(), "-f"])
            .arg(&script)
            .arg(postgres.url(&self.database))
            .output()
            .map_err(|error| format!("cannot run {}: {error}", pgbench.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rest| rest.split_whitespace().next());
        rate.and_then(|rate| rate.parse().ok()).ok_or_else(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("pgbench gave no rate: {said}{complaint}").into()
        })
    }

    fn stop(self) -> Result<(), Error> {
        for node in self.nodes {
            node.stop()?;
        }
        Ok(())
    }
}
