//! The entry point of the fuzz targets: decodes a frame and encodes it again.

use bytes::Bytes;

use super::frames;

/// Decodes a frame whose peers are numbers. Returns the bytes of its encoding, or `None` if it is
/// malformed.
pub fn frame(bytes: &Bytes) -> Option<Bytes> {
    let (frame, item) = frames::decode::<u8>(bytes).ok()?;
    Some([&frames::encode(&frame)[..], &item].concat().into())
}
