//! How windows grow and shrink, and what waits for peers that do not read.

use super::*;
use crate::link::streams::Streams;

/// The dialler sends frames of gossip of 10 kB each.
fn send(pair: &mut Pair, count: usize) {
    let machine = pair.server();
    for _ in 0..count {
        pair.act(DIALLER, |state, context| {
            state.send(&machine, Class::Gossip, &[], &vec![7; 10_000].into());
            state.flush(context);
        });
        pair.run_for(Duration::ZERO);
    }
}

#[test]
fn a_window_grows_with_its_use_and_counts_until_the_connection_is_gone() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.ends[SERVER].state.usage().credit_bytes, WINDOW_MIN as usize);
    send(&mut pair, 800);
    let state = &pair.ends[SERVER].state;
    assert_eq!(state.usage().credit_bytes, WINDOW_MAX as usize);
    assert_eq!(state.peers.streams.grown_bytes, (WINDOW_MAX - WINDOW_MIN) as usize);
    assert_eq!(pair.ends[SERVER].frames.len(), 800);
    pair.disconnect();
    pair.run_for(Duration::from_secs(60));
    for end in &pair.ends {
        let state = &end.state;
        assert_eq!(
            (
                state.peers.streams.grown_bytes,
                state.peers.streams.reassembly_bytes,
                state.peers.streams.buffered_bytes
            ),
            (0, 0, 0)
        );
    }
}

#[test]
fn windows_grow_no_further_than_their_part_of_the_pool() {
    let mut pair = Pair::new();
    pair.connect();
    pair.ends[SERVER].state.peers.streams.limits.pool = 3 * 100_000;
    send(&mut pair, 200);
    let grown = pair.ends[SERVER].state.peers.streams.grown_bytes;
    assert_eq!(grown, (4 - 1) * WINDOW_MIN as usize, "the next step would be seven");
    assert_eq!(pair.ends[SERVER].frames.len(), 200);
}

#[test]
fn a_window_that_is_not_used_is_taken_from_a_peer_for_the_sake_of_another() {
    for (name, idle, window, is_taken) in [
        ("used not long ago", 59, WINDOW_MIN, false),
        ("not larger", 61, WINDOW_MAX, false),
        ("idle", 61, WINDOW_MIN, true),
    ] {
        let mut pair = Pair::new();
        pair.connect();
        send(&mut pair, 800);
        pair.run_for(Duration::from_secs(idle));
        pair.act(SERVER, |state, context| {
            let idle = Streams::idle_connection(context, &state.peers.connections, window);
            if let Some(key) = idle {
                state.close(context, key, CloseCode::Bye);
            }
        });
        assert_eq!(pair.ends[SERVER].downs, usize::from(is_taken), "{name}");
        assert_eq!(pair.count(SERVER, Counter::CreditOverLimit), is_taken.into(), "{name}");
    }
}

#[test]
fn a_peer_that_does_not_read_loses_its_session_when_send_buffers_hold_too_much() {
    let mut pair = Pair::new();
    pair.connect();
    pair.is_deaf[SERVER] = true;
    pair.ends[DIALLER].state.peers.streams.limits.send = 200_000;
    send(&mut pair, 20);
    assert_eq!(pair.ends[DIALLER].downs, 0);
    send(&mut pair, 10);
    assert_eq!(pair.ends[DIALLER].downs, 1);
    assert_eq!(pair.count(DIALLER, Counter::SendBuffersOverLimit), 1);
    assert_eq!(pair.ends[DIALLER].state.peers.streams.buffered_bytes, 0);
}
