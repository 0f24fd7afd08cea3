//! What waits to be sent to one peer.
//!
//! Frames go out at once while the peer's window is open; the last of them may exceed it. Other frames
//! wait, control frames and items in a queue of their own. If the items exceed their limit, the author
//! with the most bytes loses its newest item. The queue remembers the ids of such *displaced* items, so
//! that they can be announced when the window opens.
//!
//! # Limits
//!
//! [`CONTROL_BYTES_MAX`], [`QUEUE_BYTES_MAX`] and [`QUEUE_ITEMS_MAX`]. At most [`QUEUE_ITEMS_MAX`]
//! displaced items are remembered.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::overlay::{Item, ItemId, TopicId};

/// The most bytes of items that wait for one peer, with [`WAITING_COST`] for each.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;

/// The most items that wait for one peer.
pub const QUEUE_ITEMS_MAX: usize = 8192;

/// The most bytes of control frames that wait for one peer, with [`FRAME_COST`] for each. Further
/// control frames are dropped.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;

/// The memory that a waiting control frame takes beside its bytes.
pub const FRAME_COST: usize = 128;

/// The memory that a waiting item takes beside its bytes.
pub const WAITING_COST: usize = 256;

/// The memory that the id of a displaced item takes.
const DISPLACED_COST: usize = 48;

/// An item that waits.
#[derive(Debug)]
pub(in crate::overlay) struct Waiting {
    pub(in crate::overlay) topic: TopicId,
    pub(in crate::overlay) header: Bytes,
    pub(in crate::overlay) item: Item,
}

impl Waiting {
    fn cost(&self) -> usize {
        self.item.bytes.len() + WAITING_COST
    }
}

/// Memory that queues take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::overlay) struct QueuedBytes {
    pub(in crate::overlay) control: usize,
    pub(in crate::overlay) items: usize,
}

/// The send queue of one peer.
#[derive(Debug)]
pub(in crate::overlay) struct SendQueue {
    /// The bytes that may be sent at once.
    window: usize,
    control: VecDeque<Bytes>,
    control_bytes: usize,
    /// Whether a negative [`NeighborReply`](crate::overlay::frames::Message::NeighborReply) waits. One
    /// is enough for a peer that does not read.
    has_refusal: bool,
    items: VecDeque<Waiting>,
    item_bytes: usize,
    /// The bytes that wait of each author.
    by_source: BTreeMap<u64, usize>,
    displaced: Vec<(TopicId, ItemId)>,
    /// Whether everything that waited was dropped once.
    was_dropped: bool,
}

impl SendQueue {
    pub(in crate::overlay) fn new(window: usize) -> Self {
        Self {
            window,
            control: VecDeque::new(),
            control_bytes: 0,
            has_refusal: false,
            items: VecDeque::new(),
            item_bytes: 0,
            by_source: BTreeMap::new(),
            displaced: Vec::new(),
            was_dropped: false,
        }
    }

    /// Returns how many bytes of items wait.
    pub(in crate::overlay) fn backlog(&self) -> usize {
        self.item_bytes - self.items.len() * WAITING_COST
    }

    /// Returns the memory that the queue takes.
    pub(in crate::overlay) fn held(&self) -> QueuedBytes {
        let items = self.item_bytes + self.displaced.len() * DISPLACED_COST;
        QueuedBytes { control: self.control_bytes, items }
    }

    /// Returns whether the window is open.
    pub(in crate::overlay) fn is_open(&self) -> bool {
        self.window > 0
    }

    /// Takes bytes from the window. Returns whether it was open.
    pub(in crate::overlay) fn take_window(&mut self, bytes: usize) -> bool {
        let is_open = self.is_open();
        self.window = self.window.saturating_sub(bytes);
        is_open
    }

    /// Takes the bytes of an item from the window, unless the window is closed or other items wait.
    /// Returns whether the item may be sent.
    pub(in crate::overlay) fn take_window_for_item(&mut self, bytes: usize) -> bool {
        self.items.is_empty() && self.take_window(bytes)
    }

    /// Sets the window.
    pub(in crate::overlay) fn set_window(&mut self, window: usize) {
        self.window = window;
        self.has_refusal &= window == 0;
    }

    /// Adds a control frame. Returns false if there is no room for it.
    pub(in crate::overlay) fn push_control(&mut self, header: Bytes) -> bool {
        let cost = header.len() + FRAME_COST;
        let has_room = self.control_bytes + cost <= CONTROL_BYTES_MAX;
        if has_room {
            self.control_bytes += cost;
            self.control.push_back(header);
        }
        has_room
    }

    /// Notes that a refusal waits. Returns whether one did before.
    pub(in crate::overlay) fn note_refusal(&mut self) -> bool {
        std::mem::replace(&mut self.has_refusal, true)
    }

    /// Adds an item. Returns how many items were displaced.
    pub(in crate::overlay) fn push_item(&mut self, waiting: Waiting) -> u64 {
        let size = waiting.cost();
        self.item_bytes += size;
        *self.by_source.entry(waiting.item.source).or_default() += size;
        self.items.push_back(waiting);
        let mut displaced = 0;
        while self.item_bytes > QUEUE_BYTES_MAX || self.items.len() > QUEUE_ITEMS_MAX {
            let heaviest = self.by_source.iter().max_by_key(|(_, bytes)| **bytes);
            let source = heaviest.map(|(&source, _)| source);
            // Its newest item, so that the older ones stay in order.
            let index = self.items.iter().rposition(|w| Some(w.item.source) == source);
            let Some(dropped) = index.and_then(|index| self.remove_item(index)) else { break };
            if self.displaced.len() < QUEUE_ITEMS_MAX {
                self.displaced.push((dropped.topic, dropped.item.stamp.id));
            }
            displaced += 1;
        }
        displaced
    }

    /// Takes the next frame that waits if the window is open: a control frame, or else an item with its
    /// header.
    pub(in crate::overlay) fn pop(&mut self) -> Option<(Bytes, Option<Item>)> {
        if !self.is_open() {
            return None;
        }
        let (header, item) = if let Some(header) = self.pop_control() {
            (header, None)
        } else {
            let waiting = self.remove_item(0)?;
            (waiting.header, Some(waiting.item))
        };
        let size = header.len() + item.as_ref().map_or(0, |item| item.bytes.len());
        self.window = self.window.saturating_sub(size);
        Some((header, item))
    }

    /// Takes the ids of displaced items, if the window is open.
    pub(in crate::overlay) fn take_displaced(&mut self) -> Vec<(TopicId, ItemId)> {
        if self.is_open() { std::mem::take(&mut self.displaced) } else { Vec::new() }
    }

    /// Drops everything that waits. Returns the numbers of control frames and of items.
    pub(in crate::overlay) fn clear(&mut self) -> (u64, u64) {
        let (control, items) = (std::mem::take(&mut self.control), std::mem::take(&mut self.items));
        (self.control_bytes, self.item_bytes) = (0, 0);
        self.by_source.clear();
        self.has_refusal = false;
        self.displaced = Vec::new();
        let count = |length| u64::try_from(length).unwrap_or(u64::MAX);
        (count(control.len()), count(items.len()))
    }

    /// Notes that everything that waited was dropped. Returns whether that happened before.
    pub(in crate::overlay) fn note_dropped(&mut self) -> bool {
        std::mem::replace(&mut self.was_dropped, true)
    }

    fn pop_control(&mut self) -> Option<Bytes> {
        let header = self.control.pop_front()?;
        self.control_bytes -= header.len() + FRAME_COST;
        if self.control.is_empty() {
            // Frees the memory that a slow peer made the queue take.
            self.control = VecDeque::new();
        }
        Some(header)
    }

    fn remove_item(&mut self, index: usize) -> Option<Waiting> {
        let waiting = self.items.remove(index)?;
        let size = waiting.cost();
        self.item_bytes -= size;
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        if let Some(bytes) = self.by_source.get_mut(&waiting.item.source) {
            *bytes -= size;
            if *bytes == 0 {
                self.by_source.remove(&waiting.item.source);
            }
        }
        Some(waiting)
    }
}
