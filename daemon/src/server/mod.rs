//! The connections of the API: one accept loop for each listener, and their limits.
//!
//! | what | limit | then |
//! |---|---|---|
//! | a request's header, and the wait for the next request | [`HEADER_TIME`] | closed |
//! | the header | [`HEADER_BYTES_MAX`] | 431, closed |
//! | the body | [`BODY_TIME`] | 408, closed |
//! | connections without the token, for each listener | [`UNAUTHENTICATED_MAX`] | the oldest is closed |
//! | connections with the token | [`AUTHENTICATED_MAX`] | 503 |
//!
//! The limits of connections are lower where the process may have few open files ([`Limits::of`]):
//! [`FILES_RESERVED`] are always left to the rest of the daemon.

mod admission;
mod body;

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tower_service::Service as _;

use crate::api::ApiError;
use crate::socket::{Stream, is_own};

pub(crate) use admission::Place;
pub use admission::{
    AUTHENTICATED_MAX, Admission, FILES_RESERVED, Limits, STAY_MIN, UNAUTHENTICATED_MAX,
    raise_open_files,
};
pub use body::BODY_TIME;

/// How long a header may take, from the end of the request before.
pub const HEADER_TIME: Duration = Duration::from_secs(10);

/// The largest header of a request, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 << 10;

/// How much a connection buffers in each direction, in bytes.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// How long nothing is accepted once the system has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// The Unix socket, for this user and for root.
    Unix(UnixListener),
}

impl Listener {
    /// Waits for a connection. Over TCP it comes with the address at which it came in.
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let local = stream.local_addr()?;
                Ok((Stream::Tcp(stream), Some(local)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred()?.uid();
                if user != 0 && !is_own(user) {
                    tracing::debug!(user, "another user is refused at the socket of the API");
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

/// Serves the connections of a listener until `stop` is true, and then those that are open to their
/// end.
pub async fn serve(
    listener: Listener,
    admission: Arc<Admission>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let server = Server { router, http: http(), stop: stop.clone() };
    let (open, mut closed) = mpsc::channel(1);
    select! {
        () = server.accept(&listener, &admission, open) => {}
        // An error means that nobody can ask any more, which is a stop, too.
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop(listener);
    // Each connection holds a sender.
    let None::<Infallible> = closed.recv().await;
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    http
}

/// What all connections of a listener share.
#[derive(Clone)]
struct Server {
    router: Router,
    http: http1::Builder,
    stop: watch::Receiver<bool>,
}

impl Server {
    async fn accept(
        &self,
        listener: &Listener,
        admission: &Arc<Admission>,
        open: mpsc::Sender<Infallible>,
    ) {
        for number in 0.. {
            match listener.accept().await {
                Ok((stream, local)) => {
                    admission.room().await;
                    let (server, open) = (self.clone(), open.clone());
                    admission.run(number, local, |place| async move {
                        server.connection(stream, place).await;
                        drop(open);
                    });
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "the API cannot take a connection");
                    admission.evict();
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(mut self, stream: Stream, place: Arc<Place>) {
        let router = self.router;
        let service = service_fn(|request| answer(router.clone(), request, place.clone()));
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection.with_upgrades());
        // How a connection ends is its client's concern.
        select! {
            biased;
            _ = connection.as_mut() => return,
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Answers a request.
async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    place: Arc<Place>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(|body| Body::new(body::TimedBody::new(body, place.clone())));
    request.extensions_mut().insert(place.clone());
    let response = router.call(request).await?;
    if !place.has_late_body.load(Ordering::Relaxed) {
        return Ok(response);
    }
    let text = format!("the body did not arrive within {} s: send it at once", BODY_TIME.as_secs());
    let mut response = ApiError::new(StatusCode::REQUEST_TIMEOUT, text).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

/// Tells whether a connection failed because of its peer; the next one may be good.
fn is_of_the_peer(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected)
}
