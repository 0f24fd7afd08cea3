//! Finds what one of two histories of a topic has and the other has not: range-based set
//! reconciliation.
//!
//! Two nodes compare fingerprints of ranges of stamps. Where they differ, a range is cut into
//! smaller ones, until a node lists what it has there. Then the other knows what both lack: it
//! sends the one, and asks for the other. `docs/src/protocol/reconciliation.md` has the bytes.
//!
//! This is no exchange of items: the owner carries messages and items. It keeps no state between
//! messages, so a message that is lost, or that comes late, does no harm.
//!
//! # How it is driven
//!
//! [`open`] makes the first message. Whoever receives a [`Message`] calls [`respond`]: it sends the
//! reply if there is one, sends the items in [`Response::send`], and asks for those in
//! [`Response::want`]. Both ends may do so at any time; the owner does not open another exchange
//! with a peer while items of the last are on their way, as they would be sent twice.
//!
//! # Invariants
//!
//! - Between two nodes that follow the rules an exchange ends, and both then know everything from
//!   the higher of their floors on that either had in the window, and that is still kept.
//!   Without interruption by a limit this takes ⌈log₁₆ n⌉ + 2 round trips at most, where neither
//!   has more than n items. Where one end has nothing, each [`SEND_MAX`] items take one more.
//! - No item that was seen is wanted, and none below the floor of the history is listed or wanted.
//! - Whatever a peer says costs one pass over the history for a message, a reply within the limits
//!   below, and as many ids as it lists and [`SEND_MAX`] more. A peer that lies learns what the history holds, as any peer may, and keeps
//!   itself from learning.
//!
//! # References
//!
//! A. Meyer, *Range-Based Set Reconciliation*, 2022; the negentropy protocol, from which the form of
//! the bounds is taken. The fingerprints differ, see [`Fingerprint`].

mod message;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::BytesMut;

use super::history::{END, Fingerprint, HISTORY_MILLIS, History};
use super::{ItemId, Stamp};
use message::{Content, Span};
pub use message::{IDS_MAX, MESSAGE_SIZE_MAX, Message, SPANS_MAX, Violation};

/// A range with no more items than this is listed.
pub const LIST_MAX: usize = 32;

/// The most parts into which a range is cut.
pub const PARTS_MAX: usize = 16;

/// How many items more than its message lists a peer is told of at the most. The exchange goes on with
/// the rest.
pub const SEND_MAX: usize = 256;

/// A window begins this long after the age limit, so that clocks and links may differ by as much.
pub const SLACK_MILLIS: u64 = 30_000;

/// How an exchange begins.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The wall time, in milliseconds since the Unix epoch.
    pub now: u64,
    /// Items of this time and later are left out: those that may be on their way. `u64::MAX` leaves
    /// out none.
    pub until: u64,
    /// A random number, drawn for this exchange.
    pub salt: u64,
}

/// What follows from a message.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// What to reply. Without a reply the exchange is over.
    pub reply: Option<Message>,
    /// The items that the peer lacks, in order: at most [`SEND_MAX`] more than it listed.
    pub send: Vec<ItemId>,
    /// The items to ask the peer for, in order.
    pub want: Vec<ItemId>,
}

/// Makes the first message of an exchange, or none if the window is empty.
pub fn open(history: &History, opening: Opening) -> Option<Message> {
    let Opening { now, until, salt } = opening;
    let oldest = now.saturating_sub(HISTORY_MILLIS).saturating_add(SLACK_MILLIS);
    let start = history.floor().max(Stamp::at(oldest));
    let end = Stamp::at(until).min(END);
    let mut reply = Reply::new(history, salt);
    if start < end {
        reply.summarise(start, end);
    }
    reply.finish()
}

/// Answers a message.
pub fn respond(history: &History, message: &Message) -> Response {
    let mut response = Response::default();
    let mut reply = Reply::new(history, message.salt);
    let floor = history.floor();
    let send_max = message.ids_len() + SEND_MAX;
    for span in &message.spans {
        let start = span.start.max(floor);
        if start >= span.end {
            continue;
        }
        match &span.content {
            Content::Ids(theirs) => {
                let room = send_max - response.send.len();
                reply.compare(start..span.end, theirs, (room, &mut response));
            }
            Content::Fingerprint(theirs) => {
                let is_cut = start > span.start;
                if is_cut && message.spans.len() == 1 {
                    // The peer looks from the higher floor on.
                    reply.summarise(start, span.end);
                } else {
                    reply.answer(start, span.end, (!is_cut).then_some(*theirs));
                }
            }
        }
        if let Some(from) = reply.full_from {
            let end = message.spans.last().map_or(span.end, |last| last.end);
            reply.summarise_rest(from, end);
            break;
        }
    }
    response.reply = reply.finish();
    response
}

/// A message that is being made, within the limits.
struct Reply<'a> {
    history: &'a History,
    message: Message,
    /// The bytes of the message, to know its size.
    bytes: BytesMut,
    /// The ids that the message lists.
    ids: usize,
    /// The start of what does not fit.
    full_from: Option<Stamp>,
}

impl<'a> Reply<'a> {
    fn new(history: &'a History, salt: u64) -> Self {
        let message = Message { salt, spans: Vec::new() };
        let bytes = BytesMut::from(&message.encode()[..]);
        Self { history, message, bytes, ids: 0, full_from: None }
    }

    /// Compares what the peer lists with what the history has in the same range. If the peer lacks more
    /// than it may be told of, the rest of the range is answered with its fingerprint.
    fn compare(
        &mut self,
        range: Range<Stamp>,
        theirs: &[Stamp],
        (room, out): (usize, &mut Response),
    ) {
        let ours = self.history.stamps(range.clone());
        let lacks =
            |stamp: &Stamp| theirs.binary_search(stamp).is_err() && self.history.holds(stamp);
        let mut lacking = (0..).zip(&ours).filter(|(_, stamp)| lacks(stamp));
        out.send.extend(lacking.by_ref().take(room).map(|(_, stamp)| stamp.id));
        let rest: usize = lacking.next().map_or(ours.len(), |(index, _)| index);
        let compared = range.start..ours.get(rest).copied().unwrap_or(range.end);
        let wanted = theirs
            .iter()
            .filter(|stamp| compared.contains(stamp) && !self.history.has_seen(&stamp.id));
        out.want.extend(wanted.map(|stamp| stamp.id));
        if rest < ours.len() {
            let content = Content::Fingerprint(self.fingerprint(&ours[rest..]));
            self.push(Span { start: compared.end, end: range.end, content });
        }
    }

    /// Adds one fingerprint of a range, or an empty list if nothing is there.
    fn summarise(&mut self, start: Stamp, end: Stamp) {
        let stamps = self.history.stamps(start..end);
        let content = if stamps.is_empty() {
            Content::Ids(Vec::new())
        } else {
            Content::Fingerprint(self.fingerprint(&stamps))
        };
        self.push(Span { start, end, content });
    }

    /// Says more of a range that differs from what the peer knows there: what is there, or the
    /// fingerprints of its parts.
    fn answer(&mut self, start: Stamp, end: Stamp, theirs: Option<Fingerprint>) {
        let stamps = self.history.stamps(start..end);
        let count = stamps.len();
        let parts = if count <= LIST_MAX { 1 } else { count.div_ceil(LIST_MAX / 2).min(PARTS_MAX) };
        let cuts: Vec<usize> = (0..=parts).map(|part| count * part / parts).collect();
        let fingerprints: Vec<Fingerprint> =
            cuts.windows(2).map(|cut| self.fingerprint(&stamps[cut[0]..cut[1]])).collect();
        if theirs == Some(Fingerprint::of_union(fingerprints.iter().copied())) {
            return;
        }
        if count <= LIST_MAX {
            self.push(Span { start, end, content: Content::Ids(stamps) });
            return;
        }
        let mut start = start;
        for (&next, fingerprint) in cuts.iter().skip(1).zip(fingerprints) {
            let until = stamps.get(next).map_or(end, |&above| between(stamps[next - 1], above));
            let content = Content::Fingerprint(fingerprint);
            if !self.push(Span { start, end: until, content }) {
                return;
            }
            start = until;
        }
    }

    /// Adds a fingerprint of what does not fit, for which there is always room.
    fn summarise_rest(&mut self, start: Stamp, end: Stamp) {
        let content = Content::Fingerprint(self.history.fingerprint(start..end, self.message.salt));
        let span = Span { start, end, content };
        message::write_span(&mut self.bytes, self.message.spans.last(), &span);
        self.message.spans.push(span);
    }

    /// Adds a range if there is room for it and for one more fingerprint.
    fn push(&mut self, span: Span) -> bool {
        let (ids, size) = (self.ids + span.content.ids().len(), self.bytes.len());
        message::write_span(&mut self.bytes, self.message.spans.last(), &span);
        let fits = self.message.spans.len() + 1 < SPANS_MAX
            && ids <= IDS_MAX
            && self.bytes.len() + message::FINGERPRINT_SPAN_SIZE_MAX <= MESSAGE_SIZE_MAX;
        if fits {
            self.ids = ids;
            self.message.spans.push(span);
        } else {
            self.bytes.truncate(size);
            self.full_from = Some(span.start);
        }
        fits
    }

    fn fingerprint(&self, stamps: &[Stamp]) -> Fingerprint {
        Fingerprint::of(self.message.salt, stamps.iter().map(|stamp| &stamp.id))
    }

    fn finish(self) -> Option<Message> {
        assert!(self.bytes.len() <= MESSAGE_SIZE_MAX, "a message is made within its limit");
        (!self.message.spans.is_empty()).then_some(self.message)
    }
}

/// Returns the stamp with the shortest form that is above the first and not above the second.
fn between(below: Stamp, above: Stamp) -> Stamp {
    if below.time < above.time {
        return Stamp::at(above.time);
    }
    let common = below.id.0.iter().zip(&above.id.0).take_while(|(left, right)| left == right);
    let size = common.count() + 1;
    let mut bound = Stamp::at(above.time);
    for (byte, &from) in bound.id.0.iter_mut().zip(&above.id.0).take(size) {
        *byte = from;
    }
    bound
}
