//! What subscribers may hear.
//!
//! * A message is told to those who subscribed to its topic, and only if its author published it there.
//! * In one run of a subscriber no message is told twice.
//! * What one author published to a topic in one *stream* is told in that order. What is missing in
//!   between was told as missed, with its number. A stream is what an author publishes to a topic in
//!   one run, without leaving the topic in between, and while its clock neither goes back nor is far off.
//! * A newer stream of an author ends the older ones, as long as the author's clock did not go back.
//! * No honest author is said to contradict itself.
//!
//! What an author published before the first message that a subscriber hears of it in a stream is not
//! counted: where a subscription begins is for its clock to say, and clocks differ.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use x0x_core::gossip::{PUBLISHER_TIME, Topic};
use x0x_core::node::Request;

use super::conversation::message_key;
use crate::NodeId;
use x0x_core::gossip;

/// How much earlier than the core a topic is taken to be left by an author that is silent.
const LEAVE_SLACK: Duration = Duration::from_secs(30);

/// What of a request is about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Subscribe(Topic),
    Unsubscribe(Topic),
    Publish(Topic, u64),
}

impl Act {
    pub(super) fn of(request: &Request) -> Option<Self> {
        if let Request::Gossip(gossip::Request::Subscribe(request)) = request {
            Some(Self::Subscribe(request.topic.clone()))
        } else if let Request::Gossip(gossip::Request::Unsubscribe(request)) = request {
            Some(Self::Unsubscribe(request.topic.clone()))
        } else if let Request::Gossip(gossip::Request::Publish(request)) = request {
            Some(Self::Publish(request.topic.clone(), message_key(&request.payload)))
        } else {
            None
        }
    }
}

/// The place of a message: its stream, then its number in it.
type Place = (u64, u64);

/// What one author published to one topic.
#[derive(Debug, Default)]
struct Author {
    places: BTreeMap<u64, Vec<Place>>,
    /// The next place.
    next: Place,
    run: u32,
    published_at: Duration,
    /// Whether a stream may have ended since.
    has_left: bool,
}

/// What one subscriber heard of one author in one topic.
#[derive(Debug, Default)]
struct Heard {
    last: Option<Place>,
    all: BTreeSet<Place>,
    /// Told as missed since the last message.
    missed: u64,
    /// Whether the subscription began since the last message: what was published before is nobody's
    /// loss.
    begins: bool,
}

/// All topics of a world.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    authors: BTreeMap<(Topic, NodeId), Author>,
    subscriptions: BTreeSet<(NodeId, Topic)>,
    heard: BTreeMap<(NodeId, Topic, NodeId), Heard>,
    /// Authors whose wall clock went back.
    unsteady: BTreeSet<NodeId>,
}

impl Gossip {
    /// A node accepted a command.
    pub(super) fn accepted(&mut self, now: Duration, node: NodeId, run: u32, act: Act) {
        match act {
            Act::Subscribe(topic) => {
                if self.subscriptions.insert((node, topic.clone())) {
                    let of_topic = |(subscriber, name, _): &(NodeId, Topic, NodeId)| {
                        *subscriber == node && *name == topic
                    };
                    for (_, heard) in self.heard.iter_mut().filter(|(key, _)| of_topic(key)) {
                        (heard.begins, heard.missed) = (true, 0);
                    }
                }
            }
            Act::Unsubscribe(topic) => {
                if let Some(author) = self.authors.get_mut(&(topic.clone(), node)) {
                    author.has_left = true;
                }
                self.subscriptions.remove(&(node, topic));
            }
            Act::Publish(topic, key) => {
                let author = self.authors.entry((topic, node)).or_default();
                let silence = now.saturating_sub(author.published_at) + LEAVE_SLACK;
                if author.run != run || author.has_left || silence > PUBLISHER_TIME {
                    author.next = (author.next.0 + 1, 0);
                }
                (author.run, author.has_left, author.published_at) = (run, false, now);
                author.places.entry(key).or_default().push(author.next);
                author.next.1 += 1;
            }
        }
    }

    /// A node lost its memory.
    pub(super) fn stopped(&mut self, node: NodeId) {
        self.subscriptions.retain(|(subscriber, _)| *subscriber != node);
        self.heard.retain(|(subscriber, ..), _| *subscriber != node);
    }

    /// A subscriber blocks an author or hears it again: what is published meanwhile is nobody's loss.
    pub(super) fn block_changed(&mut self, node: NodeId, author: NodeId) {
        let of_both = self.heard.iter_mut().filter(|((by, _, of), _)| *by == node && *of == author);
        of_both.for_each(|(_, heard)| (heard.begins, heard.missed) = (true, 0));
    }

    /// The wall clock of a node goes back: it begins its streams anew, and what it publishes after its
    /// next start may seem older than what it published before.
    pub(super) fn clock_went_back(&mut self, node: NodeId) {
        self.unsteady.insert(node);
        self.clock_is_wrong(node);
    }

    /// The wall clock of a node was, or is now, so far off that nobody takes what the node publishes:
    /// it may have to begin its streams anew.
    pub(super) fn clock_is_wrong(&mut self, node: NodeId) {
        let own = self.authors.iter_mut().filter(|((_, author), _)| *author == node);
        own.for_each(|(_, author)| author.has_left = true);
    }

    /// Tells whether a node subscribed to a topic.
    pub(super) fn is_subscribed(&self, node: NodeId, topic: &Topic) -> bool {
        self.subscriptions.contains(&(node, topic.clone()))
    }

    /// Tells whether a subscriber heard a message of an author in its present run.
    pub(super) fn has_heard(
        &self,
        node: NodeId,
        topic: &Topic,
        author: NodeId,
        payload: &[u8],
    ) -> bool {
        let published = self.authors.get(&(topic.clone(), author));
        let places = published.and_then(|author| author.places.get(&message_key(payload)));
        let heard = self.heard.get(&(node, topic.clone(), author));
        places
            .zip(heard)
            .is_some_and(|(places, heard)| places.iter().any(|place| heard.all.contains(place)))
    }

    /// A message was told to a subscriber.
    pub(super) fn received(
        &mut self,
        node: NodeId,
        topic: &Topic,
        author: NodeId,
        payload: &[u8],
    ) -> Result<(), String> {
        if !self.is_subscribed(node, topic) {
            return Err(format!("a message of {author} in a topic without a subscription"));
        }
        let published = self.authors.get(&(topic.clone(), author));
        let places = published.and_then(|author| author.places.get(&message_key(payload)));
        let places = places.ok_or_else(|| format!("{author} never published this in the topic"))?;
        let heard = self.heard.entry((node, topic.clone(), author)).or_default();
        let mut unheard = places.iter().filter(|place| !heard.all.contains(place)).peekable();
        if unheard.peek().is_none() {
            return Err(format!("a message of {author} was heard twice"));
        }
        let is_unsteady = self.unsteady.contains(&author);
        let is_next = |place: &&Place| match heard.last {
            Some(last) if is_unsteady && last.0 != place.0 => true,
            Some(last) => last < **place,
            None => true,
        };
        let place = *unheard
            .find(is_next)
            .ok_or_else(|| format!("a message of {author} is out of order"))?;
        let (missed, begins) =
            (std::mem::take(&mut heard.missed), std::mem::take(&mut heard.begins));
        if let Some(last) = heard.last.filter(|last| last.0 == place.0 && !begins) {
            let gap = place.1 - last.1 - 1;
            if gap != missed {
                return Err(format!("{gap} messages of {author} are missing, {missed} were told"));
            }
        }
        heard.last = Some(place);
        heard.all.insert(place);
        Ok(())
    }

    /// A subscriber was told that it missed messages of an author.
    pub(super) fn lagged(
        &mut self,
        node: NodeId,
        topic: &Topic,
        author: NodeId,
        missed: u64,
    ) -> Result<(), String> {
        if missed == 0 {
            return Err(format!("none of {author}'s messages are told as missed"));
        }
        if !self.is_subscribed(node, topic) {
            return Err(format!("{author} is told to lag in a topic without a subscription"));
        }
        let heard = self.heard.entry((node, topic.clone(), author)).or_default();
        heard.missed = heard.missed.saturating_add(missed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: NodeId = NodeId(0);
    const READER: NodeId = NodeId(1);

    struct Bench(Gossip);

    impl Bench {
        fn new() -> Self {
            let mut gossip = Gossip::default();
            gossip.accepted(Duration::ZERO, READER, 1, Act::Subscribe(topic()));
            Self(gossip)
        }

        fn publish(&mut self, run: u32, texts: &[&str]) {
            for text in texts {
                let act = Act::Publish(topic(), message_key(text.as_bytes()));
                self.0.accepted(Duration::from_secs(1), AUTHOR, run, act);
            }
        }

        fn hear(&mut self, text: &str) -> Result<(), String> {
            self.0.received(READER, &topic(), AUTHOR, text.as_bytes())
        }

        fn miss(&mut self, missed: u64) -> Result<(), String> {
            self.0.lagged(READER, &topic(), AUTHOR, missed)
        }
    }

    fn topic() -> Topic {
        Topic::new("news").unwrap()
    }

    #[test]
    fn what_is_allowed_passes() {
        let mut bench = Bench::new();
        bench.publish(1, &["a", "same", "same", "b", "c", "d"]);
        for text in ["same", "same"] {
            bench.hear(text).unwrap();
        }
        bench.miss(1).unwrap();
        bench.miss(1).unwrap();
        bench.hear("d").unwrap();
        assert!(bench.0.has_heard(READER, &topic(), AUTHOR, b"d"));
        assert!(!bench.0.has_heard(READER, &topic(), AUTHOR, b"b"));

        // A subscription that begins again has missed nothing.
        bench.publish(1, &["x", "y"]);
        bench.0.accepted(Duration::ZERO, READER, 1, Act::Unsubscribe(topic()));
        bench.0.accepted(Duration::ZERO, READER, 1, Act::Subscribe(topic()));
        bench.hear("y").unwrap();

        // A new run of the author begins anew, and so does one of the reader.
        bench.publish(2, &["a", "e"]);
        bench.hear("e").unwrap();
        bench.0.stopped(READER);
        bench.0.accepted(Duration::ZERO, READER, 2, Act::Subscribe(topic()));
        bench.hear("same").unwrap();
    }

    #[test]
    fn each_rule_is_noticed() {
        type Story = fn(&mut Bench) -> Result<(), String>;
        let stories: [(&str, Story); 8] = [
            ("never published", |bench| bench.hear("x")),
            ("heard twice", |bench| bench.hear("a").and_then(|()| bench.hear("a"))),
            ("out of order", |bench| bench.hear("b").and_then(|()| bench.hear("a"))),
            ("1 messages of n0 are missing, 0 were told", |bench| {
                bench.hear("a").and_then(|()| bench.hear("c"))
            }),
            ("0 messages of n0 are missing, 2 were told", |bench| {
                bench.hear("a").and_then(|()| bench.miss(2)).and_then(|()| bench.hear("b"))
            }),
            ("told as missed", |bench| bench.miss(0)),
            ("out of order", |bench| {
                bench.publish(2, &["new"]);
                bench.hear("new").and_then(|()| bench.hear("a"))
            }),
            ("without a subscription", |bench| {
                bench.0.accepted(Duration::ZERO, READER, 1, Act::Unsubscribe(topic()));
                bench.hear("a")
            }),
        ];
        for (expected, story) in stories {
            let mut bench = Bench::new();
            bench.publish(1, &["a", "b", "c"]);
            let what = story(&mut bench).unwrap_err();
            assert!(what.contains(expected), "{expected}: {what}");
        }
    }

    #[test]
    fn a_new_subscription_may_hear_nothing_again() {
        let mut bench = Bench::new();
        bench.publish(1, &["a", "b", "c"]);
        bench.hear("b").unwrap();
        bench.0.accepted(Duration::ZERO, READER, 1, Act::Unsubscribe(topic()));
        bench.0.accepted(Duration::ZERO, READER, 1, Act::Subscribe(topic()));
        bench.hear("a").unwrap_err();
        bench.hear("b").unwrap_err();
        bench.hear("c").unwrap();
    }

    #[test]
    fn an_author_whose_clock_went_back_may_seem_older() {
        let mut bench = Bench::new();
        bench.publish(1, &["old"]);
        bench.publish(2, &["new"]);
        bench.0.clock_went_back(AUTHOR);
        bench.hear("new").unwrap();
        bench.hear("old").unwrap();
    }
}
