//! The items of a world: who made them, and whether bytes that came are really one of them.

use bytes::Bytes;
use x0x_core::overlay::{Item, ItemId, Stamp};

use super::peer::mix;
use super::protocol::TopicNumber;

const MAGIC: [u8; 12] = *b"x0x model 01";
const HEADER_LEN: usize = MAGIC.len() + 4;

/// The number of an item, in the order in which the items were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u32);

#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    time: u64,
    origin: u32,
    topic: TopicNumber,
}

/// Every item that an honest node published. All nodes share the bytes.
#[derive(Debug, Default)]
pub struct Library {
    entries: Vec<Entry>,
}

impl Library {
    /// Makes an item of about this size, by a node, at a wall time in milliseconds.
    pub(crate) fn make(
        &mut self,
        origin: u32,
        topic: TopicNumber,
        time: u64,
        size: usize,
    ) -> Number {
        let number = u32::try_from(self.entries.len()).expect("fewer than 2³² items");
        let mut bytes = Vec::with_capacity(size.max(HEADER_LEN));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&number.to_le_bytes());
        let mut filler = mix(u64::from(number));
        while bytes.len() < size {
            filler = mix(filler);
            let left = size - bytes.len();
            bytes.extend_from_slice(&filler.to_le_bytes()[..left.min(8)]);
        }
        self.entries.push(Entry { bytes: bytes.into(), time, origin, topic });
        Number(number)
    }

    /// Returns which item the bytes are, if they are one to the last bit.
    pub fn identify(&self, bytes: &[u8]) -> Option<Number> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let number = u32::from_le_bytes(*rest.first_chunk()?);
        let entry = self.entries.get(number as usize)?;
        (entry.bytes == bytes).then_some(Number(number))
    }

    /// Returns an item as the overlay takes it.
    pub fn item(&self, number: Number) -> Item {
        let entry = self.entry(number);
        Item {
            stamp: Stamp { time: entry.time, id: id(number) },
            source: mix(u64::from(entry.origin)),
            bytes: entry.bytes.clone(),
        }
    }

    /// Returns the bytes of an item.
    pub fn bytes(&self, number: Number) -> &Bytes {
        &self.entry(number).bytes
    }

    /// Returns the topic of an item.
    pub fn topic(&self, number: Number) -> TopicNumber {
        self.entry(number).topic
    }

    /// Returns how many items there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&self, number: Number) -> &Entry {
        &self.entries[number.0 as usize]
    }
}

fn id(number: Number) -> ItemId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(u64::from(number.0)).to_le_bytes());
    id[8..12].copy_from_slice(&number.0.to_le_bytes());
    ItemId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_bytes_of_an_item_are_that_item() {
        let mut library = Library::default();
        let first = library.make(1, TopicNumber(0), 5, 0);
        let second = library.make(2, TopicNumber(0), 6, 100);
        assert_eq!(library.identify(library.bytes(first)), Some(first));
        let mut bytes = library.bytes(second).to_vec();
        assert_eq!((bytes.len(), library.identify(&bytes)), (100, Some(second)));
        bytes[99] ^= 1;
        assert_eq!(library.identify(&bytes), None);
        assert_eq!(library.identify(b"x0x model 01"), None);
    }
}
