use std::task::{Context, Poll, Waker};

use futures_util::FutureExt as _;
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{Config, ListTopics, MemoryStore};

use super::*;
use crate::node::NodeHandle;
use crate::queue::Taken;

const AUTHOR: AgentId = AgentId([1; 32]);

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a name")
}

fn take<T>(queue: &Queue<T>) -> Option<Taken<T>> {
    match queue.poll_next(&Context::from_waker(Waker::noop())) {
        Poll::Ready(taken) => taken,
        Poll::Pending => None,
    }
}

/// How many frames wait for a session.
fn frames(queue: &SessionQueue) -> usize {
    std::iter::from_fn(|| take(queue)).count()
}

#[test]
fn each_who_wants_a_topic_gets_its_messages_once() {
    let topics = Arc::new(Topics::default());
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (queue, other_queue) = (topics.open_session(one), topics.open_session(other));
    let (a, b) = (topic("a"), topic("b"));
    assert_eq!(topics.add_session(one, &[a.clone(), a.clone()]), Ok(vec![a.clone()]));
    assert_eq!(topics.add_session(one, &[b.clone(), a.clone()]), Ok(vec![b.clone()]));
    assert_eq!(topics.add_session(other, std::slice::from_ref(&a)), Ok(vec![a.clone()]));
    topics.add_subscription("s1", &a).expect("there is room");
    topics.add_subscription("s2", &a).expect("there is room");
    let listener = topics.listen();
    topics.deliver(&a, &AUTHOR, b"x");
    assert_eq!((frames(&queue), frames(&other_queue)), (1, 1));
    for id in ["s1", "s2"] {
        let Some(Taken::Item(event)) = take(&listener.queue) else { panic!("no event of {id}") };
        assert!(String::from_utf8_lossy(&event).contains(id), "{event:?}");
    }
    assert_eq!(take(&listener.queue), None);
    assert_eq!(topics.shared(), BTreeMap::from([(a.clone(), 2), (b.clone(), 1)]));
    assert_eq!(topics.sessions()[&one], [a, b]);
    topics.deliver(&topic("c"), &AUTHOR, b"nobody");
    let expected = Stats { received: 2, delivered: 1, unwanted: 1, ..Stats::default() };
    assert_eq!(topics.stats(), expected);
    drop(listener);
    assert_eq!(topics.counts(), (2, 0));
}

#[test]
fn what_was_given_up_is_not_delivered_even_if_it_waits() {
    let topics = Arc::new(Topics::default());
    let session = Uuid::from_u128(1);
    let queue = topics.open_session(session);
    let (a, b) = (topic("a"), topic("b"));
    topics.add_session(session, &[a.clone(), b.clone()]).expect("there is room");
    topics.deliver(&a, &AUTHOR, b"x");
    topics.deliver(&b, &AUTHOR, b"x");
    let both = [a.clone(), topic("other"), a.clone()];
    assert_eq!(topics.remove_session(session, &both), std::slice::from_ref(&a));
    topics.deliver(&a, &AUTHOR, b"x");
    assert_eq!(frames(&queue), 1, "that of b");
    topics.add_subscription("s", &a).expect("there is room");
    let listener = topics.listen();
    assert_eq!(topics.remove_subscription("s"), Some(a.clone()));
    assert_eq!(topics.remove_subscription("s"), None);
    topics.deliver(&a, &AUTHOR, b"x");
    assert_eq!(take(&listener.queue), None);
    assert_eq!(topics.close_session(session), [b]);
    assert_eq!(topics.shared(), BTreeMap::new());
    assert!(lock(&topics.state).topics.is_empty(), "nothing is remembered");
}

#[test]
fn whoever_is_slow_and_whatever_is_missed_is_told() {
    let topics = Arc::new(Topics::default());
    let (slow, away) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (queue, away_queue) = (topics.open_session(slow), topics.open_session(away));
    let a = topic("a");
    topics.add_session(slow, std::slice::from_ref(&a)).expect("there is room");
    for _ in 0..QUEUE_LIMITS.items + 3 {
        topics.deliver(&a, &AUTHOR, b"x");
    }
    topics.lost(4);
    assert_eq!(take(&queue), Some(Taken::Missed(7)));
    assert_eq!(frames(&queue), QUEUE_LIMITS.items);
    topics.lagged(&a, &AUTHOR, 9);
    let Some(Taken::Item((_, frame))) = take(&queue) else { panic!("no frame") };
    assert!(frame.contains(r#""type":"lagged""#) && frame.contains(r#""missed":9"#), "{frame}");
    assert_eq!(take(&away_queue), None, "it is in no topic");
    let Stats { evicted, missed, lost, .. } = topics.stats();
    assert_eq!((evicted, missed, lost), (3, 9, 4));
}

#[test]
fn there_is_a_limit_to_what_is_wanted() {
    let topics = Arc::new(Topics::default());
    for number in 0..SUBSCRIPTIONS_MAX {
        topics.add_subscription(&number.to_string(), &topic("a")).expect("there is room");
    }
    let more = topics.add_subscription("more", &topic("a"));
    assert_eq!(more, Err(WantError::TooManySubscriptions));
    let session = Uuid::from_u128(1);
    let _queue = topics.open_session(session);
    let many: Vec<Topic> = (0..=SESSION_TOPICS_MAX).map(|n| topic(&n.to_string())).collect();
    let refused = topics.add_session(session, &many);
    assert_eq!(refused, Err(WantError::TooManySessionTopics));
    assert_eq!(topics.sessions()[&session], [], "all or none");
    assert!(topics.add_session(session, &many[1..]).is_ok());
    assert!(topics.add_session(session, &many[5..]).is_ok(), "it is in them already");
    assert!(topics.add_session(session, &many[..1]).is_err());
}

fn node() -> NodeHandle {
    let config = Config {
        machine_key: MachineKey::from_seed(&[1; 32]),
        agent_key: AgentKey::from_seed(&[2; 32]),
        certificate: None,
        sockets: vec![([127, 0, 0, 1], 0).into()],
        link: LinkConfig::default(),
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    };
    NodeHandle::new(x0x_tokio::start(config, MemoryStore::default()).expect("it starts").0)
}

async fn is_subscribed(node: &NodeHandle, topic: &Topic) -> bool {
    let topics = node.request(ListTopics).await.expect("it runs");
    topics.iter().any(|info| info.topic == *topic && info.is_subscribed)
}

#[tokio::test]
async fn the_node_is_subscribed_while_anybody_wants_it_however_they_cross() {
    let node = node();
    let topics = Arc::new(Topics::default());
    let keeper = Arc::new(Keeper::new(node.clone(), topics.clone()));
    let a = topic("a");
    for round in 0..50 {
        let change = async |number: usize| {
            let id = format!("{round} {number}");
            for _ in 0..number % 4 {
                tokio::task::yield_now().await;
            }
            topics.add_subscription(&id, &a).expect("there is room");
            keeper.settle(&a).await.expect("it runs");
            assert!(is_subscribed(&node, &a).await, "while it is wanted");
            topics.remove_subscription(&id);
            keeper.settle(&a).await.expect("it runs");
        };
        futures_util::future::join_all((0..20).map(change)).await;
        assert!(!is_subscribed(&node, &a).await, "nobody wants it");
    }
    assert!(lock(&topics.state).topics.is_empty(), "nothing is remembered");
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_node_as_it_is_wanted() {
    let node = node();
    let topics = Arc::new(Topics::default());
    let keeper = Arc::new(Keeper::new(node.clone(), topics.clone()));
    let a = topic("a");
    topics.add_subscription("s", &a).expect("there is room");
    let given_up = keeper.settle(&a).now_or_never();
    assert!(given_up.is_none(), "the node has not answered yet");
    topics.remove_subscription("s");
    keeper.settle(&a).await.expect("it runs");
    assert!(!is_subscribed(&node, &a).await);
    node.shut_down().await;
    topics.add_subscription("s", &a).expect("there is room");
    assert!(keeper.settle(&a).await.is_err(), "a node that is gone subscribes to nothing");
}
