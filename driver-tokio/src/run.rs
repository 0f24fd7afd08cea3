//! The loop.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::{task, time};
use x0x_core::node::recording::End;
use x0x_core::node::{CommandId, Config, Deadline, Event, Input, Output, Reply, Request, ShutDown};
use x0x_core::transport::Transmit;

use crate::events::{EventSender, Events};
use crate::handle::{Answer, Handle};
use crate::recorded::Recorded;
use crate::restart::{Control, Restart};
use crate::socket::{ReceiveBuffers, Socket};
use crate::store::{Done, StoreTask, Task};

/// How many commands wait for the loop, and how many it takes at once.
pub const COMMANDS_MAX: usize = 1024;

/// How many batches of datagrams are taken from a socket at once.
pub const RECEIVES_MAX: usize = 4;

/// How long the loop sleeps when nothing has a time.
const LONG: time::Duration = time::Duration::from_secs(3600);

pub(crate) struct Driver {
    /// What a new node is made from.
    pub(crate) config: Config,
    pub(crate) node: Recorded,
    sockets: Vec<Socket>,
    requests: mpsc::Receiver<(Request, Answer)>,
    controls: mpsc::Receiver<Control>,
    pub(crate) store: StoreTask,
    pub(crate) events: EventSender,
    /// Who waits for which reply.
    pub(crate) answers: HashMap<CommandId, Answer>,
    pub(crate) last_command: u64,
    receive_buffers: ReceiveBuffers,
    transmit_buffer: Vec<u8>,
    /// What a blocked socket has not taken, and how much of it it has.
    blocked: Option<(Transmit, usize)>,
    /// Writes that are not stored yet.
    writes: usize,
    /// Whether the application was told something since it last had a turn.
    has_told: bool,
    pub(crate) is_stopping: bool,
    /// Who takes the place of a node that stops.
    pub(crate) restart: Option<Restart>,
}

/// Why the loop woke up.
enum Wake {
    Readable,
    Writable,
    Requests(usize),
    Control(Control),
    Done(Option<Done>),
    Timer,
}

pub(crate) fn spawn(
    config: Config,
    node: Recorded,
    sockets: Vec<Socket>,
    store: StoreTask,
) -> (Handle, Events) {
    let (sender, requests) = mpsc::channel(COMMANDS_MAX);
    let (control_sender, controls) = mpsc::channel(1);
    let events = EventSender::default();
    let received = events.subscribe();
    let locals = config.sockets.as_slice().into();
    let driver = Driver {
        config,
        node,
        sockets,
        requests,
        controls,
        store,
        events,
        answers: HashMap::new(),
        last_command: 0,
        receive_buffers: ReceiveBuffers::new(),
        transmit_buffer: Vec::new(),
        blocked: None,
        writes: 0,
        has_told: false,
        is_stopping: false,
        restart: None,
    };
    tokio::spawn(driver.run());
    (Handle { requests: sender, controls: control_sender, sockets: locals }, received)
}

impl Driver {
    async fn run(mut self) {
        let timer = time::sleep(LONG);
        tokio::pin!(timer);
        let mut requests = Vec::new();
        loop {
            if self.tell() {
                // What the application answers now shares datagrams with the acknowledgements.
                task::yield_now().await;
                self.take_commands();
            }
            let deadline = self.drain();
            self.events.flush();
            self.node.flush();
            if self.is_stopping && self.writes == 0 && self.blocked.is_none() {
                let Some(restart) = self.restart.take() else { break };
                self.finish_restart(restart).await;
                continue;
            }
            let until = deadline.map_or_else(|| Instant::now() + LONG, |deadline| deadline.at);
            timer.as_mut().reset(until.into());
            let wake = {
                let Self {
                    sockets, requests: queue, controls, store, blocked, is_stopping, ..
                } = &mut self;
                tokio::select! {
                    () = writable(sockets, blocked.as_ref()) => Wake::Writable,
                    () = readable(sockets) => Wake::Readable,
                    done = store.done.recv() => Wake::Done(done),
                    count = queue.recv_many(&mut requests, COMMANDS_MAX), if !*is_stopping => {
                        Wake::Requests(count)
                    }
                    Some(control) = controls.recv(), if !*is_stopping => Wake::Control(control),
                    () = &mut timer => Wake::Timer,
                }
            };
            match wake {
                Wake::Readable => self.receive(),
                Wake::Writable => {}
                Wake::Done(done) => self.stored(done),
                Wake::Requests(0) => self.shut_down(),
                Wake::Requests(_) => requests.drain(..).for_each(|request| self.command(request)),
                Wake::Control(control) => self.control(control),
                Wake::Timer => self.input(Instant::now(), Input::Timeout),
            }
        }
        let tape = self.node.finish(End::NodeEnded);
        let StoreTask { tasks, done, thread } = self.store;
        drop((tasks, done));
        // The thread ends once its queue is empty; a panic there is reported by the runtime.
        let _ = task::spawn_blocking(move || {
            let _ = tape.map(|tape| tape.join());
            thread.join()
        })
        .await;
        // Whoever waits in `shut_down` waits for this.
        drop(self.requests);
    }

    /// Hands over what the node has to tell already. Returns whether that was anything.
    pub(crate) fn tell(&mut self) -> bool {
        self.has_told = false;
        while let Some(output) = self.node.poll_ready() {
            self.act(output);
        }
        self.events.flush();
        self.has_told
    }

    /// Does what the node wants until it is idle or a socket is blocked.
    fn drain(&mut self) -> Option<Deadline> {
        if let Some((transmit, sent)) = self.blocked.take() {
            self.send(transmit, sent);
        }
        while self.blocked.is_none() {
            let mut buffer = std::mem::take(&mut self.transmit_buffer);
            let output = self.node.poll_output(&mut buffer);
            self.transmit_buffer = buffer;
            if let Output::Idle { deadline } = output {
                return deadline;
            }
            self.act(output);
        }
        None
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Transmit(transmit) => self.send(transmit, 0),
            Output::Store(batch) => {
                self.writes += 1;
                // The thread lives as long as the loop.
                let _ = self.store.tasks.send(Task::Write(batch));
            }
            Output::Load(load) => drop(self.store.tasks.send(Task::Load(load))),
            Output::Event(Event::Reply { command, reply }) => self.reply(command, reply),
            Output::Event(event) => self.event(event),
            Output::Idle { .. } => {}
        }
    }

    fn send(&mut self, transmit: Transmit, mut sent: usize) {
        let socket = self.sockets.iter().find(|socket| socket.local == transmit.local);
        let Some(socket) = socket else { return };
        if !socket.send(&transmit, &self.transmit_buffer, &mut sent) {
            self.blocked = Some((transmit, sent));
        }
    }

    fn receive(&mut self) {
        let now = Instant::now();
        let Self { node, sockets, receive_buffers, .. } = self;
        for socket in sockets {
            for _ in 0..RECEIVES_MAX {
                let take = |datagram| drop(node.handle(now, Input::Datagram(datagram)));
                match socket.receive(receive_buffers, take) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // A message of the network about an earlier datagram, mostly.
                    Err(error) => tracing::debug!(local = %socket.local, %error, "not received"),
                }
            }
        }
    }

    /// Takes the commands that came in the meantime, as many as can wait.
    fn take_commands(&mut self) {
        if self.restart.is_some() {
            // They wait for the node that takes the place of this one.
            return;
        }
        for _ in 0..COMMANDS_MAX {
            let Ok(request) = self.requests.try_recv() else { return };
            self.command(request);
        }
    }

    fn command(&mut self, (request, answer): (Request, Answer)) {
        match self.own_command(request) {
            Ok(id) => drop(self.answers.insert(id, answer)),
            // Whoever asked may have given up.
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    /// Nobody is left who could ask for anything.
    fn shut_down(&mut self) {
        // A node that refuses has stopped already.
        self.is_stopping = self.own_command(ShutDown.into()).is_err();
    }

    fn reply(&mut self, command: CommandId, reply: Reply) {
        self.has_told = true;
        self.is_stopping |= matches!(reply, Reply::ShutDown(()));
        if let Some(answer) = self.answers.remove(&command) {
            let _ = answer.send(Ok(reply));
        }
    }

    fn event(&mut self, event: Event) {
        if matches!(event, Event::Halted(_)) {
            self.halt();
        }
        self.has_told = true;
        self.events.push(event);
    }

    fn stored(&mut self, done: Option<Done>) {
        let now = Instant::now();
        match done {
            Some(Done::Stored(id, result)) => {
                self.writes = self.writes.saturating_sub(1);
                self.input(now, Input::Stored(id, result));
            }
            Some(Done::Loaded(id, result)) => self.input(now, Input::Loaded(id, result)),
            // Nobody asks for that while a node runs.
            Some(Done::Restored(_)) => {}
            None => {
                tracing::error!("the store has stopped");
                self.halt();
            }
        }
    }

    /// The node goes on no more: it answers nobody, and those who wait see their channels close.
    fn halt(&mut self) {
        self.is_stopping = true;
        self.writes = 0;
        self.answers.clear();
        self.restart = None;
    }

    /// Hands over what cannot fail.
    fn input(&mut self, now: Instant, input: Input) {
        let _ = self.node.handle(now, input);
    }
}

async fn readable(sockets: &[Socket]) {
    poll_fn(|context| {
        // All are polled, so that each wakes the loop.
        let ready =
            sockets.iter().filter(|socket| socket.poll_readable(context).is_ready()).count();
        if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Waits until the socket of a blocked transmission can be written; for ever if there is none.
async fn writable(sockets: &[Socket], blocked: Option<&(Transmit, usize)>) {
    let local = blocked.map(|(transmit, _)| transmit.local);
    let socket = sockets.iter().find(|socket| Some(socket.local) == local);
    poll_fn(|context| socket.map_or(Poll::Pending, |socket| socket.poll_writable(context))).await;
}
