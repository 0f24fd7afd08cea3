//! The handshake above TLS: hellos, protocol versions, and the proof of agents.
//!
//! 1. TLS proves the machine keys (see [`crypto::tls`](crate::crypto::tls)). The client learns the
//!    server's key one round trip after it dialled. That does not mean that the server knows or
//!    accepts the client.
//! 2. The client sends its hello: protocol versions, incarnation, agent bindings. The server checks
//!    it and answers with its own; for the server the session is up. Or it closes with a reason.
//! 3. The client checks the server's hello; for the client the session is up. Until then each side
//!    sends nothing but its hello, and reads no class but control.
//!
//! # Invariants
//!
//! - The bindings are checked on every connection, whether TLS resumed a session or not.
//! - All bindings of a hello must be valid, and there is at least one.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::credential::Credential;
use super::frames::{Bindings, CloseCode, Control, Hello};
use super::{Context, Counter};
use crate::address_book::{AddressBook, KnownAgent};
use crate::identity::{AgentId, BindingVerifier, CLOCK_SKEW_MAX, MachineId, ProvenAgent};
use crate::wire;

/// What a checked hello says.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    /// The agents, in the order of their indexes.
    pub(super) agents: Vec<KnownAgent>,
    /// Which run of the peer it is.
    pub(super) incarnation: u64,
}

/// How this node greets peers, and checks them.
#[derive(Debug)]
pub(super) struct Handshake {
    versions: RangeInclusive<u16>,
    verifier: BindingVerifier,
}

impl Proven {
    /// Returns the ids of the agents, in the order of their indexes.
    pub(super) fn agents(&self) -> Vec<AgentId> {
        self.agents.iter().map(|agent| agent.agent).collect()
    }
}

impl Handshake {
    pub(super) fn new(versions: RangeInclusive<u16>) -> Self {
        Self { versions, verifier: BindingVerifier::default() }
    }

    /// Returns the hello of this node.
    pub(super) fn hello(&self, credential: &Credential) -> Bytes {
        wire::encode(&Control::Hello(Hello {
            version_min: *self.versions.start(),
            version_max: *self.versions.end(),
            incarnation: credential.incarnation,
            bindings: credential.bindings(),
        }))
    }

    /// Checks the hello of a machine. Returns what it proves, and for how long from now; or the code
    /// to close with.
    pub(super) fn check(
        &mut self,
        context: &mut Context<'_>,
        book: &AddressBook,
        machine: MachineId,
        hello: &Hello,
    ) -> Result<(Proven, Duration), CloseCode> {
        let Some(version) = hello.common_version(&self.versions) else {
            context.count(Counter::VersionsRefused);
            return Err(CloseCode::Version);
        };
        tracing::debug!(machine = %machine.short(), version, "hello");
        let (agents, valid_for) = self.prove_agents(context, book, machine, &hello.bindings)?;
        Ok((Proven { agents, incarnation: hello.incarnation }, valid_for))
    }

    /// Checks all bindings of a machine. Returns the agents in the order of their indexes, and for
    /// how long from now all of them are valid; or the code to close with.
    pub(super) fn prove_agents(
        &mut self,
        context: &mut Context<'_>,
        book: &AddressBook,
        machine: MachineId,
        bindings: &Bindings,
    ) -> Result<(Vec<KnownAgent>, Duration), CloseCode> {
        let mut proven: Vec<ProvenAgent> = Vec::new();
        for bytes in bindings.iter() {
            let sequence_min = |agent: &AgentId| book.binding_sequence(&machine, agent);
            let checked = self.verifier.verify(bytes, &machine, context.unix_time, sequence_min);
            match checked {
                Ok(agent) => {
                    context.count(Counter::BindingsProven);
                    proven.push(agent);
                }
                Err(error) => {
                    context.count(Counter::BindingsRefused);
                    tracing::debug!(machine = %machine.short(), %error, "binding refused");
                    return Err(CloseCode::BadBinding);
                }
            }
        }
        let Some(expires) = proven.iter().map(|agent| agent.not_after).min() else {
            context.count(Counter::BindingsRefused);
            return Err(CloseCode::BadBinding);
        };
        let valid_for =
            (Duration::from_secs(expires) + CLOCK_SKEW_MAX).saturating_sub(context.unix_time);
        let known =
            |agent: &ProvenAgent| KnownAgent { agent: agent.agent, sequence: agent.sequence };
        Ok((proven.iter().map(known).collect(), valid_for))
    }
}
