//! `x0x bench gossip`: publishes many messages at a running daemon, and counts at others what
//! arrives of them.
//!
//! Each receiver has a WebSocket session of its own, and every payload that arrives is compared with
//! what was published. The publisher waits while the slowest receiver is more than `--in-flight`
//! messages behind; with a count that is not greater, all go out in one burst.

use clap::Args;
use serde_json::{Value, json};

use super::costs::{Costs, Meter};
use super::figures::Percentiles;
use super::message::Batch;
use super::receiver::{Arrivals, Receiver, Source, warm_up};
use super::{CliError, Context, Kind, Outcome, Sending, http, websocket};
use crate::client::{Endpoint, Locator};
use crate::files::{hex, random};
use crate::paths::InstanceName;

/// What is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct GossipBench {
    /// Listen at this instance for what arrives. May be repeated. Without it: at the publisher.
    #[arg(long, value_name = "INSTANCE")]
    receiver_name: Vec<InstanceName>,
    /// The topic [default: a new one].
    #[arg(long)]
    topic: Option<String>,
    /// How many messages are published.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    count: u32,
    /// The size of a message, in bytes.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(24..=700_000))]
    size: u32,
    /// How many messages a second are published [default: as many as go].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// How many messages are under way at a time [default: 4096, with --http 32 requests].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: Option<u16>,
    /// Publish with HTTP requests, not over a WebSocket.
    #[arg(long)]
    http: bool,
}

/// A measurement, from which both forms of the report are made.
struct Report<'a> {
    arguments: &'a GossipBench,
    in_flight: u16,
    outcome: Outcome,
    /// What arrived, with the names of the receivers.
    arrivals: Vec<(String, Arrivals)>,
    /// When the first message was published, in microseconds since the batch was made.
    started: u64,
    costs: Option<Costs>,
}

/// Measures.
pub(in crate::cli) async fn run(
    context: &Context,
    arguments: &GossipBench,
) -> Result<(), CliError> {
    let mut client = context.connect().await?;
    let endpoints = receivers(context, arguments, client.endpoint())?;
    let topic = match &arguments.topic {
        Some(topic) => topic.clone(),
        None => {
            let name = random::<8>().map_err(|error| CliError::Failed(error.to_string()))?;
            format!("bench/{}", hex(&name))
        }
    };
    let batch = Batch::new(u64::from(arguments.count), arguments.size as usize)?;
    let mut listening = Vec::new();
    for (_, endpoint) in &endpoints {
        let source = Source::Topic(topic.clone());
        listening.push(Receiver::listen(endpoint.clone(), batch.clone(), source).await?);
    }
    warm_up(&mut client, &listening, &topic, &batch).await?;
    context.hint(&format!("Publishing {} messages …", arguments.count));
    let publisher = client.endpoint().clone();
    let daemons = endpoints.iter().map(|(_, endpoint)| endpoint).chain([&publisher]);
    let meter = Meter::find(daemons);
    let in_flight = arguments.in_flight.unwrap_or(if arguments.http { 32 } else { 4096 });
    let quoted = Value::from(topic).to_string();
    let (to, rate) = (quoted.as_str(), arguments.rate);
    let sending = Sending { kind: Kind::Gossip, to, batch: &batch, in_flight, rate };
    let (before, started) = (meter.as_ref().and_then(Meter::read), batch.now());
    let sent = if arguments.http {
        http::send(client.endpoint(), &sending).await
    } else {
        websocket::send(client, &sending, &listening).await
    };
    let mut arrivals = Vec::new();
    for ((name, _), receiver) in endpoints.into_iter().zip(listening) {
        let expected = sent.as_ref().map_or(0, |outcome| outcome.acknowledged);
        arrivals.push((name, receiver.finish(expected).await?));
    }
    let after = meter.as_ref().and_then(Meter::read);
    let costs = after.zip(before).map(|(after, before)| after.since(&before));
    let report = Report { arguments, in_flight, outcome: sent?, arrivals, started, costs };
    context.answer(&report.json(), || report.text())?;
    match report.fault() {
        Some(fault) => Err(CliError::Failed(fault)),
        None => Ok(()),
    }
}

/// The daemons that are listened at, with their names.
fn receivers(
    context: &Context,
    arguments: &GossipBench,
    publisher: &Endpoint,
) -> Result<Vec<(String, Endpoint)>, CliError> {
    let names = &arguments.receiver_name;
    if names.is_empty() {
        return Ok(vec![("publisher".into(), publisher.clone())]);
    }
    let find = |name: &InstanceName| {
        let locator = Locator { name: Some(name.clone()), ..Locator::default() };
        Ok((name.as_str().to_owned(), Endpoint::find(&context.home, &locator)?))
    };
    names.iter().map(find).collect()
}

impl Report<'_> {
    /// Messages a second that a receiver got, from the first publish to its last arrival.
    fn rate(&self, arrivals: &Arrivals) -> f64 {
        let micros = arrivals.last.saturating_sub(self.started).max(1);
        arrivals.arrived as f64 * 1e6 / micros as f64
    }

    /// Messages that were taken for publishing and did not arrive.
    fn lost(&self, arrivals: &Arrivals) -> u64 {
        self.outcome.acknowledged.saturating_sub(arrivals.arrived)
    }

    /// Processor time in microseconds, and bytes, for each delivery.
    fn costs(&self) -> Option<(f64, f64)> {
        let deliveries: u64 = self.arrivals.iter().map(|(_, arrivals)| arrivals.arrived).sum();
        let costs = self.costs.filter(|_| deliveries > 0)?;
        let each = |amount: f64| amount / deliveries as f64;
        Some((each(costs.processor.as_secs_f64() * 1e6), each(costs.loopback as f64)))
    }

    fn json(&self) -> Value {
        let GossipBench { count, size, rate, http, .. } = self.arguments;
        let Outcome { acknowledged, errors, failed, time, .. } = &self.outcome;
        let receivers = self.arrivals.iter().map(|(name, a)| {
            let latency = Percentiles::of(a.latencies.clone()).map(
                |p| json!({ "p50_us": p.p50, "p90_us": p.p90, "p99_us": p.p99, "max_us": p.max }),
            );
            json!({
                "name": name,
                "rate_per_second": self.rate(a),
                "arrived": a.arrived,
                "lost": self.lost(a),
                "duplicates": a.duplicates,
                "out_of_order": a.out_of_order,
                "damaged": a.damaged,
                "told_missed": a.missed,
                "latency": latency,
            })
        });
        json!({
            "ok": self.fault().is_none(),
            "mode": if *http { "http" } else { "websocket" },
            "count": count,
            "size": size,
            "rate_wanted": rate,
            "in_flight": self.in_flight,
            "seconds": time.as_secs_f64(),
            "published": acknowledged,
            "failed": failed,
            "errors": errors,
            "receivers": receivers.collect::<Vec<_>>(),
            "processor_us_per_delivery": self.costs().map(|(micros, _)| micros),
            "loopback_bytes_per_delivery": self.costs().map(|(_, bytes)| bytes),
        })
    }

    fn text(&self) -> String {
        let GossipBench { count, size, http, .. } = self.arguments;
        let Outcome { acknowledged, errors, failed, time, .. } = &self.outcome;
        let mode = if *http { "http" } else { "websocket" };
        let (in_flight, seconds) = (self.in_flight, time.as_secs_f64());
        let mut lines = vec![
            format!("messages:   {count} of {size} bytes over {mode}, {in_flight} in flight"),
            format!("publisher:  {acknowledged} published, {failed} failed ({seconds:.3} s)"),
        ];
        lines.extend(errors.iter().map(|(error, count)| format!("            {count} × {error}")));
        for (name, a) in &self.arrivals {
            let Arrivals { arrived, duplicates, out_of_order, damaged, missed, .. } = a;
            let (name, rate, lost) = (format!("{name}:"), self.rate(a), self.lost(a));
            lines.push(format!(
                "{name:<11} {rate:.0}/s, {arrived} arrived, {lost} lost (told of {missed}), \
                 {duplicates} duplicates, {out_of_order} out of order, {damaged} damaged"
            ));
            let latency = Percentiles::of(a.latencies.clone());
            lines.extend(latency.map(|p| format!("            latency {p}")));
        }
        lines.push(match self.costs() {
            Some((micros, bytes)) => format!(
                "costs:      {micros:.2} µs of processor time of all daemons and {bytes:.0} bytes \
                 on loopback (with the API) for each delivery"
            ),
            None => "costs:      not known: the daemons are not found on this machine".into(),
        });
        lines.join("\n")
    }

    /// What is wrong, if anything. Requests that are under way together have no order.
    fn fault(&self) -> Option<String> {
        let sum = |of: fn(&Arrivals) -> u64| self.arrivals.iter().map(|(_, a)| of(a)).sum::<u64>();
        let failed = self.outcome.failed;
        let lost: u64 = self.arrivals.iter().map(|(_, arrivals)| self.lost(arrivals)).sum();
        let late = if self.arguments.http { 0 } else { sum(|a| a.out_of_order) };
        let twice = sum(|a| a.duplicates);
        let damaged = sum(|a| a.damaged);
        (failed + lost + twice + late + damaged > 0).then(|| {
            format!(
                "{failed} were not published, {lost} were lost, {twice} came twice, {late} out of \
                 order, {damaged} damaged"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::super::super::args::{Arguments, Bench, Command};
    use super::*;

    fn parse(line: &str) -> Result<GossipBench, clap::Error> {
        let Command::Bench(Bench::Gossip(arguments)) =
            Arguments::try_parse_from(line.split(' '))?.command
        else {
            panic!("{line} is another command");
        };
        Ok(arguments)
    }

    #[test]
    fn whatever_is_not_as_it_should_be_is_a_fault() {
        let line = "x0x bench gossip --count 4 --receiver-name bob --receiver-name carol";
        let arguments = parse(line).expect("it is good");
        let good = || Arrivals {
            arrived: 4,
            latencies: vec![1000; 4],
            last: 2_000_100,
            ..Arrivals::default()
        };
        let report = |failed: u64, arrivals: Arrivals| {
            let outcome = Outcome { acknowledged: 4 - failed, failed, ..Outcome::default() };
            let arrivals = vec![("bob".into(), good()), ("carol".into(), arrivals)];
            let costs = Some(Costs { processor: Duration::from_micros(80), loopback: 800 });
            let (in_flight, started) = (7, 100);
            let report =
                Report { arguments: &arguments, in_flight, outcome, arrivals, started, costs };
            (report.fault(), report.text(), report.json())
        };
        let (fault, text, json) = report(0, good());
        assert_eq!((fault, &json["ok"]), (None, &json!(true)));
        assert!(text.contains("bob:        2/s, 4 arrived, 0 lost"), "{text}");
        assert!(text.contains("10.00 µs of processor time of all daemons and 100 bytes"), "{text}");
        assert_eq!(json["receivers"][1]["latency"]["p99_us"], 1000, "{json}");
        for (name, failed, arrivals) in [
            ("1 were not published", 1, good()),
            ("1 were lost", 0, Arrivals { arrived: 3, ..good() }),
            ("1 came twice", 0, Arrivals { duplicates: 1, ..good() }),
            ("1 out of order", 0, Arrivals { out_of_order: 1, ..good() }),
            ("1 damaged", 0, Arrivals { damaged: 1, ..good() }),
        ] {
            let (fault, _, json) = report(failed, arrivals);
            assert!(fault.is_some_and(|fault| fault.contains(name)), "{name}");
            assert_eq!(json["ok"], json!(false), "{name}");
        }
    }

    #[test]
    fn options_have_limits() {
        for bad in ["--count 0", "--size 23", "--rate 0", "--in-flight 0"] {
            assert!(parse(&format!("x0x bench gossip {bad}")).is_err(), "{bad}");
        }
        assert!(parse("x0x bench gossip --http --rate 40").is_ok());
    }
}
