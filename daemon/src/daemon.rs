//! Start and stop of it all.
//!
//! The order of a start: locks, keys, store, node, API, `api.port`. Each step that fails undoes nothing
//! and says what to do. The order of a stop: no new requests, streams end, [`STOP_TIME`] for the
//! requests that are open, `api.sock` and `api.port` go, the node tells its peers, the store is
//! written.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use x0x_core::link::LinkConfig;
use x0x_core::node::{self, Fatal, StoreError};
use x0x_tokio::{Events, Handle, RecordingFile, StartError};

use crate::api::{self, App, Identity};
use crate::config::Config;
use crate::files::{self, Directories, FileError, Keys};
use crate::hub::Hub;
use crate::node::NodeHandle;
use crate::paths::{api_port, api_socket, api_token, quic_port};
use crate::recordings::{BeginError, Recorder, Recording, WARNING};
use crate::server::{self, Admission, Limits, Listener, raise_open_files};
use crate::socket::ApiSocket;
use crate::store::{OpenError, RedbStore};
use crate::supervisor::{Successors, Supervisor};
use crate::topics::Keeper;

/// How long open requests may take once the daemon is to stop.
pub const STOP_TIME: Duration = Duration::from_secs(2);

/// Why a daemon did not start, or did not stop well.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The recording that the configuration asks for.
    #[error("the node cannot be recorded: {0}")]
    Recording(#[from] BeginError),
    /// The node.
    #[error("{0}; choose another address with bind_address in the configuration")]
    Bind(StartError),
    /// The node, or the one that was to take its place.
    #[error(transparent)]
    Node(StartError),
    /// The API.
    #[error("the API cannot listen on {address}: {error}; choose another port with --api-port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system.
    #[error("the system does not let the daemon run: {0}")]
    Io(#[from] io::Error),
    /// The node halted while it ran.
    #[error("the node has halted: {reason}; nothing that was promised is lost, {}", advice(reason))]
    Halted {
        /// Why.
        reason: Fatal,
    },
}

/// What to do when the node has halted.
fn advice(reason: &Fatal) -> &'static str {
    match reason {
        Fatal::Store(StoreError::Full) => "make room on the disk and start it again",
        Fatal::Store(StoreError::Missing | StoreError::Failed(_)) => "start it again",
    }
}

/// A daemon that has started.
#[derive(Debug)]
pub struct Daemon {
    app: Arc<App>,
    listener: TcpListener,
    socket: Option<ApiSocket>,
    events: Events,
    successors: Successors,
    port_file: PathBuf,
    /// Kept until the node has ended.
    directories: Directories,
    /// Whether the keys were made in this start.
    pub is_new: bool,
}

impl Daemon {
    /// Starts a daemon.
    ///
    /// # Errors
    ///
    /// See [`DaemonError`].
    pub async fn start(config: &Config) -> Result<Self, DaemonError> {
        let directories = Directories::lock(&config.data_dir, &config.keys_dir)?;
        let keys = Keys::open(&directories, &config.user_key)?;
        let store = RedbStore::open(&config.data_dir)?;
        let token = files::token(&api_token(&config.data_dir))?;
        let address = config.api_address;
        let listen_error = |error| DaemonError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let socket = bind_socket(&config.data_dir);
        let identity = Identity {
            agent: keys.agent.id(),
            machine: keys.machine.id(),
            user: keys.user.as_ref().map(|user| user.id()),
            kem: keys.kem.encapsulation_key().clone(),
        };
        let node_config = node::Config {
            machine_key: keys.machine,
            agent_key: keys.agent,
            certificate: keys.certificate,
            sockets: vec![usual_address(config)],
            link: LinkConfig::default(),
            overlay: config.overlay,
            memory: config.memory,
        };
        let (node, events, recording) = first_node(config, node_config.clone(), store)?;
        write_port(&config.data_dir, &node)?;
        let api_address = listener.local_addr()?;
        let port_file = api_port(&config.data_dir);
        files::write_private(&port_file, api_address.to_string().as_bytes())?;
        let (node, hub) = (NodeHandle::new(node), Arc::new(Hub::default()));
        let keeper = Arc::new(Keeper::new(node.clone(), hub.topics.clone()));
        let peers = config.bootstrap_peers.clone();
        let next = next_node(config, node_config);
        let (supervisor, successors) = Supervisor::new(node.clone(), keeper.clone(), peers, next);
        let recorder = Arc::new(Recorder::new(supervisor, &config.data_dir, recording));
        let app = Arc::new(App::new(node, hub, keeper, identity, token, api_address, recorder));
        let is_new = keys.is_new;
        Ok(Self { app, listener, socket, events, successors, port_file, directories, is_new })
    }

    /// What the handlers of the API share.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Serves until SIGINT, SIGTERM, a request to shut down, or the end of the node.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Halted`] if the node halted; [`DaemonError::Io`] if the system fails.
    pub async fn run(self) -> Result<(), DaemonError> {
        let Self { app, listener, socket, events, successors, port_file, .. } = self;
        let _directories = self.directories;
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut node = tokio::spawn(follow(app.hub.clone(), events, successors));
        let (socket, socket_file) = socket.map(|socket| (socket.listener, socket.file)).unzip();
        let mut serve = tokio::spawn(listen(app.clone(), listener, socket));
        let mut asked = app.stop.subscribe();
        let failed = tokio::select! {
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = asked.wait_for(|stop| *stop) => None,
            reason = &mut node => reason.ok().flatten(),
        };
        tracing::info!("stopping");
        app.stop.send_replace(true);
        app.hub.close();
        if timeout(STOP_TIME, &mut serve).await.is_err() {
            serve.abort();
        }
        drop(socket_file);
        // It may be gone already, with the whole directory.
        let _ = std::fs::remove_file(&port_file);
        app.node.shut_down().await;
        failed.map_or(Ok(()), Err)
    }
}

/// Starts the node of a daemon that starts, and its recording if the configuration asks for one.
fn first_node(
    config: &Config,
    node_config: node::Config,
    store: RedbStore,
) -> Result<(Handle, Events, Option<Recording>), DaemonError> {
    let recording = config.record_mib.map(|max_mib| Recording::create(&config.data_dir, max_mib));
    let (recording, file) = recording.transpose()?.unzip();
    match start(node_config, store, file) {
        Ok((node, events)) => {
            if let Some(recording) = &recording {
                tracing::warn!(path = %recording.path.display(), "the node is recorded. {WARNING}");
            }
            Ok((node, events, recording))
        }
        Err(error) => {
            if let Some(recording) = &recording {
                recording.discard();
            }
            let is_bind = matches!(error, StartError::Bind { .. });
            Err(if is_bind { DaemonError::Bind(error) } else { DaemonError::Node(error) })
        }
    }
}

/// Returns what starts the node that takes the place of another: at the same port if it is still free,
/// with the store as the other one left it.
fn next_node(
    config: &Config,
    node_config: node::Config,
) -> impl Fn(&[SocketAddr], Option<RecordingFile>) -> Result<(Handle, Events), StartError> + use<> {
    let (data_dir, configured) = (config.data_dir.clone(), config.bind_address);
    move |sockets, file| {
        let is_free = sockets.iter().all(|address| std::net::UdpSocket::bind(address).is_ok());
        let sockets = if is_free { sockets.to_vec() } else { vec![configured] };
        let store = RedbStore::open(&data_dir);
        let store = store.map_err(|error| StoreError::Failed(error.to_string()))?;
        let (node, events) = start(node::Config { sockets, ..node_config.clone() }, store, file)?;
        if let Err(error) = write_port(&data_dir, &node) {
            tracing::warn!(%error, "the next start may choose another port");
        }
        Ok((node, events))
    }
}

fn start(
    config: node::Config,
    store: RedbStore,
    file: Option<RecordingFile>,
) -> Result<(Handle, Events), StartError> {
    match file {
        Some(file) => x0x_tokio::start_recorded(config, store, file),
        None => x0x_tokio::start(config, store),
    }
}

/// Writes down the port at which peers look for the node.
fn write_port(data_dir: &Path, node: &Handle) -> Result<(), FileError> {
    let Some(port) = node.sockets().first().map(SocketAddr::port) else { return Ok(()) };
    files::write_private(&quic_port(data_dir), port.to_string().as_bytes())
}

/// Hands on the events of the node and of each one that takes its place. Ends all streams at the end.
/// Returns why there is no node any more, unless it was shut down.
async fn follow(hub: Arc<Hub>, events: Events, mut successors: Successors) -> Option<DaemonError> {
    let mut next = Some(Ok(events));
    let failed = loop {
        match next {
            Some(Ok(events)) => {
                if let Some(reason) = hub.run(events).await {
                    break Some(DaemonError::Halted { reason });
                }
            }
            Some(Err(error)) => break Some(DaemonError::Node(error)),
            None => break None,
        }
        next = successors.next().await;
    };
    hub.close();
    failed
}

/// Returns where QUIC listens. If any port will do, it is the last one, at which peers look for the
/// node, unless somebody else has it.
fn usual_address(config: &Config) -> SocketAddr {
    let mut usual = config.bind_address;
    let last = std::fs::read_to_string(quic_port(&config.data_dir)).ok();
    if let Some(port) = last.and_then(|text| text.parse().ok()).filter(|_| usual.port() == 0) {
        usual.set_port(port);
    }
    let is_free = std::net::UdpSocket::bind(usual).is_ok();
    if is_free { usual } else { config.bind_address }
}

/// Makes the Unix socket of the API. A daemon without one is still of use, for instance on a file system
/// that has no sockets.
fn bind_socket(data: &Path) -> Option<ApiSocket> {
    let warn = |error: &io::Error| {
        let path = api_socket(data);
        tracing::warn!(path = %path.display(), %error, "x0x has to use TCP: there is no socket");
    };
    ApiSocket::bind(data).inspect_err(warn).ok()
}

/// Serves the API over TCP and over its Unix socket, if it has one.
async fn listen(app: Arc<App>, tcp: TcpListener, unix: Option<UnixListener>) {
    let limits = Limits::of(raise_open_files());
    let [for_tcp, for_unix] = Admission::for_listeners(limits);
    let (router, _) = api::router(app.clone());
    let stop = || app.stop.subscribe();
    let tcp = server::serve(Listener::Tcp(tcp), for_tcp, router.clone(), stop());
    let unix = unix.map(|unix| server::serve(Listener::Unix(unix), for_unix, router, stop()));
    tokio::join!(tcp, OptionFuture::from(unix));
}
