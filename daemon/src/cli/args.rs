//! What may be written after `x0x`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::bench::DirectBench;
use super::bench::gossip::GossipBench;
use crate::API_LEVEL;
use crate::paths::InstanceName;
use crate::recordings::{MIB_DEFAULT, MIB_MAX};

/// Talks to agents on other machines, through the x0x daemon on this one.
#[derive(Debug, Parser)]
#[command(
    name = "x0x",
    version = API_LEVEL,
    arg_required_else_help = true,
    after_help = "Begin with: x0x start\nThen:       x0x status\n\nWherever an id is asked for, \
                  its first digits are enough (4 or more) if the daemon knows it."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes, before or after its own arguments.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Global {
    /// The instance that is meant, if several run on this machine.
    #[arg(long, global = true, value_name = "INSTANCE")]
    pub(super) name: Option<InstanceName>,
    /// The address of the daemon's API, HOST:PORT or a URL.
    #[arg(long, global = true, alias = "api-url", value_name = "ADDRESS")]
    pub(super) api: Option<String>,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The form of the output.
    #[arg(long, global = true, hide = true)]
    pub(super) format: Option<Format>,
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For programs.
    Json,
    /// For people.
    Text,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start the daemon.
    Start(Start),
    /// Stop the daemon.
    Stop,
    /// List the instances on this machine.
    Instances,
    /// Look for what is wrong with the daemon.
    Doctor,
    /// Tell whether the daemon works.
    Health,
    /// Tell how the node is.
    Status,
    /// List the machines that have a link to this one.
    Peers,
    /// Tell who this node is.
    Agent {
        #[command(subcommand)]
        command: Option<Agent>,
    },
    /// The node in the network.
    #[command(subcommand)]
    Network(Network),
    /// One peer, by its machine.
    #[command(subcommand)]
    Peer(Peer),
    /// Machines, whatever agents they have.
    #[command(subcommand)]
    Machines(Machines),
    /// Messages from agent to agent.
    #[command(subcommand)]
    Direct(Direct),
    /// Publish a message to everybody who subscribed to a topic.
    Publish {
        /// The topic.
        topic: String,
        /// The message.
        #[arg(allow_negative_numbers = true)]
        text: String,
    },
    /// Show the messages of a topic as they come. Ends with Ctrl-C, and the subscription with it.
    Subscribe {
        /// The topic.
        topic: String,
    },
    /// End a subscription.
    Unsubscribe {
        /// The subscription, 16 hex digits.
        id: String,
    },
    /// Show the messages of all subscriptions of the daemon as they come.
    Events,
    /// Counters of the daemon.
    #[command(subcommand)]
    Diagnostics(Diagnostics),
    /// WebSocket sessions.
    #[command(subcommand)]
    Ws(WebSocket),
    /// Measure a running daemon.
    #[command(subcommand)]
    Bench(Bench),
    /// Show what this network stands for.
    Constitution {
        /// Print it as it is, without a pager.
        #[arg(long)]
        raw: bool,
    },
    /// List the endpoints of the API.
    Routes,
    /// Show all commands as a tree.
    Tree,
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page of x0x or of one of its commands (roff).
    Man {
        /// The command, as in: x0x man direct send.
        command: Vec<String>,
    },
}

/// How a daemon is started.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Start {
    /// The configuration file (TOML).
    #[arg(long, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    /// A peer to dial and to keep a link with: the address of its QUIC, or the name of an instance
    /// that runs here. May be repeated.
    #[arg(long, value_name = "IP:PORT|NAME")]
    pub(super) peer: Vec<String>,
    /// Stay in the foreground, and log here.
    #[arg(long)]
    pub(super) foreground: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Agent {
    /// Show the id of the human behind the agent.
    UserId,
}

#[derive(Debug, Subcommand)]
pub(super) enum Network {
    /// Tell how the node stands in the network.
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum Peer {
    /// Ask a peer for a sign of life and measure how long it takes.
    Probe {
        /// The machine.
        id: String,
        /// How long to wait, in milliseconds (100 to 30000).
        #[arg(long, value_name = "MS")]
        timeout_ms: Option<u64>,
    },
    /// Tell what is known of the link to a peer.
    Health {
        /// The machine.
        id: String,
    },
    /// Show changes of peers as they happen.
    Events,
}

#[derive(Debug, Subcommand)]
pub(super) enum Machines {
    /// Make a link to a machine.
    Connect {
        /// The machine.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Direct {
    /// Make a link to the machine of an agent.
    Connect {
        /// The agent.
        id: String,
    },
    /// Send a message to an agent.
    Send {
        /// The agent.
        id: String,
        /// The message.
        #[arg(allow_negative_numbers = true)]
        text: String,
        /// Wait so long for the recipient's acknowledgement, in milliseconds (100 to 30000).
        #[arg(long, value_name = "MS")]
        require_ack_ms: Option<u64>,
    },
    /// List the agents that have a link to this node.
    Connections,
    /// Show messages as they come.
    Events,
}

#[derive(Debug, Subcommand)]
pub(super) enum Diagnostics {
    /// Tell how direct messages fared since the start.
    Dm,
    /// Tell how messages of topics fared since the start.
    Gossip,
    /// Record everything that happens to the node. It restarts for that: its links end for a moment.
    /// The file holds secret keys and the content of messages; `x0x-sim replay-node` plays it again.
    Record(Record),
}

/// What to do about recordings.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// How large the recording may become.
    #[arg(long, value_name = "N", default_value_t = MIB_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=MIB_MAX))]
    pub(super) max_mib: u64,
    /// End the recording that is under way.
    #[arg(long, conflicts_with_all = ["max_mib", "status"])]
    pub(super) stop: bool,
    /// Tell whether the node is recorded.
    #[arg(long, conflicts_with = "max_mib")]
    pub(super) status: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum WebSocket {
    /// List the sessions that are open.
    Sessions,
    /// Print the URL of a session that receives direct messages. It contains the token.
    Direct,
}

#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Send many direct messages; print the rate, percentiles and losses.
    Direct(DirectBench),
    /// Publish many messages; print the rate to each subscriber, losses, order, latency and costs.
    Gossip(GossipBench),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_for_all_stand_anywhere() {
        let lines = [
            "x0x --name a --api h:1 --json peer probe 1234",
            "x0x peer --name a --api-url h:1 probe 1234 --json",
            "x0x peer probe 1234 --json --api-url h:1 --name a",
            "x0x peer probe 1234 --format json --api h:1 --name a",
        ];
        for line in lines {
            let arguments = Arguments::try_parse_from(line.split(' ')).expect(line);
            let Global { name, api, json, format } = arguments.global;
            assert_eq!(name.map(|name| name.as_str().to_owned()).as_deref(), Some("a"), "{line}");
            assert_eq!(api.as_deref(), Some("h:1"), "{line}");
            assert!(json || format == Some(Format::Json), "{line}");
        }
    }

    #[test]
    fn groups_need_a_command() {
        for line in ["x0x", "x0x peer", "x0x direct", "x0x direct send 1234", "x0x what"] {
            let error = Arguments::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        assert!(Arguments::try_parse_from(["x0x", "agent"]).is_ok());
    }
}
