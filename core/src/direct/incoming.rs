//! The recipient's half: which messages were taken, and the verdicts for the sender.
//!
//! A [`Record`] is what this node knows of one conversation. It lives in the channel of the
//! session that opened it, where a message reaches it without a search. When the session ends, the
//! record waits with the others until the machine is back, or until there are too many of them.
//!
//! # Invariant
//!
//! A record that says it was born with attempt `b` of a conversation has seen every message of
//! that conversation that this node took in attempt `b` or later.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::error::Violation;
use super::frames::{Open, Opened, Run, Verdict, verdict_header};
use super::{BLOCKED_MAX, Context, Counter, Output, RECORDS_MAX, RUNS_MAX, RefuseReason, Session};
use crate::identity::{AgentId, MachineId};
use crate::session::Header;
use crate::support::BoundedMap;

/// What the recipient's half knows beyond the sessions.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The agents of this node.
    local_agents: Vec<AgentId>,
    /// The records of conversations that no session has open.
    remembered: BoundedMap<Parties, Record>,
    /// The agents whose messages are refused.
    blocked: BTreeSet<AgentId>,
    /// How many channels hold a record that is remembered when its session ends.
    live: usize,
    /// Whether a record was ever evicted because the table was full.
    has_forgotten: bool,
}

/// The recipient's half of a session.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The channels, by number.
    channels: Vec<Option<Channel>>,
    /// The channels that have something to tell, in the order in which it came up.
    owing: VecDeque<u8>,
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parties {
    machine: MachineId,
    sender: AgentId,
    recipient: AgentId,
}

/// An open channel.
#[derive(Debug)]
struct Channel {
    parties: Parties,
    record: Record,
    /// Why everything on the channel is refused, if it is.
    refusal: Option<RefuseReason>,
    /// Whether the record outlives the session.
    is_kept: bool,
    /// The highest sequence that came in this session.
    latest: u64,
    /// The last sequence whose verdict was sent in this session.
    told: u64,
    /// Whether the `Open` waits for its answer.
    is_answer_owed: bool,
    /// Whether the channel is in [`Lane::owing`].
    is_owing: bool,
}

/// What this node knows of a conversation.
#[derive(Debug)]
struct Record {
    conversation: u64,
    /// The attempt with which the record began.
    born: u64,
    /// The highest sequence that came.
    highest: u64,
    /// The verdicts up to `highest` on all messages that the sender may have no answer to.
    /// Neighbours differ.
    runs: Vec<Run>,
}

impl Incoming {
    /// Makes the half of a node with these agents.
    pub(super) fn new(local_agents: Vec<AgentId>) -> Self {
        Self {
            local_agents,
            remembered: BoundedMap::new(RECORDS_MAX),
            blocked: BTreeSet::new(),
            live: 0,
            has_forgotten: false,
        }
    }

    /// Remembers the records of a session that ended.
    pub(super) fn peer_down(&mut self, context: &mut Context<'_>, lane: Lane) {
        let kept = lane.channels.into_iter().flatten().filter(|channel| channel.is_kept);
        for channel in kept {
            self.live -= 1;
            if self.remembered.insert(channel.parties, channel.record).is_some() {
                self.has_forgotten = true;
                context.count(Counter::RecordsForgotten);
            }
        }
    }

    /// Starts or resumes a conversation.
    pub(super) fn open(
        &mut self,
        session: &Session,
        agents: &[AgentId],
        lane: &mut Lane,
        open: Open,
    ) -> Result<(), Violation> {
        let &sender = agents.get(usize::from(open.from)).ok_or(Violation::UnknownSender)?;
        let parties = Parties { machine: session.machine, sender, recipient: open.to };
        let number = usize::from(open.channel);
        for (index, channel) in lane.channels.iter().enumerate() {
            let Some(channel) = channel else { continue };
            if index == number && channel.is_answer_owed {
                return Err(Violation::OpenUnanswered);
            }
            let is_same = channel.record.conversation == open.conversation;
            if channel.parties == parties && (index != number || is_same) {
                return Err(Violation::OpenTwice);
            }
        }
        if lane.channels.len() <= number {
            lane.channels.resize_with(number + 1, || None);
        }
        // The sender gives a channel to another conversation once it has forgotten the first.
        let replaced = lane.channels[number].take();
        self.live -= usize::from(replaced.as_ref().is_some_and(|channel| channel.is_kept));
        let is_owing = replaced.is_some_and(|channel| channel.is_owing);
        let (record, refusal) = self.record(parties, open);
        let is_kept = refusal.is_none();
        self.live += usize::from(is_kept);
        let is_blocked = self.blocked.contains(&sender);
        lane.channels[number] = Some(Channel {
            parties,
            record,
            refusal: refusal.or_else(|| is_blocked.then_some(RefuseReason::Blocked)),
            is_kept,
            latest: 0,
            told: 0,
            is_answer_owed: true,
            is_owing,
        });
        lane.owe(open.channel);
        Ok(())
    }

    /// Blocks or unblocks an agent.
    pub(super) fn set_blocked<'a>(
        &mut self,
        context: &mut Context<'_>,
        lanes: impl Iterator<Item = &'a mut Lane>,
        agent: AgentId,
        blocked: bool,
    ) {
        if !blocked {
            self.blocked.remove(&agent);
        } else if self.can_block(&agent) {
            self.blocked.insert(agent);
        } else {
            return context.count(Counter::BlocksOverLimit);
        }
        let channels = lanes.flat_map(|lane| lane.channels.iter_mut().flatten());
        for channel in channels.filter(|channel| channel.is_kept) {
            if channel.parties.sender == agent {
                channel.refusal = blocked.then_some(RefuseReason::Blocked);
            }
        }
    }

    /// Returns whether there is room to block an agent.
    pub(super) fn can_block(&self, agent: &AgentId) -> bool {
        self.blocked.len() < BLOCKED_MAX || self.blocked.contains(agent)
    }

    /// Returns whether an agent is blocked.
    pub(super) fn is_blocked(&self, agent: &AgentId) -> bool {
        self.blocked.contains(agent)
    }

    /// Returns whether an agent is one of this node.
    pub(super) fn is_local(&self, agent: &AgentId) -> bool {
        self.local_agents.contains(agent)
    }

    /// The agent that sends.
    pub(super) fn sender(&self) -> AgentId {
        self.local_agents[0]
    }

    /// Finds or begins the record of a conversation, or returns why nothing of it can be taken.
    fn record(&mut self, parties: Parties, open: Open) -> (Record, Option<RefuseReason>) {
        let refusal = if !self.is_local(&parties.recipient) {
            Some(RefuseReason::NotHere)
        } else if self.live == RECORDS_MAX {
            Some(RefuseReason::Full)
        } else {
            None
        };
        // A record of another conversation is of a sender that forgot it: it goes.
        let record = self
            .remembered
            .remove(&parties)
            .filter(|record| record.conversation == open.conversation);
        let is_new = record.is_none() && !self.has_forgotten;
        let begin = || Record {
            conversation: open.conversation,
            // Without a record, and with none forgotten, nothing was taken since this node started.
            born: if is_new { open.since } else { open.attempt },
            highest: 0,
            runs: Vec::new(),
        };
        if refusal.is_some() {
            if let Some(record) = record {
                self.remembered.insert(parties, record);
            }
            return (begin(), refusal);
        }
        let mut record = record.unwrap_or_else(begin);
        record.runs.retain(|run| run.through >= open.first);
        (record, None)
    }
}

impl Lane {
    /// Takes or refuses a message.
    pub(super) fn message(
        &mut self,
        context: &mut Context<'_>,
        session: &Session,
        (number, sequence): (u8, u64),
        payload: Bytes,
    ) -> Result<(), Violation> {
        let channel = self.channels.get_mut(usize::from(number)).and_then(Option::as_mut);
        let channel = channel.ok_or(Violation::NotOpen)?;
        if sequence <= channel.latest {
            return Err(Violation::SequenceNotIncreasing);
        }
        channel.latest = sequence;
        if sequence <= channel.record.highest {
            context.count(Counter::MessagesDuplicate);
            channel.told = 0;
        } else {
            let verdict = channel.refusal.map_or(Verdict::Accepted, Verdict::Refused);
            if !channel.record.has_room(verdict) {
                // What is not told yet would be forgotten: it goes out beyond the room.
                let mut unlimited = Session { room: usize::MAX, ..*session };
                channel.tell(context, &mut unlimited, number);
                context.count(Counter::RecordsForgotten);
            }
            channel.record.add(sequence, verdict);
            if verdict == Verdict::Accepted {
                context.count(Counter::MessagesReceived);
                let Parties { machine, sender, recipient } = channel.parties;
                let machine = Some(machine);
                context.emit(Output::Received { sender, machine, recipient, payload });
            } else {
                context.count(Counter::MessagesRefused);
            }
        }
        self.owe(number);
        Ok(())
    }

    /// Sends pending verdicts, as far as the send window goes.
    pub(super) fn tell(&mut self, context: &mut Context<'_>, session: &mut Session) {
        while let Some(&number) = self.owing.front() {
            if let Some(channel) = &mut self.channels[usize::from(number)] {
                if !channel.tell(context, session, number) {
                    return;
                }
                channel.is_owing = false;
            }
            self.owing.pop_front();
        }
    }

    /// Returns whether there is something to tell.
    pub(super) fn is_owing(&self) -> bool {
        !self.owing.is_empty()
    }

    fn owe(&mut self, number: u8) {
        let channel = self.channels.get_mut(usize::from(number)).and_then(Option::as_mut);
        if let Some(channel) = channel
            && !std::mem::replace(&mut channel.is_owing, true)
        {
            self.owing.push_back(number);
        }
    }
}

impl Channel {
    /// Sends the answer and the verdicts that the sender does not have; returns whether
    /// the room was enough for all.
    fn tell(&mut self, context: &mut Context<'_>, session: &mut Session, number: u8) -> bool {
        let Record { born, highest, ref runs, .. } = self.record;
        if self.is_answer_owed {
            if session.room == 0 {
                return false;
            }
            session.emit(context, Header::default(), Opened::encode(number, born, runs));
            self.is_answer_owed = false;
            self.told = highest;
        }
        let told = runs.partition_point(|run| run.through <= self.told);
        for &run in &runs[told..] {
            if session.room == 0 {
                return false;
            }
            session.emit(context, verdict_header(number, run), Bytes::new());
            self.told = run.through;
        }
        true
    }
}

impl Record {
    /// Returns whether a verdict can be added and nothing forgotten.
    fn has_room(&self, verdict: Verdict) -> bool {
        self.runs.len() < RUNS_MAX || self.runs.last().is_some_and(|run| run.verdict == verdict)
    }

    /// Adds the verdict on the next message. A record without room for it forgets its two oldest
    /// verdicts, but not that there were some.
    fn add(&mut self, sequence: u64, verdict: Verdict) {
        if !self.has_room(verdict) {
            self.runs.remove(0);
            self.runs[0].verdict = Verdict::Forgotten;
        }
        self.highest = sequence;
        match self.runs.last_mut() {
            Some(run) if run.verdict == verdict => run.through = sequence,
            Some(_) | None => self.runs.push(Run { through: sequence, verdict }),
        }
    }
}
