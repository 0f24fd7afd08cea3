//! Peers and the network.

#![allow(unused_qualifications, reason = "the description's macro repeats types")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use x0x_core::identity::MachineId;
use x0x_core::node::ProbePeer;

use super::error::ErrorBody;
use super::system::peers as connected_peers;
use super::{ApiError, App, sse};
use crate::hub::PeerChange;

/// A peer, by its machine.
#[derive(Debug, Serialize, ToSchema)]
struct PeerId {
    id: String,
}

/// The answer to `GET /peers`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Peers {
    ok: bool,
    peers: Vec<PeerId>,
}

/// The machines that have a link.
#[utoipa::path(
    get, path = "/peers", tag = "network",
    responses((status = 200, body = Peers), (status = 503, body = ErrorBody))
)]
pub(super) async fn peers(State(app): State<Arc<App>>) -> Result<Json<Peers>, ApiError> {
    let peers = connected_peers(&app).await?;
    let peers = peers.into_iter().map(|peer| PeerId { id: peer.machine.to_string() }).collect();
    Ok(Json(Peers { ok: true, peers }))
}

/// The answer to `GET /network/status`. What is not known is null or 0.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NetworkStatus {
    ok: bool,
    local_addr: Option<String>,
    external_addrs: Vec<String>,
    nat_type: Option<String>,
    has_global_address: bool,
    can_receive_direct: bool,
    connected_peers: usize,
    direct_connections: usize,
    relayed_connections: usize,
    hole_punch_success_rate: f64,
    is_relaying: bool,
    relay_sessions: usize,
    is_coordinating: bool,
    coordination_sessions: usize,
    avg_rtt_ms: u64,
    uptime_secs: u64,
}

/// How the node stands in the network.
#[utoipa::path(
    get, path = "/network/status", tag = "network",
    responses((status = 200, body = NetworkStatus), (status = 503, body = ErrorBody))
)]
pub(super) async fn status(State(app): State<Arc<App>>) -> Result<Json<NetworkStatus>, ApiError> {
    let peers = connected_peers(&app).await?;
    let total: Duration = peers.iter().map(|peer| peer.round_trip).sum();
    let average = total.checked_div(u32::try_from(peers.len()).unwrap_or(u32::MAX));
    let external_addrs = external_addresses(&app);
    Ok(Json(NetworkStatus {
        ok: true,
        local_addr: app.node.sockets().first().map(SocketAddr::to_string),
        has_global_address: !external_addrs.is_empty(),
        external_addrs,
        nat_type: None,
        can_receive_direct: false,
        connected_peers: peers.len(),
        // Every link is direct: there are no relays yet.
        direct_connections: peers.len(),
        relayed_connections: 0,
        hole_punch_success_rate: 0.0,
        is_relaying: false,
        relay_sessions: 0,
        is_coordinating: false,
        coordination_sessions: 0,
        avg_rtt_ms: average.map_or(0, millis),
        uptime_secs: app.started.elapsed().as_secs(),
    }))
}

/// How long a probe may take.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct ProbeQuery {
    /// Milliseconds, from 100 to 30,000.
    timeout_ms: Option<u64>,
}

/// The answer to `POST /peers/{peer_id}/probe`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Probed {
    ok: bool,
    rtt_ms: u64,
    rtt_us: u64,
    timeout_ms: u64,
}

/// Asks a peer for a sign of life and measures how long it takes.
#[utoipa::path(
    post, path = "/peers/{peer_id}/probe", tag = "network",
    params(("peer_id" = String, Path, description = "The machine, 64 hex digits"), ProbeQuery),
    responses(
        (status = 200, body = Probed),
        (status = 400, content((ErrorBody = "application/json"), (String = "text/plain"))),
        (status = 503, body = ErrorBody, description = "Not connected, or no answer in time"),
    )
)]
pub(super) async fn probe(
    State(app): State<Arc<App>>,
    Path(peer_id): Path<String>,
    Query(query): Query<ProbeQuery>,
) -> Result<Json<Probed>, ApiError> {
    let machine = parse_peer(&peer_id)?;
    let timeout_ms = query.timeout_ms.unwrap_or(2000).clamp(100, 30_000);
    let probe = ProbePeer { machine, timeout: Duration::from_millis(timeout_ms) };
    let failed = |reason: String| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("probe failed: {reason}"))
    };
    let answer = app.node.request(probe).await.map_err(|error| failed(error.to_string()))?;
    let round_trip = answer.map_err(|error| failed(error.to_string()))?.round_trip;
    let rtt_us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
    Ok(Json(Probed { ok: true, rtt_ms: millis(round_trip), rtt_us, timeout_ms }))
}

/// What is known of a link.
#[derive(Debug, Serialize, ToSchema)]
struct Snapshot {
    connected: bool,
    generation: Option<u64>,
    reader_task_active: Option<bool>,
    last_received_ms_ago: Option<u64>,
    last_sent_ms_ago: Option<u64>,
    idle_ms: Option<u64>,
    close_reason: Option<String>,
}

/// The answer to `GET /peers/{peer_id}/health`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PeerHealth {
    ok: bool,
    peer_id: String,
    health: String,
    snapshot: Snapshot,
}

/// What is known of a peer's link. A peer that was never met is not connected.
#[utoipa::path(
    get, path = "/peers/{peer_id}/health", tag = "network",
    params(("peer_id" = String, Path, description = "The machine, 64 hex digits")),
    responses((status = 200, body = PeerHealth), (status = 400, body = ErrorBody))
)]
pub(super) async fn health(
    State(app): State<Arc<App>>,
    Path(peer_id): Path<String>,
) -> Result<Json<PeerHealth>, ApiError> {
    let machine = parse_peer(&peer_id)?;
    let peer = app.hub.peer(&machine);
    let ago = |at: Option<Instant>| at.map(|at| millis(at.elapsed()));
    let (received, sent) =
        peer.as_ref().map_or((None, None), |peer| (ago(peer.last_received), ago(peer.last_sent)));
    let snapshot = Snapshot {
        connected: peer.as_ref().is_some_and(|peer| peer.is_connected),
        generation: peer.as_ref().map(|peer| peer.generation),
        reader_task_active: peer.as_ref().map(|peer| peer.is_connected),
        last_received_ms_ago: received,
        last_sent_ms_ago: sent,
        idle_ms: received.into_iter().chain(sent).min(),
        close_reason: peer.and_then(|peer| peer.close_reason),
    };
    let health = if snapshot.connected { "Connected" } else { "NotConnected" }.to_owned();
    Ok(Json(PeerHealth { ok: true, peer_id: machine.to_string(), health, snapshot }))
}

/// Changes of peers, as they happen.
#[utoipa::path(
    get, path = "/peers/events", tag = "network",
    responses((status = 200, body = PeerChange, content_type = "text/event-stream"))
)]
pub(super) async fn peer_events(State(app): State<Arc<App>>) -> impl IntoResponse {
    sse::stream(app.hub.peers.subscribe(), |change: PeerChange| {
        let data = serde_json::to_string(&change).expect("plain fields have a JSON form");
        Event::default().event("peer-lifecycle").data(data)
    })
}

/// The addresses that others may reach this node at, as far as it knows.
pub(super) fn external_addresses(app: &App) -> Vec<String> {
    let is_global = |address: &&SocketAddr| {
        let ip = address.ip();
        !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
    };
    app.node.sockets().iter().filter(is_global).map(SocketAddr::to_string).collect()
}

fn parse_peer(text: &str) -> Result<MachineId, ApiError> {
    super::error::parse_id(text).map(MachineId).map_err(|error| {
        let reason = error.text();
        ApiError::bad_request(match reason.strip_prefix("expected 32 bytes (64 hex chars), ") {
            Some(got) => format!("peer_id must be 32 bytes, {got}"),
            None => reason.replacen("invalid hex", "invalid hex peer_id", 1),
        })
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
