//! Variable-length integers and frames.

use bytes::{Bytes, BytesMut};
use x0x_core::wire::{FrameError, FrameReader, varint, write_frame};

use crate::input::Input;

/// A value is read from every form, written in the shortest, and read back.
pub fn varint(data: &[u8]) {
    if let Some((value, size)) = varint::read(data) {
        assert!(value <= varint::VALUE_MAX && size <= data.len() && size <= varint::SIZE_MAX);
        assert!(varint::read(&data[..size - 1]).is_none(), "a form that is cut is not read");
        let mut shortest = BytesMut::new();
        varint::write(&mut shortest, value);
        assert!(shortest.len() <= size);
        assert_eq!(varint::read(&shortest), Some((value, shortest.len())));
    }
    let value = Input::new(data).long() & varint::VALUE_MAX;
    let mut written = BytesMut::new();
    varint::write(&mut written, value);
    assert_eq!(varint::read(&written), Some((value, written.len())));
}

/// The frames of a stream do not depend on its chunks; a reader that was drained holds less than
/// one frame; the frames give themselves when they are written and read again.
pub fn frame_reader(data: &[u8]) {
    let mut input = Input::new(data);
    let (size_max, step) = (input.number(), usize::from(input.byte()) + 1);
    let stream = input.rest();
    let whole = read_all(size_max, stream.len().max(1), stream);
    let pieces = read_all(size_max, step, stream);
    assert_eq!(whole, pieces, "the chunks of a stream do not matter");
    let mut written = BytesMut::new();
    for frame in &whole.0 {
        assert!(!frame.is_empty() && frame.len() <= size_max);
        let (head, tail) = frame.split_at(frame.len() / 2);
        write_frame(&mut written, &[head, tail]);
    }
    assert!(written.len() <= stream.len(), "the shortest form is the shortest");
    assert_eq!(read_all(size_max, step, &written), (whole.0, None));
}

/// Feeds a reader in chunks and checks its limits after each.
pub(crate) fn read_all(
    size_max: usize,
    step: usize,
    stream: &[u8],
) -> (Vec<Bytes>, Option<FrameError>) {
    let mut reader = FrameReader::new(size_max);
    let mut frames = Vec::new();
    for chunk in stream.chunks(step) {
        reader.push(Bytes::copy_from_slice(chunk));
        assert!(reader.buffered() <= stream.len(), "nothing is held but what arrived");
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(), Err(error), "an error is final");
                    assert_eq!(reader.buffered(), 0, "nothing is held after an error");
                    return (frames, Some(error));
                }
            }
        }
        assert!(reader.buffered() < size_max.max(varint::SIZE_MAX), "less than one frame is held");
    }
    (frames, None)
}
