//! Health, status, shutdown, and what this network stands for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use x0x_core::node::{ListPeers, PeerInfo};

use super::error::{ErrorBody, parse_id};
use super::{ApiError, App};
use crate::API_LEVEL;
use crate::files::hex;
use crate::server::Place;

/// Our own text.
const CONSTITUTION: &str = include_str!("constitution.md");

/// The version that the text names.
const CONSTITUTION_VERSION: &str = "0.1";

/// How long a node without peers is said to be connecting.
const CONNECTING_TIME: Duration = Duration::from_secs(45);

/// The answer to `GET /health`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    ok: bool,
    status: &'static str,
    version: &'static str,
    peers: usize,
    uptime_secs: u64,
}

/// Tells whether the daemon works. Needs no token.
#[utoipa::path(get, path = "/health", tag = "system", responses((status = 200, body = Health)))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    let peers = peers(&app).await.map_or(0, |peers| peers.len());
    let uptime_secs = app.started.elapsed().as_secs();
    Json(Health { ok: true, status: "healthy", version: API_LEVEL, peers, uptime_secs })
}

/// What `GET /challenge` asks.
#[derive(Debug, Deserialize)]
pub(super) struct Challenge {
    nonce: String,
}

/// The answer to `GET /challenge`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Proof {
    ok: bool,
    /// BLAKE3, keyed by BLAKE3("x0x API proof 1" ‖ 00 ‖ token), of the nonce, the 16 bytes of the
    /// IPv6 address (IPv4 addresses are mapped) and the 2 bytes of the port at which the connection
    /// came in. In hexadecimal.
    proof: String,
}

/// Proves that the daemon knows the token, before a client shows it. Needs no token. Over TCP, once
/// for each connection.
#[utoipa::path(
    get, path = "/challenge", tag = "system",
    params(("nonce" = String, Query, description = "32 random bytes, in hexadecimal")),
    responses(
        (status = 200, body = Proof), (status = 400, body = ErrorBody),
        (status = 429, body = ErrorBody, description = "The connection was challenged before"),
    )
)]
pub(super) async fn challenge(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Arc<Place>>,
    query: Result<Query<Challenge>, QueryRejection>,
) -> Result<Json<Proof>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let nonce = parse_id(&query.nonce)?;
    let Some(address) = place.local else {
        let text = "the Unix socket needs no challenge: the system says who listens";
        return Err(ApiError::bad_request(text));
    };
    if !place.may_challenge() {
        let text = "this connection was challenged before: open another";
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, text));
    }
    let proof = hex(&app.proof_key.prove(&nonce, address));
    Ok(Json(Proof { ok: true, proof }))
}

/// The answer to `GET /status`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    ok: bool,
    status: &'static str,
    version: &'static str,
    uptime_secs: u64,
    api_address: String,
    external_addrs: Vec<String>,
    agent_id: String,
    peers: usize,
    warnings: Vec<String>,
}

/// Tells how the node is.
#[utoipa::path(get, path = "/status", tag = "system", responses((status = 200, body = Status)))]
pub(super) async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    let peers = peers(&app).await;
    let mut warnings = Vec::new();
    if peers.is_err() {
        warnings.push("the node does not run".to_owned());
    }
    let count = peers.map_or(0, |peers| peers.len());
    let uptime = app.started.elapsed();
    let status = match count {
        _ if !warnings.is_empty() => "degraded",
        1.. => "connected",
        0 if uptime < CONNECTING_TIME => "connecting",
        0 => "isolated",
    };
    Json(Status {
        ok: true,
        status,
        version: API_LEVEL,
        uptime_secs: uptime.as_secs(),
        api_address: app.api_address.to_string(),
        external_addrs: super::network::external_addresses(&app),
        agent_id: app.identity.agent.to_string(),
        peers: count,
        warnings,
    })
}

/// The answer to `POST /shutdown`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShuttingDown {
    ok: bool,
    message: &'static str,
}

/// Stops the daemon.
#[utoipa::path(post, path = "/shutdown", tag = "system", responses((status = 200, body = ShuttingDown)))]
pub(super) async fn shutdown(State(app): State<Arc<App>>) -> Json<ShuttingDown> {
    app.stop.send_replace(true);
    Json(ShuttingDown { ok: true, message: "shutting down" })
}

/// What this network stands for, as text. Needs no token.
#[utoipa::path(
    get, path = "/constitution", tag = "system",
    responses((status = 200, body = String, content_type = "text/markdown; charset=utf-8"))
)]
pub(super) async fn constitution() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], CONSTITUTION)
}

/// The answer to `GET /constitution/json`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Constitution {
    ok: bool,
    version: &'static str,
    status: &'static str,
    content: &'static str,
}

/// What this network stands for, for programs. Needs no token.
#[utoipa::path(get, path = "/constitution/json", tag = "system", responses((status = 200, body = Constitution)))]
pub(super) async fn constitution_json() -> Json<Constitution> {
    let (version, status) = (CONSTITUTION_VERSION, "Draft");
    Json(Constitution { ok: true, version, status, content: CONSTITUTION })
}

/// The peers that have a link.
pub(super) async fn peers(app: &App) -> Result<Vec<PeerInfo>, ApiError> {
    app.node.request(ListPeers).await.map_err(|_| ApiError::no_node())
}
