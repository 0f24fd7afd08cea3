//! Commands that show what happens until they are ended: one line for each event, with `--json` one
//! object on a line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::text::{Paint, safe, short, time_of_day};
use super::{CliError, Context};
use crate::client::{Client, Events, REQUEST_TIMEOUT, Target};

/// Shows direct messages.
pub(super) async fn direct_events(context: &Context, client: Client) -> Result<(), CliError> {
    let target = Target::new(&["direct", "events"]);
    show(context, client, &target, "direct messages", direct_line).await
}

/// Shows changes of peers.
pub(super) async fn peer_events(context: &Context, client: Client) -> Result<(), CliError> {
    let target = Target::new(&["peers", "events"]);
    show(context, client, &target, "changes of peers", peer_line).await
}

/// Shows the messages of all subscriptions.
pub(super) async fn topic_events(context: &Context, client: Client) -> Result<(), CliError> {
    show(context, client, &Target::new(&["events"]), "messages of topics", event_line).await
}

/// Subscribes to a topic and shows its messages, until a signal or the end of the daemon.
pub(super) async fn topic(context: &Context, topic: &str) -> Result<(), CliError> {
    let mut client = context.connect().await?;
    // Listening comes first, so that no message is missed.
    let listener = Client::new(client.endpoint().clone());
    let mut events = listener.events(&Target::new(&["events"])).await?;
    let body = json!({ "topic": topic });
    let answer = client.post(&Target::new(&["subscribe"]), Some(&body), REQUEST_TIMEOUT).await?;
    let id = answer["subscription_id"].as_str().unwrap_or_default();
    let name = safe(topic);
    context.hint(&format!("Listening for messages of {name} ({id}); Ctrl-C ends it."));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::system)?;
    let shown = tokio::select! {
        shown = show_subscription(context, &mut events, id) => Some(shown),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    if matches!(shown, Some(Ok(()))) {
        context.hint("The daemon ended the stream.");
        return Ok(());
    }
    let ended = client.delete(&Target::new(&["subscribe", id])).await;
    shown.unwrap_or(Ok(()))?;
    ended?;
    Ok(())
}

/// Shows what is told of one subscription, until the daemon ends the stream.
async fn show_subscription(
    context: &Context,
    events: &mut Events,
    id: &str,
) -> Result<(), CliError> {
    while let Some(event) = events.next().await? {
        let envelope = read(&event.data)?;
        // What has no subscription is told to all who listen.
        if envelope["data"]["subscription_id"].as_str().is_some_and(|other| other != id) {
            continue;
        }
        let line = || message_line(&envelope, context.paint);
        context.print(&if context.is_json { envelope.to_string() } else { line() })?;
    }
    Ok(())
}

fn read(data: &str) -> Result<Value, CliError> {
    serde_json::from_str(data)
        .map_err(|error| CliError::Failed(format!("the daemon sent no JSON: {error}")))
}

async fn show(
    context: &Context,
    client: Client,
    target: &Target,
    what: &str,
    line: fn(&Value, Paint) -> String,
) -> Result<(), CliError> {
    let mut events = client.events(target).await?;
    context.hint(&format!("Listening for {what}; Ctrl-C ends it."));
    while let Some(event) = events.next().await? {
        let data = read(&event.data)?;
        let text = if context.is_json { data.to_string() } else { line(&data, context.paint) };
        context.print(&text)?;
    }
    context.hint("The daemon ended the stream.");
    Ok(())
}

fn direct_line(message: &Value, paint: Paint) -> String {
    let field = |key| message.get(key).and_then(Value::as_str).unwrap_or("-");
    let time = message.get("received_at").and_then(Value::as_u64).unwrap_or(0);
    let (sender, text) = (paint.bold(&short(field("sender"))), payload_text(field("payload")));
    format!("{}  {sender}  {text}", time_of_day(time))
}

/// A payload as text for people.
fn payload_text(payload: &str) -> String {
    match BASE64.decode(payload).map(String::from_utf8) {
        Ok(Ok(text)) => safe(&text),
        Ok(Err(bytes)) => format!("({} bytes that are no text)", bytes.as_bytes().len()),
        Err(_) => "(no base64)".into(),
    }
}

/// A message of a known topic, or what is told in its stead.
fn message_line(envelope: &Value, paint: Paint) -> String {
    let data = &envelope["data"];
    let field = |key| data.get(key).and_then(Value::as_str);
    let sender = field("sender").map_or_else(|| "-".into(), short);
    let text = match envelope["type"].as_str() {
        Some("message") => payload_text(field("payload").unwrap_or_default()),
        Some("lagged") => format!("({} messages were missed)", data["missed"]),
        Some(_) | None => safe(&data.to_string()),
    };
    format!("{}  {text}", paint.bold(&sender))
}

/// The same, with the topic.
fn event_line(envelope: &Value, paint: Paint) -> String {
    let topic = envelope["data"]["topic"].as_str().unwrap_or("-");
    format!("{}  {}", safe(topic), message_line(envelope, paint))
}

fn peer_line(change: &Value, paint: Paint) -> String {
    let field = |key| change.get(key).and_then(Value::as_str).unwrap_or("-");
    let time = change.get("at_ms").and_then(Value::as_u64).unwrap_or(0);
    let peer = paint.bold(&short(field("peer_id")));
    format!("{}  {peer}  {}", time_of_day(time), safe(field("event")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_topics_is_one_line() {
        let id = "12ab".repeat(16);
        for (kind, data, expected) in [
            (
                "message",
                json!({"topic": "a", "sender": id, "payload": "aGkKeW91"}),
                r"12ab12ab  hi\nyou",
            ),
            (
                "lagged",
                json!({"topic": "a", "sender": id, "missed": 3}),
                "12ab12ab  (3 messages were missed)",
            ),
            ("lagged", json!({"topic": "a", "missed": 3}), "-  (3 messages were missed)"),
            ("file:offer", json!({"topic": "a", "size": 1}), r#"-  {"topic":"a","size":1}"#),
        ] {
            let envelope = json!({"type": kind, "data": data});
            assert_eq!(message_line(&envelope, Paint(false)), expected);
            assert_eq!(event_line(&envelope, Paint(false)), format!("a  {expected}"));
        }
    }

    #[test]
    fn a_message_is_one_line() {
        let message = |payload: &[u8]| {
            let (sender, payload) = ("12ab".repeat(16), BASE64.encode(payload));
            json!({ "sender": sender, "payload": payload, "received_at": 1_700_000_000_000_u64 })
        };
        for (payload, expected) in [
            ("hello\nthere".as_bytes(), r"22:13:20Z  12ab12ab  hello\nthere"),
            (&[0xff, 0], "22:13:20Z  12ab12ab  (2 bytes that are no text)"),
        ] {
            assert_eq!(direct_line(&message(payload), Paint(false)), expected);
        }
        let change = json!({ "peer_id": "x", "event": "Closed", "at_ms": 0 });
        assert_eq!(peer_line(&change, Paint(false)), "00:00:00Z  x  Closed");
    }
}
