//! Sends by `POST /direct/send`.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;

use super::message::Batch;
use super::{CliError, Outcome};
use crate::client::{Client, Endpoint, REQUEST_TIMEOUT, Target};

/// Sends a batch with so many requests in flight, each on a connection of its own.
pub(super) async fn send(
    endpoint: &Endpoint,
    to: &str,
    batch: &Batch,
    in_flight: u16,
) -> Result<Outcome, CliError> {
    let next = Cell::new(0);
    let outcome = RefCell::new(Outcome::default());
    let started = Instant::now();
    let workers = (0..in_flight).map(|_| work(endpoint, to, batch, &next, &outcome));
    join_all(workers).await;
    let mut outcome = outcome.into_inner();
    outcome.time = started.elapsed();
    Ok(outcome)
}

/// Sends the next message until there is none.
async fn work(
    endpoint: &Endpoint,
    to: &str,
    batch: &Batch,
    next: &Cell<u64>,
    outcome: &RefCell<Outcome>,
) {
    let mut client = Client::new(endpoint.clone());
    let target = Target::new(&["direct", "send"]);
    while next.get() < batch.count() {
        let number = next.replace(next.get() + 1);
        let payload = batch.payload(number);
        let body = Bytes::from(format!(r#"{{"agent_id":"{to}","payload":"{payload}"}}"#));
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
