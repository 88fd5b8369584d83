//! A full disk: writes are refused in each product's words, everything else goes on, and with room writes do too.
//!
//! The one thing to know: the disk is as full as a limit on the size of files makes it. PostgreSQL is cut short in the
//! middle of a page, of which it says that there is no space; SQLite is told that its file is too large.

use std::time::Duration;

use engine::clock::{Clock as _, SystemClock};
use postgres_server::{Options, limit_files_of};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::house::{ADMIN, Client, House};
use crate::cli::{Place, Served};

const PIIANO: &str = "Bearer A-full-disk-admin-key-1";
const PIIANO_KEY: &str = "PVAULT_SERVICE_ADMIN_API_KEY=A-full-disk-admin-key-1";

/// Writes before a disk that does not fill up fails the test.
const WRITES_MAX: usize = 20_000;

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Names of what was made.
    made: Vec<String>,
    /// Names of what was refused without a doubt.
    refused: Vec<String>,
}

/// Issues tokens from many clients at once until each of them is refused.
async fn fill(address: &str, clients: usize) -> Told {
    let mut writing = JoinSet::new();
    for number in 0..clients {
        let mut client = Client::at(address.to_owned());
        writing.spawn(async move {
            let mut told = Told::default();
            let mut refused = 0;
            for turn in 0..WRITES_MAX {
                let name = format!("{number}-{turn}-{}", "x".repeat(400));
                let (status, body) = client.try_issue(&name).await.unwrap();
                if status == 201 {
                    told.made.push(name);
                    continue;
                }
                assert_eq!(status, 503, "{body}");
                assert_eq!(body["name"], "ServiceUnavailable", "{body}");
                let unknown = body["message"].as_str().unwrap().contains("whether");
                if !unknown {
                    told.refused.push(name);
                }
                refused += 1;
                // The last pages of some tables may have room for a while.
                if refused == 10 {
                    return told;
                }
            }
            panic!("the disk does not fill up");
        });
    }
    let mut all = Told::default();
    for told in writing.join_all().await {
        all.made.extend(told.made);
        all.refused.extend(told.refused);
    }
    all
}

/// What was acknowledged is there, and nothing that was refused.
async fn assert_kept(client: &mut Client, told: &Told) {
    let (status, list) = client
        .ask("GET", "/api/admin/api-tokens", ADMIN, None)
        .await
        .unwrap();
    assert_eq!(status, 200);
    let tokens = list["tokens"].as_array().unwrap().iter();
    let names: std::collections::HashSet<&str> = tokens
        .map(|token| token["tokenName"].as_str().unwrap())
        .collect();
    let missing = told.made.iter().find(|name| !names.contains(name.as_str()));
    assert_eq!(missing, None, "of {}", told.made.len());
    let kept = told
        .refused
        .iter()
        .find(|name| names.contains(name.as_str()));
    assert_eq!(kept, None, "of {}", told.refused.len());
}

/// A write of one dialect.
struct Write {
    path: String,
    authorization: String,
    body: Value,
    made: u16,
}

impl Write {
    /// The answer when it is refused; writes that found a place are none.
    async fn refusal(&self, client: &mut Client) -> Value {
        for turn in 0..500 {
            let body: Value =
                serde_json::from_str(&self.body.to_string().replace("NAME", &format!("n{turn}")))
                    .unwrap();
            let asked = client.ask("POST", &self.path, &self.authorization, Some(body));
            let (status, answer) = asked.await.unwrap();
            if status != self.made {
                assert_eq!(status, 503, "{}: {answer}", self.path);
                return answer;
            }
        }
        panic!("{} is never refused", self.path);
    }

    async fn succeeds(&self, client: &mut Client) {
        let body = self.body.to_string().replace("NAME", "afterwards");
        let body = serde_json::from_str(&body).unwrap();
        let asked = client.ask("POST", &self.path, &self.authorization, Some(body));
        let (status, answer) = asked.await.unwrap();
        assert_eq!(status, self.made, "{}: {answer}", self.path);
    }
}

/// One write of each of the other dialects.
async fn writes(house: &House, client: &mut Client) -> [Write; 3] {
    let schema = json!({"name": "customers", "type": "DATA",
        "properties": [{"name": "email", "data_type_name": "EMAIL"}]});
    let made = client
        .ask(
            "POST",
            "/api/pvlt/1.0/ctl/collections",
            PIIANO,
            Some(schema),
        )
        .await;
    assert_eq!(made.unwrap().0, 200);
    let infisical = format!(
        "Bearer {}",
        house.first_credential("Infisical instance admin")
    );
    let details = client
        .ask("GET", "/api/v1/identities/details", &infisical, None)
        .await;
    let (_, details) = details.unwrap();
    let organization = &details["identityDetails"]["organization"]["id"];
    let next_year = SystemClock.now().checked_add_secs(300 * 86_400).unwrap();
    [
        Write {
            path: "/api/pvlt/1.0/data/collections/customers/tokens?reason=AppFunctionality".into(),
            authorization: PIIANO.to_owned(),
            body: json!([{"type": "randomized",
                "object": {"fields": {"email": "NAME@example.com"}}}]),
            made: 200,
        },
        Write {
            path: "/api/v1/identities".to_owned(),
            authorization: infisical,
            body: json!({"name": "NAME", "organizationId": organization}),
            made: 200,
        },
        Write {
            path: "/api/v1/api-tokens".to_owned(),
            authorization: format!("Bearer {}", house.first_credential("MindBridge")),
            body: json!({"name": "NAME", "permissions": ["api.users.read"],
                "expiry": format!("{}Z", &next_year.to_string()[..19])}),
            made: 201,
        },
    ]
}

/// Whether it was done may be unknown, where the log had room for it and the disk was full before that was certain.
fn assert_is_of_mindbridge(answer: &Value) {
    let reason = answer["problems"][0]["reason"].as_str().unwrap();
    let reasons = [
        "the server is busy or cannot reach its store: try again",
        "the store did not say whether this was done: look before you try again",
    ];
    assert!(reasons.contains(&reason), "{answer}");
    let request = answer["instance"].as_str().unwrap();
    assert_eq!(request.len(), 16, "{answer}");
    let expected = json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "origin": "/v1/api-tokens",
        "instance": request,
        "problems": [{
            "problemType": "UNKNOWN",
            "severity": "ERROR",
            "reason": reason,
            "problemCount": 1,
        }],
        "problemCount": 1,
    });
    assert_eq!(*answer, expected);
}

/// Until a token can be issued again; nobody restarts anything.
async fn recovers(client: &mut Client) {
    for turn in 0..200 {
        if client.try_issue(&format!("again-{turn}")).await.unwrap().0 == 201 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("there is room, and nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_room_refuses_writes_and_nothing_else() {
    let house = House::with(&Options {
        fsync: false,
        initdb: vec!["--wal-segsize=1".to_owned()],
        ..Options::default()
    });
    let node = house
        .node(&["--set", &format!("environment.{PIIANO_KEY}")])
        .await;
    let mut client = Client::of(&node);
    let secret = client.issue("before").await;
    let writes = writes(&house, &mut client).await;
    for write in &writes {
        write.succeeds(&mut client).await;
    }
    // Half a page more than a whole number of them; the log's files and the catalogue are smaller.
    house.server().limit_files(Some((1 << 20) + 4096));
    let told = fill(&node.address(), 8).await;
    assert!(told.made.len() > 100 && !told.refused.is_empty());
    let [piiano, infisical, mindbridge] = &writes;
    let answer = piiano.refusal(&mut client).await;
    assert_eq!(answer["error_code"], "PV1009", "{answer}");
    let answer = infisical.refusal(&mut client).await;
    assert_eq!(answer["error"], "ServiceUnavailable", "{answer}");
    let answer = mindbridge.refusal(&mut client).await;
    assert_is_of_mindbridge(&answer);
    assert!(client.is_good(&secret).await);
    assert_kept(&mut client, &told).await;

    house.server().limit_files(None);
    recovers(&mut client).await;
    for write in &writes {
        let body = write.body.to_string().replace("NAME", "later");
        let write = Write {
            body: serde_json::from_str(&body).unwrap(),
            path: write.path.clone(),
            authorization: write.authorization.clone(),
            made: write.made,
        };
        write.succeeds(&mut client).await;
    }
    assert_kept(&mut client, &told).await;
    let ended = tokio::task::spawn_blocking(move || node.served.stop(Signal::TERM));
    let (_, log) = ended.await.unwrap();
    assert!(
        log.contains("the store is unavailable") && log.contains("53100"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_refuses_writes_and_nothing_else() {
    let place = Place::new();
    let start = || {
        let words = ["--data", place.path()];
        Served::start_with(&words, &[("INIT_ADMIN_API_TOKENS", ADMIN)])
    };
    let served = start();
    let address = |served: &Served| served.url.trim_start_matches("http://").to_owned();
    let mut client = Client::at(address(&served));
    let secret = client.issue("before").await;
    limit_files_of(served.process(), Some((1 << 20) + 1000));
    let told = fill(&address(&served), 4).await;
    assert!(!told.made.is_empty());
    // What readiness is proved by is small, and would find room where a token does not.
    limit_files_of(served.process(), Some(4096));
    assert_eq!(client.try_issue("one more").await.unwrap().0, 503);
    assert_eq!(client.ask("GET", "/readyz", "", None).await.unwrap().0, 503);
    assert!(client.is_good(&secret).await);
    assert_kept(&mut client, &told).await;

    limit_files_of(served.process(), None);
    recovers(&mut client).await;
    assert_eq!(client.ask("GET", "/readyz", "", None).await.unwrap().0, 200);
    assert_kept(&mut client, &told).await;
    // What is on the disk is the same as what was answered.
    served.signal(Signal::KILL);
    drop(served);
    let served = start();
    let mut client = Client::at(address(&served));
    assert_kept(&mut client, &told).await;
    assert!(client.is_good(&secret).await);
}
