//! Small worlds of overlays, or of gossip with real signatures, over modelled links.

use std::time::Duration;

use x0x_core::support::Rng;
use x0x_sim::model::attack::{Puppet, Twist, Twisted};
use x0x_sim::model::{
    GossipNode, MAIN_TOPIC, ModelConfig, Number, OverlayNode, Protocol, Span, World,
};

use crate::input::Input;

/// The nodes that follow the rules. There may be one more.
const HONEST: u32 = 4;

/// The one that does not.
const HOSTILE: u32 = HONEST;

/// How long it takes to start a node.
const START_TIME: Duration = Duration::from_millis(1);

/// How long the network may take to find itself again, and how long a message takes after that.
const SETTLE: Duration = Duration::from_secs(120);
const DRAIN: Duration = Duration::from_secs(30);

/// How long what was published is kept at the least.
const KEPT: Duration = Duration::from_secs(600);

/// Nodes that start, publish, stop, join, leave, and what befalls the network, in any sequence.
/// Nothing is delivered twice, no honest node is accused, no frame goes where there is no room; in
/// a part of the worlds a message reaches everybody in the end, and so does what was published before
/// and somebody has.
pub fn overlay_world(data: &[u8]) {
    Player::<OverlayNode>::play(data, false);
}

/// As [`overlay_world`], but for what was published before. Nothing forged is delivered, and nobody is
/// said to contradict itself.
pub fn gossip_world(data: &[u8]) {
    Player::<GossipNode>::play(data, true);
}

pub(crate) struct Player<P> {
    pub(crate) world: World<P>,
    /// Which nodes run.
    runs: [bool; HONEST as usize],
    is_gossip: bool,
    has_hostile: bool,
}

impl<P: Protocol + 'static> Player<P> {
    /// Returns the world as it is in the end.
    pub(crate) fn play(data: &[u8], is_gossip: bool) -> Self {
        let mut input = Input::new(data);
        let (choice, latency) = (input.byte(), input.byte());
        let world = World::new(config(choice, latency));
        let mut player =
            Self { world, runs: [false; HONEST as usize], is_gossip, has_hostile: false };
        while !input.is_empty() {
            player.step(&mut input);
            player.check();
        }
        // It takes the time of many others.
        if latency.is_multiple_of(8) && !player.has_hostile {
            player.live();
        }
        player
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (kind, number) = (input.byte(), input.byte());
        let node = u32::from(number) % HONEST;
        let is_present = self.world.present().contains(node);
        let runs = self.runs[node as usize];
        match kind % 16 {
            0..=3 if is_present => {
                self.world.publish(node, 40 + usize::from(input.byte()).pow(2) / 4);
            }
            4..=6 if !runs => {
                // It takes some time, so that what was published before is told from what is later.
                self.world.run_for(START_TIME);
                self.runs[node as usize] = true;
                self.world.start(node, &[(node + 1) % HONEST, u32::from(number >> 2) % HONEST]);
            }
            7 if runs => {
                self.runs[node as usize] = false;
                if number & 128 == 0 { self.world.crash(node) } else { self.world.stop(node) }
            }
            8 if is_present => self.world.leave(node),
            8 if runs => {
                self.world.run_for(START_TIME);
                self.world.join(node, MAIN_TOPIC);
            }
            9 => self.world.divide(|node| number >> node & 1),
            10 => self.world.heal(),
            11 => self.world.lose_sessions(f64::from(number) / 255.0),
            12 => {
                let bandwidth = (number & 128 == 0).then_some(u64::from(number) * 1000 + 10_000);
                self.world.set_bandwidth(node, bandwidth);
            }
            13 if !self.has_hostile && number & 64 == 64 => self.start_hostile(number),
            _ => self.world.run_for(Duration::from_millis(u64::from(number).pow(2))),
        }
    }

    fn start_hostile(&mut self, number: u8) {
        self.has_hostile = true;
        let twist = match number % 6 {
            0 => Twist::Forge,
            1 => Twist::Mute,
            2 => Twist::Swallow,
            3 => Twist::Invent,
            4 => Twist::Topics(20),
            _ => Twist::Repeat(10),
        };
        let targets = vec![self.world.id(0), self.world.id(1)];
        self.world.start_hostile(HOSTILE, &[2], |me, rng: &Rng| {
            let plan = Twisted { twist, targets, patience: Duration::from_secs(5) };
            Box::new(Puppet::<P>::new(me, rng, plan))
        });
    }

    fn check(&self) {
        let tally = self.world.tally();
        // The overlay alone asks its owner what is genuine.
        assert!(!self.is_gossip || tally.forgeries == 0, "a forgery was delivered");
        assert_eq!(tally.delivered_twice, 0, "a message was delivered twice");
        assert_eq!(
            tally.wrongly_accused,
            0,
            "an honest node was accused: {:?}",
            self.world.rules()
        );
        assert_eq!(tally.equivocations, 0, "an honest author is said to contradict itself");
        assert_eq!(tally.frames_over_room, 0, "a frame was sent without room");
    }

    /// Makes the network whole, and demands that a message reaches everybody.
    fn live(&mut self) {
        self.world.heal();
        for node in 0..HONEST {
            self.world.set_bandwidth(node, None);
        }
        let present: Vec<u32> = self.world.present().iter().collect();
        for pair in present.windows(2) {
            // One of them may believe in a session that the other lost when it started again.
            self.world.introduce(pair[0], pair[1]);
            self.world.introduce(pair[1], pair[0]);
        }
        let Some(&author) = present.first() else { return };
        self.world.run_for(SETTLE);
        let number: Number = self.world.publish(author, 100);
        self.world.run_for(DRAIN);
        self.check();
        let (expected, has) = self.world.reached(self.world.record(number));
        assert_eq!(has, expected, "it reaches everybody");
        if self.is_gossip {
            // It gives up a gap after seconds.
            return;
        }
        let oldest = self.world.now().saturating_sub(KEPT);
        for record in self.world.records().iter().filter(|record| record.at > oldest) {
            let (expected, has) = self.world.reached(record);
            assert!(has == 0 || has == expected, "what somebody has reaches everybody");
        }
    }
}

fn config(choice: u8, latency: u8) -> ModelConfig {
    let latency = u64::from(latency);
    ModelConfig {
        latency: Span::from_millis(1 + latency / 4, 1 + latency),
        bandwidth: (choice & 1 == 1).then_some(200_000),
        room: [256 * 1024, 64 * 1024, 8 * 1024, 2000][usize::from(choice >> 1 & 3)],
        clock_offset_max: Duration::from_secs(u64::from(choice >> 4)),
        ..ModelConfig::new(u64::from(choice >> 3 & 1), HONEST + 1)
    }
}

/// Nodes that start, talk, fall apart and find together; and noise.
pub(crate) fn seeds(messages: u8) -> Vec<Vec<u8>> {
    let start: Vec<u8> = (0..4).flat_map(|node| [4, node]).collect();
    let talk: Vec<u8> =
        (0..messages).flat_map(|node| [0, node, node * 20, 15, 10 + node * 5]).collect();
    let run = |number: u8| vec![15, number];
    let split = [vec![9, 5], talk.clone(), run(200), vec![10, 0], run(150)].concat();
    let restart = [vec![7, 1, 7, 130], run(120), vec![4, 1, 4, 2], run(90)].concat();
    let toggled = [vec![8, 3, 11, 128, 12, 7], talk.clone(), run(80), vec![8, 3]].concat();
    let hostile = |number: u8| vec![13, 64 + number];
    let noise = |seed: u8, size: usize| {
        let mut noise = vec![0; size];
        Rng::from_seed([seed; 32]).fill(&mut noise);
        noise
    };
    let met = [vec![0, 40], start.clone(), run(100)].concat();
    let slow = [vec![0x15, 90], start, run(140)].concat();
    let mut seeds = vec![
        [met.clone(), talk.clone(), split, talk.clone()].concat(),
        [slow.clone(), talk.clone(), restart, talk.clone()].concat(),
        [met.clone(), toggled, talk.clone()].concat(),
        [slow, noise(6, 60)].concat(),
    ];
    for number in [0, 1, 5] {
        seeds.push([met.clone(), hostile(number), talk.clone(), run(150), talk.clone()].concat());
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_go_deep() {
        let heard = |seed: &Vec<u8>| {
            let player = Player::<OverlayNode>::play(seed, false);
            let records = player.world.records();
            records.iter().map(|record| record.received.count() - 1).sum::<u32>()
        };
        let heard: Vec<u32> = seeds(6).iter().map(heard).collect();
        // The fourth is noise.
        assert!(heard.iter().zip(0..).all(|(&heard, at)| heard >= 20 || at == 3), "{heard:?}");
    }
}
