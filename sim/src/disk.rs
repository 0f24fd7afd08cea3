//! The disk of one node: atomic batches that become durable in the order of their ids.
//!
//! A batch that was handed over is durable after the write latency, and its node learns it then.
//! A crash loses the batches that are not durable. With a chance the oldest of them were durable
//! already and only their completion was lost, as on a real disk. No batch is torn and none overtakes
//! another: the store's contract promises that, and a store without it is a broken store.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use x0x_core::node::{Batch, Load, Record, Restored, StoreError, Table, WriteId};
use x0x_core::support::Rng;

use crate::random;
use crate::units::{milliseconds, probability};

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskProfile {
    /// How long it takes until a batch is durable.
    #[serde(rename = "write_latency_ms", with = "milliseconds")]
    pub write_latency: Duration,
    /// How much longer it can take.
    #[serde(rename = "write_jitter_ms", with = "milliseconds")]
    pub write_jitter: Duration,
    /// How long a read takes.
    #[serde(rename = "read_latency_ms", with = "milliseconds")]
    pub read_latency: Duration,
    /// The probability that a batch that was not reported is durable after a crash, for the
    /// oldest first.
    #[serde(with = "probability")]
    pub survive: f64,
    /// How many more batches succeed before every write fails; `None` means that all do.
    pub writes_left: Option<u64>,
}

impl Default for DiskProfile {
    fn default() -> Self {
        Self {
            write_latency: Duration::from_millis(2),
            write_jitter: Duration::ZERO,
            read_latency: Duration::from_micros(100),
            survive: 0.0,
            writes_left: None,
        }
    }
}

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    profile: DiskProfile,
    records: BTreeMap<(Table, Bytes), Bytes>,
    pending: VecDeque<Batch>,
    /// The last batch of this run of the node.
    last: Option<WriteId>,
    /// When the last pending batch is durable.
    busy_until: Duration,
    rng: Rng,
}

impl Disk {
    /// Makes an empty disk.
    pub fn new(profile: DiskProfile, rng: Rng) -> Self {
        Self {
            rng,
            profile,
            records: BTreeMap::new(),
            pending: VecDeque::new(),
            last: None,
            busy_until: Duration::ZERO,
        }
    }

    /// Returns how the disk behaves.
    pub fn profile(&self) -> &DiskProfile {
        &self.profile
    }

    /// Changes how the disk behaves. Batches that are under way keep their time.
    pub fn set_profile(&mut self, profile: DiskProfile) {
        self.profile = profile;
    }

    /// Takes a batch and returns when it will be durable: call [`Disk::complete`] then. `None`
    /// if its id does not follow the ids before it, which is the node's mistake.
    pub fn submit(&mut self, now: Duration, batch: Batch) -> Option<Duration> {
        if self.last.is_some_and(|last| batch.id <= last) {
            return None;
        }
        self.last = Some(batch.id);
        let latency = self.profile.write_latency;
        let latency = latency + random::up_to(&mut self.rng, self.profile.write_jitter);
        self.busy_until = self.busy_until.max(now + latency);
        self.pending.push_back(batch);
        Some(self.busy_until)
    }

    /// Makes the oldest pending batch durable, or fails to, and returns what to report.
    pub fn complete(&mut self) -> Option<(WriteId, Result<(), StoreError>)> {
        let batch = self.pending.pop_front()?;
        let id = batch.id;
        if let Some(left) = &mut self.profile.writes_left {
            if *left == 0 {
                return Some((id, Err(StoreError::Full)));
            }
            *left -= 1;
        }
        self.apply(batch);
        Some((id, Ok(())))
    }

    /// Loses what is not durable. The next run of the node counts its batches from the start.
    pub fn crash(&mut self, rng: &mut Rng) {
        while self.profile.writes_left.is_none() && random::chance(rng, self.profile.survive) {
            let Some(batch) = self.pending.pop_front() else { break };
            self.apply(batch);
        }
        self.pending.clear();
        self.last = None;
        self.busy_until = Duration::ZERO;
    }

    /// Returns how long a read takes and what it finds: a range is cut at the end of the value.
    pub fn load(&self, load: &Load) -> (Duration, Result<Bytes, StoreError>) {
        let value = self.records.get(&(load.table, load.key.clone()));
        let result = value.ok_or(StoreError::Missing).map(|value| {
            let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(value.len());
            let end = cut(load.range.end);
            value.slice(cut(load.range.start).min(end)..end)
        });
        (self.profile.read_latency, result)
    }

    /// Returns every durable record.
    pub fn restored(&self) -> Restored {
        let records = self.records.iter().map(|((table, key), value)| Record {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        });
        Restored { records: records.collect() }
    }

    fn apply(&mut self, batch: Batch) {
        for record in batch.puts {
            self.records.insert((record.table, record.key), record.value);
        }
        for key in batch.deletes {
            self.records.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use x0x_core::link;

    use super::*;

    fn batch(id: u64, puts: &[(&'static str, &'static str)], deletes: &[&'static str]) -> Batch {
        let puts = puts.iter().map(|(key, value)| Record {
            table: Table::Link(link::Table::Peers),
            key: Bytes::from_static(key.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
        });
        let deletes = deletes
            .iter()
            .map(|key| (Table::Link(link::Table::Peers), Bytes::from_static(key.as_bytes())));
        Batch { id: WriteId(id), puts: puts.collect(), deletes: deletes.collect() }
    }

    fn keys(disk: &Disk) -> Vec<Bytes> {
        disk.restored().records.into_iter().map(|record| record.key).collect()
    }

    #[test]
    fn batches_become_durable_in_order_and_as_a_whole() {
        let mut disk = Disk::new(DiskProfile::default(), random::from_number(1));
        let ms = Duration::from_millis;
        assert_eq!(disk.submit(ms(0), batch(1, &[("a", "1"), ("b", "2")], &[])), Some(ms(2)));
        assert_eq!(disk.submit(ms(1), batch(2, &[("c", "3")], &["a"])), Some(ms(3)));
        assert_eq!(disk.submit(ms(1), batch(2, &[], &[])), None);
        assert!(keys(&disk).is_empty());
        assert_eq!(disk.complete(), Some((WriteId(1), Ok(()))));
        assert_eq!(keys(&disk), ["a", "b"]);
        assert_eq!(disk.complete(), Some((WriteId(2), Ok(()))));
        assert_eq!(keys(&disk), ["b", "c"]);
        assert_eq!(disk.complete(), None);
    }

    #[test]
    fn a_crash_loses_exactly_what_is_not_durable() {
        let mut rng = random::from_number(1);
        for (survive, expected) in [(0.0, vec!["a"]), (1.0, vec!["a", "b", "c"])] {
            let mut disk = Disk::new(
                DiskProfile { survive, ..DiskProfile::default() },
                random::from_number(1),
            );
            for (id, key) in [(1, "a"), (2, "b"), (3, "c")] {
                assert!(disk.submit(Duration::ZERO, batch(id, &[(key, "")], &[])).is_some());
            }
            disk.complete();
            disk.crash(&mut rng);
            assert_eq!(keys(&disk), expected, "survive {survive}");
            assert!(disk.submit(Duration::ZERO, batch(1, &[], &[])).is_some());
        }
    }

    #[test]
    fn a_full_disk_fails_every_later_write() {
        let profile = DiskProfile { writes_left: Some(1), ..DiskProfile::default() };
        let mut disk = Disk::new(profile, random::from_number(1));
        for id in 1..=3 {
            disk.submit(Duration::ZERO, batch(id, &[("a", "")], &[]));
        }
        let results: Vec<_> = std::iter::from_fn(|| disk.complete()).map(|(_, r)| r).collect();
        assert_eq!(results, [Ok(()), Err(StoreError::Full), Err(StoreError::Full)]);
    }

    #[test]
    fn a_slow_disk_keeps_the_order_of_its_batches() {
        let jitter = Duration::from_millis(100);
        let profile = DiskProfile { write_jitter: jitter, ..DiskProfile::default() };
        let mut disk = Disk::new(profile, random::from_number(1));
        let times = (1..50).map(|id| disk.submit(Duration::from_millis(id), batch(id, &[], &[])));
        let times: Vec<_> = times.map(Option::unwrap).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert!(times[0] > Duration::from_millis(4), "{times:?}");
    }

    #[test]
    fn a_read_is_cut_to_the_value() {
        let mut disk = Disk::new(DiskProfile::default(), random::from_number(1));
        disk.submit(Duration::ZERO, batch(1, &[("a", "hello")], &[]));
        disk.complete();
        let read = |key: &'static str, range| {
            let key = Bytes::from_static(key.as_bytes());
            disk.load(&Load {
                id: x0x_core::node::LoadId(1),
                table: Table::Link(link::Table::Peers),
                key,
                range,
            })
            .1
        };
        assert_eq!(read("a", 1..3), Ok(Bytes::from_static(b"el")));
        assert_eq!(read("a", 3..100), Ok(Bytes::from_static(b"lo")));
        assert_eq!(read("a", 9..100), Ok(Bytes::new()));
        assert_eq!(read("b", 0..1), Err(StoreError::Missing));
    }
}
