//! What is told of topics, as the bytes that go to listeners: each is made once and shared by all
//! who get the same.
//!
//! | | `/events` | WebSocket |
//! |---|---|---|
//! | a message | `message`: `subscription_id`, `topic`, `payload`, `sender`, `verified`, `trust_level` | `topic`, `payload`, `origin` |
//! | messages that the node missed | `lagged`: `subscription_id`, `topic`, `sender`, `missed` | `topic`, `origin`, `missed` |
//! | events that this listener missed | `lagged`: `missed` | `missed` |
//!
//! A value in `/events` is in a double envelope, `{"type":…,"data":{…}}`; a frame of a WebSocket has
//! its `type` among its fields.

use axum::extract::ws::Utf8Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use x0x_core::gossip::Topic;
use x0x_core::identity::AgentId;

/// A message, or a gap, of which frames are made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told<'a> {
    /// A message arrived.
    Message {
        /// What was said.
        payload: &'a [u8],
        /// What the contacts say of the author.
        trust: &'static str,
    },
    /// So many messages were missed and will not come.
    Lagged(u64),
}

/// The parts that all frames of a topic share.
#[derive(Clone, Debug)]
pub(super) struct Shapes {
    /// The name, as JSON.
    topic: String,
}

impl Shapes {
    pub(super) fn new(topic: &Topic) -> Self {
        let topic = serde_json::to_string(topic.as_str()).expect("a text has a JSON form");
        Self { topic }
    }

    /// The frame for WebSocket sessions.
    pub(super) fn session(&self, author: &AgentId, told: Told<'_>) -> Utf8Bytes {
        let mut text = String::with_capacity(160 + self.topic.len() + told.size());
        text += match told {
            Told::Message { .. } => r#"{"type":"message","topic":"#,
            Told::Lagged(_) => r#"{"type":"lagged","topic":"#,
        };
        text += &self.topic;
        if let Told::Message { payload, .. } = told {
            text += r#","payload":""#;
            BASE64.encode_string(payload, &mut text);
            text.push('"');
        }
        text += r#","origin":""#;
        push_id(&mut text, author);
        text.push('"');
        if let Told::Lagged(missed) = told {
            text += &format!(r#","missed":{missed}"#);
        }
        text.push('}');
        text.into()
    }

    /// The event for each of these subscriptions.
    pub(super) fn events<'a>(
        &self,
        subscriptions: impl Iterator<Item = &'a str>,
        author: &AgentId,
        told: Told<'_>,
    ) -> impl Iterator<Item = Bytes> {
        let mut rest = String::with_capacity(160 + self.topic.len() + told.size());
        rest += r#"","topic":"#;
        rest += &self.topic;
        if let Told::Message { payload, .. } = told {
            rest += r#","payload":""#;
            BASE64.encode_string(payload, &mut rest);
            rest.push('"');
        }
        rest += r#","sender":""#;
        push_id(&mut rest, author);
        rest += &match told {
            Told::Message { trust, .. } => {
                format!(r#"","verified":true,"trust_level":"{trust}"}}}}"#)
            }
            Told::Lagged(missed) => format!(r#"","missed":{missed}}}}}"#),
        };
        rest += "\n\n";
        let name = match told {
            Told::Message { .. } => "message",
            Told::Lagged(_) => "lagged",
        };
        subscriptions.map(move |id| {
            let mut event = String::with_capacity(rest.len() + 96);
            for part in [
                "event: ",
                name,
                "\ndata: {\"type\":\"",
                name,
                "\",\"data\":{\"subscription_id\":\"",
            ] {
                event += part;
            }
            event += id;
            event += &rest;
            event.into()
        })
    }
}

impl Told<'_> {
    fn size(&self) -> usize {
        match self {
            Self::Message { payload, .. } => payload.len().div_ceil(3) * 4,
            Self::Lagged(_) => 0,
        }
    }
}

/// Tells a listener at `/events` that it was too slow.
pub(crate) fn missed_event(missed: u64) -> Bytes {
    let data = format!(r#"{{"type":"lagged","data":{{"missed":{missed}}}}}"#);
    format!("event: lagged\ndata: {data}\n\n").into()
}

/// Tells a WebSocket session that it was too slow.
pub(crate) fn missed_frame(missed: u64) -> Utf8Bytes {
    format!(r#"{{"type":"lagged","missed":{missed}}}"#).into()
}

fn push_id(text: &mut String, id: &AgentId) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in id.as_bytes() {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const AUTHOR: AgentId = AgentId([0xa7; 32]);

    fn event(bytes: &[u8]) -> (String, Value) {
        let text = std::str::from_utf8(bytes).expect("events are text");
        let (name, rest) = text.split_once('\n').expect("two lines");
        let data = rest.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n"));
        let data = serde_json::from_str(data.expect("one line of data")).expect("JSON");
        (name.to_owned(), data)
    }

    #[test]
    fn a_message_has_the_form_of_the_contract() {
        let name = "a \"quoted\"\ntopic";
        let shapes = Shapes::new(&Topic::new(name).expect("a name"));
        let told = Told::Message { payload: b"hello", trust: "unknown" };
        let author = "a7".repeat(32);
        let frame: Value = serde_json::from_str(&shapes.session(&AUTHOR, told)).expect("JSON");
        let expected =
            json!({"type": "message", "topic": name, "payload": "aGVsbG8=", "origin": author});
        assert_eq!(frame, expected);
        let events: Vec<_> = shapes.events(["one", "two"].into_iter(), &AUTHOR, told).collect();
        for (bytes, id) in events.iter().zip(["one", "two"]) {
            let data = json!({
                "subscription_id": id, "topic": name, "payload": "aGVsbG8=", "sender": author,
                "verified": true, "trust_level": "unknown",
            });
            let expected = json!({"type": "message", "data": data});
            assert_eq!(event(bytes), ("event: message".into(), expected));
        }
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn a_gap_has_its_author_or_is_the_listeners_own() {
        let shapes = Shapes::new(&Topic::new("t").expect("a name"));
        let author = "a7".repeat(32);
        let frame = shapes.session(&AUTHOR, Told::Lagged(3));
        let frame: Value = serde_json::from_str(&frame).expect("JSON");
        assert_eq!(frame, json!({"type": "lagged", "topic": "t", "origin": author, "missed": 3}));
        let bytes = shapes.events(["one"].into_iter(), &AUTHOR, Told::Lagged(3)).next();
        let data = json!({"subscription_id": "one", "topic": "t", "sender": author, "missed": 3});
        let expected = json!({"type": "lagged", "data": data});
        assert_eq!(event(&bytes.expect("one")), ("event: lagged".into(), expected));
        let expected = json!({"type": "lagged", "data": {"missed": 9}});
        assert_eq!(event(&missed_event(9)), ("event: lagged".into(), expected));
        assert_eq!(&missed_frame(9)[..], r#"{"type":"lagged","missed":9}"#);
    }
}
