//! Who may ask: the `Host` check, CORS and the token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::{ApiError, App};
use crate::server::Place;

/// The paths on which the token may stand in the query, for clients that cannot set a header.
const QUERY_TOKEN_PATHS: [&str; 4] = ["/ws", "/ws/direct", "/events", "/direct/events"];

/// Refuses requests that a browser was tricked into by a name that points here (DNS rebinding).
pub(super) async fn check_host(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    if app.api_address.ip().is_loopback() && host.is_some_and(|host| !is_local(host)) {
        let text = "this API answers to localhost only: use 127.0.0.1 or localhost as the host";
        return ApiError::new(StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

/// Lets pages of local servers ask.
pub(super) fn cors() -> CorsLayer {
    let is_allowed = |origin: &HeaderValue, _: &_| is_local_origin(origin);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
}

/// Asks for the token, before anything says whether the path exists.
pub(super) async fn authenticate(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let is_known = shows_token(&app, &request);
    if !is_known && !is_public(&request) {
        let error = "missing or invalid Authorization: Bearer token";
        return (StatusCode::UNAUTHORIZED, Json(serde_json::json!({ "error": error })))
            .into_response();
    }
    let place = request.extensions().get::<Arc<Place>>();
    if is_known && !place.is_none_or(|place| place.authenticate()) && !is_public(&request) {
        let text = "too many connections: close some, or raise the limit of open files (ulimit -n)";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    next.run(request).await
}

fn is_public(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::OPTIONS
        || matches!(path, "/health" | "/challenge" | "/gui" | "/gui/")
        || path.starts_with("/constitution")
}

fn shows_token(app: &App, request: &Request) -> bool {
    let is_known = |shown: &str| bool::from(shown.as_bytes().ct_eq(app.token.as_bytes()));
    let in_query = || {
        let path = request.uri().path();
        let query = request.uri().query().filter(|_| QUERY_TOKEN_PATHS.contains(&path))?;
        query.split('&').find_map(|pair| pair.strip_prefix("token="))
    };
    bearer(request.headers()).is_some_and(is_known) || in_query().is_some_and(is_known)
}

/// Refuses a WebSocket that a foreign page opens.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(ORIGIN) {
        Some(origin) if !is_local_origin(origin) => {
            Err(ApiError::new(StatusCode::FORBIDDEN, "this origin may not open a WebSocket here"))
        }
        Some(_) | None => Ok(()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn is_local_origin(origin: &HeaderValue) -> bool {
    origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")).is_some_and(is_local)
}

/// Tells whether `host` or `host:port` is this machine's loopback.
fn is_local(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => {
                (name, port.strip_prefix(':').or_else(|| port.is_empty().then_some("0")))
            }
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("0")),
        },
    };
    let is_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
    let is_address = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_port && (is_address || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_host_counts() {
        for good in
            ["localhost", "LOCALHOST:1", "127.0.0.1:12700", "127.0.0.1", "[::1]:80", "[::1]"]
        {
            assert!(is_local(good), "{good}");
        }
        let bad = [
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example",
            "localhost:80.evil.example",
            "[::1].evil.example",
            "[::1",
            "",
            "localhost@evil.example",
            "192.168.0.1",
        ];
        for bad in bad {
            assert!(!is_local(bad), "{bad}");
            assert!(!is_local_origin(&HeaderValue::from_str(&format!("http://{bad}")).unwrap()));
        }
        for other in ["https://localhost", "null", "localhost"] {
            assert!(!is_local_origin(&HeaderValue::from_static(other)), "{other}");
        }
    }
}
