//! The loop.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_channel::oneshot;
use x0x_core::node::recording::End;
use x0x_core::node::{
    Command, CommandError, CommandId, Event, Input, Output, Reply, Request, ShutDown, Time, control,
};

use crate::alarm::Alarm;
use crate::events::{EventSender, Events};
use crate::handle::{COMMANDS_MAX, Call, Calls, Handle, calls};
use crate::recording_node::RecordingNode;
use crate::runtime::Runtime;
use crate::sockets::Sockets;
use crate::store::{Done, StoreTask, Task};

struct Driver<R: Runtime> {
    runtime: R,
    node: RecordingNode,
    sockets: Sockets<R::Socket>,
    store: StoreTask,
    events: EventSender,
    alarm: Alarm<R::Timer>,
    /// The requests that the node has not answered.
    answers: HashMap<CommandId, oneshot::Sender<Result<Reply, CommandError>>>,
    last_command: u64,
    phase: Phase,
    /// Whether inputs came since the node last had nothing to hand over at once.
    is_fed: bool,
    /// Whether events or replies were handed over since the application last had a turn.
    has_delivered: bool,
    /// Dropped last: `Handle::shut_down` waits for it.
    calls: Calls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// Nothing follows but what is left to send and to store.
    Stopping,
    /// Nothing follows.
    Halted,
}

/// Runs a node in the background.
pub(crate) fn spawn<R: Runtime>(
    runtime: &R,
    node: RecordingNode,
    sockets: Sockets<R::Socket>,
    store: StoreTask,
) -> (Handle, Events) {
    let (sender, calls) = calls();
    let handle = Handle { calls: sender, sockets: sockets.locals().into() };
    let events = EventSender::default();
    let received = events.subscribe();
    let driver = Driver {
        runtime: runtime.clone(),
        node,
        sockets,
        store,
        events,
        alarm: Alarm::new(runtime),
        answers: HashMap::new(),
        last_command: 0,
        phase: Phase::Running,
        is_fed: true,
        has_delivered: false,
        calls,
    };
    runtime.spawn(driver.run());
    (handle, received)
}

impl<R: Runtime> Driver<R> {
    async fn run(mut self) {
        loop {
            self.has_delivered = false;
            self.deliver();
            if self.has_delivered {
                // What the application answers now shares datagrams with the acknowledgements.
                self.runtime.yield_now().await;
                self.take_calls();
            }
            let deadline = self.drain();
            // No event and no reply waits for a blocked socket.
            self.deliver();
            self.node.flush();
            if self.is_finished() {
                break;
            }
            poll_fn(|context| self.poll_inputs(context, deadline)).await;
        }
        self.close().await;
    }

    /// Closes the sockets and waits for the store and for the recording's file.
    async fn close(mut self) {
        let Self { sockets, store, events, answers, calls, .. } = self;
        drop((sockets, answers));
        let recording = self.node.finish(End::NodeEnded);
        store.close().await;
        if let Some(written) = recording {
            // The thread that writes ends only after it has reported.
            let _ = written.await;
        }
        drop(events);
        drop(calls);
    }

    /// Hands over what the inputs caused at once: events, replies and writes. The node builds no
    /// datagram before [`Output::Settled`], so nothing of this waits for a blocked socket.
    fn deliver(&mut self) {
        // The other buffer may hold what a blocked socket has not taken.
        let mut unused = Vec::new();
        while self.is_fed {
            let output = self.node.poll_output(&mut unused);
            self.act(output);
        }
        self.events.flush();
    }

    /// Does what the node wants until it is idle or a socket is blocked. Returns until when to sleep.
    fn drain(&mut self) -> Option<Instant> {
        self.sockets.retry(Instant::now());
        while !self.sockets.is_blocked() {
            let output = self.node.poll_output(self.sockets.transmit_buffer());
            if let Output::Idle { deadline } = output {
                let deadline = deadline.map(|deadline| deadline.at);
                return deadline.into_iter().chain(self.sockets.deadline()).min();
            }
            self.act(output);
        }
        self.sockets.deadline()
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Transmit(transmit) => self.sockets.send(transmit),
            Output::Store(batch) => self.store.push(Task::Write(batch)),
            Output::Load(load) => self.store.push(Task::Load(load)),
            Output::Event(Event::Reply { command, reply }) => self.reply(command, reply),
            Output::Event(event) => self.event(event),
            Output::Settled | Output::Idle { .. } => self.is_fed = false,
        }
    }

    fn reply(&mut self, command: CommandId, reply: Reply) {
        self.has_delivered = true;
        if matches!(reply, Reply::Control(control::Reply::ShutDown(()))) {
            self.phase = self.phase.max(Phase::Stopping);
        }
        if let Some(answer) = self.answers.remove(&command) {
            // The application may have given up.
            let _ = answer.send(Ok(reply));
        }
    }

    fn event(&mut self, event: Event) {
        if matches!(event, Event::Halted(_)) {
            self.halt();
        }
        self.has_delivered = true;
        self.events.push(event);
    }

    /// Answers nobody any more: those who wait see their channels close.
    fn halt(&mut self) {
        self.phase = Phase::Halted;
        self.answers.clear();
    }

    fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Running => false,
            Phase::Stopping => !self.store.is_busy() && !self.sockets.is_blocked(),
            Phase::Halted => true,
        }
    }

    /// Takes in everything that has happened, a bounded amount of it; pending if nothing has.
    fn poll_inputs(&mut self, context: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let mut inputs = [self.poll_store(context), Poll::Pending, Poll::Pending, Poll::Pending];
        if !self.store.is_full() {
            inputs[1] = self.poll_datagrams(context);
            inputs[2] = self.poll_calls(context);
            inputs[3] = self.poll_timers(context, deadline);
        }
        let is_any = inputs.iter().any(Poll::is_ready);
        if is_any { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_store(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut taken = Poll::Pending;
        while let Poll::Ready(done) = self.store.poll_done(context) {
            taken = Poll::Ready(());
            match done {
                Some(Done::Stored(id, result)) => self.input(Input::Stored(id, result)),
                Some(Done::Loaded(id, result)) => self.input(Input::Loaded(id, result)),
                None => {
                    tracing::error!("the store has stopped");
                    self.halt();
                    break;
                }
            }
        }
        taken
    }

    fn poll_datagrams(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let time = self.time();
        let Self { node, sockets, is_fed, .. } = self;
        let take = |datagram| {
            *is_fed = true;
            // Only a command can fail.
            drop(node.handle(time, Input::Datagram(datagram)));
        };
        sockets.poll_receive(context, time.now, take)
    }

    fn poll_calls(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.phase != Phase::Running {
            return Poll::Pending;
        }
        self.calls.poll_next(context).map(|call| match call {
            Some(call) => {
                self.call(call);
                self.take_calls();
            }
            None => self.shut_down(),
        })
    }

    fn poll_timers(&mut self, context: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let unblocked = self.sockets.poll_unblocked(context);
        let passed = self.alarm.poll_passed(context, deadline);
        if passed.is_ready() {
            self.input(Input::Timeout);
        }
        if unblocked.is_ready() { unblocked } else { passed }
    }

    /// Takes the calls that wait, as many as can wait.
    fn take_calls(&mut self) {
        for _ in 0..COMMANDS_MAX {
            let Some(call) = self.calls.try_next() else { return };
            self.call(call);
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Request(request, answer) => match self.command(request) {
                Ok(id) => drop(self.answers.insert(id, answer)),
                // The application may have given up.
                Err(error) => drop(answer.send(Err(error))),
            },
            Call::StopRecording(answer) => {
                // It may have ended without anybody having noticed.
                self.node.flush();
                let _ = answer.send(self.node.finish(End::Stopped));
            }
        }
    }

    /// Nobody is left who could ask for anything.
    fn shut_down(&mut self) {
        if self.command(ShutDown.into()).is_err() {
            // It has stopped already.
            self.phase = self.phase.max(Phase::Stopping);
        }
    }

    fn command(&mut self, request: Request) -> Result<CommandId, CommandError> {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        let time = self.time();
        self.is_fed = true;
        self.node.handle(time, Input::Command(Command { id, request })).map(|()| id)
    }

    /// Hands over what cannot fail.
    fn input(&mut self, input: Input) {
        let time = self.time();
        self.is_fed = true;
        let _ = self.node.handle(time, input);
    }

    /// Reads both clocks.
    fn time(&self) -> Time {
        Time { now: Instant::now(), unix_time: self.runtime.unix_time() }
    }
}
