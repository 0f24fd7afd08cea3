//! The sender's half: conversations, where each goes on, and which of them goes next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::conversation::{Conversation, Load, NEVER, Phase, Place};
use super::error::Violation;
use super::frames::{Opened, Run};
use super::slots::Slots;
use super::{
    BYTES_MAX, CONVERSATIONS_MAX, Context, DirectError, MESSAGE_COST, Output, Peer,
    RECIPIENT_BYTES_MAX, RECIPIENT_MESSAGES_MAX, RequestError, SendId, Session, TICK_MILLIS,
};
use crate::identity::{AgentId, MachineId};

/// What the sender's half knows.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The conversations by recipient.
    conversations: Slots<AgentId, Conversation>,
    /// Where each agent with a session is, and the incarnation of its machine.
    places: BTreeMap<(AgentId, MachineId), (Place, u64)>,
    /// What all conversations hold.
    load: Load,
    /// Where ticks are counted from: the first time that was seen.
    anchor: Option<Instant>,
    /// No later than the tick at which a message times out.
    earliest: u64,
}

/// The sender's half of a session.
#[derive(Debug, Default)]
pub(super) struct OutLane {
    /// One for each agent that the machine proved.
    channels: Vec<OutChannel>,
    /// The channels that have something to send, in the order of their turns.
    ready: VecDeque<u8>,
}

/// The channel to one agent.
#[derive(Debug, Default)]
struct OutChannel {
    /// The index of the conversation that has the channel.
    conversation: Option<usize>,
    /// Whether it was ever opened.
    is_used: bool,
    /// Whether the last `Open` has no answer. Verdicts that come before are on a conversation that
    /// is forgotten.
    is_asked: bool,
    /// Whether the channel is in [`OutLane::ready`].
    is_ready: bool,
}

impl Outgoing {
    /// Makes the half of a node that sent nothing.
    pub(super) fn new() -> Self {
        Self {
            conversations: Slots::new(),
            places: BTreeMap::new(),
            load: Load::default(),
            anchor: None,
            earliest: NEVER,
        }
    }

    /// Returns whether there is room for a message.
    pub(super) fn check(&self, recipient: &AgentId, size: usize) -> Result<(), RequestError> {
        let has_room = match self.conversations.find(recipient) {
            Some(index) => {
                let conversation = &self.conversations[index];
                conversation.queue.len() < RECIPIENT_MESSAGES_MAX
                    && conversation.bytes + size <= RECIPIENT_BYTES_MAX
            }
            None => {
                self.conversations.len() < CONVERSATIONS_MAX || self.load.busy < CONVERSATIONS_MAX
            }
        };
        if has_room && self.load.bytes + size + MESSAGE_COST <= BYTES_MAX {
            Ok(())
        } else {
            Err(RequestError::QueueFull)
        }
    }

    /// Finds the conversation with a recipient, or begins it.
    pub(super) fn conversation(
        &mut self,
        context: &mut Context<'_>,
        lanes: &mut Slots<MachineId, Peer>,
        recipient: AgentId,
    ) -> usize {
        if let Some(index) = self.conversations.find_mut(&recipient) {
            return index;
        }
        if self.conversations.len() == CONVERSATIONS_MAX {
            self.evict(lanes);
        }
        let number = context.rng.next_u64();
        let conversation = Conversation::new(recipient, number, context.now);
        let index = self.conversations.insert(recipient, conversation);
        self.find_place(context, lanes, index);
        index
    }

    /// Adds a message; returns where it goes out.
    pub(super) fn push(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        (id, payload, timeout): (SendId, Bytes, Duration),
    ) -> Option<Place> {
        let anchor = *self.anchor.get_or_insert(context.now);
        let since = context.now.saturating_duration_since(anchor);
        let deadline = since.checked_add(timeout).map_or(NEVER, ticks_up);
        self.earliest = self.earliest.min(deadline);
        let conversation = &mut self.conversations[index];
        conversation.push(&mut self.load, id, payload, (context.now, deadline));
        if conversation.place.is_none() && !std::mem::replace(&mut conversation.is_wanted, true) {
            context.emit(Output::WantPeer { agent: conversation.recipient });
        }
        conversation.place
    }

    /// Makes the half of a new session.
    pub(super) fn peer_up(
        &mut self,
        context: &mut Context<'_>,
        &Session { machine, incarnation, .. }: &Session,
        peer: usize,
        agents: &[AgentId],
    ) -> OutLane {
        let mut lane = OutLane::default();
        for (channel, &agent) in (0..).zip(agents) {
            lane.channels.push(OutChannel::default());
            let place = Place { peer, channel };
            if self.places.contains_key(&(agent, machine)) {
                continue;
            }
            self.places.insert((agent, machine), (place, incarnation));
            let Some(index) = self.conversations.find(&agent) else { continue };
            let conversation = &mut self.conversations[index];
            if conversation.place.is_none() {
                conversation.attach(context, &mut self.load, place, (machine, incarnation));
                lane.attach(channel, index, !conversation.queue.is_empty());
            }
        }
        lane
    }

    /// Moves the conversations of a session that ended to other sessions, or asks for some.
    /// Returns the indexes of peers that have something to send by it.
    pub(super) fn peer_down(
        &mut self,
        context: &mut Context<'_>,
        lanes: &mut Slots<MachineId, Peer>,
        ended: (MachineId, &[AgentId], &OutLane),
    ) -> Vec<usize> {
        let (machine, agents, lane) = ended;
        for &agent in agents {
            self.places.remove(&(agent, machine));
        }
        let mut moved = Vec::new();
        for index in lane.channels.iter().filter_map(|channel| channel.conversation) {
            self.conversations[index].detach();
            self.find_place(context, lanes, index);
            let conversation = &mut self.conversations[index];
            if let Some(place) = conversation.place {
                moved.push(place.peer);
            } else if !conversation.queue.is_empty() {
                conversation.is_wanted = true;
                context.emit(Output::WantPeer { agent: conversation.recipient });
            }
        }
        moved
    }

    /// Sends what there is to send, as far as the room goes.
    pub(super) fn pump(
        &mut self,
        context: &mut Context<'_>,
        session: &mut Session,
        lane: &mut OutLane,
    ) {
        while session.room > 0
            && let Some(number) = lane.ready.pop_front()
        {
            let channel = &mut lane.channels[usize::from(number)];
            channel.is_ready = false;
            let Some(index) = channel.conversation else { continue };
            let conversation = &mut self.conversations[index];
            match conversation.phase {
                Phase::Closed if conversation.queue.is_empty() || channel.is_asked => {}
                Phase::Closed => {
                    (channel.is_asked, channel.is_used) = (true, true);
                    conversation.open(context, session, number);
                }
                Phase::Waiting => {}
                Phase::Streaming => conversation.send_next(context, session, number),
            }
            if conversation.has_unsent() {
                lane.ready(number);
            }
        }
    }

    /// Learns what the recipient's node knows.
    pub(super) fn opened(
        &mut self,
        context: &mut Context<'_>,
        lane: &mut OutLane,
        opened: &Opened,
    ) -> Result<(), Violation> {
        let channel = lane.channels.get_mut(usize::from(opened.channel));
        let channel = channel.filter(|channel| channel.is_asked).ok_or(Violation::NeverAsked)?;
        channel.is_asked = false;
        let Some(index) = channel.conversation else { return Ok(()) };
        let conversation = &mut self.conversations[index];
        if conversation.phase != Phase::Closed {
            conversation.opened(context, &mut self.load, opened)?;
        }
        lane.ready(opened.channel);
        Ok(())
    }

    /// Learns a verdict.
    pub(super) fn verdict(
        &mut self,
        context: &mut Context<'_>,
        lane: &OutLane,
        channel: u8,
        run: Run,
    ) -> Result<(), Violation> {
        let channel = lane.channels.get(usize::from(channel));
        let channel = channel.filter(|channel| channel.is_used).ok_or(Violation::NeverAsked)?;
        match channel.conversation {
            Some(index) if !channel.is_asked => {
                let conversation = &mut self.conversations[index];
                if conversation.phase == Phase::Closed {
                    return Ok(());
                }
                conversation.verdict(context, &mut self.load, run)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Ends what cannot be sent anywhere.
    pub(super) fn no_route(&mut self, context: &mut Context<'_>, agent: &AgentId) {
        if let Some(index) = self.conversations.find(agent) {
            let conversation = &mut self.conversations[index];
            if conversation.place.is_none() {
                conversation.end_unsent(context, &mut self.load);
            }
        }
    }

    /// Ends what has timed out.
    pub(super) fn expire(&mut self, context: &mut Context<'_>) {
        let Some(anchor) = self.anchor else { return };
        let now = ticks_down(context.now.saturating_duration_since(anchor));
        if self.earliest > now {
            return;
        }
        self.earliest = NEVER;
        for conversation in self.conversations.values_mut() {
            if conversation.earliest <= now {
                let error = |sent| DirectError::Timeout { sent };
                conversation.expire(context, &mut self.load, now, error);
            }
            self.earliest = self.earliest.min(conversation.earliest);
        }
    }

    /// Ends everything.
    pub(super) fn shut_down(&mut self, context: &mut Context<'_>) {
        for conversation in self.conversations.values_mut() {
            let error = |sent| DirectError::ShutDown { sent };
            conversation.expire(context, &mut self.load, NEVER, error);
        }
        self.earliest = NEVER;
    }

    /// Returns what all messages that wait count.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.load.bytes
    }

    /// Returns when [`Outgoing::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.load.messages == 0 || self.earliest == NEVER {
            return None;
        }
        let since = Duration::from_millis(self.earliest.checked_mul(TICK_MILLIS)?);
        self.anchor?.checked_add(since)
    }

    /// Finds a session for a conversation that has none.
    fn find_place(
        &mut self,
        context: &mut Context<'_>,
        lanes: &mut Slots<MachineId, Peer>,
        index: usize,
    ) {
        let conversation = &mut self.conversations[index];
        let agent = conversation.recipient;
        let range = (agent, MachineId([0; 32]))..=(agent, MachineId([0xff; 32]));
        if let Some((&(_, machine), &(place, incarnation))) = self.places.range(range).next() {
            conversation.attach(context, &mut self.load, place, (machine, incarnation));
            let has_work = !conversation.queue.is_empty();
            lanes[place.peer].out_lane.attach(place.channel, index, has_work);
        }
    }

    /// Forgets the idle conversation that was used least recently, best one without a session.
    fn evict(&mut self, lanes: &mut Slots<MachineId, Peer>) {
        let idle = self.conversations.values().filter(|other| other.queue.is_empty());
        let oldest = idle.min_by_key(|other| (other.place.is_some(), other.used_at));
        let Some((recipient, place)) = oldest.map(|other| (other.recipient, other.place)) else {
            return;
        };
        self.conversations.remove(&recipient);
        if let Some(Place { peer, channel }) = place {
            lanes[peer].out_lane.channels[usize::from(channel)].conversation = None;
        }
    }
}

impl OutLane {
    /// Marks a channel as having something to send.
    pub(super) fn ready(&mut self, number: u8) {
        let channel = &mut self.channels[usize::from(number)];
        if !std::mem::replace(&mut channel.is_ready, true) {
            self.ready.push_back(number);
        }
    }

    fn attach(&mut self, number: u8, conversation: usize, has_work: bool) {
        self.channels[usize::from(number)].conversation = Some(conversation);
        if has_work {
            self.ready(number);
        }
    }
}

/// The ticks that a time lasts, rounded up.
fn ticks_up(time: Duration) -> u64 {
    let down = ticks_down(time);
    if TICK_MILLIS.checked_mul(down).map(Duration::from_millis) == Some(time) {
        down
    } else {
        down.saturating_add(1)
    }
}

/// The ticks that a time lasts, rounded down.
fn ticks_down(time: Duration) -> u64 {
    let millis = time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into());
    millis / TICK_MILLIS
}
