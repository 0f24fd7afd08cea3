//! Sends by HTTP requests.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;
use tokio::time::interval;

use super::{CliError, Kind, Outcome, Sending};
use crate::client::{Client, Endpoint, REQUEST_TIMEOUT, Target};

/// Sends a batch with so many requests in flight, each on a connection of its own.
pub(super) async fn send(endpoint: &Endpoint, sending: &Sending<'_>) -> Result<Outcome, CliError> {
    let next = Cell::new(0);
    let outcome = RefCell::new(Outcome::default());
    let started = Instant::now();
    let workers = (0..sending.in_flight).map(|_| work(endpoint, sending, &next, &outcome));
    join_all(workers).await;
    let mut outcome = outcome.into_inner();
    outcome.time = started.elapsed();
    Ok(outcome)
}

/// Sends the next message until there is none.
async fn work(
    endpoint: &Endpoint,
    sending: &Sending<'_>,
    next: &Cell<u64>,
    outcome: &RefCell<Outcome>,
) {
    let mut client = Client::new(endpoint.clone());
    let batch = sending.batch;
    let target = match sending.kind {
        Kind::Direct => Target::new(&["direct", "send"]),
        Kind::Gossip => Target::new(&["publish"]),
    };
    let mut pace = sending
        .rate
        .map(|rate| interval(Duration::from_secs(1) * u32::from(sending.in_flight) / rate));
    while next.get() < batch.count() {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let number = next.replace(next.get() + 1);
        if number >= batch.count() {
            break;
        }
        let body = Bytes::from(sending.body(&batch.payload(number)));
        let started = Instant::now();
        let answer = client.exchange(Method::POST, &target, Some(body), REQUEST_TIMEOUT).await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut outcome = outcome.borrow_mut();
        match answer {
            Ok(_) => {
                outcome.acknowledged += 1;
                outcome.latencies.push(micros);
            }
            Err(error) => {
                outcome.failed += 1;
                *outcome.errors.entry(error.to_string()).or_default() += 1;
            }
        }
    }
}
