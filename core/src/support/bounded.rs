//! Maps that never grow beyond their named limit, and an account of who holds how much.

use std::collections::{BTreeMap, BTreeSet};

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

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove_oldest(&mut self) -> Option<(K, V)> {
        let (_, key) = self.by_age.pop_first()?;
        let (_, value) = self.entries.remove(&key)?;
        Some((key, value))
    }
}

/// A map with a fixed greatest size that keeps what was used more than once: entries that were used
/// once make room first, the oldest of them before the others (2Q).
///
/// An entry begins as used once, and [`Self::touch`] moves it to those used often. These have three
/// quarters of the places; beyond that, the one that was touched least recently is among those used
/// once again. So newcomers, however many, push out one another first.
#[derive(Clone, Debug)]
pub struct TieredMap<K, V> {
    entries: BTreeMap<K, (Rank, V)>,
    order: BTreeMap<Rank, K>,
    often: usize,
    clock: u64,
    limit: usize,
}

/// Whether an entry is used often, and when it was touched: the least goes first.
type Rank = (bool, u64);

impl<K: Ord + Clone, V> TieredMap<K, V> {
    /// Makes an empty map that holds at most `limit` entries.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub fn new(limit: usize) -> Self {
        assert!(limit > 0, "a map that can hold nothing is a mistake");
        let (entries, order) = (BTreeMap::new(), BTreeMap::new());
        Self { entries, order, often: 0, clock: 0, limit }
    }

    /// Sets an entry, as used once; returns what had to be forgotten for it.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.remove(&key);
        let evicted = if self.entries.len() >= self.limit { self.pop() } else { None };
        let rank = self.rank(false);
        self.order.insert(rank, key.clone());
        self.entries.insert(key, (rank, value));
        evicted
    }

    /// Marks an entry as used again.
    pub fn touch(&mut self, key: &K) {
        self.move_to(key, true);
        if self.often > self.limit - self.limit.div_ceil(4)
            && let Some(oldest) = self.order.range((true, 0)..).next().map(|(_, key)| key.clone())
        {
            self.move_to(&oldest, false);
        }
    }

    /// Returns an entry without marking it.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Returns an entry without marking it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Returns whether an entry was used more than once.
    pub fn is_used_often(&self, key: &K) -> bool {
        self.entries.get(key).is_some_and(|((is_often, _), _)| *is_often)
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (rank, value) = self.entries.remove(key)?;
        self.order.remove(&rank);
        self.often -= usize::from(rank.0);
        Some(value)
    }

    /// Returns the entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn move_to(&mut self, key: &K, is_often: bool) {
        let next = self.rank(is_often);
        let Some((rank, _)) = self.entries.get_mut(key) else { return };
        let before = std::mem::replace(rank, next);
        self.order.remove(&before);
        self.order.insert(next, key.clone());
        self.often = self.often - usize::from(before.0) + usize::from(is_often);
    }

    fn rank(&mut self, is_often: bool) -> Rank {
        self.clock += 1;
        (is_often, self.clock)
    }

    fn pop(&mut self) -> Option<(K, V)> {
        let key = self.order.first_key_value()?.1.clone();
        let value = self.remove(&key)?;
        Some((key, value))
    }
}

/// How much each of many holds, and who holds the most.
#[derive(Clone, Debug)]
pub struct Shares<K> {
    held: BTreeMap<K, usize>,
    by_size: BTreeSet<(usize, K)>,
    total: usize,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), by_size: BTreeSet::new(), total: 0 }
    }
}

impl<K: Ord + Clone> Shares<K> {
    /// Sets how much somebody holds.
    pub fn set(&mut self, holder: K, size: usize) {
        let before = self.held.get(&holder).copied().unwrap_or(0);
        if before == size {
            return;
        }
        self.total = self.total - before + size;
        if before > 0 {
            self.by_size.remove(&(before, holder.clone()));
        }
        if size == 0 {
            self.held.remove(&holder);
        } else {
            self.by_size.insert((size, holder.clone()));
            self.held.insert(holder, size);
        }
    }

    /// Lets somebody hold more.
    pub fn add(&mut self, holder: K, size: usize) {
        let before = self.of(&holder);
        self.set(holder, before.saturating_add(size));
    }

    /// Lets somebody hold less.
    pub fn sub(&mut self, holder: K, size: usize) {
        let before = self.of(&holder);
        self.set(holder, before.saturating_sub(size));
    }

    /// Returns how much somebody holds.
    pub fn of(&self, holder: &K) -> usize {
        self.held.get(holder).copied().unwrap_or(0)
    }

    /// Returns how much all hold together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns who holds the most.
    pub fn largest(&self) -> Option<&K> {
        self.by_size.last().map(|(_, holder)| holder)
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

    #[test]
    fn a_crowd_of_newcomers_pushes_out_one_another_and_not_what_is_used_often() {
        let mut map = TieredMap::new(8);
        for key in 0..3 {
            map.insert(key, ());
            map.touch(&key);
        }
        for key in 10..1000 {
            map.insert(key, ());
        }
        let keys: Vec<i32> = map.iter().map(|(&key, ())| key).collect();
        assert_eq!(keys, [0, 1, 2, 995, 996, 997, 998, 999]);
        assert!(map.is_used_often(&0) && !map.is_used_often(&999));
    }

    #[test]
    fn what_is_used_often_leaves_a_quarter_of_the_places_to_newcomers() {
        let mut map = TieredMap::new(8);
        for key in 0..8 {
            map.insert(key, key);
            map.touch(&key);
        }
        let often = |map: &TieredMap<i32, i32>| (0..8).filter(|key| map.is_used_often(key)).count();
        assert_eq!(often(&map), 6);
        map.touch(&0);
        assert_eq!((often(&map), map.is_used_often(&0), map.is_used_often(&2)), (6, true, false));
        // The one that was moved down first goes first.
        assert_eq!(map.insert(8, 8), Some((1, 1)));
        assert_eq!(map.insert(9, 9), Some((2, 2)));
        assert_eq!(map.insert(10, 10), Some((8, 8)));
        assert_eq!((map.len(), map.remove(&3), map.get(&3)), (8, Some(3), None));
        assert_eq!(often(&map), 5);
    }

    #[test]
    fn shares_know_their_sum_and_the_largest() {
        let mut shares = Shares::default();
        for (holder, size) in [('a', 5), ('b', 9), ('c', 7), ('b', 2), ('a', 0), ('d', 0)] {
            shares.set(holder, size);
        }
        assert_eq!((shares.total(), shares.largest()), (9, Some(&'c')));
        assert_eq!((shares.of(&'b'), shares.of(&'a')), (2, 0));
        shares.add('b', 6);
        assert_eq!((shares.total(), shares.largest()), (15, Some(&'b')));
        shares.sub('c', 7);
        shares.sub('b', 8);
        assert_eq!((shares.total(), shares.largest()), (0, None));
        assert!(shares.held.is_empty() && shares.by_size.is_empty());
    }
}
