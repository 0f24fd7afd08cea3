//! A map that never grows beyond its named limit.

use std::collections::BTreeMap;

/// A map with a fixed greatest size that forgets what was touched least recently.
///
/// Keys may be chosen by a peer: lookups cost O(log n) whatever the keys are.
#[derive(Clone, Debug)]
pub struct BoundedMap<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    by_age: BTreeMap<u64, K>,
    clock: u64,
    limit: usize,
}

impl<K: Ord + Clone, V> BoundedMap<K, V> {
    /// Makes an empty map that holds at most `limit` entries.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub fn new(limit: usize) -> Self {
        assert!(limit > 0, "a map that can hold nothing is a mistake");
        Self { entries: BTreeMap::new(), by_age: BTreeMap::new(), clock: 0, limit }
    }

    /// Sets an entry and marks it as used; returns what had to be forgotten for it.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.remove(&key);
        let evicted = if self.entries.len() >= self.limit { self.remove_oldest() } else { None };
        self.clock += 1;
        self.by_age.insert(self.clock, key.clone());
        self.entries.insert(key, (self.clock, value));
        evicted
    }

    /// Returns an entry and marks it as used.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (age, value) = self.entries.get_mut(key)?;
        self.by_age.remove(age);
        self.clock += 1;
        *age = self.clock;
        self.by_age.insert(self.clock, key.clone());
        Some(value)
    }

    /// Returns an entry without marking it.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (age, value) = self.entries.remove(key)?;
        self.by_age.remove(&age);
        Some(value)
    }

    /// Returns the entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// Returns the entries in the order of their keys, without marking them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, (_, value))| (key, value))
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove_oldest(&mut self) -> Option<(K, V)> {
        let (_, key) = self.by_age.pop_first()?;
        let (_, value) = self.entries.remove(&key)?;
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_forgets_the_least_recently_used_entry() {
        let mut map = BoundedMap::new(3);
        for key in 0..3 {
            assert_eq!(map.insert(key, key * 10), None);
        }
        map.get_mut(&0);
        assert_eq!(map.insert(3, 30), Some((1, 10)));
        assert_eq!(map.len(), 3);
        assert_eq!(map.iter().map(|(&key, _)| key).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn setting_an_entry_again_forgets_nothing() {
        let mut map = BoundedMap::new(2);
        map.insert('a', 1);
        map.insert('b', 2);
        assert_eq!(map.insert('a', 3), None);
        assert_eq!(map.insert('c', 4), Some(('b', 2)));
        assert_eq!(map.peek(&'a'), Some(&3));
    }
}
