//! What the application asks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use x0x_core::node::{CommandError, Reply, Request, ShutDown, TypedRequest};

use crate::restart::{Control, RecordError};
use crate::tape::Tape;

/// Where the answer to a request goes.
pub(crate) type Answer = oneshot::Sender<Result<Reply, CommandError>>;

/// Asks a node. Clones ask the same one, which runs until [`Handle::shut_down`] or until all of them
/// are dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<(Request, Answer)>,
    pub(crate) controls: mpsc::Sender<Control>,
    pub(crate) sockets: Arc<[SocketAddr]>,
}

impl Handle {
    /// Asks and waits for the answer. Requests of one task reach the node in the order in which
    /// they were made.
    ///
    /// # Errors
    ///
    /// The node's refusal, or [`CommandError::Halted`] if it does not run any more.
    pub async fn request<R: TypedRequest>(&self, request: R) -> Result<R::Reply, CommandError> {
        let answer = self.send(request.into()).await?;
        let reply = answer.await.map_err(|_| CommandError::Halted)??;
        // The node answers each request with the reply of its type.
        R::reply(reply).ok_or(CommandError::Halted)
    }

    /// Hands a request over and returns what its answer will come from, so that a caller can have
    /// many under way in a certain order.
    ///
    /// # Errors
    ///
    /// [`CommandError::Halted`] if the node does not run any more.
    pub async fn send(
        &self,
        request: Request,
    ) -> Result<oneshot::Receiver<Result<Reply, CommandError>>, CommandError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send((request, answer)).await.map_err(|_| CommandError::Halted)?;
        Ok(answered)
    }

    /// Ends everything that waits, tells the peers and stops the node. Returns once nothing is left
    /// to send and all writes are stored.
    pub async fn shut_down(&self) {
        // A node that runs no more is shut down already.
        let _ = self.request(ShutDown).await;
        self.requests.closed().await;
    }

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

    /// Returns the local addresses of the node's sockets.
    pub fn sockets(&self) -> &[SocketAddr] {
        &self.sockets
    }
}
