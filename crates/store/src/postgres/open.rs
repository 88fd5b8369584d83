//! Opening: the URL, TLS, the checks that give clear errors, the migrations, the pools.
//!
//! The one thing to know: nothing that is shown may hold the password. Errors name the server and the database, never the
//! URL.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::{Error, SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Postgres;
use super::migrate::{is_unfinished, migrate};
use super::nodes::Nodes;
use super::pool::{Session, Times, pool};
use super::queue::Door;
use super::readers::Readers;
use super::trouble::{Trouble, shown};
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
            return OpenError::Unreachable { place, message };
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
            _ if ["08", "53", "57"]
                .iter()
                .any(|class| code.code().starts_with(class)) =>
            {
                OpenError::Unreachable { place, message }
            }
            _ => OpenError::DatabaseFailed { place, message },
        }
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
    migrate(
        &place,
        &writers,
        options.distributed,
        options.migration_wait,
    )
    .await?;
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
        readers: Readers {
            pool: readers,
            deadline: options.read_deadline,
        },
    }))
}

/// Connects once and looks at what nothing else would explain.
pub(super) async fn greet(
    place: &Place,
    config: &Config,
    tls: MakeRustlsConnect,
    wait: std::time::Duration,
) -> Result<(), OpenError> {
    let unreachable = |message: &str| OpenError::Unreachable {
        place: place.to_string(),
        message: message.to_owned(),
    };
    let connecting = tokio::time::timeout(wait * 2, config.connect(tls)).await;
    let connecting = connecting.map_err(|_| unreachable("it does not answer in time"))?;
    let (client, connection) = connecting.map_err(|error| place.failed(&error))?;
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

/// How the server's certificate is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Trust {
    /// Not at all: the connection is encrypted against listeners, not against an impostor.
    Anybody,
    /// It must be for the server's name, under one of the system's roots.
    System,
    /// It must be for the server's name, under a root of this file.
    File(String),
}

/// Takes the URL apart.
pub(super) fn configure(
    url: &str,
    options: &Options,
) -> Result<(Config, MakeRustlsConnect), OpenError> {
    let (plain, mode, root) = without_tls(url)?;
    let mut config: Config = plain.parse().map_err(|_| OpenError::Url {
        message: "write postgres://user@host:5432/database, with reserved characters of the password as %xx",
    })?;
    if config.get_hosts().is_empty() {
        return Err(OpenError::Url {
            message: "it names no host: write postgres://user@host:5432/database",
        });
    }
    let leaks = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
    if config.get_hosts().iter().any(leaks) {
        // What stands before it is the end of a password.
        return Err(OpenError::Url {
            message: "an @ stands where the host is: write an @ of the password as %40",
        });
    }
    if let Some(password) = &options.password {
        config.password(password.expose());
    }
    if config.get_application_name().is_none() {
        config.application_name("tokenhouse");
    }
    config.connect_timeout(options.connect_timeout);
    // A cable that was pulled is noticed by the kernel in about the time that a statement may take.
    config.tcp_user_timeout(options.statement_timeout);
    config.keepalives_idle(std::time::Duration::from_secs(10));
    config.keepalives_interval(std::time::Duration::from_secs(3));
    config.keepalives_retries(3);
    // Of several hosts the one that writes; a follower is no place for a store.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);

    let near = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Host::Unix(_) => true,
    });
    // Over a network the default is the mode that cannot be fooled; within the machine there is nobody in between.
    let mode = mode.unwrap_or(if near { "prefer" } else { "verify-full" });
    let anybody = root.map_or(Trust::Anybody, |file| Trust::File(file.to_owned()));
    let (ssl, trust) = match mode {
        "disable" => (SslMode::Disable, Trust::Anybody),
        "prefer" => (SslMode::Prefer, anybody),
        "require" => (SslMode::Require, anybody),
        "verify-full" => (
            SslMode::Require,
            root.map_or(Trust::System, |file| Trust::File(file.to_owned())),
        ),
        _ => {
            return Err(OpenError::Url {
                message: "sslmode is disable, prefer, require or verify-full",
            });
        }
    };
    config.ssl_mode(ssl);
    Ok((config, MakeRustlsConnect::new(tls(&trust)?)))
}

/// What of a URL is for TLS.
type TlsParts<'a> = (String, Option<&'a str>, Option<&'a str>);

/// The URL without `sslmode` and `sslrootcert`, and these two.
fn without_tls(url: &str) -> Result<TlsParts<'_>, OpenError> {
    if url.contains('#') {
        return Err(OpenError::Url {
            message: "it has a fragment, which means nothing: write a # of the password as %23",
        });
    }
    let Some((before, parameters)) = url.split_once('?') else {
        return Ok((url.to_owned(), None, None));
    };
    let (mut mode, mut root) = (None, None);
    let mut others = Vec::new();
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => root = Some(value),
            _ => others.push(parameter),
        }
    }
    let mut plain = before.to_owned();
    if !others.is_empty() {
        plain.push('?');
        plain.push_str(&others.join("&"));
    }
    Ok((plain, mode, root))
}

fn tls(trust: &Trust) -> Result<ClientConfig, OpenError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider knows the versions it is built with");
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Anybody => {
            let verifier = Arc::new(Unverified(provider));
            return Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth());
        }
        Trust::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Trust::File(path) => {
            let unreadable = |message: String| OpenError::Certificate {
                path: path.into(),
                message,
            };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unreadable(error.to_string()))?;
            for certificate in certificates {
                roots
                    .add(certificate)
                    .map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("it holds no certificate".to_owned()));
            }
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes every certificate; whoever presents one must still hold its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
