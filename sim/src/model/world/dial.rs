//! Sessions that begin and end.

use x0x_core::session::{self, Contact};

use super::{Duration, End, Event, Input, Mind, PeerId, Protocol, Slot, World};
use crate::model::session::{Lane, Session};
use crate::random;

impl<P: Protocol> World<P> {
    /// Does what an overlay asks for.
    pub(super) fn connect(&mut self, node: u32, peer: PeerId, contact: &Contact) {
        let index = peer.index();
        let is_real = self.nodes.get(index as usize).is_some_and(|slot| slot.id == peer);
        let leads_there = **contact == *peer.contact();
        if !is_real || !leads_there || index == node {
            self.tally.connects_misled += u64::from(is_real);
            let at = self.now + random::nanos(self.config.dial_timeout);
            let slot = self.nowhere.insert((node, peer));
            self.queue.push(at, Event::Nowhere(slot));
            return;
        }
        self.dial(node, index, false);
    }

    /// Begins a session, or joins the dial that is under way.
    pub(super) fn dial(&mut self, node: u32, target: u32, is_pinned: bool) {
        let peer = self.nodes[target as usize].id;
        if let Some(end) = self.end(node, peer)
            && let Some(session) = self.sessions.get_mut(end)
        {
            session.wanted[end.index()] = true;
            session.is_pinned |= is_pinned;
            self.tally.connects_redundant += u64::from(session.up[end.index()] && !is_pinned);
            return;
        }
        let latency = random::nanos(self.config.latency_of(node, target));
        let end = self.sessions.insert(Session {
            generation: 0,
            nodes: [node, target],
            ids: [self.nodes[node as usize].id, peer],
            up: [false; 2],
            wanted: [true, false],
            is_pinned,
            is_cut: false,
            latency,
            dialled_at: self.now,
            lanes: [Lane::default(), Lane::default()],
        });
        self.enter(node, target, end);
        self.queue.push(self.now + 3 * latency, Event::Connected(end));
    }

    /// Ends the dial that a node has under way to a peer, without a word. Returns whether there was one.
    pub(super) fn give_up_dial(&mut self, node: u32, peer: PeerId) -> bool {
        let Some(end) = self.end(node, peer) else { return false };
        let is_dialling = self.sessions.get(end).is_some_and(Session::is_dialling);
        if is_dialling {
            self.forget(node, end);
            self.sessions.remove(end);
        }
        is_dialling
    }

    /// The handshake of a dial is over, unless the other side cannot be reached.
    pub(super) fn connected(&mut self, end: End) {
        let Some(session) = self.sessions.get(end) else { return };
        let [node, target] = session.nodes;
        let failed_at = session.dialled_at + random::nanos(self.config.dial_timeout);
        let (latency, part) = (session.latency, self.nodes[node as usize].part);
        let other = &self.nodes[target as usize];
        let is_there = !matches!(other.mind, Mind::Absent) && other.id == session.ids[1];
        if !is_there || other.part != part {
            self.queue.push(failed_at.max(self.now), Event::DialFailed(end));
            return;
        }
        // The other side may be dialling back, or believe in a session that this side lost.
        if let Some(old) = self.end_with(target, node) {
            let is_dialling = self.sessions.get(old).is_some_and(Session::is_dialling);
            if is_dialling {
                if let Some(session) = self.sessions.get_mut(end) {
                    session.wanted[1] = true;
                }
                self.forget(target, old);
                self.sessions.remove(old);
            } else {
                self.down(old);
            }
        }
        self.enter(target, node, end.other());
        let Some(session) = self.sessions.get_mut(end) else { return };
        session.up = [true; 2];
        let ids = session.ids;
        self.tally.sessions += 1;
        self.tally.sessions_hostile += u64::from(self.hostile.contains(node));
        self.trace(&[2, self.now, u64::from(node) << 32 | u64::from(target)]);
        let round_trip = Duration::from_nanos(2 * latency);
        for (node, peer) in [(node, ids[1]), (target, ids[0])] {
            let (contact, room) = (peer.contact(), self.config.room);
            self.tell(
                node,
                [Input::Session(session::Event::Opened(session::Opened {
                    peer,
                    contact,
                    round_trip,
                    send_window: room,
                    agents: Vec::new(),
                    incarnation: 0,
                }))],
            );
        }
    }

    pub(super) fn dial_failed(&mut self, end: End) {
        let Some(session) = self.sessions.get(end).filter(|session| session.is_dialling()) else {
            return;
        };
        let (node, peer) = (session.nodes[0], session.ids[1]);
        self.forget(node, end);
        self.sessions.remove(end);
        self.tally.dials_failed += 1;
        self.tell(node, [Input::Session(session::Event::ConnectFailed { peer })]);
    }

    pub(super) fn leads_nowhere(&mut self, slot: Slot) {
        let Some((node, peer)) = self.nowhere.take(slot) else { return };
        self.tally.dials_failed += 1;
        self.tell(node, [Input::Session(session::Event::ConnectFailed { peer })]);
    }

    /// A side has no more use for a session. It ends if no side that dialled it has one.
    pub(super) fn release(&mut self, node: u32, peer: PeerId) {
        if self.give_up_dial(node, peer) {
            return;
        }
        let Some(end) = self.end(node, peer) else { return };
        let Some(session) = self.sessions.get_mut(end) else { return };
        let had_dialled = std::mem::take(&mut session.wanted[end.index()]);
        if had_dialled && session.wanted == [false; 2] && !session.is_pinned {
            self.end_session(node, peer);
        }
    }

    /// Ends a session: at once here, after the latency there.
    pub(super) fn end_session(&mut self, node: u32, peer: PeerId) {
        if self.give_up_dial(node, peer) {
            return;
        }
        let Some(end) = self.end(node, peer) else { return };
        let Some(session) = self.sessions.get(end) else { return };
        let latency = session.latency;
        self.queue.push(self.now, Event::Down(end));
        if !session.is_cut {
            self.queue.push(self.now + latency, Event::Down(end.other()));
        }
    }

    /// Ends all sessions of a node, which is somebody else from here on.
    pub(super) fn reappear(&mut self, node: u32, id: PeerId) {
        let slot = &self.nodes[node as usize];
        let ends: Vec<End> = slot.peers.iter().map(|&(_, end)| end).collect();
        for end in ends {
            let peer = self.sessions.get(end).map(|session| session.ids[end.other().index()]);
            if let Some(peer) = peer {
                self.end_session(node, peer);
            }
        }
        self.nodes[node as usize].id = id;
    }

    /// An end learns that its session is over.
    pub(super) fn down(&mut self, end: End) {
        let Some(session) = self.sessions.get_mut(end) else { return };
        if !std::mem::take(&mut session.up[end.index()]) {
            return;
        }
        let node = session.nodes[end.index()];
        let other = session.nodes[end.other().index()];
        let peer = session.ids[end.other().index()];
        let is_over = session.up == [false; 2];
        self.forget(node, end);
        if is_over {
            self.sessions.remove(end);
        }
        self.trace(&[3, self.now, u64::from(node) << 32 | u64::from(other)]);
        self.tell(node, [Input::Session(session::Event::Closed { peer })]);
    }

    /// Returns the end of the session that a node has with a peer.
    pub(super) fn end(&self, node: u32, peer: PeerId) -> Option<End> {
        let end = self.end_with(node, peer.index())?;
        let session = self.sessions.get(end)?;
        (session.ids[end.other().index()] == peer).then_some(end)
    }

    /// Returns the end of the session that a node has with another, whoever that is to it.
    fn end_with(&self, node: u32, other: u32) -> Option<End> {
        let peers = &self.nodes[node as usize].peers;
        let place = peers.binary_search_by_key(&other, |&(other, _)| other).ok()?;
        Some(peers[place].1)
    }

    fn enter(&mut self, node: u32, other: u32, end: End) {
        let peers = &mut self.nodes[node as usize].peers;
        match peers.binary_search_by_key(&other, |&(other, _)| other) {
            Ok(place) => peers[place].1 = end,
            Err(place) => peers.insert(place, (other, end)),
        }
    }

    /// Takes an end from those of its node, unless another session took its place.
    fn forget(&mut self, node: u32, end: End) {
        self.nodes[node as usize].peers.retain(|&(_, other)| other != end);
    }
}
