//! Frames on their way.

use super::{Burst, Event, Input, Parcel, PeerId, Protocol, Slot, World};
use crate::model::peer::mix;
use crate::model::session::Carried;
use x0x_core::session;

impl<P: Protocol> World<P> {
    /// Sends the frames of one flush to one peer.
    pub(super) fn send(&mut self, node: u32, peer: PeerId, mut parcels: Vec<Parcel>) {
        let bandwidth = self.bandwidth(node, peer.index());
        let Some(from) = self.end(node, peer) else {
            self.tally.frames_homeless += parcels.len() as u64;
            return;
        };
        let room = self.config.room;
        let Some(session) = self.sessions.get_mut(from).filter(|s| s.up[from.index()]) else {
            self.tally.frames_homeless += parcels.len() as u64;
            return;
        };
        let can_wait = session.is_cut || bandwidth.is_some();
        let lane = &mut session.lanes[from.index()];
        let (mut bytes, mut dropped, mut uncounted) = (0, 0, 0);
        parcels.retain(|parcel| {
            uncounted += P::uncounted(&parcel.frame);
            let fits = lane.queued < room + uncounted;
            if fits {
                lane.spent += parcel.frame.len();
                lane.queued += if can_wait { parcel.frame.len() } else { 0 };
                bytes += parcel.frame.len() as u64;
            }
            dropped += u64::from(!fits);
            fits
        });
        let is_hostile = self.hostile.contains(node);
        self.tally.frames_over_room += if is_hostile { 0 } else { dropped };
        let sent = &mut self.nodes[node as usize].sent;
        for parcel in &parcels {
            let size = parcel.frame.len() as u64;
            let kind = P::kind(&parcel.frame);
            sent.frame(size, parcel.item.is_some(), P::is_repair(kind));
            self.kinds.add(kind, size);
            if is_hostile {
                self.hostile_kinds.add(kind, size);
            }
        }
        sent.flush(bytes);
        let burst = Burst { end: from.other(), parcels, bytes, number: lane.bursts };
        lane.bursts += 1;
        if session.is_cut {
            lane.held.push(burst);
            return;
        }
        let start = self.now.max(lane.free_at);
        let busy = bandwidth.map_or(0, |rate| bytes * 1_000_000_000 / rate.max(1));
        lane.free_at = start + busy;
        let at = start + busy + session.latency;
        let slot = self.bursts.insert(burst);
        self.queue.push(at, Event::Burst(slot));
        if !can_wait {
            self.grant(from);
        }
    }

    pub(super) fn burst_arrives(&mut self, slot: Slot) {
        let Some(burst) = self.bursts.take(slot) else { return };
        let (to, from) = (burst.end, burst.end.other());
        let Some(session) = self.sessions.get_mut(to) else { return };
        if session.is_cut {
            let lane = &mut session.lanes[from.index()];
            lane.held.push(burst);
            return;
        }
        let (node, sender) = (session.nodes[to.index()], session.nodes[from.index()]);
        let lane = &mut session.lanes[from.index()];
        lane.queued = lane.queued.saturating_sub(usize::try_from(burst.bytes).unwrap_or(0));
        self.grant(from);
        let session = self.sessions.get(to).filter(|session| session.up[to.index()]);
        let Some(session) = session else { return };
        let peer = session.ids[from.index()];
        let mut hash = 0;
        for parcel in &burst.parcels {
            let size = parcel.frame.len() as u64;
            let is_repair = P::is_repair(P::kind(&parcel.frame));
            self.nodes[node as usize].received.frame(size, parcel.item.is_some(), is_repair);
            if let Some(Carried::Item(number)) = parcel.item {
                self.records[number.0 as usize].payload_frames += 1;
            }
            hash = digest(hash, &parcel.frame);
        }
        self.nodes[node as usize].received.flush(burst.bytes);
        self.trace(&[1, self.now, u64::from(sender) << 32 | u64::from(node), hash]);
        let frames = burst.parcels.into_iter();
        self.tell(
            node,
            frames
                .map(|parcel| Input::Session(session::Event::Frame { peer, frame: parcel.frame })),
        );
    }

    pub(super) fn writable(&mut self, end: super::End) {
        let room = self.config.room;
        let Some(session) = self.sessions.get_mut(end).filter(|s| s.up[end.index()]) else {
            return;
        };
        let node = session.nodes[end.index()];
        let peer = session.ids[end.other().index()];
        let lane = &mut session.lanes[end.index()];
        let room = room.saturating_sub(lane.queued);
        lane.spent = 0;
        self.tell(node, [Input::Session(session::Event::Writable { peer, send_window: room })]);
    }

    /// Has the sender told its room, once half was used and half is free.
    fn grant(&mut self, end: super::End) {
        let half = self.config.room / 2;
        let Some(session) = self.sessions.get_mut(end) else { return };
        let lane = &mut session.lanes[end.index()];
        if lane.spent >= half && lane.queued <= half && session.up[end.index()] {
            lane.spent = 0;
            self.queue.push(self.now, Event::Writable(end));
        }
    }

    /// Returns how many bytes a session between two nodes carries each second.
    fn bandwidth(&self, a: u32, b: u32) -> Option<u64> {
        let of = |node: u32| self.nodes.get(node as usize).and_then(|node| node.bandwidth);
        [self.config.bandwidth, of(a), of(b)].into_iter().flatten().min()
    }
}

/// Mixes the bytes of a frame into a hash.
fn digest(hash: u64, frame: &[u8]) -> u64 {
    let (words, rest) = frame.as_chunks::<8>();
    let mut hash = mix(hash ^ frame.len() as u64);
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    rest.iter().fold(hash, |hash, &byte| mix(hash ^ u64::from(byte)))
}
