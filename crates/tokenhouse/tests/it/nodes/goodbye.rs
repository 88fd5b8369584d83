//! How a server goes: it says so where balancers ask, and answers for as long as it was told to.
//!
//! The one thing to know: the delay is an hour, so what ends the server in time is the second signal.

use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;

use super::house::{ADMIN, Client};
use crate::cli::{Place, Served};

async fn readiness(client: &mut Client) -> (u16, serde_json::Value) {
    client.ask("GET", "/readyz", "", None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_is_not_ready_before_it_takes_nobody_more() {
    let place = Place::new();
    let words = ["--data", place.path(), "--set", "stop_delay=1h"];
    let served = Served::start_with(&words, &[("INIT_ADMIN_API_TOKENS", ADMIN)]);
    let address = served.url.trim_start_matches("http://").to_owned();
    let mut client = Client::at(address.clone());
    assert_eq!(readiness(&mut client).await.0, 200);
    served.signal(Signal::TERM);
    let mut answer = readiness(&mut client).await;
    for _ in 0..500 {
        if answer.0 != 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = readiness(&mut client).await;
    }
    assert_eq!(answer.0, 503);
    let detail = answer.1["detail"].as_str().unwrap();
    assert!(detail.contains("stopping"), "{detail}");
    // Whoever has not heard of it yet is served, on a new connection too.
    let mut late = Client::at(address.clone());
    let secret = late.issue("late").await;
    assert!(late.is_good(&secret).await);
    let alive = late.ask("GET", "/healthz", "", None).await.unwrap();
    assert_eq!(alive.0, 200);

    let ended = tokio::task::spawn_blocking(move || served.stop(Signal::TERM));
    let (_, log) = ended.await.unwrap();
    assert!(log.contains("stopped"), "{log}");
    assert!(TcpStream::connect(&address).await.is_err());
}
