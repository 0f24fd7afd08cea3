//! Connection ids, server names, raw keys and key shares.

use std::sync::LazyLock;

use x0x_core::crypto::tls::{fuzzing as tls, server_name};
use x0x_core::transport::fuzzing;

use crate::input::Input;

const SEED: [u8; 32] = [9; 32];

/// An id that was issued names its connection, in a packet of either form; any other datagram
/// names some connection or none.
pub fn connection_id(data: &[u8]) {
    if let Some((id, _)) = fuzzing::owner(data, SEED) {
        assert!(data.windows(id.len()).any(|window| window == id));
    }
    let number = u32::from_be_bytes(Input::new(data).array());
    let issued = fuzzing::issue(number, SEED);
    let short = [&[0x40], &issued[..], data].concat();
    let long = [&[0xc0, 0, 0, 0, 1, 8], &issued[..], data].concat();
    for datagram in [short, long] {
        let (id, named) = fuzzing::owner(&datagram, SEED).expect("an id is found");
        assert_eq!((&id[..], named), (&issued[..], number));
    }
    // Whoever has an id of one connection cannot choose what a changed one names.
    let change: u32 = u32::from_be_bytes(Input::new(data).array()) | 1;
    let mut changed = [&[0x40], &issued[..]].concat();
    for (byte, change) in changed[5..].iter_mut().zip(change.to_be_bytes()) {
        *byte ^= change;
    }
    let named = fuzzing::owner(&changed, SEED).map(|(_, named)| named);
    assert_ne!(named, Some(number ^ change));
}

/// A name stands for one machine, and a machine has one name.
pub fn tls_name(data: &[u8]) {
    let id = Input::new(data).array();
    assert_eq!(tls::name(&server_name(Some(&id))), Some(Some(id)));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(expected) = tls::name(text) {
        assert_eq!(server_name(expected.as_ref()), text, "one form");
    }
}

/// A raw public key has one form.
pub fn tls_key(data: &[u8]) {
    if let Some(rewritten) = tls::spki(data) {
        assert_eq!(rewritten, data, "one form");
    }
}

/// Shares of a key exchange: a client's own share gives both ends one secret, any other share
/// gives a secret of the right length or none.
pub fn tls_share(data: &[u8]) {
    static CLIENT: LazyLock<[Vec<u8>; 2]> =
        LazyLock::new(|| [false, true].map(|hybrid| tls::take_share(&[], hybrid, SEED).0));
    let mut input = Input::new(data);
    let flags = input.byte();
    let (hybrid, at_client) = (flags & 1 == 1, flags & 2 == 2);
    let share = input.rest();
    let (ciphertext, secret) = if hybrid { (1088 + 32, 64) } else { (1088, 32) };
    if at_client {
        let (_, taken) = tls::take_share(share, hybrid, SEED);
        assert!(taken.is_none_or(|taken| taken.len() == secret && share.len() == ciphertext));
    } else if let Some((answer, made)) = tls::answer_share(share, hybrid, SEED) {
        assert_eq!((answer.len(), made.len()), (ciphertext, secret));
        if share == CLIENT[usize::from(hybrid)] {
            assert_eq!(tls::take_share(&answer, hybrid, SEED).1, Some(made));
        }
    }
}

/// Returns the shares that a client and a server really send.
pub(crate) fn shares(hybrid: bool) -> (Vec<u8>, Vec<u8>) {
    let client = tls::take_share(&[], hybrid, SEED).0;
    let server = tls::answer_share(&client, hybrid, SEED).expect("the share is genuine").0;
    (client, server)
}
