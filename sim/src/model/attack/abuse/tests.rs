//! What an attacker writes is what an honest node reads.

use std::time::Duration;

use x0x_core::overlay::{ItemId, Stamp};
use x0x_core::session::Contact;

use super::*;
use crate::model::attack::Attacker;
use crate::model::attack::frames::{Entry, Priority};
use crate::model::{ModelConfig, OverlayNode, World};

/// Says one thing to whom it dials, and nothing else.
#[derive(Debug)]
struct OneFrame {
    target: PeerId,
    frame: Vec<u8>,
}

impl Attacker for OneFrame {
    fn on_start(&mut self, hand: &mut Hand<'_, '_>) {
        hand.dial(self.target);
    }

    fn on_peer_up(&mut self, hand: &mut Hand<'_, '_>, peer: PeerId, _contact: &Contact) {
        hand.send(peer, self.frame.clone().into());
    }
}

/// Returns whether an honest node finds a frame malformed.
fn is_malformed(frame: Vec<u8>) -> bool {
    let mut world = World::<OverlayNode>::new(ModelConfig::new(1, 2));
    world.start(0, &[]);
    let target = world.id(0);
    world.start_hostile(1, &[], |_, _| Box::new(OneFrame { target, frame }));
    world.run_for(Duration::from_secs(1));
    assert!(world.traffic(0).0.bytes() > 0, "it arrived");
    world.rules().contains_key("a malformed frame of the overlay")
}

fn entry() -> Entry {
    let peer = PeerId::invented(7);
    Entry { peer, contact: peer.contact() }
}

fn messages() -> Vec<Message> {
    let ids = || vec![ItemId([3; 16]); 2];
    let entries = || vec![entry(), entry()];
    let stamp = Stamp { time: 300, id: ItemId([4; 16]) };
    vec![
        Message::Joined,
        Message::Left,
        Message::Refer(entries()),
        Message::Neighbour(Priority::Closer),
        Message::Answer(true),
        Message::Part,
        Message::Newcomer { entry: entry(), steps: 6 },
        Message::Shuffle { walk: 300, steps: 6, entries: entries() },
        Message::Shuffled { walk: 300, entries: entries() },
        Message::Push { stamp, hops: 1, is_repair: false },
        Message::Have { ids: ids(), is_repair: true },
        Message::Graft { is_child: true, item: Some(ItemId([5; 16])) },
        Message::Prune,
        Message::Want(ids()),
        Message::Beacon { root: entry().peer, generation: 300, sequence: 300, hops: 1 },
        Message::Reconcile(vec![0; 9]),
    ]
}

#[test]
fn an_honest_node_reads_what_an_attacker_writes() {
    for message in messages() {
        let is_push = matches!(message, Message::Push { .. });
        let mut frame = Frame::Topic(main_topic(), message.clone()).encode();
        if is_push {
            frame.push(0);
        }
        let (read, item) = Frame::decode(&frame).unwrap();
        assert_eq!(read, Frame::Topic(main_topic(), message.clone()));
        assert_eq!(item.len(), usize::from(is_push));
        assert!(!is_malformed(frame.clone()), "{message:?}");
        // The test can tell: a byte less, or one more behind a push of nothing.
        let cut = frame.len() - if is_push { 2 } else { 1 };
        assert!(is_malformed(frame[..cut].to_vec()), "{message:?}");
    }
}

#[test]
fn a_node_that_reappears_is_somebody_else() {
    let mut world = World::<OverlayNode>::new(ModelConfig::new(1, 2));
    world.start(0, &[]);
    let (target, before) = (world.id(0), world.id(1));
    world.start_hostile(1, &[], |me, _| {
        Box::new(crate::model::attack::Strangers::new::<OverlayNode>(me, vec![target]))
    });
    world.run_for(Duration::from_secs(10));
    let sessions = world.tally().sessions;
    assert!(sessions >= 20, "{sessions} sessions");
    assert_ne!(world.id(1), before);
    assert!(world.sessions(0) <= 1, "{}", world.sessions(0));
}
