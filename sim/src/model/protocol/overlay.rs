//! The overlay alone. The world made the items, so it knows at once whether one is genuine.

use std::time::Instant;

use x0x_core::overlay::{self, Fault};
use x0x_core::session;
use x0x_core::support::{MemoryBudget, Module, Rng};

use super::{Effect, Env, Input, Protocol};
use crate::machine::overlay_held;
use crate::model::ledger::Kind;
use crate::model::peer::PeerId;
use crate::model::world::MAIN_TOPIC;

/// A node that runs the overlay and nothing above it.
#[derive(Debug)]
pub struct OverlayNode {
    module: Module<overlay::State<PeerId>, overlay::Output<PeerId>>,
}

impl Protocol for OverlayNode {
    fn start(me: PeerId, rng: &Rng) -> Self {
        Self {
            module: Module::new(
                overlay::State::new(overlay::Config::default(), MemoryBudget::DEFAULT, me),
                rng.fork("overlay"),
            ),
        }
    }

    fn handle(&mut self, env: &mut Env<'_>, input: Input) {
        let input = match input {
            Input::Session(event) => overlay::Input::Session(event),
            Input::Join { topic } => overlay::Input::Join { topic: topic.id() },
            Input::Leave { topic } => overlay::Input::Leave { topic: topic.id() },
            // The overlay carries items of anybody.
            Input::SetBlocked { .. } => return,
            Input::Timeout => overlay::Input::Timeout,
            Input::Publish { number } => {
                let topic = env.library.topic(number).id();
                let item = env.library.item(number);
                return self.module.run(env.time, |state, context| {
                    state.publish(context, topic, item);
                });
            }
        };
        self.module.run(env.time, |state, context| state.handle(context, input));
    }

    fn drain(&mut self, env: &mut Env<'_>, effects: &mut Vec<Effect>) {
        while let Some(output) = self.module.pop_output() {
            let effect = match output {
                overlay::Output::Session(session::Request::Send { peer, header, payload }) => {
                    let number = env.library.identify(&payload);
                    Effect::Frame { peer, header: header.into(), body: payload, number }
                }
                overlay::Output::Session(request) => Effect::of(request),
                overlay::Output::Received { receipt, bytes } => self.judge(env, receipt, &bytes),
                overlay::Output::Lonely { .. } => Effect::Lonely,
            };
            effects.push(effect);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.module.state.deadline().map(|deadline| deadline.at)
    }

    fn kind(header: &[u8]) -> Kind {
        overlay_kind(header)
    }

    fn kind_name(kind: Kind) -> String {
        overlay_kind_name(kind)
    }

    fn is_repair(kind: Kind) -> bool {
        is_overlay_repair(kind)
    }

    fn counted_bytes(&self) -> Option<usize> {
        self.usage().map(|usage| usage.history_bytes)
    }

    fn neighbours(&self) -> Option<Vec<PeerId>> {
        Some(self.module.state.neighbours(&MAIN_TOPIC.id()).collect())
    }

    fn depth(&self) -> Option<u8> {
        self.usage()?.depth
    }

    fn held(&self) -> Option<String> {
        let held = overlay_held(&self.module.state.held());
        held.into_iter()
            .find(|&(_, count)| count > 0)
            .map(|(what, count)| format!("{count} {what}"))
    }

    fn known(&self) -> Option<usize> {
        self.usage().map(|usage| usage.passive)
    }
}

impl OverlayNode {
    fn usage(&self) -> Option<overlay::Usage> {
        self.module.state.usage(&MAIN_TOPIC.id())
    }

    fn judge(&mut self, env: &Env<'_>, receipt: overlay::Receipt<PeerId>, bytes: &[u8]) -> Effect {
        let Some(number) = env.library.identify(bytes) else {
            self.module.run(env.time, |state, context| {
                state.reject(context, receipt, Fault::Forged);
            });
            return Effect::Forgery;
        };
        let (hops, is_repair) = (receipt.hops, receipt.is_repair);
        // The node keeps the bytes that all nodes share, not those that travelled.
        let item = env.library.item(number);
        self.module.run(env.time, |state, context| {
            state.accept(context, receipt, item);
        });
        Effect::Delivered { number, hops, is_repair }
    }
}

/// The kinds of frames, in the order in which the overlay numbers them.
const KINDS: [&str; 16] = [
    "joined",
    "left",
    "refer",
    "neighbour",
    "answer",
    "part",
    "newcomer",
    "shuffle",
    "shuffled",
    "push",
    "have",
    "graft",
    "prune",
    "want",
    "beacon",
    "reconcile",
];

/// Tells the kind of a frame of the overlay: its version, whether it is about one topic, which one
/// and what.
pub(super) fn overlay_kind(frame: &[u8]) -> Kind {
    match frame {
        [_, 0, ..] => Kind(0),
        [_, 1, rest @ ..] => Kind(rest.get(32).map_or(u8::MAX, |tag| tag.saturating_add(1))),
        _ => Kind(u8::MAX),
    }
}

pub(super) fn overlay_kind_name(kind: Kind) -> String {
    let Some(tag) = kind.0.checked_sub(1) else { return "topics".to_owned() };
    KINDS.get(usize::from(tag)).map_or_else(|| format!("kind {tag}"), |&name| name.to_owned())
}

/// Tells whether frames of a kind compare histories, ask for items or carry them.
pub(super) fn is_overlay_repair(kind: Kind) -> bool {
    let name = kind.0.checked_sub(1).and_then(|tag| KINDS.get(usize::from(tag)));
    name.is_some_and(|name| ["push", "have", "want", "reconcile"].contains(name))
}
