//! A script as steps of a world, and what is expected of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::direct;
use x0x_core::gossip::{self, Topic};
use x0x_core::link::{PROTOCOL_VERSION, PROTOCOL_VERSION_MAX};
use x0x_core::node::{
    self, Disconnect, Request, SendDirect, ShutDown, Subscribe, Target, Unsubscribe,
};
use x0x_core::support::Rng;

use super::act::{Act, Connect, Publish, Roam, Send};
use super::file::{Demand, Limit, Link, Script};
use super::mistake::Mistake;
use super::names::{Names, unknown};
use crate::checks::MARKER;
use crate::step::Expectation;
use crate::{NodeId, PartitionName, Report, Step, World, random};

/// The size of the smallest payload: the marker and a number.
const PAYLOAD_MIN: usize = MARKER.len() + 8;

/// What is done in a world, and what is expected of it.
#[derive(Debug)]
pub(super) struct Plan {
    /// The links that applications ask for whenever their node starts.
    pub(super) edges: Vec<(NodeId, NodeId)>,
    /// The steps with their times.
    pub(super) steps: Vec<(Duration, Step)>,
    /// What is expected, by time.
    pub(super) wanted: Vec<Wanted>,
}

/// What an entry of `expect` expects.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// When.
    pub(super) at: Duration,
    /// In the words of the script.
    pub(super) words: String,
    /// What must be true.
    pub(super) expectations: Vec<Expectation>,
}

/// A message of a step with a name.
#[derive(Clone, Debug)]
enum Said {
    /// To one.
    Sent { from: NodeId, to: NodeId, payload: Bytes },
    /// To a topic.
    Published { author: NodeId, topic: Topic, payload: Bytes },
}

impl Plan {
    /// Makes the plan of a script for its world.
    pub(super) fn new<M>(script: &Script, world: &World<M>) -> Result<Self, Mistake> {
        let names = Names::new(script)?;
        let rng = random::from_number(world.config().seed).fork("script");
        let mut planner = Planner {
            script,
            world,
            names: &names,
            rng,
            plan: Self { edges: Vec::new(), steps: Vec::new(), wanted: Vec::new() },
            partitions: BTreeMap::new(),
            said: BTreeMap::new(),
        };
        planner.all()?;
        Ok(planner.plan)
    }
}

struct Planner<'a, M> {
    script: &'a Script,
    world: &'a World<M>,
    names: &'a Names,
    rng: Rng,
    plan: Plan,
    partitions: BTreeMap<String, PartitionName>,
    said: BTreeMap<String, Vec<Said>>,
}

impl<M> Planner<'_, M> {
    fn all(&mut self) -> Result<(), Mistake> {
        let script = self.script;
        each("link", &script.link, |link| self.link(Duration::ZERO, link))?;
        each("node", &script.node, |node| self.check_wishes(node))?;
        for node in self.world.nodes() {
            let wished = self.wishes(Duration::ZERO, node);
            wished.map_err(|what| Mistake { list: "", index: 0, what })?;
        }
        // A partition has its name before it is healed, wherever that stands in the file.
        for step in &script.step {
            if let Act::Partition { name, .. } = &step.act {
                let number = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
                self.partitions.entry(name.clone()).or_insert(PartitionName(number));
            }
        }
        each("step", &script.step, |step| self.act(step.at, &step.act))?;
        each("expect", &script.expect, |expect| {
            self.check_time(expect.at)?;
            let (words, expectations) = self.demand(&expect.that)?;
            self.plan.wanted.push(Wanted { at: expect.at, words, expectations });
            Ok(())
        })?;
        self.plan.wanted.sort_by_key(|wanted| wanted.at);
        each("limit", &script.limit, check_limit)
    }

    /// Adds a step, if the world lasts so long.
    fn add(&mut self, at: Duration, step: Step) -> Result<(), String> {
        self.check_time(at)?;
        self.plan.steps.push((at, step));
        Ok(())
    }

    fn check_time(&self, at: Duration) -> Result<(), String> {
        let end = self.script.duration;
        if at <= end {
            return Ok(());
        }
        let (at, end) = (at.as_secs_f64(), end.as_secs_f64());
        Err(format!("{at} s is after the end of the world: make duration_s more than {end}"))
    }

    /// Checks what a node asks for when it starts, and notes its links.
    fn check_wishes(&mut self, node: &super::Node) -> Result<(), String> {
        for to in &node.connects {
            self.plan.edges.extend(self.names.pairs(&node.name, to)?);
        }
        node.subscribes.iter().try_for_each(|name| topic(name).map(|_| ()))
    }

    /// An application asks for what its node is to have whenever it starts.
    fn wishes(&mut self, at: Duration, node: NodeId) -> Result<(), String> {
        let mut edges = self.plan.edges.clone();
        edges.retain(|(from, _)| *from == node);
        for (from, to) in edges {
            self.connect(at, from, to, &Connect::default())?;
        }
        for kind in &self.script.node {
            let is_of_kind = self.names.nodes(&kind.name).is_ok_and(|all| all.contains(&node));
            for topic in kind.subscribes.iter().filter(|_| is_of_kind).flat_map(|name| topic(name))
            {
                self.add(at, command(node, Subscribe { topic }))?;
            }
        }
        Ok(())
    }

    fn connect(
        &mut self,
        at: Duration,
        from: NodeId,
        to: NodeId,
        how: &Connect,
    ) -> Result<(), String> {
        let machine = self.world.node_config(to).machine_key.id();
        let target = if self.names.is_outside(from, to) {
            Target::Address { address: self.world.address(to), machine: Some(machine) }
        } else {
            Target::Machine(machine)
        };
        let request = node::Connect { target, keep: how.keep, timeout: how.timeout };
        self.add(at, command(from, request))
    }

    fn link(&mut self, at: Duration, link: &Link) -> Result<(), String> {
        let profile = link.profile.unwrap_or(self.script.links);
        for (from, to) in self.names.pairs(&link.from, &link.to)? {
            self.add(at, Step::SetDirection { from, to, profile })?;
            if !link.one_way {
                self.add(at, Step::SetDirection { from: to, to: from, profile })?;
            }
        }
        Ok(())
    }

    fn act(&mut self, at: Duration, act: &Act) -> Result<(), String> {
        match act {
            Act::Connect(connect) => self.connect_all(at, connect),
            Act::Disconnect { from, to } => self.disconnect(at, from, to),
            Act::Send(send) => self.send(at, send),
            Act::Publish(publish) => self.publish(at, publish),
            Act::Subscribe { node, topic: name } => {
                let topic = topic(name)?;
                self.each(at, node, |node| command(node, Subscribe { topic: topic.clone() }))
            }
            Act::Unsubscribe { node, topic: name } => {
                let topic = topic(name)?;
                self.each(at, node, |node| command(node, Unsubscribe { topic: topic.clone() }))
            }
            Act::ShutDown(name) => self.each(at, name, |node| command(node, ShutDown)),
            Act::Crash(name) => self.each(at, name, |node| Step::Crash { node }),
            Act::Restart(name) => self.start(at, name, |node| Step::Restart { node }),
            &Act::Upgrade { ref node, oldest, newest } => {
                check_versions(oldest, newest)?;
                self.start(at, node, |node| Step::Upgrade { node, versions: oldest..=newest })
            }
            Act::Link(link) => self.link(at, link),
            &Act::Links(profile) => self.add(at, Step::SetEveryLink { profile }),
            Act::Disk { node, profile } => {
                let profile = profile.unwrap_or(self.script.disks);
                self.each(at, node, |node| Step::SetDisk { node, profile })
            }
            Act::Partition { name, groups } => self.split(at, name, groups),
            Act::Heal(name) => {
                let name = self.partition(name)?;
                self.add(at, Step::Heal { name })
            }
            Act::Block { from, to } => self.passage(at, from, to, false),
            Act::Unblock { from, to } => self.passage(at, from, to, true),
            Act::ResetNat(name) => {
                let nat = self.names.nat(name)?;
                self.add(at, Step::ResetNat { nat })
            }
            Act::Roam(roam) => self.roam(at, roam),
            &Act::Interface { ref node, socket, up } => {
                self.check_socket(node, socket)?;
                self.each(at, node, |node| Step::SetInterface { node, socket, is_up: up })
            }
            &Act::Sleep { ref node, stops_clock } => {
                self.each(at, node, |node| Step::Sleep { node, stops_clock })
            }
            Act::Wake(name) => self.each(at, name, |node| Step::Wake { node }),
            &Act::Clock { ref node, profile } => {
                self.each(at, node, |node| Step::SetClock { node, profile })
            }
        }
    }

    fn connect_all(&mut self, at: Duration, connect: &Connect) -> Result<(), String> {
        let mut pairs = self.names.pairs(&connect.from, &connect.to)?.into_iter();
        pairs.try_for_each(|(from, to)| self.connect(at, from, to, connect))
    }

    fn disconnect(&mut self, at: Duration, from: &str, to: &str) -> Result<(), String> {
        let mut pairs = self.names.pairs(from, to)?.into_iter();
        pairs.try_for_each(|(from, to)| {
            let machine = self.world.node_config(to).machine_key.id();
            self.add(at, command(from, Disconnect { machine }))
        })
    }

    fn split(&mut self, at: Duration, name: &str, groups: &[Vec<String>]) -> Result<(), String> {
        let groups = groups.iter().map(|group| self.names.all(group));
        let groups = groups.collect::<Result<_, _>>()?;
        let name = self.partition(name)?;
        self.add(at, Step::Partition { name, groups })
    }

    fn roam(&mut self, at: Duration, roam: &Roam) -> Result<(), String> {
        let &Roam { ref node, socket, ref network, told: announce } = roam;
        let nat = self.names.network(network)?;
        self.check_socket(node, socket)?;
        self.each(at, node, |node| Step::Roam { node, socket, nat, announce })
    }

    fn each(
        &mut self,
        at: Duration,
        name: &str,
        step: impl Fn(NodeId) -> Step,
    ) -> Result<(), String> {
        for &node in self.names.nodes(name)? {
            self.add(at, step(node))?;
        }
        Ok(())
    }

    /// Nodes start by a step, and their applications ask for what they want.
    fn start(
        &mut self,
        at: Duration,
        name: &str,
        step: impl Fn(NodeId) -> Step,
    ) -> Result<(), String> {
        for &node in self.names.nodes(name)? {
            self.add(at, step(node))?;
            self.wishes(at, node)?;
        }
        Ok(())
    }

    fn passage(&mut self, at: Duration, from: &str, to: &str, is_open: bool) -> Result<(), String> {
        for (from, to) in self.names.pairs(from, to)? {
            self.add(at, Step::SetPassage { from, to, is_open })?;
        }
        Ok(())
    }

    fn partition(&self, name: &str) -> Result<PartitionName, String> {
        let partition = self.partitions.get(name).copied();
        partition.ok_or_else(|| unknown("partition", name, self.partitions.keys()))
    }

    fn check_socket(&self, name: &str, socket: u32) -> Result<(), String> {
        for node in self.names.nodes(name)? {
            let sockets = self.names.places[node.index()].networks.len();
            if socket as usize >= sockets {
                return Err(format!(
                    "`{name}` has no socket {socket}; they count from 0: {sockets}"
                ));
            }
        }
        Ok(())
    }

    fn send(&mut self, at: Duration, send: &Send) -> Result<(), String> {
        check_size(send.size, direct::PAYLOAD_MAX)?;
        let pairs = self.names.pairs(&send.from, &send.to)?;
        for number in 0..send.count {
            let at = at.saturating_add(send.every.saturating_mul(number));
            for &(from, to) in &pairs {
                let payload = payload(&mut self.rng, send.size);
                let recipient = self.world.node_config(to).agent_key.id();
                let request =
                    SendDirect { recipient, payload: payload.clone(), timeout: send.timeout };
                self.add(at, command(from, request))?;
                self.note(&send.name, Said::Sent { from, to, payload });
            }
        }
        Ok(())
    }

    fn publish(&mut self, at: Duration, publish: &Publish) -> Result<(), String> {
        check_size(publish.size, gossip::PAYLOAD_MAX)?;
        let topic = topic(&publish.topic)?;
        for number in 0..publish.count {
            let at = at.saturating_add(publish.every.saturating_mul(number));
            for &author in self.names.nodes(&publish.from)? {
                let (topic, payload) = (topic.clone(), payload(&mut self.rng, publish.size));
                let request = node::Publish { topic: topic.clone(), payload: payload.clone() };
                self.add(at, command(author, request))?;
                self.note(&publish.name, Said::Published { author, topic, payload });
            }
        }
        Ok(())
    }

    fn note(&mut self, name: &str, said: Said) {
        if !name.is_empty() {
            self.said.entry(name.to_owned()).or_default().push(said);
        }
    }

    fn said(&self, name: &str) -> Result<&[Said], String> {
        let said = self.said.get(name).map(Vec::as_slice);
        said.ok_or_else(|| unknown("message", name, self.said.keys()))
    }

    /// Returns what is demanded, in words and in a way that a world can look up.
    fn demand(&self, demand: &Demand) -> Result<(String, Vec<Expectation>), String> {
        let not = |expectation| Expectation::Not(Box::new(expectation));
        Ok(match demand {
            Demand::Linked([a, b]) => {
                let pairs = self.names.pairs(a, b)?.into_iter();
                let linked = pairs.map(|(a, b)| Expectation::Linked { a, b });
                (format!("linked: {a}, {b}"), linked.collect())
            }
            Demand::Apart([a, b]) => {
                let pairs = self.names.pairs(a, b)?.into_iter();
                let apart = pairs.map(|(a, b)| not(Expectation::Linked { a, b }));
                (format!("apart: {a}, {b}"), apart.collect())
            }
            Demand::Delivered(name) => {
                let sent = self.said(name)?.iter().map(|said| match said.clone() {
                    Said::Sent { from, to, payload } => {
                        Ok(Expectation::Delivered { from, to, payload })
                    }
                    Said::Published { .. } => {
                        Err(format!("`{name}` is published: use that.heard or that.unheard"))
                    }
                });
                (format!("delivered: {name}"), sent.collect::<Result<_, _>>()?)
            }
            Demand::Heard { message, by } => {
                (format!("heard: {message}, by {}", by.join(", ")), self.heard(message, by)?)
            }
            Demand::Unheard { message, by } => {
                let unheard = self.heard(message, by)?.into_iter().map(not).collect();
                (format!("unheard: {message}, by {}", by.join(", ")), unheard)
            }
        })
    }

    /// Returns an expectation for each message and each of those who are to hear it.
    fn heard(&self, name: &str, by: &[String]) -> Result<Vec<Expectation>, String> {
        let by = self.names.all(by)?;
        let mut expectations = Vec::new();
        for said in self.said(name)? {
            let Said::Published { author, topic, payload } = said.clone() else {
                return Err(format!("`{name}` is sent to one: use that.delivered"));
            };
            expectations.extend(by.iter().map(|&node| Expectation::Heard {
                topic: topic.clone(),
                author,
                payload: payload.clone(),
                by: vec![node],
            }));
        }
        Ok(expectations)
    }
}

/// Does something with each entry of a list, and says in which a mistake is.
fn each<T>(
    list: &'static str,
    entries: &[T],
    mut act: impl FnMut(&T) -> Result<(), String>,
) -> Result<(), Mistake> {
    let mut entries = entries.iter().enumerate();
    entries.try_for_each(|(index, entry)| act(entry).map_err(|what| Mistake { list, index, what }))
}

fn check_limit(limit: &Limit) -> Result<(), String> {
    let known = Report::default().figures();
    if !known.iter().any(|(name, _)| *name == limit.figure) {
        let known: Vec<String> = known.iter().map(|(name, _)| (*name).to_owned()).collect();
        return Err(unknown("figure", &limit.figure, known.iter()));
    }
    if limit.min.is_none() && limit.max.is_none() {
        return Err("there is no limit: add max or min".to_owned());
    }
    Ok(())
}

fn command(node: NodeId, request: impl Into<Request>) -> Step {
    Step::Command { node, request: request.into() }
}

fn check_versions(oldest: u16, newest: u16) -> Result<(), String> {
    if PROTOCOL_VERSION <= oldest && oldest <= newest && newest <= PROTOCOL_VERSION_MAX {
        return Ok(());
    }
    let known = format!("{PROTOCOL_VERSION} to {PROTOCOL_VERSION_MAX}");
    Err(format!("{oldest} to {newest} are no versions within {known}"))
}

/// Returns the topic of a name. The name is secret on the wire.
fn topic(name: &str) -> Result<Topic, String> {
    let name = format!("{} {name}", String::from_utf8_lossy(&MARKER));
    Topic::new(&name).map_err(|error| error.to_string())
}

/// Returns a payload that no other has: the marker and anything.
fn payload(rng: &mut Rng, size: usize) -> Bytes {
    let mut payload = vec![0; size];
    rng.fill(&mut payload);
    payload[..MARKER.len()].copy_from_slice(&MARKER);
    payload.into()
}

fn check_size(size: usize, size_max: usize) -> Result<(), String> {
    if (PAYLOAD_MIN..=size_max).contains(&size) {
        return Ok(());
    }
    Err(format!("a message of {size} bytes is none of {PAYLOAD_MIN} to {size_max}"))
}
