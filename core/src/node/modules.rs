//! The list of modules. To add one: its folder, a line in [`modules!`] below, and its routing file.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::routing::{self, Protocol, Routing, Start};
use super::{CommandError, CommandId, Fatal, Node, control};
use crate::identity::MachineId;
use crate::session;
use crate::support::{
    CounterSet, Counts, Deadline, Effect, LoadTicket, Module, TableSet, Time, WriteTicket,
};

/// What waits for a write.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Outputs of a module.
    Module(Name, WriteTicket),
    /// The reply to a command.
    Reply(CommandId, Reply),
}

type StateOf<R> = <R as Routing>::State;
type OutputOf<R> = <R as Routing>::Output;

/// The list: the module at the bottom, which carries the frames of the others, then those above it.
/// `counted` names modules that run within another one and count for themselves.
macro_rules! modules {
    (
        bottom $bottom:ident $Bottom:ident;
        $($(#[$meta:meta])* above $module:ident $Variant:ident;)+
        $(counted $inner:ident $Inner:ident: $counter:ty = $counts:expr;)*
    ) => {
        /// Everything that an application can ask of a node, by module.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Request {
            /// For the node as a whole.
            Control(control::Request),
            #[doc = concat!("For the module `", stringify!($bottom), "`.")]
            $Bottom(crate::$bottom::Request),
            $($(#[$meta])* #[doc = concat!("For the module `", stringify!($module), "`.")]
            $Variant(crate::$module::Request),)+
        }

        /// The answer to a [`Request`], variant by variant.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Reply {
            /// Of the node as a whole.
            Control(control::Reply),
            #[doc = concat!("Of the module `", stringify!($bottom), "`.")]
            $Bottom(crate::$bottom::Reply),
            $($(#[$meta])* #[doc = concat!("Of the module `", stringify!($module), "`.")]
            $Variant(crate::$module::Reply),)+
        }

        /// Something that happened.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Event {
            /// A command is answered. Each command that was accepted has exactly one.
            Reply {
                /// The command.
                command: CommandId,
                /// The answer.
                reply: Reply,
            },
            /// The node cannot go on. Nothing else follows.
            Halted(Fatal),
            #[doc = concat!("Of the module `", stringify!($bottom), "`.")]
            $Bottom(crate::$bottom::Event),
            $($(#[$meta])* #[doc = concat!("Of the module `", stringify!($module), "`.")]
            $Variant(crate::$module::Event),)+
        }

        /// A group of records with one kind of key.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Table {
            /// Of the node as a whole.
            Control(control::Table),
            #[doc = concat!("Of the module `", stringify!($bottom), "`.")]
            $Bottom(crate::$bottom::Table),
            $($(#[$meta])* #[doc = concat!("Of the module `", stringify!($module), "`.")]
            $Variant(crate::$module::Table),)+
        }

        impl Table {
            /// Returns every table.
            pub fn all() -> impl Iterator<Item = Self> {
                let all = control::Table::ALL.iter().copied().map(Self::Control);
                let all = all.chain(
                    <crate::$bottom::Table as TableSet>::ALL.iter().copied().map(Self::$Bottom),
                );
                $($(#[$meta])* let all = all.chain(
                    <crate::$module::Table as TableSet>::ALL.iter().copied().map(Self::$Variant),
                );)+
                all
            }

            /// Returns the name of the table in a store.
            pub fn name(self) -> &'static str {
                match self {
                    Self::Control(table) => table.name(),
                    Self::$Bottom(table) => table.name(),
                    $($(#[$meta])* Self::$Variant(table) => table.name(),)+
                }
            }
        }

        impl Request {
            /// Names the request.
            pub const fn name(&self) -> &'static str {
                match self {
                    Self::Control(request) => request.name(),
                    Self::$Bottom(request) => request.name(),
                    $($(#[$meta])* Self::$Variant(request) => request.name(),)+
                }
            }
        }

        impl Reply {
            /// Names the request that is answered.
            pub const fn name(&self) -> &'static str {
                match self {
                    Self::Control(reply) => reply.name(),
                    Self::$Bottom(reply) => reply.name(),
                    $($(#[$meta])* Self::$Variant(reply) => reply.name(),)+
                }
            }
        }

        modules!(@convert Control control::Request, control::Reply);
        modules!(@convert $Bottom
            crate::$bottom::Request, crate::$bottom::Reply);
        $($(#[$meta])* const _: () = {
            modules!(@convert $Variant
                crate::$module::Request, crate::$module::Reply);
        };)+

        /// What all modules counted since the node started.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counters {
            #[doc = concat!("Of the module `", stringify!($bottom), "`.")]
            pub $bottom: Counts<crate::$bottom::Counter>,
            $($(#[$meta])* #[doc = concat!("Of the module `", stringify!($module), "`.")]
            pub $module: Counts<crate::$module::Counter>,)+
            $(#[doc = concat!("Of the module `", stringify!($inner), "`.")]
            pub $inner: Counts<$counter>,)*
        }

        impl Counters {
            /// Returns a count.
            pub fn get(&self, counter: impl Into<Counter>) -> u64 {
                match counter.into() {
                    Counter::$Bottom(counter) => self.$bottom.get(counter),
                    $($(#[$meta])* Counter::$Variant(counter) => self.$module.get(counter),)+
                    $(Counter::$Inner(counter) => self.$inner.get(counter),)*
                }
            }

            /// Returns every count that is not zero, with its name.
            pub fn non_zero(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let all = self.$bottom.iter();
                $($(#[$meta])* let all = all.chain(self.$module.iter());)+
                $(let all = all.chain(self.$inner.iter());)*
                all.filter(|&(_, count)| count > 0)
            }
        }

        impl From<crate::$bottom::Event> for Event {
            fn from(event: crate::$bottom::Event) -> Self {
                Self::$Bottom(event)
            }
        }
        $($(#[$meta])* impl From<crate::$module::Event> for Event {
            fn from(event: crate::$module::Event) -> Self {
                Self::$Variant(event)
            }
        })+

        /// One thing that a node counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Counter {
            #[doc = concat!("Of the module `", stringify!($bottom), "`.")]
            $Bottom(crate::$bottom::Counter),
            $($(#[$meta])* #[doc = concat!("Of the module `", stringify!($module), "`.")]
            $Variant(crate::$module::Counter),)+
            $(#[doc = concat!("Of the module `", stringify!($inner), "`.")]
            $Inner($counter),)*
        }

        impl Counter {
            /// Returns every counter, in the order in which they are shown.
            pub fn all() -> impl Iterator<Item = Self> {
                let all = <crate::$bottom::Counter as CounterSet>::ALL.iter().copied().map(Self::$Bottom);
                $($(#[$meta])* let all = all.chain(
                    <crate::$module::Counter as CounterSet>::ALL.iter().copied().map(Self::$Variant),
                );)+
                $(let all = all.chain(<$counter>::ALL.iter().copied().map(Self::$Inner));)*
                all
            }

            /// Returns the name that users see, in snake case.
            pub fn label(self) -> &'static str {
                match self {
                    Self::$Bottom(counter) => counter.label(),
                    $($(#[$meta])* Self::$Variant(counter) => counter.label(),)+
                    $(Self::$Inner(counter) => counter.label(),)*
                }
            }
        }

        impl From<crate::$bottom::Counter> for Counter {
            fn from(counter: crate::$bottom::Counter) -> Self {
                Self::$Bottom(counter)
            }
        }
        $($(#[$meta])* impl From<crate::$module::Counter> for Counter {
            fn from(counter: crate::$module::Counter) -> Self {
                Self::$Variant(counter)
            }
        })+
        $(impl From<$counter> for Counter {
            fn from(counter: $counter) -> Self {
                Self::$Inner(counter)
            }
        })*

        /// Which module.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name {
            $Bottom,
            $($(#[$meta])* $Variant,)+
        }

        /// The modules of one node.
        #[derive(Debug)]
        pub(super) struct Modules {
            pub(super) $bottom: Module<StateOf<routing::$Bottom>, OutputOf<routing::$Bottom>>,
            $($(#[$meta])*
            pub(super) $module: Module<StateOf<routing::$Variant>, OutputOf<routing::$Variant>>,)+
        }

        impl Modules {
            pub(super) fn new(start: &Start<'_>) -> Self {
                let rng = |name| start.rng.fork(name);
                Self {
                    $bottom: Module::new(routing::$Bottom::start(start), rng(stringify!($bottom))),
                    $($(#[$meta])* $module: Module::new(
                        routing::$Variant::start(start),
                        rng(stringify!($module)),
                    ),)+
                }
            }

            /// Returns when the first module is due, and for which timer.
            pub(super) fn deadline(&self) -> Option<Deadline> {
                let first = routing::$Bottom::deadline(&self.$bottom.state);
                $($(#[$meta])* let first = earlier(
                    first,
                    routing::$Variant::deadline(&self.$module.state),
                );)+
                first
            }

            /// Lets every module do what is due.
            pub(super) fn handle_timeout(&mut self, time: Time) {
                self.$bottom.run(time, routing::$Bottom::handle_timeout);
                $($(#[$meta])* self.$module.run(time, routing::$Variant::handle_timeout);)+
            }

            /// The wall clock was set, or the host slept.
            pub(super) fn clock_was_set(&mut self, time: Time) {
                self.$bottom.run(time, routing::$Bottom::clock_was_set);
                $($(#[$meta])* self.$module.run(time, routing::$Variant::clock_was_set);)+
            }

            /// Lets the modules above the bottom gather what several inputs have in common.
            pub(super) fn flush(&mut self, time: Time) {
                $($(#[$meta])* self.$module.run(time, routing::$Variant::flush);)+
            }

            /// Hands to each protocol what `event` makes for it, in the order of the list.
            pub(super) fn for_each_protocol(
                &mut self,
                time: Time,
                mut event: impl FnMut(Protocol) -> Option<session::Event<MachineId>>,
            ) {
                $($(#[$meta])* {
                    if let Some(event) = routing::$Variant::PROTOCOL.and_then(&mut event) {
                        self.$module.run(time, |state, context| {
                            routing::$Variant::session(state, context, event);
                        });
                    }
                })+
            }

            /// Ends every module, those above the bottom first.
            pub(super) fn shut_down(&mut self, time: Time) {
                $($(#[$meta])* self.$module.run(time, routing::$Variant::shut_down);)+
                self.$bottom.run(time, routing::$Bottom::shut_down);
            }

            /// Lets the outputs follow that waited for a write of a module.
            pub(super) fn stored(&mut self, name: Name, write: WriteTicket) {
                match name {
                    Name::$Bottom => self.$bottom.stored(write),
                    $($(#[$meta])* Name::$Variant => self.$module.stored(write),)+
                }
            }

            /// Returns what all modules counted.
            pub(super) fn counters(&self) -> Counters {
                let modules = self;
                Counters {
                    $bottom: modules.$bottom.counts().clone(),
                    $($(#[$meta])* $module: modules.$module.counts().clone(),)+
                    $($inner: $counts(modules).clone(),)*
                }
            }
        }

        impl Node {
            /// Routes effects between the modules until none is left. What an output of a lower
            /// module causes above it comes before the next one: a message is reported before the
            /// end of its session.
            pub(super) fn route(&mut self) {
                let time = self.time();
                loop {
                    $($(#[$meta])* {
                        if let Some(effect) = self.modules.$module.pop() {
                            match effect {
                                Effect::Emit(output) => {
                                    routing::$Variant::route(self, time, output);
                                }
                                Effect::Store(ticket, changes) => {
                                    self.store_for(Name::$Variant, ticket, changes, Table::$Variant);
                                }
                                Effect::Load { ticket, table, key, range } => {
                                    let table = Table::$Variant(table);
                                    self.load_for(Name::$Variant, ticket, table, (key, range));
                                }
                            }
                            continue;
                        }
                    })+
                    match self.modules.$bottom.pop() {
                        Some(Effect::Emit(output)) => routing::$Bottom::route(self, time, output),
                        Some(Effect::Store(ticket, changes)) => {
                            self.store_for(Name::$Bottom, ticket, changes, Table::$Bottom);
                        }
                        Some(Effect::Load { ticket, table, key, range }) => {
                            let table = Table::$Bottom(table);
                            self.load_for(Name::$Bottom, ticket, table, (key, range));
                        }
                        None => return,
                    }
                }
            }

            /// Hands a request to its module.
            pub(super) fn request(
                &mut self,
                time: Time,
                id: CommandId,
                request: Request,
            ) -> Result<(), CommandError> {
                match request {
                    Request::Control(request) => self.control(time, id, request),
                    Request::$Bottom(request) => {
                        routing::$Bottom::request(self, time, id, request)
                    }
                    $($(#[$meta])* Request::$Variant(request) => {
                        routing::$Variant::request(self, time, id, request)
                    })+
                }
            }

            /// Hands what was read to its module.
            pub(super) fn loaded(
                &mut self,
                time: Time,
                (name, ticket): (Name, LoadTicket),
                result: Result<Bytes, super::StoreError>,
            ) {
                match name {
                    Name::$Bottom => routing::$Bottom::loaded(self, time, ticket, result),
                    $($(#[$meta])* Name::$Variant => {
                        routing::$Variant::loaded(self, time, ticket, result);
                    })+
                }
            }

            /// Hands a stored record to its module.
            pub(super) fn restore(
                &mut self,
                time: Time,
                record: &super::Record,
            ) -> Result<(), String> {
                let (key, value) = (&record.key, &record.value);
                match record.table {
                    Table::Control(table) => self.restore_control(time, table, key, value),
                    Table::$Bottom(table) => {
                        routing::$Bottom::restore(self, time, table, (key, value))
                    }
                    $($(#[$meta])* Table::$Variant(table) => {
                        routing::$Variant::restore(self, time, table, (key, value))
                    })+
                }
            }
        }
    };

    (@convert $Variant:ident $request:ty, $reply:ty) => {
        impl From<$request> for Request {
            fn from(request: $request) -> Self {
                Self::$Variant(request)
            }
        }

        impl From<$reply> for Reply {
            fn from(reply: $reply) -> Self {
                Self::$Variant(reply)
            }
        }

        impl TryFrom<Reply> for $reply {
            type Error = Reply;

            fn try_from(reply: Reply) -> Result<Self, Reply> {
                match reply {
                    Reply::$Variant(reply) => Ok(reply),
                    other => Err(other),
                }
            }
        }
    };
}

modules! {
    bottom link Link;
    above direct Direct;
    above gossip Gossip;
    #[cfg(test)]
    above notes Notes;
    counted overlay Overlay: crate::overlay::Counter = overlay_counts;
}

fn overlay_counts(modules: &Modules) -> &Counts<crate::overlay::Counter> {
    modules.gossip.state.overlay_counts()
}

fn earlier(first: Option<Deadline>, second: Option<Deadline>) -> Option<Deadline> {
    [first, second].into_iter().flatten().min()
}
