//! Plays a scenario.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::figures::{Part, Run};
use super::file::{Fidelity, Scenario, Step};
use super::hostile;
use crate::model::protocol::{GossipNode, OverlayNode, Protocol};
use crate::model::world::World;
use crate::random;

/// The memory of the process before the first world.
static RESIDENT_BEFORE: OnceLock<u64> = OnceLock::new();

/// Plays a scenario once.
pub fn run(scenario: &Scenario, seed: u64, nodes: u32) -> Run {
    match scenario.fidelity {
        Fidelity::Overlay => Player::<OverlayNode>::new(scenario, seed, nodes).play(),
        Fidelity::Gossip => Player::<GossipNode>::new(scenario, seed, nodes).play(),
    }
}

/// A world and what was seen of it so far.
#[derive(Debug)]
pub(super) struct Player<'a, P> {
    pub(super) scenario: &'a Scenario,
    pub(super) world: World<P>,
    pub(super) parts: Vec<Part>,
    /// The memory of the process before the first world. What a world leaves behind the next one
    /// uses again, so with worlds of growing size this is what the nodes take.
    pub(super) resident_before: u64,
    /// How many nodes are replaced each second.
    churn: f64,
    churned_at: Duration,
    /// Nodes that are not there, for churn to start.
    absent: Vec<u32>,
}

impl<'a, P: Protocol + 'static> Player<'a, P> {
    fn new(scenario: &'a Scenario, seed: u64, nodes: u32) -> Self {
        let resident_before = *RESIDENT_BEFORE.get_or_init(resident);
        Self {
            scenario,
            world: World::new(scenario.config(seed, nodes)),
            parts: Vec::new(),
            resident_before,
            churn: 0.0,
            churned_at: Duration::ZERO,
            absent: Vec::new(),
        }
    }

    fn play(mut self) -> Run {
        let start = Instant::now();
        self.join();
        for step in &self.scenario.step {
            self.step(step);
        }
        Run {
            seed: self.world.config().seed,
            nodes: self.world.config().nodes,
            tally: self.world.tally().clone(),
            rules: self.world.rules().clone(),
            trace: self.world.trace_hash(),
            virtual_time: self.world.now(),
            real_time: start.elapsed(),
            parts: self.parts,
        }
    }

    /// Starts the nodes one after another.
    fn join(&mut self) {
        let join = &self.scenario.join;
        let count = self.world.config().nodes;
        for node in 0..count {
            let share = f64::from(node) / f64::from(count);
            self.world.run_until(seconds(join.over_s * share));
            let known = if node == 0 { 0 } else { join.contacts };
            let mut contacts: Vec<u32> = (0..known).map(|_| self.earlier(node)).collect();
            // Who knows only hostile nodes cannot be helped by any protocol.
            while !contacts.is_empty()
                && !contacts.iter().any(|c| self.world.present().contains(*c))
            {
                contacts[0] = self.earlier(node);
            }
            let is_hostile = node > 0 && random::chance(self.world.rng(), join.hostile);
            match join.attack.filter(|_| is_hostile) {
                None => self.world.start(node, &contacts),
                Some(attack) => {
                    let targets = (0..4).map(|_| self.earlier(node)).collect::<Vec<_>>();
                    let targets = targets.iter().map(|&node| self.world.id(node)).collect();
                    self.world.start_hostile(node, &contacts, |me, rng| {
                        hostile::attacker::<P>(attack, me, rng, targets)
                    });
                }
            }
        }
        self.world.run_for(seconds(join.settle_s));
        self.world.take_deliveries();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish { name, by, count, every_ms, size, drain_s } => {
                let every = Duration::from_millis(*every_ms);
                let part = self.publish(*by, *count, every, *size, seconds(*drain_s));
                self.parts.push(Part { name: name.clone(), ..part });
            }
            Step::Wait { s } => self.advance(seconds(*s)),
            Step::Idle { name, s } => {
                let part = self.idle(seconds(*s));
                self.parts.push(Part { name: name.clone(), ..part });
            }
            Step::Repair { name, s } => {
                let part = self.repair(seconds(*s));
                self.parts.push(Part { name: name.clone(), ..part });
            }
            Step::Crash { share } => {
                for node in self.some(*share) {
                    self.world.crash(node);
                    self.absent.push(node);
                }
            }
            Step::Divide { parts } => {
                let parts = u32::from(*parts).max(1);
                self.world.divide(|node| u8::try_from(node % parts).unwrap_or(0));
            }
            Step::Heal => self.world.heal(),
            Step::LoseSessions { share } => self.world.lose_sessions(*share),
            Step::Slow { share, bytes_per_s } => {
                for node in self.some(*share) {
                    self.world.set_bandwidth(node, Some(*bytes_per_s));
                }
            }
            Step::Churn { per_s } => {
                self.churn = *per_s;
                self.churned_at = self.world.now();
            }
        }
    }

    /// Lets time pass, with churn.
    pub(super) fn advance(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        if self.churn > 0.0 {
            let every = seconds(1.0 / self.churn);
            while self.churned_at + every <= until {
                self.churned_at += every;
                self.world.run_until(self.churned_at);
                self.replace();
            }
        }
        self.world.run_until(until);
    }

    /// One node crashes or says goodbye, and one starts.
    fn replace(&mut self) {
        let Some(gone) = self.any() else { return };
        if random::chance(self.world.rng(), 0.5) {
            self.world.crash(gone);
        } else {
            self.world.stop(gone);
        }
        self.absent.push(gone);
        let Some(contact) = self.any() else { return };
        let pick = random::index(self.world.rng(), self.absent.len());
        let node = self.absent.swap_remove(pick);
        self.world.start(node, &[contact]);
    }

    /// Picks an honest node of the topic.
    pub(super) fn any(&mut self) -> Option<u32> {
        let present: Vec<u32> = self.world.present().iter().collect();
        if present.is_empty() {
            return None;
        }
        let pick = random::index(self.world.rng(), present.len());
        Some(present[pick])
    }

    /// Picks this share of the honest nodes of the topic.
    fn some(&mut self, share: f64) -> Vec<u32> {
        let mut present: Vec<u32> = self.world.present().iter().collect();
        let wanted = (share.clamp(0.0, 1.0) * present.len() as f64).round();
        for place in 0..present.len() {
            let pick = place + random::index(self.world.rng(), present.len() - place);
            present.swap(place, pick);
        }
        let mut left = wanted;
        present.retain(|_| {
            left -= 1.0;
            left >= 0.0
        });
        present
    }

    /// Picks a node that started before this one.
    fn earlier(&mut self, node: u32) -> u32 {
        u32::try_from(self.world.rng().below(u64::from(node.max(1)))).expect("below a u32")
    }
}

/// Returns the memory that the process has made its own, without its program, in bytes; zero where
/// the system does not say.
pub(super) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map_while(|count| count.parse::<u64>().ok());
    match (pages.next(), pages.next()) {
        (Some(resident), Some(shared)) => resident.saturating_sub(shared) * 4096,
        _ => 0,
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
