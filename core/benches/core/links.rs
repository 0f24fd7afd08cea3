//! The links of a node, driven as the node drives them.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use x0x_core::crypto::tls::WallClock;
use x0x_core::identity::{AgentKey, MachineId, MachineKey};
use x0x_core::link::{self, Class, LinkIdentity};
use x0x_core::support::{Context, Counts, Effect, Outbox, Rng};
use x0x_core::transport::{Datagram, Transmit};

use crate::world::{
    End, PAYLOAD, Pipe, TIMEOUT, UNIX_TIME, address, anchor, fresh_seed, link_config, seed, time,
};

pub(crate) struct LinkEnd {
    state: link::State,
    rng: Rng,
    counts: Counts<link::Counter>,
    outbox: Outbox<link::Output>,
    peer: Option<MachineId>,
    to_send: usize,
    received: usize,
    is_unsettled: bool,
}

/// Makes the links of nodes.
pub(crate) fn links(count: usize, initial_mtu: u16) -> Vec<LinkEnd> {
    (0..count).map(|index| LinkEnd::new(index, initial_mtu)).collect()
}

impl LinkEnd {
    fn new(index: usize, initial_mtu: u16) -> Self {
        let identity = LinkIdentity {
            machine_key: MachineKey::from_seed(&seed("machine", index)),
            agent_key: AgentKey::from_seed(&seed("agent", index)),
            certificate: None,
            clock: WallClock::new(UNIX_TIME),
        };
        let rng = Rng::from_seed(fresh_seed());
        let (config, sockets) = (link_config(initial_mtu), vec![address(index)]);
        let fork = rng.fork("state");
        Self {
            state: link::State::new(
                config,
                x0x_core::support::MemoryBudget::DEFAULT,
                identity,
                sockets,
                anchor(),
                UNIX_TIME,
                fork,
            ),
            rng,
            counts: Counts::default(),
            outbox: Outbox::default(),
            peer: None,
            to_send: 0,
            received: 0,
            is_unsettled: false,
        }
    }

    fn act(
        &mut self,
        now: Instant,
        handle: impl FnOnce(&mut link::State, &mut Context<'_, link::Output>),
    ) {
        let Self { state, rng, counts, outbox, .. } = self;
        handle(state, &mut Context::new(time(now), rng, counts, outbox));
        self.is_unsettled = true;
        while let Some(effect) = self.outbox.pop() {
            let Effect::Emit(output) = effect else { continue };
            match output {
                link::Output::PeerUp { machine, .. } => self.peer = Some(machine),
                link::Output::Frame { frame, .. } => self.received += frame.len(),
                link::Output::PeerDown { reason, .. } => panic!("a link went down: {reason:?}"),
                link::Output::PathChanged { .. }
                | link::Output::Writable { .. }
                | link::Output::ConnectEnded { .. }
                | link::Output::NoRoute { .. }
                | link::Output::DialFailed { .. }
                | link::Output::PingEnded { .. } => {}
            }
        }
    }

    fn fill(&mut self) {
        let Some(machine) = self.peer else { return };
        let payload = Bytes::from_static(&PAYLOAD);
        while self.to_send > 0 && self.state.send_window(&machine, Class::Bulk) > 0 {
            self.state.send(&machine, Class::Bulk, &[], &payload);
            self.to_send = self.to_send.saturating_sub(payload.len());
        }
    }
}

impl End for LinkEnd {
    fn dial(&mut self, now: Instant, target: SocketAddr) {
        self.act(now, |state, context| {
            let target = link::DialTarget::Address(target);
            state.connect(context, link::RequestId(1), target, false, TIMEOUT);
        });
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        self.act(now, |state, context| state.handle_datagram(context, datagram));
    }

    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if self.is_unsettled {
            for _ in 0..2 {
                self.fill();
                self.act(now, link::State::flush);
            }
            self.is_unsettled = false;
        }
        buf.clear();
        self.state.poll_transmit(now, buf)
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.state.deadline().map(|deadline| deadline.at)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.act(now, link::State::handle_timeout);
    }

    fn up(&self) -> usize {
        usize::from(self.peer.is_some())
    }
}

impl Pipe for LinkEnd {
    fn send(&mut self, size: usize) {
        self.to_send += size;
        self.is_unsettled = true;
    }

    fn received(&self) -> usize {
        self.received
    }
}
