//! Sends by `send_direct` frames on one WebSocket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::SplitStream;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::message::Batch;
use super::receiver::Receiver;
use super::{CliError, Outcome};
use crate::client::{Client, ClientError, Endpoint, Target};

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
pub(super) type Socket = WebSocketStream<TcpStream>;

/// What the daemon says.
#[derive(Debug, Deserialize)]
pub(super) struct Frame {
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// A direct message, base64.
    pub(super) payload: Option<String>,
    /// What is wrong.
    message: Option<String>,
}

/// Opens a WebSocket.
pub(super) async fn open(endpoint: &Endpoint, target: &Target) -> Result<Socket, CliError> {
    let url = format!("ws://{}{}", endpoint.authority(), target.as_str());
    let mut request = url.into_client_request().map_err(broken)?;
    if let Some(token) = endpoint.token() {
        let value = format!("Bearer {token}").parse().map_err(|_| ClientError::TokenForm)?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let socket = TcpStream::connect(endpoint.authority()).await.map_err(CliError::system)?;
    socket.set_nodelay(true).map_err(CliError::system)?;
    let (socket, _) = client_async(request, socket).await.map_err(broken)?;
    Ok(socket)
}

pub(super) fn broken(error: Error) -> CliError {
    CliError::Failed(if let Error::Http(response) = &error {
        format!("the daemon refuses a WebSocket: {}", response.status())
    } else {
        format!("the WebSocket broke: {error}")
    })
}

/// Sends a batch; with a receiver, at most so many messages before they arrive.
pub(super) async fn send(
    mut client: Client,
    to: &str,
    batch: &Batch,
    mut receiver: Option<&Receiver>,
    in_flight: u16,
) -> Result<Outcome, CliError> {
    let before = Counters::read(&mut client).await?;
    let socket = open(client.endpoint(), &Target::new(&["ws"])).await?;
    let (mut sink, stream) = socket.split();
    let errors = Arc::new(Mutex::new(Errors::new()));
    let reader = tokio::spawn(read(stream, errors.clone()));
    let started = Instant::now();
    for number in 0..batch.count() {
        let window = receiver.filter(|receiver| !receiver.has_room(number, in_flight));
        if window.is_some() || number % FLUSH_INTERVAL == 0 {
            sink.flush().await.map_err(broken)?;
        }
        if let Some(window) = window
            && !window.wait_for_room(number, in_flight).await
        {
            // What arrives no more cannot say how fast to send.
            receiver = None;
        }
        let payload = batch.payload(number);
        let frame = format!(r#"{{"type":"send_direct","agent_id":"{to}","payload":"{payload}"}}"#);
        sink.feed(Message::text(frame)).await.map_err(broken)?;
    }
    sink.flush().await.map_err(broken)?;
    let after = settle(&mut client, &before, batch.count()).await?;
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
        let Ok(frame) = serde_json::from_str::<Frame>(&text) else { continue };
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
    async fn read(client: &mut Client) -> Result<Self, CliError> {
        let answer = client.get(&Target::new(&["diagnostics", "dm"])).await?;
        let count = |name: &str| answer["stats"][name].as_u64().unwrap_or(0);
        let (total, succeeded) = (count("outgoing_send_total"), count("outgoing_send_succeeded"));
        Ok(Self { total, succeeded })
    }
}

/// Waits until all sends have ended.
async fn settle(client: &mut Client, before: &Counters, count: u64) -> Result<Counters, CliError> {
    let mut last = *before;
    let mut moved = Instant::now();
    loop {
        let seen = Counters::read(client).await?;
        if seen.total.saturating_sub(before.total) >= count || moved.elapsed() > PATIENCE {
            return Ok(seen);
        }
        if seen != last {
            (last, moved) = (seen, Instant::now());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
