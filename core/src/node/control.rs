//! What an application can ask of the node as a whole.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::modules::Waiting;
use super::{CommandError, CommandId, Counters, Node, Record};
use crate::identity::AgentId;
use crate::support::{TableSet, Time};
use crate::{direct, gossip};

crate::requests! {
    SetBlocked => BlockedSet,
    GetCounters => Counters,
    ShutDown => (),
}

/// Takes no messages from an agent any more, or takes them again. Answered when it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBlocked {
    /// The agent.
    pub agent: AgentId,
    /// Whether it is blocked from here on.
    pub blocked: bool,
}

/// The answer to [`SetBlocked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedSet;

/// Asks for the node's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCounters;

/// Ends everything that waits, closes all links, telling the peers, and takes no more commands.
/// Drain the node to idle, then drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutDown;

/// The tables of the node as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Table {
    /// Agents, by agent id, from whom this node takes nothing.
    Blocked,
}

impl TableSet for Table {
    const ALL: &'static [Self] = &[Self::Blocked];

    fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
        }
    }
}

/// The record of an agent that is blocked: the version of this form, and nothing else.
const BLOCKED: [u8; 1] = [1];

impl Node {
    pub(super) fn control(
        &mut self,
        time: Time,
        id: CommandId,
        request: Request,
    ) -> Result<(), CommandError> {
        match request {
            Request::SetBlocked(request) => return self.block(time, id, request),
            Request::GetCounters(GetCounters) => {
                let counters = self.modules.counters();
                self.reply(id, Reply::GetCounters(counters));
            }
            Request::ShutDown(ShutDown) => {
                self.is_shut_down = true;
                self.modules.shut_down(time);
                // Commands that still wait are answered first.
                self.route();
                self.reply(id, Reply::ShutDown(()));
            }
        }
        Ok(())
    }

    /// Takes a record of an earlier run back.
    pub(super) fn restore_control(
        &mut self,
        time: Time,
        Table::Blocked: Table,
        key: &Bytes,
        value: &Bytes,
    ) -> Result<(), String> {
        let id = key[..].try_into().map_err(|_| "the key is not an id".to_owned())?;
        if value[..] != BLOCKED {
            return Err("it is of a version that this program does not know".to_owned());
        }
        self.set_blocked(time, AgentId(id), true);
        Ok(())
    }

    /// Blocks at once and answers when the store has it.
    fn block(
        &mut self,
        time: Time,
        id: CommandId,
        request: SetBlocked,
    ) -> Result<(), CommandError> {
        let SetBlocked { agent, blocked } = request;
        if blocked && !self.modules.direct.state.can_block(&agent) {
            return Err(CommandError::TooManyBlocked);
        }
        self.set_blocked(time, agent, blocked);
        let table = super::Table::Control(Table::Blocked);
        let key = Bytes::copy_from_slice(&agent.0);
        let (puts, deletes) = if blocked {
            (vec![Record { table, key, value: Bytes::from_static(&BLOCKED) }], vec![])
        } else {
            (vec![], vec![(table, key)])
        };
        let reply = Reply::SetBlocked(BlockedSet).into();
        self.store(puts, deletes, Waiting::Reply(id, reply));
        Ok(())
    }

    fn set_blocked(&mut self, time: Time, agent: AgentId, blocked: bool) {
        self.modules.direct.run(time, |direct, context| {
            direct.handle(context, direct::Input::SetBlocked { agent, blocked });
        });
        self.modules.gossip.run(time, |gossip, context| {
            gossip.handle(context, gossip::Input::SetBlocked { agent, blocked });
        });
    }
}
