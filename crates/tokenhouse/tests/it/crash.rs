//! The process is killed in the middle of load; after a restart every acknowledged write is there – of all four dialects.
//!
//! The one thing to know: what was *not* acknowledged may or may not be there – but whole or not at all, and what was
//! refused never is. The program is the real one, killed with SIGKILL, again and again on the same directory. Each client
//! ([`Writer`]) keeps its own books and compares them after every restart; the rows as such are looked at in `rows.rs`.

mod infisical;
mod mindbridge;
mod piiano;
mod rows;
mod unleash;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::connection::Connection;

/// How often it is killed.
const ROUNDS: usize = 5;
/// Acknowledged writes of each client before it is: of every dialect there are some, however the machine shares itself out.
const STEPS: usize = 20;
/// Every so many steps a client asks for something that must be refused.
const REFUSED_EVERY: usize = 5;

/// One client of one dialect with what it knows: what was acknowledged, and what it asked without getting an answer.
#[async_trait]
trait Writer: Send {
    /// Asks for the next change; `None` once the server is gone.
    async fn step(&mut self, server: &mut Connection) -> Option<()>;

    /// Asks for something that is refused and would leave the word `refused` behind if it were not.
    async fn refused(&mut self, server: &mut Connection) -> Option<()>;

    /// Compares what is there with what it knows, and goes on from what is there.
    async fn check(&mut self, server: &mut Connection);
}

/// A thing that is changed to one number after the other.
#[derive(Debug, Default)]
struct Numbers {
    acknowledged: usize,
    attempted: usize,
}

impl Numbers {
    fn attempt(&mut self) -> usize {
        self.attempted = self.acknowledged + 1;
        self.attempted
    }

    fn acknowledge(&mut self) {
        self.acknowledged = self.attempted;
    }

    /// What is there is the last acknowledged number, or the one that was asked for after it.
    fn settle(&mut self, there: usize) {
        let allowed = [self.acknowledged, self.attempted];
        assert!(allowed.contains(&there), "{there} is none of {allowed:?}");
        self.acknowledged = there;
        self.attempted = there;
    }
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    async fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tokenhouse"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("INIT_ADMIN_API_TOKENS", unleash::ADMIN)
            .env("PVAULT_SERVICE_ADMIN_API_KEY", piiano::KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_mins(1), lines.next_line())
            .await
            .expect("the server is ready within a minute")
            .unwrap()
            .expect("the server says where it listens");
        let address = line
            .strip_prefix("listening on http://")
            .unwrap()
            .to_owned();
        Self { child, address }
    }

    async fn connect(&self) -> Connection {
        Connection::open(&self.address).await.unwrap()
    }

    async fn kill(mut self) {
        // SIGKILL on Unix.
        self.child.kill().await.unwrap();
    }
}

/// A credential that the first start has made, by what it is called.
fn first_credential(data: &Path, label: &str) -> String {
    let text = std::fs::read_to_string(data.join("first-credentials.txt")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|rest| rest.strip_prefix(": "))
        .expect("the first start makes it")
        .to_owned()
}

async fn prepare(server: &Server, data: &Path) -> Vec<Box<dyn Writer>> {
    let mut connection = server.connect().await;
    let mut writers = unleash::writers(&mut connection).await;
    writers.extend(piiano::writers(&mut connection).await);
    let token = first_credential(data, "Infisical instance admin token");
    writers.extend(infisical::writers(&mut connection, &token).await);
    let token = first_credential(data, "MindBridge API token with all permissions");
    writers.extend(mindbridge::writers(&mut connection, &token).await);
    writers
}

/// Writes until the server is gone.
async fn write(
    mut writer: Box<dyn Writer>,
    address: String,
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Box<dyn Writer> {
    let Some(mut connection) = Connection::open(&address).await else {
        return writer;
    };
    while !stop.load(Ordering::SeqCst) {
        if writer.step(&mut connection).await.is_none() {
            break;
        }
        let number = done.fetch_add(1, Ordering::SeqCst) + 1;
        if number.is_multiple_of(REFUSED_EVERY) && writer.refused(&mut connection).await.is_none() {
            break;
        }
    }
    writer
}

/// Lets all of them write at once and kills the server in the middle.
async fn load(server: Server, writers: Vec<Box<dyn Writer>>) -> Vec<Box<dyn Writer>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut counts = Vec::new();
    let mut tasks = Vec::new();
    for writer in writers {
        let done = Arc::new(AtomicUsize::new(0));
        counts.push(Arc::clone(&done));
        let address = server.address.clone();
        tasks.push(tokio::spawn(write(
            writer,
            address,
            done,
            Arc::clone(&stop),
        )));
    }
    // Killed after work, not after time: a slow machine still has writes in flight.
    while counts
        .iter()
        .any(|done| done.load(Ordering::SeqCst) < STEPS)
    {
        assert!(
            !tasks.iter().any(tokio::task::JoinHandle::is_finished),
            "a writer ended early"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.kill().await;
    stop.store(true, Ordering::SeqCst);
    let mut writers = Vec::new();
    for task in tasks {
        writers.push(task.await.unwrap());
    }
    writers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start(&data).await;
    let mut writers = prepare(&server, &data).await;
    for _ in 0..ROUNDS {
        writers = load(server, writers).await;
        rows::inspect(&data);
        server = Server::start(&data).await;
        let mut connection = server.connect().await;
        for writer in &mut writers {
            writer.check(&mut connection).await;
        }
    }
    server.kill().await;
    rows::inspect(&data);
}
