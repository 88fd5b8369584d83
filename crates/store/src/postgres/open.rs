//! Opening: the checks that give clear errors, the migrations, the pools.
//!
//! The one thing to know: nothing that is shown may hold the password. Errors name the server and the database, never the
//! URL.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::error::{Error, SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Postgres;
use super::address::{configure, parse};
use super::migrate::{Schema, is_unfinished, migrate, schema};
use super::nodes::Nodes;
use super::pool::{Session, Times, pool};
use super::queue::Door;
use super::readers::Readers;
use super::spending::Spending;
use super::trouble::{Trouble, cause_of, shown};
use super::writer::Writer;
use crate::{OpenError, Options};

/// Which server and database, for messages.
#[derive(Clone, Debug)]
pub(super) struct Place {
    name: String,
    user: String,
    database: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Place {
    pub(super) fn of(config: &Config) -> Self {
        let hosts = config.get_hosts().iter().zip(
            // One port stands for all hosts.
            config.get_ports().iter().cycle(),
        );
        let hosts: Vec<String> = hosts
            .map(|(host, port)| match host {
                Host::Tcp(host) => format!("{host}:{port}"),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let database = config.get_dbname().or(config.get_user());
        let database = database.unwrap_or_default().to_owned();
        Self {
            name: format!("the database \"{database}\" on {}", hosts.join(",")),
            user: config.get_user().unwrap_or_default().to_owned(),
            database,
        }
    }

    /// What an error of PostgreSQL means while opening.
    pub(super) fn failed(&self, error: &Error) -> OpenError {
        let place = self.to_string();
        let message = shown(error);
        let Some(code) = error.code() else {
            return self.failed_before_the_server(error, message);
        };
        match *code {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                OpenError::Login {
                    place,
                    user: self.user.clone(),
                    message,
                }
            }
            SqlState::INVALID_CATALOG_NAME => OpenError::NoDatabase {
                place,
                database: self.database.clone(),
            },
            SqlState::INSUFFICIENT_PRIVILEGE | SqlState::INVALID_SCHEMA_NAME => {
                OpenError::DatabaseRights {
                    place,
                    user: self.user.clone(),
                    message,
                }
            }
            _ if code.code().starts_with("08") => OpenError::Unreachable { place, message },
            // Resources, the operator's intervention, the system below the server.
            _ if ["53", "57", "58"]
                .iter()
                .any(|class| code.code().starts_with(class)) =>
            {
                OpenError::Busy { place, message }
            }
            _ => OpenError::DatabaseFailed { place, message },
        }
    }

    /// The same for what the server has not said: this side has given up, or nobody was there.
    fn failed_before_the_server(&self, error: &Error, message: String) -> OpenError {
        let place = self.to_string();
        if let Some(rustls::Error::InvalidCertificate(_)) = cause_of::<rustls::Error>(error) {
            return OpenError::Untrusted { place, message };
        }
        // The driver has no word for it but this one, which a test holds it to.
        if message.ends_with("password missing") {
            return OpenError::NoPassword {
                place,
                user: self.user.clone(),
            };
        }
        OpenError::Unreachable { place, message }
    }

    /// The same for what did not even come to a statement.
    pub(super) fn trouble(&self, trouble: Trouble) -> OpenError {
        let message = match trouble {
            Trouble::Again(message) | Trouble::Unreachable(message) => message,
            Trouble::Refused(error) => error.to_string(),
        };
        OpenError::Unreachable {
            place: self.to_string(),
            message,
        }
    }
}

/// Which server and database a URL names.
pub(crate) fn place(url: &str) -> Result<String, OpenError> {
    let (config, ..) = parse(url)?;
    Ok(Place::of(&config).to_string())
}

/// Opens or creates the store at `url`.
pub(crate) async fn open(url: &str, options: Options) -> Result<Arc<Postgres>, OpenError> {
    let (config, tls) = configure(url, &options)?;
    let place = Place::of(&config);
    let failed = |message: String| OpenError::DatabaseFailed {
        place: place.to_string(),
        message,
    };
    let times = Times {
        connect: options.connect_timeout,
        wait: options.wait,
        statement: options.statement_timeout,
    };
    // A first connection by hand, because a pool hides why there is none.
    greet(&place, &config, tls.clone(), options.connect_timeout).await?;
    let writers = pool(&config, tls.clone(), times, options.writers.max(3)).map_err(failed)?;
    if options.create {
        migrate(
            &place,
            &writers,
            options.distributed,
            options.migration_wait,
        )
        .await?;
    } else {
        must_hold_a_store(&place, &writers).await?;
    }
    check_rights(&place, &writers).await?;
    let session = Session::of(&writers).await;
    let session = session.map_err(|trouble| place.trouble(trouble))?;
    if is_unfinished(&place, &session).await? {
        return Err(OpenError::UnfinishedCopy {
            place: place.to_string(),
        });
    }
    session.keep();
    let nodes = Nodes::new(&config, &tls, writers.clone());
    let readers = pool(&config, tls, times, options.readers).map_err(failed)?;
    let spending = Spending::new(
        writers.clone(),
        options.writers.max(3),
        options.commit_faults.clone(),
        options.deadline,
        options.wait,
    );
    Ok(Arc::new(Postgres {
        place,
        door: Door::new(options.queue, options.wait),
        writer: Arc::new(Writer {
            pool: writers,
            readers: readers.clone(),
            nodes,
            deadline: options.deadline,
            faults: options.commit_faults,
            lines: Mutex::default(),
        }),
        spending: Arc::new(spending),
        readers: Readers {
            pool: readers,
            deadline: options.read_deadline,
        },
    }))
}

async fn must_hold_a_store(place: &Place, pool: &deadpool_postgres::Pool) -> Result<(), OpenError> {
    let session = Session::of(pool)
        .await
        .map_err(|trouble| place.trouble(trouble))?;
    let place_of = || place.to_string();
    match schema(place, &session).await? {
        Schema::Nothing => Err(OpenError::Nothing { place: place_of() }),
        // Other nodes may be at work on it; it is for a server to say that they go on beside a new schema.
        Schema::Old => Err(OpenError::Behind { place: place_of() }),
        Schema::Present => {
            session.keep();
            Ok(())
        }
    }
}

/// What is older is refused at once. This one is the first in which a migration adds a column with a default without writing
/// the whole table anew; nothing that the SQL needs is known to be lacking in it. Engines that speak the protocol call
/// themselves by the version that they are like.
const OLDEST: u32 = 11;

/// Connects once and looks at what nothing else would explain.
pub(super) async fn greet(
    place: &Place,
    config: &Config,
    tls: MakeRustlsConnect,
    wait: Duration,
) -> Result<(), OpenError> {
    let unreachable = |message: &str| OpenError::Unreachable {
        place: place.to_string(),
        message: message.to_owned(),
    };
    let connecting = tokio::time::timeout(wait * 2, config.connect(tls.clone())).await;
    let connecting = connecting.map_err(|_| unreachable("it does not answer in time"))?;
    let (client, connection) = match connecting {
        Ok(connected) => connected,
        Err(error) if is_read_only(&error) => return Err(read_only(place, config, tls, wait).await),
        Err(error) => return Err(place.failed(&error)),
    };
    let version = connection.parameter("server_version").unwrap_or_default();
    if is_too_old(version) {
        return Err(OpenError::TooOld {
            place: place.to_string(),
            version: version.to_owned(),
            oldest: OLDEST,
        });
    }
    let greeting = async {
        let encoding = client.query_one("SHOW server_encoding", &[]).await;
        let encoding: String = encoding
            .and_then(|row| row.try_get(0))
            .map_err(|error| place.failed(&error))?;
        if !["UTF8", "utf8"].contains(&encoding.as_str()) {
            return Err(OpenError::Encoding {
                place: place.to_string(),
                encoding,
            });
        }
        Ok(())
    };
    tokio::select! {
        greeted = greeting => greeted,
        _ = connection => Err(unreachable("it closed the connection")),
        () = tokio::time::sleep(wait) => Err(unreachable("it does not answer in time")),
    }
}

/// Whether a server's version, as in "9.6.24" or "15.7 (Debian …)", is one that will not do. One that says something else is
/// given the benefit of the doubt.
fn is_too_old(version: &str) -> bool {
    let major = version
        .split(|letter: char| !letter.is_ascii_digit())
        .next();
    major
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major < OLDEST)
}

/// Whether the driver has turned away from a server because nothing can be written there.
fn is_read_only(error: &Error) -> bool {
    let cause = cause_of::<std::io::Error>(error);
    // The system gives this kind only for what is no network: a socket in the file system, of which the text is another.
    cause.is_some_and(|cause| {
        cause.kind() == std::io::ErrorKind::PermissionDenied && cause.raw_os_error().is_none()
    })
}

/// Finds out why nothing can be written.
async fn read_only(
    place: &Place,
    config: &Config,
    tls: MakeRustlsConnect,
    wait: Duration,
) -> OpenError {
    let mut config = config.clone();
    config.target_session_attrs(TargetSessionAttrs::Any);
    let asking = async {
        let (client, connection) = config.connect(tls).await?;
        let asked = client.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]);
        tokio::select! {
            row = asked => row?.try_get(0),
            // Its end is the question's, which says why.
            _ = connection => Ok(false),
        }
    };
    let standby = tokio::time::timeout(wait * 2, asking).await;
    let message = if matches!(standby, Ok(Ok(true))) {
        "it is a standby, which only repeats what the primary writes; name the primary, or all servers as host1,host2, of \
         which the one that writes is taken"
    } else {
        "default_transaction_read_only is on for the server, the database or the user; set it off (ALTER SYSTEM, ALTER \
         DATABASE or ALTER ROLE … SET default_transaction_read_only = off)"
    };
    OpenError::ReadOnly {
        place: place.to_string(),
        message,
    }
}

/// Whether this user may do with the tables what the program does: somebody else may have made them.
pub(super) async fn check_rights(
    place: &Place,
    pool: &deadpool_postgres::Pool,
) -> Result<(), OpenError> {
    let session = Session::of(pool)
        .await
        .map_err(|trouble| place.trouble(trouble))?;
    for table in [
        "schema",
        "realm_lock",
        "token",
        "value",
        "record",
        "locator",
        "mark",
        "event",
        "change",
        "usage",
        "node",
        "hold",
        "acknowledgement",
    ] {
        let granted = session
            .query_one(
                "SELECT has_table_privilege(current_user, $1::text, 'SELECT') \
                 AND has_table_privilege(current_user, $1::text, 'INSERT') \
                 AND has_table_privilege(current_user, $1::text, 'UPDATE') \
                 AND has_table_privilege(current_user, $1::text, 'DELETE')",
                &[&table],
            )
            .await;
        let granted: bool = granted
            .and_then(|row| row.try_get(0))
            .map_err(|error| place.failed(&error))?;
        if !granted {
            return Err(OpenError::DatabaseRights {
                place: place.to_string(),
                user: place.user.clone(),
                message: format!("the table {table} may not be read and written"),
            });
        }
    }
    session.keep();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_too_old;

    #[test]
    fn versions_are_compared_by_their_first_number() {
        for old in ["9.6.24", "10.23", "8.1"] {
            assert!(is_too_old(old), "{old}");
        }
        for good in [
            "11.2-YB-2.20.1.0-b0",
            "13.0.0",
            "15.7 (Debian 15.7-0)",
            "17beta1",
            "",
            "x",
        ] {
            assert!(!is_too_old(good), "{good}");
        }
    }
}
