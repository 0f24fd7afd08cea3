//! `x0x bench direct`: loads a running daemon with direct messages, and counts.
//!
//! Over HTTP, each of the requests in flight has a kept connection of its own, and a message counts
//! as acknowledged when its answer says so. Over one WebSocket, the daemon answers failures only;
//! how many sends were acknowledged is read from its counters, so nobody else should send meanwhile.
//! Who also listens at the receiver learns which messages arrived, how often, and in what order.

mod costs;
mod figures;
pub(super) mod gossip;
mod http;
mod message;
mod receiver;
mod websocket;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::ids::{self, resolve};
use super::{CliError, Context};
use crate::client::{Client, Endpoint, Locator, Target};
use crate::paths::InstanceName;

use figures::Percentiles;
use message::Batch;
use receiver::{Arrivals, Receiver, Source};

/// What is measured.
#[derive(Clone, Debug, Args)]
pub(super) struct DirectBench {
    /// The agent that is sent to. Without it: that of the receiver, or the only one connected.
    #[arg(long, value_name = "ID")]
    to: Option<String>,
    /// How many messages are sent.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    count: u32,
    /// The size of a message, in bytes.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=700_000))]
    size: u32,
    /// How many messages wait for an answer at a time [default: 32; over a WebSocket 1024, which
    /// needs a receiver].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: Option<u16>,
    /// Send over a WebSocket, not with HTTP requests.
    #[arg(long)]
    ws: bool,
    /// Listen at this daemon for what arrives.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "receiver_name")]
    receiver_api: Option<String>,
    /// The token of the daemon at --receiver-api.
    #[arg(long, value_name = "TOKEN", requires = "receiver_api")]
    receiver_token: Option<String>,
    /// Listen at this instance for what arrives.
    #[arg(long, value_name = "INSTANCE")]
    receiver_name: Option<InstanceName>,
}

/// What came of the sends.
#[derive(Debug, Default)]
struct Outcome {
    acknowledged: u64,
    errors: BTreeMap<String, u64>,
    failed: u64,
    /// From the first send to the last answer.
    time: Duration,
    /// From a request to its answer, if answers are seen.
    latencies: Vec<u64>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Messages to an agent.
    Direct,
    /// Messages to a topic.
    Gossip,
}

/// How a batch is sent.
#[derive(Clone, Copy, Debug)]
struct Sending<'a> {
    kind: Kind,
    /// The recipient or the topic, as JSON.
    to: &'a str,
    batch: &'a Batch,
    in_flight: u16,
    /// How many messages a second, if there is a limit.
    rate: Option<u32>,
}

impl Sending<'_> {
    /// The frame of a WebSocket.
    fn frame(&self, payload: &str) -> String {
        let (kind, key) = self.names();
        format!(r#"{{"type":"{kind}","{key}":{},"payload":"{payload}"}}"#, self.to)
    }

    /// The body of a request.
    fn body(&self, payload: &str) -> String {
        let (_, key) = self.names();
        format!(r#"{{"{key}":{},"payload":"{payload}"}}"#, self.to)
    }

    fn names(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::Direct => ("send_direct", "agent_id"),
            Kind::Gossip => ("publish", "topic"),
        }
    }
}

/// A measurement, from which both forms of the report are made.
struct Report<'a> {
    arguments: &'a DirectBench,
    to: String,
    in_flight: u16,
    outcome: Outcome,
    arrivals: Option<Arrivals>,
}

/// Measures.
pub(super) async fn run(context: &Context, arguments: &DirectBench) -> Result<(), CliError> {
    let mut client = context.connect().await?;
    let receiver = receiver_endpoint(context, arguments)?;
    let to = recipient(&mut client, arguments, receiver.as_ref()).await?;
    let batch = Batch::new(u64::from(arguments.count), arguments.size as usize)?;
    let mut receivers = Vec::new();
    if let Some(endpoint) = receiver {
        receivers.push(Receiver::listen(endpoint, batch.clone(), Source::Direct).await?);
    }
    let in_flight = arguments.in_flight.unwrap_or(if arguments.ws { 1024 } else { 32 });
    context.hint(&format!("Sending {} messages to {} …", arguments.count, super::text::short(&to)));
    let quoted = format!("\"{to}\"");
    let sending = Sending { kind: Kind::Direct, to: &quoted, batch: &batch, in_flight, rate: None };
    let sent = if arguments.ws {
        websocket::send(client, &sending, &receivers).await
    } else {
        http::send(client.endpoint(), &sending).await
    };
    let arrivals = match receivers.pop() {
        Some(receiver) => Some(receiver.finish(sent.as_ref().map_or(0, |s| s.acknowledged)).await?),
        None => None,
    };
    let report = Report { arguments, to, in_flight, outcome: sent?, arrivals };
    context.answer(&report.json(), || report.text())?;
    match report.fault() {
        Some(fault) => Err(CliError::Failed(fault)),
        None => Ok(()),
    }
}

fn receiver_endpoint(
    context: &Context,
    arguments: &DirectBench,
) -> Result<Option<Endpoint>, CliError> {
    let DirectBench { receiver_api, receiver_token, receiver_name, .. } = arguments;
    Ok(match (receiver_api, receiver_name) {
        (Some(api), _) => Some(Endpoint::at(api, receiver_token.clone())?),
        (None, Some(name)) => {
            let locator = Locator { name: Some(name.clone()), ..Locator::default() };
            Some(Endpoint::find(&context.home, &locator)?)
        }
        (None, None) => None,
    })
}

/// The agent that is sent to.
async fn recipient(
    client: &mut Client,
    arguments: &DirectBench,
    receiver: Option<&Endpoint>,
) -> Result<String, CliError> {
    if let Some(id) = &arguments.to {
        return resolve(client, ids::Kind::Agent, id).await;
    }
    if let Some(endpoint) = receiver {
        let mut receiver = Client::connect(endpoint.clone()).await?;
        let agent = receiver.get(&Target::new(&["agent"])).await?;
        let id = agent["agent_id"].as_str().map(str::to_owned);
        return id.ok_or_else(|| CliError::Failed("the receiver does not say who it is".into()));
    }
    let answer = client.get(&Target::new(&["direct", "connections"])).await?;
    let agents = answer["connections"].as_array().into_iter().flatten();
    let agents: Vec<&str> = agents.filter_map(|agent| agent["agent_id"].as_str()).collect();
    match agents[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(CliError::Failed("no agent is connected: say whom to send to with --to".into())),
        _ => Err(CliError::Failed(
            "several agents are connected: choose one with --to (see: x0x direct connections)"
                .into(),
        )),
    }
}

impl Report<'_> {
    fn mode(&self) -> &'static str {
        if self.arguments.ws { "websocket" } else { "http" }
    }

    /// Messages a second, until the last was answered.
    fn rate(&self) -> f64 {
        let seconds = self.outcome.time.as_secs_f64();
        f64::from(self.arguments.count) / seconds.max(f64::MIN_POSITIVE)
    }

    /// Latencies with the name of what they are of.
    fn latencies(&self) -> Option<(&'static str, Percentiles)> {
        let answers = Percentiles::of(self.outcome.latencies.clone()).map(|p| ("answer", p));
        let arrivals = || {
            let arrivals = self.arrivals.as_ref()?.latencies.clone();
            Percentiles::of(arrivals).map(|p| ("arrival", p))
        };
        answers.or_else(arrivals)
    }

    fn json(&self) -> Value {
        let Outcome { acknowledged, errors, failed, time, .. } = &self.outcome;
        let latency = self.latencies().map(|(what, p)| {
            json!({ "of": what, "p50_us": p.p50, "p90_us": p.p90, "p99_us": p.p99, "max_us": p.max })
        });
        let receiver = self.arrivals.as_ref().map(|a| {
            let (lost, late) = (self.lost(a), a.out_of_order);
            json!({
                "arrived": a.arrived,
                "lost": lost,
                "duplicates": a.duplicates,
                "out_of_order": late,
            })
        });
        json!({
            "ok": self.fault().is_none(),
            "mode": self.mode(),
            "to": self.to,
            "count": self.arguments.count,
            "size": self.arguments.size,
            "in_flight": self.in_flight,
            "seconds": time.as_secs_f64(),
            "rate_per_second": self.rate(),
            "acknowledged": acknowledged,
            "failed": failed,
            "errors": errors,
            "latency": latency,
            "receiver": receiver,
        })
    }

    fn text(&self) -> String {
        let DirectBench { count, size, .. } = self.arguments;
        let Outcome { acknowledged, errors, failed, time, .. } = &self.outcome;
        let (mode, in_flight, seconds) = (self.mode(), self.in_flight, time.as_secs_f64());
        let mut lines = vec![
            format!("messages:  {count} of {size} bytes over {mode}, {in_flight} in flight"),
            format!("rate:      {:.0}/s ({seconds:.3} s)", self.rate()),
            format!("answers:   {acknowledged} acknowledged, {failed} failed"),
        ];
        lines.extend(errors.iter().map(|(error, count)| format!("           {count} × {error}")));
        if let Some((what, p)) = self.latencies() {
            lines.push(format!("latency:   {p} (to the {what})"));
        }
        if let Some(a) = &self.arrivals {
            let (lost, late) = (self.lost(a), a.out_of_order);
            lines.push(format!(
                "receiver:  {} arrived, {lost} lost, {} duplicates, {late} out of order",
                a.arrived, a.duplicates
            ));
        }
        lines.join("\n")
    }

    /// Acknowledged messages that did not arrive. One that arrived may have failed at the sender,
    /// if its acknowledgement was lost.
    fn lost(&self, arrivals: &Arrivals) -> u64 {
        self.outcome.acknowledged.saturating_sub(arrivals.arrived)
    }

    /// What is wrong, if anything.
    fn fault(&self) -> Option<String> {
        let failed = self.outcome.failed;
        let lost = self.arrivals.as_ref().map_or(0, |arrivals| self.lost(arrivals));
        let duplicates = self.arrivals.as_ref().map_or(0, |arrivals| arrivals.duplicates);
        let is_good = failed + lost + duplicates == 0;
        let text = || format!("{failed} sends failed, {lost} were lost, {duplicates} came twice");
        (!is_good).then(text)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Arguments, Bench, Command};
    use super::*;

    fn parse(line: &str) -> Result<DirectBench, clap::Error> {
        let Command::Bench(Bench::Direct(arguments)) =
            Arguments::try_parse_from(line.split(' '))?.command
        else {
            panic!("{line} is another command");
        };
        Ok(arguments)
    }

    #[test]
    fn losses_and_failures_are_faults() {
        let arguments = parse("x0x bench direct --count 4").expect("it is good");
        let report = |acknowledged, failed, arrived, duplicates| {
            let outcome = Outcome {
                acknowledged,
                failed,
                time: Duration::from_secs(2),
                latencies: vec![1000; 4],
                ..Outcome::default()
            };
            let arrivals = Some(Arrivals { arrived, duplicates, ..Arrivals::default() });
            let to = "ab".repeat(32);
            let report = Report { arguments: &arguments, to, in_flight: 32, outcome, arrivals };
            (report.fault(), report.text(), report.json())
        };
        let (fault, text, json) = report(4, 0, 4, 0);
        assert_eq!(fault, None);
        assert!(text.contains("rate:      2/s (2.000 s)"), "{text}");
        assert!(text.contains("p50 1.000 ms"), "{text}");
        assert_eq!((&json["ok"], &json["rate_per_second"]), (&json!(true), &json!(2.0)));
        for (acknowledged, failed, arrived, duplicates, expected) in [
            (3, 1, 3, 0, "1 sends failed"),
            (4, 0, 3, 0, "1 were lost"),
            (4, 0, 4, 1, "1 came twice"),
        ] {
            let (fault, _, json) = report(acknowledged, failed, arrived, duplicates);
            assert!(fault.is_some_and(|fault| fault.contains(expected)), "{expected}");
            assert_eq!(json["ok"], json!(false), "{expected}");
        }
    }

    #[test]
    fn options_have_limits() {
        for bad in ["--count 0", "--size 15", "--in-flight 0", "--receiver-token x"] {
            assert!(parse(&format!("x0x bench direct {bad}")).is_err(), "{bad}");
        }
        assert!(parse("x0x bench direct --ws --receiver-api h:1 --receiver-token t").is_ok());
    }
}
