//! Gossip with real keys and signatures.

use std::time::Instant;

use x0x_core::gossip::{self, PublishId, Topic};
use x0x_core::identity::AgentKey;
use x0x_core::support::Rng;
use x0x_core::support::part::Part;

use super::{Effect, Env, Input, Protocol, TopicNumber};
use crate::model::ledger::Kind;
use crate::model::peer::PeerId;

/// A node that runs gossip.
#[derive(Debug)]
pub struct GossipNode {
    part: Part<gossip::State<PeerId>, gossip::Output<PeerId>>,
}

impl Protocol for GossipNode {
    fn start(me: PeerId, rng: &Rng) -> Self {
        let key = AgentKey::from_seed(&rng.fork("agent").bytes());
        let state = gossip::State::new(key, me, rng.fork("gossip state"));
        Self { part: Part::new(state, rng.fork("gossip")) }
    }

    fn handle(&mut self, env: &mut Env<'_>, input: Input) {
        let input = match input {
            Input::PeerUp { peer, contact, round_trip, room } => {
                gossip::Input::PeerUp { peer, contact, round_trip, room }
            }
            Input::PeerDown { peer } => gossip::Input::PeerDown { peer },
            Input::Writable { peer, room } => gossip::Input::Writable { peer, room },
            Input::Frame { peer, frame } => gossip::Input::Frame { peer, frame },
            Input::ConnectFailed { peer } => gossip::Input::ConnectFailed { peer },
            Input::Join { topic } => {
                let topic = topic_of(topic);
                if self.part.state.check_subscribe(&topic).is_err() {
                    return;
                }
                gossip::Input::Subscribe { topic }
            }
            Input::Leave { topic } => gossip::Input::Unsubscribe { topic: topic_of(topic) },
            Input::Timeout => gossip::Input::Timeout,
            Input::Publish { number } => {
                let topic = topic_of(env.library.topic(number));
                let payload = env.library.bytes(number).clone();
                if self.part.state.check_publish(&topic, payload.len()).is_err() {
                    return;
                }
                gossip::Input::Publish { id: PublishId(u64::from(number.0)), topic, payload }
            }
        };
        self.part.act(env.clock, env.counters, |state, context| state.handle(context, input));
    }

    fn settle(&mut self, env: &mut Env<'_>) {
        self.part.act(env.clock, env.counters, gossip::State::settle);
    }

    fn drain(&mut self, env: &mut Env<'_>, effects: &mut Vec<Effect>) {
        while let Some(output) = self.part.pop() {
            let effect = match output {
                gossip::Output::Frame { peer, header, payload } => {
                    Effect::Frame { peer, header, body: payload, number: None }
                }
                gossip::Output::Connect { peer, contact } => Effect::Connect { peer, contact },
                gossip::Output::Release { peer } => Effect::Release { peer },
                gossip::Output::Misbehaved { peer, rule } => Effect::Misbehaved { peer, rule },
                gossip::Output::Received { payload, .. } => match env.library.identify(&payload) {
                    Some(number) => Effect::Delivered { number, hops: 0, is_repair: false },
                    None => Effect::Forgery,
                },
                gossip::Output::Lagged { missed, .. } => Effect::Lagged { missed },
                gossip::Output::Equivocated { .. } => Effect::Equivocated,
                gossip::Output::Published { .. } => continue,
            };
            effects.push(effect);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.part.state.deadline()
    }

    fn kind(_header: &[u8]) -> Kind {
        Kind(0)
    }

    fn kind_name(kind: Kind) -> String {
        format!("kind {}", kind.0)
    }

    fn counted_bytes(&self) -> Option<usize> {
        Some(self.part.state.topics().map(|topic| topic.history_bytes).sum())
    }

    fn known(&self) -> Option<usize> {
        self.part.state.topics().map(|topic| topic.passive).max()
    }
}

fn topic_of(topic: TopicNumber) -> Topic {
    Topic::new(&topic.name()).expect("the name has a few bytes")
}
