//! Links on request, and direct messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use x0x_core::direct::{DirectError, RefuseReason};
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::link::ConnectError;
use x0x_core::node::{CommandError, Connect, SendDirect, Target};

use super::error::{ErrorBody, parse_id};
use super::system::peers;
use super::{ApiError, App, sse};
use crate::files::{hex, random};
use crate::hub::{DIRECT_QUEUE_MAX, DirectMessage};
use x0x_core::direct;

/// How long a link may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an acknowledgement may take if the caller does not say.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(12);

/// Names an agent.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ConnectAgent {
    agent_id: String,
}

/// Names a machine.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ConnectMachine {
    machine_id: String,
}

/// What came of a wish for a link.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outcome {
    ok: bool,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<String>,
}

/// Makes a link to the machine of an agent.
#[utoipa::path(
    post, path = "/agents/connect", tag = "direct", request_body = ConnectAgent,
    responses(
        (status = 200, body = Outcome),
        (status = 400, content((ErrorBody = "application/json"), (String = "text/plain"))),
        (status = 413, body = String), (status = 415, body = String), (status = 422, body = String),
        (status = 500, body = ErrorBody),
    )
)]
pub(super) async fn connect_agent(
    State(app): State<Arc<App>>,
    Json(body): Json<ConnectAgent>,
) -> Result<Json<Outcome>, ApiError> {
    connect(&app, Target::Agent(AgentId(parse_id(&body.agent_id)?))).await
}

/// Makes a link to a machine.
#[utoipa::path(
    post, path = "/machines/connect", tag = "direct", request_body = ConnectMachine,
    responses(
        (status = 200, body = Outcome),
        (status = 400, content((ErrorBody = "application/json"), (String = "text/plain"))),
        (status = 413, body = String), (status = 415, body = String), (status = 422, body = String),
        (status = 500, body = ErrorBody),
    )
)]
pub(super) async fn connect_machine(
    State(app): State<Arc<App>>,
    Json(body): Json<ConnectMachine>,
) -> Result<Json<Outcome>, ApiError> {
    connect(&app, Target::Machine(MachineId(parse_id(&body.machine_id)?))).await
}

async fn connect(app: &App, target: Target) -> Result<Json<Outcome>, ApiError> {
    let request = Connect { target, keep: false, timeout: CONNECT_TIMEOUT };
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "connection failed");
    let (outcome, addr) = match app.node.request(request).await.map_err(failed)? {
        Ok(link) if link.already => ("AlreadyConnected", Some(link.address.to_string())),
        Ok(link) => ("Direct", Some(link.address.to_string())),
        Err(ConnectError::UnknownPeer) => ("NotFound", None),
        Err(_) => ("Unreachable", None),
    };
    Ok(Json(Outcome { ok: true, outcome, addr }))
}

/// A message to send.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Send {
    /// The recipient, 64 hex digits.
    agent_id: String,
    /// The message, base64.
    payload: String,
    /// How long to wait for the recipient's acknowledgement, in milliseconds.
    require_ack_ms: Option<u64>,
}

/// How the acknowledgement that was asked for went.
#[derive(Debug, Serialize, ToSchema)]
struct RequiredAck {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The answer to `POST /direct/send`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sent {
    ok: bool,
    path: &'static str,
    retries_used: u32,
    request_id: String,
    require_ack: Option<RequiredAck>,
}

/// Sends a message to an agent. Answered when the recipient's node has it.
#[utoipa::path(
    post, path = "/direct/send", tag = "direct", request_body = Send,
    responses(
        (status = 200, body = Sent),
        (status = 400, content((ErrorBody = "application/json"), (String = "text/plain"))),
        (status = 403, body = ErrorBody, description = "The recipient refused"),
        (status = 404, body = ErrorBody, description = "Nobody knows the recipient"),
        (status = 413, body = ErrorBody, description = "Too large"),
        (status = 415, body = String), (status = 422, body = String),
        (status = 502, body = ErrorBody, description = "The recipient's node was lost"),
        (status = 503, body = ErrorBody, description = "The node is full or does not run"),
        (status = 504, body = ErrorBody, description = "No acknowledgement in time"),
    )
)]
pub(super) async fn send(
    State(app): State<Arc<App>>,
    Json(body): Json<Send>,
) -> Result<Json<Sent>, ApiError> {
    let recipient = AgentId(parse_id(&body.agent_id)?);
    let payload = decode(&body.payload)?;
    let required = body.require_ack_ms.map(|ms| Duration::from_millis(ms.clamp(100, 30_000)));
    let is_loopback = recipient == app.identity.agent;
    let request = SendDirect {
        recipient,
        payload: payload.into(),
        timeout: required.unwrap_or(SEND_TIMEOUT),
    };
    let started = Instant::now();
    let result = app.node.request(request).await.map_err(|error| refusal(&error))?;
    app.hub.sent(&recipient, result.is_ok(), is_loopback);
    let (path, require_ack) = match result {
        Ok(_) => {
            let rtt_ms = u64::try_from(started.elapsed().as_millis()).ok();
            let ack = RequiredAck { ok: true, rtt_ms, error: None };
            let path = if is_loopback { "loopback" } else { "raw_quic_acked" };
            (path, required.map(|_| ack))
        }
        // It is on its way; only the acknowledgement is late.
        Err(error @ DirectError::Timeout { sent: true }) if required.is_some() => {
            let ack = RequiredAck { ok: false, rtt_ms: None, error: Some(error.to_string()) };
            ("raw_quic", Some(ack))
        }
        Err(error) => return Err(failure(error)),
    };
    let request_id = hex(&random::<16>().map_err(|_| ApiError::no_node())?);
    Ok(Json(Sent { ok: true, path, retries_used: 0, request_id, require_ack }))
}

/// Reads base64 with padding.
pub(super) fn decode(payload: &str) -> Result<Vec<u8>, ApiError> {
    BASE64
        .decode(payload)
        .map_err(|error| ApiError::bad_request(format!("invalid base64: {error}")))
}

fn refusal(error: &CommandError) -> ApiError {
    let (status, kind) =
        if matches!(error, CommandError::Direct(direct::RequestError::TooLarge { .. })) {
            (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "local_gossip_unavailable")
        };
    ApiError::kind(status, kind, error.to_string())
}

fn failure(error: DirectError) -> ApiError {
    let (status, kind) = match error {
        DirectError::Refused(RefuseReason::Blocked | RefuseReason::NotHere) => {
            (StatusCode::FORBIDDEN, "recipient_rejected")
        }
        DirectError::Refused(RefuseReason::Full) => {
            (StatusCode::SERVICE_UNAVAILABLE, "recipient_full")
        }
        DirectError::Timeout { sent: true } => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        DirectError::Timeout { sent: false } | DirectError::RecipientRestarted => {
            (StatusCode::BAD_GATEWAY, "peer_disconnected")
        }
        DirectError::UnknownRecipient => (StatusCode::NOT_FOUND, "recipient_key_unavailable"),
        DirectError::ShutDown { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "local_gossip_unavailable")
        }
    };
    ApiError::kind(status, kind, error.to_string())
}

/// An agent that has a link.
#[derive(Debug, Serialize, ToSchema)]
struct Connection {
    agent_id: String,
    machine_id: Option<String>,
}

/// The answer to `GET /direct/connections`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Connections {
    ok: bool,
    connections: Vec<Connection>,
}

/// The agents that have a link.
#[utoipa::path(
    get, path = "/direct/connections", tag = "direct",
    responses((status = 200, body = Connections), (status = 503, body = ErrorBody))
)]
pub(super) async fn connections(
    State(app): State<Arc<App>>,
) -> Result<Json<Connections>, ApiError> {
    let peers = peers(&app).await?;
    let connections = peers.iter().flat_map(|peer| {
        peer.agents.iter().map(|agent| Connection {
            agent_id: agent.to_string(),
            machine_id: Some(peer.machine.to_string()),
        })
    });
    Ok(Json(Connections { ok: true, connections: connections.collect() }))
}

/// Direct messages, as they come.
#[utoipa::path(
    get, path = "/direct/events", tag = "direct",
    responses((status = 200, body = DirectMessage, content_type = "text/event-stream"))
)]
pub(super) async fn events(State(app): State<Arc<App>>) -> impl IntoResponse {
    sse::stream(app.hub.direct.subscribe(), |fields: Arc<str>| {
        Event::default().event("direct_message").data(format!("{{{fields}}}"))
    })
}

/// How direct messages fared since the start.
#[derive(Debug, Serialize, ToSchema)]
struct Stats {
    outgoing_send_total: u64,
    outgoing_send_succeeded: u64,
    outgoing_send_failed: u64,
    outgoing_path_loopback: u64,
    outgoing_path_raw_quic: u64,
    outgoing_path_gossip_inbox: u64,
    incoming_envelopes_total: u64,
    incoming_decode_failed: u64,
    incoming_signature_failed: u64,
    incoming_trust_rejected: u64,
    incoming_delivered_to_subscribe: u64,
    subscriber_events_evicted: u64,
    subscriber_channel_lagged: u64,
    subscriber_channel_closed: u64,
}

/// How direct messages with one machine fared.
#[derive(Debug, Serialize, ToSchema)]
struct PeerStats {
    avg_rtt_ms: Option<u64>,
    last_send_ms_ago: Option<u64>,
    last_recv_ms_ago: Option<u64>,
    send_succeeded: u64,
    send_failed: u64,
    recv_count: u64,
    preferred_path: &'static str,
}

/// The answer to `GET /diagnostics/dm`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Diagnostics {
    ok: bool,
    stats: Stats,
    per_peer: BTreeMap<String, PeerStats>,
    subscriber_count: usize,
    subscriber_capacity: usize,
}

/// How direct messages fare.
#[utoipa::path(get, path = "/diagnostics/dm", tag = "direct", responses((status = 200, body = Diagnostics)))]
pub(super) async fn diagnostics(State(app): State<Arc<App>>) -> Json<Diagnostics> {
    let stats = app.hub.stats();
    let ago = |at: Option<Instant>| at.and_then(|at| u64::try_from(at.elapsed().as_millis()).ok());
    let row = |peer: &crate::hub::Peer| PeerStats {
        avg_rtt_ms: None,
        last_send_ms_ago: ago(peer.last_sent),
        last_recv_ms_ago: ago(peer.last_received),
        send_succeeded: peer.sent,
        send_failed: peer.failed,
        recv_count: peer.received,
        preferred_path: "raw_quic",
    };
    let peers = app.hub.all_peers();
    let rows = peers.values().flat_map(|peer| {
        let agents = peer.agents.iter();
        agents.map(move |agent| (agent.to_string(), row(peer)))
    });
    Json(Diagnostics {
        ok: true,
        stats: Stats {
            outgoing_send_total: stats.sends,
            outgoing_send_succeeded: stats.succeeded,
            outgoing_send_failed: stats.failed,
            outgoing_path_loopback: stats.loopback,
            outgoing_path_raw_quic: stats.sends - stats.loopback,
            outgoing_path_gossip_inbox: 0,
            incoming_envelopes_total: stats.received,
            incoming_decode_failed: 0,
            incoming_signature_failed: 0,
            incoming_trust_rejected: 0,
            incoming_delivered_to_subscribe: stats.received,
            subscriber_events_evicted: app.hub.direct.evicted(),
            subscriber_channel_lagged: app.hub.lost(),
            subscriber_channel_closed: 0,
        },
        per_peer: rows.collect(),
        subscriber_count: app.hub.direct.subscribers(),
        subscriber_capacity: DIRECT_QUEUE_MAX,
    })
}
