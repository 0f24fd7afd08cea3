//! Reconciliation: finds the difference between the histories of two nodes, by range-based set
//! reconciliation.
//!
//! Two nodes compare fingerprints of ranges of stamps. Where they differ, a range is divided into smaller
//! ones, until one node lists its items. The other then knows what either lacks: it sends those items and
//! asks for these. `docs/src/protocol/reconciliation.md` has the bytes.
//!
//! The owner transports messages and items. No state is kept between messages, so a message that is lost
//! or late does no harm.
//!
//! # How it is driven
//!
//! [`open`] makes the first message. The receiver of a [`Message`] calls [`respond`], sends the reply if
//! there is one, sends the items in [`Response::send`] and requests those in [`Response::want`]. Either
//! end may open an exchange at any time. While items of one exchange are on their way, another with the
//! same peer would send them twice, so the owner waits.
//!
//! # Invariants
//!
//! - An exchange between two honest nodes terminates. Both then know every item of the window that either
//!   of them keeps, from the higher of their floors on. If no limit interrupts, this takes at most
//!   ⌈log₁₆ n⌉ + 2 round trips, where n is the larger number of items. If one end has no items, each
//!   [`SEND_MAX`] items take one more.
//! - An item that was seen is never requested. An item below the floor of the history is neither listed
//!   nor requested.
//! - A message costs one pass over the history, a reply within the limits below, and the announcement of
//!   as many items as it lists and [`SEND_MAX`] more. A peer that lies learns the contents of the history,
//!   as any peer may, and keeps itself from learning more.
//!
//! # References
//!
//! A. Meyer, *Range-Based Set Reconciliation*, 2022; the negentropy protocol, whose encoding of bounds
//! this one follows. The fingerprints differ, see [`Fingerprint`].

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

/// The most items of a range that is listed.
pub const LIST_MAX: usize = 32;

/// The most parts into which a range is divided.
pub const PARTS_MAX: usize = 16;

/// The most items that a response sends beyond the number that the message lists. The exchange continues
/// with the rest.
pub const SEND_MAX: usize = 256;

/// How long after the age limit a window begins, in milliseconds. Clocks and latencies may differ by as
/// much.
pub const SLACK_MILLIS: u64 = 30_000;

/// The parameters of a first message.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The wall time, in milliseconds since the Unix epoch.
    pub now: u64,
    /// The end of the window, exclusive: later items may still be on their way. `u64::MAX` includes all
    /// items.
    pub until: u64,
    /// A random number, drawn for this exchange.
    pub salt: u64,
}

/// The response to a message.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The reply. Without one the exchange is over.
    pub reply: Option<Message>,
    /// The items that the peer lacks, in order. Their number exceeds that of the listed items by at most
    /// [`SEND_MAX`].
    pub send: Vec<ItemId>,
    /// The items to request from the peer, in order.
    pub want: Vec<ItemId>,
}

/// Makes the first message of an exchange. Returns `None` if the window is empty.
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

/// Responds to a message.
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
                    // The peer continues from the higher floor.
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

/// A reply under construction, within the limits.
struct Reply<'a> {
    history: &'a History,
    message: Message,
    /// The encoded message, whose size is limited.
    bytes: BytesMut,
    /// How many ids the message lists.
    ids: usize,
    /// The start of the ranges that do not fit.
    full_from: Option<Stamp>,
}

impl<'a> Reply<'a> {
    fn new(history: &'a History, salt: u64) -> Self {
        let message = Message { salt, spans: Vec::new() };
        let bytes = BytesMut::from(&message.encode()[..]);
        Self { history, message, bytes, ids: 0, full_from: None }
    }

    /// Compares the list of the peer with the items of the history in the same range. If the peer lacks
    /// more items than the response may send, the reply has a fingerprint of the rest.
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

    /// Adds the fingerprint of a range, or an empty list if the range has no items.
    fn summarise(&mut self, start: Stamp, end: Stamp) {
        let stamps = self.history.stamps(start..end);
        let content = if stamps.is_empty() {
            Content::Ids(Vec::new())
        } else {
            Content::Fingerprint(self.fingerprint(&stamps))
        };
        self.push(Span { start, end, content });
    }

    /// Adds details of a range in which the peer knows other items: a list, or the fingerprints of its
    /// parts.
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

    /// Adds the fingerprint of the rest that does not fit. There is always room for it.
    fn summarise_rest(&mut self, start: Stamp, end: Stamp) {
        let content = Content::Fingerprint(self.history.fingerprint(start..end, self.message.salt));
        let span = Span { start, end, content };
        message::write_span(&mut self.bytes, self.message.spans.last(), &span);
        self.message.spans.push(span);
    }

    /// Adds a range if there is room for it and for another fingerprint. Returns whether there was.
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
        assert!(self.bytes.len() <= MESSAGE_SIZE_MAX, "replies stay within their limit");
        (!self.message.spans.is_empty()).then_some(self.message)
    }
}

/// Returns the stamp with the shortest encoding that is above `below` and not above `above`.
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
