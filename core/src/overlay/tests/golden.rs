//! The bytes of frames.

use std::fmt::Write as _;

use bytes::Bytes;

use super::super::frames::{Entries, Entry, Frame, Ids, Message, Priority, decode, encode};
use super::super::tree::Beacon;
use super::super::{Contact, ItemId, Stamp, TopicId};
use crate::identity::MachineId;
use crate::support::testing::{check_golden, hex};
use crate::wire::{BoundedBytes, BoundedVec};

fn entry() -> Entry<MachineId> {
    let contact = Contact::copy_from(&[192, 0, 2, 1, 0x15, 0x6b]).unwrap();
    Entry { peer: MachineId([3; 32]), contact }
}

fn messages() -> Vec<(&'static str, Message<MachineId>)> {
    let entries = || Entries::new(vec![entry()]).unwrap();
    let ids = || Ids::new(vec![ItemId([4; 16]), ItemId([5; 16])]).unwrap();
    let stamp = Stamp { time: 1_750_000_000_000, id: ItemId([4; 16]) };
    let root = MachineId([3; 32]);
    let reconcile = BoundedBytes::copy_from(b"reconciliation").unwrap();
    vec![
        ("joined", Message::Joined),
        ("left", Message::Left),
        ("refer", Message::PeerExchange(entries())),
        ("neighbour low", Message::Neighbor(Priority::Low)),
        ("neighbour high", Message::Neighbor(Priority::High)),
        ("neighbour closer", Message::Neighbor(Priority::Closer)),
        ("answer", Message::NeighborReply(true)),
        ("part", Message::Disconnect),
        ("newcomer", Message::ForwardJoin { entry: entry(), steps: 6 }),
        ("shuffle", Message::Shuffle { walk: 300, steps: 3, entries: entries() }),
        ("shuffled", Message::ShuffleReply { walk: 300, entries: entries() }),
        ("push", Message::Push { stamp, hops: 2, is_repair: false }),
        ("have", Message::IHave { ids: ids(), is_repair: true }),
        ("graft child", Message::Graft { is_child: true, item: None }),
        ("graft item", Message::Graft { is_child: false, item: Some(ItemId([4; 16])) }),
        ("prune", Message::Prune),
        ("want", Message::IWant(ids())),
        (
            "beacon",
            Message::Beacon(Beacon { root, generation: 1, sequence: 1_750_000_000_000, hops: 4 }),
        ),
        ("reconcile", Message::Reconcile(reconcile)),
    ]
}

#[test]
fn the_bytes_of_frames_do_not_change() {
    let topic = TopicId([7; 32]);
    let topics = BoundedVec::new(vec![topic]).unwrap();
    let mut text = format!("topics {}\n", hex(&encode(&Frame::<MachineId>::Topics(topics))));
    for (name, message) in messages() {
        let rest = if name == "push" { &b"item"[..] } else { &[] };
        let frame = Frame::Topic(topic, message);
        let bytes: Bytes = [&encode(&frame)[..], rest].concat().into();
        assert_eq!(decode(&bytes), Ok((frame, Bytes::from(rest))), "{name}");
        writeln!(text, "{name}: {}", hex(&bytes)).unwrap();
    }
    check_golden("overlay.txt", &text);
}

#[test]
fn a_frame_that_is_cut_or_too_long_is_refused() {
    for (name, message) in messages() {
        let bytes = encode(&Frame::Topic(TopicId([7; 32]), message));
        for size in 0..bytes.len() {
            let cut = decode::<MachineId>(&bytes.slice(..size));
            assert!(cut.is_err(), "{name} cut to {size}");
        }
        if name != "push" {
            let long: Bytes = [&bytes[..], &[0]].concat().into();
            assert!(decode::<MachineId>(&long).is_err(), "{name} with a byte more");
        }
    }
}
