//! The x0x protocol as a pure state machine.
//!
//! A [`Node`](node::Node) holds every decision of the protocol and touches nothing: no socket, no
//! clock, no file, no thread, no randomness of the operating system. Everything that happens to it
//! is a call, everything that it wants is a value, and the same calls give the same values. So it
//! runs in any event loop, in a simulator with thousands of others, and again from a recording.
//!
//! Two nodes that meet and talk, without a network, in one thread:
//!
//! ```
//! use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
//! use bytes::{Bytes, BytesMut};
//! use x0x_core::identity::{AgentKey, MachineKey};
//! use x0x_core::link::LinkConfig;
//! use x0x_core::{direct, link};
//! use x0x_core::node::*;
//! use x0x_core::transport::Datagram;
//!
//! let unix_time = SystemTime::now().duration_since(UNIX_EPOCH)?;
//! let mut time = Time { now: Instant::now(), unix_time };
//! let mut make = |number: u8| {
//!     let config = Config {
//!         machine_key: MachineKey::from_seed(&[number; 32]),
//!         agent_key: AgentKey::from_seed(&[number + 100; 32]),
//!         certificate: None,
//!         sockets: vec![([192, 0, 2, number], 5483).into()],
//!         link: LinkConfig::default(),
//!         overlay: x0x_core::overlay::Config::default(),
//!         memory: x0x_core::support::MemoryBudget::DEFAULT,
//!     };
//!     Node::new(config, [number; 32], Restored::default(), time)
//! };
//! let mut nodes = [make(1)?, make(2)?];
//! let recipient = AgentKey::from_seed(&[102; 32]).id();
//!
//! // The first node connects to the second.
//! let target = Target::Address { address: ([192, 0, 2, 2], 5483).into(), machine: None };
//! let connect = Connect { target, keep: false, timeout: Duration::from_secs(10) };
//! let command = Command { id: CommandId(1), request: connect.into() };
//! nodes[0].handle_command(time, command)?;
//!
//! // A driver: it carries datagrams, keeps the time and hands out events.
//! let (mut received, mut acknowledged, mut buf) = (None, false, Vec::new());
//! while received.is_none() || !acknowledged {
//!     for index in 0..nodes.len() {
//!         loop {
//!             match nodes[index].poll_output(&mut buf) {
//!                 Output::Transmit(transmit) => {
//!                     let size = transmit.segment_size.unwrap_or(transmit.size);
//!                     for payload in buf.chunks(size) {
//!                         let datagram = Datagram {
//!                             source: transmit.local,
//!                             local: transmit.target,
//!                             ecn: transmit.ecn,
//!                             payload: BytesMut::from(payload),
//!                         };
//!                         nodes[1 - index].handle_datagram(time, datagram);
//!                     }
//!                 }
//!                 Output::Store(batch) => nodes[index].handle_stored(time, batch.id, Ok(())),
//!                 Output::Event(Event::Reply { reply: Reply::Link(link::Reply::Connect(connected)), .. }) => {
//!                     assert_eq!(connected?.agents, [recipient]);
//!                     let payload = Bytes::from("hello");
//!                     let send = SendDirect { recipient, payload, timeout: Duration::from_secs(5) };
//!                     let command = Command { id: CommandId(2), request: send.into() };
//!                     nodes[index].handle_command(time, command)?;
//!                 }
//!                 Output::Event(Event::Reply { reply: Reply::Direct(direct::Reply::SendDirect(outcome)), .. }) => {
//!                     outcome?;
//!                     acknowledged = true;
//!                 }
//!                 Output::Event(Event::Direct(direct::Event::Received { payload, .. })) => {
//!                     received = Some(payload);
//!                 }
//!                 Output::Event(_) | Output::Load(_) | Output::Settled => {}
//!                 Output::Idle { .. } => break,
//!             }
//!         }
//!     }
//!     time = time.at(time.now + Duration::from_millis(1));
//!     nodes.iter_mut().for_each(|node| node.handle_timeout(time));
//! }
//! assert_eq!(received.as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The modules
//!
//! Imports go down only: a module uses those of lower rank, and a test reads the sources to see
//! that it is so.
//!
//! | rank | module | is |
//! |---|---|---|
//! | 0 | [`support`], [`wire`] | context, timers, bounded collections; records and frames |
//! | 1 | [`crypto`] | signatures, key exchange, ciphers, hashes, TLS |
//! | 2 | [`identity`] | keys, ids, certificates, bindings, revocations, words |
//! | 3 | [`transport`] | QUIC |
//! | 3 | [`session`] | what every protocol over sessions shares |
//! | 4 | [`path`] | path selection and path probes |
//! | 4 | [`address_book`] | peers, their addresses and agents |
//! | 5 | [`link`] | sessions with proven peers, over paths that may change |
//! | 6 | [`overlay`] | who hears of a topic, and how it reaches all of them |
//! | 7 | [`direct`] | direct messages |
//! | 7 | [`gossip`] | signed messages to everybody who subscribed to a topic |
//! | 9 | [`node`] | the composition |

pub mod address_book;
pub mod crypto;
pub mod direct;
pub mod gossip;
pub mod identity;
pub mod link;
pub mod node;
#[cfg(test)]
pub mod notes;
pub mod overlay;
pub mod path;
pub mod session;
pub mod support;
pub mod transport;
pub mod wire;
