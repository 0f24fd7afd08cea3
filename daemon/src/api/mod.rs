//! The local API: HTTP, server-sent events and WebSocket.
//!
//! A request passes, in this order: the check of its `Host`, CORS, the token, the router, the
//! limit of its body, the handler. `contract` below means the published contract of API level
//! 0.19.21; what differs from it is in `docs/src/api.md`.

mod access;
mod direct;
mod error;
mod gossip;
mod identity;
mod network;
mod record;
mod sse;
mod system;
mod ws;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::watch;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use x0x_core::crypto::kem::EncapsulationKey;
use x0x_core::identity::{AgentId, MachineId, UserId};

use crate::hub::Hub;
use crate::node::NodeHandle;
use crate::proof::ProofKey;
use crate::recordings::Recorder;
use crate::topics::Keeper;

pub use error::ApiError;
pub(crate) use error::parse_id;

/// The largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// How often a stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who the node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The agent.
    pub agent: AgentId,
    /// The machine.
    pub machine: MachineId,
    /// The human, if there is one.
    pub user: Option<UserId>,
    /// What messages for the agent are sealed to while it is away.
    pub kem: EncapsulationKey,
}

/// What all handlers share.
#[derive(Debug)]
pub struct App {
    /// The node.
    pub node: NodeHandle,
    /// What the node tells.
    pub hub: Arc<Hub>,
    /// Who the node is.
    pub identity: Identity,
    /// What every request but the public ones must show.
    pub token: String,
    /// Proves that the daemon knows the token.
    pub(crate) proof_key: ProofKey,
    /// Where the API listens.
    pub api_address: SocketAddr,
    /// When the daemon started.
    pub started: Instant,
    /// Whether the daemon is to stop.
    pub stop: watch::Sender<bool>,
    /// The WebSocket sessions.
    pub(crate) sessions: ws::Sessions,
    /// Keeps the node subscribed to what is wanted.
    pub(crate) keeper: Arc<Keeper>,
    /// Records the node.
    pub(crate) recorder: Arc<Recorder>,
}

impl App {
    /// Brings together what handlers share.
    pub fn new(
        node: NodeHandle,
        hub: Arc<Hub>,
        keeper: Arc<Keeper>,
        identity: Identity,
        token: String,
        api_address: SocketAddr,
        recorder: Arc<Recorder>,
    ) -> Self {
        let (stop, _) = watch::channel(false);
        let sessions = ws::Sessions::default();
        let started = Instant::now();
        let proof_key = ProofKey::of(&token);
        Self {
            node,
            hub,
            identity,
            token,
            proof_key,
            api_address,
            started,
            stop,
            sessions,
            keeper,
            recorder,
        }
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "x0x daemon",
    description = "The local API of an x0x node.",
    license(name = "MIT OR Apache-2.0")
))]
struct Description;

/// Makes the router and its description.
pub fn router(app: Arc<App>) -> (Router, utoipa::openapi::OpenApi) {
    let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(system::health))
        .routes(routes!(system::challenge))
        .routes(routes!(system::status))
        .routes(routes!(system::shutdown))
        .routes(routes!(system::constitution))
        .routes(routes!(system::constitution_json))
        .routes(routes!(record::begin, record::end, record::state))
        .routes(routes!(identity::agent))
        .routes(routes!(identity::user_id))
        .routes(routes!(network::peers))
        .routes(routes!(network::status))
        .routes(routes!(network::probe))
        .routes(routes!(network::health))
        .routes(routes!(network::peer_events))
        .routes(routes!(direct::connect_agent))
        .routes(routes!(direct::connect_machine))
        .routes(routes!(direct::send))
        .routes(routes!(direct::connections))
        .routes(routes!(direct::events))
        .routes(routes!(direct::diagnostics))
        .routes(routes!(gossip::publish))
        .routes(routes!(gossip::subscribe))
        .routes(routes!(gossip::unsubscribe))
        .routes(routes!(gossip::events))
        .routes(routes!(gossip::diagnostics))
        .routes(routes!(ws::ws))
        .routes(routes!(ws::ws_direct))
        .routes(routes!(ws::sessions))
        .split_for_parts();
    // Shared: each connection has a router of its own.
    let served = description.to_pretty_json().expect("a description has a JSON form");
    let served = Bytes::from(served);
    let json = [("content-type", "application/json")];
    let router = router
        .route("/openapi.json", get(move || async move { (json, served) }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(app.clone(), access::authenticate))
        .layer(access::cors())
        .layer(from_fn_with_state(app.clone(), access::check_host))
        .with_state(app);
    (router, description)
}
