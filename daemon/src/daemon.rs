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
use x0x_core::node::{self, CommandError, Connect, Fatal, StoreError, Target};
use x0x_tokio::Handle;

use crate::api::{self, App, Identity};
use crate::config::Config;
use crate::files::{self, Directories, FileError, Keys};
use crate::hub::Hub;
use crate::paths::{api_port, api_socket, api_token, quic_port};
use crate::recordings::{BeginError, Recorder, Recording, WARNING};
use crate::server::{self, Admission, Limits, Listener, raise_open_files};
use crate::socket::ApiSocket;
use crate::store::{OpenError, RedbStore};

/// How long open requests may take once the daemon is to stop.
pub const STOP_TIME: Duration = Duration::from_secs(2);

/// How long the start waits for a configured peer before it says that there is none.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(60);

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
    Bind(x0x_tokio::StartError),
    /// The node.
    #[error(transparent)]
    Node(x0x_tokio::StartError),
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
    events: x0x_tokio::Events,
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
        let (recording, tape) = match config.record_mib {
            Some(max_mib) => {
                let (recording, tape) = Recording::create(&config.data_dir, max_mib)?;
                (Some(recording), Some(tape))
            }
            None => (None, None),
        };
        let started = match tape {
            Some(tape) => x0x_tokio::start_recorded(node_config, store, tape),
            None => x0x_tokio::start(node_config, store),
        };
        let (node, events) = started.map_err(|error| {
            if let Some(recording) = &recording {
                // It is empty.
                let _ = std::fs::remove_file(&recording.path);
            }
            if matches!(error, x0x_tokio::StartError::Bind { .. }) {
                DaemonError::Bind(error)
            } else {
                DaemonError::Node(error)
            }
        })?;
        if let Some(recording) = &recording {
            tracing::warn!(path = %recording.path.display(), "the node is recorded. {WARNING}");
        }
        if let Some(port) = node.sockets().first().map(SocketAddr::port) {
            files::write_private(&quic_port(&config.data_dir), port.to_string().as_bytes())?;
        }
        for &address in &config.bootstrap_peers {
            tokio::spawn(keep(node.clone(), address));
        }
        let api_address = listener.local_addr()?;
        let port_file = api_port(&config.data_dir);
        files::write_private(&port_file, api_address.to_string().as_bytes())?;
        let recorder =
            Recorder::new(node.clone(), &config.data_dir, &config.bootstrap_peers, recording);
        let hub = Arc::new(Hub::default());
        let app = Arc::new(App::new(node, hub, identity, token, api_address, Arc::new(recorder)));
        Ok(Self { app, listener, socket, events, port_file, directories, is_new: keys.is_new })
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
        let Self { app, listener, socket, events, port_file, directories: _directories, is_new: _ } =
            self;
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let hub = app.hub.clone();
        let mut node = tokio::spawn(async move { hub.run(events).await });
        let (socket, socket_file) = socket.map(|socket| (socket.listener, socket.file)).unzip();
        let mut serve = tokio::spawn(listen(app.clone(), listener, socket));
        let mut asked = app.stop.subscribe();
        let halted = tokio::select! {
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
        halted.map_or(Ok(()), |reason| Err(DaemonError::Halted { reason }))
    }
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

/// Dials a configured peer and keeps the link.
pub(crate) async fn keep(node: Handle, address: SocketAddr) {
    let target = Target::Address { address, machine: None };
    let connect = Connect { target, keep: true, timeout: BOOTSTRAP_TIMEOUT };
    match node.request(connect).await {
        Ok(Ok(link)) => tracing::info!(%address, machine = %link.machine.short(), "connected"),
        // The node that is restarted is asked again.
        Err(CommandError::Restarting) => {}
        Ok(Err(error)) => tracing::warn!(%address, %error, "a bootstrap peer is not reached yet"),
        Err(error) => tracing::warn!(%address, %error, "a bootstrap peer cannot be dialled"),
    }
}
