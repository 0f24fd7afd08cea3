//! The challenge that a daemon passes over TCP before it is shown the token.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::select;

use super::{ClientError, Target};
use crate::api::parse_id;
use crate::files::{hex, random};
use crate::proof::{Nonce, ProofKey};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024;

/// What a daemon answers.
#[derive(Deserialize)]
struct Answer {
    proof: String,
}

/// Challenges what listens at the other end. Returns the connection if it knows the token.
///
/// # Errors
///
/// [`ClientError::Unproven`] if it does not prove that it does.
pub(super) async fn pass(
    stream: TcpStream,
    authority: &str,
    token: &str,
) -> Result<TcpStream, ClientError> {
    let unproven = || ClientError::Unproven { base: format!("http://{authority}") };
    let nonce: Nonce = random().map_err(|error| ClientError::Broken(error.to_string()))?;
    let address = stream.peer_addr().map_err(|_| unproven())?;
    let (stream, proof) = ask(stream, authority, &nonce).await.ok_or_else(unproven)?;
    let is_proved = ProofKey::of(token).is_proved(&nonce, address, &proof);
    if is_proved { Ok(stream) } else { Err(unproven()) }
}

/// Asks for a proof. Returns it with the connection, on which nothing else has happened.
async fn ask(stream: TcpStream, authority: &str, nonce: &Nonce) -> Option<(TcpStream, [u8; 32])> {
    let target = Target::new(&["challenge"]).query("nonce", &hex(nonce));
    let request = Request::get(target.as_str()).header(HOST, authority).body(Empty::<Bytes>::new());
    let (mut sender, mut connection) = handshake(TokioIo::new(stream)).await.ok()?;
    let exchange = async {
        let response = sender.send_request(request.ok()?).await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
        let answer: Answer = serde_json::from_slice(&body.to_bytes()).ok()?;
        parse_id(&answer.proof).ok()
    };
    let mut exchange = pin!(exchange);
    let end = poll_fn(|context| connection.poll_without_shutdown(context));
    let proof = select! {
        biased;
        proof = exchange.as_mut() => proof,
        // A connection that ends with its answer may have delivered it.
        _ = end => exchange.await,
    }?;
    let parts = connection.into_parts();
    parts.read_buf.is_empty().then(|| (parts.io.into_inner(), proof))
}
