//! What links report and to whom it matters, and what is asked of them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::address_policy::may_dial;
use super::{Protocol, Routing, Start};
use crate::identity::MachineId;
use crate::link::{
    Class, Connect, Connected, DialTarget, Disconnected, Event, LinkIdentity, NetworkChanged,
    Output, PeerInfo, PeerProbed, Reply, Request, RequestError, RequestId, State, Table, Target,
};
use crate::node::{CommandError, CommandId, Node};
use crate::session::{self, Opened, TIMEOUT_MAX, address_of, contact_of};
use crate::support::{Context, Deadline, Time};

/// Routes links.
#[derive(Debug)]
pub(in crate::node) struct Link;

impl Routing for Link {
    type State = State;
    type Output = Output;
    type Request = Request;
    type Reply = Reply;
    type Event = Event;

    fn start(start: &Start<'_>) -> State {
        let config = start.config;
        let identity = LinkIdentity {
            machine_key: config.machine_key.clone(),
            agent_key: config.agent_key.clone(),
            certificate: config.certificate.clone(),
            clock: start.wall_clock.clone(),
        };
        State::new(
            config.link.clone(),
            config.memory,
            identity,
            config.sockets.clone(),
            start.time.now,
            start.time.unix_time,
            start.rng.fork("link state"),
        )
    }

    fn route(node: &mut Node, time: Time, output: Output) {
        match output {
            Output::PeerUp { machine, agents, incarnation, address } => {
                peer_up(node, time, (machine, address), &agents, incarnation);
                node.report(Event::PeerUp { machine, agents, address });
            }
            Output::PeerDown { machine, reason } => {
                node.modules
                    .for_each_protocol(time, |_| Some(session::Event::Closed { peer: machine }));
                node.report(Event::PeerDown { machine, reason });
            }
            Output::PathChanged { machine, address } => {
                node.modules.for_each_protocol(time, |_| {
                    Some(session::Event::Moved { peer: machine, contact: contact_of(address) })
                });
                node.report(Event::PathChanged { machine, address });
            }
            Output::Frame { machine, class, frame } => {
                let mut frame = Some(frame);
                node.modules.for_each_protocol(time, |protocol| {
                    let frame = if protocol.class == class { frame.take() } else { None };
                    frame.map(|frame| session::Event::Frame { peer: machine, frame })
                });
                if frame.is_some() {
                    // No protocol here uses the class, and the peer's version says so.
                    node.modules
                        .link
                        .run(time, |link, context| link.protocol_violation(context, &machine));
                }
            }
            Output::Writable { machine, class, send_window } => {
                node.modules.for_each_protocol(time, |protocol| {
                    let writable = session::Event::Writable { peer: machine, send_window };
                    (protocol.class == class).then_some(writable)
                });
            }
            Output::DialFailed { machine } => {
                node.modules.for_each_protocol(time, |_| {
                    Some(session::Event::ConnectFailed { peer: machine })
                });
            }
            Output::NoRoute { agent } => {
                node.modules.direct.run(time, |direct, context| {
                    direct.handle(context, crate::direct::Input::NoRoute { agent });
                });
            }
            Output::ConnectEnded { request, result } => {
                let result = result.map(|peer| Connected {
                    machine: peer.machine,
                    agents: peer.agents,
                    address: peer.address,
                    already: peer.already,
                });
                node.reply(CommandId(request.0), Reply::Connect(result));
            }
            Output::PingEnded { request, result } => {
                let result = result.map(|round_trip| PeerProbed { round_trip });
                node.reply(CommandId(request.0), Reply::ProbePeer(result));
            }
        }
    }

    fn request(
        node: &mut Node,
        time: Time,
        id: CommandId,
        request: Request,
    ) -> Result<(), CommandError> {
        let link = &mut node.modules.link;
        let reply = match request {
            Request::Connect(request) => return connect(node, time, id, request),
            Request::ProbePeer(request) => {
                check_timeout(request.timeout, |timeout| RequestError::TimeoutTooLong { timeout })?;
                if !link.state.can_ping() {
                    return Err(RequestError::TooManyProbes.into());
                }
                link.run(time, |link, context| {
                    link.ping(context, RequestId(id.0), &request.machine, request.timeout);
                });
                return Ok(());
            }
            Request::Disconnect(request) => {
                let existed =
                    link.run(time, |link, context| link.disconnect(context, &request.machine));
                Reply::Disconnect(Disconnected { existed })
            }
            Request::ChangeNetwork(request) => {
                let moving =
                    link.run(time, |link, context| link.change_sockets(context, request.sockets));
                Reply::ChangeNetwork(NetworkChanged { moving })
            }
            Request::ListPeers(_) => {
                let peers = link.state.peers().map(|peer| PeerInfo {
                    machine: peer.machine,
                    agents: peer.agents,
                    address: peer.address,
                    round_trip: peer.round_trip,
                    connected_for: time.now.saturating_duration_since(peer.since),
                });
                Reply::ListPeers(peers.collect())
            }
        };
        node.reply(id, reply);
        Ok(())
    }

    fn restore(
        node: &mut Node,
        time: Time,
        table: Table,
        (key, value): (&Bytes, &Bytes),
    ) -> Result<(), String> {
        let id = key[..].try_into().map_err(|_| "the key is not an id".to_owned())?;
        let restored = node
            .modules
            .link
            .run(time, |link, context| link.restore(context, table, MachineId(id), value));
        restored.map_err(|error| error.to_string())
    }

    fn deadline(state: &State) -> Option<Deadline> {
        state.deadline()
    }

    fn handle_timeout(state: &mut State, context: &mut Context<'_, Output>) {
        state.handle_timeout(context);
    }

    fn clock_was_set(state: &mut State, context: &mut Context<'_, Output>) {
        state.handle_wall_time(context);
    }

    fn flush(state: &mut State, context: &mut Context<'_, Output>) {
        state.flush(context);
    }

    fn shut_down(state: &mut State, context: &mut Context<'_, Output>) {
        state.shut_down(context);
    }
}

impl Link {
    /// Does what a protocol wants of sessions.
    pub(super) fn session_request(
        node: &mut Node,
        time: Time,
        protocol: Option<Protocol>,
        request: session::Request<MachineId>,
    ) {
        let link = &mut node.modules.link;
        match request {
            session::Request::Send { peer, header, payload } => {
                let Some(Protocol { class, .. }) = protocol else { return };
                link.state.send(&peer, class, header.as_slice(), &payload);
            }
            session::Request::Connect { peer, contact } => {
                let peers = link.state.peers().map(|peer| peer.address);
                let address = address_of(&contact).filter(|&named| may_dial(named, peers));
                link.run(time, |link, context| link.dial_for(context, peer, address));
            }
            session::Request::Release { peer } => {
                link.run(time, |link, context| link.release(context, &peer));
            }
            session::Request::Violation { peer, rule } => {
                tracing::debug!(machine = %peer.short(), rule, "peer broke a rule");
                link.run(time, |link, context| link.protocol_violation(context, &peer));
            }
        }
    }
}

/// A session began: every protocol may use it.
fn peer_up(
    node: &mut Node,
    time: Time,
    (machine, address): (MachineId, SocketAddr),
    agents: &[crate::identity::AgentId],
    incarnation: u64,
) {
    let link = &node.modules.link.state;
    let round_trip = link.peer(&machine, true).map(|peer| peer.round_trip).unwrap_or_default();
    let windows = Class::ALL.map(|class| (class, link.send_window(&machine, class)));
    node.modules.for_each_protocol(time, |protocol| {
        let (_, send_window) = windows.into_iter().find(|(class, _)| *class == protocol.class)?;
        Some(session::Event::Opened(Opened {
            peer: machine,
            agents: agents.to_vec(),
            incarnation,
            contact: contact_of(address),
            round_trip,
            send_window,
        }))
    });
}

fn connect(
    node: &mut Node,
    time: Time,
    id: CommandId,
    request: Connect,
) -> Result<(), CommandError> {
    let Connect { target, keep, timeout } = request;
    check_timeout(timeout, |timeout| RequestError::TimeoutTooLong { timeout })?;
    let link = &mut node.modules.link;
    let target = match target {
        Target::Address { address, machine } => {
            check_address(&link.state, address)?;
            match machine {
                Some(machine) => DialTarget::MachineAt(machine, address),
                None => DialTarget::Address(address),
            }
        }
        Target::Machine(machine) => DialTarget::Machine(machine),
        Target::Agent(agent) => DialTarget::Agent(agent),
    };
    if !link.state.can_connect() {
        return Err(RequestError::TooManyConnects.into());
    }
    link.run(time, |link, context| {
        link.connect(context, RequestId(id.0), target, keep, timeout);
    });
    Ok(())
}

fn check_address(link: &State, address: SocketAddr) -> Result<(), RequestError> {
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(RequestError::InvalidAddress { address });
    }
    link.socket_for(address).map(|_| ()).ok_or(RequestError::NoSocket { address })
}

/// Bounds how long a request may wait, so that no time of the node overflows.
pub(super) fn check_timeout<E>(
    timeout: Duration,
    error: impl FnOnce(Duration) -> E,
) -> Result<(), E> {
    if timeout > TIMEOUT_MAX { Err(error(timeout)) } else { Ok(()) }
}
