//! One WebSocket session.
//!
//! A session reads commands, and writes their answers, the messages of its topics and, on
//! `/ws/direct`, the direct messages that come.
//!
//! It stops reading while [`SENDS_MAX`] or [`PUBLISHES_MAX`] of its messages wait for the node, so a client that sends
//! faster than the network is slowed down by its own socket and loses nothing. Messages of topics
//! wait in a queue of their own ([`QUEUE_LIMITS`](crate::topics::QUEUE_LIMITS)); a client that reads
//! too slowly misses the oldest, and a `lagged` frame tells it how many. A client that does not read
//! at all is closed with code 1013 once [`BACKLOG_MAX`] answers or direct messages wait for it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Error;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, future};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, timeout};
use uuid::Uuid;
use x0x_core::gossip::Topic;
use x0x_core::identity::AgentId;
use x0x_core::node::{Publish, Reply, SendDirect};

use super::answers::Answers;
use super::direct::{SEND_TIMEOUT, decode};
use crate::api::App;
use crate::api::error::parse_id;
use crate::api::gossip::parse_topic;
use crate::hub::Subscription;
use crate::queue::{Taken, lock};
use crate::topics::{SessionQueue, missed_frame};
use x0x_core::direct;

/// How many messages to agents a session has without an answer at a time.
const SENDS_MAX: usize = 4096;

/// How many messages to topics a session has without an answer at a time. Together with
/// [`PUBLISHES_BYTES_MAX`] it leaves room in the queue of the node for other sessions.
const PUBLISHES_MAX: usize = 1024;

/// How many bytes these messages have, if they are more than one.
const PUBLISHES_BYTES_MAX: usize = 1 << 20;

/// How many answers and direct messages wait for a client that does not read.
const BACKLOG_MAX: usize = 4096;

/// How many frames are read, or written, before something else has its turn.
const FRAMES_AT_ONCE: usize = 64;

/// How often a session is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a client may take to be told that its session ends.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// The close code "try again later".
const TRY_AGAIN_LATER: u16 = 1013;

/// The close code "going away".
const GOING_AWAY: u16 = 1001;

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Say {
    Ping,
    Subscribe { topics: Vec<String> },
    Unsubscribe { topics: Vec<String> },
    Publish { topic: String, payload: String },
    SendDirect { agent_id: String, payload: String },
}

/// A session's stay in the lists, which ends when this is dropped.
struct Stay(Arc<App>, Uuid);

impl Stay {
    fn new(app: Arc<App>, id: Uuid, is_direct: bool) -> (Self, Arc<SessionQueue>) {
        lock(&app.sessions.0).insert(id, is_direct);
        let topics = app.hub.topics.open_session(id);
        (Self(app, id), topics)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let Self(app, id) = self;
        lock(&app.sessions.0).remove(id);
        let (keeper, topics) = (app.keeper.clone(), app.hub.topics.close_session(*id));
        if topics.is_empty() {
            return;
        }
        tokio::spawn(async move {
            for topic in topics {
                // A node that does not answer has no subscriptions.
                let _ = keeper.settle(&topic).await;
            }
        });
    }
}

struct Session {
    app: Arc<App>,
    id: Uuid,
    /// What waits to be written.
    backlog: VecDeque<Message>,
    /// Messages of topics, which wait behind the backlog.
    topics: Arc<SessionQueue>,
    /// Direct messages without an answer.
    sends: Answers<AgentId>,
    /// Messages to topics without an answer, by their sizes.
    publishes: Answers<usize>,
    /// The sum of these sizes.
    publishes_bytes: usize,
}

/// Serves a client until it goes, the daemon stops, or it does not read.
pub(super) async fn serve(app: Arc<App>, socket: WebSocket, is_direct: bool) {
    let id = Uuid::new_v4();
    let (_stay, topics) = Stay::new(app.clone(), id, is_direct);
    let direct = is_direct.then(|| app.hub.direct.subscribe());
    let agent = app.identity.agent.to_string();
    let mut session = Session {
        app,
        id,
        backlog: VecDeque::new(),
        topics,
        sends: Answers::default(),
        publishes: Answers::default(),
        publishes_bytes: 0,
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
            let can_hear = self.can_hear();
            let Self { backlog, topics, sends, publishes, .. } = &mut *self;
            // Each may be cancelled without a loss, which `SinkExt::send` may not.
            tokio::select! {
                written = poll_fn(|context| write(&mut sink, backlog, topics, context)) => {
                    if written.is_err() {
                        return;
                    }
                }
                answers = poll_fn(|context| sends.poll_ready(context)) => {
                    answers.into_iter().for_each(|(to, reply)| self.sent(to, reply));
                }
                answers = poll_fn(|context| publishes.poll_ready(context)) => {
                    for (size, reply) in answers {
                        self.publishes_bytes -= size;
                        self.published(reply.is_some());
                    }
                }
                frame = stream.next(), if can_hear => {
                    if self.hear_many(frame, &mut stream).await.is_none() {
                        return;
                    }
                }
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

    fn can_hear(&self) -> bool {
        self.sends.len() < SENDS_MAX
            && self.publishes.len() < PUBLISHES_MAX
            && self.publishes_bytes < PUBLISHES_BYTES_MAX
    }

    /// Hears a frame and those that follow at once; `None` at the end of the session.
    async fn hear_many(
        &mut self,
        first: Option<Result<Message, Error>>,
        stream: &mut SplitStream<WebSocket>,
    ) -> Option<()> {
        let mut frame = first;
        for left in (0..FRAMES_AT_ONCE).rev() {
            match frame {
                Some(Ok(Message::Text(text))) => self.hear(&text).await,
                None | Some(Ok(Message::Close(_)) | Err(_)) => return None,
                // Pings are answered by the library; binary frames mean nothing here.
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
            }
            // What is taken from the stream is heard.
            if left == 0 || !self.can_hear() || self.backlog.len() > BACKLOG_MAX {
                break;
            }
            match stream.next().now_or_never() {
                Some(next) => frame = next,
                None => break,
            }
        }
        Some(())
    }

    async fn hear(&mut self, text: &str) {
        let done = match serde_json::from_str(text) {
            Ok(Say::Ping) => {
                self.say(&json!({ "type": "pong" }));
                Ok(())
            }
            Ok(Say::Subscribe { topics }) => self.subscribe(topics).await,
            Ok(Say::Unsubscribe { topics }) => self.unsubscribe(topics).await,
            Ok(Say::Publish { topic, payload }) => self.publish(&topic, &payload).await,
            Ok(Say::SendDirect { agent_id, payload }) => self.send(&agent_id, &payload).await,
            Err(error) => Err(format!("invalid command: {error}")),
        };
        if let Err(error) = done {
            self.error(&error);
        }
    }

    async fn subscribe(&mut self, names: Vec<String>) -> Result<(), String> {
        let app = self.app.clone();
        let topics = read_topics(&names)?;
        let new =
            app.hub.topics.add_session(self.id, &topics).map_err(|error| error.to_string())?;
        let mut refused = None;
        for topic in &new {
            if let Err(error) = app.keeper.settle(topic).await {
                refused = Some(error);
                break;
            }
        }
        let Some(error) = refused else {
            self.say(&json!({ "type": "subscribed", "topics": names }));
            return Ok(());
        };
        // All or none.
        self.leave(&new).await;
        Err(error.to_string())
    }

    async fn unsubscribe(&mut self, names: Vec<String>) -> Result<(), String> {
        let topics = read_topics(&names)?;
        self.leave(&topics).await;
        self.say(&json!({ "type": "unsubscribed", "topics": names }));
        Ok(())
    }

    async fn leave(&self, topics: &[Topic]) {
        for topic in self.app.hub.topics.remove_session(self.id, topics) {
            // A node that does not answer has no subscriptions.
            let _ = self.app.keeper.settle(&topic).await;
        }
    }

    async fn publish(&mut self, topic: &str, payload: &str) -> Result<(), String> {
        let topic = parse_topic(topic).map_err(|error| error.text().to_owned())?;
        let payload = decode(payload).map_err(|_| "invalid base64 in payload".to_owned())?;
        let size = payload.len();
        match self.app.node.send(Publish { topic, payload: payload.into() }.into()).await {
            Ok(answer) => {
                self.publishes.push(size, answer);
                self.publishes_bytes += size;
            }
            Err(_) => self.published(false),
        }
        Ok(())
    }

    fn published(&mut self, is_taken: bool) {
        self.app.hub.topics.published(is_taken);
        if !is_taken {
            self.error("publish failed");
        }
    }

    async fn send(&mut self, agent_id: &str, payload: &str) -> Result<(), String> {
        let recipient = parse_id(agent_id).map(AgentId).map_err(|error| error.text().to_owned())?;
        let payload = decode(payload).map_err(|_| "invalid base64 in payload".to_owned())?;
        let request = SendDirect { recipient, payload: payload.into(), timeout: SEND_TIMEOUT };
        let answer = self.app.node.send(request.into()).await.map_err(|_| "send failed")?;
        self.sends.push(recipient, answer);
        Ok(())
    }

    fn sent(&mut self, recipient: AgentId, reply: Option<Reply>) {
        let is_acknowledged =
            matches!(reply, Some(Reply::Direct(direct::Reply::SendDirect(Ok(_)))));
        let is_loopback = recipient == self.app.identity.agent;
        self.app.hub.sent(&recipient, is_acknowledged, is_loopback);
        if !is_acknowledged {
            self.error("send failed");
        }
    }

    fn error(&mut self, message: &str) {
        self.say(&json!({ "type": "error", "message": message }));
    }

    fn say(&mut self, frame: &Value) {
        self.backlog.push_back(Message::Text(frame.to_string().into()));
    }
}

/// Writes what waits, many frames at a time; ready when others should have their turn. Once nothing
/// waits, it flushes and sleeps.
fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    backlog: &mut VecDeque<Message>,
    topics: &SessionQueue,
    context: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    for _ in 0..FRAMES_AT_ONCE {
        ready!(sink.poll_ready_unpin(context))?;
        let next = match backlog.pop_front() {
            Some(message) => Poll::Ready(Some(message)),
            None => topics.poll_next(context).map(|taken| taken.map(frame)),
        };
        let Poll::Ready(Some(message)) = next else {
            ready!(sink.poll_flush_unpin(context))?;
            return Poll::Pending;
        };
        sink.start_send_unpin(message)?;
    }
    Poll::Ready(Ok(()))
}

fn frame(taken: Taken<(Topic, Utf8Bytes)>) -> Message {
    Message::Text(match taken {
        Taken::Item((_, frame)) => frame,
        Taken::Missed(missed) => missed_frame(missed),
    })
}

fn read_topics(names: &[String]) -> Result<Vec<Topic>, String> {
    let read = |name: &String| parse_topic(name).map_err(|error| error.text().to_owned());
    names.iter().map(read).collect()
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
