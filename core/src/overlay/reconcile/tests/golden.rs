//! The bytes of an exchange, compared with `tests/golden/reconciliation.txt`.

use bytes::Bytes;

use super::super::super::history::{Fingerprint, HISTORY_MILLIS};
use super::super::super::{ItemId, Stamp};
use super::super::{Message, Opening, open, respond};
use super::harness::{NOW, history, stamp_at};
use super::messages::sample;
use crate::support::testing::{check_golden, hex};

fn stamp(number: u64) -> Stamp {
    stamp_at(number, NOW - 60_000 + number / 2 * 300)
}

/// The messages of an exchange between two nodes.
fn exchange() -> Vec<Bytes> {
    let since = NOW - HISTORY_MILLIS;
    let nodes = [
        history(since, (0..40).filter(|&number| number != 7).map(stamp)),
        history(since, (0..40).filter(|&number| number != 30).map(stamp)),
    ];
    let opening = Opening { now: NOW, until: NOW, salt: 0x0123_4567_89ab_cdef };
    let mut message = open(&nodes[0], opening);
    let mut bytes = Vec::new();
    for node in [1, 0, 1, 0] {
        let Some(sent) = message else { break };
        bytes.push(sent.encode());
        message = respond(&nodes[node], &sent).reply;
    }
    assert_eq!(message, None, "the exchange is over");
    bytes
}

#[test]
fn the_bytes_of_a_reconciliation_do_not_change() {
    let mut text = String::from(
        "# Fingerprints of the ids 16 times 01, 16 times 02 and 16 times ff, added one by one;\n\
         # salt 0x0123456789abcdef.\n",
    );
    let ids = [1, 2, 0xff].map(|byte| ItemId([byte; 16]));
    for count in 0..=ids.len() {
        let fingerprint = Fingerprint::of(0x0123_4567_89ab_cdef, &ids[..count]);
        text += &format!("fingerprint of {count} = {}\n", hex(&fingerprint.0));
    }
    text += "# A range of each kind; salt 1.\n";
    assert_eq!(Message::decode(&sample().encode()), Ok(sample()));
    text += &format!("ranges = {}\n", hex(&sample().encode()));
    text += "# An exchange at 1,750,000,000,000 ms. The id of item n is the first 16 bytes of the\n\
             # BLAKE3 hash of n (8 bytes, big-endian); its time is 60,000 ms before, and 300 ms later\n\
             # for every second item. The first node has the items 0 to 39 without 7, the second\n\
             # without 30.\n";
    for (number, bytes) in (1..).zip(exchange()) {
        text += &format!("message {number} = {}\n", hex(&bytes));
    }
    check_golden("reconciliation.txt", &text);
}
