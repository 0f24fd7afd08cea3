//! How messages are signed and sent.

use std::time::Duration;

use bytes::Bytes;

use super::super::batch::Batch;
use super::super::publisher::TopicQueue;
use super::super::{
    BACKLOG_MARK, BATCH_BYTES_MAX, Input, Output, PAYLOAD_MAX, PENDING_BYTES_MAX,
    PENDING_MESSAGES_LOW, PENDING_MESSAGES_MAX, PUBLISHER_TIME, RequestError, STALL_TIME,
    TOPICS_MAX, Topic, WINDOW_MAX,
};
use super::harness::{BEGIN, Heard, Node, World, key, messages, millis, topic};
use crate::gossip::{Counter, Event};

#[test]
fn a_message_reaches_every_subscriber_and_the_publisher_once() {
    let mut world = World::line(4);
    world.nodes[1].publish("hello");
    world.run();
    for node in 0..4 {
        assert_eq!(world.heard(node), messages(&["hello"]), "node {node}");
    }
    assert_eq!(world.nodes[1].published, [1]);
    let Output::Event(Event::Received { topic: of, author, published_at, message, .. }) =
        &world.nodes[3].received[0]
    else {
        panic!("a message was delivered");
    };
    assert_eq!((of, author), (&topic(), &key(1).id()));
    assert_eq!((*published_at, message.index), (millis(BEGIN), 0));
    assert_eq!(world.nodes[0].received, world.nodes[3].received, "all hear the same");
}

#[test]
fn an_idle_author_sends_at_once_and_a_busy_one_fills_a_batch_for_two_milliseconds() {
    let mut node = Node::subscribed(0, &[1]);
    node.publish("a");
    node.flush();
    node.publish("b");
    node.flush();
    node.advance(Duration::from_micros(1999));
    node.publish("c");
    node.flush();
    assert_eq!(node.heard, messages(&["a"]), "the window is open");
    node.advance(Duration::from_micros(1));
    assert_eq!(node.heard, messages(&["a", "b", "c"]));
    let counts: Vec<u16> = node.batches().iter().map(|batch| batch.root().count).collect();
    assert_eq!(counts, [1, 2]);
    node.advance(millis(2));
    node.publish("d");
    node.flush();
    assert_eq!(node.heard.len(), 4, "the author was idle");
}

#[test]
fn a_full_batch_leaves_without_waiting() {
    let mut node = Node::subscribed(0, &[1]);
    node.publish("first");
    node.flush();
    for _ in 0..130 {
        node.publish("more");
    }
    node.flush();
    let counts: Vec<u16> = node.batches().iter().map(|batch| batch.root().count).collect();
    assert_eq!(counts, [1, 64, 64], "two messages wait for the window");
    node.advance(millis(2));
    assert_eq!(node.heard.len(), 131);
    for size in [BATCH_BYTES_MAX - 1, 1, 1, BATCH_BYTES_MAX] {
        node.publish(vec![b'x'; size]);
    }
    node.advance(millis(4));
    let sizes: Vec<usize> = node.batches()[4..]
        .iter()
        .map(|batch| batch.payloads().map(|payload| payload.len()).sum())
        .collect();
    assert_eq!(sizes, [BATCH_BYTES_MAX, 1, BATCH_BYTES_MAX]);
}

#[test]
fn a_large_message_is_a_batch_of_its_own() {
    let mut world = World::line(2);
    world.nodes[0].publish("small");
    world.nodes[0].publish(vec![b'x'; PAYLOAD_MAX]);
    world.nodes[0].publish("small");
    world.nodes[0].advance(millis(10));
    let counts: Vec<u16> =
        world.nodes[0].batches().iter().map(|batch| batch.root().count).collect();
    assert_eq!(counts, [1, 1, 1]);
    world.run();
    let sizes = |heard: &[Heard]| -> Vec<usize> {
        let size = |heard: &Heard| if let Heard::Message(text) = heard { text.len() } else { 0 };
        heard.iter().map(size).collect()
    };
    assert_eq!(sizes(world.heard(1)), [5, PAYLOAD_MAX, 5]);
}

#[test]
fn the_batches_of_a_stream_follow_one_another() {
    let mut node = Node::subscribed(0, &[1]);
    for text in ["a", "b", "c"] {
        node.publish(text);
        node.advance(millis(5));
    }
    let batches = node.batches();
    let [first, second, third] = &batches[..] else { panic!("three batches") };
    for batch in &batches {
        assert_eq!(batch.root().author, key(0).id());
        assert_eq!(batch.root().stream, first.root().stream);
    }
    assert_eq!(first.root().stream >> 20, BEGIN, "the time is above the random bits");
    let place = |batch: &Batch| (batch.root().sequence, batch.root().first, batch.root().time);
    assert_eq!(
        [first, second, third].map(place),
        [(0, 0, BEGIN), (1, 1, BEGIN + 5), (2, 2, BEGIN + 10)]
    );
    assert_eq!((first.root().previous, first.root().previous_time), ([0; 32], 0));
    assert_eq!((second.root().previous, second.root().previous_time), (*first.hash(), BEGIN));
    assert_eq!((third.root().previous, third.root().previous_time), (*second.hash(), BEGIN + 5));
}

#[test]
fn a_topic_may_have_a_longer_window() {
    let mut node = Node::subscribed(0, &[1]);
    node.state.set_window(&topic(), Duration::MAX);
    node.publish("a");
    node.flush();
    node.publish("b");
    node.flush();
    node.advance(WINDOW_MAX - millis(1));
    assert_eq!(node.heard, messages(&["a"]));
    node.advance(millis(1));
    assert_eq!(node.heard, messages(&["a", "b"]));
}

#[test]
fn a_publisher_that_is_not_subscribed_hears_nothing_and_leaves_when_it_was_idle_for_long() {
    let mut node = Node::new(0);
    node.up(1);
    node.publish("a");
    node.join(1);
    node.flush();
    assert_eq!((node.heard.len(), node.batches().len()), (0, 1));
    assert!(!node.state.is_subscribed(&topic()));
    node.advance(PUBLISHER_TIME - millis(1));
    node.up(1);
    node.join(1);
    node.publish("b");
    node.advance(PUBLISHER_TIME - millis(1));
    assert_eq!(node.state.topics().count(), 1);
    node.advance(millis(1));
    assert_eq!(node.state.topics().count(), 0);
    assert_eq!(node.own_deadline(), None);
    node.publish("c");
    node.join(1);
    node.flush();
    let streams: Vec<u64> = node.batches().iter().map(|batch| batch.root().stream).collect();
    assert_eq!(streams[0], streams[1]);
    assert!(streams[2] > streams[1], "the next stream replaces the first");
}

#[test]
fn who_unsubscribes_leaves_the_topic_at_once_unless_it_published() {
    let mut node = Node::subscribed(0, &[1]);
    node.handle(Input::Unsubscribe { topic: topic() });
    assert_eq!(node.state.topics().count(), 0);
    node.handle(Input::Subscribe { topic: topic() });
    node.join(1);
    node.publish("a");
    node.flush();
    node.handle(Input::Unsubscribe { topic: topic() });
    assert_eq!(node.state.topics().count(), 1);
    node.publish("b");
    node.advance(millis(2));
    assert_eq!(node.heard, messages(&["a"]));
    assert_eq!(node.batches()[1].root().sequence, 1, "the stream goes on");
    node.advance(PUBLISHER_TIME);
    assert_eq!(node.state.topics().count(), 0);
}

#[test]
fn more_messages_than_may_wait_are_refused_and_told_when_some_were_signed() {
    let mut node = Node::subscribed(0, &[]);
    for _ in 0..PENDING_MESSAGES_MAX {
        assert_eq!(node.state.check_publish(&topic(), 1), Ok(()));
        node.publish("x");
    }
    assert_eq!(node.state.check_publish(&topic(), 1), Err(RequestError::QueueFull));
    assert_eq!(node.published.len(), PENDING_MESSAGES_LOW - 1);
    node.flush();
    assert_eq!(node.published, Vec::from_iter(1..=PENDING_MESSAGES_MAX as u64));
    assert_eq!(node.heard.len(), PENDING_MESSAGES_MAX);
    assert_eq!(node.state.check_publish(&topic(), 1), Ok(()));
    assert_eq!(node.count(Counter::MessagesPublished), PENDING_MESSAGES_MAX as u64);
}

#[test]
fn more_bytes_than_may_wait_are_refused() {
    let mut node = Node::subscribed(0, &[]);
    for _ in 0..PENDING_BYTES_MAX / PAYLOAD_MAX {
        node.publish(Bytes::from_static(&[0; PAYLOAD_MAX]));
    }
    assert_eq!(node.state.check_publish(&topic(), 0), Ok(()));
    assert_eq!(node.state.check_publish(&topic(), 1), Err(RequestError::QueueFull));
    let (size, size_max) = (PAYLOAD_MAX + 1, PAYLOAD_MAX);
    let too_large = Err(RequestError::TooLarge { size, size_max });
    assert_eq!(node.state.check_publish(&topic(), size), too_large);
}

#[test]
fn a_node_is_in_no_more_topics_than_the_limit() {
    let mut node = Node::new(0);
    let topic = |number: usize| Topic::new(&number.to_string()).unwrap();
    for number in 0..TOPICS_MAX / 2 {
        node.handle(Input::Subscribe { topic: topic(number) });
    }
    for number in TOPICS_MAX / 2..TOPICS_MAX {
        node.publish_to(&topic(number), "x");
    }
    let other = topic(TOPICS_MAX);
    assert_eq!(node.state.check_subscribe(&other), Err(RequestError::TooManyTopics));
    assert_eq!(node.state.check_publish(&other, 1), Err(RequestError::TooManyTopics));
    assert_eq!(node.state.check_subscribe(&topic(TOPICS_MAX - 1)), Ok(()));
    node.handle(Input::Unsubscribe { topic: topic(0) });
    assert_eq!(node.state.check_subscribe(&other), Ok(()));
}

#[test]
fn what_waits_leaves_when_the_node_shuts_down_and_nothing_after_it() {
    let mut node = Node::subscribed(0, &[1]);
    node.publish("a");
    node.flush();
    node.publish("b");
    node.handle(Input::ShutDown);
    assert_eq!(node.batches().len(), 2);
    assert_eq!((node.state.topics().count(), node.own_deadline()), (0, None));
    node.handle(Input::Subscribe { topic: topic() });
    assert_eq!(node.state.topics().count(), 0);
}

#[test]
fn a_neighbour_that_is_behind_holds_new_batches_back_for_a_while_and_no_longer() {
    let mut queue = TopicQueue::new();
    let now = Node::new(0).now;
    let mut held =
        |at: Duration, backlog| queue.held_until(now + at, backlog).map(|until| until - now);
    let (low, high) = (BACKLOG_MARK, BACKLOG_MARK + 1);
    assert_eq!(held(millis(0), low), None);
    assert_eq!(held(millis(1), high), Some(millis(1) + STALL_TIME));
    assert_eq!(held(millis(300), high), Some(millis(1) + STALL_TIME));
    assert_eq!(held(millis(1) + STALL_TIME, high), None, "one slow peer slows nobody");
    assert_eq!(held(millis(9000), high), None, "it is the same stall");
    assert_eq!(held(millis(9001), low), None);
    assert_eq!(held(millis(9002), high), Some(millis(9002) + STALL_TIME), "a new one");
    assert_eq!(held(millis(9003), low), None, "the neighbour has caught up");
}
