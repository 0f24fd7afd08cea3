//! Replaces the node of a daemon by another one: with the same keys, store and port, subscribed to the
//! topics that are wanted, with links to the configured peers.
//!
//! A recording begins with the start of a node, so one that is asked for while the daemon runs needs
//! another node. Whoever waits for an answer of the old one gets it: the node answers everybody when it
//! is shut down. Requests in the meantime wait for the new node, and clients of the daemon keep their
//! streams.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use x0x_tokio::{Events, Handle, RecordingFile, StartError};

use crate::bootstrap;
use crate::node::NodeHandle;
use crate::topics::Keeper;

/// How many nodes may have been started whose events nobody has taken yet.
const STARTS_MAX: usize = 4;

/// Starts a node whose sockets are bound to these addresses, and records it if there is a file.
type Start = dyn Fn(&[SocketAddr], Option<RecordingFile>) -> Result<(Handle, Events), StartError>
    + Send
    + Sync;

/// The events of the node that takes the place of one that stops, once it has started.
type Successor = oneshot::Receiver<Result<Events, StartError>>;

/// See the [module](self).
pub struct Supervisor {
    node: NodeHandle,
    keeper: Arc<Keeper>,
    start: Box<Start>,
    bootstrap_peers: Vec<SocketAddr>,
    successors: mpsc::Sender<Successor>,
}

/// Follows the node through its replacements.
#[derive(Debug)]
pub struct Successors(mpsc::Receiver<Successor>);

/// Why a node was not replaced as it was wanted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The node does not run any more.
    #[error("the node does not run")]
    Halted,
    /// No node could be recorded. One that is not recorded runs.
    #[error(transparent)]
    NotRecorded(StartError),
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Supervisor").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Takes charge of a node that runs and dials the configured peers. `start` makes the next one.
    pub fn new(
        node: NodeHandle,
        keeper: Arc<Keeper>,
        bootstrap_peers: Vec<SocketAddr>,
        start: impl Fn(&[SocketAddr], Option<RecordingFile>) -> Result<(Handle, Events), StartError>
        + Send
        + Sync
        + 'static,
    ) -> (Self, Successors) {
        let (successors, received) = mpsc::channel(STARTS_MAX);
        bootstrap::keep(&node, &bootstrap_peers);
        let start = Box::new(start);
        (Self { node, keeper, start, bootstrap_peers, successors }, Successors(received))
    }

    /// The node.
    pub(crate) fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// Shuts the node down and starts another one, which is recorded.
    ///
    /// # Errors
    ///
    /// See [`RestartError`].
    pub async fn record(&self, file: RecordingFile) -> Result<(), RestartError> {
        let subscriptions = self.keeper.pause().await;
        let mut place = self.node.replace().await;
        let (started, successor) = oneshot::channel();
        // Before the old one ends: who follows its events then knows that there will be others.
        self.successors.send(successor).await.map_err(|_| RestartError::Halted)?;
        place.node().shut_down().await;
        let sockets = place.node().sockets();
        let (node, refusal) = match (self.start)(sockets, Some(file)) {
            Ok(node) => (Ok(node), None),
            Err(refusal) => ((self.start)(sockets, None), Some(refusal)),
        };
        match node {
            Ok((node, events)) => {
                subscriptions.restore(&node).await;
                place.set(node);
                // The daemon may be stopping.
                let _ = started.send(Ok(events));
            }
            Err(error) => {
                let _ = started.send(Err(error));
                return Err(RestartError::Halted);
            }
        }
        drop(place);
        bootstrap::keep(&self.node, &self.bootstrap_peers);
        refusal.map_or(Ok(()), |error| Err(RestartError::NotRecorded(error)))
    }
}

impl Successors {
    /// Waits for the events of the node that takes the place of one whose events have ended; `None` if
    /// no other does.
    ///
    /// # Errors
    ///
    /// If the other node cannot start.
    pub async fn next(&mut self) -> Option<Result<Events, StartError>> {
        let successor = self.0.try_recv().ok()?;
        successor.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use futures_util::future::join_all;
    use x0x_core::gossip::Topic;
    use x0x_core::identity::{AgentKey, MachineKey};
    use x0x_core::link::LinkConfig;
    use x0x_core::node::{CommandError, Config, ListPeers, ListTopics, MemoryStore, StoreError};

    use super::*;
    use crate::topics::Topics;

    fn start(file: Option<RecordingFile>) -> Result<(Handle, Events), StartError> {
        let config = Config {
            machine_key: MachineKey::from_seed(&[1; 32]),
            agent_key: AgentKey::from_seed(&[2; 32]),
            certificate: None,
            sockets: vec![([127, 0, 0, 1], 0).into()],
            link: LinkConfig::default(),
            overlay: x0x_core::overlay::Config::default(),
            memory: x0x_core::support::MemoryBudget::DEFAULT,
        };
        match file {
            Some(file) => x0x_tokio::start_recorded(config, MemoryStore::default(), file),
            None => x0x_tokio::start(config, MemoryStore::default()),
        }
    }

    /// A recording of at most `bytes_max` bytes that nobody reads.
    fn file(bytes_max: u64) -> RecordingFile {
        RecordingFile::new(File::create("/dev/null").expect("it takes everything"), bytes_max)
    }

    /// A supervised node that is subscribed to one topic, and its events.
    async fn supervised(
        next: impl Fn(Option<RecordingFile>) -> Result<(Handle, Events), StartError>
        + Send
        + Sync
        + 'static,
    ) -> (Supervisor, Successors, Events) {
        let (node, events) = start(None).expect("it starts");
        let (node, topics) = (NodeHandle::new(node), Arc::new(Topics::default()));
        let keeper = Arc::new(Keeper::new(node.clone(), topics.clone()));
        let weather = Topic::new("weather").expect("a name");
        topics.add_subscription("s", &weather).expect("there is room");
        keeper.settle(&weather).await.expect("it runs");
        let next = move |_: &[SocketAddr], file| next(file);
        let (supervisor, successors) = Supervisor::new(node, keeper, Vec::new(), next);
        (supervisor, successors, events)
    }

    async fn subscribed(supervisor: &Supervisor) -> Vec<String> {
        let topics = supervisor.node().request(ListTopics).await.expect("it runs");
        let own = topics.iter().filter(|topic| topic.is_subscribed);
        own.map(|topic| topic.topic.as_str().to_owned()).collect()
    }

    #[tokio::test]
    async fn requests_during_a_replacement_are_all_answered() {
        let (supervisor, mut successors, mut events) = supervised(start).await;
        let ask = async |number: usize| {
            for _ in 0..number {
                tokio::task::yield_now().await;
            }
            supervisor.node().request(ListPeers).await
        };
        let asking = join_all((0..200).map(ask));
        let (recorded, answers) = tokio::join!(supervisor.record(file(1 << 20)), asking);
        recorded.expect("there is another node");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(subscribed(&supervisor).await, ["weather"]);
        assert_eq!(events.next().await, None, "the first node has stopped");
        assert!(matches!(successors.next().await, Some(Ok(_))));
        assert!(supervisor.node().stop_recording().await);
        supervisor.node().shut_down().await;
        assert!(successors.next().await.is_none(), "nobody takes its place");
    }

    #[tokio::test]
    async fn a_recording_that_is_too_small_leaves_a_node_that_is_not_recorded() {
        let (supervisor, mut successors, _) = supervised(start).await;
        let refused = supervisor.record(file(100)).await;
        assert!(
            matches!(refused, Err(RestartError::NotRecorded(StartError::Recording(_)))),
            "{refused:?}"
        );
        assert!(matches!(successors.next().await, Some(Ok(_))));
        assert_eq!(subscribed(&supervisor).await, ["weather"]);
        assert!(!supervisor.node().stop_recording().await);
    }

    #[tokio::test]
    async fn a_node_that_cannot_be_replaced_leaves_its_reason() {
        let full = |_| Err(StartError::Store(StoreError::Full));
        let (supervisor, mut successors, _) = supervised(full).await;
        let refused = supervisor.record(file(1 << 20)).await;
        assert!(matches!(refused, Err(RestartError::Halted)), "{refused:?}");
        let failed = successors.next().await;
        assert!(matches!(failed, Some(Err(StartError::Store(StoreError::Full)))), "{failed:?}");
        assert_eq!(supervisor.node().request(ListPeers).await, Err(CommandError::Halted));
    }
}
