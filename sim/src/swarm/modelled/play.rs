//! Draws what happens in a modelled world, while it happens.

use std::time::Duration;

use x0x_core::support::Rng;

use super::act::{Act, Stage};
use super::{Options, Report};
use crate::model::Protocol;
use crate::random::{self, between, chance};
use crate::swarm::draw::{draw, pick};

/// How long the network may take to find itself again.
const SETTLE: Duration = Duration::from_secs(120);

/// How long a message may take after that.
const DRAIN: Duration = Duration::from_secs(60);

/// How long one takes when all is calm, beside so many times the longest latency.
const PROMPT: Duration = Duration::from_secs(30);
const PROMPT_HOPS: u32 = 16;

/// How long a node may hold something after the last thing happened.
const IDLE: Duration = Duration::from_secs(60);

/// How many messages are published at the end.
const PUBLISHED: u32 = 5;

pub(super) struct Player<'a, P> {
    options: &'a Options,
    stage: &'a mut Stage<P>,
    rng: Rng,
    absent: Vec<u32>,
    /// How many messages were published.
    published: u32,
}

impl<'a, P: Protocol + 'static> Player<'a, P> {
    pub(super) fn new(options: &'a Options, stage: &'a mut Stage<P>) -> Self {
        let rng = random::from_number(options.config.seed).fork("modelled acts");
        Self { options, stage, rng, absent: Vec::new(), published: 0 }
    }

    pub(super) fn play(mut self) -> Result<Report, String> {
        self.join()?;
        let begin = self.stage.world.now();
        let end = begin + self.options.duration;
        let acts = self.options.acts;
        let mut times: Vec<Duration> =
            (0..acts).map(|_| between(&mut self.rng, begin, end)).collect();
        times.sort_unstable();
        for at in times {
            self.stage.run_until(at)?;
            self.act()?;
        }
        self.stage.run_until(end)?;
        self.live()?;
        Ok(Report::of(self.stage))
    }

    /// Starts all nodes, one after another; the first two are honest, and if there are hostile ones,
    /// the third is.
    fn join(&mut self) -> Result<(), String> {
        let nodes = self.options.config.nodes;
        for node in 0..nodes {
            self.stage.run_until(self.options.join_over * node / nodes)?;
            let count = 1 + draw(&mut self.rng, self.options.contacts);
            let contacts: Vec<u32> = (0..count).filter_map(|_| self.any()).collect();
            let act = match self.options.hostile {
                Some((attack, share))
                    if node > 1 && (chance(&mut self.rng, share) || node == 2) =>
                {
                    let targets = (0..4).filter_map(|_| self.any()).collect();
                    Act::StartHostile { node, contacts, attack, targets }
                }
                Some(_) | None => Act::Start { node, contacts },
            };
            self.stage.act(act)?;
        }
        Ok(())
    }

    /// Does one thing.
    fn act(&mut self) -> Result<(), String> {
        if chance(&mut self.rng, self.options.talk) {
            return self.any().map_or(Ok(()), |node| self.publish(node));
        }
        let act = match self.rng.below(11) {
            0 | 1 => self.stop(false),
            2 => self.stop(true),
            3..=5 => self.start(),
            6 => {
                let count = 2 + draw(&mut self.rng, 2);
                let mut part = || u8::try_from(draw(&mut self.rng, count)).unwrap_or(0);
                let parts = (0..self.options.config.nodes).map(|_| part()).collect();
                Some(Act::Divide { parts })
            }
            7 => Some(Act::Heal),
            8 => self.any().zip(self.any()).map(|(node, author)| {
                let blocked = !self.stage.world.is_blocked(node, author);
                Act::SetBlocked { node, author, blocked }
            }),
            9 => Some(Act::LoseSessions { share: pick(&mut self.rng, &[0.1, 0.3, 1.0]) }),
            _ => {
                let bandwidth = pick(&mut self.rng, &[None, Some(100_000), Some(200_000)]);
                self.any().map(|node| Act::SetBandwidth { node, bandwidth })
            }
        };
        act.map_or(Ok(()), |act| self.stage.act(act))
    }

    fn publish(&mut self, node: u32) -> Result<(), String> {
        let size = 40 + draw(&mut self.rng, self.options.size_max);
        self.published += 1;
        self.stage.act(Act::Publish { node, size, name: self.published })
    }

    /// A node goes, with or without a word; two stay.
    fn stop(&mut self, says_goodbye: bool) -> Option<Act> {
        let node = self.any().filter(|_| self.stage.world.present().count() > 2)?;
        self.absent.push(node);
        Some(if says_goodbye { Act::Stop { node } } else { Act::Crash { node } })
    }

    /// A node that is not there comes back.
    fn start(&mut self) -> Option<Act> {
        if self.absent.is_empty() {
            return None;
        }
        let place = random::index(&mut self.rng, self.absent.len());
        let node = self.absent.swap_remove(place);
        Some(Act::Start { node, contacts: self.any().into_iter().collect() })
    }

    fn any(&mut self) -> Option<u32> {
        let present = self.present();
        (!present.is_empty()).then(|| pick(&mut self.rng, &present))
    }

    fn present(&self) -> Vec<u32> {
        self.stage.world.present().iter().collect()
    }

    /// Makes the network whole, and demands that messages reach everybody.
    fn live(&mut self) -> Result<(), String> {
        self.stage.act(Act::Calm)?;
        let present = self.present();
        self.stage.run_until(self.stage.world.now() + SETTLE)?;
        let first = self.published + 1;
        for _ in 0..PUBLISHED {
            let author = pick(&mut self.rng, &present);
            self.publish(author)?;
            self.stage.run_until(self.stage.world.now() + Duration::from_secs(1))?;
        }
        self.stage.run_until(self.stage.world.now() + DRAIN)?;
        for name in first..=self.published {
            self.stage.act(Act::ExpectReached { name })?;
        }
        self.publish(pick(&mut self.rng.fork("prompt"), &present))?;
        let prompt = PROMPT + self.options.config.latency.max * PROMPT_HOPS;
        self.stage.run_until(self.stage.world.now() + prompt)?;
        self.stage.act(Act::ExpectReached { name: self.published })?;
        if self.options.hostile.is_none() {
            self.stage.run_until(self.stage.world.now() + IDLE)?;
            self.stage.act(Act::ExpectIdle)?;
        }
        // Gossip gives up a gap after seconds, but the overlay repairs whatever somebody still has.
        if self.options.is_gossip { Ok(()) } else { self.stage.act(Act::ExpectRepaired) }
    }
}
