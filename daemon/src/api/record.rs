//! Recordings of the node.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use x0x_tokio::StartError;

use super::error::ErrorBody;
use super::{ApiError, App};
use crate::recordings::{BeginError, MIB_DEFAULT, Recording, WARNING};
use crate::supervisor::RestartError;

/// How the node is to be recorded.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Begin {
    /// How large the recording may become, in MiB: from 1 to 65536; 64 if nothing is said.
    max_mib: Option<u64>,
}

/// The answer to `POST /diagnostics/record`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Begun {
    ok: bool,
    path: String,
    max_bytes: u64,
    /// What the file holds.
    warning: &'static str,
}

/// Records the node from here on. The node restarts for that: its links end and come back.
#[utoipa::path(
    post, path = "/diagnostics/record", tag = "system", request_body = Begin,
    responses(
        (status = 200, body = Begun),
        (status = 400, content((ErrorBody = "application/json"), (String = "text/plain"))),
        (status = 409, body = ErrorBody, description = "A recording is under way"),
        (status = 413, body = String), (status = 415, body = String), (status = 422, body = String),
        (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    Json(body): Json<Begin>,
) -> Result<Json<Begun>, ApiError> {
    let begun = app.recorder.begin(body.max_mib.unwrap_or(MIB_DEFAULT)).await;
    let recording = begun.map_err(|error| refusal(&error))?;
    let (path, max_bytes) = (path(&recording), recording.bytes_max);
    Ok(Json(Begun { ok: true, path, max_bytes, warning: WARNING }))
}

/// The answer to `DELETE /diagnostics/record`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stopped {
    ok: bool,
    path: String,
    bytes: u64,
    /// Why there is nothing more in it.
    ended_because: Option<String>,
}

/// Ends the recording; the node goes on. The file stays.
#[utoipa::path(
    delete, path = "/diagnostics/record", tag = "system",
    responses(
        (status = 200, body = Stopped),
        (status = 404, body = ErrorBody, description = "Nothing was recorded"),
    )
)]
pub(super) async fn end(State(app): State<Arc<App>>) -> Result<Json<Stopped>, ApiError> {
    let recording = app.recorder.end().await;
    let recording = recording.ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "nothing was recorded since the start")
    })?;
    let state = recording.state();
    let ended_because = state.ended.map(|ended| ended.to_string());
    Ok(Json(Stopped { ok: true, path: path(&recording), bytes: state.bytes, ended_because }))
}

/// The answer to `GET /diagnostics/record`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Recorded {
    ok: bool,
    /// Whether a recording is under way.
    recording: bool,
    /// Its file, or that of the last one since the start.
    path: Option<String>,
    bytes: Option<u64>,
    max_bytes: Option<u64>,
    ended_because: Option<String>,
}

/// Tells whether the node is recorded, and where.
#[utoipa::path(
    get, path = "/diagnostics/record", tag = "system", responses((status = 200, body = Recorded))
)]
pub(super) async fn state(State(app): State<Arc<App>>) -> Json<Recorded> {
    let last = app.recorder.recording();
    let state = last.as_ref().map(Recording::state);
    let ended = state.as_ref().and_then(|state| state.ended.as_ref());
    Json(Recorded {
        ok: true,
        recording: state.is_some() && ended.is_none(),
        path: last.as_ref().map(path),
        bytes: state.as_ref().map(|state| state.bytes),
        max_bytes: last.as_ref().map(|last| last.bytes_max),
        ended_because: ended.map(ToString::to_string),
    })
}

fn path(recording: &Recording) -> String {
    recording.path.display().to_string()
}

fn refusal(error: &BeginError) -> ApiError {
    let status = match error {
        BeginError::Size
        | BeginError::Restart(RestartError::NotRecorded(StartError::Recording(_))) => {
            StatusCode::BAD_REQUEST
        }
        BeginError::UnderWay => StatusCode::CONFLICT,
        BeginError::Restart(RestartError::Halted) => return ApiError::no_node(),
        BeginError::File(_) | BeginError::Restart(RestartError::NotRecorded(_)) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    ApiError::new(status, error.to_string())
}
