//! The peers that the configuration names.

use std::net::SocketAddr;
use std::time::Duration;

use x0x_core::link::ConnectError;
use x0x_core::node::{Connect, Target};

use crate::node::NodeHandle;

/// How long the start waits for a configured peer before it says that there is none.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(60);

/// Dials the peers at these addresses in the background and keeps the links.
pub(crate) fn keep(node: &NodeHandle, addresses: &[SocketAddr]) {
    for &address in addresses {
        tokio::spawn(dial(node.clone(), address));
    }
}

async fn dial(node: NodeHandle, address: SocketAddr) {
    let target = Target::Address { address, machine: None };
    let connect = Connect { target, keep: true, timeout: BOOTSTRAP_TIMEOUT };
    match node.request(connect).await {
        Ok(Ok(link)) => tracing::info!(%address, machine = %link.machine.short(), "connected"),
        // The node stops. If another takes its place, that one dials the peer again.
        Ok(Err(ConnectError::Cancelled)) => {}
        Ok(Err(error)) => tracing::warn!(%address, %error, "a bootstrap peer is not reached yet"),
        Err(error) => tracing::warn!(%address, %error, "a bootstrap peer cannot be dialled"),
    }
}
