//! A publisher and a receiver whose states are joined directly: what signed batches cost, without
//! links.

use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::gossip::{Counter, Event, Input, Output, PublishId, State, Topic};
use x0x_core::identity::AgentKey;
use x0x_core::session::{self, Contact};
use x0x_core::support::{Context, Counts, Outbox, Rng, Time};

/// One end.
struct End {
    state: State<u64>,
    rng: Rng,
    counts: Counts<Counter>,
    outbox: Outbox<Output<u64>>,
}

impl End {
    fn new(number: u8) -> Self {
        let rng = Rng::from_seed([number; 32]);
        let key = AgentKey::from_seed(&[number; 32]);
        Self {
            state: State::new(
                x0x_core::overlay::Config::default(),
                x0x_core::support::MemoryBudget::DEFAULT,
                key,
                number.into(),
                rng.fork("state"),
            ),
            rng,
            counts: Counts::default(),
            outbox: Outbox::default(),
        }
    }

    fn act(&mut self, at: Time, act: impl FnOnce(&mut State<u64>, &mut Context<'_, Output<u64>>)) {
        let Self { state, rng, counts, outbox } = self;
        act(state, &mut Context::new(at, rng, counts, outbox));
    }

    /// Takes what is wanted: the frames, and how many messages are delivered.
    fn take(&mut self, frames: &mut Vec<Bytes>) -> usize {
        let mut delivered = 0;
        while let Some(output) = self.outbox.pop_output() {
            match output {
                Output::Session(session::Request::Send { header, payload, .. }) => {
                    frames.push([&header[..], &payload].concat().into());
                }
                Output::Event(Event::Received { .. }) => delivered += 1,
                Output::Event(Event::Lagged { .. } | Event::Equivocated { .. }) => {
                    panic!("nothing is missed");
                }
                Output::Session(session::Request::Violation { rule, .. }) => {
                    panic!("{rule}")
                }
                Output::Session(
                    session::Request::Connect { .. } | session::Request::Release { .. },
                )
                | Output::Lonely
                | Output::Published { .. } => {}
            }
        }
        delivered
    }
}

/// A publisher that is not subscribed, and a subscriber.
pub(crate) struct Gossip {
    ends: [End; 2],
    at: Time,
    topic: Topic,
}

impl Gossip {
    /// Joins them.
    pub(crate) fn new() -> Self {
        let at = Time { now: Instant::now(), unix_time: Duration::from_secs(1_750_000_000) };
        let topic = Topic::new("benchmark").unwrap();
        let mut gossip = Self { ends: [End::new(1), End::new(2)], at, topic: topic.clone() };
        gossip.ends[1].act(at, |state, context| {
            state.handle(context, Input::Subscribe { topic });
        });
        for (end, peer) in [(0, 2), (1, 1)] {
            let (contact, round_trip) = (Contact::default(), Duration::from_millis(1));
            let up = Input::Session(session::Event::Opened(session::Opened {
                peer,
                contact,
                round_trip,
                send_window: usize::MAX / 2,
                agents: Vec::new(),
                incarnation: 0,
            }));
            gossip.ends[end].act(at, |state, context| state.handle(context, up));
        }
        let first = gossip.publish(&[Bytes::from_static(b"the first")]);
        gossip.deliver(first);
        // Until they are neighbours and one is the root.
        for _ in 0..100 {
            gossip.at.now += Duration::from_millis(50);
            gossip.at.unix_time += Duration::from_millis(50);
            let at = gossip.at;
            for target in [0, 1] {
                let mut frames = Vec::new();
                let end = &mut gossip.ends[1 - target];
                end.act(at, |state, context| state.handle(context, Input::Timeout));
                end.act(at, State::flush);
                end.take(&mut frames);
                gossip.deliver_to(target, frames);
            }
        }
        gossip
    }

    /// Publishes messages that make one batch and returns the frames that wait for the receiver.
    fn publish(&mut self, payloads: &[Bytes]) -> Vec<Bytes> {
        self.at.now += Duration::from_millis(2);
        self.at.unix_time += Duration::from_millis(2);
        let (at, topic) = (self.at, self.topic.clone());
        let publisher = &mut self.ends[0];
        for payload in payloads {
            let (topic, payload) = (topic.clone(), payload.clone());
            publisher.act(at, |state, context| {
                state.handle(context, Input::Publish { id: PublishId(0), topic, payload });
            });
        }
        publisher.act(at, State::flush);
        let mut frames = Vec::new();
        publisher.take(&mut frames);
        frames
    }

    /// Hands frames to the receiver until neither end has more; returns how many messages were
    /// delivered.
    fn deliver(&mut self, frames: Vec<Bytes>) -> usize {
        self.deliver_to(1, frames)
    }

    fn deliver_to(&mut self, mut target: usize, mut frames: Vec<Bytes>) -> usize {
        let (mut delivered, at) = (0, self.at);
        while !frames.is_empty() {
            let (end, peer) = (&mut self.ends[target], if target == 1 { 1 } else { 2 });
            for frame in frames.drain(..) {
                let frame = Input::Session(session::Event::Frame { peer, frame });
                end.act(at, |state, context| state.handle(context, frame));
            }
            end.act(at, State::flush);
            delivered += end.take(&mut frames);
            target = 1 - target;
        }
        delivered
    }

    fn batch(&mut self, payloads: &[Bytes]) {
        let frames = self.publish(payloads);
        assert_eq!(self.deliver(frames), payloads.len());
    }

    /// Publishes and delivers batches of this many messages. `rate` measures what it runs; the
    /// publisher's part is measured if `is_whole`.
    pub(crate) fn transfer(
        &mut self,
        batches: usize,
        messages: usize,
        is_whole: bool,
        rate: impl FnOnce(usize, &mut dyn FnMut()) -> f64,
    ) -> f64 {
        let payloads = vec![Bytes::from_static(&[7; 256]); messages];
        let count = batches * messages;
        if is_whole {
            return rate(count, &mut || (0..batches).for_each(|_| self.batch(&payloads)));
        }
        let waiting: Vec<Vec<Bytes>> = (0..batches).map(|_| self.publish(&payloads)).collect();
        let mut waiting = waiting.into_iter();
        rate(count, &mut || {
            for frames in waiting.by_ref() {
                assert_eq!(self.deliver(frames), messages);
            }
        })
    }
}
