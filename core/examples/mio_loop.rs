//! A node on a readiness loop: `mio`, several sockets, and a waker for the application.
//!
//! Each node runs on a thread of its own with two sockets. The application is the main thread: it
//! sends requests through a bounded queue, wakes the loop, and receives events through another. The
//! loop waits for nothing but its poll: a socket that is blocked stops the building of datagrams, not
//! the node. Run it with `cargo run -p x0x-core --example mio_loop`.

#![expect(clippy::disallowed_methods, reason = "a driver reads clocks and starts threads")]
#![expect(clippy::disallowed_types, reason = "the wall clock is a type")]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an application picks the events it needs")]

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::node::*;
use x0x_core::transport::{Datagram, Transmit};
use x0x_core::{direct, link, overlay, support};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How many requests and events wait between the application and the loop.
const QUEUE_MAX: usize = 1024;

/// How many datagrams are taken from one socket before the node is drained.
const RECEIVES_MAX: usize = 64;

/// How long the application waits for anything.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The token of the waker. A socket's token is its index.
const WAKER: Token = Token(usize::MAX);

fn main() -> Result<(), Error> {
    let (alice, bob) = (Handle::start(1)?, Handle::start(2)?);

    // Bob is dialled at his second socket, and answers from it.
    let target = Target::Address { address: bob.sockets[1], machine: None };
    let connect = Connect { target, keep: false, timeout: TIMEOUT };
    let connected = alice.ask(connect)??;
    let recipient = *connected.agents.first().ok_or("the peer has no agent")?;
    let payload = Bytes::from("hello");
    let acknowledged = alice.ask(SendDirect { recipient, payload, timeout: TIMEOUT })??;
    println!("acknowledged after {:?}", acknowledged.elapsed);
    let received = bob.wait(|event| match event {
        Event::Direct(direct::Event::Received { payload, .. }) => Some(payload),
        _ => None,
    })?;
    println!("received {:?} at {}", String::from_utf8_lossy(&received), connected.address);

    alice.stop()?;
    bob.stop()
}

/// What the application holds of a node.
struct Handle {
    sockets: Vec<SocketAddr>,
    requests: SyncSender<Request>,
    waker: Arc<Waker>,
    events: Receiver<Event>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Handle {
    fn start(number: u8) -> Result<Self, Error> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (requests, taken) = sync_channel(QUEUE_MAX);
        let (told, events) = sync_channel(QUEUE_MAX);
        let driver = Driver::new(number, poll, taken, told)?;
        let sockets = driver.sockets.iter().map(|socket| socket.local).collect();
        let thread = std::thread::spawn(move || driver.run());
        Ok(Self { sockets, requests, waker, events, thread })
    }

    /// Sends a request and waits for its reply.
    fn ask<R: TypedRequest>(&self, request: R) -> Result<R::Reply, Error> {
        self.requests.send(request.into()).map_err(|_| "the loop has ended")?;
        self.waker.wake()?;
        let reply = self.wait(|event| match event {
            Event::Reply { reply, .. } => Some(reply),
            _ => None,
        })?;
        R::reply(reply).ok_or_else(|| "the reply is of another type".into())
    }

    /// Takes events until one is wanted. This application needs no other.
    fn wait<T>(&self, wanted: impl Fn(Event) -> Option<T>) -> Result<T, Error> {
        loop {
            if let Some(found) = wanted(self.events.recv_timeout(TIMEOUT + TIMEOUT)?) {
                return Ok(found);
            }
        }
    }

    fn stop(self) -> Result<(), Error> {
        self.ask(ShutDown)?;
        self.thread.join().map_err(|_| "the thread of a node panicked")?
    }
}

/// Both clocks, read together for each input.
fn time() -> Time {
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { now: Instant::now(), unix_time }
}

struct Socket {
    /// The address by which the node names the socket.
    local: SocketAddr,
    socket: UdpSocket,
    /// `mio` reports an edge: a socket stays readable until a call would block.
    is_readable: bool,
}

struct Driver {
    poll: Poll,
    sockets: Vec<Socket>,
    node: Node,
    store: MemoryStore,
    requests: Receiver<Request>,
    events: SyncSender<Event>,
    last_command: u64,
    datagrams: Vec<u8>,
    /// Datagrams that a blocked socket has not taken, and how many of their bytes it has.
    blocked: Option<(Transmit, usize)>,
    has_shut_down: bool,
}

impl Driver {
    fn new(
        number: u8,
        poll: Poll,
        requests: Receiver<Request>,
        events: SyncSender<Event>,
    ) -> Result<Self, Error> {
        let mut sockets = Vec::new();
        for index in 0..2 {
            let mut socket = UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(index), interest)?;
            sockets.push(Socket { local: socket.local_addr()?, socket, is_readable: false });
        }
        let config = Config {
            // The seeds of keys are secrets that a program keeps in files; these are no secrets.
            machine_key: MachineKey::from_seed(&[number; 32]),
            agent_key: AgentKey::from_seed(&[number + 100; 32]),
            certificate: None,
            sockets: sockets.iter().map(|socket| socket.local).collect(),
            link: link::LinkConfig::default(),
            overlay: overlay::Config::default(),
            memory: support::MemoryBudget::DEFAULT,
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut store = MemoryStore::default();
        let node = Node::new(config, seed, store.restore()?, time())?;
        Ok(Self {
            poll,
            sockets,
            node,
            store,
            requests,
            events,
            last_command: 0,
            datagrams: Vec::new(),
            blocked: None,
            has_shut_down: false,
        })
    }

    fn run(mut self) -> Result<(), Error> {
        let mut readiness = Events::with_capacity(16);
        loop {
            let deadline = self.drain()?;
            // The last datagrams, which close the links, have left; no write is under way.
            if self.has_shut_down && self.blocked.is_none() {
                return Ok(());
            }
            let until_deadline =
                deadline.map(|deadline| deadline.at.saturating_duration_since(Instant::now()));
            let is_readable = self.sockets.iter().any(|socket| socket.is_readable);
            let timeout = if is_readable { Some(Duration::ZERO) } else { until_deadline };
            match self.poll.poll(&mut readiness, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            for event in &readiness {
                if let Some(socket) = self.sockets.get_mut(event.token().0) {
                    socket.is_readable |= event.is_readable();
                }
            }
            self.receive()?;
            self.take_requests()?;
            // A timeout that comes too early, or beside other inputs, does no harm.
            if deadline.is_some_and(|deadline| deadline.at <= Instant::now()) {
                self.node.handle_timeout(time());
            }
        }
    }

    /// Does what the node wants until it is idle or a socket is blocked. Returns when to wake it.
    fn drain(&mut self) -> Result<Option<Deadline>, Error> {
        if let Some((transmit, sent)) = self.blocked.take() {
            self.transmit(transmit, sent);
        }
        while self.blocked.is_none() {
            match self.node.poll_output(&mut self.datagrams) {
                Output::Transmit(transmit) => self.transmit(transmit, 0),
                Output::Store(batch) => {
                    // A slow store belongs on a thread of its own, which reports through a waker.
                    let result = self.store.apply(std::slice::from_ref(&batch));
                    self.node.handle_stored(time(), batch.id, result);
                }
                Output::Load(load) => {
                    let result = self.store.load(&load);
                    self.node.handle_loaded(time(), load.id, result);
                }
                Output::Event(event) => self.tell(event)?,
                // The turn of the application: what it asks now shares datagrams with the
                // acknowledgements of what it has just received.
                Output::Settled => {
                    std::thread::yield_now();
                    self.take_requests()?;
                }
                Output::Idle { deadline } => return Ok(deadline),
            }
        }
        // The socket's readiness ends the pause.
        Ok(None)
    }

    /// Hands an event to the application. The loop does not wait for it.
    fn tell(&mut self, event: Event) -> Result<(), Error> {
        if let Event::Halted(fatal) = event {
            return Err(fatal.into());
        }
        let shut_down = Reply::Control(control::Reply::ShutDown(()));
        self.has_shut_down |= matches!(&event, Event::Reply { reply, .. } if *reply == shut_down);
        self.events.try_send(event).map_err(|_| "the application takes no events".into())
    }

    fn take_requests(&mut self) -> Result<(), Error> {
        for _ in 0..QUEUE_MAX {
            let Ok(request) = self.requests.try_recv() else { break };
            self.last_command += 1;
            let command = Command { id: CommandId(self.last_command), request };
            self.node.handle_command(time(), command)?;
        }
        Ok(())
    }

    /// Sends datagrams of which the first `sent` bytes have left, until the socket blocks.
    fn transmit(&mut self, transmit: Transmit, mut sent: usize) {
        let Some(socket) = self.sockets.iter().find(|socket| socket.local == transmit.local) else {
            return;
        };
        let segment_size = transmit.segment_size.unwrap_or(transmit.size);
        for payload in self.datagrams[sent..transmit.size].chunks(segment_size) {
            match socket.socket.send_to(payload, transmit.target) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = Some((transmit, sent));
                    return;
                }
                // A datagram that cannot be sent is lost like any other.
                Ok(_) | Err(_) => sent += payload.len(),
            }
        }
    }

    /// Feeds the node the datagrams that came, a bounded number of each socket.
    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 65_535];
        let time = time();
        for Socket { local, socket, is_readable } in &mut self.sockets {
            for _ in 0..RECEIVES_MAX {
                if !*is_readable {
                    break;
                }
                match socket.recv_from(&mut buffer) {
                    Ok((size, source)) => {
                        let payload = BytesMut::from(&buffer[..size]);
                        let datagram = Datagram { source, local: *local, ecn: None, payload };
                        self.node.handle_datagram(time, datagram);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => *is_readable = false,
                    // A signal, or an ICMP message about a datagram that is lost.
                    Err(error) => println!("nothing received: {error}"),
                }
            }
        }
        Ok(())
    }
}
