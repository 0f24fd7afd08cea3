//! A node on a blocking loop: one thread, one socket, and a read timeout as the timer.
//!
//! Two nodes in one process, each on a thread of its own, talk over the loopback interface. One
//! connects to the other, sends a direct message and waits for the acknowledgement. Run it with
//! `cargo run -p x0x-core --example blocking_udp`.

#![expect(clippy::disallowed_methods, reason = "a driver reads clocks and starts threads")]
#![expect(clippy::disallowed_types, reason = "a driver has sockets")]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an application picks the events it needs")]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::node::*;
use x0x_core::transport::Datagram;
use x0x_core::{direct, link, overlay, support};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let (bob, alice) = (Driver::bind(2)?, Driver::bind(1)?);
    let target = Target::Address { address: bob.local, machine: None };
    let bob = std::thread::spawn(move || bob.run(None));
    let connect = Connect { target, keep: false, timeout: Duration::from_secs(10) };
    alice.run(Some(connect.into()))?;
    bob.join().map_err(|_| "the thread of the recipient panicked")?
}

/// The application of both nodes: it sees an event and may answer with a request.
fn application(event: Event) -> Result<Option<Request>, Error> {
    Ok(match event {
        Event::Reply { reply: Reply::Link(link::Reply::Connect(connected)), .. } => {
            let recipient = *connected?.agents.first().ok_or("the peer has no agent")?;
            let (payload, timeout) = (Bytes::from("hello"), Duration::from_secs(10));
            Some(SendDirect { recipient, payload, timeout }.into())
        }
        Event::Direct(direct::Event::Received { payload, .. }) => {
            println!("received {:?}", String::from_utf8_lossy(&payload));
            None
        }
        Event::Reply { reply: Reply::Direct(direct::Reply::SendDirect(outcome)), .. } => {
            println!("acknowledged after {:?}", outcome?.elapsed);
            Some(ShutDown.into())
        }
        Event::Link(link::Event::PeerDown { reason: link::DownReason::ClosedByPeer, .. }) => {
            Some(ShutDown.into())
        }
        Event::Halted(fatal) => return Err(fatal.into()),
        _ => None,
    })
}

/// Both clocks, read together for each input.
fn time() -> Time {
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { now: Instant::now(), unix_time }
}

struct Driver {
    socket: UdpSocket,
    /// The address of the socket, by which the node names it.
    local: SocketAddr,
    node: Node,
    store: MemoryStore,
    last_command: u64,
    has_shut_down: bool,
}

impl Driver {
    fn bind(number: u8) -> Result<Self, Error> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let local = socket.local_addr()?;
        let config = Config {
            // The seeds of keys are secrets that a program keeps in files; these are no secrets.
            machine_key: MachineKey::from_seed(&[number; 32]),
            agent_key: AgentKey::from_seed(&[number + 100; 32]),
            certificate: None,
            sockets: vec![local],
            link: link::LinkConfig::default(),
            overlay: overlay::Config::default(),
            memory: support::MemoryBudget::DEFAULT,
        };
        // The seed of a node must be new at each start: its session keys derive from it.
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        // A store on a disk returns here what earlier runs wrote to it.
        let mut store = MemoryStore::default();
        let node = Node::new(config, seed, store.restore()?, time())?;
        Ok(Self { socket, local, node, store, last_command: 0, has_shut_down: false })
    }

    /// The loop: drain the node, sleep, feed it what came.
    fn run(mut self, first: Option<Request>) -> Result<(), Error> {
        first.map_or(Ok(()), |request| self.command(request))?;
        let mut buffer = vec![0; 65_535];
        loop {
            let deadline = self.drain()?;
            // Idle after a shutdown: the datagrams that close the links have left. No write is
            // under way either, because this store has finished whenever it returns.
            if self.has_shut_down {
                return Ok(());
            }
            self.sleep(deadline, &mut buffer)?;
        }
    }

    /// Does what the node wants until it is idle. Returns when to wake it.
    fn drain(&mut self) -> Result<Option<Deadline>, Error> {
        let (mut datagrams, mut events) = (Vec::new(), Vec::new());
        loop {
            match self.node.poll_output(&mut datagrams) {
                Output::Transmit(transmit) => {
                    // There may be several datagrams: all but the last have this size.
                    let segment_size = transmit.segment_size.unwrap_or(transmit.size);
                    for payload in datagrams.chunks(segment_size) {
                        // What cannot be sent is lost like any datagram; QUIC makes up for it.
                        let _ = self.socket.send_to(payload, transmit.target);
                    }
                }
                Output::Store(batch) => {
                    // What depends on the write leaves the node after this answer.
                    let result = self.store.apply(std::slice::from_ref(&batch));
                    self.node.handle_stored(time(), batch.id, result);
                }
                Output::Load(load) => {
                    let result = self.store.load(&load);
                    self.node.handle_loaded(time(), load.id, result);
                }
                Output::Event(Event::Reply {
                    reply: Reply::Control(control::Reply::ShutDown(())),
                    ..
                }) => self.has_shut_down = true,
                Output::Event(event) => events.push(event),
                // The turn of the application: its requests share datagrams with the
                // acknowledgements of what it sees, because the node gathers those next.
                Output::Settled => {
                    for event in events.drain(..) {
                        application(event)?.map_or(Ok(()), |request| self.command(request))?;
                    }
                }
                Output::Idle { deadline } => return Ok(deadline),
            }
        }
    }

    /// Gives the node a command with a number of its own, which the reply repeats.
    fn command(&mut self, request: Request) -> Result<(), Error> {
        self.last_command += 1;
        let command = Command { id: CommandId(self.last_command), request };
        Ok(self.node.handle_command(time(), command)?)
    }

    /// Waits for a datagram, at most until the deadline, and feeds the node what came.
    fn sleep(&mut self, deadline: Option<Deadline>, buffer: &mut [u8]) -> Result<(), Error> {
        let wait = deadline.map(|deadline| deadline.at.saturating_duration_since(Instant::now()));
        if wait == Some(Duration::ZERO) {
            self.node.handle_timeout(time());
            return Ok(());
        }
        self.socket.set_read_timeout(wait)?;
        match self.socket.recv_from(buffer) {
            Ok((size, source)) => {
                let (ecn, payload) = (None, BytesMut::from(&buffer[..size]));
                let datagram = Datagram { source, local: self.local, ecn, payload };
                self.node.handle_datagram(time(), datagram);
            }
            // Nothing came. To wake a node too early does no harm.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.node.handle_timeout(time());
            }
            // A signal, or an ICMP message about a datagram that is lost.
            Err(error) => println!("nothing received: {error}"),
        }
        Ok(())
    }
}
