//! The closed loop: each worker owns one connection, sends a request, waits for the whole answer and sends the next.
//!
//! The one thing to know: a closed loop slows down with its server, so its percentiles say how long a caller waits at
//! this number of callers, not what would happen under a given number of arrivals per second.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::client::{Answer, Connection};
use crate::scenario::Scenario;
use crate::{Error, clock};

/// Longest latency that the histogram tells apart, in microseconds; a minute is
/// twice what any server of ours lets a request take.
const LATENCY_MICROS_MAX: u64 = 60_000_000;
/// Decimal digits that a latency keeps.
const LATENCY_DIGITS: u8 = 3;

/// A server under load, and how many requests of the scenario it has been sent.
/// The count makes each request different from the one before (an update that
/// changes nothing may cost nothing) and goes on over all runs of a scenario.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    issued: AtomicU64,
}

impl Target {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            issued: AtomicU64::new(0),
        }
    }

    /// How many requests have been made for this target so far.
    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }
}

/// How hard and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What one run has found.
#[derive(Debug)]
pub(crate) struct Measurement {
    /// From the end of the warm-up to the last counted answer.
    pub(crate) elapsed: Duration,
    /// Latencies of the good answers in microseconds, without the warm-up.
    pub(crate) latencies: Histogram<u64>,
    /// Everything else, warm-up included: what happened → how often.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Measurement {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            elapsed: Duration::ZERO,
            latencies: Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, LATENCY_DIGITS)
                .expect("the bounds are constants that the histogram allows"),
            failures: BTreeMap::new(),
        }
    }

    /// Good answers per second of the measured phase.
    #[allow(
        clippy::cast_precision_loss,
        reason = "counts of a run stay far below 2^52"
    )]
    pub(crate) fn requests_per_second(&self) -> f64 {
        if self.elapsed.is_zero() {
            return 0.0;
        }
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency below which this share of the answers lies.
    pub(crate) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(quantile))
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn fail(&mut self, what: String) {
        *self.failures.entry(what).or_default() += 1;
    }

    fn absorb(&mut self, other: Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latencies
            .add(other.latencies)
            .expect("all histograms of a run have the same bounds");
        for (what, count) in other.failures {
            *self.failures.entry(what).or_default() += count;
        }
    }
}

/// Runs one scenario against one target. Refusals and broken connections are
/// part of the measurement; an error means that the run did not take place.
pub(crate) async fn run(
    target: &Arc<Target>,
    scenario: &Arc<Scenario>,
    plan: Plan,
) -> Result<Measurement, Error> {
    // All connections stand before the clock starts, so that the first worker
    // does not have the server to itself.
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(Connection::open(target.address).await?);
    }
    let measured_from = clock::now() + plan.warm_up;
    let measured_until = measured_from + plan.measured;
    let mut workers = JoinSet::new();
    for connection in connections {
        let (target, scenario) = (Arc::clone(target), Arc::clone(scenario));
        workers.spawn(work(
            connection,
            target,
            scenario,
            measured_from,
            measured_until,
        ));
    }
    let mut whole = Measurement::new();
    while let Some(part) = workers.join_next().await {
        whole.absorb(part?);
    }
    Ok(whole)
}

async fn work(
    mut connection: Connection,
    target: Arc<Target>,
    scenario: Arc<Scenario>,
    measured_from: Instant,
    measured_until: Instant,
) -> Measurement {
    let mut part = Measurement::new();
    let mut ended_at = clock::now();
    while ended_at < measured_until {
        // Each number that is drawn is sent: the check afterwards counts on it.
        let request = scenario.request(target.issued.fetch_add(1, Ordering::Relaxed));
        let started_at = clock::now();
        let outcome = connection.exchange(request).await;
        ended_at = clock::now();
        match outcome.map(|answer| objection(&answer, &scenario)) {
            Ok(None) if started_at >= measured_from => {
                // A request that began in time is counted even if its answer
                // came late: leaving it out would hide just the slowest ones.
                let micros = u64::try_from((ended_at - started_at).as_micros());
                part.latencies
                    .saturating_record(micros.unwrap_or(LATENCY_MICROS_MAX).max(1));
                part.elapsed = ended_at - measured_from;
            }
            Ok(None) => {}
            Ok(Some(objection)) => part.fail(objection),
            Err(error) => {
                // The run has failed already; a new connection would only blur it.
                part.fail(format!("connection broken: {error}"));
                break;
            }
        }
    }
    part
}

/// What is wrong with an answer, if anything. The length of the body is looked
/// at because a server may refuse politely: a validation that finds no token
/// answers 200 too.
fn objection(answer: &Answer, scenario: &Scenario) -> Option<String> {
    if answer.status != StatusCode::OK {
        return Some(format!("status {}", answer.status.as_u16()));
    }
    if !scenario.fits(answer.body.len()) {
        return Some(format!(
            "{} bytes of body instead of {}",
            answer.body.len(),
            scenario.answer_bytes()
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{bare, fake};

    const PLAN: Plan = Plan {
        connections: 4,
        warm_up: Duration::from_millis(50),
        measured: Duration::from_millis(200),
    };

    /// The verify scenario, prepared on the fake and then run against `router`.
    async fn run_against(router: axum::Router) -> (Arc<Target>, Measurement) {
        let prepared_on = fake::serve(fake::router(fake::Manners::Good)).await;
        let mut connection = Connection::open(prepared_on).await.unwrap();
        let scenario = Scenario::prepare_all(&mut connection)
            .await
            .unwrap()
            .remove(0);
        let target = Arc::new(Target::new(fake::serve(router).await));
        let measurement = run(&target, &Arc::new(scenario), PLAN).await.unwrap();
        (target, measurement)
    }

    #[tokio::test]
    async fn good_answers_are_counted_once_each() {
        let body = fake::VALIDATED.len();
        let (target, measurement) = run_against(bare::router(body)).await;
        assert_eq!(measurement.failures, BTreeMap::new());
        let counted = measurement.latencies.len();
        assert!(counted > 0);
        // The warm-up has been sent too, but not counted.
        assert!(
            counted < target.issued(),
            "{counted} of {}",
            target.issued()
        );
        assert!(measurement.elapsed >= Duration::from_millis(100));
        assert!(measurement.requests_per_second() > 0.0);
        assert!(measurement.latency(0.5) <= measurement.latency(0.99));
        assert!(measurement.latency(0.99) > Duration::ZERO);
    }

    #[tokio::test]
    async fn a_body_of_another_size_is_a_failure() {
        let (target, measurement) = run_against(bare::router(3)).await;
        assert_eq!(measurement.latencies.len(), 0);
        assert_eq!(measurement.failed(), target.issued());
        let what = format!("3 bytes of body instead of {}", fake::VALIDATED.len());
        assert_eq!(measurement.failures.keys().collect::<Vec<_>>(), [&what]);
        assert!(measurement.requests_per_second().abs() < f64::EPSILON);
    }

    #[tokio::test]
    async fn an_unexpected_status_is_a_failure() {
        let (target, measurement) = run_against(axum::Router::new()).await;
        assert_eq!(measurement.latencies.len(), 0);
        assert_eq!(
            measurement.failures,
            BTreeMap::from([("status 404".to_owned(), target.issued())])
        );
    }

    #[tokio::test]
    async fn a_broken_connection_ends_its_worker() {
        // Accepts each connection and drops it.
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let target = Arc::new(Target::new(listener.local_addr().unwrap()));
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let prepared_on = fake::serve(fake::router(fake::Manners::Good)).await;
        let mut connection = Connection::open(prepared_on).await.unwrap();
        let scenario = Scenario::prepare_all(&mut connection)
            .await
            .unwrap()
            .remove(0);
        let measurement = run(&target, &Arc::new(scenario), PLAN).await.unwrap();
        assert_eq!(measurement.failed(), 4, "{:?}", measurement.failures);
        assert!(
            measurement
                .failures
                .keys()
                .all(|what| what.starts_with("connection broken"))
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(Connection::open(address).await.is_err());
    }
}
