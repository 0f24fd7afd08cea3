//! A door for the fuzz targets: a frame is read and written again.

use bytes::Bytes;

use super::frames;

/// Reads a frame between peers that are numbers; returns its bytes when it is written again.
pub fn frame(bytes: &Bytes) -> Option<Bytes> {
    let (frame, item) = frames::decode::<u8>(bytes).ok()?;
    Some([&frames::encode(&frame)[..], &item].concat().into())
}
