//! Frames: many messages on one stream of bytes.
//!
//! A frame is the length of its payload as a [variable-length integer](super::varint), then the
//! payload, which is never empty. Frames follow one another without padding.
//!
//! [`FrameReader`] takes the chunks in which a stream arrives and gives the payloads. One that lies
//! within a chunk is a slice of it, without a copy; one that straddles chunks is collected.
//! A slice keeps its whole chunk in memory, so a module that keeps payloads for long copies them.
//!
//! # Limits
//!
//! The greatest payload is chosen for each stream; a greater length is an error as soon as the
//! length is readable. A straddling payload takes memory for at most twice the bytes that arrived,
//! or [`PARTIAL_BYTES_MIN`] if that is more. An error is final: the position in the stream is lost.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::varint;

/// The memory that a straddling payload may take however few of its bytes arrived.
pub const PARTIAL_BYTES_MIN: usize = 2048;

/// Why a stream does not consist of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame has no payload.
    #[error("a frame without a payload")]
    Empty,
    /// A frame is larger than this stream allows.
    #[error("a frame of {size} bytes (at most {size_max})")]
    TooLarge {
        /// The size of the payload.
        size: u64,
        /// The limit of the stream.
        size_max: usize,
    },
}

/// Appends a frame whose payload is the concatenation of `parts`.
///
/// # Panics
///
/// If the payload is empty.
pub fn write_frame(buffer: &mut BytesMut, parts: &[&[u8]]) {
    let size = parts.iter().fold(0_usize, |size, part| size.saturating_add(part.len()));
    assert!(size > 0, "a frame has a payload");
    buffer.reserve(size.saturating_add(varint::SIZE_MAX));
    varint::write(buffer, u64::try_from(size).unwrap_or(u64::MAX));
    for part in parts {
        buffer.extend_from_slice(part);
    }
}

/// Reads the frames of one stream.
///
/// Feed it with [`push`](Self::push), then call [`next`](Self::next) until it returns `None`.
#[derive(Debug)]
pub struct FrameReader {
    /// The greatest payload.
    size_max: usize,
    /// What arrived and was not looked at, without empty chunks.
    chunks: VecDeque<Bytes>,
    /// How many bytes `chunks` holds.
    queued: usize,
    /// The start of a length that straddles chunks.
    header: Vec<u8>,
    /// The length of the frame that is being read, once it is known.
    length: Option<usize>,
    /// The start of a payload that straddles chunks.
    partial: Vec<u8>,
    /// The error that ended the stream.
    failed: Option<FrameError>,
}

impl FrameReader {
    /// Makes a reader for a stream whose payloads have at most `size_max` bytes.
    pub fn new(size_max: usize) -> Self {
        Self {
            size_max,
            chunks: VecDeque::new(),
            queued: 0,
            header: Vec::new(),
            length: None,
            partial: Vec::new(),
            failed: None,
        }
    }

    /// Adds the chunk that follows on the stream.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() && self.failed.is_none() {
            self.queued = self.queued.saturating_add(chunk.len());
            self.chunks.push_back(chunk);
        }
    }

    /// Returns the payload of the next frame, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// A [`FrameError`] if the stream does not consist of allowed frames; then on each later call
    /// the same.
    #[expect(clippy::should_implement_trait, reason = "`?` needs the error outside the option")]
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.read().inspect_err(|&error| self.fail(error)),
        }
    }

    /// Returns how many bytes are held: those that were pushed, without the lengths and payloads
    /// that were read.
    pub fn buffered(&self) -> usize {
        self.queued.saturating_add(self.header.len()).saturating_add(self.partial.len())
    }

    fn fail(&mut self, error: FrameError) {
        *self = Self { failed: Some(error), ..Self::new(self.size_max) };
    }

    fn read(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let length = match self.length {
                Some(length) => length,
                None => match self.read_length()? {
                    Some(length) => *self.length.insert(length),
                    None => return Ok(None),
                },
            };
            let Some(chunk) = self.chunks.front_mut() else { return Ok(None) };
            if self.partial.is_empty() && chunk.len() >= length {
                let payload = chunk.split_to(length);
                self.consume(length);
                self.length = None;
                return Ok(Some(payload));
            }
            let taken = chunk.len().min(length.saturating_sub(self.partial.len()));
            grow(&mut self.partial, taken, length);
            self.partial.extend_from_slice(&chunk.split_to(taken));
            self.consume(taken);
            if self.partial.len() == length {
                self.length = None;
                return Ok(Some(Bytes::from(std::mem::take(&mut self.partial))));
            }
        }
    }

    /// Reads the length of the next frame if all its bytes are there.
    fn read_length(&mut self) -> Result<Option<usize>, FrameError> {
        while let Some(chunk) = self.chunks.front_mut() {
            if self.header.is_empty()
                && let Some((value, size)) = varint::read(chunk)
            {
                chunk.advance(size);
                self.consume(size);
                return self.check_length(value).map(Some);
            }
            self.header.push(chunk.get_u8());
            self.consume(1);
            if let Some((value, _)) = varint::read(&self.header) {
                self.header.clear();
                return self.check_length(value).map(Some);
            }
        }
        Ok(None)
    }

    fn check_length(&self, value: u64) -> Result<usize, FrameError> {
        match usize::try_from(value) {
            Ok(0) => Err(FrameError::Empty),
            Ok(length) if length <= self.size_max => Ok(length),
            Ok(_) | Err(_) => Err(FrameError::TooLarge { size: value, size_max: self.size_max }),
        }
    }

    /// Accounts for bytes that were taken from the first chunk, and drops it if it is empty.
    fn consume(&mut self, taken: usize) {
        self.queued = self.queued.saturating_sub(taken);
        if self.chunks.front().is_some_and(Bytes::is_empty) {
            self.chunks.pop_front();
        }
    }
}

/// Makes room for `added` more bytes of a payload of `length` bytes: at most twice what is there
/// then, so that a claimed length alone takes no memory. A complete payload fills its memory.
fn grow(partial: &mut Vec<u8>, added: usize, length: usize) {
    let needed = partial.len().saturating_add(added);
    if needed > partial.capacity() {
        let capacity = needed.saturating_mul(2).max(PARTIAL_BYTES_MIN).min(length);
        partial.reserve_exact(capacity.saturating_sub(partial.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(payloads: &[&[u8]]) -> Bytes {
        let mut buffer = BytesMut::new();
        for payload in payloads {
            write_frame(&mut buffer, &[payload]);
        }
        buffer.freeze()
    }

    fn read_all(reader: &mut FrameReader) -> Vec<Bytes> {
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    #[test]
    fn frames_within_a_chunk_are_slices_of_it() {
        let chunk = stream(&[b"one", &[7; 100], b"three"]);
        let mut reader = FrameReader::new(100);
        reader.push(chunk.clone());
        let frames = read_all(&mut reader);
        assert_eq!(frames, [b"one".as_slice(), &[7; 100], b"three"]);
        assert_eq!(reader.buffered(), 0);
        let memory = chunk.as_ptr_range();
        assert!(frames.iter().all(|frame| memory.contains(&frame.as_ptr())));
    }

    #[test]
    fn a_payload_may_have_several_parts() {
        let mut buffer = BytesMut::new();
        write_frame(&mut buffer, &[b"he", b"", b"ad", b"payload"]);
        assert_eq!(&buffer[..], b"\x0bheadpayload");
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let payloads: &[&[u8]] = &[b"a", &[1; 63], &[2; 64], &[3; 300], b"z"];
        let bytes = stream(payloads);
        for size in 1..=bytes.len() {
            let mut reader = FrameReader::new(300);
            let mut frames = Vec::new();
            for chunk in bytes.chunks(size) {
                reader.push(Bytes::copy_from_slice(chunk));
                frames.extend(read_all(&mut reader));
            }
            assert_eq!(frames, payloads, "chunks of {size}");
            assert_eq!(reader.buffered(), 0, "chunks of {size}");
        }
    }

    #[test]
    fn a_stream_cut_anywhere_waits_for_more() {
        let bytes = stream(&[&[5; 300]]);
        for size in 0..bytes.len() {
            let mut reader = FrameReader::new(300);
            reader.push(bytes.slice(..size));
            assert_eq!(reader.next(), Ok(None), "cut to {size}");
            // A length that was read is no longer buffered.
            assert_eq!(reader.buffered(), if size < 2 { size } else { size.saturating_sub(2) });
        }
    }

    #[test]
    fn a_bad_length_is_an_error_as_soon_as_it_is_readable_and_for_ever() {
        let large = FrameError::TooLarge { size: 101, size_max: 100 };
        let huge = FrameError::TooLarge { size: varint::VALUE_MAX, size_max: 100 };
        let cases: &[(&str, &[u8], FrameError)] = &[
            ("empty", &[0], FrameError::Empty),
            ("empty in a long form", &[0x40, 0], FrameError::Empty),
            ("one too many", &[0x40, 101], large),
            ("the greatest", &[0xff; 8], huge),
        ];
        for &(name, bytes, error) in cases {
            for size in [1, bytes.len()] {
                let mut reader = FrameReader::new(100);
                bytes.chunks(size).for_each(|chunk| reader.push(Bytes::copy_from_slice(chunk)));
                assert_eq!(reader.next(), Err(error), "{name}");
                reader.push(stream(&[b"fine"]));
                assert_eq!(reader.next(), Err(error), "{name}, again");
                assert_eq!(reader.buffered(), 0, "{name}");
            }
        }
    }

    #[test]
    fn a_claimed_length_takes_no_memory() {
        let mut reader = FrameReader::new(1 << 30);
        reader.push(Bytes::from_static(&[0xbf, 0xff, 0xff, 0xff]));
        for arrived in 1..=10_000_usize {
            reader.push(Bytes::from_static(&[1]));
            assert_eq!(reader.next(), Ok(None));
            let most = arrived.saturating_mul(2).max(PARTIAL_BYTES_MIN);
            assert!(reader.partial.capacity() <= most, "{arrived} bytes arrived");
        }
    }

    #[test]
    fn a_collected_payload_fills_its_memory() {
        let bytes = stream(&[&[1; 5000]]);
        let mut reader = FrameReader::new(5000);
        for chunk in bytes.chunks(1400) {
            assert!(reader.partial.capacity() <= 5000);
            reader.push(Bytes::copy_from_slice(chunk));
            if let Some(frame) = reader.next().unwrap() {
                assert_eq!(frame, vec![1; 5000]);
            }
        }
        assert_eq!(reader.partial.capacity(), 0);
    }

    #[test]
    #[should_panic(expected = "a frame has a payload")]
    fn an_empty_frame_is_a_mistake_of_the_writer() {
        write_frame(&mut BytesMut::new(), &[b""]);
    }
}
