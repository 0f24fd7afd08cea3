//! Streams of server-sent events, read line by line.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{ClientError, STREAM_TIMEOUT};

/// The longest event, in bytes.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// A stream of events. It lasts at most [`STREAM_TIMEOUT`].
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    parser: Parser,
    end: Instant,
}

impl Events {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, parser: Parser::default(), end: Instant::now() + STREAM_TIMEOUT }
    }

    /// Waits for the next event; `None` once the daemon ends the stream, or its time is over.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or an event is longer than [`EVENT_BYTES_MAX`].
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            if self.parser.len() > EVENT_BYTES_MAX {
                return Err(ClientError::Answer("an event is too long".into()));
            }
            match timeout_at(self.end, self.body.frame()).await {
                Err(_) | Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(ClientError::broken(&error)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.parser.add(&bytes);
                    }
                }
            }
        }
    }
}

/// Turns bytes into events. Comments and unknown fields are ignored.
#[derive(Debug, Default)]
struct Parser {
    bytes: Vec<u8>,
    /// How many of the bytes are read.
    read: usize,
    event: ServerEvent,
    has_data: bool,
}

impl Parser {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.read + self.event.data.len()
    }

    fn next(&mut self) -> Option<ServerEvent> {
        loop {
            let rest = &self.bytes[self.read..];
            let end = rest.iter().position(|&byte| byte == b'\n')?;
            let line = String::from_utf8_lossy(&rest[..end]);
            let line = line.strip_suffix('\r').unwrap_or(&line).to_owned();
            self.read += end + 1;
            if let Some(event) = self.line(&line) {
                return Some(event);
            }
        }
    }

    fn line(&mut self, line: &str) -> Option<ServerEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            ": ping\n\nevent: one\ndata: {\"a\":1}\n\nid: 7\r\ndata:x\r\ndata: y\r\n\r\ndata: z";
        let event = |name: &str, data: &str| ServerEvent { name: name.into(), data: data.into() };
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                parser.add(piece);
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            assert_eq!(events, [event("one", "{\"a\":1}"), event("", "x\ny")], "{size}");
        }
    }
}
