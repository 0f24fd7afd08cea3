//! The node that runs at the moment. Another one can take its place, see
//! [`Supervisor`](crate::supervisor::Supervisor).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{RwLock, RwLockWriteGuard};
use x0x_core::node::{CommandError, Request, TypedRequest};
use x0x_tokio::{Answer, Handle, reply_to};

use crate::queue::lock;

/// Asks the node that runs at the moment. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct NodeHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held for reading while a request is handed over, and for writing while there is no node.
    current: RwLock<Handle>,
    sockets: Mutex<Arc<[SocketAddr]>>,
}

/// The place of a node while it is replaced. Requests wait until this is dropped.
pub(crate) struct Replacement<'a> {
    shared: &'a Shared,
    current: RwLockWriteGuard<'a, Handle>,
}

impl NodeHandle {
    /// Takes a node that runs.
    pub fn new(node: Handle) -> Self {
        let sockets = Mutex::new(node.sockets().into());
        Self(Arc::new(Shared { current: RwLock::new(node), sockets }))
    }

    /// Asks and waits for the answer, see [`Handle::request`]. While the node is replaced, the request
    /// waits for the next one.
    ///
    /// # Errors
    ///
    /// As [`Handle::request`].
    pub async fn request<R: TypedRequest>(&self, request: R) -> Result<R::Reply, CommandError> {
        reply_to::<R>(self.send(request.into()).await?).await
    }

    /// Hands a request over, see [`Handle::send`]. While the node is replaced, the request waits for
    /// the next one.
    ///
    /// # Errors
    ///
    /// As [`Handle::send`].
    pub async fn send(&self, request: Request) -> Result<Answer, CommandError> {
        self.0.current.read().await.send(request).await
    }

    /// Ends the recording of the node, see [`Handle::stop_recording`].
    pub async fn stop_recording(&self) -> bool {
        self.0.current.read().await.stop_recording().await
    }

    /// Stops the node, see [`Handle::shut_down`].
    pub async fn shut_down(&self) {
        self.0.current.read().await.shut_down().await;
    }

    /// Returns the local addresses of the node's sockets.
    pub fn sockets(&self) -> Arc<[SocketAddr]> {
        lock(&self.0.sockets).clone()
    }

    /// Waits until no request is being handed over, and lets further ones wait.
    pub(crate) async fn replace(&self) -> Replacement<'_> {
        let current = self.0.current.write().await;
        Replacement { shared: &self.0, current }
    }
}

impl Replacement<'_> {
    /// The node in the place.
    pub(crate) fn node(&self) -> &Handle {
        &self.current
    }

    /// Puts a node into the place.
    pub(crate) fn set(&mut self, node: Handle) {
        *lock(&self.shared.sockets) = node.sockets().into();
        *self.current = node;
    }
}
