//! The bench program as its user meets it: arguments, exit codes, and the bare handler as a process.
//!
//! The one thing to know: a whole run needs the server's program, which a test of this package cannot name; `make bench`
//! is that test.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .output()
        .unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_arguments_are_refused_with_2() {
    for arguments in [
        &[][..],
        &["--tokenhouse", "x", "--seconds", "0"],
        &["--tokenhouse", "x", "--connections", "0"],
        &["--tokenhouse", "x", "--connections", "1,,2"],
        &["--tokenhouse", "x", "--connections", "501"],
        &["--tokenhouse", "x", "--seconds", "-1"],
        &["bare", "--body-bytes", "many"],
    ] {
        let output = bench(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            complaint(&output)
        );
    }
}

#[test]
fn a_program_that_cannot_be_started_fails_with_1() {
    let output = bench(&["--tokenhouse", "/nowhere/tokenhouse"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint(&output).contains("/nowhere/tokenhouse"),
        "{}",
        complaint(&output)
    );

    let output = bench(&["--tokenhouse", "/bin/false"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint(&output).contains("ended before it was ready"),
        "{}",
        complaint(&output)
    );
}

#[test]
fn the_bare_handler_answers_every_call_with_the_wanted_size() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["bare", "--body-bytes", "17"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap();

    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(
            b"PUT /api/admin/api-tokens/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\
              connection: close\r\n\r\n{}",
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "\"xxxxxxxxxxxxxxx\"");
}
