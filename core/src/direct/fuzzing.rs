//! Doors for the fuzz targets: frames of direct messages are read and written again.

use bytes::Bytes;

use super::frames::{Frame, Opened, decode, message_header, verdict_header};

/// Reads a frame; returns its bytes when it is written again, in the shortest form.
pub fn frame(frame: Bytes) -> Option<Bytes> {
    Some(match decode(frame).ok()? {
        Frame::Open(open) => open.encode(),
        Frame::Opened(opened) => Opened::encode(opened.channel, opened.born, &opened.runs),
        Frame::Message { channel, sequence, payload } => {
            [message_header(channel, sequence).as_slice(), &payload].concat().into()
        }
        Frame::Verdict { channel, run } => {
            Bytes::copy_from_slice(verdict_header(channel, run).as_slice())
        }
    })
}
