//! What the application asks of a node.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender};
use futures_channel::oneshot;
use futures_core::Stream as _;
use x0x_core::node::{CommandError, Reply, Request, ShutDown, TypedRequest};

use crate::recording_file::Written;

/// How many requests wait for the loop, and how many it takes at once.
pub const COMMANDS_MAX: usize = 1024;

/// The answer to a request, once there is one. It is cancelled if the node stops before it has taken
/// the request.
pub type Answer = oneshot::Receiver<Result<Reply, CommandError>>;

/// What an application asks of a driver.
pub(crate) enum Call {
    Request(Request, oneshot::Sender<Result<Reply, CommandError>>),
    /// Answered with the end of the recording's file, if there is a recording.
    StopRecording(oneshot::Sender<Option<Written>>),
}

/// Makes a queue of [`COMMANDS_MAX`] calls.
pub(crate) fn calls() -> (Sender<Call>, Calls) {
    let (sender, receiver) = async_channel::bounded(COMMANDS_MAX);
    (sender, Calls { receiver: Box::pin(receiver), is_over: false })
}

/// The loop's end of the queue of calls.
pub(crate) struct Calls {
    receiver: Pin<Box<Receiver<Call>>>,
    /// Whether the end was reported.
    is_over: bool,
}

impl Calls {
    /// Takes the next call. Reports once, by `None`, that no handle is left.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Call>> {
        if self.is_over {
            return Poll::Pending;
        }
        let next = self.receiver.as_mut().poll_next(context);
        self.is_over = matches!(next, Poll::Ready(None));
        next
    }

    /// Takes the next call, if one waits.
    pub(crate) fn try_next(&self) -> Option<Call> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // A channel keeps its content as long as a sender lives. Dropped, calls are answered.
        self.receiver.close();
        while self.receiver.try_recv().is_ok() {}
    }
}

/// Waits for the answer to a request of a type.
///
/// # Errors
///
/// The node's refusal, or [`CommandError::Halted`] if the node has stopped.
pub async fn reply_to<R: TypedRequest>(answer: Answer) -> Result<R::Reply, CommandError> {
    let reply = answer.await.map_err(|_| CommandError::Halted)??;
    // The node answers each request with the reply of its type.
    R::reply(reply).ok_or(CommandError::Halted)
}

/// Asks a node. Clones ask the same node, which runs until [`Handle::shut_down`] or until the last
/// clone is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) calls: Sender<Call>,
    pub(crate) sockets: Arc<[SocketAddr]>,
}

impl Handle {
    /// Asks and waits for the answer. Requests of one task reach the node in the order in which
    /// they were made.
    ///
    /// # Errors
    ///
    /// The node's refusal, or [`CommandError::Halted`] if the node has stopped.
    pub async fn request<R: TypedRequest>(&self, request: R) -> Result<R::Reply, CommandError> {
        reply_to::<R>(self.send(request.into()).await?).await
    }

    /// Hands a request over and returns its answer to come, so that a caller can have many requests
    /// under way in a certain order. Waits while [`COMMANDS_MAX`] requests wait for the loop.
    ///
    /// # Errors
    ///
    /// [`CommandError::Halted`] if the node has stopped.
    pub async fn send(&self, request: Request) -> Result<Answer, CommandError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.calls.send(Call::Request(request, answer)).await;
        sent.map_err(|_| CommandError::Halted)?;
        Ok(answered)
    }

    /// Ends the recording, if there is one; the node goes on. Returns once the file is whole, whether
    /// there was a recording.
    pub async fn stop_recording(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        // A node that has stopped has ended its recording.
        let _ = self.calls.send(Call::StopRecording(answer)).await;
        let Ok(Some(written)) = answered.await else { return false };
        // The thread that writes ends only after it has reported.
        let _ = written.await;
        true
    }

    /// Ends everything that waits, informs the peers and stops the node. Returns once nothing is left
    /// to send, all writes are stored, a recording is whole and the sockets are closed.
    pub async fn shut_down(&self) {
        // A node that has stopped is shut down already.
        let _ = self.request(ShutDown).await;
        self.calls.closed().await;
    }

    /// Returns the local addresses of the node's sockets.
    pub fn sockets(&self) -> &[SocketAddr] {
        &self.sockets
    }
}
