//! Replays recorded conversations (`tests/transcripts/<dialect>/*.txt`) over a real socket against a fresh server each.
//! The one thing a newcomer would get wrong: there is no code per case. A new case is a new exchange in a text file; the
//! format is described in `tests/transcripts/README.md`, and only a new *kind of claim* is a reason to change this module.

mod body;
mod client;
mod pattern;
mod selftest;
mod transcript;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use client::{Answer, Outgoing};
use pattern::{Bindings, Template};
use transcript::{Exchange, HeaderClaim, Transcript};

/// The settings a transcript asks for: environment-like names (`PVAULT_SERVICE_FORCE_ACCESS_REASON`) and their values.
pub(crate) type Settings = BTreeMap<String, String>;

/// A server to talk to. It lives as long as one transcript's conversation; dropping it must stop it.
pub(crate) trait Target {
    /// Where the server listens, on loopback.
    fn address(&self) -> SocketAddr;
    /// Moves the server's injected clock forward. The clock stands still otherwise: answers state exact instants.
    fn advance(&self, by: Duration);
}

/// What a clean replay went through, so that a test can refuse a directory that has become empty by accident.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Transcript files.
    pub(crate) files: usize,
    /// Exchanges in all of them.
    pub(crate) exchanges: usize,
}

/// Replays every `*.txt` of `directory` in the order of names, each against a server of its own that `start` makes from
/// the file's settings. `Err` is a report for a person: every failing exchange of every file, not only the first.
pub(crate) async fn replay_directory<T: Target>(
    directory: &Path,
    start: impl AsyncFn(&Settings) -> T,
) -> Result<Replayed, String> {
    let files = transcript::files_of(directory)?;
    replay_texts(&files, start).await
}

/// As [`replay_directory`], for transcripts that are already in memory: pairs of name and text.
async fn replay_texts<T: Target>(
    files: &[(String, String)],
    start: impl AsyncFn(&Settings) -> T,
) -> Result<Replayed, String> {
    let mut replayed = Replayed::default();
    let mut failures = Vec::new();
    for (name, text) in files {
        let transcript = match Transcript::parse(text) {
            Ok(transcript) => transcript,
            Err(finding) => {
                failures.push(format!("{name}:{finding}\n"));
                continue;
            }
        };
        replayed.files += 1;
        replayed.exchanges += transcript.exchanges.len();
        let target = start(&transcript.settings).await;
        failures.extend(converse(name, &transcript, &target).await);
    }
    if failures.is_empty() {
        return Ok(replayed);
    }
    let mut report = format!(
        "{} failure(s) in {} transcript(s), {} exchange(s):\n\n",
        failures.len(),
        files.len(),
        replayed.exchanges
    );
    report.push_str(&failures.join("\n"));
    Err(report)
}

/// Goes through one conversation and returns a report per failing exchange. It goes on after a failure, because a later
/// exchange often shows why; one that needs a capture which has not been made is reported as not sent.
async fn converse(file: &str, transcript: &Transcript, target: &impl Target) -> Vec<String> {
    let mut bindings = Bindings::default();
    let mut reports = Vec::new();
    for exchange in &transcript.exchanges {
        bindings.forget_locals();
        if let Some(by) = exchange.advance {
            target.advance(by);
        }
        let place = format!("{file}:{}: {}", exchange.line, exchange.name);
        let outgoing = match fill(exchange, &bindings) {
            Ok(outgoing) => outgoing,
            Err(name) => {
                reports.push(format!(
                    "{place}\n  not sent: nothing has been captured as {{{{{name}}}}}\n"
                ));
                continue;
            }
        };
        let findings = match client::send(target.address(), &outgoing).await {
            Ok(answer) => judge(exchange, &answer, &mut bindings),
            Err(failure) => vec![format!("no answer: {failure}")],
        };
        if !findings.is_empty() {
            let mut report = format!(
                "{place}\n  sent: {} {}\n",
                outgoing.method,
                outgoing.shown_path()
            );
            for finding in findings {
                for line in finding.lines() {
                    let _ = writeln!(report, "  {line}");
                }
            }
            reports.push(report);
        }
    }
    reports
}

/// The request with every capture put in; `Err` names the first one that is missing.
fn fill(exchange: &Exchange, bindings: &Bindings) -> Result<Outgoing, String> {
    let request = &exchange.request;
    let mut headers = Vec::new();
    for (name, value) in &request.headers {
        headers.push((name.clone(), value.fill(bindings)?));
    }
    Ok(Outgoing {
        method: request.method.clone(),
        path: request.path.fill(bindings)?,
        headers,
        body: request
            .body
            .as_ref()
            .map(|body| body.fill(bindings))
            .transpose()?,
    })
}

/// Compares an answer with what the exchange claims. Captures of claims that hold are kept even if others fail.
fn judge(exchange: &Exchange, answer: &Answer, bindings: &mut Bindings) -> Vec<String> {
    let claim = &exchange.answer;
    let mut findings = Vec::new();
    if answer.status != claim.status {
        findings.push(format!(
            "status: expected {}, got {}",
            claim.status, answer.status
        ));
    }
    for (name, header) in &claim.headers {
        findings.extend(judge_header(name, header, answer, bindings));
    }
    match body::compare(exchange.compare, &claim.body, &answer.body, bindings) {
        Ok(captured) => *bindings = captured,
        Err(finding) => findings.push(finding),
    }
    findings
}

fn judge_header(
    name: &str,
    claim: &HeaderClaim,
    answer: &Answer,
    bindings: &mut Bindings,
) -> Option<String> {
    let got = answer.header(name);
    let expected = match claim {
        HeaderClaim::Unchecked => return None,
        HeaderClaim::Absent => {
            return got.map(|got| format!("header {name}: expected none, got {got:?}"));
        }
        HeaderClaim::Equals(expected) => expected,
    };
    let Some(got) = got else {
        return Some(format!(
            "header {name}: expected {}, got none",
            shown(expected, bindings)
        ));
    };
    match expected.matches(&got, pattern::Place::Line, bindings) {
        Some(captured) => {
            *bindings = captured;
            None
        }
        None => Some(format!(
            "header {name}: expected {}, got {got:?}",
            shown(expected, bindings)
        )),
    }
}

fn shown(expected: &Template, bindings: &Bindings) -> String {
    format!("{:?}", expected.shown(bindings))
}
