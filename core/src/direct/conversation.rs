//! The messages to one recipient that are not answered yet.
//!
//! ```text
//!            attach                 open, nothing in flight
//! no session ──────► Closed ──────────────────────────────► Streaming
//!      ▲               │ open, some in flight                   ▲
//!      │               └──────────────► Waiting ────────────────┘
//!      └─ detach, from each                      `Opened`
//! ```
//!
//! # Invariants
//!
//! - The queue is ascending by sequence; its first `sent` messages are *in flight*: they went out
//!   in attempt `streamed`, to `machine`, and nowhere else; no other message went anywhere.
//! - A message leaves the queue with exactly one [`Output::Ended`].

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::error::Violation;
use super::frames::{Open, Opened, Run, Verdict, message_header};
use super::{Acknowledged, Context, DirectError, MESSAGE_COST, Output, SendId, Session};
use crate::identity::{AgentId, MachineId};
use crate::session::Header;

/// The tick of a deadline that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// What all conversations hold together.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// The payloads and [`MESSAGE_COST`] for each.
    pub(super) bytes: usize,
    /// The messages.
    pub(super) messages: usize,
    /// The conversations that have a message.
    pub(super) busy: usize,
}

/// A message that is not answered yet.
#[derive(Debug)]
pub(super) struct Message {
    /// The name that the caller gave it.
    pub(super) id: SendId,
    /// Its place in the conversation.
    pub(super) sequence: u64,
    /// What is sent.
    pub(super) payload: Bytes,
    /// When it was accepted.
    pub(super) accepted_at: Instant,
    /// The tick at which it times out.
    pub(super) deadline: u64,
}

/// How far the conversation is in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was said.
    Closed,
    /// The recipient's node was asked what it has taken of what is in flight.
    Waiting,
    /// Messages go out.
    Streaming,
}

/// Where a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The index of the peer.
    pub(super) peer: usize,
    /// The channel.
    pub(super) channel: u8,
}

/// The messages to one recipient.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The recipient.
    pub(super) recipient: AgentId,
    /// Names the conversation: random.
    pub(super) number: u64,
    /// The messages without an answer.
    pub(super) queue: VecDeque<Message>,
    /// The bytes of their payloads.
    pub(super) bytes: usize,
    /// No later than the earliest deadline of a message.
    pub(super) earliest: u64,
    /// The session, if there is one.
    pub(super) place: Option<Place>,
    /// How far it is in the session.
    pub(super) phase: Phase,
    /// Whether a session was asked for and there is no answer yet.
    pub(super) is_wanted: bool,
    /// When a message was added last.
    pub(super) used_at: Instant,
    /// How many messages at the front of the queue are in flight.
    sent: usize,
    /// How many times the conversation was opened.
    attempt: u64,
    /// The attempt in which what is in flight went out.
    streamed: u64,
    /// The machine to which what is in flight went out, and its incarnation then.
    machine: Option<(MachineId, u64)>,
    /// The first attempt since that machine has that incarnation.
    since: u64,
    /// The sequence of the last message that was added.
    last: u64,
    /// The highest sequence that ever went out.
    sent_highest: u64,
}

impl Conversation {
    /// Begins a conversation.
    pub(super) fn new(recipient: AgentId, number: u64, now: Instant) -> Self {
        Self {
            recipient,
            number,
            queue: VecDeque::new(),
            bytes: 0,
            earliest: NEVER,
            place: None,
            phase: Phase::Closed,
            is_wanted: false,
            used_at: now,
            sent: 0,
            attempt: 0,
            streamed: 0,
            machine: None,
            since: 1,
            last: 0,
            sent_highest: 0,
        }
    }

    /// Adds a message.
    pub(super) fn push(
        &mut self,
        load: &mut Load,
        id: SendId,
        payload: Bytes,
        (now, deadline): (Instant, u64),
    ) {
        load.bytes += payload.len() + MESSAGE_COST;
        load.messages += 1;
        load.busy += usize::from(self.queue.is_empty());
        self.bytes += payload.len();
        self.last += 1;
        self.used_at = now;
        self.earliest = self.earliest.min(deadline);
        let sequence = self.last;
        self.queue.push_back(Message { id, sequence, payload, accepted_at: now, deadline });
    }

    /// Goes on in a session.
    pub(super) fn attach(
        &mut self,
        context: &mut Context<'_>,
        load: &mut Load,
        place: Place,
        machine: (MachineId, u64),
    ) {
        self.place = Some(place);
        self.phase = Phase::Closed;
        self.is_wanted = false;
        if self.machine != Some(machine) {
            if self.machine.is_some_and(|(earlier, _)| earlier != machine.0) {
                // The machine that may have taken them is not the one that is asked.
                self.end_sent(context, load);
            }
            self.machine = Some(machine);
            self.since = self.attempt + 1;
        }
    }

    /// The session is over.
    pub(super) fn detach(&mut self) {
        self.place = None;
        self.phase = Phase::Closed;
    }

    /// Says that the conversation begins or goes on.
    pub(super) fn open(&mut self, context: &mut Context<'_>, session: &mut Session, channel: u8) {
        self.attempt += 1;
        self.enter(if self.sent == 0 { Phase::Streaming } else { Phase::Waiting });
        let open = Open {
            channel,
            conversation: self.number,
            from: 0,
            to: self.recipient,
            first: self.queue.front().map_or(self.last + 1, |message| message.sequence),
            attempt: self.attempt,
            since: self.since,
        };
        session.emit(context, Header::default(), open.encode());
    }

    /// Sends the next message, if there is one.
    pub(super) fn send_next(
        &mut self,
        context: &mut Context<'_>,
        session: &mut Session,
        channel: u8,
    ) {
        if let Some(message) = self.queue.get(self.sent) {
            self.sent += 1;
            self.sent_highest = self.sent_highest.max(message.sequence);
            let header = message_header(channel, message.sequence);
            session.emit(context, header, message.payload.clone());
        }
    }

    /// Learns what the recipient's node knows.
    pub(super) fn opened(
        &mut self,
        context: &mut Context<'_>,
        load: &mut Load,
        opened: &Opened,
    ) -> Result<(), Violation> {
        let through = opened.runs.last().map_or(0, |run| run.through);
        if opened.born > self.attempt || through > self.sent_highest {
            return Err(Violation::NeverSent);
        }
        if opened.born > self.streamed {
            self.end_sent(context, load);
        }
        for &run in &opened.runs {
            self.resolve(context, load, run);
        }
        if self.phase == Phase::Waiting {
            // What is left of them was not taken, and the session that carried it is over.
            self.sent = 0;
            self.enter(Phase::Streaming);
        }
        Ok(())
    }

    /// Learns a verdict.
    pub(super) fn verdict(
        &mut self,
        context: &mut Context<'_>,
        load: &mut Load,
        run: Run,
    ) -> Result<(), Violation> {
        if run.through > self.sent_highest {
            return Err(Violation::NeverSent);
        }
        if self.phase == Phase::Streaming {
            self.resolve(context, load, run);
        }
        Ok(())
    }

    /// Ends what is not in flight: there is nowhere to send it.
    pub(super) fn end_unsent(&mut self, context: &mut Context<'_>, load: &mut Load) {
        self.is_wanted = false;
        let unsent = self.queue.split_off(self.sent);
        for message in &unsent {
            self.release(load, message);
            let result = Err(DirectError::UnknownRecipient);
            context.emit(Output::Ended { id: message.id, result });
        }
        load.busy -= usize::from(self.queue.is_empty() && !unsent.is_empty());
    }

    /// Ends what is due by a tick. The error says whether the message is in flight.
    pub(super) fn expire(
        &mut self,
        context: &mut Context<'_>,
        load: &mut Load,
        now: u64,
        error: impl Fn(bool) -> DirectError,
    ) {
        let mut sent = self.sent;
        let was_busy = !self.queue.is_empty();
        self.earliest = NEVER;
        for (index, message) in std::mem::take(&mut self.queue).into_iter().enumerate() {
            if message.deadline > now {
                self.earliest = self.earliest.min(message.deadline);
                self.queue.push_back(message);
                continue;
            }
            let is_sent = index < self.sent;
            sent -= usize::from(is_sent);
            self.release(load, &message);
            let result = Err(error(is_sent));
            context.emit(Output::Ended { id: message.id, result });
        }
        self.sent = sent;
        load.busy -= usize::from(was_busy && self.queue.is_empty());
    }

    /// Returns whether a message can go out.
    pub(super) fn has_unsent(&self) -> bool {
        self.phase == Phase::Streaming && self.sent < self.queue.len()
    }

    /// Enters a phase, and notes the attempt if messages go out in it.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        if phase == Phase::Streaming {
            self.streamed = self.attempt;
        }
    }

    /// Ends what is in flight up to a sequence with a verdict.
    fn resolve(&mut self, context: &mut Context<'_>, load: &mut Load, run: Run) {
        while self.sent > 0
            && self.queue.front().is_some_and(|message| message.sequence <= run.through)
            && let Some(message) = self.queue.pop_front()
        {
            self.sent -= 1;
            let result = match run.verdict {
                Verdict::Accepted => Ok(Acknowledged {
                    elapsed: context.now.saturating_duration_since(message.accepted_at),
                }),
                Verdict::Refused(reason) => Err(DirectError::Refused(reason)),
                Verdict::Forgotten => Err(DirectError::RecipientRestarted),
            };
            self.end(context, load, &message, result);
        }
    }

    /// Ends what is in flight: its outcome is unknown.
    fn end_sent(&mut self, context: &mut Context<'_>, load: &mut Load) {
        let through = self.sent_highest;
        self.resolve(context, load, Run { through, verdict: Verdict::Forgotten });
    }

    fn end(
        &mut self,
        context: &mut Context<'_>,
        load: &mut Load,
        message: &Message,
        result: Result<Acknowledged, DirectError>,
    ) {
        self.release(load, message);
        if self.queue.is_empty() {
            load.busy -= 1;
            self.earliest = NEVER;
        }
        context.emit(Output::Ended { id: message.id, result });
    }

    fn release(&mut self, load: &mut Load, message: &Message) {
        self.bytes -= message.payload.len();
        load.bytes -= message.payload.len() + MESSAGE_COST;
        load.messages -= 1;
    }
}
