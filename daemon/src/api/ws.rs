//! WebSocket sessions: JSON text frames, both ways.
//!
//! A session reads commands, and writes their answers and, on `/ws/direct`, the direct messages that
//! come. It stops reading while [`SENDS_MAX`] of its sends are without an answer, so a client that
//! sends faster than the network is slowed down by its own socket and loses nothing. A client that
//! does not read is closed with code 1013 once [`BACKLOG_MAX`] answers or messages wait for it.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::future;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use futures_util::{FutureExt as _, SinkExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval_at, timeout};
use utoipa::ToSchema;
use uuid::Uuid;
use x0x_core::identity::AgentId;
use x0x_core::node::{CommandError, Reply, SendDirect};

use super::direct::SEND_TIMEOUT;
use super::error::parse_id;
use super::{App, BODY_BYTES_MAX, access, direct};
use crate::hub::Subscription;

/// How many sends of a session are without an answer at a time.
const SENDS_MAX: usize = 4096;

/// How many frames wait for a client that does not read.
const BACKLOG_MAX: usize = 4096;

/// How often a session is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a client may take to be told that its session ends.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// The close code "try again later".
const TRY_AGAIN_LATER: u16 = 1013;

/// The close code "going away".
const GOING_AWAY: u16 = 1001;

/// The sessions that are open.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<Uuid, bool>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session in the list.
#[derive(Debug, Serialize, ToSchema)]
struct SessionInfo {
    session_id: String,
    subscribed_topics: Vec<String>,
    receives_direct: bool,
}

/// The answer to `GET /ws/sessions`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionList {
    ok: bool,
    sessions: Vec<SessionInfo>,
    shared_subscriptions: BTreeMap<String, usize>,
}

/// The WebSocket sessions that are open.
#[utoipa::path(get, path = "/ws/sessions", tag = "websocket", responses((status = 200, body = SessionList)))]
pub(super) async fn sessions(State(app): State<Arc<App>>) -> Json<SessionList> {
    let open = app.sessions.lock();
    let sessions = open.iter().map(|(id, &receives_direct)| SessionInfo {
        session_id: id.to_string(),
        subscribed_topics: Vec::new(),
        receives_direct,
    });
    let shared_subscriptions = BTreeMap::new();
    Json(SessionList { ok: true, sessions: sessions.collect(), shared_subscriptions })
}

/// Opens a session.
#[utoipa::path(
    get, path = "/ws", tag = "websocket",
    responses((status = 101), (status = 400), (status = 403), (status = 426))
)]
pub(super) async fn ws(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(app, &headers, upgrade, false)
}

/// Opens a session that also receives direct messages.
#[utoipa::path(
    get, path = "/ws/direct", tag = "websocket",
    responses((status = 101), (status = 400), (status = 403), (status = 426))
)]
pub(super) async fn ws_direct(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(app, &headers, upgrade, true)
}

fn open(
    app: Arc<App>,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    is_direct: bool,
) -> Response {
    if let Err(error) = access::check_origin(headers) {
        return error.into_response();
    }
    upgrade
        .max_message_size(BODY_BYTES_MAX)
        .max_frame_size(BODY_BYTES_MAX)
        .on_upgrade(move |socket| serve(app, socket, is_direct))
}

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Say {
    Ping,
    Subscribe {
        #[serde(rename = "topics")]
        _topics: Vec<String>,
    },
    Unsubscribe {
        #[serde(rename = "topics")]
        _topics: Vec<String>,
    },
    Publish {
        #[serde(rename = "topic")]
        _topic: String,
        payload: String,
    },
    SendDirect {
        agent_id: String,
        payload: String,
    },
}

/// The end of a session's stay in the list.
struct Stay(Arc<App>, Uuid);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.sessions.lock().remove(&self.1);
    }
}

type Answer = future::Map<
    oneshot::Receiver<Result<Reply, CommandError>>,
    fn(Result<Result<Reply, CommandError>, oneshot::error::RecvError>) -> bool,
>;

struct Session {
    app: Arc<App>,
    /// What waits to be written.
    backlog: VecDeque<Message>,
    /// Sends without an answer, with their recipients, in order.
    sends: FuturesOrdered<Answer>,
    recipients: VecDeque<AgentId>,
}

async fn serve(app: Arc<App>, socket: WebSocket, is_direct: bool) {
    let id = Uuid::new_v4();
    app.sessions.lock().insert(id, is_direct);
    let _stay = Stay(app.clone(), id);
    let direct = is_direct.then(|| app.hub.direct.subscribe());
    let agent = app.identity.agent.to_string();
    let mut session = Session {
        app,
        backlog: VecDeque::new(),
        sends: FuturesOrdered::new(),
        recipients: VecDeque::new(),
    };
    session.say(&json!({ "type": "connected", "session_id": id.to_string(), "agent_id": agent }));
    session.say(&json!({ "type": "pong" }));
    session.run(socket, direct).await;
}

impl Session {
    async fn run(&mut self, socket: WebSocket, mut direct: Option<Subscription<Arc<str>>>) {
        let (mut sink, mut stream) = socket.split();
        let mut stop = self.app.stop.subscribe();
        let mut alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        let code = loop {
            let can_send = self.sends.len() < SENDS_MAX;
            let is_idle = self.backlog.is_empty();
            // Both polls may be cancelled without a loss, which `SinkExt::send` may not.
            let writable = poll_fn(|context| {
                if !is_idle {
                    return sink.poll_ready_unpin(context);
                }
                match sink.poll_flush_unpin(context) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                }
            });
            tokio::select! {
                biased;
                ready = writable => {
                    let sent = ready.map(|()| self.backlog.pop_front());
                    match sent.map(|message| message.map(|message| sink.start_send_unpin(message))) {
                        Ok(Some(Ok(())) | None) => {}
                        Ok(Some(Err(_))) | Err(_) => return,
                    }
                }
                Some(is_acknowledged) = self.sends.next() => self.answered(is_acknowledged),
                frame = stream.next(), if can_send => match frame {
                    Some(Ok(Message::Text(text))) => self.hear(&text).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    // Pings are answered by the library; binary frames mean nothing here.
                    Some(Ok(_)) => {}
                },
                Some(fields) = next(direct.as_mut()) => {
                    let text = format!("{{\"type\":\"direct_message\",{fields}}}");
                    self.backlog.push_back(Message::Text(text.into()));
                }
                _ = alive.tick() => self.say(&json!({ "type": "pong" })),
                () = stopped(&mut stop) => break GOING_AWAY,
            }
            if self.backlog.len() > BACKLOG_MAX {
                break TRY_AGAIN_LATER;
            }
        };
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static("") };
        // Whoever does not read does not read this either.
        let _ = timeout(CLOSE_TIME, sink.send(Message::Close(Some(frame)))).await;
    }

    async fn hear(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(Say::Ping) => self.say(&json!({ "type": "pong" })),
            Ok(Say::Subscribe { .. } | Say::Unsubscribe { .. }) => {
                self.error("topics are not available in this version");
            }
            Ok(Say::Publish { payload, .. }) => match direct::decode(&payload) {
                Ok(_) => self.error("publish failed"),
                Err(_) => self.error("invalid base64 in payload"),
            },
            Ok(Say::SendDirect { agent_id, payload }) => {
                if let Err(error) = self.send_direct(&agent_id, &payload).await {
                    self.error(&error);
                }
            }
            Err(error) => self.error(&format!("invalid command: {error}")),
        }
    }

    async fn send_direct(&mut self, agent_id: &str, payload: &str) -> Result<(), String> {
        let recipient = parse_id(agent_id).map(AgentId).map_err(|error| error.text().to_owned())?;
        let payload =
            direct::decode(payload).map_err(|_| "invalid base64 in payload".to_owned())?;
        let request = SendDirect { recipient, payload: payload.into(), timeout: SEND_TIMEOUT };
        let answer = self.app.node.send(request.into()).await.map_err(|_| "send failed")?;
        let is_acknowledged: fn(_) -> bool =
            |reply| matches!(reply, Ok(Ok(Reply::SendDirect(Ok(_)))));
        self.sends.push_back(answer.map(is_acknowledged));
        self.recipients.push_back(recipient);
        Ok(())
    }

    fn answered(&mut self, is_acknowledged: bool) {
        if let Some(recipient) = self.recipients.pop_front() {
            let is_loopback = recipient == self.app.identity.agent;
            self.app.hub.sent(&recipient, is_acknowledged, is_loopback);
        }
        if !is_acknowledged {
            self.error("send failed");
        }
    }

    fn error(&mut self, message: &str) {
        self.say(&json!({ "type": "error", "message": message }));
    }

    fn say(&mut self, frame: &serde_json::Value) {
        self.backlog.push_back(Message::Text(frame.to_string().into()));
    }
}

/// Waits until the daemon stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the daemon is gone, which is a stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The next direct message; never, if the session takes none.
async fn next(direct: Option<&mut Subscription<Arc<str>>>) -> Option<Arc<str>> {
    match direct {
        Some(subscription) => subscription.next().await,
        None => future::pending().await,
    }
}
