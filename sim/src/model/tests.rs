//! Tests of the model itself, with a protocol that does what it is told.

use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::support::Rng;

use super::experiment::{Scenario, run};
use super::*;
use x0x_core::session;

/// Repeats what it hears to everybody, once; a frame is the bytes of an item, alone.
#[derive(Debug)]
struct Flood {
    peers: Vec<PeerId>,
    log: Vec<String>,
    seen: Bits,
    heard: Vec<Number>,
    wants: Vec<Effect>,
}

impl Protocol for Flood {
    fn start(_me: PeerId, _rng: &Rng) -> Self {
        Self {
            peers: Vec::new(),
            log: Vec::new(),
            seen: Bits::default(),
            heard: Vec::new(),
            wants: Vec::new(),
        }
    }

    fn handle(&mut self, env: &mut Env<'_>, input: Input) {
        match input {
            Input::Session(session::Event::Opened(session::Opened { peer, .. })) => {
                self.peers.push(peer);
                self.log.push(format!("up {peer}"));
            }
            Input::Session(session::Event::Closed { peer }) => {
                self.peers.retain(|&other| other != peer);
                self.log.push(format!("down {peer}"));
            }
            Input::Session(session::Event::ConnectFailed { peer }) => {
                self.log.push(format!("failed {peer}"));
            }
            Input::Session(session::Event::Writable { peer, send_window: room }) => {
                self.log.push(format!("writable {peer} {room}"));
            }
            Input::Session(session::Event::Frame { frame, .. }) => {
                match env.library.identify(&frame) {
                    Some(number) => {
                        self.heard.push(number);
                        self.spread(env, number);
                    }
                    None => self.wants.push(Effect::Forgery),
                }
            }
            Input::Publish { number } => self.spread(env, number),
            Input::Session(session::Event::Moved { .. })
            | Input::Join { .. }
            | Input::Leave { .. }
            | Input::SetBlocked { .. }
            | Input::Timeout => {}
        }
    }

    fn drain(&mut self, _env: &mut Env<'_>, effects: &mut Vec<Effect>) {
        effects.append(&mut self.wants);
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn kind(_header: &[u8]) -> Kind {
        Kind(0)
    }

    fn kind_name(_kind: Kind) -> String {
        "item".to_owned()
    }
}

impl Flood {
    fn spread(&mut self, env: &Env<'_>, number: Number) {
        if self.seen.insert(number.0) {
            self.wants.push(Effect::Delivered { number, hops: 1, is_repair: false });
            for &peer in &self.peers {
                let body = env.library.bytes(number).clone();
                let header = Bytes::new();
                self.wants.push(Effect::Frame { peer, header, body, number: Some(number) });
            }
        }
    }
}

const S: Duration = Duration::from_secs(1);

/// A world of two nodes that have a session, with the latency between them.
fn pair(config: ModelConfig) -> (World<Flood>, Duration) {
    let latency = config.latency_of(0, 1);
    let mut world = World::new(config);
    world.start(0, &[]);
    world.start(1, &[0]);
    (world, latency)
}

fn log(world: &World<Flood>, node: u32) -> Vec<String> {
    world.protocol(node).unwrap().log.clone()
}

#[test]
fn a_session_takes_one_and_a_half_round_trips() {
    let (mut world, latency) = pair(ModelConfig::new(1, 2));
    world.run_until(3 * latency - Duration::from_nanos(1));
    assert!(log(&world, 0).is_empty() && log(&world, 1).is_empty());
    world.run_until(3 * latency);
    assert_eq!((log(&world, 0), log(&world, 1)), (vec!["up n1".into()], vec!["up n0".into()]));
}

#[test]
fn a_frame_takes_the_latency_and_is_counted_at_both_ends() {
    let (mut world, latency) = pair(ModelConfig::new(1, 2));
    world.run_until(S);
    let number = world.publish(1, 1400);
    world.run_for(latency);
    let record = world.record(number);
    assert_eq!((record.received.count(), record.duration()), (2, latency));
    let (received, _) = world.traffic(0);
    let (_, sent) = world.traffic(1);
    assert_eq!(received, sent);
    assert_eq!((sent.payload, sent.datagrams), (Counts { frames: 1, bytes: 1400 }, 2));
}

#[test]
fn a_dial_to_nobody_fails_after_the_dial_timeout() {
    let mut world = World::<Flood>::new(ModelConfig::new(1, 2));
    world.start(1, &[0]);
    world.run_until(3 * S - Duration::from_nanos(1));
    assert!(log(&world, 1).is_empty());
    world.run_until(3 * S);
    assert_eq!(log(&world, 1), ["failed n0"]);
}

#[test]
fn who_is_introduced_does_not_wait_for_a_dial_that_met_a_divided_network() {
    let mut world = World::<Flood>::new(ModelConfig::new(1, 2));
    world.start(0, &[]);
    world.divide(|node| u8::from(node == 1));
    world.start(1, &[0]);
    world.run_until(S);
    world.heal();
    world.introduce(1, 0);
    world.run_until(5 * S);
    assert_eq!(log(&world, 1), ["up n0"]);
}

#[test]
fn a_crash_is_seen_within_the_idle_timeout_and_a_goodbye_at_once() {
    let (mut world, latency) = pair(ModelConfig::new(1, 2));
    world.run_until(S);
    world.crash(0);
    world.run_for(15 * S - Duration::from_nanos(1));
    assert_eq!(log(&world, 1), ["up n0"]);
    world.run_for(30 * S);
    assert_eq!(log(&world, 1), ["up n0", "down n0"]);

    let (mut world, _) = pair(ModelConfig::new(1, 2));
    world.run_until(S);
    world.stop(0);
    world.run_for(latency);
    assert_eq!(log(&world, 1), ["up n0", "down n0"]);
}

#[test]
fn a_short_partition_holds_frames_back_and_a_long_one_ends_sessions() {
    let (mut world, latency) = pair(ModelConfig::new(1, 2));
    world.run_until(S);
    world.divide(|node| u8::from(node == 1));
    let number = world.publish(1, 100);
    world.run_for(10 * S);
    assert_eq!(world.record(number).received.count(), 1);
    world.heal();
    world.run_for(2 * latency);
    assert_eq!(world.record(number).received.count(), 2);

    world.divide(|node| u8::from(node == 1));
    world.run_for(45 * S);
    assert_eq!(
        (log(&world, 0), log(&world, 1)),
        (vec!["up n1".into(), "down n1".into()], vec!["up n0".into(), "down n0".into()])
    );
}

#[test]
fn a_session_keeps_the_order_of_its_frames_over_a_partition() {
    for bandwidth in [None, Some(100_000)] {
        let (mut world, _) = pair(ModelConfig { bandwidth, ..ModelConfig::new(1, 2) });
        world.run_until(S);
        let before = [world.publish(1, 40_000), world.publish(1, 40_000)];
        world.divide(|node| u8::from(node == 1));
        let during = world.publish(1, 100);
        world.run_for(10 * S);
        let end = world.publish(1, 40_000);
        world.heal();
        let after = world.publish(1, 100);
        world.run_for(10 * S);
        let heard = &world.protocol(0).unwrap().heard;
        assert_eq!(*heard, [before[0], before[1], during, end, after]);
    }
}

#[test]
fn a_full_lane_drops_and_an_emptied_one_says_so() {
    let config = ModelConfig { bandwidth: Some(100_000), ..ModelConfig::new(1, 2) };
    let (mut world, _) = pair(config);
    world.run_until(S);
    for _ in 0..4 {
        world.publish(1, 100_000);
    }
    assert_eq!(world.tally().frames_over_room, 1);
    world.run_for(4 * S);
    let room = 256 * 1024 - 100_000;
    assert_eq!(log(&world, 1), ["up n0".to_owned(), format!("writable n0 {room}")]);
    let counts: Vec<u32> = world.records().iter().map(|r| r.received.count()).collect();
    assert_eq!(counts, [2, 2, 2, 1]);
}

#[test]
fn dials_that_cross_end_as_one_session() {
    let mut world = World::<Flood>::new(ModelConfig::new(1, 2));
    world.start(0, &[1]);
    world.start(1, &[0]);
    world.run_until(S);
    assert_eq!((log(&world, 0), log(&world, 1)), (vec!["up n1".into()], vec!["up n0".into()]));
    assert_eq!((world.tally().sessions, world.sessions(0), world.sessions(1)), (1, 1, 1));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let scenario = Scenario::parse(
        r#"
        title = "a"
        shows = "b"
        nodes = [60]
        [join]
        contacts = 3
        settle_s = 5
        [[step]]
        do = "churn"
        per_s = 2
        [[step]]
        do = "publish"
        name = "all"
        by = "rotating"
        count = 20
        "#,
    );
    let scenario = scenario.unwrap();
    let trace = |seed| run(&scenario, seed, 60).trace;
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}
