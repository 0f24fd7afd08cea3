//! Answers that say no.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An error as the contract has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// Always false.
    pub(crate) ok: bool,
    /// What is wrong, or its kind.
    pub(crate) error: String,
    /// What is wrong, if `error` is a kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// An error with its status.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { ok: false, error: error.into(), detail: None } }
    }

    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// An error whose text is a kind that programs tell apart.
    pub(crate) fn kind(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        let detail = Some(detail.into());
        Self { status, body: ErrorBody { ok: false, error: kind.into(), detail } }
    }

    /// The node takes no commands.
    pub(crate) fn no_node() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "network not initialized")
    }

    pub(crate) fn text(&self) -> &str {
        &self.body.error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// Reads 32 bytes of hexadecimal, any case.
pub(crate) fn parse_id(text: &str) -> Result<[u8; 32], ApiError> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return Err(ApiError::bad_request("invalid hex: odd length or not ASCII"));
    }
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
    let has_sign = text.contains(['+', '-']);
    let bytes: Result<Vec<u8>, _> = (0..text.len()).step_by(2).map(digit).collect();
    match bytes {
        Ok(_) if has_sign => Err(ApiError::bad_request("invalid hex: invalid digit found")),
        Err(error) => Err(ApiError::bad_request(format!("invalid hex: {error}"))),
        Ok(bytes) => <[u8; 32]>::try_from(bytes).map_err(|bytes| {
            let count = bytes.len();
            ApiError::bad_request(format!("expected 32 bytes (64 hex chars), got {count}"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_64_digits_of_any_case() {
        let id: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap() * 7);
        let text = crate::files::hex(&id);
        assert_eq!(parse_id(&text).unwrap(), id);
        assert_eq!(parse_id(&text.to_uppercase()).unwrap(), id);
        for (bad, error) in [
            ("zz", "invalid hex"),
            ("abc", "invalid hex"),
            ("éé", "invalid hex"),
            ("+1", "invalid hex"),
            ("", "expected 32 bytes (64 hex chars), got 0"),
            ("abcd", "expected 32 bytes (64 hex chars), got 2"),
        ] {
            let text = parse_id(bad).unwrap_err().body.error;
            assert!(text.starts_with(error), "{bad}: {text}");
        }
    }
}
