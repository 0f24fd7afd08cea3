//! Signs of life on request: a ping is a control frame, and its answer is another.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::frames::Control;
use super::{Class, Context, Output, RequestId, State, Timer};
use crate::identity::MachineId;
use crate::transport::ConnectionKey;
use crate::wire;

/// How many pings are without an answer at a time.
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

/// A ping without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ping {
    request: RequestId,
    connection: ConnectionKey,
    sent_at: Instant,
}

impl State {
    /// Asks a machine for a sign of life. [`Output::PingEnded`] answers.
    pub fn ping(
        &mut self,
        context: &mut Context<'_>,
        request: RequestId,
        machine: &MachineId,
        timeout: Duration,
    ) {
        let Some(session) = self.sessions.get(machine) else {
            let result = Err(PingError::NotConnected);
            return context.emit(Output::PingEnded { request, result });
        };
        let connection = session.connection;
        let token = context.rng.next_u64();
        self.pings.insert(token, Ping { request, connection, sent_at: context.now });
        self.timers.set(Timer::Ping(token), context.now + timeout);
        self.push_control(connection, &wire::encode(&Control::Ping(token)));
    }

    /// Tells whether one more [`State::ping`] finds room.
    pub fn can_ping(&self) -> bool {
        self.pings.len() < PINGS_MAX
    }

    /// Answers a ping, unless the peer does not read its answers.
    pub(super) fn handle_ping(&mut self, key: ConnectionKey, token: u64) {
        let has_room = self.connections.get(&key).is_some_and(|c| c.room(Class::Control) > 0);
        if has_room {
            self.push_control(key, &wire::encode(&Control::Pong(token)));
        }
    }

    pub(super) fn handle_pong(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        token: u64,
    ) {
        if let Some(ping) = self.pings.get(&token).filter(|ping| ping.connection == key) {
            let result = Ok(context.now.saturating_duration_since(ping.sent_at));
            self.end_ping(context, token, result);
        }
    }

    pub(super) fn end_ping(
        &mut self,
        context: &mut Context<'_>,
        token: u64,
        result: Result<Duration, PingError>,
    ) {
        if let Some(ping) = self.pings.remove(&token) {
            self.timers.cancel(&Timer::Ping(token));
            context.emit(Output::PingEnded { request: ping.request, result });
        }
    }

    /// A connection is over: its pings are not answered any more.
    pub(super) fn end_pings_of(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        let mine = self.pings.iter().filter(|(_, ping)| ping.connection == key);
        let tokens: Vec<u64> = mine.map(|(token, _)| *token).collect();
        for token in tokens {
            self.end_ping(context, token, Err(PingError::NotConnected));
        }
    }
}
