//! Commands that show what happens until they are ended: one line for each event, with `--json` one
//! object on a line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::text::{Paint, safe, short, time_of_day};
use super::{CliError, Context};
use crate::client::{Client, Target};

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
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| CliError::Failed(format!("the daemon sent no JSON: {error}")))?;
        let text = if context.is_json { data.to_string() } else { line(&data, context.paint) };
        context.print(&text)?;
    }
    context.hint("The daemon ended the stream.");
    Ok(())
}

fn direct_line(message: &Value, paint: Paint) -> String {
    let field = |key| message.get(key).and_then(Value::as_str).unwrap_or("-");
    let time = message.get("received_at").and_then(Value::as_u64).unwrap_or(0);
    let text = match BASE64.decode(field("payload")).map(String::from_utf8) {
        Ok(Ok(text)) => safe(&text),
        Ok(Err(bytes)) => format!("({} bytes that are no text)", bytes.as_bytes().len()),
        Err(_) => "(no base64)".into(),
    };
    format!("{}  {}  {text}", time_of_day(time), paint.bold(&short(field("sender"))))
}

fn peer_line(change: &Value, paint: Paint) -> String {
    let field = |key| change.get(key).and_then(Value::as_str).unwrap_or("-");
    let time = change.get("at_ms").and_then(Value::as_u64).unwrap_or(0);
    let peer = paint.bold(&short(field("peer_id")));
    format!("{}  {peer}  {}", time_of_day(time), safe(field("event")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
