//! The endpoints of the API, with the commands that use them.

use serde_json::{Value, json};

use super::text::table;
use super::{CliError, Context};

/// An endpoint.
struct Route {
    method: &'static str,
    path: &'static str,
    /// The command, empty if there is none.
    cli_name: &'static str,
    description: &'static str,
    category: &'static str,
}

macro_rules! routes {
    ($($category:literal { $($method:ident $path:literal, $cli:literal, $about:literal;)* })*) => {
        &[$($(Route {
            method: stringify!($method),
            path: $path,
            cli_name: $cli,
            description: $about,
            category: $category,
        },)*)*]
    };
}

/// All of them. A test compares this with the description that the handlers generate.
const ROUTES: &[Route] = routes! {
    "system" {
        GET "/health", "health", "Tell whether the daemon works";
        GET "/challenge", "", "Prove that the daemon knows the token";
        GET "/status", "status", "Tell how the node is";
        POST "/shutdown", "stop", "Stop the daemon";
        POST "/diagnostics/record", "diagnostics record", "Record the node from here on";
        DELETE "/diagnostics/record", "diagnostics record --stop", "End the recording";
        GET "/diagnostics/record", "diagnostics record --status", "Tell whether the node is recorded";
        GET "/constitution", "constitution", "Show what this network stands for";
        GET "/constitution/json", "constitution --json", "The same for programs";
    }
    "identity" {
        GET "/agent", "agent", "Tell who this node is";
        GET "/agent/user-id", "agent user-id", "Show the human behind the agent";
    }
    "network" {
        GET "/peers", "peers", "List the machines that have a link";
        GET "/network/status", "network status", "Tell how the node stands in the network";
        POST "/peers/:peer_id/probe", "peer probe", "Measure the way to a peer";
        GET "/peers/:peer_id/health", "peer health", "Tell what is known of a link";
        GET "/peers/events", "peer events", "Stream changes of peers";
    }
    "direct" {
        POST "/agents/connect", "direct connect", "Make a link to the machine of an agent";
        POST "/machines/connect", "machines connect", "Make a link to a machine";
        POST "/direct/send", "direct send", "Send a message to an agent";
        GET "/direct/connections", "direct connections", "List the agents that have a link";
        GET "/direct/events", "direct events", "Stream messages as they come";
        GET "/diagnostics/dm", "diagnostics dm", "Tell how direct messages fared";
    }
    "gossip" {
        POST "/publish", "publish", "Publish a message to a topic";
        POST "/subscribe", "subscribe", "Subscribe to a topic";
        DELETE "/subscribe/:id", "unsubscribe", "End a subscription";
        GET "/events", "events", "Stream the messages of all subscriptions";
        GET "/diagnostics/gossip", "diagnostics gossip", "Tell how messages of topics fared";
    }
    "websocket" {
        GET "/ws", "", "Open a WebSocket session";
        GET "/ws/direct", "ws direct", "Open a session that receives direct messages";
        GET "/ws/sessions", "ws sessions", "List the sessions that are open";
    }
};

/// Prints the endpoints.
pub(super) fn print(context: &Context) -> Result<(), CliError> {
    let json: Value = ROUTES.iter().map(row).collect();
    context.answer(&json, || {
        let command = |route: &Route| match route.cli_name {
            "" => "-".to_owned(),
            name => format!("x0x {name}"),
        };
        let cells = |route: &Route| {
            vec![route.method.into(), route.path.into(), command(route), route.description.into()]
        };
        let rows: Vec<_> = ROUTES.iter().map(cells).collect();
        table(&["METHOD", "PATH", "COMMAND", "DOES"], &rows)
    })
}

fn row(route: &Route) -> Value {
    let Route { method, path, cli_name, description, category } = route;
    json!({
        "method": method,
        "path": path,
        "cli_name": cli_name,
        "description": description,
        "category": category,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;
    use std::path::Path;
    use std::sync::Arc;

    use clap::CommandFactory as _;
    use x0x_core::crypto::kem::DecapsulationKey;
    use x0x_core::identity::{AgentKey, MachineKey};
    use x0x_core::link::LinkConfig;
    use x0x_core::node::{Config, MemoryStore};

    use super::*;
    use crate::api::{App, Identity, router};
    use crate::hub::Hub;
    use crate::node::NodeHandle;
    use crate::recordings::Recorder;
    use crate::supervisor::Supervisor;
    use crate::topics::Keeper;

    fn app() -> App {
        let (machine_key, agent_key) =
            (MachineKey::from_seed(&[1; 32]), AgentKey::from_seed(&[2; 32]));
        let identity = Identity {
            agent: agent_key.id(),
            machine: machine_key.id(),
            user: None,
            kem: DecapsulationKey::from_seed(&[3; 64]).encapsulation_key().clone(),
        };
        let config = Config {
            machine_key,
            agent_key,
            certificate: None,
            sockets: vec![([127, 0, 0, 1], 0).into()],
            link: LinkConfig::default(),
            overlay: x0x_core::overlay::Config::default(),
            memory: x0x_core::support::MemoryBudget::DEFAULT,
        };
        let next =
            move |_: &[SocketAddr], _| x0x_tokio::start(config.clone(), MemoryStore::default());
        let node = NodeHandle::new(next(&[], None).expect("it starts").0);
        let (hub, address) = (Arc::new(Hub::default()), ([127, 0, 0, 1], 1).into());
        let keeper = Arc::new(Keeper::new(node.clone(), hub.topics.clone()));
        let (supervisor, _) = Supervisor::new(node.clone(), keeper.clone(), Vec::new(), next);
        let recorder = Arc::new(Recorder::new(supervisor, Path::new("/nowhere"), None));
        App::new(node, hub, keeper, identity, "t".into(), address, recorder)
    }

    #[tokio::test]
    async fn the_table_has_the_endpoints_that_there_are() {
        let (_, description) = router(Arc::new(app()));
        let description = serde_json::to_value(&description).expect("it has a JSON form");
        let paths = description["paths"].as_object().expect("there are paths");
        let described: BTreeSet<(String, String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let operations = item.as_object().into_iter().flatten();
                operations.filter(|(_, operation)| operation.get("responses").is_some()).map(
                    |(method, operation)| {
                        let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
                        (method.to_uppercase(), path.clone(), tag)
                    },
                )
            })
            .collect();
        let braces = |path: &str| {
            let part = |part: &str| match part.strip_prefix(':') {
                Some(name) => format!("{{{name}}}"),
                None => part.to_owned(),
            };
            path.split('/').map(part).collect::<Vec<_>>().join("/")
        };
        let own = ROUTES.iter().map(|r| (r.method.into(), braces(r.path), r.category.into()));
        assert_eq!(own.collect::<BTreeSet<_>>(), described);
    }

    #[test]
    fn every_command_in_the_table_exists() {
        for route in ROUTES.iter().filter(|route| !route.cli_name.is_empty()) {
            let mut command = super::super::args::Arguments::command();
            for word in route.cli_name.split(' ').filter(|word| !word.starts_with("--")) {
                let child = command.find_subcommand(word).expect(route.cli_name).clone();
                command = child;
            }
        }
    }
}
