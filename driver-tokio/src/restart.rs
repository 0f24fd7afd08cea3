//! The recording of a node that runs already. Its state cannot be stored, so a new node takes its
//! place: with the same keys, sockets and topics, and what the store has. Its links end and have to
//! be made again.
//!
//! Everybody who waits for an answer learns that the node restarts. Requests that come in the
//! meantime wait for the new node.

use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task;
use x0x_core::gossip::Topic;
use x0x_core::node::recording::{End, TooSmall};
use x0x_core::node::{
    Command, CommandError, CommandId, Event, Fatal, Input, ListTopics, Reply, Request, Restored,
    ShutDown, StoreError, Subscribe,
};

use crate::handle::Handle;
use crate::recorded::Recorded;
use crate::run::Driver;
use crate::store::{Done, Task};
use crate::tape::Tape;

/// Why a node is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is already.
    #[error("a recording is under way")]
    UnderWay,
    /// It does not run any more.
    #[error("the node does not run")]
    Halted,
    /// The recording has no room for its header. The node was restarted.
    #[error(transparent)]
    TooSmall(#[from] TooSmall),
    /// The system gave no randomness.
    #[error("the system gives no randomness")]
    Randomness,
}

/// What the owner of a node wants of its driver.
pub(crate) enum Control {
    Record(Tape, oneshot::Sender<Result<(), RecordError>>),
    /// Answered when the file is whole, with whether there was a recording.
    StopRecording(oneshot::Sender<bool>),
}

/// A restart that is under way.
pub(crate) struct Restart {
    tape: Tape,
    seed: [u8; 32],
    topics: Vec<Topic>,
    answer: oneshot::Sender<Result<(), RecordError>>,
}

impl Handle {
    /// Records the node from here on, which restarts it: its links end for a moment, whoever waits for
    /// an answer gets [`CommandError::Restarting`], and links that were to be kept have to be asked
    /// for again. Topics stay subscribed. The recording holds secrets.
    ///
    /// # Errors
    ///
    /// See [`RecordError`].
    pub async fn record(&self, tape: Tape) -> Result<(), RecordError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.controls.send(Control::Record(tape, answer)).await;
        sent.map_err(|_| RecordError::Halted)?;
        answered.await.unwrap_or(Err(RecordError::Halted))
    }

    /// Ends a recording; the node goes on. Returns once the file is whole, whether there was one.
    pub async fn stop_recording(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        // A node that does not run has ended its recording.
        let _ = self.controls.send(Control::StopRecording(answer)).await;
        answered.await.unwrap_or(false)
    }
}

impl Driver {
    pub(crate) fn control(&mut self, control: Control) {
        match control {
            Control::Record(tape, answer) => self.begin_restart(tape, answer),
            Control::StopRecording(answer) => {
                let Some(thread) = self.node.finish(End::Stopped) else {
                    let _ = answer.send(false);
                    return;
                };
                task::spawn_blocking(move || {
                    // A panic there is reported by the runtime.
                    let _ = thread.join();
                    let _ = answer.send(true);
                });
            }
        }
    }

    /// Shuts the node down, to start another one in its place.
    fn begin_restart(&mut self, tape: Tape, answer: oneshot::Sender<Result<(), RecordError>>) {
        let mut seed = [0; 32];
        let refusal = if self.is_stopping {
            Some(RecordError::Halted)
        } else if self.node.is_recorded() {
            Some(RecordError::UnderWay)
        } else {
            getrandom::fill(&mut seed).err().map(|_| RecordError::Randomness)
        };
        if let Some(refusal) = refusal {
            // Whoever asked may have given up.
            let _ = answer.send(Err(refusal));
            return;
        }
        let topics = self.topics();
        for (_, waiting) in self.answers.drain() {
            let _ = waiting.send(Err(CommandError::Restarting));
        }
        if self.own_command(ShutDown.into()).is_ok() {
            self.restart = Some(Restart { tape, seed, topics, answer });
        } else {
            let _ = answer.send(Err(RecordError::Halted));
        }
    }

    /// The topics that the node is subscribed to.
    fn topics(&mut self) -> Vec<Topic> {
        let (answer, mut answered) = oneshot::channel();
        let Ok(id) = self.own_command(ListTopics.into()) else { return Vec::new() };
        self.answers.insert(id, answer);
        // This one is answered at once.
        self.tell();
        let Ok(Ok(Reply::ListTopics(topics))) = answered.try_recv() else { return Vec::new() };
        topics.into_iter().filter(|topic| topic.is_subscribed).map(|topic| topic.topic).collect()
    }

    /// Starts the new node, once the old one has nothing left to send or to store.
    pub(crate) async fn finish_restart(&mut self, restart: Restart) {
        let Restart { tape, seed, topics, answer } = restart;
        // The thread lives as long as the loop.
        let _ = self.store.tasks.send(Task::Restore);
        let started = match self.restored().await {
            Ok(restored) => Recorded::start(&self.config, seed, restored, Some(tape))
                .map_err(|error| StoreError::Failed(error.to_string())),
            Err(error) => Err(error),
        };
        match started {
            Ok((node, too_small)) => {
                self.node = node;
                self.is_stopping = false;
                for topic in topics {
                    // There is as much room as the old node had.
                    let _ = self.own_command(Subscribe { topic }.into());
                }
                let _ = answer.send(too_small.map_or(Ok(()), |error| Err(error.into())));
            }
            Err(error) => {
                self.events.push(Event::Halted(Fatal::Store(error)));
                let _ = answer.send(Err(RecordError::Halted));
            }
        }
    }

    /// Waits for what the store has. There is no node meanwhile that could be held up.
    async fn restored(&mut self) -> Result<Restored, StoreError> {
        loop {
            match self.store.done.recv().await {
                Some(Done::Restored(restored)) => return restored,
                // The old node wanted it.
                Some(Done::Stored(..) | Done::Loaded(..)) => {}
                None => return Err(StoreError::Failed("the store has stopped".to_owned())),
            }
        }
    }

    /// Asks the node something of which nobody else needs the answer.
    pub(crate) fn own_command(&mut self, request: Request) -> Result<CommandId, CommandError> {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        self.node.handle(Instant::now(), Input::Command(Command { id, request })).map(|()| id)
    }
}
