//! `tokenhouse serve`: the data directory taken, first credentials handed over, the server run until it is asked to stop.
//!
//! The one thing to know: standard output carries the line for each listener (and of a development server where its data
//! is) and nothing else, unless it is a terminal; a credential never goes into a pipe or a log.

use std::fs::Permissions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::store::Role;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use web::dialects::FirstCredential;

use crate::app::App;
use crate::cli::ServeArguments;
use crate::config::Variables;
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::open::{open, unbound, unusable};
use crate::serve::{Server, Sockets};
use crate::{control, logs, metrics};

/// Between two tidyings of the metrics' histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Serves.
pub(super) async fn run(arguments: ServeArguments, environment: Variables) -> Result<(), Failure> {
    let runtime_dir = environment.get("XDG_RUNTIME_DIR").map(PathBuf::from);
    let flags = arguments.flags();
    let settings = super::settings(&arguments.place, flags, environment, arguments.dev)?;
    logs::start(settings.log);
    for variable in &settings.unread {
        tracing::warn!(variable, "nothing reads this variable: is it misspelt?");
    }
    let recorded = metrics::start();
    // From here on a signal no longer kills.
    let mut signals = Signals::catch()?;
    let temporary = if settings.dev {
        // Whoever can read a development server's keyring can read its tokens.
        let private = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(private).tempdir();
        Some(directory.map_err(Failure::failed)?)
    } else {
        None
    };
    let directory = temporary
        .as_ref()
        .map_or(settings.data.as_path(), tempfile::TempDir::path);
    let data = DataDir::create(directory).map_err(|error| unusable(&error))?;
    let place = store::place(&settings.store_url(data.path())).map_err(Failure::usage)?;
    data.serves(&place).map_err(|error| unusable(&error))?;
    raise_file_limit();
    let sockets = Sockets::bind(&settings).await?;
    let app = open(&data, &settings, Role::Server).await?;
    let begun = begin(&app, &data, runtime_dir.as_deref()).await;
    let (listener, _files) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            // Nobody shall wait for a node that never came to be.
            app.engine.close().await;
            return Err(failure);
        }
    };

    let urls = sockets.urls();
    let text = metrics::text_of(&recorded);
    let server = Server::start(app, sockets, Some(listener), &settings, &text);
    announce(&urls, temporary.as_ref().map(tempfile::TempDir::path))?;
    let upkeep = tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            recorded.run_upkeep();
        }
    });
    let unfit = tokio::select! {
        () = signals.wait() => None,
        error = server.unfit() => Some(error),
    };
    server.turn_away();
    if unfit.is_none() {
        tracing::info!(delay_secs = settings.stop_delay.as_secs_f32(), "stopping");
        // Whoever asks a second time does not want to wait; and nothing is due if no delay is set.
        let _ = tokio::time::timeout(settings.stop_delay, signals.wait()).await;
    }
    upkeep.abort();
    server.stop(settings.stop_timeout).await;
    tracing::info!("stopped");
    match unfit {
        None => Ok(()),
        Some(error) => Err(unbound(&error, &settings.keyring_file(data.path()))),
    }
}

/// What is left to do before anything answers: first credentials are made and handed over, and the control socket is there.
async fn begin(
    app: &App,
    data: &DataDir,
    runtime_dir: Option<&Path>,
) -> Result<(UnixListener, control::ControlFiles), Failure> {
    let interrupted = data
        .begin_handing_over()
        .map_err(|error| unusable(&error))?;
    let credentials = app.seed().await.map_err(Failure::failed)?;
    hand_over(data, &credentials)?;
    if interrupted {
        tracing::warn!(
            "an earlier start did not come to its end: first credentials that it made may be in no file; \
             if one is missing, make another with `tokenhouse token issue`"
        );
    }
    data.handed_over().map_err(|error| unusable(&error))?;
    control::bind(data, runtime_dir)
        .map_err(|error| Failure::failed(format!("the control socket cannot be made: {error}")))
}

/// First credentials go to a file, and to the terminal if there is one – never into a pipe or a log.
fn hand_over(data: &DataDir, credentials: &[FirstCredential]) -> Result<(), Failure> {
    if credentials.is_empty() {
        return Ok(());
    }
    let path = data.write_first_credentials(credentials).map_err(|error| {
        Failure::failed(format!(
            "the first credentials could not be written: {error}"
        ))
        .hint("make new ones with `tokenhouse token issue`")
    })?;
    tracing::info!(path = %path.display(), "wrote first credentials: take them and delete the file");
    let mut stdout = std::io::stdout();
    if stdout.is_terminal() {
        for credential in credentials {
            // A terminal that is gone: they are in the file.
            let _ = writeln!(
                stdout,
                "{}: {}",
                credential.label,
                credential.secret.expose()
            );
        }
        let _ = writeln!(stdout, "(also in {})", path.display());
    }
    Ok(())
}

/// Tells where it listens, and where commands find it if that is not where they look by themselves.
fn announce(urls: &[String], temporary: Option<&Path>) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    for url in urls {
        writeln!(stdout, "listening on {url}").map_err(Failure::failed)?;
    }
    if let Some(data) = temporary {
        let data = data.display();
        writeln!(
            stdout,
            "temporary data in {data}, for `tokenhouse token … --data {data}`"
        )
        .map_err(Failure::failed)?;
    }
    stdout.flush().map_err(Failure::failed)
}

/// A connection is a file: as many as the system lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files could not be raised");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone. Nothing is reloaded by it, so it is no reason to die without a word either.
    hangup: Signal,
    /// Nobody waits for it. Uncaught it would end the process where a file must not grow any further; caught, the write
    /// fails as on a full disk.
    _file_size: Signal,
}

impl Signals {
    fn catch() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(Failure::failed);
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
            _file_size: catch(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
