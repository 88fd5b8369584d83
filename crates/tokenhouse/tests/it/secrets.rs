//! No secret and no value in any log, and none in clear in the files of the store.
//!
//! The one thing to know: the program is the real one at its most talkative level, and what is looked for is everything
//! that the conversation has issued or stored – also where it was sent to the wrong place, in a broken body, or in a path.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{Place, Served};

const ADMIN: &str = "*:*.admin-secret-for-the-log-test-0123456789";
const KEY: &str = "Vault-key-for-the-log-test-0123456789";
const EMAIL: &str = "very.private@example.com";
const OTHER_EMAIL: &str = "rather.private@example.com";
const CARD: &str = "4111 1111 1111 1111";
const SSN: &str = "123-12-1234";

/// One request on a connection of its own, as it stands; the answer's body.
fn send(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}content-length: {}\r\n\r\n{body}",
        headers.concat(),
        body.len()
    );
    // A server may refuse before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer
        .split_once("\r\n\r\n")
        .map_or(String::new(), |(_, body)| body.to_owned())
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Uses an access token's secret wherever it can be shown, rightly and wrongly.
fn show_everywhere(url: &str, secret: &str) {
    let json = ("content-type", "application/json");
    let escaped = secret.replace('*', "%2A").replace(':', "%3A");
    for path in [
        format!("/api/admin/api-tokens/{escaped}"),
        format!("/api/admin/api-tokens/{secret}/x"),
        format!("/api/pvlt/1.0/{secret}"),
        format!("/{secret}"),
        format!("/v1/tokens/{secret}"),
        format!("/api/v1/auth/token-auth/tokens/{secret}"),
        format!("/api/v1/identities/{secret}?orgId={secret}"),
        format!("/api/v1/api-tokens/{secret}"),
        format!("/healthz?token={secret}"),
        format!("/api/client/features?token={secret}"),
        format!("/api/admin/api-tokens/%zz{secret}"),
    ] {
        for method in ["GET", "PUT", "DELETE", "BREW"] {
            if method == "DELETE" && path.starts_with("/api/admin/api-tokens/%2A") {
                continue;
            }
            send(url, method, &path, &[("authorization", secret), json], "{");
        }
    }
    for authorization in [
        secret.to_owned(),
        format!("Bearer {secret}"),
        format!("Basic {secret}"),
    ] {
        for path in [
            "/api/client/features",
            "/api/frontend",
            "/api/pvlt/1.0/ctl/collections",
            "/api/v1/identities/details",
            "/api/v1/api-tokens/current",
        ] {
            send(url, "GET", path, &[("authorization", &authorization)], "");
        }
    }
    for body in [
        json!({ "tokens": [secret] }).to_string(),
        json!({ secret: secret }).to_string(),
        format!("{{\"tokens\":[\"{secret}\""),
        format!("{secret}\u{0}"),
    ] {
        for path in [
            "/edge/validate",
            "/api/admin/api-tokens",
            "/v1/tokens",
            "/api/client/register",
            "/api/v1/identities",
            "/api/v1/api-tokens/query",
        ] {
            send(url, "POST", path, &[("authorization", ADMIN), json], &body);
            send(url, "POST", path, &[("content-type", secret)], &body);
        }
    }
}

fn talk_unleash(url: &str) -> Vec<String> {
    let headers = [
        ("authorization", ADMIN),
        ("content-type", "application/json"),
    ];
    let mut secrets = vec![ADMIN.to_owned()];
    for kind in ["client", "frontend"] {
        let body = json!({ "tokenName": kind, "type": kind }).to_string();
        let made = json_of(&send(url, "POST", "/api/admin/api-tokens", &headers, &body));
        let secret = made["secret"].as_str().unwrap().to_owned();
        show_everywhere(url, &secret);
        let path = format!("/api/admin/api-tokens/{secret}");
        for expiry in ["2031-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "no date"] {
            let body = json!({ "expiresAt": expiry }).to_string();
            send(url, "PUT", &path, &headers, &body);
        }
        secrets.push(secret);
    }
    let list = send(url, "GET", "/api/admin/api-tokens", &headers, "");
    assert!(
        list.contains(&secrets[1]),
        "the secret is kept, sealed, and shown: {list}"
    );
    show_everywhere(url, ADMIN);
    secrets
}

fn talk_piiano(url: &str) -> Vec<String> {
    let key = format!("Bearer {KEY}");
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
    ];
    let base = "/api/pvlt/1.0/data/collections/customers";
    let collection = json!({ "name": "customers", "type": "PERSONS", "properties": [
        { "name": "email", "data_type_name": "EMAIL", "is_index": true },
        { "name": "card", "data_type_name": "CC_NUMBER" },
        { "name": "ssn", "data_type_name": "SSN" },
    ]});
    send(
        url,
        "POST",
        "/api/pvlt/1.0/ctl/collections",
        &headers,
        &collection.to_string(),
    );
    let person = json!({ "email": EMAIL, "card": CARD, "ssn": SSN });
    let made = json_of(&send(
        url,
        "POST",
        &format!("{base}/objects"),
        &headers,
        &person.to_string(),
    ));
    let object = made["id"].as_str().unwrap().to_owned();
    for kind in ["randomized", "pci", "deterministic", "pci_oneway"] {
        let body = json!([{ "type": kind, "object": { "fields": person } }]).to_string();
        let made = json_of(&send(
            url,
            "POST",
            &format!("{base}/tokens"),
            &headers,
            &body,
        ));
        let id = made[0]["token_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{kind}: {made}"))
            .to_owned();
        let one = format!("{base}/tokens?token_ids={id}");
        let body = json!({ "object": { "fields": { "email": OTHER_EMAIL, "card": CARD } } });
        send(url, "PATCH", &one, &headers, &body.to_string());
        send(url, "GET", &one, &headers, "");
        send(
            url,
            "PATCH",
            &format!("{one}&expiration_secs=0"),
            &headers,
            "{}",
        );
    }
    let shown = send(
        url,
        "GET",
        &format!("{base}/objects/{object}?props=email"),
        &headers,
        "",
    );
    assert!(shown.contains(EMAIL), "{shown}");
    // Values where none belong.
    for body in [
        json!({ "email": EMAIL, "card": "4111 1111 1111 1112", "ssn": SSN }).to_string(),
        json!({ "email": [EMAIL], CARD: SSN }).to_string(),
        format!("{{\"email\":\"{EMAIL}\",\"card\":\"{CARD}\",\"email\":\"{OTHER_EMAIL}\""),
        json!([{ "type": CARD, "object": { "fields": person } }]).to_string(),
    ] {
        for path in ["objects", "tokens", "query/tokens"] {
            send(url, "POST", &format!("{base}/{path}"), &headers, &body);
            send(url, "POST", &format!("{base}/{path}"), &headers[1..], &body);
        }
        send(
            url,
            "PATCH",
            &format!("{base}/tokens?token_ids=x"),
            &headers,
            &body,
        );
    }
    send(
        url,
        "GET",
        &format!("{base}/tokens?tags={EMAIL}&props={SSN}"),
        &headers,
        "",
    );
    show_everywhere(url, KEY);
    [
        KEY,
        EMAIL,
        OTHER_EMAIL,
        CARD,
        SSN,
        "4111111111111111",
        "4111 1111 1111 1112",
        "4111111111111112",
    ]
    .map(ToOwned::to_owned)
    .into()
}

/// Of a JWT the signature alone is looked for, too: with it whoever knows the rest has the whole.
fn talk_infisical(url: &str, place: &Place) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let admin = text(&place.json(&["issue", "--realm", "infisical"])["secret"]);
    let bearer = format!("Bearer {admin}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let ask = |method: &str, path: &str, body: &Value| {
        json_of(&send(url, method, path, &headers, &body.to_string()))
    };
    let own = ask("GET", "/api/v1/identities/details", &Value::Null);
    let organization = &own["identityDetails"]["organization"]["id"];
    let identity = json!({ "name": "ci", "organizationId": organization, "role": "member" });
    let identity = text(&ask("POST", "/api/v1/identities", &identity)["identity"]["id"]);
    let auth = format!("/api/v1/auth/token-auth/identities/{identity}");
    ask("POST", &auth, &json!({}));
    let made = ask("POST", &format!("{auth}/tokens"), &json!({ "name": "n" }));
    let token = text(&made["accessToken"]);
    let path = format!(
        "/api/v1/auth/token-auth/tokens/{}",
        text(&made["tokenData"]["id"])
    );
    for body in [json!({ "name": "m" }), json!({ "name": token })] {
        ask("PATCH", &path, &body);
    }
    let broken = format!("{{\"name\":\"{token}");
    send(url, "PATCH", &path, &headers, &broken);
    ask("GET", &format!("{auth}/tokens"), &Value::Null);
    for secret in [&token, &admin] {
        show_everywhere(url, secret);
    }
    ask("POST", &format!("{path}/revoke"), &Value::Null);
    show_everywhere(url, &token);
    let signature = |jwt: &str| jwt.rsplit('.').next().unwrap().to_owned();
    vec![signature(&admin), signature(&token), admin, token]
}

fn talk_mindbridge(url: &str, place: &Place) -> Vec<String> {
    let issued = place.json(&["issue", "--realm", "mindbridge"]);
    let root = issued["secret"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {root}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let base = "/api/v1/api-tokens";
    let name = format!("of {url}");
    let body = json!({
        "name": name,
        "expiry": issued["expires_at"],
        "permissions": ["api.api-tokens.read"],
    });
    let made = json_of(&send(url, "POST", base, &headers, &body.to_string()));
    let secret = made["token"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"))
        .to_owned();
    let path = format!("{base}/{}", made["id"].as_str().unwrap());
    for (version, name) in [(1, "renamed"), (1, "stale"), (2, &name)] {
        let body = json!({ "version": version, "name": name, "token": secret });
        send(url, "PUT", &path, &headers, &body.to_string());
    }
    let filter = json!({ "name": { "$in": [secret] }, secret.as_str(): 1 }).to_string();
    for query in ["query", &format!("query?sort={secret}")] {
        send(url, "POST", &format!("{base}/{query}"), &headers, &filter);
    }
    for secret in [&secret, &root] {
        show_everywhere(url, secret);
    }
    send(url, "DELETE", &path, &headers, "");
    show_everywhere(url, &secret);
    vec![root, secret]
}

fn talk_native(place: &Place) -> Vec<String> {
    let mut secrets = Vec::new();
    let scope = [
        "--permission",
        "project:default",
        "--permission",
        "environment:development",
    ];
    for realm in ["unleash", "piiano"] {
        let issue = ["issue", "--realm", realm, "--name", "n"];
        let arguments = if realm == "unleash" {
            [&issue[..], &["--class", "client"], &scope].concat()
        } else {
            issue.to_vec()
        };
        let token = place.json(&arguments);
        let secret = token["secret"].as_str().unwrap().to_owned();
        // Where an id belongs.
        place.token(&["show", &secret], 2);
        place.token(&["list", "--realm", &secret], 1);
        place.token(&["revoke", token["id"].as_str().unwrap()], 0);
        secrets.push(secret);
    }
    secrets
}

fn assert_absent(secrets: &BTreeSet<String>, content: &[u8], place: &str) {
    for secret in secrets {
        let found = content
            .windows(secret.len())
            .position(|window| window == secret.as_bytes());
        if let Some(at) = found {
            let around =
                &content[at.saturating_sub(200)..(at + secret.len() + 50).min(content.len())];
            panic!(
                "{secret:?} stands in {place}: …{}…",
                String::from_utf8_lossy(around)
            );
        }
    }
}

fn assert_absent_from_files(secrets: &BTreeSet<String>, data: &Path) {
    let mut looked_at = 0;
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("store.sqlite") {
            let content = fs::read(&path).unwrap();
            looked_at += content.len();
            assert_absent(secrets, &content, &name);
        }
    }
    assert!(looked_at > 10_000, "the store's files were looked at");
}

#[test]
fn no_secret_is_in_any_log_or_in_clear_in_the_store() {
    let place = Place::new();
    let environment = [
        ("INIT_ADMIN_API_TOKENS", ADMIN),
        ("PVAULT_SERVICE_ADMIN_API_KEY", KEY),
    ];
    for format in ["json", "human"] {
        let arguments = [
            "--data",
            place.path(),
            "--log-level",
            "trace",
            "--log-format",
            format,
        ];
        let server = Served::start_with(&arguments, &environment);
        let url = server.url.clone();
        let mut secrets: BTreeSet<String> = talk_unleash(&url).into_iter().collect();
        secrets.extend(talk_piiano(&url));
        secrets.extend(talk_infisical(&url, &place));
        secrets.extend(talk_mindbridge(&url, &place));
        secrets.extend(talk_native(&place));
        assert_absent_from_files(&secrets, &place.data);
        let (more, log) = server.stop(Signal::TERM);
        assert_eq!(more, "");
        assert!(log.lines().count() > 300, "there is a log to look at");
        assert_absent(&secrets, log.as_bytes(), "the log");
        assert_absent_from_files(&secrets, &place.data);
    }
}
