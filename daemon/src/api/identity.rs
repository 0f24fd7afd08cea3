//! Who the node is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;

/// The answer to `GET /agent`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Agent {
    ok: bool,
    agent_id: String,
    machine_id: String,
    user_id: Option<String>,
    kem_public_key_b64: String,
}

/// Who the node is.
#[utoipa::path(get, path = "/agent", tag = "identity", responses((status = 200, body = Agent)))]
pub(super) async fn agent(State(app): State<Arc<App>>) -> Json<Agent> {
    Json(Agent {
        ok: true,
        agent_id: app.identity.agent.to_string(),
        machine_id: app.identity.machine.to_string(),
        user_id: app.identity.user.map(|user| user.to_string()),
        kem_public_key_b64: BASE64.encode(app.identity.kem.as_bytes()),
    })
}

/// The answer to `GET /agent/user-id`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct User {
    ok: bool,
    user_id: Option<String>,
}

/// The human behind the agent, if there is one.
#[utoipa::path(get, path = "/agent/user-id", tag = "identity", responses((status = 200, body = User)))]
pub(super) async fn user_id(State(app): State<Arc<App>>) -> Json<User> {
    Json(User { ok: true, user_id: app.identity.user.map(|user| user.to_string()) })
}
