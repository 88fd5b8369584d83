//! What the URL of a database says: the server, the parameters, whether and how the connection is encrypted.
//!
//! The one thing to know: a refusal repeats nothing of the URL that may be a part of its password, so not even the name of a
//! parameter where a password with a `?` in it may have been cut.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{OpenError, Options};

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

/// Takes the URL apart: what the driver understands, and what is for TLS.
pub(super) fn parse(url: &str) -> Result<(Config, Option<&str>, Option<&str>), OpenError> {
    let (plain, mode, root) = without_tls(url)?;
    let config: Config = plain.parse().map_err(|_| OpenError::Url {
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
    Ok((config, mode, root))
}

/// How the server is reached.
pub(super) fn configure(
    url: &str,
    options: &Options,
) -> Result<(Config, MakeRustlsConnect), OpenError> {
    let (mut config, mode, root) = parse(url)?;
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
                message: "sslmode must be disable, prefer, require or verify-full; what other programs call allow and \
                          verify-ca there is not here: take prefer, or verify-full with sslrootcert",
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
    let refuse = |message| Err(OpenError::Url { message });
    if url.contains('#') {
        return refuse("it has a fragment, which means nothing: write a # of the password as %23");
    }
    if !escapes_are_whole(url) {
        return refuse(
            "a % in it is not followed by two hexadecimal digits: write a % of the password as %25",
        );
    }
    let Some((before, parameters)) = url.split_once('?') else {
        return Ok((url.to_owned(), None, None));
    };
    if parameters.contains('@') {
        // Then what looks like parameters is a part of the password, and must not be shown.
        return refuse("an @ stands after a ?: write a ? of the password as %3F and an @ as %40");
    }
    let (mut mode, mut root) = (None, None);
    let mut others = Vec::new();
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => root = Some(value),
            _ => {
                check_parameter(parameter)?;
                others.push(parameter);
            }
        }
    }
    let mut plain = before.to_owned();
    if !others.is_empty() {
        plain.push('?');
        plain.push_str(&others.join("&"));
    }
    Ok((plain, mode, root))
}

/// Parameters that are taken beside those for TLS.
const PARAMETERS: [&str; 18] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
];

/// Looks at a parameter by itself, so that the one with something wrong in it can be named. Its value is not.
fn check_parameter(parameter: &str) -> Result<(), OpenError> {
    let Some((name, _)) = parameter.split_once('=') else {
        return Err(OpenError::Url {
            message: "a parameter after the ? has no value: write name=value, and & between two of them",
        });
    };
    if !PARAMETERS.contains(&name) {
        return Err(OpenError::Parameter {
            name: name.to_owned(),
            message: format!(
                "is not known: known are sslmode, sslrootcert, {}",
                PARAMETERS.join(", ")
            ),
        });
    }
    if format!("postgres://host?{parameter}")
        .parse::<Config>()
        .is_err()
    {
        return Err(OpenError::Parameter {
            name: name.to_owned(),
            message:
                "has a value that it cannot have: see the manual of PostgreSQL's connection strings"
                    .to_owned(),
        });
    }
    Ok(())
}

/// Whether each `%` begins the escape of a byte. The driver would take any other as it stands, and log in with another
/// password than the one that was meant.
fn escapes_are_whole(url: &str) -> bool {
    url.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
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
