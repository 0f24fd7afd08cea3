//! Gossip with real keys and signatures.

use std::time::Instant;

use x0x_core::gossip::{self, PublishId, Topic};
use x0x_core::identity::{AgentId, AgentKey};
use x0x_core::overlay;
use x0x_core::session;
use x0x_core::support::{MemoryBudget, Module, Rng};

use super::overlay::{is_overlay_repair, overlay_kind, overlay_kind_name};
use super::{Effect, Env, Input, Protocol, TopicNumber};
use crate::machine::{gossip_held, overlay_held};
use crate::model::attack::abuse::PUPPET_MARK;
use crate::model::ledger::Kind;
use crate::model::peer::PeerId;

/// Kinds from here on are gossip's own; those below are the overlay's.
const FIRST_KIND: u8 = 200;

/// Gossip's own kinds, in the order in which it numbers them.
const KINDS: [&str; 3] = ["key", "key request", "evidence"];

/// A node that runs gossip.
#[derive(Debug)]
pub struct GossipNode {
    module: Module<gossip::State<PeerId>, gossip::Output<PeerId>>,
    agent: AgentId,
}

impl Protocol for GossipNode {
    const OVERLAY_PREFIX: &'static [u8] = &[0];

    fn start(me: PeerId, rng: &Rng) -> Self {
        let key = AgentKey::from_seed(&rng.fork("agent").bytes());
        let agent = key.id();
        let config = overlay::Config::default();
        let state =
            gossip::State::new(config, MemoryBudget::DEFAULT, key, me, rng.fork("gossip state"));
        Self { module: Module::new(state, rng.fork("gossip")), agent }
    }

    fn handle(&mut self, env: &mut Env<'_>, input: Input) {
        let input = match input {
            Input::Session(event) => gossip::Input::Session(event),
            Input::Join { topic } => {
                let topic = topic_of(topic);
                if self.module.state.check_subscribe(&topic).is_err() {
                    return;
                }
                gossip::Input::Subscribe { topic }
            }
            Input::Leave { topic } => gossip::Input::Unsubscribe { topic: topic_of(topic) },
            Input::SetBlocked { author, blocked } => {
                gossip::Input::SetBlocked { agent: author, blocked }
            }
            Input::Timeout => gossip::Input::Timeout,
            Input::Publish { number } => {
                let topic = topic_of(env.library.topic(number));
                let payload = env.library.bytes(number).clone();
                if self.module.state.check_publish(&topic, payload.len()).is_err() {
                    return;
                }
                gossip::Input::Publish { id: PublishId(u64::from(number.0)), topic, payload }
            }
        };
        self.module.run(env.time, |state, context| state.handle(context, input));
    }

    fn settle(&mut self, env: &mut Env<'_>) {
        self.module.run(env.time, gossip::State::flush);
    }

    fn drain(&mut self, env: &mut Env<'_>, effects: &mut Vec<Effect>) {
        while let Some(output) = self.module.pop_output() {
            let effect = match output {
                gossip::Output::Session(session::Request::Send { peer, header, payload }) => {
                    // The first message of a batch stands for it.
                    let number = env.library.find(&payload);
                    Effect::Frame { peer, header: header.into(), body: payload, number }
                }
                gossip::Output::Session(request) => Effect::of(request),
                gossip::Output::Lonely => Effect::Lonely,
                gossip::Output::Event(gossip::Event::Received { payload, .. }) => {
                    match env.library.identify(&payload) {
                        Some(number) => Effect::Delivered { number, hops: 0, is_repair: false },
                        // A hostile author may say what it likes in its own name.
                        None if payload.starts_with(PUPPET_MARK) => continue,
                        None => Effect::Forgery,
                    }
                }
                gossip::Output::Event(gossip::Event::Lagged { missed, .. }) => {
                    Effect::Lagged { missed }
                }
                gossip::Output::Event(gossip::Event::Equivocated { .. }) => Effect::Equivocated,
                gossip::Output::Published { .. } => continue,
            };
            effects.push(effect);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.module.state.deadline().map(|deadline| deadline.at)
    }

    fn kind(header: &[u8]) -> Kind {
        match header {
            [0, rest @ ..] => overlay_kind(rest),
            [tag @ 1..=3, ..] => Kind(FIRST_KIND + tag),
            _ => Kind(u8::MAX),
        }
    }

    fn kind_name(kind: Kind) -> String {
        let own = kind.0.checked_sub(FIRST_KIND + 1).and_then(|tag| KINDS.get(usize::from(tag)));
        own.map_or_else(|| overlay_kind_name(kind), |&name| name.to_owned())
    }

    fn is_repair(kind: Kind) -> bool {
        is_overlay_repair(kind)
    }

    /// The byte before a frame of the overlay, the key that goes before a batch.
    fn uncounted(header: &[u8]) -> usize {
        match header {
            [0, ..] => 1,
            [1, ..] => header.len(),
            _ => 0,
        }
    }

    fn counted_bytes(&self) -> Option<usize> {
        Some(self.module.state.topics().map(|topic| topic.history_bytes).sum())
    }

    fn held(&self) -> Option<String> {
        let overlay = overlay_held(&self.module.state.overlay_held());
        let mut held = gossip_held(&self.module.state.held()).into_iter().chain(overlay);
        held.find(|&(_, count)| count > 0).map(|(what, count)| format!("{count} {what}"))
    }

    fn count(&self, counter: gossip::Counter) -> u64 {
        self.module.counts().get(counter)
    }

    fn agent(&self) -> Option<AgentId> {
        Some(self.agent)
    }

    fn known(&self) -> Option<usize> {
        self.module.state.topics().map(|topic| topic.passive).max()
    }
}

fn topic_of(topic: TopicNumber) -> Topic {
    Topic::new(&topic.name()).expect("the name has a few bytes")
}
