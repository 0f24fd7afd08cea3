//! Sends by frames on one WebSocket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::SplitStream;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::time::interval;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::receiver::Receiver;
use super::{CliError, Kind, Outcome, Sending};
use crate::client::{Client, ClientError, Endpoint, Target};
use crate::socket::Stream;

/// How many frames are written at a time.
const FLUSH_INTERVAL: u64 = 64;

/// How long the counters of the daemon may stand still before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long is waited for the reasons of failures.
const REASONS_TIME: Duration = Duration::from_secs(1);

/// How often is looked for what is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How often the daemon said what is wrong.
type Errors = BTreeMap<String, u64>;

/// A WebSocket to a daemon.
pub(super) type Socket = WebSocketStream<Stream>;

/// What the daemon says.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    /// A message, base64.
    pub(super) payload: Option<&'a str>,
    /// How many messages were missed.
    pub(super) missed: Option<u64>,
    /// What is wrong.
    pub(super) message: Option<String>,
}

/// Opens a WebSocket.
pub(super) async fn open(endpoint: &Endpoint, target: &Target) -> Result<Socket, CliError> {
    let url = format!("ws://{}{}", endpoint.authority(), target.as_str());
    let mut request = url.into_client_request().map_err(broken)?;
    if let Some(token) = endpoint.token() {
        let value = format!("Bearer {token}").parse().map_err(|_| ClientError::TokenForm)?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let (socket, _) = client_async(request, endpoint.open().await?).await.map_err(broken)?;
    Ok(socket)
}

pub(super) fn broken(error: Error) -> CliError {
    CliError::Failed(if let Error::Http(response) = &error {
        format!("the daemon refuses a WebSocket: {}", response.status())
    } else {
        format!("the WebSocket broke: {error}")
    })
}

/// Sends a batch; with receivers, at most so many messages before all of them have got them.
pub(super) async fn send(
    mut client: Client,
    sending: &Sending<'_>,
    mut receivers: &[Receiver],
) -> Result<Outcome, CliError> {
    let Sending { batch, kind, in_flight, rate, .. } = *sending;
    let before = Counters::read(&mut client, kind).await?;
    let socket = open(client.endpoint(), &Target::new(&["ws"])).await?;
    let (mut sink, stream) = socket.split();
    let errors = Arc::new(Mutex::new(Errors::new()));
    let reader = tokio::spawn(read(stream, errors.clone()));
    let mut pace = rate.map(|rate| interval(Duration::from_secs(1) / rate));
    let started = Instant::now();
    for number in 0..batch.count() {
        let full = receivers.iter().find(|receiver| !receiver.has_room(number, in_flight));
        if full.is_some() || pace.is_some() || number % FLUSH_INTERVAL == 0 {
            sink.flush().await.map_err(broken)?;
        }
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        for receiver in receivers {
            if !receiver.wait_for_room(number, in_flight).await {
                // What arrives no more cannot say how fast to send.
                receivers = &[];
            }
        }
        let frame = sending.frame(&batch.payload(number));
        sink.feed(Message::text(frame)).await.map_err(broken)?;
    }
    sink.flush().await.map_err(broken)?;
    let after = settle(&mut client, kind, &before, batch.count()).await?;
    let time = started.elapsed();
    let acknowledged = after.succeeded.saturating_sub(before.succeeded);
    let failed = batch.count().saturating_sub(acknowledged);
    let lock = || errors.lock().unwrap_or_else(PoisonError::into_inner);
    // The frames that say why a send failed come after it was counted.
    let deadline = Instant::now() + REASONS_TIME;
    while lock().values().sum::<u64>() < failed && Instant::now() < deadline {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    reader.abort();
    let errors = std::mem::take(&mut *lock());
    Ok(Outcome { acknowledged, errors, failed, time, latencies: Vec::new() })
}

/// Collects what the daemon says is wrong.
async fn read(mut stream: SplitStream<Socket>, errors: Arc<Mutex<Errors>>) {
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(&text) else { continue };
        if frame.kind == "error" {
            let error = frame.message.unwrap_or_default();
            let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
            *errors.entry(error).or_default() += 1;
        }
    }
}

/// What the daemon counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    total: u64,
    succeeded: u64,
}

impl Counters {
    async fn read(client: &mut Client, kind: Kind) -> Result<Self, CliError> {
        let path = match kind {
            Kind::Direct => "dm",
            Kind::Gossip => "gossip",
        };
        let answer = client.get(&Target::new(&["diagnostics", path])).await?;
        let count = |name: &str| answer["stats"][name].as_u64().unwrap_or(0);
        Ok(match kind {
            Kind::Direct => Self {
                total: count("outgoing_send_total"),
                succeeded: count("outgoing_send_succeeded"),
            },
            Kind::Gossip => {
                let total = count("publish_total");
                Self { total, succeeded: total.saturating_sub(count("publish_failed")) }
            }
        })
    }
}

/// Waits until all sends have ended.
async fn settle(
    client: &mut Client,
    kind: Kind,
    before: &Counters,
    count: u64,
) -> Result<Counters, CliError> {
    let mut last = *before;
    let mut moved = Instant::now();
    loop {
        let seen = Counters::read(client, kind).await?;
        if seen.total.saturating_sub(before.total) >= count || moved.elapsed() > PATIENCE {
            return Ok(seen);
        }
        if seen != last {
            (last, moved) = (seen, Instant::now());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
