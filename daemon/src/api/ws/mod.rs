//! WebSocket sessions: JSON text frames, both ways.

mod answers;
mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, BODY_BYTES_MAX, access, direct};
use crate::queue::lock;
use crate::server::Place;

/// How many bytes are read from a client at a time. Each session has a buffer of this size.
const READ_BYTES: usize = 16 << 10;

/// The sessions that are open, and whether they receive direct messages.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<Uuid, bool>>);

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
    let mut topics = app.hub.topics.sessions();
    let open = lock(&app.sessions.0);
    let sessions = open.iter().map(|(id, &receives_direct)| {
        let topics = topics.remove(id).unwrap_or_default();
        let subscribed_topics = topics.iter().map(|topic| topic.as_str().to_owned()).collect();
        SessionInfo { session_id: id.to_string(), subscribed_topics, receives_direct }
    });
    let sessions = sessions.collect();
    let shared = app.hub.topics.shared().into_iter();
    let shared_subscriptions =
        shared.map(|(topic, count)| (topic.as_str().to_owned(), count)).collect();
    Json(SessionList { ok: true, sessions, shared_subscriptions })
}

/// Opens a session.
#[utoipa::path(
    get, path = "/ws", tag = "websocket",
    responses((status = 101), (status = 400), (status = 403), (status = 426))
)]
pub(super) async fn ws(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Arc<Place>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(app, place, &headers, upgrade, false)
}

/// Opens a session that also receives direct messages.
#[utoipa::path(
    get, path = "/ws/direct", tag = "websocket",
    responses((status = 101), (status = 400), (status = 403), (status = 426))
)]
pub(super) async fn ws_direct(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Arc<Place>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(app, place, &headers, upgrade, true)
}

fn open(
    app: Arc<App>,
    place: Arc<Place>,
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
        .read_buffer_size(READ_BYTES)
        .on_upgrade(move |socket| async move {
            session::serve(app, socket, is_direct).await;
            // The session outlives the connection that it came from, and holds its place.
            drop(place);
        })
}
