//! Hostile nodes in a topic: whatever a tenth of them does, the honest ones reach one another, what
//! that costs is bounded, and who is to blame is named.

use std::time::Duration;

use x0x_core::support::{Counter, Rng};
use x0x_sim::model::attack::{Attacker, Filler, Flood, Puppet, Recorder, Twist, Twisted, TwoFaced};
use x0x_sim::model::{GossipNode, ModelConfig, PeerId, World};

const S: Duration = Duration::from_secs(1);

/// A world of gossip nodes of which some are hostile, and what came of its messages.
struct Arena {
    world: World<GossipNode>,
    hostile: Vec<u32>,
    /// What nodes had received and sent when the messages began.
    before: Vec<[u64; 2]>,
}

const NODES: u32 = 60;
const MESSAGES: u32 = 30;

impl Arena {
    /// Starts the nodes, one after another; every `nth` is what `make` makes, which gets the ids of
    /// the first honest nodes as its targets.
    fn new(
        seed: u64,
        nth: u32,
        make: impl Fn(PeerId, &Rng, Vec<PeerId>) -> Box<dyn Attacker>,
    ) -> Self {
        let mut world = World::new(ModelConfig::new(seed, NODES));
        let mut hostile = Vec::new();
        let targets: Vec<PeerId> = (0..4).map(|node| world.id(node)).collect();
        for node in 0..NODES {
            world.run_for(S / 10);
            let contacts = if node == 0 { vec![] } else { vec![node / 2, (node - 1) / 3] };
            if nth > 0 && node >= 4 && node % nth == 0 {
                hostile.push(node);
                world.start_hostile(node, &contacts, |me, rng| make(me, rng, targets.clone()));
            } else {
                world.start(node, &contacts);
            }
        }
        world.run_for(60 * S);
        let before = (0..NODES).map(|node| traffic(&world, node)).collect();
        Self { world, hostile, before }
    }

    /// A tenth of the nodes are twisted.
    fn twisted(seed: u64, twist: &Twist) -> Self {
        Self::new(seed, 10, |me, rng, targets| {
            let plan = Twisted { twist: twist.clone(), targets, patience: 5 * S };
            Box::new(Puppet::<GossipNode>::new(me, rng, plan))
        })
    }

    /// Honest nodes publish, one message each second.
    fn talk(mut self) -> Self {
        let honest: Vec<u32> = self.world.present().iter().collect();
        for message in 0..MESSAGES {
            let sender = honest[(message as usize * 7) % honest.len()];
            self.world.publish(sender, 256);
            self.world.run_for(S);
        }
        self.world.run_for(30 * S);
        self
    }

    /// Returns the share of honest deliveries that came.
    fn reached(&self) -> f64 {
        let (mut expected, mut has) = (0, 0);
        for record in self.world.records() {
            let (more_expected, more) = self.world.reached(record);
            expected += more_expected;
            has += more;
        }
        f64::from(has) / f64::from(expected)
    }

    /// Returns the bytes that an honest node received and sent for each message, in the mean. What it
    /// receives an attacker has paid for; what it sends because of that is what the attack costs others.
    fn bytes_per_message(&self) -> [f64; 2] {
        let honest: Vec<u32> = self.world.present().iter().collect();
        [0, 1].map(|way| {
            let since =
                |&node: &u32| traffic(&self.world, node)[way] - self.before[node as usize][way];
            let sum: u64 = honest.iter().map(since).sum();
            sum as f64 / honest.len() as f64 / f64::from(MESSAGES)
        })
    }

    fn count(&self, counter: Counter) -> u64 {
        self.world.present().iter().map(|node| self.world.counters(node).get(counter)).sum()
    }

    /// Asserts what holds whatever the attack is.
    fn assert_unharmed(&self, received_max: f64, sent_max: f64) {
        let tally = self.world.tally();
        let seen = format!("{:?} {tally:?}", self.world.rules());
        assert!(self.reached() >= 0.999, "{}: {seen}", self.reached());
        assert_eq!((tally.forgeries, tally.wrongly_accused), (0, 0), "{seen}");
        let [received, sent] = self.bytes_per_message();
        let bytes = format!("{received} and {sent} bytes for each message");
        assert!(received <= received_max && sent <= sent_max, "{bytes}: {seen}");
    }

    /// Asserts that of those who are hostile so many at least were cut off.
    fn assert_accused(&self, least: usize) {
        let accused = self.hostile.iter().filter(|&&node| self.world.accused(node) > 0).count();
        assert!(accused >= least, "{accused} were accused: {:?}", self.world.rules());
    }

    fn assert_all_accused(&self) {
        let free: Vec<_> = self.hostile.iter().filter(|&&n| self.world.accused(n) == 0).collect();
        assert!(free.is_empty(), "{free:?} were never accused: {:?}", self.world.rules());
    }
}

/// What a node received and sent, in bytes.
fn traffic(world: &World<GossipNode>, node: u32) -> [u64; 2] {
    let (received, sent) = world.traffic(node);
    [received.bytes(), sent.bytes()]
}

#[test]
fn honest_nodes_among_themselves_accuse_nobody() {
    let arena = Arena::new(1, 0, |_, _, _| unreachable!("nobody is hostile")).talk();
    arena.assert_unharmed(9_000.0, 8_000.0);
    assert!(arena.world.rules().is_empty(), "{:?}", arena.world.rules());
    assert_eq!(arena.world.tally().delivered_twice, 0);
}

#[test]
fn who_forges_batches_is_cut_off() {
    let arena = Arena::twisted(2, &Twist::Forge).talk();
    arena.assert_unharmed(12_000.0, 12_000.0);
    assert!(arena.count(Counter::GossipBatchesForged) > 0);
    arena.assert_accused(1);
}

#[test]
fn who_sends_junk_is_cut_off() {
    let arena = Arena::new(3, 10, |_, _, targets| {
        Box::new(Flood::new(Filler::Junk(2000), targets, S / 10))
    });
    let arena = arena.talk();
    arena.assert_unharmed(20_000.0, 12_000.0);
    arena.assert_all_accused();
}

#[test]
fn who_announces_and_does_not_give_delays_nobody_for_long() {
    let arena = Arena::twisted(4, &Twist::Mute).talk();
    arena.assert_unharmed(12_000.0, 12_000.0);
    let slowest = arena.world.records().iter().map(|record| record.duration()).max().unwrap();
    assert!(slowest < 10 * S, "{slowest:?}");
}

#[test]
fn who_announces_what_does_not_exist_is_cut_off() {
    let arena = Arena::twisted(12, &Twist::Invent).talk();
    arena.assert_unharmed(12_000.0, 12_000.0);
    arena.talk().assert_all_accused();
}

#[test]
fn who_takes_and_never_gives_loses_nothing_for_others() {
    Arena::twisted(5, &Twist::Swallow).talk().assert_unharmed(12_000.0, 12_000.0);
}

#[test]
fn topics_that_nobody_knows_cost_little() {
    Arena::twisted(6, &Twist::Topics(1000)).talk().assert_unharmed(20_000.0, 12_000.0);
}

#[test]
fn who_says_that_it_is_in_ever_more_topics_is_cut_off() {
    let arena =
        Arena::new(11, 10, |_, _, targets| Box::new(Flood::new(Filler::Topics, targets, S / 2)));
    let arena = arena.talk();
    arena.assert_unharmed(20_000.0, 12_000.0);
    arena.assert_all_accused();
}

#[test]
fn what_is_said_again_is_not_delivered_again() {
    let arena = Arena::twisted(7, &Twist::Repeat(10)).talk();
    arena.assert_unharmed(75_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
    let arena = Arena::new(8, 10, |_, _, targets| Box::new(Recorder::new(targets, S / 5))).talk();
    arena.assert_unharmed(75_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
}

#[test]
fn who_says_everything_a_hundred_times_is_cut_off() {
    let arena = Arena::twisted(7, &Twist::Repeat(100)).talk();
    arena.assert_unharmed(75_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
    arena.assert_accused(1);
}

#[test]
fn who_replays_what_it_heard_without_end_is_cut_off() {
    let arena = Arena::new(13, 10, |_, _, targets| Box::new(Recorder::new(targets, S / 50))).talk();
    arena.assert_unharmed(500_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
    arena.assert_all_accused();
}

#[test]
fn a_node_that_a_third_of_all_surround_hears_everything() {
    let arena = Arena::new(9, 3, |me, rng, targets| {
        let targets = vec![targets[3]];
        let plan = Twisted { twist: Twist::Mute, targets, patience: S };
        Box::new(Puppet::<GossipNode>::new(me, rng, plan))
    });
    let arena = arena.talk();
    let heard = arena.world.records().iter().filter(|record| record.received.contains(3)).count();
    assert_eq!(heard, arena.world.records().len());
    arena.assert_unharmed(20_000.0, 12_000.0);
}

#[test]
fn an_author_with_two_faces_is_found_out_by_all() {
    let arena =
        Arena::new(10, 30, |me, rng, _| Box::new(TwoFaced::<GossipNode>::new(me, rng, 70 * S)));
    let arena = arena.talk();
    assert!(arena.reached() >= 0.999, "{}", arena.reached());
    let tally = arena.world.tally();
    assert_eq!((tally.forgeries, tally.wrongly_accused), (0, 0), "{:?}", arena.world.rules());
    let honest = u64::from(arena.world.present().count());
    let authors = arena.hostile.len() as u64;
    assert_eq!(tally.equivocations, honest * authors, "{tally:?}");
}
