//! A small machine for the tests of the world: it delivers direct messages with one datagram each,
//! repeats them until they are acknowledged, and takes each message once, in order.
//!
//! It has no keys and no links: an address is all that a "connection" is.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use x0x_core::direct::DirectError;
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::link::PingError;
use x0x_core::node::{
    Batch, CommandError, CommandId, Config, Connected, Counters, Deadline, DirectAcknowledged,
    Event, Input, NetworkChanged, Output, Record, Reply, Request, Restored, StartError, Table,
    Target, Time, WriteId,
};
use x0x_core::support::Rng;
use x0x_core::transport::Transmit;

use crate::Machine;
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;
use x0x_core::node::control;

const RETRY: Duration = Duration::from_millis(200);
const SEND: u8 = 1;
const ACKNOWLEDGE: u8 = 2;
const HELLO: u8 = 3;

#[derive(Debug)]
struct Waiting {
    id: CommandId,
    recipient: AgentId,
    number: u64,
    payload: Bytes,
    began: Instant,
    until: Instant,
}

/// The machine. Its ids are its keys' ids.
#[derive(Debug)]
pub(crate) struct Courier {
    machine: MachineId,
    agent: AgentId,
    run: u64,
    local: SocketAddr,
    peers: BTreeMap<AgentId, (MachineId, SocketAddr)>,
    waiting: VecDeque<Waiting>,
    seen: BTreeMap<(AgentId, u64), u64>,
    sent: u64,
    next_try: Option<Instant>,
    outputs: VecDeque<(Option<Vec<u8>>, Output)>,
}

impl Machine for Courier {
    fn start(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        _time: Time,
    ) -> Result<Self, StartError> {
        let starts = restored.records.first().map_or(0, |record| record.value[0]).wrapping_add(1);
        let mut courier = Self {
            machine: config.machine_key.id(),
            agent: config.agent_key.id(),
            run: Rng::from_seed(seed).next_u64(),
            local: config.sockets[0],
            peers: BTreeMap::new(),
            waiting: VecDeque::new(),
            seen: BTreeMap::new(),
            sent: 0,
            next_try: None,
            outputs: VecDeque::new(),
        };
        let value = Bytes::from(vec![starts]);
        let put = Record {
            table: Table::Link(link::Table::Peers),
            key: Bytes::from_static(b"starts"),
            value,
        };
        let batch = Batch { id: WriteId(1), puts: vec![put], deletes: Vec::new() };
        courier.outputs.push_back((None, Output::Store(batch)));
        Ok(courier)
    }

    fn handle(&mut self, Time { now, .. }: Time, input: Input) -> Result<(), CommandError> {
        match input {
            Input::Datagram(datagram) => self.datagram(now, datagram.source, datagram.payload),
            Input::Timeout => self.timeout(now),
            Input::Command(command) => self.command(now, command.id, command.request),
            Input::Stored(..) | Input::Loaded(..) => {}
        }
        Ok(())
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output {
        if let Some((bytes, output)) = self.outputs.pop_front() {
            buffer.extend(bytes.unwrap_or_default());
            return output;
        }
        Output::Idle { deadline: self.next_try.map(|at| Deadline { at, timer: "retry" }) }
    }
}

impl Courier {
    fn command(&mut self, now: Instant, id: CommandId, request: Request) {
        let reply = match request {
            Request::Direct(direct::Request::SendDirect(send)) => {
                self.sent += 1;
                self.waiting.push_back(Waiting {
                    id,
                    recipient: send.recipient,
                    number: self.sent,
                    payload: send.payload,
                    began: now,
                    until: now + send.timeout,
                });
                if self.waiting.len() == 1 {
                    self.next_try = Some(now);
                    self.timeout(now);
                }
                return;
            }
            Request::Link(link::Request::Connect(connect)) => {
                let Target::Address { address, machine: Some(machine) } = connect.target else {
                    return;
                };
                self.transmit(address, HELLO, 0, &[]);
                let agents = Vec::new();
                Reply::Link(link::Reply::Connect(Ok(Connected {
                    machine,
                    agents,
                    address,
                    already: false,
                })))
            }
            Request::Link(link::Request::ChangeNetwork(change)) => {
                self.local = change.sockets[0];
                Reply::Link(link::Reply::ChangeNetwork(NetworkChanged { moving: 0 }))
            }
            Request::Link(link::Request::ListPeers(_)) => {
                Reply::Link(link::Reply::ListPeers(Vec::new()))
            }
            Request::Link(link::Request::ProbePeer(_)) => {
                Reply::Link(link::Reply::ProbePeer(Err(PingError::NotConnected)))
            }
            Request::Control(control::Request::GetCounters(_)) => {
                Reply::Control(control::Reply::GetCounters(Counters::default()))
            }
            Request::Link(link::Request::Disconnect(_))
            | Request::Control(control::Request::SetBlocked(_))
            | Request::Gossip(gossip::Request::Subscribe(_))
            | Request::Gossip(gossip::Request::Unsubscribe(_))
            | Request::Gossip(gossip::Request::Publish(_))
            | Request::Gossip(gossip::Request::ProveMessage(_))
            | Request::Gossip(gossip::Request::ListTopics(_))
            | Request::Control(control::Request::ShutDown(_)) => return,
        };
        self.emit(Event::Reply { command: id, reply });
    }

    fn timeout(&mut self, now: Instant) {
        if self.next_try.is_none_or(|at| at > now) {
            return;
        }
        // One message at a time keeps the order.
        while let Some(first) = self.waiting.front() {
            if first.until <= now {
                let command = first.id;
                let error = DirectError::Timeout { sent: true };
                self.waiting.pop_front();
                self.emit(Event::Reply {
                    command,
                    reply: Reply::Direct(direct::Reply::SendDirect(Err(error))),
                });
                continue;
            }
            if let Some(&(_, address)) = self.peers.get(&first.recipient) {
                let (number, payload) = (first.number, first.payload.clone());
                self.transmit(address, SEND, number, &payload);
            }
            let until = self.waiting.front().map(|first| first.until);
            self.next_try = until.map(|until| until.min(now + RETRY));
            return;
        }
        self.next_try = None;
    }

    fn datagram(&mut self, now: Instant, source: SocketAddr, bytes: BytesMut) {
        let kind = bytes[0];
        let id = |at: usize| <[u8; 32]>::try_from(&bytes[at..at + 32]).unwrap();
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let (machine, sender) = (MachineId(id(1)), AgentId(id(33)));
        let (run, count, payload) = (number(65), number(73), &bytes[81..]);
        if self.peers.insert(sender, (machine, source)).is_none() {
            self.emit(Event::Link(link::Event::PeerUp {
                machine,
                agents: vec![sender],
                address: source,
            }));
            self.transmit(source, HELLO, 0, &[]);
        }
        if kind == SEND {
            self.transmit(source, ACKNOWLEDGE, count, &[]);
            let last = self.seen.entry((sender, run)).or_default();
            if *last < count {
                *last = count;
                let payload = Bytes::copy_from_slice(payload);
                let (recipient, received_at) = (self.agent, Duration::ZERO);
                let event = Event::Direct(direct::Event::Received {
                    sender,
                    machine,
                    recipient,
                    payload,
                    received_at,
                });
                self.emit(event);
            }
        } else if kind == ACKNOWLEDGE
            && self.waiting.front().is_some_and(|first| first.number == count)
            && let Some(first) = self.waiting.pop_front()
        {
            let elapsed = now - first.began;
            let reply =
                Reply::Direct(direct::Reply::SendDirect(Ok(DirectAcknowledged { elapsed })));
            self.emit(Event::Reply { command: first.id, reply });
            self.next_try = Some(now);
            self.timeout(now);
        }
    }

    fn transmit(&mut self, target: SocketAddr, kind: u8, count: u64, payload: &[u8]) {
        let mut bytes = vec![kind];
        bytes.extend(self.machine.0);
        bytes.extend(self.agent.0);
        bytes.extend(self.run.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(payload);
        let (local, size) = (self.local, bytes.len());
        let transmit = Transmit { target, local, ecn: None, size, segment_size: None };
        self.outputs.push_back((Some(bytes), Output::Transmit(transmit)));
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back((None, Output::Event(event)));
    }
}
