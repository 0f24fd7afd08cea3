//! The address book of a link and its stored records: each change of the book is stored at once.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{Context, Table};
use crate::address_book::{AddressBook, Changed, ConnectPolicy, KnownAgent, Standing};
use crate::identity::MachineId;
use crate::support::Changes;
use crate::wire::DecodeError;

/// An address book whose records are stored.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) addresses: AddressBook,
}

impl Book {
    pub(super) fn new() -> Self {
        Self { addresses: AddressBook::new() }
    }

    /// Takes the stored record of a machine back.
    pub(super) fn restore(
        &mut self,
        context: &mut Context<'_>,
        machine: MachineId,
        record: &[u8],
    ) -> Result<(), DecodeError> {
        if let Some(evicted) = self.addresses.restore(machine, record)? {
            context.store(Changes::delete(Table::Peers, key_of(&evicted)));
        }
        Ok(())
    }

    /// Gives a machine at least this standing.
    pub(super) fn raise(
        &mut self,
        context: &mut Context<'_>,
        machine: MachineId,
        standing: Standing,
    ) {
        let changed = self.addresses.raise(machine, standing);
        self.store(context, machine, changed);
    }

    /// The application named an address of a machine.
    pub(super) fn name(
        &mut self,
        context: &mut Context<'_>,
        machine: MachineId,
        address: SocketAddr,
    ) {
        let changed = self.addresses.name(machine, Some(address));
        self.store(context, machine, changed);
    }

    /// The application asked for a session with a machine, once or at all times.
    pub(super) fn requested(&mut self, context: &mut Context<'_>, machine: MachineId, keep: bool) {
        let changed = self.addresses.requested(machine, keep);
        self.store(context, machine, changed);
    }

    /// The application disconnects from a machine: it is not dialled after a restart.
    pub(super) fn disconnected(&mut self, context: &mut Context<'_>, machine: MachineId) {
        let changed = self.addresses.set_policy(machine, ConnectPolicy::Disconnected);
        self.store(context, machine, changed);
    }

    /// A machine that has a session is at an address, and these are its agents.
    pub(super) fn note_peer(
        &mut self,
        context: &mut Context<'_>,
        (machine, address): (MachineId, SocketAddr),
        agents: &[KnownAgent],
    ) {
        let seconds = context.unix_time.as_secs();
        let changed = self.addresses.session_began(machine, address, seconds, agents);
        self.store(context, machine, changed);
    }

    /// The session with a machine ended; it was at this address.
    pub(super) fn session_ended(
        &mut self,
        context: &mut Context<'_>,
        (machine, address): (MachineId, SocketAddr),
    ) {
        let seconds = context.unix_time.as_secs();
        let changed = self.addresses.session_ended(machine, address, seconds);
        self.store(context, machine, changed);
    }

    fn store(&self, context: &mut Context<'_>, machine: MachineId, changed: Changed) {
        if let Some(evicted) = changed.forgotten {
            context.store(Changes::delete(Table::Peers, key_of(&evicted)));
        }
        if changed.is_changed
            && let Some(record) = self.addresses.record(&machine)
        {
            context.store(Changes::put(Table::Peers, key_of(&machine), record));
        }
    }
}

/// Returns the key of a machine's record.
fn key_of(machine: &MachineId) -> Bytes {
    Bytes::copy_from_slice(&machine.0)
}
