//! How a history takes what happens.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use x0x_core::gossip::Topic;
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::node::{CommandId, Event, Reply, Request};

use super::meter::Meter;
use super::words::{self, Sort};
use super::{
    CHANGES_MAX, Change, Figures, HEARD_MAX, History, LINKS_MAX, LeftOut, Life, Link, MESSAGES_MAX,
    Message, Publication, Split, State,
};
use crate::checks::message_key;
use crate::{NetworkCounters, NodeId, Step};
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;
use x0x_core::node::control;

/// What is noted of a request before its node takes it.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// A direct message.
    Send {
        /// To whom; nobody if the recipient is not of this world.
        to: Option<NodeId>,
        /// A hash of its payload.
        key: u64,
        /// The bytes of its payload.
        size: usize,
    },
    /// A message of a topic.
    Publish {
        /// The topic.
        topic: Topic,
        /// A hash of its payload.
        key: u64,
        /// The bytes of its payload.
        size: usize,
    },
    /// The node is to end.
    ShutDown,
    /// Something else.
    Other,
}

impl History {
    /// Begins a history of nodes that run, each with its machine and its agent.
    pub(super) fn new(nodes: impl Iterator<Item = (MachineId, AgentId)>) -> Self {
        let mut history = Self {
            lives: Vec::new(),
            agents: BTreeMap::new(),
            machines: BTreeMap::new(),
            topics: BTreeMap::new(),
            messages: Vec::new(),
            open: BTreeMap::new(),
            under_way: BTreeMap::new(),
            publications: Vec::new(),
            published: BTreeMap::new(),
            heard: 0,
            links: Vec::new(),
            links_up: BTreeMap::new(),
            changes: Vec::new(),
            states: 0,
            splits: Vec::new(),
            meter: Meter::default(),
            left_out: LeftOut::default(),
        };
        for ((machine, agent), number) in nodes.zip(0..) {
            history.machines.insert(machine, NodeId(number));
            history.agents.insert(agent, NodeId(number));
            history.lives.push(Life {
                state: State::Running,
                awake: State::Running,
                states: vec![(Duration::ZERO, State::Running)],
                figures: Figures { starts: 1, ..Figures::default() },
            });
        }
        history
    }

    /// Looks at the counters before anything happens at a time.
    pub(crate) fn look(&mut self, now: Duration, counters: &NetworkCounters) {
        self.meter.look(now, counters);
    }

    /// A node sent a datagram.
    pub(crate) fn sent(&mut self, node: NodeId, bytes: usize) {
        let figures = &mut self.lives[node.index()].figures;
        figures.datagrams_out += 1;
        figures.bytes_out += bytes as u64;
    }

    /// A node got a datagram.
    pub(crate) fn arrived(&mut self, node: NodeId) {
        self.lives[node.index()].figures.datagrams_in += 1;
    }

    /// A node has another state.
    pub(crate) fn turn(&mut self, now: Duration, node: NodeId, state: State) {
        if state == State::Down {
            self.stopped(now, node);
        }
        let life = &mut self.lives[node.index()];
        life.figures.starts += u64::from(state == State::Running);
        self.set_state(now, node, state);
    }

    /// The host of a node goes on after it slept.
    pub(crate) fn woke(&mut self, now: Duration, node: NodeId) {
        let state = self.lives[node.index()].awake;
        self.set_state(now, node, state);
    }

    /// A step is done that changes something.
    pub(super) fn step(&mut self, now: Duration, step: &Step) {
        if let Step::Partition { name, .. } | Step::Heal { name } = step {
            // One of the same name takes its place.
            let open = |split: &&mut Split| split.name == *name && split.until.is_none();
            for split in self.splits.iter_mut().filter(open) {
                split.until = Some(now);
            }
        }
        if let Step::Partition { name, .. } = step
            && self.splits.len() < CHANGES_MAX
        {
            self.splits.push(Split { name: *name, from: now, until: None });
        }
        if let Some((sort, node, what)) = words::of(step, now) {
            self.change(now, node, sort, what);
        }
    }

    /// Notes what a request asks.
    pub(crate) fn note(&self, request: &Request) -> Asked {
        match request {
            Request::Direct(direct::Request::SendDirect(send)) => Asked::Send {
                to: self.agents.get(&send.recipient).copied(),
                key: message_key(&send.payload),
                size: send.payload.len(),
            },
            Request::Gossip(gossip::Request::Publish(publish)) => Asked::Publish {
                topic: publish.topic.clone(),
                key: message_key(&publish.payload),
                size: publish.payload.len(),
            },
            Request::Control(control::Request::ShutDown(_)) => Asked::ShutDown,
            Request::Link(link::Request::Connect(_))
            | Request::Link(link::Request::Disconnect(_))
            | Request::Gossip(gossip::Request::Subscribe(_))
            | Request::Gossip(gossip::Request::Unsubscribe(_))
            | Request::Gossip(gossip::Request::ProveMessage(_))
            | Request::Gossip(gossip::Request::ListTopics(_))
            | Request::Control(control::Request::SetBlocked(_))
            | Request::Link(link::Request::ChangeNetwork(_))
            | Request::Link(link::Request::ListPeers(_))
            | Request::Link(link::Request::ProbePeer(_))
            | Request::Control(control::Request::GetCounters(_)) => Asked::Other,
        }
    }

    /// A node accepted a command.
    pub(crate) fn accepted(&mut self, now: Duration, node: NodeId, id: CommandId, asked: Asked) {
        match asked {
            Asked::Send { to, key, size } => self.send(now, (node, to), id, key, size),
            Asked::Publish { topic, key, size } => {
                self.lives[node.index()].figures.published += 1;
                if self.publications.len() >= MESSAGES_MAX {
                    self.left_out.publications += 1;
                    return;
                }
                let topic = self.topic(topic);
                let number = self.publications.len();
                self.published.entry((node, topic, key)).or_default().push(number);
                let heard = BTreeMap::new();
                self.publications.push(Publication { author: node, topic, size, at: now, heard });
            }
            Asked::ShutDown => self.set_state(now, node, State::Leaving),
            Asked::Other => {}
        }
    }

    /// A node told its application something.
    pub(crate) fn event(&mut self, now: Duration, node: NodeId, event: &Event) {
        let figures = &mut self.lives[node.index()].figures;
        match event {
            Event::Reply { command, reply } => self.replied(now, node, *command, reply),
            Event::Link(link::Event::PeerUp { machine, .. }) => {
                figures.links_up += 1;
                self.link(now, node, machine);
            }
            Event::Link(link::Event::PeerDown { machine, reason }) => {
                if let Some(peer) = self.machines.get(machine) {
                    let link = self.links_up.remove(&(node, *peer));
                    self.end_link(now, link, &reason.to_string());
                }
            }
            Event::Direct(direct::Event::Received { sender, payload, .. }) => {
                figures.delivered += 1;
                let from = self.agents.get(sender).copied();
                let waiting = from
                    .and_then(|from| self.under_way.get_mut(&(from, node, message_key(payload))));
                if let Some(message) = waiting.and_then(VecDeque::pop_front) {
                    self.messages[message].delivered_at = Some(now);
                }
            }
            Event::Gossip(gossip::Event::Received { topic, author, payload, .. }) => {
                figures.heard += 1;
                self.hear(now, node, topic, author, message_key(payload));
            }
            Event::Gossip(gossip::Event::Lagged { missed, .. }) => figures.missed += missed,
            Event::Halted(fatal) => {
                self.change(now, Some(node), Sort::Life, format!("halts: {fatal}"));
                self.turn(now, node, State::Down);
            }
            Event::Link(link::Event::PathChanged { .. })
            | Event::Gossip(gossip::Event::Equivocated { .. }) => {}
        }
    }

    fn send(
        &mut self,
        now: Duration,
        (from, to): (NodeId, Option<NodeId>),
        id: CommandId,
        key: u64,
        size: usize,
    ) {
        self.lives[from.index()].figures.sent += 1;
        if self.messages.len() >= MESSAGES_MAX {
            self.left_out.messages += 1;
            return;
        }
        let Some(to) = to else { return };
        let number = self.messages.len();
        self.open.insert(id, number);
        self.under_way.entry((from, to, key)).or_default().push_back(number);
        let (sent_at, delivered_at, ended) = (now, None, None);
        self.messages.push(Message { from, to, size, sent_at, delivered_at, ended });
    }

    fn replied(&mut self, now: Duration, node: NodeId, id: CommandId, reply: &Reply) {
        if let Reply::Control(control::Reply::ShutDown(())) = reply {
            self.turn(now, node, State::Down);
        }
        let Reply::Direct(direct::Reply::SendDirect(result)) = reply else { return };
        self.lives[node.index()].figures.acknowledged += u64::from(result.is_ok());
        if let Some(message) = self.open.remove(&id) {
            let end = result.as_ref().map(|_| ()).map_err(ToString::to_string);
            self.messages[message].ended = Some((now, end));
        }
    }

    fn hear(&mut self, now: Duration, node: NodeId, topic: &Topic, author: &AgentId, key: u64) {
        let topic = self.topics.get(topic).copied();
        let Some((author, topic)) = self.agents.get(author).copied().zip(topic) else { return };
        let same = self.published.get(&(author, topic, key));
        // Who started again may hear again what it heard before.
        let is_new = |&&number: &&usize| !self.publications[number].heard.contains_key(&node);
        let Some(&number) = same.and_then(|same| same.iter().find(is_new)) else { return };
        if self.heard < HEARD_MAX {
            self.heard += 1;
            self.publications[number].heard.insert(node, now);
        } else {
            self.left_out.heard += 1;
        }
    }

    fn topic(&mut self, topic: Topic) -> usize {
        let next = self.topics.len();
        *self.topics.entry(topic).or_insert(next)
    }

    fn link(&mut self, now: Duration, node: NodeId, machine: &MachineId) {
        let Some(&peer) = self.machines.get(machine) else { return };
        if self.links.len() < LINKS_MAX {
            self.links_up.insert((node, peer), self.links.len());
            self.links.push(Link { node, peer, from: now, until: None });
        } else {
            self.left_out.links += 1;
        }
    }

    fn end_link(&mut self, now: Duration, link: Option<usize>, why: &str) {
        if let Some(link) = link {
            self.links[link].until = Some((now, why.to_owned()));
        }
    }

    /// A node lost its memory: its links and its commands are gone.
    fn stopped(&mut self, now: Duration, node: NodeId) {
        let all = (node, NodeId(0))..=(node, NodeId(u32::MAX));
        let links: Vec<_> = self.links_up.range(all).map(|(&ends, _)| ends).collect();
        for ends in links {
            let link = self.links_up.remove(&ends);
            self.end_link(now, link, "this node stopped");
        }
        let messages = &mut self.messages;
        self.open.retain(|_, &mut number| {
            let is_lost = messages[number].from == node;
            if is_lost {
                messages[number].ended = Some((now, Err("its sender stopped".to_owned())));
            }
            !is_lost
        });
    }

    fn set_state(&mut self, now: Duration, node: NodeId, state: State) {
        let life = &mut self.lives[node.index()];
        if state != State::Asleep {
            life.awake = state;
        }
        if life.state == state {
            return;
        }
        life.state = state;
        if self.states < CHANGES_MAX {
            self.states += 1;
            life.states.push((now, state));
        } else {
            self.left_out.changes += 1;
        }
    }

    fn change(&mut self, at: Duration, node: Option<NodeId>, sort: Sort, what: String) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(Change { at, node, sort, what });
        } else {
            self.left_out.changes += 1;
        }
    }
}
