//! A server as a child process: start it, learn its port, read its memory, stop it.
//!
//! The one thing to know: the output of the child is read to its end all the time. A pipe that nobody empties fills up
//! after 64 KiB of log lines, and the server would then stand still in the middle of a measurement.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{Error, clock};

/// What a server prints when it is ready, followed by its address.
const READY: &str = "listening on http://";
/// How long a server may take until it is ready: key generation and migrations
/// on a busy machine take a few seconds.
const START_SECS_MAX: u64 = 60;
/// How long a server may take to stop after SIGTERM before it is killed.
const STOP_SECS_MAX: u64 = 20;
/// How many of the child's last lines an error message shows.
const LINES_SHOWN_MAX: usize = 20;

/// The last lines that the child has printed, of both of its streams.
type Tail = Arc<Mutex<VecDeque<String>>>;

/// A running child process that serves HTTP on the loopback address.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    tail: Tail,
}

/// Memory of a process in bytes, as the kernel states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) resident_peak: u64,
}

impl Server {
    /// Starts `program` and returns when it has printed its address.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Self, Error> {
        Self::start_with(program, arguments, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn start_with(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let tail = Tail::default();
        let (found, address) = mpsc::channel();
        // Both readers hold an end of this channel: when it is disconnected,
        // everything that the child has said is in the tail.
        let (reading, read_whole) = mpsc::channel::<()>();
        if let Some(stdout) = child.stdout.take() {
            drain(stdout, Arc::clone(&tail), Some(found), reading.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            drain(stderr, Arc::clone(&tail), None, reading);
        }

        let why = match address.recv_timeout(Duration::from_secs(START_SECS_MAX)) {
            Ok(address) => {
                return Ok(Self {
                    child,
                    address,
                    tail,
                });
            }
            Err(RecvTimeoutError::Timeout) => {
                format!("printed no address within {START_SECS_MAX} s")
            }
            // The reader has met the end of standard output, and with it, as a
            // rule, of the process.
            Err(RecvTimeoutError::Disconnected) => "ended before it was ready".to_owned(),
        };
        let _ = read_whole.recv_timeout(Duration::from_secs(1));
        let _ = child.kill();
        let status = child.wait()?;
        Err(format!(
            "{} {why} ({status}); it said:\n{}",
            program.display(),
            lines_of(&tail)
        )
        .into())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the memory of the process from `/proc`; an error where there is
    /// none.
    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        memory_of(&text).ok_or_else(|| format!("{path}: no VmRSS and VmHWM").into())
    }

    /// Asks the process to end and waits for it. An end that is not a clean one
    /// is an error: a server that crashed under load has no figures to show.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!(
                "the server had ended by itself ({status}); it said:\n{}",
                lines_of(&self.tail)
            )
            .into());
        }
        terminate(&self.child)?;
        let asked_at = clock::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                return Err(format!(
                    "the server ended with {status} after SIGTERM; it said:\n{}",
                    lines_of(&self.tail)
                )
                .into());
            }
            if clock::now() - asked_at > Duration::from_secs(STOP_SECS_MAX) {
                // `Drop` kills it.
                return Err(format!("the server did not stop within {STOP_SECS_MAX} s").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    /// No child survives its bench, whichever way the bench ends.
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(child: &Child) -> Result<(), Error> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or("the child has no process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    Ok(())
}

/// Reads a stream to its end in a thread of its own. Reports the first address
/// announced on it, if somebody waits for one, and keeps the last lines.
fn drain(
    stream: impl Read + Send + 'static,
    tail: Tail,
    mut announced: Option<Sender<SocketAddr>>,
    reading: Sender<()>,
) {
    thread::spawn(move || {
        let _reading = reading;
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(address) = announced.as_ref().and_then(|_| address_of(&line))
                && let Some(waiting) = announced.take()
            {
                // The receiver is gone only if the start has failed already.
                let _ = waiting.send(address);
            }
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == LINES_SHOWN_MAX {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    });
}

fn lines_of(tail: &Tail) -> String {
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    tail.iter()
        .fold(String::new(), |text, line| text + "  " + line + "\n")
}

fn address_of(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(READY)?;
    rest.split(|character: char| character.is_whitespace() || character == '/')
        .next()?
        .parse()
        .ok()
}

/// Reads the two lines of `/proc/PID/status` that count, which are in KiB
/// although they say kB.
fn memory_of(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some(Memory {
        resident: field("VmRSS:")?,
        resident_peak: field("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shell(script: &str) -> Result<Server, Error> {
        Server::start(Path::new("/bin/sh"), &["-c", script])
    }

    #[test]
    fn the_address_is_found_in_the_announcing_line() {
        let expected: SocketAddr = "127.0.0.1:7600".parse().unwrap();
        for line in [
            "listening on http://127.0.0.1:7600",
            "2030-01-01 INFO listening on http://127.0.0.1:7600/ (all dialects)",
            "listening on http://127.0.0.1:7600 \r",
        ] {
            assert_eq!(address_of(line), Some(expected), "{line:?}");
        }
        for line in [
            "",
            "listening on http://",
            "listening on http://somewhere",
            "ready",
        ] {
            assert_eq!(address_of(line), None, "{line:?}");
        }
    }

    #[test]
    fn memory_is_read_from_the_status_file() {
        let text = "Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t2\n";
        assert_eq!(
            memory_of(text),
            Some(Memory {
                resident: 10 << 20,
                resident_peak: 20 << 20
            })
        );
        assert_eq!(memory_of("Name:\tx\n"), None);
        assert_eq!(memory_of("VmHWM:\t1 kB\nVmRSS:\tmuch kB\n"), None);
    }

    #[test]
    fn a_server_is_started_and_stopped() {
        let server = shell(
            "trap 'exit 0' TERM; echo starting; echo listening on http://127.0.0.1:4242; \
             while :; do sleep 0.05; done",
        )
        .unwrap();
        assert_eq!(server.address().port(), 4242);
        assert!(server.memory().unwrap().resident > 0);
        server.stop().unwrap();
    }

    #[test]
    fn a_server_that_ends_early_is_quoted() {
        let error = shell("echo no port left >&2; exit 3")
            .unwrap_err()
            .to_string();
        assert!(error.contains("ended before it was ready"), "{error}");
        assert!(error.contains("no port left"), "{error}");
    }

    #[test]
    fn a_server_that_ends_under_load_is_an_error() {
        let mut server = shell("echo listening on http://127.0.0.1:1; exit 7").unwrap();
        // Its memory goes a moment before it can be waited for.
        while server.child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(10));
        }
        let error = server.stop().unwrap_err().to_string();
        assert!(error.contains("had ended by itself"), "{error}");
        assert!(error.contains('7'), "{error}");
    }

    #[test]
    fn a_stop_that_is_not_clean_is_an_error() {
        let server = shell("echo listening on http://127.0.0.1:1; exec sleep 60").unwrap();
        let error = server.stop().unwrap_err().to_string();
        assert!(error.contains("after SIGTERM"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Server::start(Path::new("/nowhere/tokenhouse"), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/tokenhouse"), "{error}");
    }
}
