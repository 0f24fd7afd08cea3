//! What both sides remember in order to resume a session (RFC 8446 §2.2).
//!
//! Both caches are empty at first, forget the least recently used session when they are full, and
//! give each session out once. The server keeps the state of a session itself and sends only its
//! random name.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::StoresServerSessions;

use super::name::{Expected, expected};
use crate::support::BoundedMap;

/// How many sessions a node remembers as a server, about 2 KiB each.
pub const SERVER_SESSIONS_MAX: usize = 256;
/// How many machines a node remembers a session with as a client, about 2 KiB each.
pub const CLIENT_SESSIONS_MAX: usize = 256;

/// The sessions that the node accepted, by their random names.
pub(super) struct ServerSessions(Mutex<BoundedMap<Vec<u8>, Vec<u8>>>);

impl ServerSessions {
    fn lock(&self) -> MutexGuard<'_, BoundedMap<Vec<u8>, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ServerSessions {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(SERVER_SESSIONS_MAX)))
    }
}

impl fmt::Debug for ServerSessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServerSessions").finish_non_exhaustive()
    }
}

impl StoresServerSessions for ServerSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.lock().insert(key, value);
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.lock().get_mut(&key.to_vec()).cloned()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.lock().remove(&key.to_vec())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The last ticket of each machine that the node knew by its id when it connected.
///
/// A machine that was called as a stranger is never resumed: strangers share one name.
pub(super) struct ClientSessions(Mutex<BoundedMap<[u8; 32], Tls13ClientSessionValue>>);

impl ClientSessions {
    fn lock(&self) -> MutexGuard<'_, BoundedMap<[u8; 32], Tls13ClientSessionValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ClientSessions {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(CLIENT_SESSIONS_MAX)))
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientSessions").finish_non_exhaustive()
    }
}

fn machine(name: &ServerName<'_>) -> Option<[u8; 32]> {
    match expected(&name.to_str())? {
        Expected::Machine(id) => Some(id),
        Expected::Anyone => None,
    }
}

impl ClientSessionStore for ClientSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if let Some(id) = machine(&name) {
            self.lock().insert(id, ticket);
        }
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().remove(&machine(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_cache_forgets_the_oldest_session() {
        let sessions = ServerSessions::default();
        for index in 0..=SERVER_SESSIONS_MAX {
            assert!(sessions.put(index.to_be_bytes().to_vec(), vec![1]));
        }
        assert_eq!(sessions.get(&0_usize.to_be_bytes()), None);
        assert_eq!(sessions.get(&1_usize.to_be_bytes()), Some(vec![1]));
        assert_eq!(sessions.lock().len(), SERVER_SESSIONS_MAX);
    }

    #[test]
    fn a_server_session_is_given_out_once() {
        let sessions = ServerSessions::default();
        sessions.put(vec![1], vec![2]);
        assert_eq!(sessions.take(&[1]), Some(vec![2]));
        assert_eq!(sessions.take(&[1]), None);
    }
}
