//! What the application asks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use x0x_core::node::{CommandError, Reply, Request, ShutDown, TypedRequest};

use crate::restart::Control;

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

    /// Returns the local addresses of the node's sockets.
    pub fn sockets(&self) -> &[SocketAddr] {
        &self.sockets
    }
}
