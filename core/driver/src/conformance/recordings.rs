//! Nodes that are recorded, and run again from the file.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{join, join3};
use x0x_core::gossip::Topic;
use x0x_core::node::recording::{End, Moment, Replay, Tally};
use x0x_core::node::{
    Event, ListTopics, MemoryStore, Output, Publish, SetBlocked, Subscribe, Table,
};

use super::nodes::{LOOPBACK, acknowledged, agent, config, connect, message, node, sleep, within};
use super::test_store::TestStore;
use crate::{
    Ended, Events, Handle, RecordingFile, RecordingWatch, Runtime, StartError, start,
    start_recorded,
};
use x0x_core::direct;
use x0x_core::gossip;

const LIMIT: u64 = 64 << 20;

/// A file that is removed at the end of its test.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(format!("x0x-recording-{process}-{number}-{name}")))
    }

    pub(super) fn file(&self, bytes_max: u64) -> RecordingFile {
        let file = OpenOptions::new().write(true).create_new(true).open(&self.0).unwrap();
        RecordingFile::new(file, bytes_max)
    }

    pub(super) fn replay(&self) -> Replay {
        Replay::open(std::fs::read(&self.0).unwrap(), Instant::now()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The size of the message of this number.
fn payload_len(index: usize) -> usize {
    32 + index % 1500
}

/// Sends messages to the agent of this number and waits for all acknowledgements.
async fn load(from: &Handle, to: u8, count: usize) {
    let mut answers = Vec::new();
    for index in 0..count {
        let payload = Bytes::from(vec![7; payload_len(index)]);
        answers.push(from.send(message(to, payload).into()).await.unwrap());
    }
    for answer in answers {
        acknowledged(answer).await;
    }
}

/// Waits for this many messages of topics.
async fn heard(events: &mut Events, count: usize) {
    for _ in 0..count {
        super::nodes::next(events, |event| {
            matches!(event, Event::Gossip(gossip::Event::Received { .. })).then_some(())
        })
        .await;
    }
}

/// Waits until a recording has ended.
async fn ended(runtime: &impl Runtime, watch: &RecordingWatch) -> Ended {
    loop {
        if let Some(ended) = watch.state().ended {
            return ended;
        }
        sleep(runtime, Duration::from_millis(5)).await;
    }
}

fn messages(replay: &mut Replay) -> (Tally, usize) {
    let mut received = 0;
    let tally = replay.visit(|_, moment| {
        if let Moment::Output(Output::Event(Event::Direct(direct::Event::Received { .. })), _) =
            moment
        {
            received += 1;
        }
    });
    (tally.unwrap_or_else(|error| panic!("{error}")), received)
}

/// One recording ends with its node, the other one is stopped; both replay to the last byte.
pub async fn nodes_under_load_run_again_from_their_recordings<R: Runtime>(runtime: R) {
    const COUNT: usize = 4000;
    let files = [Scratch::new("alice"), Scratch::new("bob")];
    let [of_alice, of_bob] = [&files[0], &files[1]].map(|file| file.file(LIMIT));
    let watch = of_alice.watch();
    let bob_store = TestStore::new(|_| Ok(()));
    let (bob, _events) = start(&runtime, config(2, &[LOOPBACK]), bob_store.clone()).unwrap();
    let started =
        start_recorded(&runtime, config(1, &[LOOPBACK]), MemoryStore::default(), of_alice);
    let (alice, _alice_events) = started.unwrap();
    bob.request(SetBlocked { agent: agent(9), blocked: true }).await.unwrap();
    connect(&alice, bob.sockets()[0]).await;
    within(&runtime, bob.shut_down()).await;
    let (bob, mut bob_events) =
        start_recorded(&runtime, config(2, &[LOOPBACK]), bob_store, of_bob).unwrap();

    let topic = Topic::new("weather").unwrap();
    bob.request(Subscribe { topic: topic.clone() }).await.unwrap();
    connect(&alice, bob.sockets()[0]).await;
    let publish = async {
        for _ in 0..500 {
            let payload = Bytes::from_static(&[1; 200]);
            alice.request(Publish { topic: topic.clone(), payload }).await.unwrap();
        }
    };
    let direct = join(load(&alice, 2, COUNT), load(&bob, 1, COUNT));
    within(&runtime, join3(direct, publish, heard(&mut bob_events, 500))).await;
    assert!(bob.stop_recording().await && !bob.stop_recording().await);
    within(&runtime, load(&alice, 2, 100)).await;
    within(&runtime, alice.shut_down()).await;

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
    assert!(Table::all().all(has));
}

/// The file keeps its size, and a size that does not hold the header is an error of the start.
pub async fn a_full_recording_ends_and_the_node_goes_on<R: Runtime>(runtime: R) {
    const SMALL: u64 = 200_000;
    let scratch = Scratch::new("small");
    let file = scratch.file(SMALL);
    let watch = file.watch();
    let started = start_recorded(&runtime, config(1, &[LOOPBACK]), MemoryStore::default(), file);
    let (alice, _alice_events) = started.unwrap();
    let (bob, _bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    within(&runtime, load(&bob, 1, 1000)).await;
    assert!(!alice.stop_recording().await);
    assert_eq!(within(&runtime, ended(&runtime, &watch)).await, Ended::With(End::Full));
    assert!(std::fs::metadata(&scratch.0).unwrap().len() <= SMALL);
    let (tally, received) = messages(&mut scratch.replay());
    assert_eq!(tally.end, Some(End::Full));
    assert!(received > 50, "{received}");

    let tiny = Scratch::new("tiny");
    let store = MemoryStore::default();
    let refused = start_recorded(&runtime, config(3, &[LOOPBACK]), store, tiny.file(100)).err();
    assert!(matches!(refused, Some(StartError::Recording(_))), "{refused:?}");
}

/// `/dev/full` fails every write; a system without it has nothing to test.
pub async fn a_file_that_cannot_be_written_ends_the_recording_and_the_node_goes_on<R: Runtime>(
    runtime: R,
) {
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let file = RecordingFile::new(full, LIMIT);
    let watch = file.watch();
    let started = start_recorded(&runtime, config(1, &[LOOPBACK]), MemoryStore::default(), file);
    let (alice, _events) = started.unwrap();
    let requests = async {
        while watch.state().ended.is_none() {
            alice.request(ListTopics).await.unwrap();
        }
    };
    within(&runtime, requests).await;
    assert!(matches!(watch.state().ended, Some(Ended::Unwritable(_))), "{:?}", watch.state());
    alice.request(ListTopics).await.unwrap();
    assert!(!alice.stop_recording().await);
}
