//! The process is killed in the middle of load; after a restart every acknowledged write is there.
//!
//! The one thing to know: what was *not* acknowledged may or may not be there – but whole or not at all, and what was
//! refused never is. The program is the real one, killed with SIGKILL, again and again on the same directory.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const ADMIN: &str = "*:*.crash-test-admin-token";
const KEY: &str = "Crash-test-admin-key-1";
const COLLECTION: &str = "/api/pvlt/1.0/data/collections/customers";
const WRITERS: usize = 6;

struct Server {
    child: Child,
    address: String,
}

impl Server {
    async fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tokenhouse"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("INIT_ADMIN_API_TOKENS", ADMIN)
            .env("PVAULT_SERVICE_ADMIN_API_KEY", KEY)
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

    async fn kill(mut self) {
        // SIGKILL on Unix.
        self.child.kill().await.unwrap();
    }
}

/// One connection; `None` once the server is gone.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self(sender))
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        authorization: &str,
        body: Option<Value>,
    ) -> Option<(StatusCode, Value)> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", authorization);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let bytes = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(bytes))).unwrap();
        self.0.ready().await.ok()?;
        let response = self.0.send_request(request).await.ok()?;
        let status = response.status();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        Some((
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        ))
    }
}

/// What one writer knows of its two tokens.
#[derive(Clone, Debug)]
struct Ledger {
    secret: String,
    token_id: String,
    acknowledged: usize,
    attempted: usize,
}

fn expiry(number: usize) -> String {
    format!(
        "20{:02}-01-01T00:00:{:02}.000Z",
        30 + number / 60,
        number % 60
    )
}

fn bearer() -> String {
    format!("Bearer {KEY}")
}

async fn prepare(address: &str) -> Vec<Ledger> {
    let mut connection = Connection::open(address).await.unwrap();
    let schema = json!({"name": "customers", "type": "DATA",
        "properties": [{"name": "email", "data_type_name": "EMAIL"}]});
    let (status, body) = connection
        .send(
            "POST",
            "/api/pvlt/1.0/ctl/collections",
            &bearer(),
            Some(schema),
        )
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    let mut ledgers = Vec::new();
    for writer in 0..WRITERS {
        let body = json!({"tokenName": format!("writer-{writer}"), "type": "client"});
        let (status, made) = connection
            .send("POST", "/api/admin/api-tokens", ADMIN, Some(body))
            .await
            .unwrap();
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let body = json!([{"type": "randomized", "tags": ["n0"],
            "object": {"fields": {"email": format!("w{writer}@example.com")}}}]);
        let path = format!("{COLLECTION}/tokens?reason=AppFunctionality");
        let (status, token) = connection
            .send("POST", &path, &bearer(), Some(body))
            .await
            .unwrap();
        assert_eq!(status, StatusCode::OK, "{token}");
        ledgers.push(Ledger {
            secret: made["secret"].as_str().unwrap().to_owned(),
            token_id: token[0]["token_id"].as_str().unwrap().to_owned(),
            acknowledged: 0,
            attempted: 0,
        });
    }
    ledgers
}

/// Writes number after number to both tokens until the server is gone; every fifth call is one that is refused.
async fn write(
    address: String,
    mut ledger: Ledger,
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Ledger {
    let Some(mut connection) = Connection::open(&address).await else {
        return ledger;
    };
    let unleash = format!("/api/admin/api-tokens/{}", ledger.secret);
    let piiano = format!(
        "{COLLECTION}/tokens?reason=AppFunctionality&token_ids={}",
        ledger.token_id
    );
    while !stop.load(Ordering::SeqCst) {
        let number = ledger.acknowledged + 1;
        ledger.attempted = number;
        let body = json!({"expiresAt": expiry(number)});
        match connection.send("PUT", &unleash, ADMIN, Some(body)).await {
            Some((StatusCode::OK, _)) => {}
            Some((status, body)) => panic!("{status} {body}"),
            None => break,
        }
        let body = json!({"tags": [format!("n{number}")]});
        match connection
            .send("PATCH", &piiano, &bearer(), Some(body))
            .await
        {
            Some((StatusCode::OK, _)) => {}
            Some((status, body)) => panic!("{status} {body}"),
            None => break,
        }
        ledger.acknowledged = number;
        done.fetch_add(1, Ordering::SeqCst);
        if number.is_multiple_of(5) {
            let body = json!({"tags": ["refused", ""]});
            match connection
                .send("PATCH", &piiano, &bearer(), Some(body))
                .await
            {
                Some((StatusCode::BAD_REQUEST, _)) => {}
                Some((status, body)) => panic!("{status} {body}"),
                None => break,
            }
        }
    }
    ledger
}

/// What is there must be the last acknowledged number or the one attempted after it. The Unleash token is written first,
/// so it is never behind.
async fn check(address: &str, ledger: &mut Ledger) {
    let mut connection = Connection::open(address).await.unwrap();
    let (status, list) = connection
        .send("GET", "/api/admin/api-tokens", ADMIN, None)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK);
    let token = list["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["secret"] == ledger.secret.as_str())
        .expect("an acknowledged token is there");
    let allowed = [ledger.acknowledged, ledger.attempted];
    let expected: Vec<Value> = allowed
        .iter()
        .map(|number| {
            if *number == 0 {
                Value::Null
            } else {
                json!(expiry(*number))
            }
        })
        .collect();
    assert!(
        expected.contains(&token["expiresAt"]),
        "{token} is none of {expected:?}"
    );
    let path = format!("{COLLECTION}/query/tokens?reason=AppFunctionality");
    let body = json!({"token_ids": [ledger.token_id]});
    let (status, found) = connection
        .send("POST", &path, &bearer(), Some(body))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK);
    let tags = &found[0]["tokens"][0]["tags"];
    let expected: Vec<Value> = allowed
        .iter()
        .map(|number| json!([format!("n{number}")]))
        .collect();
    assert!(expected.contains(tags), "{tags} is none of {expected:?}");
    // Go on from what is there.
    let there = if *tags == expected[1] {
        ledger.attempted
    } else {
        ledger.acknowledged
    };
    ledger.acknowledged = there;
}

/// Every invariant of the rows, by reading the file itself.
fn inspect(data: &Path) {
    let file = std::fs::read_dir(data)
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "db" || extension == "sqlite")
        })
        .expect("the store's file lies in the data directory");
    let connection = rusqlite::Connection::open(file).unwrap();
    let count = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let intact: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(intact, "ok");
    for (what, sql) in [
        (
            "a locator points to nothing",
            "SELECT count(*) FROM locator l WHERE NOT EXISTS (SELECT 1 FROM token t WHERE t.realm = l.realm AND t.id = l.holder) AND NOT EXISTS (SELECT 1 FROM value v WHERE v.realm = l.realm AND v.id = l.holder) AND NOT EXISTS (SELECT 1 FROM record r WHERE r.realm = l.realm AND r.id = l.holder)",
        ),
        (
            "a mark points to nothing",
            "SELECT count(*) FROM mark m WHERE NOT EXISTS (SELECT 1 FROM token t WHERE t.realm = m.realm AND t.id = m.holder) AND NOT EXISTS (SELECT 1 FROM record r WHERE r.realm = m.realm AND r.id = m.holder)",
        ),
        (
            "a data token has no value",
            "SELECT count(*) FROM token t WHERE t.value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM value v WHERE v.realm = t.realm AND v.id = t.value)",
        ),
        (
            "a token has not one change for each version",
            "SELECT count(*) FROM token t WHERE t.version <> (SELECT count(*) FROM change c WHERE c.realm = t.realm AND c.subject = 'token' AND c.id = t.id)",
        ),
        (
            "a change has no event",
            "SELECT count(*) FROM change c WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.realm = c.realm AND e.id = c.event)",
        ),
        (
            "a tag of a refused call is there",
            "SELECT count(*) FROM token WHERE tags LIKE '%refused%'",
        ),
    ] {
        assert_eq!(count(sql), 0, "{what}");
    }
    assert!(count("SELECT count(*) FROM event") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data).await;
    let mut ledgers = prepare(&server.address).await;
    let mut server = Some(server);
    for round in 1..=3 {
        let running = match server.take() {
            Some(running) => running,
            None => Server::start(&data).await,
        };
        for ledger in &mut ledgers {
            check(&running.address, ledger).await;
        }
        let done = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = ledgers
            .iter()
            .map(|ledger| {
                let (done, stop) = (Arc::clone(&done), Arc::clone(&stop));
                tokio::spawn(write(running.address.clone(), ledger.clone(), done, stop))
            })
            .collect();
        // Killed after work, not after time: a slow machine still has writes in flight.
        while done.load(Ordering::SeqCst) < 60 * round {
            assert!(
                !writers.iter().any(tokio::task::JoinHandle::is_finished),
                "a writer ended early"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        running.kill().await;
        stop.store(true, Ordering::SeqCst);
        ledgers = Vec::new();
        for writer in writers {
            ledgers.push(writer.await.unwrap());
        }
        inspect(&data);
    }
    let last = Server::start(&data).await;
    for ledger in &mut ledgers {
        check(&last.address, ledger).await;
    }
    last.kill().await;
}
