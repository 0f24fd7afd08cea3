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
//! All that happens is an [`Act`], so a world that failed plays again from a file, and fewer acts can be
//! found that fail as well ([`ModelledRecording`]).

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use super::draw::{draw, pick};
use crate::model::experiment::Attack;
use crate::model::{GossipNode, ModelConfig, OverlayNode, Protocol, Span};
use crate::random::{self, between, chance, up_to};

mod act;
mod play;
mod recording;

pub use act::{Act, TimedAct};
pub use recording::ModelledRecording;

use act::Stage;
use play::Player;
use recording::PANIC;

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

/// What looks like an honest node's doing. The last is for gossip only.
const ABUSES: [Attack; 6] = [
    Attack::Beacons,
    Attack::NamedAddresses,
    Attack::InventedItems,
    Attack::Strangers,
    Attack::Reconciler,
    Attack::PuppetAuthors,
];

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
        let abuse = &mut random::from_number(seed).fork("modelled abuse");
        let abuses = &ABUSES[..if is_gossip { 6 } else { 5 }];
        let is_abused = nodes > 8 && chance(abuse, 0.5);
        let hostile = if is_abused { Some((pick(abuse, abuses), 0.08)) } else { hostile };
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

impl Report {
    fn of<P: Protocol + 'static>(stage: &Stage<P>) -> Self {
        let records = stage.world.records();
        Self {
            trace: stage.world.trace_hash(),
            virtual_time: stage.world.now(),
            published: records.len() as u64,
            heard: records.iter().map(|record| u64::from(record.received.count())).sum(),
            missed: stage.world.tally().lagged,
            crashes: stage.crashes,
            events: stage.world.tally().events,
        }
    }
}

/// Runs a world.
///
/// # Errors
///
/// If a rule was broken, or something panicked: the world, to play it again.
pub fn run(options: &Options) -> Result<Report, Box<ModelledRecording>> {
    if options.is_gossip {
        run_with::<GossipNode>(options)
    } else {
        run_with::<OverlayNode>(options)
    }
}

fn run_with<P: Protocol + 'static>(options: &Options) -> Result<Report, Box<ModelledRecording>> {
    let mut stage = Stage::<P>::new(options.config.clone(), options.is_gossip);
    let play = AssertUnwindSafe(|| Player::new(options, &mut stage).play());
    let played = std::panic::catch_unwind(play).unwrap_or_else(|_| Err(PANIC.to_owned()));
    played.map_err(|what| Box::new(ModelledRecording::of(&stage, options.is_gossip, Some(what))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_worlds_keep_the_rules_and_find_together_again() {
        for seed in 0..20 {
            let options = Options::draw(seed);
            if let Err(failed) = run(&options) {
                panic!("{options}: {:?}", failed.failure);
            }
        }
    }

    #[test]
    fn when_all_is_calm_whoever_is_there_is_introduced_to_another() {
        let recording = failed();
        let mut acts = recording.acts.clone();
        let place = acts.len() - 2;
        acts.insert(place, TimedAct { at: Duration::from_secs(20), act: Act::Calm });
        assert_eq!(ModelledRecording { acts, ..recording }.play().failure, None);
    }

    #[test]
    fn one_seed_gives_one_trace() {
        for is_gossip in [true, false] {
            let world = |seed| run(&Options { is_gossip, ..Options::draw(seed) });
            assert_eq!(world(5), world(5));
            assert_ne!(world(5), world(6));
        }
    }

    /// A world that cannot do what is demanded: of three nodes one knows nobody.
    fn failed() -> ModelledRecording {
        let config = ModelConfig::new(3, 3);
        let mut stage = Stage::<OverlayNode>::new(config, false);
        let ms = Duration::from_millis;
        let mut play = || {
            for (node, contacts) in [(0, vec![]), (1, vec![0]), (2, vec![])] {
                stage.act(Act::Start { node, contacts })?;
            }
            for number in 0..20 {
                stage.run_until(ms(5000 + 500 * number))?;
                stage.act(Act::LoseSessions { share: 0.5 })?;
            }
            stage.run_until(ms(60_000))?;
            stage.act(Act::Publish { node: 0, size: 100, name: 7 })?;
            stage.run_until(ms(70_000))?;
            stage.act(Act::ExpectReached { name: 7 })
        };
        let failure = play().expect_err("one node knows nobody");
        ModelledRecording::of(&stage, false, Some(failure))
    }

    #[test]
    fn a_world_that_failed_plays_again_from_a_file() {
        let recording = failed();
        let bytes = recording.to_bytes();
        let again = ModelledRecording::from_bytes(&bytes).unwrap();
        assert_eq!(again, recording);
        assert_eq!(again.play(), recording);
        assert!(ModelledRecording::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        let drawn = Options::draw(11).config;
        let form = postcard::to_stdvec(&drawn).unwrap();
        assert_eq!(postcard::from_bytes::<ModelConfig>(&form).unwrap(), drawn);
    }

    #[test]
    fn of_a_world_that_failed_only_what_is_needed_is_left() {
        let recording = failed();
        let small = recording.shrink(200, |_| {}).unwrap();
        let left: Vec<Act> = small.acts.iter().map(|timed| timed.act.clone()).collect();
        assert!(left.len() <= 4, "{left:?}");
        assert!(left.contains(&Act::ExpectReached { name: 7 }));
        assert_eq!(small.play(), small);
        let passes = ModelledRecording { failure: None, ..recording };
        assert!(passes.shrink(10, |_| {}).is_none());
    }
}
