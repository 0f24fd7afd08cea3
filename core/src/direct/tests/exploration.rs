//! Random histories: sessions break on either side at different times, nodes restart, rooms are
//! short, agents are blocked and messages time out. What is promised holds in each.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{DirectError, Input};
use super::harness::{End, PLENTY, Side, World};
use crate::session;
use crate::support::Rng;

const RUNS: u64 = 2000;
const STEPS: u64 = 250;

/// A run: the world, and the ids of messages whose sender lost its state.
struct Run {
    world: World,
    rng: Rng,
    /// The sender of each message.
    senders: BTreeMap<u64, Side>,
    /// The first id of each side that its present state knows.
    known: [u64; 2],
    /// Whether nodes restart in this run.
    has_restarts: bool,
}

impl Run {
    fn step(&mut self) {
        let side = if self.rng.below(2) == 0 { Side::Left } else { Side::Right };
        let world = &mut self.world;
        match self.rng.below(100) {
            0..25 => {
                let timeout = Duration::from_millis(self.rng.below(2000));
                let id = world.send(side, timeout);
                self.senders.insert(id, side);
            }
            25..65 => {
                world.deliver(side);
            }
            65..75 => world.settle(side),
            75..79 => {
                world.leave(side);
                world.handle(side, Input::Timeout);
            }
            79..83 => {
                world.begin_session();
                world.enter(side);
            }
            83..87 => {
                let newest = world.session_last;
                if world.at(side).entered < newest {
                    world.enter(side);
                }
            }
            87..89 if self.has_restarts => {
                world.restart(side);
                let next = self.senders.last_key_value().map_or(1, |(id, _)| id + 1);
                self.known[side as usize] = next;
            }
            87..93 => {
                let room = usize::try_from(self.rng.below(60)).unwrap();
                let machine = side.other().machine();
                world.handle(
                    side,
                    Input::Session(session::Event::Writable { peer: machine, send_window: room }),
                );
                world.room = if self.rng.below(2) == 0 { PLENTY } else { room };
            }
            93..96 => world.advance(Duration::from_millis(self.rng.below(300))),
            96..99 => {
                let blocked = self.rng.below(3) == 0;
                world.handle(side, Input::SetBlocked { agent: side.other().agent(), blocked });
            }
            _ => world.handle(side, Input::NoRoute { agent: side.other().agent() }),
        }
    }

    /// Lets everything come to an end.
    fn heal(&mut self) {
        self.world.disconnect();
        self.world.room = PLENTY;
        for side in [Side::Left, Side::Right] {
            let agent = side.other().agent();
            self.world.handle(side, Input::SetBlocked { agent, blocked: false });
        }
        self.world.connect();
        self.world.run();
        for side in [Side::Left, Side::Right] {
            let id = self.world.send(side, Duration::from_secs(1));
            self.senders.insert(id, side);
            self.world.run();
            let last = self.world.at(side).ended.last().copied();
            assert!(matches!(last, Some((of, Ok(_))) if of == id), "{last:?}");
            assert_eq!(self.world.at(side).node.state.deadline(), None);
        }
    }

    fn check(&mut self) {
        for side in [Side::Left, Side::Right] {
            let delivered = self.world.at(side.other()).delivered.clone();
            assert!(delivered.is_sorted_by(|a, b| a < b), "in order and at most once");
            let mut ended: BTreeMap<u64, End> = BTreeMap::new();
            for &(id, result) in &self.world.at(side).ended {
                assert_eq!(ended.insert(id, result), None, "{id} ended once");
                let is_delivered = delivered.binary_search(&id).is_ok();
                match result {
                    Ok(_) => assert!(is_delivered, "{id} was acknowledged"),
                    Err(
                        DirectError::Refused(_)
                        | DirectError::Timeout { sent: false }
                        | DirectError::UnknownRecipient,
                    ) => assert!(!is_delivered, "{id} ended with {result:?}"),
                    Err(DirectError::RecipientRestarted) => assert!(self.has_restarts, "{id}"),
                    Err(DirectError::Timeout { sent: true }) => {}
                    Err(DirectError::ShutDown { .. }) => panic!("no node is shut down"),
                }
            }
            for (&id, _) in self.senders.iter().filter(|&(_, &of)| of == side) {
                let must_end = id >= self.known[side as usize];
                assert!(ended.contains_key(&id) || !must_end, "{id} ended");
            }
        }
    }
}

#[test]
fn whatever_happens_messages_are_in_order_at_most_once_and_end_once() {
    let mut totals = BTreeMap::new();
    for seed in 0..RUNS {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let rng = Rng::from_seed(bytes);
        let mut run = Run {
            world: World::connected(),
            rng,
            senders: BTreeMap::new(),
            known: [0; 2],
            has_restarts: seed % 2 == 0,
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                run.step();
            }
            run.heal();
            run.check();
        }));
        assert!(result.is_ok(), "seed {seed}");
        for place in &run.world.places {
            for (_, result) in &place.ended {
                let kind = result.map_or_else(|error| error.to_string(), |_| String::new());
                *totals.entry(kind).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(totals.len(), 5, "every end was seen: {totals:?}");
}
