//! Nodes over real sockets that are recorded, and run again from the file.

#![expect(clippy::unwrap_used, reason = "a node that cannot go on has failed its test")]

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use x0x_core::gossip::Topic;
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::recording::{End, Moment, Replay, Tally};
use x0x_core::node::{
    CommandError, Config, Connect, Event, ListTopics, MemoryStore, Output, ProbePeer, Publish,
    SendDirect, SetBlocked, Subscribe, Table, Target,
};
use x0x_tokio::{
    Ended, Events, Handle, RecordError, StartError, Tape, TapeWatch, start, start_recorded,
};

const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: u64 = 64 << 20;

/// A file that is gone when its test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("x0x-recording-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn tape(&self, bytes_max: u64) -> Tape {
        let file = OpenOptions::new().write(true).create_new(true).open(&self.0).unwrap();
        Tape::new(file, bytes_max)
    }

    fn replay(&self) -> Replay {
        Replay::open(std::fs::read(&self.0).unwrap(), Instant::now()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn agent(number: u8) -> AgentKey {
    AgentKey::from_seed(&[number + 100; 32])
}

fn config(number: u8) -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: agent(number),
        certificate: None,
        sockets: vec![([127, 0, 0, 1], 0).into()],
        link: LinkConfig::default(),
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    }
}

async fn connect(from: &Handle, to: &Handle) {
    let target = Target::Address { address: to.sockets()[0], machine: None };
    let connect = Connect { target, keep: false, timeout: PATIENCE };
    from.request(connect).await.unwrap().unwrap();
}

/// The size of the message of this number.
fn payload_len(index: usize) -> usize {
    32 + index % 1500
}

/// Sends messages to the agent of this number and waits for all answers.
async fn load(from: &Handle, to: u8, count: usize) {
    let mut answers = Vec::new();
    for index in 0..count {
        let payload = Bytes::from(vec![7; payload_len(index)]);
        let send = SendDirect { recipient: agent(to).id(), payload, timeout: PATIENCE };
        answers.push(from.send(send.into()).await.unwrap());
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
}

/// Waits for so many messages of topics.
async fn heard(events: &mut Events, count: usize) {
    let listen = async {
        let mut heard = 0;
        while heard < count {
            let event = events.next().await.expect("the node runs");
            heard += usize::from(matches!(event, Event::GossipReceived { .. }));
        }
    };
    timeout(PATIENCE, listen).await.expect("they come");
}

/// Waits until a recording has ended.
async fn ended(watch: &TapeWatch) -> Ended {
    let wait = async {
        loop {
            if let Some(ended) = watch.state().ended {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("its file is written")
}

fn messages(replay: &mut Replay) -> (Tally, usize) {
    let mut received = 0;
    let tally = replay.visit(|_, moment| {
        if let Moment::Output(Output::Event(Event::DirectReceived { .. }), _) = moment {
            received += 1;
        }
    });
    (tally.unwrap_or_else(|error| panic!("{error}")), received)
}

#[tokio::test]
async fn two_nodes_under_load_run_again_from_their_recordings() {
    const COUNT: usize = 4000;
    let files = [Scratch::new("alice"), Scratch::new("bob")];
    let tape = files[0].tape(LIMIT);
    let watch = tape.watch();
    let (alice, _alice_events) = start_recorded(config(1), MemoryStore::default(), tape).unwrap();
    let (bob, mut bob_events) = start(config(2), MemoryStore::default()).unwrap();
    let topic = Topic::new("weather").unwrap();
    let subscribe = Subscribe { topic: topic.clone() };
    bob.request(subscribe).await.unwrap();
    bob.request(SetBlocked { agent: agent(9).id(), blocked: true }).await.unwrap();
    connect(&alice, &bob).await;

    // Bob is recorded from the middle of it: the link goes, the subscription stays.
    let never = ProbePeer { machine: config(9).machine_key.id(), timeout: PATIENCE };
    let sent = bob.send(never.into()).await.unwrap();
    let connecting = Connect {
        target: Target::Address { address: ([127, 0, 0, 1], 9).into(), machine: None },
        keep: false,
        timeout: PATIENCE,
    };
    let waiting = bob.send(connecting.into()).await.unwrap();
    // What the node has taken ends; what it has not taken waits for the next one.
    bob.request(ListTopics).await.unwrap();
    bob.record(files[1].tape(LIMIT)).await.unwrap();
    assert!(sent.await.unwrap().is_ok(), "who has no link is not probed");
    assert_eq!(waiting.await.unwrap(), Err(CommandError::Restarting));
    let topics = bob.request(ListTopics).await.unwrap();
    assert!(matches!(&topics[..], [one] if one.topic == topic && one.is_subscribed));
    let second = Scratch::new("second");
    assert_eq!(bob.record(second.tape(LIMIT)).await, Err(RecordError::UnderWay));

    connect(&alice, &bob).await;
    let publish = async {
        for _ in 0..500 {
            let payload = Bytes::from_static(&[1; 200]);
            alice.request(Publish { topic: topic.clone(), payload }).await.unwrap();
        }
    };
    tokio::join!(
        load(&alice, 2, COUNT),
        load(&bob, 1, COUNT),
        publish,
        heard(&mut bob_events, 500)
    );
    assert!(bob.stop_recording().await && !bob.stop_recording().await);
    load(&alice, 2, 100).await;
    alice.shut_down().await;

    let state = watch.state();
    assert_eq!(state.ended, Some(Ended::With(End::NodeEnded)));
    assert_eq!(state.bytes, std::fs::metadata(&files[0].0).unwrap().len());
    for (file, end) in files.iter().zip([End::NodeEnded, End::Stopped]) {
        let mut replay = file.replay();
        let (tally, received) = messages(&mut replay);
        assert_eq!((tally.end, received), (Some(end), COUNT), "{tally:?}");
        let payloads: usize = (0..COUNT).map(payload_len).sum();
        assert!(tally.bytes_sent > payloads as u64, "{payloads} in {tally:?}");
    }
    // What the store had is in the header: the agent that is blocked, and alice's addresses.
    let replay = files[1].replay();
    let has = |table| replay.header().restored.records.iter().any(|record| record.table == table);
    assert!(Table::ALL.iter().all(|table| has(*table)));
}

#[tokio::test]
async fn a_tape_that_is_full_ends_and_the_node_goes_on() {
    const SMALL: u64 = 200_000;
    let file = Scratch::new("small");
    let tape = file.tape(SMALL);
    let watch = tape.watch();
    let (alice, _alice_events) = start_recorded(config(1), MemoryStore::default(), tape).unwrap();
    let (bob, _bob_events) = start(config(2), MemoryStore::default()).unwrap();
    connect(&alice, &bob).await;
    load(&bob, 1, 1000).await;
    assert!(!alice.stop_recording().await);
    assert_eq!(ended(&watch).await, Ended::With(End::Full));
    assert!(std::fs::metadata(&file.0).unwrap().len() <= SMALL);
    let (tally, received) = messages(&mut file.replay());
    assert_eq!(tally.end, Some(End::Full));
    assert!(received > 50, "{received}");

    let tiny = Scratch::new("tiny");
    let refused = start_recorded(config(3), MemoryStore::default(), tiny.tape(100)).err();
    assert!(matches!(refused, Some(StartError::Recording(_))), "{refused:?}");
    let tiny = Scratch::new("tiny-later");
    let refused = bob.record(tiny.tape(100)).await;
    assert!(matches!(refused, Err(RecordError::TooSmall(_))), "{refused:?}");
    connect(&bob, &alice).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_ends_the_recording_and_the_node_goes_on() {
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let tape = Tape::new(full, LIMIT);
    let watch = tape.watch();
    let (alice, _events) = start_recorded(config(1), MemoryStore::default(), tape).unwrap();
    let end = Instant::now() + PATIENCE;
    while watch.state().ended.is_none() {
        assert!(Instant::now() < end);
        alice.request(ListTopics).await.unwrap();
    }
    assert!(matches!(watch.state().ended, Some(Ended::Unwritable(_))), "{:?}", watch.state());
    alice.request(ListTopics).await.unwrap();
    assert!(!alice.stop_recording().await);
}
