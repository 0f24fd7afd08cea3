//! What must hold in every world, whatever its faults.
//!
//! * Each command that was accepted has exactly one reply of its type, in time, unless its node
//!   crashed first.
//! * A direct message is delivered at most once, over all runs of both nodes, at the right node,
//!   and only if it was sent.
//! * The messages of one run of a sender reach a recipient in the order in which they were sent.
//! * A message that was acknowledged was delivered. One whose end says that the recipient has not
//!   got it never was and never is.
//! * The deadline of a node that was drained lies in the future.
//! * A link that a node reports up was down before, and the other way round.
//! * A direct message comes over a link that is up.
//! * Subscribers hear what the rules of `checks/gossip.rs` say.
//! * Nothing from a blocked agent is heard after the reply to the block.
//! * No node halts while its disk works.
//! * No datagram shows the [`MARKER`], which scenarios put into payloads and names of topics.
//!
//! The first failure is kept, with the seed and the time: a world stops there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use x0x_core::direct::DirectError;
use x0x_core::gossip::Topic;
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::node::{CommandId, Event, Reply, Request};

mod conversation;
mod tally;
mod topics;

pub use tally::{Failure, Tally};

use self::conversation::Conversation;
pub(crate) use self::conversation::message_key;
use self::topics::{Act, Gossip};
use crate::NodeId;
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;
use x0x_core::node::control;

/// How much later than its timeout a command may be answered.
pub(crate) const REPLY_SLACK: Duration = Duration::from_secs(2);

/// How long a published message may wait for peers that are slower than its author.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a write may take that a reply waits for: the slowest disk, and writes before it.
const STORE_TIME_MAX: Duration = Duration::from_secs(20);

/// What is secret in a world: scenarios put it into each payload and each name of a topic.
pub const MARKER: [u8; 12] = *b"~x0x secret~";

/// Tells whether a datagram shows the [`MARKER`].
pub(crate) fn shows_marker(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some(place) = rest.iter().position(|&byte| byte == MARKER[0]) {
        rest = &rest[place..];
        if rest.starts_with(&MARKER) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// The kind of a request, with what the checks need of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SendDirect {
        recipient: Option<NodeId>,
        key: u64,
        index: usize,
    },
    SetBlocked {
        agent: AgentId,
        blocked: bool,
    },
    /// Any other request, by its name.
    Other(&'static str),
}

/// What is noted of a request before the node takes it.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    kind: Kind,
    act: Option<Act>,
    timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    node: NodeId,
    kind: Kind,
    issued_at: Duration,
    timeout: Duration,
    /// How long its host slept since.
    slept: Duration,
}

impl Outstanding {
    fn late_after(&self) -> Duration {
        let due = self.issued_at.saturating_add(self.timeout);
        due.saturating_add(self.slept).saturating_add(REPLY_SLACK)
    }
}

/// The checks of one world.
#[derive(Debug)]
pub(crate) struct Checks {
    seed: u64,
    failure: Option<Failure>,
    agents: BTreeMap<AgentId, NodeId>,
    machines: BTreeMap<MachineId, NodeId>,
    outstanding: BTreeMap<CommandId, Outstanding>,
    /// When each outstanding command is late.
    due: BTreeSet<(Duration, CommandId)>,
    conversations: BTreeMap<(NodeId, NodeId), Conversation>,
    gossip: Gossip,
    links: BTreeSet<(NodeId, MachineId)>,
    /// The agents that nodes block, from the reply on until they are to be heard again.
    blocked: BTreeSet<(NodeId, AgentId)>,
    /// Nodes that break the rules on purpose: what they do or claim is not held against anybody.
    hostile: BTreeSet<NodeId>,
    pub(crate) tally: Tally,
}

impl Checks {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            failure: None,
            agents: BTreeMap::new(),
            machines: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            due: BTreeSet::new(),
            conversations: BTreeMap::new(),
            gossip: Gossip::default(),
            links: BTreeSet::new(),
            blocked: BTreeSet::new(),
            hostile: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Tells the ids of a node.
    pub(crate) fn add_node(&mut self, node: NodeId, machine: MachineId, agent: AgentId) {
        self.machines.insert(machine, node);
        self.agents.insert(agent, node);
    }

    /// Expects nothing of a node from here on.
    pub(crate) fn set_hostile(&mut self, node: NodeId) {
        self.hostile.insert(node);
    }

    /// Tells whether anything is expected of a node.
    pub(crate) fn is_honest(&self, node: NodeId) -> bool {
        !self.hostile.contains(&node)
    }

    /// Returns the first failure.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Notes a failure, if it is the first.
    pub(crate) fn fail(&mut self, at: Duration, node: Option<NodeId>, what: String) {
        let seed = self.seed;
        self.failure.get_or_insert(Failure { seed, at, node, what });
    }

    /// Tells whether the first node says that its link to the second is up.
    pub(crate) fn is_linked(&self, node: NodeId, peer: NodeId) -> bool {
        let all = (node, MachineId([0; 32]))..=(node, MachineId([0xff; 32]));
        self.links.range(all).any(|(_, machine)| self.machines.get(machine) == Some(&peer))
    }

    /// Returns how many commands wait for their reply.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Notes what a request asks; hand it to [`Checks::accepted`] if the node takes it.
    pub(crate) fn note(&self, request: &Request) -> Noted {
        let other = Kind::Other(request.name());
        let (kind, timeout) = match request {
            Request::Direct(direct::Request::SendDirect(send)) => {
                let recipient = self.agents.get(&send.recipient).copied();
                let key = message_key(&send.payload);
                (Kind::SendDirect { recipient, key, index: 0 }, send.timeout)
            }
            Request::Control(control::Request::SetBlocked(set)) => {
                let (agent, blocked) = (set.agent, set.blocked);
                // Its reply waits for the disk.
                (Kind::SetBlocked { agent, blocked }, STORE_TIME_MAX)
            }
            Request::Link(link::Request::Connect(connect)) => (other, connect.timeout),
            Request::Link(link::Request::ProbePeer(probe)) => (other, probe.timeout),
            Request::Gossip(gossip::Request::Publish(_)) => (other, PUBLISH_TIME_MAX),
            Request::Control(_) | Request::Link(_) | Request::Gossip(_) => (other, Duration::ZERO),
        };
        Noted { kind, act: Act::of(request), timeout }
    }

    /// A node accepted a command in its `run`-th run.
    pub(crate) fn accepted(
        &mut self,
        now: Duration,
        node: NodeId,
        run: u32,
        id: CommandId,
        noted: Noted,
    ) {
        let Noted { mut kind, act, timeout } = noted;
        self.tally.accepted += 1;
        if let Some(act) = act {
            self.tally.published += u64::from(matches!(act, Act::Publish(..)));
            self.gossip.accepted(now, node, run, act);
        }
        if let Kind::SendDirect { recipient, key, index } = &mut kind {
            self.tally.sends += 1;
            if let Some(recipient) = recipient {
                let talk = self.conversations.entry((node, *recipient)).or_default();
                *index = talk.sent(*key, run, now);
            }
        }
        if let Kind::SetBlocked { agent, blocked } = kind {
            if !blocked {
                self.blocked.remove(&(node, agent));
            }
            if let Some(author) = self.agents.get(&agent) {
                self.gossip.block_changed(node, *author);
            }
        }
        let outstanding =
            Outstanding { node, kind, issued_at: now, timeout, slept: Duration::ZERO };
        self.due.insert((outstanding.late_after(), id));
        self.outstanding.insert(id, outstanding);
    }

    /// A node lost its memory: its commands get no reply and its links are gone.
    pub(crate) fn stopped(&mut self, node: NodeId) {
        let (tally, due) = (&mut self.tally, &mut self.due);
        self.outstanding.retain(|id, outstanding| {
            let stays = outstanding.node != node;
            if !stays {
                due.remove(&(outstanding.late_after(), *id));
            }
            if !stays && matches!(outstanding.kind, Kind::SendDirect { .. }) {
                tally.sends_forgotten += 1;
            }
            stays
        });
        self.links.retain(|(end, _)| *end != node);
        self.gossip.stopped(node);
    }

    /// The wall clock of a node goes back.
    pub(crate) fn clock_went_back(&mut self, node: NodeId) {
        self.gossip.clock_went_back(node);
    }

    /// The wall clock of a node is set from or to a time that others do not take.
    pub(crate) fn clock_is_wrong(&mut self, node: NodeId) {
        self.gossip.clock_is_wrong(node);
    }

    /// Tells whether a direct message was delivered, and its sender knows.
    pub(crate) fn was_delivered(&self, from: NodeId, to: NodeId, payload: &[u8]) -> bool {
        let talk = self.conversations.get(&(from, to));
        talk.is_some_and(|talk| talk.was_delivered(message_key(payload)))
    }

    /// Tells whether a subscriber heard a message of an author in its present run.
    pub(crate) fn has_heard(
        &self,
        node: NodeId,
        topic: &Topic,
        author: NodeId,
        payload: &[u8],
    ) -> bool {
        self.gossip.has_heard(node, topic, author, payload)
    }

    /// The host of a node sleeps: its replies are not due meanwhile.
    pub(crate) fn slept(&mut self, node: NodeId) {
        for (&id, outstanding) in self.outstanding.iter().filter(|(_, o)| o.node == node) {
            self.due.remove(&(outstanding.late_after(), id));
        }
    }

    /// The host of a node goes on after it slept for so long.
    pub(crate) fn woke(&mut self, node: NodeId, slept: Duration) {
        for (&id, outstanding) in self.outstanding.iter_mut().filter(|(_, o)| o.node == node) {
            outstanding.slept += slept;
            self.due.insert((outstanding.late_after(), id));
        }
    }

    /// A node told its application something. `disk_fails` if the world made its disk fail.
    pub(crate) fn event(&mut self, now: Duration, node: NodeId, event: &Event, disk_fails: bool) {
        let result = match event {
            Event::Reply { command, reply } => self.replied(now, node, *command, reply),
            Event::Link(link::Event::PeerUp { machine, .. }) => {
                self.tally.links_up += 1;
                self.peer(machine).and_then(|peer| {
                    let is_new = self.links.insert((node, *machine));
                    if is_new { Ok(()) } else { Err(format!("the link to {peer} came up twice")) }
                })
            }
            Event::Link(link::Event::PeerDown { machine, .. }) => {
                self.tally.links_down += 1;
                self.peer(machine).and_then(|peer| {
                    let was_up = self.links.remove(&(node, *machine));
                    if was_up { Ok(()) } else { Err(format!("no link to {peer} went down")) }
                })
            }
            Event::Link(link::Event::PathChanged { .. }) => {
                self.tally.paths_changed += 1;
                Ok(())
            }
            Event::Direct(direct::Event::Received {
                sender, machine, recipient, payload, ..
            }) => self.delivered(now, node, *sender, machine, *recipient, payload),
            Event::Gossip(gossip::Event::Received { topic, author, payload, .. }) => {
                self.tally.heard += 1;
                self.admitted(node, author).and_then(|()| {
                    self.author(node, *author).and_then(|author| match author {
                        Some(author) => self.gossip.received(node, topic, author, payload),
                        None => Ok(()),
                    })
                })
            }
            Event::Gossip(gossip::Event::Lagged { topic, author, missed }) => {
                self.tally.missed += missed;
                self.author(node, *author).and_then(|author| match author {
                    Some(author) => self.gossip.lagged(node, topic, author, *missed),
                    None => Ok(()),
                })
            }
            Event::Gossip(gossip::Event::Equivocated { author, .. }) => {
                self.author(node, *author).and_then(|author| match author {
                    Some(author) => Err(format!("{author} is said to contradict itself")),
                    None => Ok(()),
                })
            }
            Event::Halted(fatal) => {
                self.stopped(node);
                if disk_fails { Ok(()) } else { Err(format!("halted: {fatal}")) }
            }
        };
        if let Err(what) = result {
            self.fail(now, Some(node), what);
        }
    }

    /// Fails if a command should have been answered by now.
    pub(crate) fn overdue(&mut self, now: Duration) {
        let Some(&(late_after, id)) = self.due.first() else { return };
        if late_after < now
            && let Some(outstanding) = self.outstanding.get(&id)
        {
            let what = format!("no reply to command {}: {outstanding:?}", id.0);
            self.fail(now, Some(outstanding.node), what);
        }
    }

    /// Fails if a node says that a link is up and the other end says that it is not. It holds once
    /// the network has been calm for longer than a silent link lives.
    pub(crate) fn agreed(&mut self, now: Duration) {
        if let Some((node, peer)) = self.disagreement() {
            self.fail(now, Some(node), format!("the link to {peer} is up at this end only"));
        }
    }

    /// Returns a node that says that a link is up, and the other end if that says that it is not.
    pub(crate) fn disagreement(&self) -> Option<(NodeId, NodeId)> {
        let mut peers = self.links.iter().filter_map(|(node, machine)| {
            let peer = *self.machines.get(machine)?;
            (!self.hostile.contains(&peer)).then_some((*node, peer))
        });
        peers.find(|&(node, peer)| !self.is_linked(peer, node))
    }

    /// Fails if a node blocks the sender of something that it heard.
    fn admitted(&self, node: NodeId, sender: &AgentId) -> Result<(), String> {
        if self.blocked.contains(&(node, *sender)) {
            return Err(format!("a message of {sender:?}, which is blocked"));
        }
        Ok(())
    }

    /// Returns the author of something that a node was told; nothing if one of both is hostile.
    fn author(&self, node: NodeId, author: AgentId) -> Result<Option<NodeId>, String> {
        let author = *self.agents.get(&author).ok_or("an author that does not exist")?;
        let are_honest = !self.hostile.contains(&node) && !self.hostile.contains(&author);
        Ok(are_honest.then_some(author))
    }

    fn peer(&self, machine: &MachineId) -> Result<NodeId, String> {
        let peer = self.machines.get(machine).copied();
        peer.ok_or_else(|| format!("a peer that does not exist: {machine:?}"))
    }

    fn replied(
        &mut self,
        now: Duration,
        node: NodeId,
        id: CommandId,
        reply: &Reply,
    ) -> Result<(), String> {
        let found = self.outstanding.get(&id).filter(|outstanding| outstanding.node == node);
        let Some(&outstanding) = found else {
            return Err(format!("a second reply, or one to no command: {} {reply:?}", id.0));
        };
        let Outstanding { kind, issued_at, .. } = outstanding;
        self.outstanding.remove(&id);
        self.due.remove(&(outstanding.late_after(), id));
        self.tally.answered += 1;
        match (kind, reply) {
            (Kind::Other(_), Reply::Link(link::Reply::Connect(result))) => {
                self.tally.connects_failed += u64::from(result.is_err());
                Ok(())
            }
            (
                Kind::SetBlocked { agent, blocked },
                Reply::Control(control::Reply::SetBlocked(_)),
            ) => {
                if blocked && !self.is_unblocking(node, agent) {
                    self.blocked.insert((node, agent));
                }
                Ok(())
            }
            (
                Kind::SendDirect { recipient, index, .. },
                Reply::Direct(direct::Reply::SendDirect(result)),
            ) => {
                let error = result.as_ref().err().copied();
                let ends = recipient.map(|recipient| (node, recipient));
                self.send_ended(now.saturating_sub(issued_at), ends, index, error)
            }
            (Kind::Other(name), reply) if name == reply.name() => Ok(()),
            (kind, reply) => Err(format!("the reply to {kind:?} is {reply:?}")),
        }
    }

    /// Tells whether a node was asked to hear an agent again, and has not answered.
    fn is_unblocking(&self, node: NodeId, agent: AgentId) -> bool {
        let unblock = Kind::SetBlocked { agent, blocked: false };
        self.outstanding.values().any(|waiting| waiting.node == node && waiting.kind == unblock)
    }

    fn send_ended(
        &mut self,
        elapsed: Duration,
        ends: Option<(NodeId, NodeId)>,
        index: usize,
        error: Option<DirectError>,
    ) -> Result<(), String> {
        // What a hostile node acknowledges is between it and its sender.
        let is_hostile = ends.is_some_and(|(_, recipient)| self.hostile.contains(&recipient));
        let talk = ends.and_then(|ends| self.conversations.get_mut(&ends));
        let mut message = talk.and_then(|talk| talk.message(index));
        let delivered = message.as_ref().is_some_and(|message| message.delivered);
        match error {
            None => {
                if let Some(message) = &mut message {
                    message.acknowledged = true;
                }
                self.tally.sends_acknowledged += 1;
                self.tally.acknowledged_after.push(elapsed);
                let lied = !delivered && !is_hostile;
                if lied { Err("acknowledged, not delivered".into()) } else { Ok(()) }
            }
            Some(
                DirectError::Timeout { sent: true }
                | DirectError::ShutDown { sent: true }
                | DirectError::RecipientRestarted,
            ) => {
                self.tally.sends_uncertain += 1;
                Ok(())
            }
            Some(error) => {
                self.tally.sends_refused += 1;
                if let Some(message) = message {
                    message.refused = true;
                }
                if delivered { Err(format!("delivered, and ended: {error}")) } else { Ok(()) }
            }
        }
    }

    fn delivered(
        &mut self,
        now: Duration,
        node: NodeId,
        sender: AgentId,
        machine: &MachineId,
        recipient: AgentId,
        payload: &[u8],
    ) -> Result<(), String> {
        if self.agents.get(&recipient) != Some(&node) {
            return Err("a message for another node's agent".into());
        }
        let from = self.agents.get(&sender).copied().ok_or("a sender that does not exist")?;
        if self.machines.get(machine) != Some(&from) {
            return Err(format!("a message of {from} from another machine"));
        }
        self.tally.delivered += 1;
        self.admitted(node, &sender)?;
        if self.hostile.contains(&from) {
            return Ok(());
        }
        if from != node && !self.links.contains(&(node, *machine)) {
            return Err(format!("a message of {from} without a link to it"));
        }
        let talk = self.conversations.entry((from, node)).or_default();
        let message = talk
            .deliver(message_key(payload))
            .map_err(|what| format!("a message of {} bytes from {from} {what}", payload.len()))?;
        self.tally.delivered_after.push(now.saturating_sub(message.sent_at));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
