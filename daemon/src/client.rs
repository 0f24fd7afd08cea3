//! Asks a running daemon, over HTTP/1.1 on a connection that is kept.
//!
//! [`Endpoint`] says where the daemon is, makes sure that it is the right one, and has its token. A
//! [`Client`] asks one request at a time; [`Client::events`] gives it up for a stream of server-sent
//! events. It runs on a tokio runtime of any kind.

mod challenge;
mod endpoint;
mod sse;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::timeout;

pub use endpoint::{Endpoint, Locator};
pub use sse::{EVENT_BYTES_MAX, Events, ServerEvent};

/// How long the daemon may take to show that it runs.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the answer to a wish for a link may take: longer than the daemon tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a stream may last.
pub const STREAM_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no answer, or not the one that was wished for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("Daemon is not running. Start it with: x0x start")]
    NotRunning {
        /// Where a daemon was looked for.
        base: String,
    },
    /// The instance with the name does not run.
    #[error("Named instance '{name}' is not running. Start it with: x0x --name {name} start")]
    InstanceNotRunning {
        /// The name.
        name: String,
    },
    /// The address of the API has a form that is not allowed.
    #[error("'{0}' is no address of an API: use HOST:PORT or http://HOST:PORT")]
    Address(String),
    /// The token cannot be read.
    #[error(
        "cannot read {path}: {error}; run this as the user of the daemon, or set X0X_API_TOKEN"
    )]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The socket of the daemon cannot be used.
    #[error("cannot connect to {path}: {error}; run this as the user of the daemon")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another user listens at the socket.
    #[error(
        "the daemon at {path} runs as user {user} and you are user {own}, so it was sent nothing; run \
         this as user {user}, or remove the file if that daemon should not be there"
    )]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Who listens.
        user: u32,
        /// Who asks.
        own: u32,
    },
    /// What listens does not know the token.
    #[error(
        "what listens at {base} did not prove that it knows your token, so it was not sent. If another \
         program has the port, stop that or choose another one with api_address in the \
         configuration. If it is your daemon: restart one of an older version; give its own token in \
         X0X_API_TOKEN; reach it by the address at which it listens, not through a tunnel or a proxy"
    )]
    Unproven {
        /// Where it listens.
        base: String,
    },
    /// The token has characters that cannot be sent.
    #[error("the token of the API must be one line of plain characters")]
    TokenForm,
    /// The daemon says no.
    #[error("{text} (HTTP {code})")]
    Refused {
        /// What it says.
        text: String,
        /// Its status code.
        code: u16,
    },
    /// No answer came in time.
    #[error("the daemon did not answer within {0:?}; look at its log, or run: x0x doctor")]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection to the daemon broke: {0}; see whether it runs with: x0x health")]
    Broken(String),
    /// What answers is no daemon of ours.
    #[error("the answer is not one of an x0x daemon: {0}")]
    Answer(String),
}

impl ClientError {
    /// Tells whether the reason is that no daemon runs.
    pub fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::InstanceNotRunning { .. })
    }

    fn broken(error: &(dyn std::error::Error + 'static)) -> Self {
        // hyper says little itself; the reason is in the source.
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Self::Broken(reason)
    }
}

/// A path and a query whose values are percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// Makes a path of segments, which are taken as they are: a `/` in one becomes `%2F`.
    pub fn new(segments: &[&str]) -> Self {
        let segments = segments.iter().map(|segment| percent_encode(segment));
        Self(segments.fold(String::new(), |path, segment| path + "/" + &segment))
    }

    /// Adds a value to the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0 += &format!("{}={}", percent_encode(name), percent_encode(value));
        self
    }

    /// The text that is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes all but unreserved characters (RFC 3986) as `%XX`.
pub fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
        encoded
    })
}

/// See the [module](self).
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None }
    }

    /// Makes a client for a daemon that shows that it runs.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] or [`ClientError::InstanceNotRunning`] if it does not.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, ClientError> {
        let mut client = Self::new(endpoint);
        client.health().await?;
        Ok(client)
    }

    /// Where the daemon is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks whether the daemon runs, for at most [`HEALTH_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn health(&mut self) -> Result<Value, ClientError> {
        let target = Target::new(&["health"]);
        match self.ask(Method::GET, &target, None, HEALTH_TIMEOUT).await {
            Err(ClientError::Timeout(_)) => Err(self.endpoint.not_running()),
            // Of all answers that say no, only this one is a daemon's: it wants another host.
            Err(error @ ClientError::Refused { code: 403, .. }) => Err(error),
            Ok(health) if health.get("status").is_some() => Ok(health),
            Ok(_) | Err(ClientError::Refused { .. } | ClientError::Answer(_)) => {
                let base = self.endpoint.base();
                Err(ClientError::Answer(format!("another program listens at {base}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn get(&mut self, target: &Target) -> Result<Value, ClientError> {
        self.ask(Method::GET, target, None, REQUEST_TIMEOUT).await
    }

    /// Asks that something be done.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn post(
        &mut self,
        target: &Target,
        body: Option<&Value>,
        time: Duration,
    ) -> Result<Value, ClientError> {
        self.ask(Method::POST, target, body, time).await
    }

    /// Asks that something be ended.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn delete(&mut self, target: &Target) -> Result<Value, ClientError> {
        self.ask(Method::DELETE, target, None, REQUEST_TIMEOUT).await
    }

    async fn ask(
        &mut self,
        method: Method,
        target: &Target,
        body: Option<&Value>,
        time: Duration,
    ) -> Result<Value, ClientError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        self.exchange(method, target, body, time).await
    }

    /// Sends a body that is JSON already, and reads the answer.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn exchange(
        &mut self,
        method: Method,
        target: &Target,
        body: Option<Bytes>,
        time: Duration,
    ) -> Result<Value, ClientError> {
        let exchange = async {
            let response = self.send(method, target, body, "application/json").await?;
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| ClientError::broken(&error))?.to_bytes();
            read(status, &body)
        };
        let answer = timeout(time, exchange).await.unwrap_or(Err(ClientError::Timeout(time)));
        if matches!(answer, Err(ClientError::Timeout(_) | ClientError::Broken(_))) {
            // What comes on it later would be taken for the answer to another request.
            self.connection = None;
        }
        answer
    }

    /// Asks for a stream of events.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn events(mut self, target: &Target) -> Result<Events, ClientError> {
        let open = self.send(Method::GET, target, None, "text/event-stream");
        let response = timeout(REQUEST_TIMEOUT, open)
            .await
            .unwrap_or(Err(ClientError::Timeout(REQUEST_TIMEOUT)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Events::new(response.into_body()));
        }
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| ClientError::broken(&error))?.to_bytes();
        read(status, &body)?;
        Err(ClientError::Answer(format!("status {status} for a stream")))
    }

    async fn send(
        &mut self,
        method: Method,
        target: &Target,
        body: Option<Bytes>,
        accept: &'static str,
    ) -> Result<Response<hyper::body::Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(target.as_str())
            .header(HOST, self.endpoint.authority())
            .header(ACCEPT, accept);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = self.endpoint.token() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|_| ClientError::TokenForm)?;
        let connection = self.ready().await?;
        let response = connection.send_request(request).await;
        response.map_err(|error| ClientError::broken(&error))
    }

    /// The kept connection if it still stands, or a new one.
    async fn ready(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, ClientError> {
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            && connection.ready().await.is_err()
        {
            kept = None;
        }
        let connection = match kept {
            Some(connection) => connection,
            None => self.dial().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let socket = self.endpoint.open().await?;
        let shake = handshake(TokioIo::new(socket)).await;
        let (sender, connection) = shake.map_err(|error| ClientError::broken(&error))?;
        // Its error comes out of the request that it breaks.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// Runs a future on a small runtime of its own, for callers that have none.
///
/// # Errors
///
/// If the system does not let it wait for sockets.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// Reads an answer.
fn read(status: StatusCode, body: &[u8]) -> Result<Value, ClientError> {
    let json = serde_json::from_slice::<Value>(body);
    if status.is_success() {
        let is_empty = body.iter().all(u8::is_ascii_whitespace);
        return match json {
            Ok(value) => Ok(value),
            Err(_) if is_empty => Ok(json!({ "ok": true })),
            Err(error) => Err(ClientError::Answer(error.to_string())),
        };
    }
    let field = |name| json.as_ref().ok().and_then(|json| json.get(name)).and_then(Value::as_str);
    let text = match (field("error"), field("detail")) {
        (Some(error), Some(detail)) => format!("{error}: {detail}"),
        (Some(error), None) => error.to_owned(),
        (None, _) => match String::from_utf8_lossy(body).trim() {
            "" => status.canonical_reason().unwrap_or("no reason given").to_owned(),
            text => text.to_owned(),
        },
    };
    Err(ClientError::Refused { text, code: status.as_u16() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::api::parse_id;
    use crate::files::hex;
    use crate::proof::ProofKey;

    /// What the clients of these tests show.
    const TOKEN: &str = "t";

    /// Reads a request and answers with what is made of it.
    async fn respond(socket: &mut TcpStream, answer: impl FnOnce(&str) -> String) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        let body = answer(&String::from_utf8(request).unwrap().to_lowercase());
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Passes the challenge on each connection, answers with what stands in its list, then closes it.
    /// Returns how many requests each had.
    async fn serve(listener: TcpListener, connections: Vec<Vec<&str>>) -> Vec<usize> {
        let mut counts = Vec::new();
        for answers in connections {
            let (mut socket, _) = listener.accept().await.unwrap();
            let address = socket.local_addr().unwrap();
            let prove = |request: &str| {
                assert!(!request.contains("authorization"), "{request}");
                let nonce = request.split(['=', ' ']).nth(2).and_then(|n| parse_id(n).ok());
                let proof = ProofKey::of(TOKEN).prove(&nonce.unwrap(), address);
                json!({ "ok": true, "proof": hex(&proof) }).to_string()
            };
            respond(&mut socket, prove).await;
            counts.push(answers.len());
            for answer in answers {
                let answer = |request: &str| {
                    assert!(request.contains("\r\nauthorization: bearer t\r\n"), "{request}");
                    answer.to_owned()
                };
                respond(&mut socket, answer).await;
            }
        }
        counts
    }

    async fn listen(token: Option<&str>) -> (TcpListener, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let endpoint = Endpoint::at(&address, token.map(str::to_owned)).unwrap();
        (listener, Client::new(endpoint))
    }

    #[tokio::test]
    async fn a_connection_is_kept_until_the_daemon_closes_it() {
        let (listener, mut client) = listen(Some(TOKEN)).await;
        let answers = vec![vec![r#"{"status":"healthy"}"#, "{}"], vec!["[1]"]];
        let server = tokio::spawn(serve(listener, answers));
        client.health().await.unwrap();
        let target = Target::new(&["x"]);
        assert_eq!(client.get(&target).await.unwrap(), json!({}));
        // The end of the first connection reaches the client before its next request.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(client.get(&target).await.unwrap(), json!([1]));
        assert_eq!(server.await.unwrap(), [2, 1]);
        let error = client.get(&target).await.unwrap_err();
        assert!(error.is_not_running(), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_comes_late_is_not_taken_for_another() {
        let (listener, mut client) = listen(Some(TOKEN)).await;
        let server = tokio::spawn(async move {
            let (silent, _) = listener.accept().await.unwrap();
            let counts = serve(listener, vec![vec!["[2]"]]).await;
            drop(silent);
            counts
        });
        let (target, time) = (Target::new(&["x"]), Duration::from_millis(50));
        let error = client.post(&target, None, time).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout(_)), "{error}");
        assert_eq!(client.get(&target).await.unwrap(), json!([2]));
        assert_eq!(server.await.unwrap(), [1]);
    }

    #[tokio::test]
    async fn another_program_is_not_taken_for_a_daemon() {
        // Without a token there is nothing to prove.
        let (listener, mut client) = listen(None).await;
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            for answer in ["<html>", "{}"] {
                respond(&mut socket, |_| answer.to_owned()).await;
            }
        });
        for _ in 0..2 {
            let error = client.health().await.unwrap_err();
            assert!(error.to_string().contains("another program listens"), "{error}");
        }
        server.await.unwrap();
    }

    #[test]
    fn every_value_of_a_path_and_a_query_is_encoded() {
        let target = Target::new(&["peers", "a/b c", "..", "é"]).query("t", "1&2").query("u", "+");
        assert_eq!(target.as_str(), "/peers/a%2Fb%20c/../%C3%A9?t=1%262&u=%2B");
        assert_eq!(percent_encode("AZaz09-._~"), "AZaz09-._~");
    }

    #[test]
    fn an_answer_is_read_by_its_status() {
        let cases: [(u16, &str, Result<Value, &str>); 8] = [
            (200, r#"{"ok":true}"#, Ok(json!({ "ok": true }))),
            (204, "", Ok(json!({ "ok": true }))),
            (200, "<html>", Err("not one of an x0x daemon")),
            (400, r#"{"ok":false,"error":"bad"}"#, Err("bad (HTTP 400)")),
            (404, r#"{"error":"kind","detail":"why"}"#, Err("kind: why (HTTP 404)")),
            (413, "too long\n", Err("too long (HTTP 413)")),
            (404, "", Err("Not Found (HTTP 404)")),
            (502, r#"["no object"]"#, Err(r#"["no object"] (HTTP 502)"#)),
        ];
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(status).expect("it is a status");
            match (read(status, body.as_bytes()), expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{body}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{body}: {error}");
                }
                (answer, _) => panic!("{status} {body}: {answer:?}"),
            }
        }
    }
}
