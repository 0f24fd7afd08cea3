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
//!   Without interruption by the size limit this takes ⌈log₁₆ n⌉ + 2 round trips at most, where
//!   neither has more than n items.
//! - No item that was seen is wanted, and none below the floor of the history is listed or wanted.
//! - Whatever a peer says costs one pass over the history for a message, and a reply within the
//!   limits below. A peer that lies learns what the history holds, as any peer may, and keeps
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

use bytes::BytesMut;

use super::history::{END, Fingerprint, HISTORY_MILLIS, History};
use super::{ItemId, Stamp};
use message::{Content, Span};
pub use message::{IDS_MAX, MESSAGE_SIZE_MAX, Message, SPANS_MAX, Violation};

/// A range with no more items than this is listed.
pub const LIST_MAX: usize = 32;

/// The most parts into which a range is cut.
pub const PARTS_MAX: usize = 16;

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
    /// The items that the peer lacks, in order. They may be all that the history keeps.
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
    for span in &message.spans {
        let start = span.start.max(floor);
        if start >= span.end {
            continue;
        }
        match &span.content {
            Content::Ids(theirs) => compare(history, start, span.end, theirs, &mut response),
            Content::Fingerprint(theirs) => {
                let is_cut = start > span.start;
                if is_cut && message.spans.len() == 1 {
                    // The peer looks from the higher floor on.
                    reply.summarise(start, span.end);
                } else if is_cut || history.fingerprint(start..span.end, message.salt) != *theirs {
                    reply.answer(start, span.end);
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

/// Compares what the peer lists with what the history has in the same range.
fn compare(history: &History, start: Stamp, end: Stamp, theirs: &[Stamp], out: &mut Response) {
    let ours = history.stamps(start..end);
    let lacks = |stamp: &&Stamp| theirs.binary_search(stamp).is_err() && history.holds(stamp);
    out.send.extend(ours.iter().filter(lacks).map(|stamp| stamp.id));
    let wanted = theirs.iter().filter(|stamp| **stamp >= start && !history.has_seen(&stamp.id));
    out.want.extend(wanted.map(|stamp| stamp.id));
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

    /// Says more of a range that differs: what is there, or the fingerprints of its parts.
    fn answer(&mut self, start: Stamp, end: Stamp) {
        let stamps = self.history.stamps(start..end);
        if stamps.len() <= LIST_MAX {
            self.push(Span { start, end, content: Content::Ids(stamps) });
            return;
        }
        let parts = stamps.len().div_ceil(LIST_MAX / 2).min(PARTS_MAX);
        let (mut start, mut first) = (start, 0);
        for part in 1..=parts {
            let next = stamps.len() * part / parts;
            let until = stamps.get(next).map_or(end, |&above| between(stamps[next - 1], above));
            let content = Content::Fingerprint(self.fingerprint(&stamps[first..next]));
            if !self.push(Span { start, end: until, content }) {
                return;
            }
            (start, first) = (until, next);
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
