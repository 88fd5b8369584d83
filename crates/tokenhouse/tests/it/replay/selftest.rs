//! Tests of the runner itself, against a server of a few lines that answers whatever a test tells it to.
//! The one thing a newcomer would get wrong: what matters here is that wrong answers *fail*; a runner that passes
//! everything would make every transcript worthless.
#![allow(clippy::unwrap_used)]

mod claims;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Replayed, Settings, Target, replay_directory, replay_texts};

/// Answers each request with what `answer` makes of the request's bytes, the settings and the clock.
struct Parrot {
    address: SocketAddr,
    clock: Arc<Mutex<Duration>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Target for Parrot {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn advance(&self, by: Duration) {
        *self.clock.lock().unwrap() += by;
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn parrot(answer: fn(&[u8], &Settings, Duration) -> Vec<u8>, settings: &Settings) -> Parrot {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Arc::new(Mutex::new(Duration::ZERO));
    let (settings, now) = (settings.clone(), Arc::clone(&clock));
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !complete(&request) {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).await.unwrap();
                assert!(read > 0, "the client hung up before its request was whole");
                request.extend_from_slice(&piece[..read]);
            }
            let time = *now.lock().unwrap();
            stream
                .write_all(&answer(&request, &settings, time))
                .await
                .unwrap();
        }
    });
    Parrot {
        address,
        clock,
        serving,
    }
}

fn complete(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    request.len() >= end + 4 + length.map_or(0, |digits| digits.parse().unwrap())
}

/// `GET /json?<body>` and the like: the path says what to answer, `%20` being a blank.
fn obey(request: &[u8], settings: &Settings, clock: Duration) -> Vec<u8> {
    let text = String::from_utf8_lossy(request).into_owned();
    let path = text.split(' ').nth(1).unwrap();
    let (verb, argument) = path.split_once('?').unwrap_or((path, ""));
    let argument = argument.replace("%20", " ");
    let json = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match verb {
        "/json" => json(&argument),
        "/clock" => json(&format!("{{\"seconds\":{}}}", clock.as_secs())),
        "/settings" => json(&format!("{settings:?}")),
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n".to_owned(),
        "/interim" => format!("HTTP/1.1 100 Continue\r\n\r\n{}", json("1")),
        "/until-close" => "HTTP/1.1 200 OK\r\n\r\nto the end".to_owned(),
        "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 17\r\nETag: \"x\"\r\n\r\n".to_owned(),
        "/unchanged" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 17\r\n\r\n".to_owned(),
        "/surplus" => "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab".to_owned(),
        "/twice" => "HTTP/1.1 202 Accepted\r\nVary: Origin\r\nvary: Accept-Encoding\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/silence" => String::new(),
        _ => {
            let echo = hex(request);
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{echo}", echo.len())
        }
    }
    .into_bytes()
}

/// `61 62 ` for `ab`
fn hex(bytes: impl AsRef<[u8]>) -> String {
    let mut digits = String::new();
    for byte in bytes.as_ref() {
        let _ = write!(digits, "{byte:02x} ");
    }
    digits
}

async fn replay(texts: &[&str]) -> Result<Replayed, String> {
    let files: Vec<(String, String)> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| (format!("file-{at}.txt"), (*text).to_owned()))
        .collect();
    replay_texts(&files, async |settings: &Settings| {
        parrot(obey, settings).await
    })
    .await
}

/// The report of a conversation that must fail.
async fn failure(text: &str) -> String {
    replay(&[text])
        .await
        .expect_err("this conversation must fail")
}

#[tokio::test]
async fn a_conversation_that_holds() {
    let text = r#"# A head: settings, a text used twice, defaults.
@setting COLOUR=blue
@let id_body = {"id":"{{any:uuid}}"}
@with-body Content-Type: application/json
@without-body !Content-Type

=== settings reach the server
GET /settings
--- 200

{"COLOUR": "blue"}

=== a capture is used in a request and must occur again
GET /json?{"secret":"*:dev.00ff","again":5}
--- 200

{"secret":"*:dev.{{secret:hex4}}","again":{{number:int}}}

=== used
GET /json?["{{secret}}",{{number}}]
--- 200

["00ff",5]

=== a macro holds a hole
GET /json?{"id":"d27923c6-5d16-41e3-89ee-118b05a25372"}
--- 200

{{id_body}}

=== the clock moves
@clock +90m
GET /clock
--- 200

{"seconds":5400}

=== names with an underscore are local
GET /json?{"a":"x","b":"x"}
--- 200

{"a":"{{_x:text}}","b":"{{_x}}"}

=== and free again
GET /json?{"a":"y","b":"y"}
--- 200

{"a":"{{_x:text}}","b":"{{_x}}"}

=== chunks
GET /chunked
--- 200
?Content-Type

abcde

=== an interim answer is skipped
GET /interim
--- 200

1

=== a body until the end of the connection
GET /until-close
--- 200
!content-type

to the end

=== HEAD has no body
HEAD /head
--- 200
ETag: "x"

=== nor has 304
GET /unchanged
--- 304

=== header lines are joined
POST /twice
--- 202
Vary: Origin, Accept-Encoding

=== sets and open objects
@compare set
GET /json?{"rows":[{"n":1,"x":true},{"n":2},{"n":2}],"more":null}
--- 200

{ "rows": [ {"n": 2}, {"n": {{two:int}}}, {"n": 1, "...": ""} ], "more": {{any:json}} }
"#;
    let replayed = replay(&[text])
        .await
        .unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(
        replayed,
        Replayed {
            files: 1,
            exchanges: 14
        }
    );
}

#[tokio::test]
async fn what_is_sent_is_what_is_written() {
    let text = format!(
        "@header Accept: everything\n@header X-Removed: yes\n\n=== raw\nPUT /echo/%zz/*:a.{{{{bytes:c3ff}}}}?a=b,c\nX-Odd: \
         {{{{bytes:ff00}}}}|\n!X-Removed\nHost: h\n\nab{{{{repeat:3:xy}}}}{{{{bytes:00ff}}}}\n\nz\n\n--- 200\n\n{}fe",
        hex("nothing like it")
    );
    let report = failure(&text).await;
    // The parrot answers the request in hex; the bytes are compared here because they are no text.
    let sent = [
        hex("PUT /echo/%zz/*:a.").as_str(),
        "c3 ff ",
        &hex("?a=b,c HTTP/1.1\r\nConnection: close\r\nAccept: everything\r\nX-Odd: "),
        "ff 00 ",
        &hex("|\r\nHost: h\r\nContent-Length: 13\r\n\r\nabxyxyxy"),
        "00 ff ",
        &hex("\n\nz"),
    ]
    .concat();
    assert!(report.contains(sent.trim_end()), "{report}");
}

#[tokio::test]
async fn without_a_body_no_length_is_sent() {
    let text = "=== none\nPUT /echo\n--- 200\n\n{{any:all}}\n\n=== named\nPUT /echo\n--- 200\n\nno";
    let report = failure(text).await;
    let length = hex("Content-Length");
    assert!(!report.contains(&length), "{report}");
    assert!(report.contains("file-0.txt:7: named"), "{report}");
    assert!(!report.contains("file-0.txt:1"), "{report}");
}

#[tokio::test]
async fn a_wrong_body_fails_and_is_shown() {
    let text = "=== first\nGET /json?{\"a\":1,\"b\":2}\n--- 200\n\n{\"a\":1,\"b\":3}";
    let report = failure(text).await;
    for part in [
        "file-0.txt:1: first",
        "sent: GET /json?",
        "body differs",
        "-   \"b\": 3",
        "+   \"b\": 2",
        "    \"a\": 1",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
}

#[tokio::test]
async fn every_failing_exchange_of_every_file_is_reported() {
    let wrong = "=== status\nGET /json?1\n--- 201\n\n1\n\n=== right\nGET /json?1\n--- 200\n\n1\n\n=== header\nGET /json?1\n\
                 --- 200\nContent-Type: text/plain\nX-Missing: yes\n!Content-Length\n\n1";
    let right = "=== right\nGET /json?1\n--- 200\n\n1";
    let report = replay(&[wrong, right, wrong, "=== no answer\nGET /silence\n--- 200"])
        .await
        .unwrap_err();
    for part in [
        "5 failure(s)",
        "file-0.txt:1: status",
        "status: expected 201, got 200",
        "file-0.txt:13: header",
        "header Content-Type: expected \"text/plain\", got \"application/json\"",
        "header X-Missing: expected \"yes\", got none",
        "header Content-Length: expected none, got \"1\"",
        "file-2.txt:1: status",
        "file-2.txt:13: header",
        "file-3.txt:1: no answer",
        "no complete head of an answer",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
    assert!(!report.contains("right"), "{report}");
    assert!(!report.contains("file-1"), "{report}");
}

#[tokio::test]
async fn a_capture_that_changes_is_noticed() {
    let text = "=== capture\nGET /json?\"00ff\"\n--- 200\n\n\"{{secret:hex4}}\"\n\n=== compare\nGET /json?\"00fe\"\n--- 200\n\n\
                \"{{secret}}\"";
    let report = failure(text).await;
    assert!(
        report.contains(": compare")
            && report.contains("- \"00ff\"")
            && report.contains("+ \"00fe\""),
        "{report}"
    );
}

#[tokio::test]
async fn a_capture_that_failed_is_not_sent() {
    let text = "=== capture\nGET /json?\"xyz\"\n--- 200\n\n\"{{secret:hex4}}\"\n\n=== use\nGET /json?{{secret}}\n--- 200\n\n1";
    let report = failure(text).await;
    assert!(report.contains("- \"{{secret:hex4}}\""), "{report}");
    assert!(
        report.contains("file-0.txt:7: use\n  not sent: nothing has been captured as {{secret}}"),
        "{report}"
    );
}

#[tokio::test]
async fn bytes_after_an_answer_are_noticed() {
    for path in ["/surplus", "/head"] {
        let report = failure(&format!("=== x\nGET {path}\n--- 200\n\n{{{{any:all}}}}")).await;
        assert!(report.contains("no answer: "), "{report}");
    }
}

#[tokio::test]
async fn a_mistake_in_one_file_does_not_hide_another_file() {
    let report = replay(&["=== x\n", "=== y\nGET /json?1\n--- 200\n\n2"])
        .await
        .unwrap_err();
    assert!(
        report.contains("file-0.txt:1: the exchange has no request"),
        "{report}"
    );
    assert!(report.contains("file-1.txt:1: y"), "{report}");
}

#[tokio::test]
async fn a_directory_is_read_by_name_and_an_empty_one_fails() {
    let directory = tempfile::tempdir().unwrap();
    let start = async |settings: &Settings| parrot(obey, settings).await;
    let nothing = replay_directory(directory.path(), start).await.unwrap_err();
    assert!(nothing.contains("no transcripts"), "{nothing}");
    std::fs::write(
        directory.path().join("b.txt"),
        "=== x\nGET /json?1\n--- 200\n\n2",
    )
    .unwrap();
    std::fs::write(
        directory.path().join("a.txt"),
        "=== x\nGET /json?1\n--- 200\n\n3",
    )
    .unwrap();
    std::fs::write(directory.path().join("notes.md"), "no transcript").unwrap();
    let report = replay_directory(directory.path(), start).await.unwrap_err();
    let (first, second) = (
        report.find("a.txt:1: x").unwrap(),
        report.find("b.txt:1: x").unwrap(),
    );
    assert!(first < second && !report.contains("notes"), "{report}");
    let missing = replay_directory(&directory.path().join("missing"), start)
        .await
        .unwrap_err();
    assert!(missing.contains("missing"), "{missing}");
}
