//! The recipient's half: which messages were taken, and what the sender is told about them.
//!
//! A [`Record`] is what this node knows of one conversation. It lives in the channel of the
//! session that opened it, where a message reaches it without a search. When the session ends, the
//! record waits with the others of its machine until that machine is back.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::frames::{Header, Open, Opened, Run, Verdict};
use super::{
    BLOCKED_MAX, CHANNELS_MAX, Output, Peer, RECORDS_MAX, REMEMBERED_MACHINES_MAX, RUNS_MAX,
    RefuseReason, Violation,
};
use crate::identity::{AgentId, MachineId};
use crate::support::{BoundedMap, Context, Counter};

/// What the recipient's half knows beyond the sessions.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The records of machines that have no session, newest first.
    remembered: BoundedMap<MachineId, Vec<Record>>,
    /// The agents whose messages are refused.
    blocked: BTreeSet<AgentId>,
    /// How many channels hold a record.
    open: usize,
}

/// The recipient's half of a session.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The channels, by number.
    channels: Vec<Channel>,
    /// Records of the machine that no channel has opened in this session.
    remembered: Vec<Record>,
    /// The channels that have something to tell, in the order in which it came up.
    owing: VecDeque<u8>,
}

#[derive(Debug, Default)]
struct Channel {
    state: ChannelState,
    /// Whether the last `Open` waits for its answer.
    answer_owed: bool,
    /// Whether the channel is in [`Lane::owing`].
    is_owing: bool,
}

#[derive(Debug, Default)]
enum ChannelState {
    #[default]
    Unopened,
    /// What comes is dropped: the sender is told so.
    Refused(RefuseReason),
    Open(OpenChannel),
}

#[derive(Debug)]
struct OpenChannel {
    record: Record,
    /// Whether messages are taken. If not, they were sent under another epoch and are dropped; the
    /// sender learns the epoch from the answer and opens again.
    is_taking: bool,
    /// Whether the sender is blocked.
    is_blocked: bool,
    /// The last sequence whose verdict was told on this channel.
    told: u64,
}

/// What this node knows of a conversation.
#[derive(Debug)]
struct Record {
    conversation: Conversation,
    /// Names the record: not zero, and never the same for two records.
    epoch: u64,
    /// The highest sequence that came.
    highest: u64,
    /// The verdicts up to `highest` on all messages that the sender has no answer to. Neighbours
    /// differ.
    runs: Vec<Run>,
}

/// Names a conversation among those of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Conversation {
    sender: AgentId,
    recipient: AgentId,
    number: u64,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            remembered: BoundedMap::new(REMEMBERED_MACHINES_MAX),
            blocked: BTreeSet::new(),
            open: 0,
        }
    }

    /// Makes the half of a new session, with what is remembered of its machine.
    pub(super) fn peer_up(&mut self, machine: MachineId) -> Lane {
        let remembered = self.remembered.remove(&machine).unwrap_or_default();
        Lane { remembered, ..Lane::default() }
    }

    /// Remembers the records of a session that ended.
    pub(super) fn peer_down(
        &mut self,
        context: &mut Context<'_, Output>,
        machine: MachineId,
        lane: Lane,
    ) {
        let opened = lane.channels.into_iter().filter_map(|channel| channel.state.into_record());
        let mut records: Vec<Record> = opened.collect();
        self.open -= records.len();
        records.extend(lane.remembered);
        for _ in records.drain(records.len().min(CHANNELS_MAX)..) {
            context.count(Counter::DirectRecordsForgotten);
        }
        if records.is_empty() {
            return;
        }
        if let Some((_, forgotten)) = self.remembered.insert(machine, records) {
            context.counters.add(Counter::DirectRecordsForgotten, count(forgotten.len()));
        }
    }

    /// Answers the question of a sender that starts or resumes a conversation.
    pub(super) fn open(
        &mut self,
        context: &mut Context<'_, Output>,
        (lane, agents, local): (&mut Lane, &[AgentId], &[AgentId]),
        open: &Open,
    ) -> Result<(), Violation> {
        let sender = *agents.get(usize::from(open.from)).ok_or(Violation::UnknownSender)?;
        let conversation =
            Conversation { sender, recipient: open.to, number: open.conversation };
        let number = usize::from(open.channel);
        if lane.channels.len() <= number {
            lane.channels.resize_with(number + 1, Channel::default);
        }
        if lane.channels[number].answer_owed {
            return Err(Violation::OpenUnanswered);
        }
        // A sender gives a channel to another conversation only when it has forgotten the first.
        let replaced = std::mem::take(&mut lane.channels[number].state).into_record();
        self.open -= usize::from(replaced.is_some());
        if lane.channels.iter().any(|channel| channel.state.is_of(conversation)) {
            return Err(Violation::OpenTwice);
        }
        lane.channels[number].state = if !local.contains(&open.to) {
            ChannelState::Refused(RefuseReason::NotHere)
        } else if self.open == RECORDS_MAX {
            ChannelState::Refused(RefuseReason::Full)
        } else {
            self.open += 1;
            let mut record = replaced
                .filter(|record| record.conversation == conversation)
                .or_else(|| lane.recall(conversation))
                .unwrap_or_else(|| Record::new(context, conversation));
            record.runs.retain(|run| run.through >= open.first);
            let is_taking = open.epoch.is_none_or(|epoch| epoch == record.epoch);
            let is_blocked = self.blocked.contains(&sender);
            ChannelState::Open(OpenChannel { record, is_taking, is_blocked, told: 0 })
        };
        lane.channels[number].answer_owed = true;
        lane.owe(open.channel);
        Ok(())
    }

    /// Blocks or unblocks an agent.
    pub(super) fn set_blocked<'a>(
        &mut self,
        context: &mut Context<'_, Output>,
        lanes: impl Iterator<Item = &'a mut Lane>,
        agent: AgentId,
        blocked: bool,
    ) {
        if !blocked {
            self.blocked.remove(&agent);
        } else if self.blocked.len() < BLOCKED_MAX {
            self.blocked.insert(agent);
        } else if !self.blocked.contains(&agent) {
            return context.count(Counter::DirectBlocksOverLimit);
        }
        for channel in lanes.flat_map(|lane| &mut lane.channels) {
            if let ChannelState::Open(open) = &mut channel.state
                && open.record.conversation.sender == agent
            {
                open.is_blocked = blocked;
            }
        }
    }

    /// Tells whether an agent is blocked.
    pub(super) fn is_blocked(&self, agent: &AgentId) -> bool {
        self.blocked.contains(agent)
    }
}

impl Lane {
    /// Takes or refuses a message.
    pub(super) fn message(
        &mut self,
        context: &mut Context<'_, Output>,
        peer: &mut Peer,
        (number, sequence): (u8, u64),
        payload: Bytes,
    ) -> Result<(), Violation> {
        let channel = self.channels.get_mut(usize::from(number)).ok_or(Violation::NotOpen)?;
        let open = match &mut channel.state {
            ChannelState::Unopened => return Err(Violation::NotOpen),
            ChannelState::Open(open) if open.is_taking => open,
            ChannelState::Open(_) | ChannelState::Refused(_) => {
                context.count(Counter::DirectMessagesDropped);
                return Ok(());
            }
        };
        if sequence <= open.record.highest {
            return Err(Violation::SequenceNotIncreasing);
        }
        let verdict = if open.is_blocked {
            Verdict::Refused(RefuseReason::Blocked)
        } else {
            Verdict::Accepted
        };
        if !open.record.has_room(verdict) {
            // What is not told yet would be lost with the record: it goes out beyond the room.
            channel.tell(context, &mut Peer { room: usize::MAX, ..*peer }, number);
        }
        let ChannelState::Open(open) = &mut channel.state else { unreachable!("it was open") };
        open.record.add(context, sequence, verdict);
        let Conversation { sender, recipient, .. } = open.record.conversation;
        if verdict == Verdict::Accepted {
            context.count(Counter::DirectMessagesReceived);
            let machine = peer.machine;
            context.emit(Output::Received { sender, machine, recipient, payload });
        } else {
            context.count(Counter::DirectMessagesRefused);
        }
        self.owe(number);
        Ok(())
    }

    /// Tells what there is to tell, as far as the room goes.
    pub(super) fn tell(&mut self, context: &mut Context<'_, Output>, peer: &mut Peer) {
        while let Some(&number) = self.owing.front() {
            let channel = &mut self.channels[usize::from(number)];
            if !channel.tell(context, peer, number) {
                return;
            }
            channel.is_owing = false;
            self.owing.pop_front();
        }
    }

    /// Tells whether there is something to tell.
    pub(super) fn is_owing(&self) -> bool {
        !self.owing.is_empty()
    }

    fn owe(&mut self, number: u8) {
        let channel = &mut self.channels[usize::from(number)];
        if !std::mem::replace(&mut channel.is_owing, true) {
            self.owing.push_back(number);
        }
    }

    fn recall(&mut self, conversation: Conversation) -> Option<Record> {
        let mut records = self.remembered.iter();
        let index = records.position(|record| record.conversation == conversation)?;
        Some(self.remembered.remove(index))
    }
}

impl Channel {
    /// Tells the sender the answer and the verdicts that it has not been told; returns whether
    /// the room was enough for all.
    fn tell(&mut self, context: &mut Context<'_, Output>, peer: &mut Peer, number: u8) -> bool {
        if self.answer_owed && peer.room == 0 {
            return false;
        }
        let answer_owed = std::mem::take(&mut self.answer_owed);
        match &mut self.state {
            ChannelState::Unopened => {}
            ChannelState::Refused(reason) => {
                if answer_owed {
                    peer.emit(context, Header::refused(number, *reason), Bytes::new());
                }
            }
            ChannelState::Open(open) => {
                let Record { epoch, highest, ref runs, .. } = open.record;
                if answer_owed {
                    let opened = Opened::encode(number, epoch, runs);
                    peer.emit(context, Header::default(), opened);
                    open.told = highest;
                }
                let told = runs.partition_point(|run| run.through <= open.told);
                for &run in &runs[told..] {
                    if peer.room == 0 {
                        return false;
                    }
                    peer.emit(context, Header::verdict(number, run), Bytes::new());
                    open.told = run.through;
                }
            }
        }
        true
    }
}

impl ChannelState {
    fn into_record(self) -> Option<Record> {
        match self {
            Self::Open(open) => Some(open.record),
            Self::Unopened | Self::Refused(_) => None,
        }
    }

    fn is_of(&self, conversation: Conversation) -> bool {
        match self {
            Self::Open(open) => open.record.conversation == conversation,
            Self::Unopened | Self::Refused(_) => false,
        }
    }
}

impl Record {
    fn new(context: &mut Context<'_, Output>, conversation: Conversation) -> Self {
        Self { conversation, epoch: draw_epoch(context), highest: 0, runs: Vec::new() }
    }

    /// Tells whether a verdict can be added and nothing forgotten.
    fn has_room(&self, verdict: Verdict) -> bool {
        self.runs.len() < RUNS_MAX || self.runs.last().is_some_and(|run| run.verdict == verdict)
    }

    /// Adds the verdict on the next message. A record without room for it starts again under a new
    /// epoch: it knows no verdict any longer, and says so.
    fn add(&mut self, context: &mut Context<'_, Output>, sequence: u64, verdict: Verdict) {
        if !self.has_room(verdict) {
            context.count(Counter::DirectRecordsForgotten);
            self.epoch = draw_epoch(context);
            self.runs.clear();
        }
        self.highest = sequence;
        match self.runs.last_mut() {
            Some(run) if run.verdict == verdict => run.through = sequence,
            Some(_) | None => self.runs.push(Run { through: sequence, verdict }),
        }
    }
}

fn draw_epoch(context: &mut Context<'_, Output>) -> u64 {
    // Zero stands for "no epoch" in an `Open`.
    context.rng.next_u64().max(1)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
