//! Listens at the receiver for what arrives, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::CliError;
use super::message::{Batch, Read};
use super::websocket::{Frame, Socket, broken, open};
use crate::client::{Client, Endpoint, REQUEST_TIMEOUT, Target, block_on};

/// How long nothing may arrive before the rest is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long is listened for duplicates after the last message.
const AFTERMATH: Duration = Duration::from_millis(200);

/// How long may pass until the first message gets through.
const WARM_TIME: Duration = Duration::from_secs(10);

/// What is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Direct messages.
    Direct,
    /// The messages of a topic.
    Topic(String),
}

/// What arrived.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Different messages.
    pub(super) arrived: u64,
    /// Messages that had arrived before.
    pub(super) duplicates: u64,
    /// Messages that came after one that was sent later.
    pub(super) out_of_order: u64,
    /// Messages that are not as they were sent.
    pub(super) damaged: u64,
    /// Messages that the daemon says were missed.
    pub(super) missed: u64,
    /// From send to arrival, in microseconds.
    pub(super) latencies: Vec<u64>,
    /// When the last one came, in microseconds since the batch was made.
    pub(super) last: u64,
}

#[derive(Debug, Default)]
struct Progress {
    arrived: AtomicU64,
    /// Whether a probe came.
    is_warm: AtomicBool,
    changed: Notify,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Receiver {
    progress: Arc<Progress>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Arrivals, CliError>>,
}

impl Receiver {
    /// Listens from now on.
    pub(super) async fn listen(
        endpoint: Endpoint,
        batch: Batch,
        source: Source,
    ) -> Result<Self, CliError> {
        let progress = Arc::new(Progress::default());
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let shared = progress.clone();
        // The sender keeps its own thread busy.
        let thread = tokio::task::spawn_blocking(move || {
            let listen = listen(endpoint, batch, source, &shared, (ready, stopped));
            let arrivals = block_on(listen).map_err(CliError::system);
            shared.changed.notify_one();
            arrivals?
        });
        if is_ready.await.is_ok() {
            return Ok(Self { progress, stop, thread });
        }
        let end = thread.await.map_err(|error| CliError::Failed(error.to_string()))?;
        end.and(Err(CliError::Failed("the receiver ended its WebSocket at once".into())))
    }

    /// Tells whether a probe came.
    pub(super) fn is_warm(&self) -> bool {
        self.progress.is_warm.load(Ordering::Acquire)
    }

    /// Tells whether fewer than so many of the messages that were sent have not arrived.
    pub(super) fn has_room(&self, sent: u64, in_flight: u16) -> bool {
        let arrived = self.progress.arrived.load(Ordering::Acquire);
        sent.saturating_sub(arrived) < u64::from(in_flight)
    }

    /// Waits for that. False if nothing arrives any more.
    pub(super) async fn wait_for_room(&self, sent: u64, in_flight: u16) -> bool {
        while !self.has_room(sent, in_flight) {
            if !self.waits().await {
                return false;
            }
        }
        true
    }

    /// Waits for so many messages, then for what should not come, and counts.
    pub(super) async fn finish(self, expected: u64) -> Result<Arrivals, CliError> {
        while self.progress.arrived.load(Ordering::Acquire) < expected && self.waits().await {}
        tokio::time::sleep(AFTERMATH).await;
        drop(self.stop);
        self.thread.await.map_err(|error| CliError::Failed(error.to_string()))?
    }

    /// Waits for an arrival; false if none comes.
    async fn waits(&self) -> bool {
        let is_over = self.thread.is_finished();
        !is_over && tokio::time::timeout(PATIENCE, self.progress.changed.notified()).await.is_ok()
    }
}

async fn listen(
    endpoint: Endpoint,
    batch: Batch,
    source: Source,
    progress: &Progress,
    (ready, mut stopped): (oneshot::Sender<()>, oneshot::Receiver<()>),
) -> Result<Arrivals, CliError> {
    let (path, started): (&[&str], _) = match &source {
        // It is subscribed once it greets.
        Source::Direct => (&["ws", "direct"], "connected"),
        Source::Topic(_) => (&["ws"], "subscribed"),
    };
    let mut socket: Socket = open(&endpoint, &Target::new(path)).await?;
    if let Source::Topic(topic) = &source {
        let frame = json!({ "type": "subscribe", "topics": [topic] });
        socket.send(Message::text(frame.to_string())).await.map_err(broken)?;
    }
    let mut ready = Some(ready);
    let mut tally = Tally::new(&batch);
    loop {
        let message = tokio::select! {
            _ = &mut stopped => return Ok(tally.arrivals),
            message = socket.next() => message,
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or_else(String::new, |frame| format!(" ({})", frame.code));
                return Err(CliError::Failed(format!("the receiver closed its WebSocket{code}")));
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(CliError::Failed("the receiver ended its WebSocket".into())),
        };
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(&text) else { continue };
        match (frame.kind, frame.payload) {
            (kind, _) if kind == started => drop(ready.take().map(|ready| ready.send(()))),
            ("direct_message" | "message", Some(payload)) => match batch.read(payload) {
                Read::Message(number) => {
                    tally.add(number, batch.age(number));
                    progress.arrived.store(tally.arrivals.arrived, Ordering::Release);
                    progress.changed.notify_one();
                }
                Read::Probe => progress.is_warm.store(true, Ordering::Release),
                Read::Damaged => tally.arrivals.damaged += 1,
                Read::Foreign => {}
            },
            ("lagged", None) => tally.arrivals.missed += frame.missed.unwrap_or(0),
            ("error", None) => {
                let error = frame.message.unwrap_or_default();
                return Err(CliError::Failed(format!("the receiver says: {error}")));
            }
            _ => {}
        }
    }
}

/// Publishes until every receiver gets something.
pub(super) async fn warm_up(
    client: &mut Client,
    receivers: &[Receiver],
    topic: &str,
    batch: &Batch,
) -> Result<(), CliError> {
    const PAUSE: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + WARM_TIME;
    let target = Target::new(&["publish"]);
    while !receivers.iter().all(Receiver::is_warm) {
        if Instant::now() > deadline {
            return Err(CliError::Failed(
                "nothing that is published arrives: are the daemons connected? (see: x0x peers)"
                    .into(),
            ));
        }
        let body = json!({ "topic": topic, "payload": batch.probe() });
        client.post(&target, Some(&body), REQUEST_TIMEOUT).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Tells new messages from old ones.
struct Tally<'a> {
    batch: &'a Batch,
    seen: Vec<bool>,
    /// The greatest number so far, plus one.
    next: usize,
    arrivals: Arrivals,
}

impl<'a> Tally<'a> {
    fn new(batch: &'a Batch) -> Self {
        let count = usize::try_from(batch.count()).unwrap_or(0);
        Self { batch, seen: vec![false; count], next: 0, arrivals: Arrivals::default() }
    }

    fn add(&mut self, number: u64, age: u64) {
        let Ok(at) = usize::try_from(number) else { return };
        let Some(seen) = self.seen.get_mut(at) else { return };
        if std::mem::replace(seen, true) {
            self.arrivals.duplicates += 1;
            return;
        }
        self.arrivals.arrived += 1;
        self.arrivals.out_of_order += u64::from(at < self.next);
        self.next = self.next.max(at + 1);
        self.arrivals.latencies.push(age);
        self.arrivals.last = self.batch.now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_and_late_messages_are_counted() {
        let batch = Batch::new(5, 16).unwrap();
        let mut tally = Tally::new(&batch);
        for number in [0, 2, 1, 2, 4, 4, 7] {
            tally.add(number, 10);
        }
        let Arrivals { arrived, duplicates, out_of_order, latencies, .. } = tally.arrivals;
        assert_eq!((arrived, duplicates, out_of_order), (4, 2, 1));
        assert_eq!(latencies.len(), 4);
    }
}
