//! The overlay alone. The world made the items, so it knows at once whether one is genuine.

use std::time::Instant;

use bytes::Bytes;
use x0x_core::crypto::hash::Blake3;
use x0x_core::overlay::{self, Fault, TopicId};
use x0x_core::support::Rng;
use x0x_core::support::part::Part;

use super::{Effect, Env, Input, Protocol, TopicNumber};
use crate::model::ledger::Kind;
use crate::model::peer::PeerId;

/// A node that runs the overlay and nothing above it.
#[derive(Debug)]
pub struct OverlayNode {
    part: Part<overlay::State<PeerId>, overlay::Output<PeerId>>,
}

impl Protocol for OverlayNode {
    fn start(me: PeerId, rng: &Rng) -> Self {
        Self { part: Part::new(overlay::State::new(me), rng.fork("overlay")) }
    }

    fn handle(&mut self, env: &mut Env<'_>, input: Input) {
        let input = match input {
            Input::PeerUp { peer, contact, round_trip, room } => {
                overlay::Input::PeerUp { peer, contact, round_trip, room }
            }
            Input::PeerDown { peer } => overlay::Input::PeerDown { peer },
            Input::Writable { peer, room } => overlay::Input::Writable { peer, room },
            Input::Frame { peer, frame } => overlay::Input::Frame { peer, frame },
            Input::ConnectFailed { peer } => overlay::Input::ConnectFailed { peer },
            Input::Join { topic } => overlay::Input::Join { topic: topic_id(topic) },
            Input::Leave { topic } => overlay::Input::Leave { topic: topic_id(topic) },
            Input::Timeout => overlay::Input::Timeout,
            Input::Publish { number } => {
                let topic = topic_id(env.library.topic(number));
                let item = env.library.item(number);
                return self.part.act(env.clock, env.counters, |state, context| {
                    state.publish(context, topic, item);
                });
            }
        };
        self.part.act(env.clock, env.counters, |state, context| state.handle(context, input));
    }

    fn settle(&mut self, env: &mut Env<'_>) {
        self.part.act(env.clock, env.counters, overlay::State::settle);
    }

    fn drain(&mut self, env: &mut Env<'_>, effects: &mut Vec<Effect>) {
        while let Some(output) = self.part.pop() {
            let effect = match output {
                overlay::Output::Frame { peer, header, item } => {
                    let number = item.as_ref().and_then(|item| env.library.identify(&item.bytes));
                    let body = item.map_or_else(Bytes::new, |item| item.bytes);
                    Effect::Frame { peer, header, body, number }
                }
                overlay::Output::Received { receipt, bytes } => self.judge(env, receipt, &bytes),
                overlay::Output::Connect { peer, contact } => Effect::Connect { peer, contact },
                overlay::Output::Release { peer } => Effect::Release { peer },
                overlay::Output::Misbehaved { peer, rule } => Effect::Misbehaved { peer, rule },
            };
            effects.push(effect);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.part.state.deadline()
    }

    fn kind(header: &[u8]) -> Kind {
        Kind(u8::from(header.len() != 32))
    }

    fn kind_name(kind: Kind) -> String {
        if kind == Kind(0) { "item".to_owned() } else { format!("kind {}", kind.0) }
    }
}

impl OverlayNode {
    fn judge(
        &mut self,
        env: &mut Env<'_>,
        receipt: overlay::Receipt<PeerId>,
        bytes: &[u8],
    ) -> Effect {
        let Some(number) = env.library.identify(bytes) else {
            self.part.act(env.clock, env.counters, |state, context| {
                state.reject(context, receipt, Fault::Forged);
            });
            return Effect::Forgery;
        };
        let (hops, is_repair) = (receipt.hops, receipt.is_repair);
        // The node keeps the bytes that all nodes share, not those that travelled.
        let item = env.library.item(number);
        self.part.act(env.clock, env.counters, |state, context| {
            state.accept(context, receipt, item);
        });
        Effect::Delivered { number, hops, is_repair }
    }
}

fn topic_id(topic: TopicNumber) -> TopicId {
    let mut hash = Blake3::new();
    hash.update(b"x0x topic\0");
    hash.update(topic.name().as_bytes());
    TopicId(hash.finish())
}
