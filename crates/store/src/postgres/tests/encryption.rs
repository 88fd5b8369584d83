//! TLS toward the server: what each mode encrypts and whom it believes.
//!
//! The one thing to know: that a connection was made proves nothing; the server is asked whether it is encrypted.

use postgres_server::Server;

use crate::{OpenError, Options, open};

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tokenhouse/tests/it/tls");

#[tokio::test]
async fn each_mode_encrypts_and_verifies_as_it_says() {
    let file = |name: &str| std::fs::read(format!("{TLS}/{name}")).unwrap();
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let server = Server::start(&postgres_server::Options {
        password: Some("hunter2".to_owned()),
        settings: vec![
            setting("ssl", "on"),
            setting("ssl_cert_file", "server.crt"),
            setting("ssl_key_file", "server.key"),
        ],
        files: vec![
            ("server.crt".to_owned(), file("cert.pem")),
            ("server.key".to_owned(), file("key.pem")),
        ],
        ..postgres_server::Options::default()
    });
    let url = server.url(&server.create_database());
    let root = format!("sslrootcert={TLS}/cert.pem");
    for (parameters, encrypted) in [
        ("sslmode=disable".to_owned(), false),
        // The default within a machine takes what is offered.
        ("application_name=x".to_owned(), true),
        ("sslmode=require".to_owned(), true),
        (format!("sslmode=require&{root}"), true),
        (format!("sslmode=verify-full&{root}"), true),
    ] {
        let store = open(&format!("{url}?{parameters}"), Options::default()).await;
        let store = store.unwrap_or_else(|error| panic!("{parameters}: {error}"));
        store.ready().await.unwrap();
        let sessions = server.sql(
            "postgres",
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE datname LIKE 'test%'",
        );
        assert_eq!(sessions, if encrypted { "t" } else { "f" }, "{parameters}");
        store.close().await;
    }
    // Nobody of the system's roots has signed this certificate; nor is this other name of the machine in it.
    let other_name = url.replace("127.0.0.1", "localhost");
    for refused in [
        format!("{url}?sslmode=verify-full"),
        format!("{other_name}?sslmode=verify-full&{root}"),
    ] {
        let error = open(&refused, Options::default()).await.unwrap_err();
        assert!(matches!(error, OpenError::Untrusted { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("certificate") && text.contains("sslrootcert"),
            "{text}"
        );
    }
    let error = open(
        &format!("{url}?sslrootcert=/nowhere.pem"),
        Options::default(),
    )
    .await;
    let error = error.unwrap_err();
    assert!(matches!(error, OpenError::Certificate { .. }), "{error:?}");
}
