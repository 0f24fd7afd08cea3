//! Worlds over modelled links in which everything is drawn: who joins how, who publishes how much, who
//! crashes, leaves, comes back, what befalls the network, and who is hostile.
//!
//! **Safety**, after every act: nothing is delivered that no honest node published, nothing twice in
//! one stay of a node, no honest node accuses another or finds it contradicting itself, and no frame
//! is sent beyond the room of its session.
//!
//! **Liveness**: the network is made whole, every node is introduced to one that is there, and after a
//! while what is published reaches everybody who was there all the time. Where the overlay runs alone,
//! so does what was published before and somebody still has.
//!
//! There is no step file: the seed is the whole world.

use std::fmt;
use std::time::Duration;

use x0x_core::support::Rng;

use super::draw::{draw, pick};
use crate::model::experiment::{Attack, attacker};
use crate::model::{GossipNode, ModelConfig, Number, OverlayNode, Protocol, Record, Span, World};
use crate::random::{self, between, chance, up_to};

/// How long the network may take to find itself again.
const SETTLE: Duration = Duration::from_secs(120);

/// How long a message may take after that.
const DRAIN: Duration = Duration::from_secs(60);

/// How many messages are published at the end.
const PUBLISHED: u32 = 5;

/// The numbers of one world.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The links and the clocks.
    pub config: ModelConfig,
    /// Whether messages are signed; if not, the overlay runs alone.
    pub is_gossip: bool,
    /// Over how long nodes join.
    pub join_over: Duration,
    /// How many nodes each knows when it joins, at most.
    pub contacts: u32,
    /// What hostile nodes do, and the share of them.
    pub hostile: Option<(Attack, f64)>,
    /// How long it runs.
    pub duration: Duration,
    /// How many times something happens meanwhile.
    pub acts: u32,
    /// How likely each act is to be a message.
    pub talk: f64,
    /// The size of the largest message.
    pub size_max: u32,
}

impl Options {
    /// Draws the numbers.
    pub fn draw(seed: u64) -> Self {
        let mut rng = random::from_number(seed).fork("modelled options");
        let rng = &mut rng;
        let ms = Duration::from_millis;
        let is_gossip = chance(rng, 0.5);
        let nodes = 2 + draw(rng, if is_gossip { 24 } else { 60 });
        let latency_min = rng.below(80);
        let attacks = [
            Attack::Forge,
            Attack::Mute,
            Attack::Swallow,
            Attack::Topics,
            Attack::Repeat,
            Attack::Junk,
            Attack::Replay,
        ];
        let hostile = (nodes > 8 && chance(rng, 0.3)).then(|| (pick(rng, &attacks), 0.12));
        Self {
            config: ModelConfig {
                latency: Span::from_millis(latency_min, latency_min + rng.below(200)),
                bandwidth: pick(rng, &[None, None, Some(1_000_000), Some(100_000)]),
                dial_timeout: between(rng, ms(1000), ms(10_000)),
                clock_offset_max: pick(rng, &[0, 0, 1000, 20_000].map(ms)),
                ..ModelConfig::new(seed, nodes)
            },
            is_gossip,
            join_over: up_to(rng, ms(20_000)),
            contacts: 1 + draw(rng, 3),
            hostile,
            duration: between(rng, ms(30_000), ms(240_000)),
            acts: 10 + draw(rng, 150),
            talk: pick(rng, &[0.2, 0.5, 0.8]),
            size_max: pick(rng, &[100, 1000, 20_000]),
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {}: {self:?}", self.config.seed)
    }
}

/// What came of a world that kept all rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The hash over everything that moved.
    pub trace: u64,
    /// How long it ran.
    pub virtual_time: Duration,
    /// Messages that were published.
    pub published: u64,
    /// Messages that nodes have.
    pub heard: u64,
    /// Messages that nodes were told to have missed.
    pub missed: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Events.
    pub events: u64,
}

/// Runs a world.
///
/// # Errors
///
/// If a rule was broken: when, and which.
pub fn run(options: &Options) -> Result<Report, String> {
    if options.is_gossip {
        Player::<GossipNode>::new(options).play()
    } else {
        Player::<OverlayNode>::new(options).play()
    }
}

struct Player<'a, P> {
    options: &'a Options,
    world: World<P>,
    rng: Rng,
    absent: Vec<u32>,
    crashes: u64,
}

impl<'a, P: Protocol + 'static> Player<'a, P> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            world: World::new(options.config.clone()),
            rng: random::from_number(options.config.seed).fork("modelled acts"),
            absent: Vec::new(),
            crashes: 0,
        }
    }

    fn play(mut self) -> Result<Report, String> {
        self.join();
        self.check()?;
        let end = self.world.now() + self.options.duration;
        let acts = self.options.acts;
        let mut times: Vec<Duration> =
            (0..acts).map(|_| between(&mut self.rng, self.world.now(), end)).collect();
        times.sort_unstable();
        for at in times {
            self.world.run_until(at);
            self.act();
            self.check()?;
        }
        self.world.run_until(end);
        self.check()?;
        self.live()?;
        let records = self.world.records();
        Ok(Report {
            trace: self.world.trace_hash(),
            virtual_time: self.world.now(),
            published: records.len() as u64,
            heard: records.iter().map(|record| u64::from(record.received.count())).sum(),
            missed: self.world.tally().lagged,
            crashes: self.crashes,
            events: self.world.tally().events,
        })
    }

    /// Starts all nodes, one after another; the first two are honest.
    fn join(&mut self) {
        let nodes = self.options.config.nodes;
        for node in 0..nodes {
            self.world.run_until(self.options.join_over * node / nodes);
            let count = 1 + draw(&mut self.rng, self.options.contacts);
            let contacts: Vec<u32> = (0..count).filter_map(|_| self.any()).collect();
            match self.options.hostile {
                Some((attack, share)) if node > 1 && chance(&mut self.rng, share) => {
                    let targets = (0..4).filter_map(|_| self.any()).collect::<Vec<_>>();
                    let targets = targets.into_iter().map(|node| self.world.id(node)).collect();
                    self.world.start_hostile(node, &contacts, |me, rng| {
                        attacker::<P>(attack, me, rng, targets)
                    });
                }
                Some(_) | None => self.world.start(node, &contacts),
            }
        }
    }

    /// Does one thing.
    fn act(&mut self) {
        if chance(&mut self.rng, self.options.talk) {
            if let Some(node) = self.any() {
                self.publish(node);
            }
            return;
        }
        match self.rng.below(10) {
            0 | 1 => self.stop(false),
            2 => self.stop(true),
            3..=5 => self.start(),
            6 => {
                let parts = 2 + self.rng.below(2);
                let seed = self.rng.next_u64();
                self.world.divide(|node| {
                    let mut rng = random::from_number(seed ^ u64::from(node));
                    u8::try_from(rng.below(parts)).unwrap_or(0)
                });
            }
            7 => self.world.heal(),
            8 => {
                let share = pick(&mut self.rng, &[0.1, 0.3, 1.0]);
                self.world.lose_sessions(share);
            }
            _ => {
                let bandwidth = pick(&mut self.rng, &[None, Some(100_000), Some(200_000)]);
                if let Some(node) = self.any() {
                    self.world.set_bandwidth(node, bandwidth);
                }
            }
        }
    }

    fn publish(&mut self, node: u32) -> Number {
        let size = 40 + draw(&mut self.rng, self.options.size_max);
        self.world.publish(node, size as usize)
    }

    /// A node goes, with or without a word; two stay.
    fn stop(&mut self, says_goodbye: bool) {
        let Some(node) = self.any().filter(|_| self.world.present().count() > 2) else { return };
        if says_goodbye {
            self.world.stop(node);
        } else {
            self.world.crash(node);
            self.crashes += 1;
        }
        self.absent.push(node);
    }

    /// A node that is not there comes back.
    fn start(&mut self) {
        if self.absent.is_empty() {
            return;
        }
        let pick = random::index(&mut self.rng, self.absent.len());
        let node = self.absent.swap_remove(pick);
        let contacts: Vec<u32> = self.any().into_iter().collect();
        self.world.start(node, &contacts);
    }

    fn any(&mut self) -> Option<u32> {
        let present: Vec<u32> = self.world.present().iter().collect();
        (!present.is_empty()).then(|| pick(&mut self.rng, &present))
    }

    /// Makes the network whole, and demands that messages reach everybody.
    fn live(&mut self) -> Result<(), String> {
        self.world.heal();
        let present: Vec<u32> = self.world.present().iter().collect();
        for pair in present.windows(2) {
            self.world.introduce(pair[1], pair[0]);
        }
        for &node in &present {
            self.world.set_bandwidth(node, None);
        }
        self.world.run_for(SETTLE);
        let mut numbers = Vec::new();
        for _ in 0..PUBLISHED {
            let author = pick(&mut self.rng, &present);
            numbers.push(self.publish(author));
            self.world.run_for(Duration::from_secs(1));
        }
        self.world.run_for(DRAIN);
        self.check()?;
        for number in numbers {
            self.check_reached(self.world.record(number))?;
        }
        // Gossip gives up a gap after seconds, but the overlay repairs whatever somebody still has.
        let is_kept =
            |record: &&Record| !self.options.is_gossip && self.world.reached(record).1 > 0;
        self.world
            .records()
            .iter()
            .filter(is_kept)
            .try_for_each(|record| self.check_reached(record))
    }

    /// Checks that all have a message who were there all the time.
    fn check_reached(&self, record: &Record) -> Result<(), String> {
        let (expected, has) = self.world.reached(record);
        if has == expected {
            return Ok(());
        }
        let deaf = record
            .audience
            .iter()
            .find(|&node| self.world.is_expected(node, record) && !record.received.contains(node));
        let (origin, deaf) = (record.origin, deaf.unwrap_or_default());
        Err(format!("a message of n{origin} reached {has} of {expected} nodes, not n{deaf}"))
    }

    /// Checks the rules of safety.
    fn check(&self) -> Result<(), String> {
        let tally = self.world.tally();
        // The overlay alone asks its owner what is genuine: there they are not delivered, but refused.
        let forgeries = if self.options.is_gossip { tally.forgeries } else { 0 };
        let broken = [
            ("forgeries were delivered", forgeries),
            ("messages were delivered twice", tally.delivered_twice),
            ("honest nodes were accused", tally.wrongly_accused),
            ("honest authors are said to contradict themselves", tally.equivocations),
            ("frames were sent without room", tally.frames_over_room),
        ];
        match broken.into_iter().find(|&(_, count)| count > 0) {
            None => Ok(()),
            Some((what, count)) => {
                let at = self.world.now().as_secs_f64();
                Err(format!("at {at:.6} s: {count} {what}: {:?}", self.world.rules()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_worlds_keep_the_rules_and_find_together_again() {
        for seed in 0..20 {
            let options = Options::draw(seed);
            if let Err(what) = run(&options) {
                panic!("{options}: {what}");
            }
        }
    }

    #[test]
    fn one_seed_gives_one_trace() {
        for is_gossip in [true, false] {
            let world = |seed| run(&Options { is_gossip, ..Options::draw(seed) });
            assert_eq!(world(5), world(5));
            assert_ne!(world(5), world(6));
        }
    }
}
