//! Whole nodes: what anyone on the network can send to one, what its store can give back to it, and
//! any sequence of inputs.

use std::time::Duration;

use bytes::Bytes;
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::node::{
    ChangeNetwork, CommandError, Connect, Disconnect, GetCounters, ListPeers, Record, Request,
    Restored, SendDirect, SetBlocked, ShutDown, StoreError, Table, Target, WriteId,
};

use crate::bench::{Bench, Who, address, socket};
use crate::input::Input;
use crate::quic::{self, Initial};

/// Arbitrary datagrams from a few addresses.
pub fn node_datagrams(data: &[u8]) {
    let mut bench = after_datagrams(data);
    bench.pass(Duration::from_secs(120));
}

/// Returns the node as it is after the last datagram.
pub(crate) fn after_datagrams(data: &[u8]) -> Bench {
    let mut bench = Bench::fresh(Who::Tested);
    let mut input = Input::new(data);
    while !input.is_empty() {
        let (source, millis) = (address(input.byte()), u64::from(input.byte()));
        bench.pass(Duration::from_millis(millis));
        bench.receive(source, socket(Who::Tested), input.counted());
    }
    bench
}

/// Arbitrary content of Initial packets: frames, and in them the first message of TLS.
pub fn node_initials(data: &[u8]) {
    let mut bench = after_initials(data);
    bench.pass(Duration::from_secs(120));
}

/// Returns the node as it is after the last packet.
pub(crate) fn after_initials(data: &[u8]) -> Bench {
    let mut bench = Bench::fresh(Who::Tested);
    let mut input = Input::new(data);
    let mut number = 0;
    while !input.is_empty() {
        let choice = input.byte();
        let token_len = usize::from(input.byte());
        let token = input.take(token_len.min(64));
        let target_id = [choice >> 4; 8];
        let payload = input.counted();
        let payload = &payload[..payload.len().min(8192)];
        let datagram = quic::seal(&Initial { target_id, number, token, payload });
        bench.receive(address(choice), socket(Who::Tested), &datagram);
        number += 1;
    }
    bench
}

/// Arbitrary rows of the store: the node starts and dials what is in them, or names a row that it
/// cannot read.
pub fn node_restored(data: &[u8]) {
    let mut input = Input::new(data);
    let mut records = Vec::new();
    while !input.is_empty() {
        let choice = input.byte();
        let tables: Vec<Table> = Table::all().collect();
        let table = tables[usize::from(choice) % tables.len()];
        let key = match choice >> 6 {
            0 => Bytes::copy_from_slice(input.counted()),
            _ => Bytes::copy_from_slice(&[choice; 32]),
        };
        let value = Bytes::copy_from_slice(input.counted());
        records.push(Record { table, key, value });
    }
    let keys: Vec<Bytes> = records.iter().map(|record| record.key.clone()).collect();
    let Ok(mut bench) = Bench::start(Who::Tested, Restored { records }) else { return };
    // A row may name any address.
    bench.anywhere = true;
    for key in keys {
        let id = key[..].try_into().expect("a row with another key is refused");
        let timeout = Duration::from_secs(5);
        for target in [Target::Machine(MachineId(id)), Target::Agent(AgentId(id))] {
            let _ = bench.command(Connect { target, keep: false, timeout }.into());
        }
    }
    bench.pass(Duration::from_secs(30));
}

/// Any sequence of inputs to a node that may have a peer.
pub fn node_inputs(data: &[u8]) {
    let mut tested = after_inputs(data);
    tested.pass(Duration::from_secs(120));
}

/// Returns the node as it is after the last input.
pub(crate) fn after_inputs(data: &[u8]) -> Bench {
    let mut pair = Pair { tested: Bench::fresh(Who::Tested), other: None };
    pair.tested.stores_at_once = false;
    let mut input = Input::new(data);
    while !input.is_empty() {
        pair.step(&mut input);
    }
    pair.tested
}

struct Pair {
    tested: Bench,
    /// The peer, once it is needed.
    other: Option<Bench>,
}

impl Pair {
    fn step(&mut self, input: &mut Input<'_>) {
        let (kind, number) = (input.byte(), input.byte());
        match kind % 8 {
            0 => self.tested.receive(address(number), socket(Who::Tested), input.counted()),
            1 => self.tested.pass(Duration::from_millis(input.long() >> 24)),
            2 => self.connect(number, input),
            3 => self.send(number, input),
            4 => {
                let agent = AgentId([number & 7; 32]);
                self.tell(SetBlocked { agent, blocked: number & 8 == 0 }.into());
            }
            5 => self.other_command(number),
            6 => {
                let result = if number == 255 { Err(StoreError::Full) } else { Ok(()) };
                let id = self.tested.writes.pop_front().unwrap_or(WriteId(u64::from(number)));
                self.tested.stored(id, result);
            }
            _ => self.exchange(number),
        }
    }

    fn tell(&mut self, request: Request) {
        match self.tested.command(request) {
            Ok(()) | Err(_) => {}
        }
    }

    fn connect(&mut self, number: u8, input: &mut Input<'_>) {
        let machine = Who::Other.keys().0.id();
        let address = address(number >> 4);
        let target = match number % 4 {
            0 => Target::Address { address, machine: None },
            1 => Target::Address { address, machine: Some(machine) },
            2 => Target::Machine(machine),
            _ => Target::Agent(Who::Other.keys().1.id()),
        };
        self.tested.proven.insert(address);
        let keep = number & 8 == 8;
        self.tell(Connect { target, keep, timeout: duration(input) }.into());
    }

    fn send(&mut self, number: u8, input: &mut Input<'_>) {
        let recipient = match number % 3 {
            0 => Who::Other.keys().1.id(),
            1 => Who::Tested.keys().1.id(),
            _ => AgentId([number; 32]),
        };
        let payload = Bytes::from(vec![number; usize::from(number) * 64]);
        self.tell(SendDirect { recipient, payload, timeout: duration(input) }.into());
    }

    fn other_command(&mut self, number: u8) {
        let sockets = [socket(Who::Tested), ([192, 0, 2, 9], 1).into()];
        let request: Request = match number % 6 {
            0 => Disconnect { machine: Who::Other.keys().0.id() }.into(),
            1 => ListPeers.into(),
            2 => GetCounters.into(),
            3 => ShutDown.into(),
            4 => ChangeNetwork { sockets: sockets[usize::from(number >> 6) % 3..].to_vec() }.into(),
            _ => ChangeNetwork { sockets: sockets[..1].to_vec() }.into(),
        };
        let refused: Result<(), CommandError> = self.tested.command(request);
        let is_over = matches!(refused, Err(CommandError::Halted | CommandError::ShutDown));
        assert!(refused.is_ok() || is_over);
    }

    /// Carries what the two sent to one another; the bits of `lost` say what does not arrive.
    fn exchange(&mut self, lost: u8) {
        let other = self.other.get_or_insert_with(|| Bench::fresh(Who::Other));
        other.now = other.now.max(self.tested.now);
        other.proven.insert(socket(Who::Tested));
        for round in 0..2 {
            for (index, datagram) in std::mem::take(&mut self.tested.sent).iter().enumerate() {
                if datagram.local == socket(Who::Other) && lost >> (index % 4 + round) & 1 == 0 {
                    other.receive(datagram.source, datagram.local, &datagram.payload);
                }
            }
            for (index, datagram) in std::mem::take(&mut other.sent).iter().enumerate() {
                if lost >> (index % 4 + 4 - round) & 1 == 0 {
                    self.tested.receive(datagram.source, datagram.local, &datagram.payload);
                }
            }
        }
        let passed = self.tested.now.saturating_duration_since(other.now);
        other.pass(passed + Duration::from_millis(1));
        self.tested.pass(Duration::from_millis(1));
    }
}

/// A timeout of any size.
fn duration(input: &mut Input<'_>) -> Duration {
    let choice = input.byte();
    match choice {
        255 => Duration::MAX,
        254 => Duration::from_millis(input.long()),
        _ => Duration::from_millis(u64::from(choice) * 50),
    }
}
