//! What nodes want, done.

use super::{Bytes, Effect, Mind, Number, Parcel, PeerId, Protocol, World};
use crate::model::session::Carried;

impl<P: Protocol> World<P> {
    pub(super) fn apply(&mut self, node: u32, effects: &mut Vec<Effect>) {
        let is_honest = matches!(self.nodes[node as usize].mind, Mind::Honest(_));
        for effect in effects.drain(..) {
            match effect {
                Effect::Frame { peer, header, body, number } => {
                    self.gather(peer, header, body, number);
                }
                Effect::Connect { peer, contact } => self.connect(node, peer, &contact),
                Effect::Release { peer } => {
                    self.flush(node);
                    self.release(node, peer);
                }
                Effect::Lonely => {
                    self.tally.lonely += u64::from(is_honest);
                    for contact in self.nodes[node as usize].contacts.clone() {
                        self.dial(node, contact, true);
                    }
                }
                Effect::Misbehaved { peer, rule } => {
                    self.flush(node);
                    if is_honest {
                        self.accuse(peer, rule);
                    }
                    self.end_session(node, peer);
                }
                Effect::Delivered { number, hops, is_repair } => {
                    if is_honest {
                        self.delivered(node, number, hops, is_repair);
                    }
                }
                Effect::Forgery => self.tally.forgeries += u64::from(is_honest),
                Effect::Lagged { missed } => self.tally.lagged += missed,
                Effect::Equivocated => self.tally.equivocations += u64::from(is_honest),
                Effect::Reappear { id } => {
                    self.flush(node);
                    self.reappear(node, id);
                }
            }
        }
        self.flush(node);
    }

    /// Puts a frame together. Receivers of the same one share its bytes.
    fn gather(&mut self, peer: PeerId, header: Bytes, body: Bytes, number: Option<Number>) {
        let item = match number {
            Some(number) => Some(Carried::Item(number)),
            None => (!body.is_empty()).then_some(Carried::Opaque),
        };
        let frame = if body.is_empty() {
            header
        } else {
            let (last_header, last_body, frame) = &self.last_frame;
            let is_same = *last_header == header
                && last_body.as_ptr() == body.as_ptr()
                && last_body.len() == body.len();
            if is_same {
                frame.clone()
            } else {
                let frame = Bytes::from([&header[..], &body[..]].concat());
                self.last_frame = (header, body, frame.clone());
                frame
            }
        };
        self.outgoing.push((peer, Parcel { frame, item }));
    }

    /// Sends what was gathered, one burst to each peer.
    fn flush(&mut self, node: u32) {
        if self.outgoing.is_empty() {
            return;
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        outgoing.sort_by_key(|&(peer, _)| peer);
        let mut parcels = outgoing.drain(..).peekable();
        while let Some((peer, first)) = parcels.next() {
            let mut burst = vec![first];
            while let Some((_, more)) = parcels.next_if(|&(next, _)| next == peer) {
                burst.push(more);
            }
            self.send(node, peer, burst);
        }
        drop(parcels);
        self.outgoing = outgoing;
    }

    fn accuse(&mut self, peer: PeerId, rule: &'static str) {
        *self.rules.entry(rule).or_default() += 1;
        if let Some(accused) = self.nodes.get_mut(peer.index() as usize) {
            accused.accused += 1;
            self.tally.wrongly_accused += u64::from(!self.hostile.contains(peer.index()));
        }
    }

    fn delivered(&mut self, node: u32, number: Number, hops: u8, is_repair: bool) {
        let now = self.now();
        let receiver = &self.nodes[node as usize];
        let joined_at = receiver.joined_at;
        let record = &mut self.records[number.0 as usize];
        // What the author published before it started again is of another agent.
        let is_of_agent = record.at >= self.nodes[record.origin as usize].joined_at;
        let is_blocked = receiver.blocked.contains(record.origin) && is_of_agent;
        self.tally.blocked_heard += u64::from(is_blocked);
        if !record.received.insert(node) {
            // What a node had before it left or crashed, it may get again.
            let is_known = record.origin != node && joined_at <= record.at;
            self.tally.delivered_twice += u64::from(is_known);
            return;
        }
        record.repairs += u32::from(is_repair);
        if record.audience.contains(node) {
            record.last_at = now;
            record.hops_max = record.hops_max.max(hops);
            let ms = now.saturating_sub(record.at).as_millis();
            self.latencies.add(usize::try_from(ms).unwrap_or(usize::MAX));
            if !is_repair {
                self.hops.add(usize::from(hops));
            }
        }
        self.trace(&[4, self.now, u64::from(node), u64::from(number.0)]);
    }
}
