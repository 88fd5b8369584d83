//! The real program: its help, its exit codes, what it refuses, and the files it leaves.
//!
//! The one thing to know: every test has a data directory of its own, and every server is killed by its guard, so that
//! tests run beside each other and leave nothing behind.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn program() -> Command {
    alone(Path::new(env!("CARGO_BIN_EXE_tokenhouse")))
}

/// The program of the schema before, which `upgrade/run.sh` builds beside it.
pub(crate) fn former_program() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_tokenhouse")).with_file_name("former-tokenhouse");
    assert!(path.exists(), "upgrade/run.sh builds {}", path.display());
    alone(&path)
}

fn alone(path: &Path) -> Command {
    let mut command = Command::new(path);
    // The developer's own environment must not decide.
    command.env_clear().stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs to the end, with this exit code; returns both streams.
pub(crate) fn run(arguments: &[&str], code: i32) -> (String, String) {
    let output = output(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}\n{err}"
    );
    (out, err)
}

/// A running server; killed at the end of its test.
pub(crate) struct Served {
    child: Child,
    pub(crate) url: String,
    lines: BufReader<std::process::ChildStdout>,
    /// Reads all the time: a server whose log nobody reads stands still when the pipe is full.
    log: Option<JoinHandle<String>>,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_program(program(), arguments, environment)
    }

    pub(crate) fn start_program(
        mut program: Command,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut child = program
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            panic!("{line:?}\n{}", log.join().unwrap());
        };
        let url = url.to_owned();
        Self {
            child,
            url,
            lines,
            log: Some(log),
        }
    }

    /// Its process.
    pub(crate) fn process(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Asks it to stop; returns what else it had said, and its log.
    pub(crate) fn stop(mut self, signal: Signal) -> (String, String) {
        self.signal(signal);
        let mut more = String::new();
        self.lines.read_to_string(&mut more).unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        (more, log)
    }

    /// Waits until it has ended by itself; returns its exit code and its log.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let log = self.log.take().unwrap().join().unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Place {
    above: TempDir,
    pub(crate) data: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let above = tempfile::tempdir().unwrap();
        let data = above.path().join("data");
        Self { above, data }
    }

    pub(crate) fn path(&self) -> &str {
        self.data.to_str().unwrap()
    }

    pub(crate) fn token(&self, arguments: &[&str], code: i32) -> (String, String) {
        let place = ["--data", self.path()];
        run(&[&["token"][..], arguments, &place].concat(), code)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let (out, _) = self.token(&[arguments, &["--json"]].concat(), 0);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn help_teaches_and_wrong_arguments_are_told_apart() {
    let (out, err) = run(&["--help"], 0);
    assert!(
        out.contains("Exit codes:") && out.contains("Examples:"),
        "{out}"
    );
    assert!(err.is_empty());
    assert!(run(&["--version"], 0).0.starts_with("tokenhouse "));
    for command in [
        &["serve"][..],
        &["demo"],
        &["token", "issue"],
        &["token", "update"],
    ] {
        let (out, _) = run(&[command, &["--help"]].concat(), 0);
        assert!(out.contains("Usage: tokenhouse"), "{out}");
    }
    for wrong in [
        &[][..],
        &["no-such-command"],
        &["serve", "--no-such-flag"],
        &["serve", "--dev", "--data", "x"],
        &["serve", "--set", "no-such-setting=1"],
        &["serve", "--set", "retention"],
        &["serve", "--set", "retention=forever"],
        &["serve", "--listen", "nonsense"],
        &["serve", "--config", "/nowhere/at/all.toml"],
        &["token", "update", "x", "--name", "a"],
        &["token", "update", "01a2131c-8a71-7272-b22b-bdf9312832b6"],
        &["token", "show", "*:*.some-secret"],
    ] {
        let (out, err) = run(wrong, 2);
        assert!(out.is_empty() && !err.is_empty(), "{wrong:?}: {out}{err}");
        assert!(!err.contains("some-secret"), "{err}");
    }
}

#[test]
fn the_first_start_makes_what_is_needed_with_the_right_modes_and_stops_on_signals() {
    let place = Place::new();
    let server = Served::start(&["--data", place.path()]);
    assert!(server.url.starts_with("http://127.0.0.1:"));
    assert_eq!(mode(&place.data), 0o700);
    for file in [
        "keyring.json",
        "first-credentials.txt",
        "control.sock",
        "store.sqlite",
    ] {
        assert_eq!(mode(&place.data.join(file)), 0o600, "{file}");
    }
    let credentials = fs::read_to_string(place.data.join("first-credentials.txt")).unwrap();
    let secrets: Vec<_> = credentials
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").unwrap().1.to_owned())
        .collect();
    assert!(!secrets.is_empty());
    let (more, log) = server.stop(Signal::TERM);
    assert_eq!(
        more, "",
        "one line for one listener, and no credential into a pipe"
    );
    for secret in secrets {
        assert!(!log.contains(&secret));
    }
    assert!(!place.data.join("control.sock").exists());
    assert!(
        !place.data.join("store.sqlite-wal").exists(),
        "closed cleanly"
    );

    let before = fs::read(place.data.join("keyring.json")).unwrap();
    Served::start(&["--data", place.path()]).stop(Signal::INT);
    assert_eq!(fs::read(place.data.join("keyring.json")).unwrap(), before);
    assert!(!place.data.join("first-credentials-2.txt").exists());
}

#[test]
fn other_addresses_need_protection() {
    let place = Place::new();
    for arguments in [
        &["--data", place.path(), "--listen", "0.0.0.0:0"][..],
        &["--data", place.path(), "--listen", "[::]:0"],
        &["--dev", "--listen", "0.0.0.0:0", "--behind-proxy"],
        &[
            "--data",
            place.path(),
            "--set",
            "dialects.unleash.listen=0.0.0.0:0",
        ],
        &["--data", place.path(), "--tls-cert", "/nowhere/cert.pem"],
    ] {
        let (out, _) = run(&[&["serve"][..], arguments].concat(), 2);
        assert!(out.is_empty());
    }
    assert!(!place.data.exists(), "nothing was done");
    let missing = [
        "--tls-cert",
        "/nowhere/cert.pem",
        "--tls-key",
        "/nowhere/key.pem",
    ];
    let (_, err) = run(
        &[&["serve", "--data", place.path()][..], &missing].concat(),
        2,
    );
    assert!(err.contains("/nowhere/cert.pem"), "{err}");
}

#[test]
fn one_process_owns_a_data_directory() {
    let place = Place::new();
    let server = Served::start(&["--data", place.path()]);
    let (_, err) = run(
        &["serve", "--data", place.path(), "--listen", "127.0.0.1:0"],
        1,
    );
    let pid = server.child.id();
    assert!(
        err.contains(&format!("in use by the process {pid}")),
        "{err}"
    );
    assert!(err.contains("hint:"), "{err}");
}

#[test]
fn a_keyring_that_is_missing_foreign_or_open_to_others_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    for place in [&place, &other] {
        Served::start(&["--data", place.path()]).stop(Signal::TERM);
    }
    let keyring = place.data.join("keyring.json");
    let own = fs::read(&keyring).unwrap();
    let refused = || {
        let serve = run(
            &["serve", "--data", place.path(), "--listen", "127.0.0.1:0"],
            1,
        )
        .1;
        place.token(&["list"], 1);
        serve
    };

    fs::remove_file(&keyring).unwrap();
    let err = refused();
    assert!(err.contains("missing") && err.contains("backup"), "{err}");
    assert!(!keyring.exists(), "no new one was made");

    fs::copy(other.data.join("keyring.json"), &keyring).unwrap();
    let err = refused();
    assert!(err.contains("belongs to keyring"), "{err}");

    fs::write(&keyring, "{}").unwrap();
    assert!(refused().contains("cannot be used"));

    fs::write(&keyring, own).unwrap();
    fs::set_permissions(&keyring, Permissions::from_mode(0o644)).unwrap();
    assert!(refused().contains("0600"));
    fs::set_permissions(&keyring, Permissions::from_mode(0o600)).unwrap();
    Served::start(&["--data", place.path()]).stop(Signal::TERM);
}

#[test]
fn token_commands_work_with_and_without_a_server() {
    let place = Place::new();
    let (_, err) = place.token(&["list"], 1);
    assert!(err.contains("no data directory"), "{err}");
    let server = Served::start(&["--data", place.path()]);
    let issue = [
        "issue",
        "--realm",
        "unleash",
        "--class",
        "client",
        "--name",
        "a\u{1b}[31mb",
        "--permission",
        "project:default",
        "--permission",
        "environment:development",
        "--expires-in",
        "90d",
    ];
    let token = place.json(&issue);
    let id = token["id"].as_str().unwrap();
    assert!(
        token["secret"]
            .as_str()
            .unwrap()
            .starts_with("default:development.")
    );
    let listed = place.json(&["list"]);
    assert!(listed.as_array().unwrap().iter().any(|one| one["id"] == id));
    assert!(
        !listed
            .to_string()
            .contains(token["secret"].as_str().unwrap())
    );
    let updated = place.json(&[
        "update",
        id,
        "--tag",
        "a",
        "--never-expires",
        "--if-version",
        "1",
    ]);
    assert_eq!(
        (&updated["version"], &updated["expires_at"]),
        (&2.into(), &Value::Null)
    );
    let (out, _) = place.token(&["show", id], 0);
    assert!(!out.contains('\u{1b}'), "{out:?}");
    let (_, err) = place.token(&["update", id, "--name", "c", "--if-version", "1"], 1);
    assert!(err.contains("412"), "{err}");
    server.stop(Signal::TERM);

    // Nobody holds the store now: the command does it itself, by the same rules.
    let updated = place.json(&[
        "update",
        id,
        "--name",
        "c",
        "--no-tags",
        "--if-version",
        "2",
    ]);
    assert_eq!(
        (&updated["name"], &updated["version"]),
        (&"c".into(), &3.into())
    );
    let revoked = place.json(&["revoke", id, "--realm", "unleash"]);
    assert_eq!(revoked["state"], "revoked");
    let history = place.json(&["history", id]);
    assert_eq!(history["changes"].as_array().unwrap().len(), 4);
    let nobody = "01a2131c-8a71-7272-b22b-bdf9312832b6";
    assert!(place.token(&["show", nobody], 1).1.contains("no realm"));
    assert!(
        place
            .token(&["list", "--realm", "nowhere"], 1)
            .1
            .contains("no such realm")
    );
    // And the server sees what it did.
    let server = Served::start(&["--data", place.path()]);
    assert_eq!(place.json(&["show", id])["state"], "revoked");
    drop(server);
}

#[test]
fn a_server_is_not_asked_in_place_of_another_store() {
    let place = Place::new();
    let own = format!("sqlite://{}", place.data.join("store.sqlite").display());
    let server = Served::start(&["--data", place.path()]);
    let (_, err) = place.token(&["list", "--store", "sqlite:///nowhere/other.sqlite"], 2);
    assert!(err.contains("another store"), "{err}");
    assert!(err.contains("leave out --store"), "{err}");
    place.token(&["list", "--store", &own], 0);
    drop(server);
}

#[test]
fn the_data_of_a_development_server_is_private_and_can_be_found() {
    let mut server = Served::start(&["--dev"]);
    let mut line = String::new();
    server.lines.read_line(&mut line).unwrap();
    let data = line.strip_prefix("temporary data in ").unwrap();
    let (data, command) = data.split_once(", for ").unwrap();
    assert!(command.contains(&format!("--data {data}")), "{command}");
    let mode = fs::metadata(data).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    let (listed, _) = run(&["token", "list", "--data", data], 0);
    assert!(listed.contains("api-key"), "{listed}");
    drop(server);
}

#[test]
fn a_server_that_does_not_answer_is_unreachable() {
    let place = Place::new();
    let server = Served::start(&["--data", place.path()]);
    fs::remove_file(place.data.join("control.sock")).unwrap();
    let (_, err) = place.token(&["list"], 3);
    assert!(err.contains("does not answer"), "{err}");
    drop(server);
}

#[test]
fn a_socket_path_that_is_too_long_is_pointed_to() {
    let above = tempfile::tempdir().unwrap();
    let data = above.path().join("long".repeat(30));
    let place = Place { above, data };
    let runtime = tempfile::tempdir().unwrap();
    let environment = [("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap())];
    let server = Served::start_with(&["--data", place.path()], &environment);
    assert!(!place.json(&["list"]).as_array().unwrap().is_empty());
    assert!(place.data.join("control.path").exists());
    server.stop(Signal::TERM);
    assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0);
}

#[test]
fn a_misspelt_variable_is_noticed_and_those_of_others_are_not() {
    let place = Place::new();
    let environment = [
        ("TOKENHOUSE_RETENTON", "5h"),
        ("TOKENHOUSE_RETENTION", "5h"),
        ("TOKENHOUSE_UNLEASH_KEEP_SECRET", "false"),
        ("SOMEBODY_ELSES", "x"),
    ];
    let server = Served::start_with(&["--data", place.path()], &environment);
    let (_, log) = server.stop(Signal::HUP);
    let about = "nothing reads this variable";
    assert_eq!(log.matches(about).count(), 2, "{log}");
    for name in ["TOKENHOUSE_RETENTON", "TOKENHOUSE_UNLEASH_KEEP_SECRET"] {
        assert!(log.contains(name), "{log}");
    }
}

#[test]
fn settings_come_from_file_environment_and_flags() {
    let place = Place::new();
    let file = place.above.path().join("house.toml");
    let text = format!(
        "data = {:?}\nlog_format = \"json\"\nmetrics = true\n[dialects.unleash]\nlisten = \"127.0.0.1:0\"\n\
         [environment]\nINIT_ADMIN_API_TOKENS = \"*:*.from-the-file-0123456789abcdef\"\n",
        place.path()
    );
    fs::write(&file, text).unwrap();
    let mut server = Served::start_with(&[], &[("TOKENHOUSE_CONFIG", file.to_str().unwrap())]);
    let mut second = String::new();
    server.lines.read_line(&mut second).unwrap();
    assert!(
        second.starts_with("listening on http://127.0.0.1:"),
        "{second}"
    );
    assert!(!second.contains(&server.url));
    let (_, log) = server.stop(Signal::TERM);
    for line in log.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string(), "{line}");
    }
    let (_, err) = run(&["token", "list", "--config", file.to_str().unwrap()], 0);
    assert!(err.is_empty(), "{err}");
    fs::write(&file, "lisen = \"127.0.0.1:0\"").unwrap();
    let (_, err) = run(&["serve", "--config", file.to_str().unwrap()], 2);
    assert!(err.contains("lisen: there is no such setting"), "{err}");
}

#[test]
fn the_demo_is_true() {
    let (out, err) = run(&["demo"], 0);
    assert!(err.is_empty(), "{err}");
    assert!(
        ["infisical", "mindbridge", "piiano", "unleash"]
            .iter()
            .all(|dialect| out.contains(dialect))
            && !out.contains("NO"),
        "{out}"
    );
    let (out, _) = run(&["demo", "--json"], 0);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["holds"], true);
    assert_eq!(report["updates"].as_array().unwrap().len(), 9);
}

#[test]
fn generated_pages_are_current() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/generated");
    for (name, page) in tokenhouse::docs::pages() {
        let committed = fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert!(
            committed == page,
            "docs/generated/{name} is not current: run `make gen`"
        );
    }
    let into = tempfile::tempdir().unwrap();
    run(
        &["generate-docs", "--into", into.path().to_str().unwrap()],
        0,
    );
    assert_eq!(
        fs::read_dir(into.path()).unwrap().count(),
        tokenhouse::docs::pages().len()
    );
}
