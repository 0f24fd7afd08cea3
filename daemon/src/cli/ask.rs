//! Commands that ask the daemon.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use x0x_core::identity::{AgentId, UserId, Words};

use super::args::{
    Agent, Bench, Command, Diagnostics, Direct, Machines, Network, Peer, Record, WebSocket,
};
use super::ids::{Kind, resolve};
use super::{CliError, Context, bench, show, start, stream, text};
use crate::client::{CONNECT_TIMEOUT, Client, REQUEST_TIMEOUT, Target};

/// Runs a command.
pub(super) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Stop => start::stop(context).await,
        Command::Health => get(context, &["health"], show::health).await,
        Command::Peers => get(context, &["peers"], show::peers).await,
        Command::Status => {
            let mut answer = context.connect().await?.get(&Target::new(&["status"])).await?;
            add_words(&mut answer);
            context.answer(&answer, || show::status(&answer))
        }
        Command::Agent { command: None } => {
            let mut answer = context.connect().await?.get(&Target::new(&["agent"])).await?;
            add_words(&mut answer);
            context.answer(&answer, || show::agent(&answer))
        }
        Command::Agent { command: Some(Agent::UserId) } => {
            get(context, &["agent", "user-id"], show::user_id).await
        }
        Command::Network(Network::Status) => {
            get(context, &["network", "status"], show::network).await
        }
        Command::Peer(command) => peer(context, command).await,
        Command::Machines(Machines::Connect { id }) => {
            let target = Target::new(&["machines", "connect"]);
            connect(context, Kind::Machine, &id, &target).await
        }
        Command::Direct(command) => direct(context, command).await,
        Command::Publish { topic, text: message } => publish(context, &topic, &message).await,
        Command::Subscribe { topic } => stream::topic(context, &topic).await,
        Command::Unsubscribe { id } => {
            let target = Target::new(&["subscribe", &id]);
            let answer = context.connect().await?.delete(&target).await?;
            context.answer(&answer, || format!("Ended subscription {}", text::safe(&id)))
        }
        Command::Events => stream::topic_events(context, context.connect().await?).await,
        Command::Diagnostics(Diagnostics::Dm) => {
            get(context, &["diagnostics", "dm"], show::diagnostics).await
        }
        Command::Diagnostics(Diagnostics::Gossip) => {
            get(context, &["diagnostics", "gossip"], text::fields).await
        }
        Command::Diagnostics(Diagnostics::Record(arguments)) => record(context, &arguments).await,
        Command::Ws(WebSocket::Sessions) => get(context, &["ws", "sessions"], show::sessions).await,
        Command::Ws(WebSocket::Direct) => ws_direct(context).await,
        Command::Bench(Bench::Direct(arguments)) => bench::run(context, &arguments).await,
        Command::Bench(Bench::Gossip(arguments)) => bench::gossip::run(context, &arguments).await,
        Command::Start(_)
        | Command::Instances
        | Command::Doctor
        | Command::Constitution { .. }
        | Command::Routes
        | Command::Tree
        | Command::Completions { .. }
        | Command::Man { .. } => unreachable!("these commands need no daemon"),
    }
}

/// Asks for something and prints the answer.
async fn get(
    context: &Context,
    path: &[&str],
    show: impl FnOnce(&Value) -> String,
) -> Result<(), CliError> {
    let answer = context.connect().await?.get(&Target::new(path)).await?;
    context.answer(&answer, || show(&answer))
}

async fn peer(context: &Context, command: Peer) -> Result<(), CliError> {
    let mut client = context.connect().await?;
    match command {
        Peer::Probe { id, timeout_ms } => {
            let id = resolve(&mut client, Kind::Machine, &id).await?;
            let mut target = Target::new(&["peers", &id, "probe"]);
            if let Some(timeout) = timeout_ms {
                target = target.query("timeout_ms", &timeout.to_string());
            }
            let answer = client.post(&target, None, CONNECT_TIMEOUT).await?;
            context.answer(&answer, || show::probe(&id, &answer))
        }
        Peer::Health { id } => {
            let id = resolve(&mut client, Kind::Machine, &id).await?;
            let answer = client.get(&Target::new(&["peers", &id, "health"])).await?;
            context.answer(&answer, || text::fields(&answer))
        }
        Peer::Events => stream::peer_events(context, client).await,
    }
}

async fn direct(context: &Context, command: Direct) -> Result<(), CliError> {
    match command {
        Direct::Connect { id } => {
            connect(context, Kind::Agent, &id, &Target::new(&["agents", "connect"])).await
        }
        Direct::Send { id, text, require_ack_ms } => {
            let mut client = context.connect().await?;
            let id = resolve(&mut client, Kind::Agent, &id).await?;
            let mut body = json!({ "agent_id": id, "payload": BASE64.encode(text) });
            if let Some(millis) = require_ack_ms {
                body["require_ack_ms"] = millis.into();
            }
            let target = Target::new(&["direct", "send"]);
            // The daemon itself waits for the acknowledgement that is asked for.
            let time = REQUEST_TIMEOUT + Duration::from_millis(require_ack_ms.unwrap_or(0));
            let answer = client.post(&target, Some(&body), time).await?;
            context.answer(&answer, || show::sent(&id, &answer))
        }
        Direct::Connections => get(context, &["direct", "connections"], show::connections).await,
        Direct::Events => stream::direct_events(context, context.connect().await?).await,
    }
}

async fn publish(context: &Context, topic: &str, message: &str) -> Result<(), CliError> {
    let body = json!({ "topic": topic, "payload": BASE64.encode(message) });
    let mut client = context.connect().await?;
    let answer = client.post(&Target::new(&["publish"]), Some(&body), REQUEST_TIMEOUT).await?;
    context.answer(&answer, || format!("Published to {}", text::safe(topic)))
}

async fn connect(context: &Context, kind: Kind, id: &str, target: &Target) -> Result<(), CliError> {
    let mut client = context.connect().await?;
    let id = resolve(&mut client, kind, id).await?;
    let key = match kind {
        Kind::Agent => "agent_id",
        Kind::Machine => "machine_id",
    };
    let answer = client.post(target, Some(&json!({ key: id })), CONNECT_TIMEOUT).await?;
    context.answer(&answer, || show::outcome(&id, &answer))?;
    if let Some(hint) = show::outcome_hint(&answer) {
        context.hint(hint);
    }
    Ok(())
}

async fn record(context: &Context, arguments: &Record) -> Result<(), CliError> {
    let mut client = context.connect().await?;
    let target = Target::new(&["diagnostics", "record"]);
    if arguments.status {
        let answer = client.get(&target).await?;
        return context.answer(&answer, || show::recording(&answer));
    }
    if arguments.stop {
        let answer = client.delete(&target).await?;
        return context.answer(&answer, || show::recorded(&answer));
    }
    let body = json!({ "max_mib": arguments.max_mib });
    let answer = client.post(&target, Some(&body), REQUEST_TIMEOUT).await?;
    if let Some(warning) = answer.get("warning").and_then(Value::as_str) {
        context.hint(&text::safe(warning));
    }
    context.answer(&answer, || show::recording(&answer))
}

async fn ws_direct(context: &Context) -> Result<(), CliError> {
    let client: Client = context.connect().await?;
    let endpoint = client.endpoint();
    let token = endpoint.token().unwrap_or_default();
    let path = Target::new(&["ws", "direct"]).query("token", token);
    let url = format!("ws://{}{}", endpoint.authority(), path.as_str());
    context.answer(&json!({ "ok": true, "url": url }), || url.clone())
}

/// Adds the words for the ids in an answer.
fn add_words(answer: &mut Value) {
    let field = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let agent = field("agent_id").and_then(|id| id.parse::<AgentId>().ok());
    let user = field("user_id").and_then(|id| id.parse::<UserId>().ok());
    let Some(object) = answer.as_object_mut() else { return };
    if let Some(agent) = agent {
        object.insert("identity_words".into(), Words::of(agent.as_bytes()).to_string().into());
    }
    if let Some(user) = user {
        object.insert("user_words".into(), Words::of(user.as_bytes()).to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_added_for_the_ids_that_are_there() {
        let mut answer = json!({ "agent_id": "00".repeat(32), "user_id": null });
        add_words(&mut answer);
        let words = answer["identity_words"].as_str().expect("there are words");
        assert_eq!(words.split(' ').count(), 4);
        assert_eq!(answer.get("user_words"), None);
        answer["user_id"] = "ff".repeat(32).into();
        add_words(&mut answer);
        assert_eq!(answer["user_words"].as_str().map(|words| words.split(' ').count()), Some(4));
    }
}
