//! A map whose entries keep a stable index, and that remembers the key that was found last.
//!
//! A burst of messages goes to one peer: the remembered key makes the look-up of all but the
//! first a comparison, and indexes let entries name one another without keys.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

/// A map from keys to entries with stable indexes.
#[derive(Debug)]
pub(super) struct Slots<K, V> {
    indexes: BTreeMap<K, usize>,
    /// The entries. A free slot holds `None` and is listed in `free`.
    slots: Vec<Option<V>>,
    free: Vec<usize>,
    /// The key that was found last.
    last: Option<(K, usize)>,
}

impl<K: Ord + Copy, V> Slots<K, V> {
    /// Makes an empty table.
    pub(super) fn new() -> Self {
        Self { indexes: BTreeMap::new(), slots: Vec::new(), free: Vec::new(), last: None }
    }

    /// Adds an entry under a key that the table does not have; returns its index.
    pub(super) fn insert(&mut self, key: K, value: V) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[index] = Some(value);
        let before = self.indexes.insert(key, index);
        assert!(before.is_none(), "a key has one entry");
        index
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: &K) -> Option<(usize, V)> {
        let index = self.indexes.remove(key)?;
        self.last = None;
        self.free.push(index);
        self.slots[index].take().map(|value| (index, value))
    }

    /// Finds an entry and remembers it.
    pub(super) fn find_mut(&mut self, key: &K) -> Option<usize> {
        let index = self.find(key)?;
        self.last = Some((*key, index));
        Some(index)
    }

    /// Finds an entry.
    pub(super) fn find(&self, key: &K) -> Option<usize> {
        match self.last {
            Some((last, index)) if last == *key => Some(index),
            _ => self.indexes.get(key).copied(),
        }
    }

    /// Returns the entry at an index, if there is one.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut V> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// Returns how many entries there are.
    pub(super) fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Returns the entries in the order of their indexes.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.iter().flatten()
    }

    /// Returns the entries in the order of their indexes.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().flatten()
    }
}

impl<K, V> Index<usize> for Slots<K, V> {
    type Output = V;

    fn index(&self, index: usize) -> &V {
        self.slots[index].as_ref().expect("an index lives as long as its entry")
    }
}

impl<K, V> IndexMut<usize> for Slots<K, V> {
    fn index_mut(&mut self, index: usize) -> &mut V {
        self.slots[index].as_mut().expect("an index lives as long as its entry")
    }
}
