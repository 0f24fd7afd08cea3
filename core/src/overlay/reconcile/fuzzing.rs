//! The entry point of the fuzz targets: decodes a message and encodes it again.

use bytes::Bytes;

use super::Message;

/// Decodes a message. Returns the bytes of its encoding, or `None` if it is malformed.
pub fn message(bytes: &[u8]) -> Option<Bytes> {
    Message::decode(bytes).ok().map(|message| message.encode())
}
