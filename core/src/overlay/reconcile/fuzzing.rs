//! A door for the fuzz targets: a message is read and written again.

use bytes::Bytes;

use super::Message;

/// Reads a message; returns its bytes when it is written again.
pub fn message(bytes: &[u8]) -> Option<Bytes> {
    Message::decode(bytes).ok().map(|message| message.encode())
}
