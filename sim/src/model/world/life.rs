//! Nodes that start, publish and stop, and what befalls the network.

use super::{
    Attacker, Duration, End, Event, Hand, Input, MAIN_TOPIC, Mind, Number, PeerId, Protocol, Rc,
    Record, Slot, TopicNumber, World, random,
};
use crate::model::bits::Bits;
use crate::model::protocol::Env;

impl<P: Protocol> World<P> {
    /// Starts a node that joins the main topic and dials the nodes that it knows.
    pub fn start(&mut self, node: u32, contacts: &[u32]) {
        self.start_outside(node, contacts);
        self.join(node, MAIN_TOPIC);
    }

    /// Starts a node that is in no topic.
    pub fn start_outside(&mut self, node: u32, contacts: &[u32]) {
        let rng = self.rng_of(node);
        let slot = &mut self.nodes[node as usize];
        slot.mind = Mind::Honest(P::start(slot.id, &rng));
        slot.contacts = contacts.to_vec();
        slot.blocked = Bits::default();
        for other in &mut self.nodes {
            other.blocked.remove(node);
        }
        for &contact in contacts {
            self.dial(node, contact, true);
        }
    }

    /// Has a node block the agent of another, or no longer. Whoever starts again has a new agent, that
    /// nobody blocks.
    pub fn set_blocked(&mut self, node: u32, author: u32, blocked: bool) {
        let agent = self.protocol(author).and_then(P::agent);
        let Some(agent) = agent else { return };
        let set = &mut self.nodes[node as usize].blocked;
        if blocked {
            set.insert(author);
        } else {
            set.remove(author);
        }
        self.tell(node, [Input::SetBlocked { author: agent, blocked }]);
    }

    /// Has a node join a topic.
    pub fn join(&mut self, node: u32, topic: TopicNumber) {
        if topic == MAIN_TOPIC && matches!(self.nodes[node as usize].mind, Mind::Honest(_)) {
            Rc::make_mut(&mut self.present).insert(node);
            self.nodes[node as usize].joined_at = self.now();
        }
        self.tell(node, [Input::Join { topic }]);
    }

    /// Tells a node of another, as its owner would: it dials it, now and whenever it is lonely. A dial
    /// that is under way begins anew, since the network may have become whole in the middle of it.
    pub fn introduce(&mut self, node: u32, contact: u32) {
        self.nodes[node as usize].contacts.push(contact);
        self.give_up_dial(node, self.nodes[contact as usize].id);
        self.dial(node, contact, true);
    }

    /// Has a node leave the main topic. It stays in the network.
    pub fn leave(&mut self, node: u32) {
        Rc::make_mut(&mut self.present).remove(node);
        self.tell(node, [Input::Leave { topic: MAIN_TOPIC }]);
    }

    /// Starts a node that follows no rules. If it speaks the protocol, it joins the main topic.
    pub fn start_hostile(
        &mut self,
        node: u32,
        contacts: &[u32],
        make: impl FnOnce(PeerId, &super::Rng) -> Box<dyn Attacker>,
    ) {
        let mut rng = self.rng_of(node).fork("attacker");
        let mut attacker = make(self.nodes[node as usize].id, &rng);
        self.hostile.insert(node);
        let mut effects = Vec::new();
        let mut env = Env { time: self.time(node), library: &self.library };
        let mut hand = Hand { env: &mut env, rng: &mut rng, effects: &mut effects };
        attacker.on_start(&mut hand);
        self.nodes[node as usize].mind = Mind::Hostile(attacker, rng);
        for &contact in contacts {
            self.dial(node, contact, true);
        }
        self.apply(node, &mut effects);
        self.tell(node, [Input::Join { topic: MAIN_TOPIC }]);
    }

    /// Stops a node without a word. Its peers learn of it when their idle timeouts pass.
    pub fn crash(&mut self, node: u32) {
        let slot = &mut self.nodes[node as usize];
        slot.mind = Mind::Absent;
        slot.timer_at = u64::MAX;
        Rc::make_mut(&mut self.present).remove(node);
        for (_, end) in std::mem::take(&mut slot.peers) {
            let Some(session) = self.sessions.get_mut(end) else { continue };
            session.up[end.index()] = false;
            if session.up[end.other().index()] {
                session.is_cut = true;
                self.doom(end.other());
            } else {
                self.sessions.remove(end);
            }
        }
    }

    /// Stops a node that says goodbye: its peers learn of it at once.
    pub fn stop(&mut self, node: u32) {
        self.leave(node);
        let ends: Vec<End> = self.nodes[node as usize].peers.iter().map(|&(_, end)| end).collect();
        for end in &ends {
            let Some(session) = self.sessions.get(*end).filter(|session| !session.is_cut) else {
                continue;
            };
            self.queue.push(self.now + session.latency, Event::Down(end.other()));
        }
        self.crash(node);
    }

    /// Has a node publish an item of this size in the main topic.
    pub fn publish(&mut self, node: u32, size: usize) -> Number {
        let time = u64::try_from(self.time(node).unix_time.as_millis()).unwrap_or(u64::MAX);
        let number = self.library.make(node, MAIN_TOPIC, time, size);
        let at = self.now();
        let mut received = Bits::default();
        received.insert(node);
        self.records.push(Record {
            origin: node,
            at,
            size: self.library.bytes(number).len(),
            audience: Rc::clone(&self.present),
            received,
            hops_max: 0,
            last_at: at,
            payload_frames: 0,
            repairs: 0,
        });
        self.tell(node, [Input::Publish { number }]);
        number
    }

    /// Divides the network: nodes reach only those of the same part.
    pub fn divide(&mut self, part: impl Fn(u32) -> u8) {
        for (index, node) in (0_u32..).zip(&mut self.nodes) {
            node.part = part(index);
        }
        for end in self.sessions.ends() {
            let Some(session) = self.sessions.get_mut(end) else { continue };
            let [a, b] = session.nodes.map(|node| self.nodes[node as usize].part);
            if a != b && !session.is_dialling() && !session.is_cut {
                session.is_cut = true;
                self.doom(end);
                self.doom(end.other());
            }
        }
    }

    /// Makes the network whole. Sessions that are not over yet go on, with what they held.
    pub fn heal(&mut self) {
        for node in &mut self.nodes {
            node.part = 0;
        }
        for end in self.sessions.ends() {
            let Some(session) = self.sessions.get_mut(end) else { continue };
            // Of a session with a crashed node, or one that one side gave up, nothing comes.
            if !session.is_cut || session.up != [true; 2] {
                continue;
            }
            session.is_cut = false;
            for lane in session.lanes.iter_mut().filter(|lane| !lane.held.is_empty()) {
                // What was on its way when the network fell apart was sent before what waited here.
                lane.held.sort_by_key(|burst| burst.number);
                lane.free_at = lane.free_at.max(self.now + session.latency);
                for burst in lane.held.drain(..) {
                    let slot: Slot = self.bursts.insert(burst);
                    self.queue.push(lane.free_at + session.latency, Event::Burst(slot));
                }
            }
        }
    }

    /// Ends a share of all sessions, at both ends within the latency.
    pub fn lose_sessions(&mut self, share: f64) {
        for end in self.sessions.ends() {
            let is_lost = random::chance(&mut self.rng, share);
            let Some(session) = self.sessions.get(end).filter(|s| !s.is_dialling()) else {
                continue;
            };
            if is_lost {
                self.queue.push(self.now, Event::Down(end));
                self.queue.push(self.now + session.latency, Event::Down(end.other()));
            }
        }
    }

    /// Makes all sessions of a node slow, or as fast as others.
    pub fn set_bandwidth(&mut self, node: u32, bandwidth: Option<u64>) {
        self.nodes[node as usize].bandwidth = bandwidth;
    }

    /// Has an end learn within the idle timeout that nothing comes any more.
    fn doom(&mut self, end: End) {
        let idle = self.config.idle_timeout;
        let after: Duration = random::between(&mut self.rng, idle.min, idle.max);
        self.queue.push(self.now + random::nanos(after), Event::Doomed(end));
    }

    /// The idle timeout of an end has passed, if the network did not heal before.
    pub(super) fn doomed(&mut self, end: End) {
        if self.sessions.get(end).is_some_and(|session| session.is_cut) {
            self.down(end);
        }
    }

    fn rng_of(&mut self, node: u32) -> super::Rng {
        let slot = &mut self.nodes[node as usize];
        slot.life += 1;
        let hash = u64::from(node) << 32 | u64::from(slot.life);
        random::from_number(super::mix(self.config.seed ^ super::mix(hash)))
    }
}
