//! Private PostgreSQL servers for tests, from the machine's binaries.
//!
//! The one thing to know: a server belongs to the test process. A small supervisor holds a pipe to it and, when the pipe
//! closes because the process has ended or was killed, stops the server and removes its directory. Nothing here touches a
//! server that the machine may run by itself.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Between two looks whether the server answers.
const LOOK: Duration = Duration::from_millis(20);

/// Looks before a server that does not answer fails the test: a minute, for machines that do much else.
const LOOKS_MAX: u32 = 3_000;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a commit is flushed. Without it tests are faster, and a crash of the server (not of the machine) still
    /// loses nothing that the operating system was given.
    pub fsync: bool,
    /// Connections it takes.
    pub connections_max: u32,
    /// The password of the user `postgres`; without one everybody is let in from this machine.
    pub password: Option<String>,
    /// Further lines for its settings file, as `(name, value)`; the value is quoted here.
    pub settings: Vec<(String, String)>,
    /// Further words for `initdb`.
    pub initdb: Vec<String>,
    /// Files put beside the data, readable by the server alone: name and content. Settings name them relative to the data.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fsync: true,
            connections_max: 200,
            password: None,
            settings: Vec::new(),
            initdb: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// A running server, stopped and removed when this is dropped.
pub struct Server {
    bin: PathBuf,
    home: PathBuf,
    port: u16,
    password: Option<String>,
    supervisor: Mutex<Supervisor>,
}

struct Supervisor {
    process: Child,
    /// `None` only while it is being dropped.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// The server that all tests of a process share, started by the first who asks; it does not flush. Each test makes a
/// database of its own in it.
pub fn shared() -> &'static Server {
    // One server for each process instead of one for each test is what makes several hundred tests bearable.
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| {
        Server::start(&Options {
            fsync: false,
            connections_max: 500,
            ..Options::default()
        })
    })
}

impl Server {
    /// Starts a server of its own and waits until it answers.
    pub fn start(options: &Options) -> Self {
        let bin = programs();
        let home = private_directory();
        let user = unprivileged_user();
        let data = home.join("data");
        let own = |path: &Path| {
            if let Some((uid, gid)) = user {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))
                    .expect("root may give its file away");
            }
        };
        own(&home);
        let run_as = |command: &mut Command| {
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir("/");
        };

        let mut initdb = Command::new(bin.join("initdb"));
        initdb.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        initdb.args(&options.initdb);
        if let Some(password) = &options.password {
            let file = home.join("password");
            fs::write(&file, password).expect("the directory is new and ours");
            own(&file);
            initdb.args(["-A", "scram-sha-256", "--pwfile"]).arg(&file);
        } else {
            initdb.args(["-A", "trust"]);
        }
        run_as(&mut initdb);
        run(initdb);

        for (name, content) in &options.files {
            let file = data.join(name);
            fs::write(&file, content).expect("the directory is new and ours");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
                .expect("the file is ours");
            own(&file);
        }
        let on = |flag| if flag { "on" } else { "off" }.to_owned();
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            // Paths of sockets end at 107 bytes; TCP has no such limit.
            ("unix_socket_directories".to_owned(), String::new()),
            (
                "max_connections".to_owned(),
                options.connections_max.to_string(),
            ),
            ("fsync".to_owned(), on(options.fsync)),
            ("shared_buffers".to_owned(), "64MB".to_owned()),
            // A file for each of many small databases would be most of the work.
            ("autovacuum_naptime".to_owned(), "5s".to_owned()),
        ];
        settings.extend(options.settings.iter().cloned());
        let mut text = fs::read_to_string(data.join("postgresql.conf"))
            .expect("initdb has written its settings");
        for (name, value) in settings {
            text.push_str(&name);
            text.push_str(" = '");
            text.push_str(&value.replace('\'', "''"));
            text.push_str("'\n");
        }
        fs::write(data.join("postgresql.conf"), text).expect("the directory is ours");

        let port = free_port();
        let mut supervisor = Command::new("sh");
        supervisor
            .args(["-c", include_str!("supervisor.sh"), "supervisor"])
            .arg(&bin)
            .arg(&home)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A signal from the keyboard goes to the tests' group; the supervisor must outlive it.
            .process_group(0);
        run_as(&mut supervisor);
        let mut process = supervisor.spawn().expect("there is a shell");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it was asked to be piped"));
        let server = Self {
            bin,
            home,
            port,
            password: options.password.clone(),
            supervisor: Mutex::new(Supervisor {
                process,
                orders,
                answers,
            }),
        };
        server.wait_until_ready();
        server
    }

    /// Where it listens, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The URL of one of its databases, for the user `postgres`, with the password if there is one.
    pub fn url(&self, database: &str) -> String {
        let password = self.password.as_ref();
        let password = password.map_or(String::new(), |password| format!(":{password}"));
        format!(
            "postgres://postgres{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Makes an empty database and gives its name, which no other of this server has.
    pub fn create_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL in a database as its administrator and gives what it prints: one row a line, columns parted by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p"])
            .args([&self.port.to_string(), "-d", database])
            .env("PGPASSWORD", self.password.as_deref().unwrap_or_default());
        run(psql)
    }

    /// Lets none of its files grow beyond this many bytes, as on a full disk; `None` takes that back. A limit that is no
    /// multiple of a page makes the server speak of a full disk. Below what its largest file has now, it could not even
    /// write that.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let file = fs::read_to_string(self.home.join("data/postmaster.pid"));
        let file = file.expect("it is running");
        let first: i32 = file
            .lines()
            .next()
            .and_then(|line| line.parse().ok())
            .expect("the first line is the process");
        // The first process before its children: those that it starts meanwhile have the limit already.
        let user = unprivileged_user();
        limit_files_as(user, first, bytes);
        let processes = fs::read_dir("/proc").expect("there is a /proc");
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        for process in numbers {
            if parent_of(process) == Some(first) {
                limit_files_as(user, process, bytes);
            }
        }
    }

    /// Stops it as an operator does: sessions are ended, everything is written.
    pub fn stop(&self) {
        self.order("stop");
    }

    /// Stops it as `pg_ctl -m immediate` does, which is a crash: the next start recovers from the log.
    pub fn stop_immediately(&self) {
        self.order("immediate");
    }

    /// Kills its first process; the others end when they notice.
    pub fn kill(&self) {
        self.order("kill");
    }

    /// Starts it again after it was stopped or killed, on the same port, and waits until it answers.
    pub fn start_again(&self) {
        self.order("start");
        self.wait_until_ready();
    }

    fn order(&self, order: &str) {
        let mut supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let orders = supervisor.orders.as_mut().expect("it is not dropped");
        writeln!(orders, "{order}").expect("the supervisor reads until it is dropped");
        let mut answer = String::new();
        supervisor
            .answers
            .read_line(&mut answer)
            .expect("the supervisor answers each order");
        assert_eq!(answer.trim(), order, "the supervisor answers each order");
    }

    fn wait_until_ready(&self) {
        for _ in 0..LOOKS_MAX {
            let ready = Command::new(self.bin.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .expect("pg_isready lies beside postgres");
            if ready.success() {
                return;
            }
            thread::sleep(LOOK);
        }
        let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
        panic!("PostgreSQL does not start:\n{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let supervisor = self
            .supervisor
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        drop(supervisor.orders.take());
        // It ends when the server has ended and the directory is gone.
        let _ = supervisor.process.wait();
    }
}

fn parent_of(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("PPid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Lets no file of a process, and of those that it starts, grow beyond this many bytes; `None` takes that back.
pub fn limit_files_of(process: i32, bytes: Option<u64>) {
    limit_files_as(None, process, bytes);
}

/// The same as another user: even root may have no power over a process that is not its own.
fn limit_files_as(user: Option<(u32, u32)>, process: i32, bytes: Option<u64>) {
    let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let mut prlimit = Command::new("prlimit");
    // The colon leaves the hard limit as it is.
    prlimit.args([format!("--pid={process}"), format!("--fsize={bytes}:")]);
    if let Some((uid, gid)) = user {
        prlimit.uid(uid).gid(gid);
    }
    let output = prlimit.current_dir("/").output();
    let output = output.expect("prlimit is a part of every Linux system");
    // One that has ended meanwhile writes nothing.
    assert!(
        output.status.success() || !Path::new(&format!("/proc/{process}")).exists(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The directory of `initdb`, `postgres` and `psql`: on the path, or the newest of those that Debian keeps off it.
fn programs() -> PathBuf {
    let whole = |directory: &Path| {
        ["initdb", "postgres", "psql", "pg_isready"]
            .iter()
            .all(|program| directory.join(program).exists())
    };
    let found = Command::new("sh")
        .args(["-c", "command -v initdb"])
        .output()
        .expect("there is a shell");
    // A link on the path leads to the directory in which all of them lie.
    let linked = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    let on_path = linked.canonicalize().ok().and_then(|path| {
        let directory = path.parent()?;
        whole(directory).then(|| directory.to_owned())
    });
    if let Some(directory) = on_path {
        return directory;
    }
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, directory)| whole(directory))
        .max();
    newest
        .expect(
            "no PostgreSQL server on this machine: install it (Debian: apt-get install postgresql)",
        )
        .1
}

/// Whom to run the server as: it refuses to be root. `None` if this process is not root.
fn unprivileged_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = ["postgres", "nobody"].iter().find_map(|name| {
        let uid = id(&["-u", name])?;
        Some((uid, id(&["-g", name])?))
    });
    Some(
        user.expect(
            "there is a user `postgres` or `nobody`, because PostgreSQL does not run as root",
        ),
    )
}

/// A new directory below the machine's temporary one.
fn private_directory() -> PathBuf {
    for number in 0.. {
        let name = format!("tokenhouse-postgres-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        match fs::create_dir(&path) {
            Ok(()) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
                    .expect("the directory is ours");
                return path;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("no temporary directory {}: {error}", path.display()),
        }
    }
    unreachable!("there are more numbers than directories")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a loopback port is free")
        .port()
}

/// Runs a program to its end and gives what it prints.
fn run(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{}: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_restarted_and_leaves_nothing() {
        let server = Server::start(&Options {
            password: Some("it's secret".replace([' ', '\''], "")),
            ..Options::default()
        });
        let database = server.create_database();
        server.sql(&database, "CREATE TABLE t (x int)");
        server.sql(&database, "INSERT INTO t VALUES (7)");
        server.stop_immediately();
        server.start_again();
        assert_eq!(server.sql(&database, "SELECT x FROM t"), "7");
        server.kill();
        server.start_again();
        assert_eq!(server.sql(&database, "SELECT x FROM t"), "7");
        let home = server.home.clone();
        drop(server);
        assert!(!home.exists());
    }
}
