//! Pings: a ping is a control frame, and its answer is another one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frames::Control;
use super::{Context, Output, RequestId, Timer};
use crate::support::Timers;
use crate::transport::ConnectionKey;
use crate::wire;

/// The most pings that wait for an answer.
pub const PINGS_MAX: usize = 256;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PingError {
    /// The machine has no session.
    #[error("not connected")]
    NotConnected,
    /// None came in time.
    #[error("no answer in time")]
    Timeout,
}

/// A ping that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Ping {
    request: RequestId,
    connection: ConnectionKey,
    sent_at: Instant,
}

/// The pings that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// By their tokens.
    waiting: BTreeMap<u64, Ping>,
    pub(super) timers: Timers<Timer>,
}

impl Pings {
    /// Returns whether one more ping has room.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < PINGS_MAX
    }

    /// Begins a ping. Returns the control frame to send over the connection.
    pub(super) fn begin(
        &mut self,
        context: &mut Context<'_>,
        request: RequestId,
        connection: ConnectionKey,
        timeout: Duration,
    ) -> Bytes {
        let token = context.rng.next_u64();
        self.waiting.insert(token, Ping { request, connection, sent_at: context.now });
        self.timers.set(Timer::Ping(token), context.now + timeout);
        wire::encode(&Control::Ping(token))
    }

    /// Takes an answer.
    pub(super) fn handle_pong(
        &mut self,
        context: &mut Context<'_>,
        connection: ConnectionKey,
        token: u64,
    ) {
        let ping = self.waiting.get(&token).filter(|ping| ping.connection == connection);
        if let Some(ping) = ping {
            let result = Ok(context.now.saturating_duration_since(ping.sent_at));
            self.end(context, token, result);
        }
    }

    /// No answer came in time.
    pub(super) fn expire(&mut self, context: &mut Context<'_>, token: u64) {
        self.end(context, token, Err(PingError::Timeout));
    }

    /// A connection is over: nobody answers its pings.
    pub(super) fn connection_ended(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        let ended = self.waiting.iter().filter(|(_, ping)| ping.connection == key);
        let tokens: Vec<u64> = ended.map(|(token, _)| *token).collect();
        for token in tokens {
            self.end(context, token, Err(PingError::NotConnected));
        }
    }

    fn end(&mut self, context: &mut Context<'_>, token: u64, result: Result<Duration, PingError>) {
        if let Some(ping) = self.waiting.remove(&token) {
            self.timers.cancel(&Timer::Ping(token));
            context.emit(Output::PingEnded { request: ping.request, result });
        }
    }
}
