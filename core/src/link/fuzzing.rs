//! Doors for the fuzz targets: control frames, class bytes, close codes, path probes and pages of
//! the address book.

use bytes::Bytes;

use super::address_book::AddressBook;
use super::frames::{self, CloseCode, Control, Hello};
use super::path::{self, EXPORT_LEN, PROBE_LEN, ProbeKeys};
use super::{Class, PROTOCOL_VERSION};
use crate::identity::{AgentId, MachineId};
use crate::transport::Side;
use crate::wire::{self, Versioned};

/// The size of a probe datagram.
pub const PROBE_SIZE: usize = PROBE_LEN;

/// The size of what is exported from TLS for probes.
pub const EXPORT_SIZE: usize = EXPORT_LEN;

/// The greatest size of a control frame.
pub const CONTROL_SIZE_MAX: usize = Control::SIZE_MAX;

/// The label under which the probe secrets are exported.
pub const EXPORT_LABEL: &str = path::EXPORT_LABEL;

/// Makes a hello, or a rebind, with these bindings.
pub fn make_control(bindings: impl IntoIterator<Item = Bytes>, hello: bool) -> Bytes {
    let bindings = frames::bindings(bindings);
    let (version_min, version_max) = (PROTOCOL_VERSION, PROTOCOL_VERSION);
    wire::encode(&if hello {
        Control::Hello(Hello { version_min, version_max, incarnation: 1 << 40, bindings })
    } else {
        Control::Rebind(bindings)
    })
}

/// Reads a control frame; returns its bytes when it is written again.
pub fn control(frame: &[u8]) -> Option<Bytes> {
    wire::decode::<Control>(frame).ok().map(|control| wire::encode(&control))
}

/// Reads the first byte of a stream.
pub fn class(code: u8) -> Option<(Class, u8)> {
    Class::from_code(code).map(|class| (class, class.code()))
}

/// Reads the number of an application close; returns the number of what was read.
pub fn close_code(number: u32) -> Option<u32> {
    CloseCode::from_number(number).map(CloseCode::number)
}

/// Tells whether a datagram goes to the probes rather than to QUIC.
pub fn is_probe(datagram: &[u8]) -> bool {
    path::is_probe(datagram)
}

/// Takes a probe datagram at the client's or the server's end of a connection; if it is taken,
/// returns the datagram that the other end would make of its content.
pub fn probe(
    datagram: &[u8],
    exported: &[u8; EXPORT_SIZE],
    at_client: bool,
) -> Option<[u8; PROBE_SIZE]> {
    let (own, peer) = ends(exported, at_client);
    if path::receiver(datagram) != Some(own.own_id) {
        return None;
    }
    own.open(datagram).map(|probe| peer.seal(&probe))
}

/// Makes a datagram of the right size and puts the right MAC on it, as only the other end could.
pub fn authenticated(
    datagram: &[u8],
    exported: &[u8; EXPORT_SIZE],
    at_client: bool,
) -> [u8; PROBE_SIZE] {
    let (own, peer) = ends(exported, at_client);
    let mut sealed = [0; PROBE_SIZE];
    let len = datagram.len().min(PROBE_SIZE);
    sealed[..len].copy_from_slice(&datagram[..len]);
    sealed[2..2 + own.own_id.len()].copy_from_slice(&own.own_id);
    peer.with_mac(&sealed)
}

fn ends(exported: &[u8; EXPORT_SIZE], at_client: bool) -> (ProbeKeys, ProbeKeys) {
    let client = ProbeKeys::new(exported, Side::Client);
    let server = ProbeKeys::new(exported, Side::Server);
    if at_client { (client, server) } else { (server, client) }
}

/// What an address book knows after it took one stored record.
#[derive(Debug)]
pub struct RestoredPage {
    /// The record that the book would store.
    pub record: Bytes,
    /// How many addresses it knows of the machine.
    pub addresses: usize,
    /// Where it finds the given agent.
    pub home: Option<MachineId>,
}

/// Restores a stored page of an address book, then notes that a link to its first address failed.
pub fn page(record: &[u8], agent: &AgentId) -> Option<RestoredPage> {
    let machine = MachineId([1; 32]);
    let mut book = AddressBook::new();
    book.restore(machine, record).ok()?;
    let candidates = book.candidates(&machine);
    let restored = RestoredPage {
        record: book.record(&machine)?,
        addresses: candidates.len(),
        home: book.home(agent),
    };
    for candidate in candidates {
        book.failed(machine, candidate.address);
        book.worked(machine, candidate.address, u64::MAX, &[]);
    }
    let addresses = book.candidates(&machine).len();
    assert!(addresses <= restored.addresses, "no address comes from nowhere");
    Some(restored)
}
