//! Where a client keeps the tickets with which it resumes.

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

use super::CLIENT_SESSIONS_MAX;
use super::identity::named_machine;

/// Keeps tickets for known machines only.
///
/// Tickets are found by server name alone. All peers that are dialled without knowing their
/// machine share one name, and a ticket of one must not be offered to another.
#[derive(Debug)]
pub(super) struct PeerSessions(ClientSessionMemoryCache);

impl PeerSessions {
    pub(super) fn new() -> Self {
        Self(ClientSessionMemoryCache::new(CLIENT_SESSIONS_MAX))
    }
}

impl ClientSessionStore for PeerSessions {
    // There is one group, so a hint says nothing.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // TLS 1.2 is never spoken.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if named_machine(&name).is_some() {
            self.0.insert_tls13_ticket(name, value);
        }
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        named_machine(name)?;
        self.0.take_tls13_ticket(name)
    }
}
