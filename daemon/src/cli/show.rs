//! The text form of each answer.

use serde_json::{Value, json};

use super::text::{duration, fields, objects, safe, short};

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer.get(key).and_then(Value::as_str).unwrap_or("-")
}

fn number(answer: &Value, key: &str) -> u64 {
    answer.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn health(answer: &Value) -> String {
    fields(answer)
}

/// Who this node is: the ids in full, for others to use.
pub(super) fn agent(answer: &Value) -> String {
    let user = answer.get("user_id").and_then(Value::as_str);
    let mut rows = vec![
        ("agent_id", text(answer, "agent_id")),
        ("machine_id", text(answer, "machine_id")),
        ("user_id", user.unwrap_or("-")),
        ("identity_words", text(answer, "identity_words")),
    ];
    if user.is_some() {
        rows.push(("user_words", text(answer, "user_words")));
    }
    let key_len = answer.get("kem_public_key_b64").and_then(Value::as_str).map_or(0, str::len);
    let key = format!("{key_len} characters, see --json");
    rows.push(("kem_public_key", &key));
    lines(&rows)
}

pub(super) fn status(answer: &Value) -> String {
    let uptime = duration(number(answer, "uptime_secs"));
    let peers = number(answer, "peers").to_string();
    let list = |key: &str| {
        let items = answer.get(key).and_then(Value::as_array).into_iter().flatten();
        let items: Vec<&str> = items.filter_map(Value::as_str).collect();
        if items.is_empty() { "-".to_owned() } else { items.join(", ") }
    };
    lines(&[
        ("status", text(answer, "status")),
        ("peers", &peers),
        ("agent_id", text(answer, "agent_id")),
        ("identity_words", text(answer, "identity_words")),
        ("api_address", text(answer, "api_address")),
        ("external_addrs", &list("external_addrs")),
        ("uptime", &uptime),
        ("version", text(answer, "version")),
        ("warnings", &list("warnings")),
    ])
}

fn lines(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(key, _)| key.len() + 1).max().unwrap_or(0);
    let line = |(key, value): &(&str, &str)| format!("{:<width$} {value}", format!("{key}:"));
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(super) fn user_id(answer: &Value) -> String {
    match answer.get("user_id").and_then(Value::as_str) {
        Some(id) => format!("user_id: {id}"),
        None => "No human is named. Make a key with: x0x-user-keygen ~/.x0x/user.key".into(),
    }
}

pub(super) fn network(answer: &Value) -> String {
    fields(answer)
}

pub(super) fn peers(answer: &Value) -> String {
    let peers = answer.get("peers").and_then(Value::as_array).map(Vec::as_slice);
    let peers = peers.unwrap_or_default();
    let rows: Vec<Value> = peers.iter().map(|peer| json!({ "machine_id": peer["id"] })).collect();
    list(&rows, "No peers.")
}

pub(super) fn connections(answer: &Value) -> String {
    let connections = answer.get("connections").and_then(Value::as_array).map(Vec::as_slice);
    list(connections.unwrap_or_default(), "No agent is connected.")
}

pub(super) fn sessions(answer: &Value) -> String {
    let sessions = answer.get("sessions").and_then(Value::as_array).map(Vec::as_slice);
    list(sessions.unwrap_or_default(), "No sessions.")
}

fn list(rows: &[Value], nothing: &str) -> String {
    if rows.is_empty() { nothing.into() } else { objects(rows) }
}

pub(super) fn probe(id: &str, answer: &Value) -> String {
    let micros = number(answer, "rtt_us");
    let (whole, part) = (micros / 1000, micros % 1000);
    format!("{} answered in {whole}.{part:03} ms", short(id))
}

pub(super) fn sent(id: &str, answer: &Value) -> String {
    let (to, path) = (short(id), text(answer, "path"));
    match answer.get("require_ack").filter(|ack| ack.is_object()) {
        Some(ack) if ack["ok"] == json!(true) => {
            format!("Delivered to {to} in {} ms ({path})", number(ack, "rtt_ms"))
        }
        Some(ack) => format!("Sent to {to}, without an acknowledgement: {}", text(ack, "error")),
        None => format!("Sent to {to} ({path})"),
    }
}

pub(super) fn outcome(id: &str, answer: &Value) -> String {
    let address = answer.get("addr").and_then(Value::as_str);
    let address = address.map_or_else(String::new, |address| format!(" at {address}"));
    format!("{}: {}{address}", short(id), text(answer, "outcome"))
}

/// What may help if there is no link.
pub(super) fn outcome_hint(answer: &Value) -> Option<&'static str> {
    match text(answer, "outcome") {
        "NotFound" => Some(
            "No address is known. Add one of the peer to bootstrap_peers in the configuration.",
        ),
        "Unreachable" => Some("The addresses that are known do not answer."),
        _ => None,
    }
}

/// Whether the node is recorded, and where.
pub(super) fn recording(answer: &Value) -> String {
    let path = safe(text(answer, "path"));
    let most = mib(number(answer, "max_bytes"));
    match answer.get("recording").and_then(Value::as_bool) {
        None => format!("Recording to {path}, at most {most}"),
        Some(true) => {
            let size = mib(number(answer, "bytes"));
            format!("Recording to {path}: {size} of at most {most}")
        }
        Some(false) if answer.get("path").is_some_and(Value::is_string) => recorded(answer),
        Some(false) => "Not recorded".into(),
    }
}

/// What a recording has come to.
pub(super) fn recorded(answer: &Value) -> String {
    let (path, size) = (safe(text(answer, "path")), mib(number(answer, "bytes")));
    let reason = safe(text(answer, "ended_because"));
    format!("Recorded {size} to {path}: {reason}\nPlay it again with: x0x-sim replay-node {path}")
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub(super) fn diagnostics(answer: &Value) -> String {
    // Ids as the rows of a table read better than as keys.
    let per_peer = answer.get("per_peer").and_then(Value::as_object);
    let rows = per_peer.into_iter().flatten().map(|(id, row)| {
        let mut cells = serde_json::Map::from_iter([("agent_id".to_owned(), json!(id))]);
        cells.extend(row.as_object().cloned().unwrap_or_default());
        Value::Object(cells)
    });
    let mut answer = answer.clone();
    answer["per_peer"] = rows.collect();
    fields(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_short_ids_or_say_that_they_are_empty() {
        let id = "12ab".repeat(16);
        let answer = json!({ "ok": true, "peers": [{ "id": id }] });
        assert_eq!(peers(&answer), "MACHINE\n12ab12ab");
        assert_eq!(peers(&json!({ "ok": true, "peers": [] })), "No peers.");
        let answer = json!({ "connections": [{ "agent_id": id, "machine_id": null }] });
        assert_eq!(connections(&answer), "AGENT     MACHINE\n12ab12ab  -");
    }

    #[test]
    fn a_send_says_how_it_went() {
        let id = "12ab".repeat(16);
        for (ack, expected) in [
            (json!(null), "Sent to 12ab12ab (raw_quic)"),
            (json!({ "ok": true, "rtt_ms": 3 }), "Delivered to 12ab12ab in 3 ms (raw_quic)"),
            (json!({ "ok": false, "error": "late" }), "Sent to 12ab12ab, without an ack"),
        ] {
            let text = sent(&id, &json!({ "path": "raw_quic", "require_ack": ack }));
            assert!(text.starts_with(expected), "{text}");
        }
        assert_eq!(probe(&id, &json!({ "rtt_us": 1_005 })), "12ab12ab answered in 1.005 ms");
        let answer = json!({ "outcome": "Direct", "addr": "127.0.0.1:1" });
        assert_eq!(outcome(&id, &answer), "12ab12ab: Direct at 127.0.0.1:1");
        assert_eq!(outcome_hint(&answer), None);
    }

    #[test]
    fn a_recording_says_where_it_is_and_why_it_ended() {
        let path = "/d/1.x0xrec";
        let (bytes, max_bytes) = (3 << 20, 64 << 20);
        let begun = json!({ "path": path, "max_bytes": max_bytes });
        assert_eq!(recording(&begun), "Recording to /d/1.x0xrec, at most 64.0 MiB");
        let running =
            json!({ "recording": true, "path": path, "bytes": bytes, "max_bytes": max_bytes });
        assert_eq!(recording(&running), "Recording to /d/1.x0xrec: 3.0 MiB of at most 64.0 MiB");
        let ended = json!({
            "recording": false, "path": path, "bytes": bytes, "ended_because": "it was stopped",
        });
        let text = "Recorded 3.0 MiB to /d/1.x0xrec: it was stopped\n\
                    Play it again with: x0x-sim replay-node /d/1.x0xrec";
        assert_eq!((recording(&ended), recorded(&ended)), (text.into(), text.into()));
        assert_eq!(recording(&json!({ "recording": false, "path": null })), "Not recorded");
    }

    #[test]
    fn own_ids_are_shown_in_full() {
        let id = "12ab".repeat(16);
        let answer = json!({ "agent_id": id, "machine_id": id, "user_id": null });
        assert!(agent(&answer).contains(&format!("agent_id:       {id}\n")), "{}", agent(&answer));
    }

    #[test]
    fn counters_of_peers_are_a_table() {
        let id = "12ab".repeat(16);
        let answer = json!({ "ok": true, "per_peer": { id: { "recv_count": 2 } } });
        assert_eq!(diagnostics(&answer), "per_peer:\n  AGENT     RECV COUNT\n  12ab12ab  2");
    }
}
