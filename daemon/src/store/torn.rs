//! The store over a disk that loses its power.
//!
//! Of the writes that were not synced each sector survives or not, of its own accord, and the last write
//! may be torn anywhere. Whatever is left, the store opens, holds every batch that was reported as written,
//! and of the one that was being written all or nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use x0x_core::node::WriteId;
use x0x_core::support::Rng;

use super::*;

/// A disk writes this many bytes together or not at all, if it is not torn.
const SECTOR: usize = 512;

/// How often the power is lost.
const CRASHES: u64 = 400;

/// What was not synced yet.
#[derive(Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

#[derive(Debug, Default)]
struct Platter {
    /// What is there after a loss of power.
    durable: Vec<u8>,
    /// What a reader sees.
    seen: Vec<u8>,
    changes: Vec<Change>,
    /// How many writes and syncs succeed until the power is lost.
    left: Option<u64>,
}

impl Platter {
    /// Takes a write or a sync; fails without power.
    fn take(&mut self) -> Result<(), io::Error> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the power is lost")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Returns what is on the disk when the power comes back.
    fn lose_power(&mut self, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.durable);
        // Of eight parts so many survive: nothing, some, nearly all, or all, as when a process is killed.
        let survive = [0, 4, 7, 8][index(rng, 4)];
        let last = self.changes.len();
        for (number, change) in (1..).zip(self.changes.drain(..)) {
            match change {
                Change::Length(length) => {
                    if rng.below(8) < survive {
                        bytes.resize(length, 0);
                    }
                }
                Change::Bytes(offset, data) => {
                    let end = offset + data.len();
                    bytes.resize(bytes.len().max(end), 0);
                    let cut = if number == last { index(rng, data.len() + 1) } else { data.len() };
                    for (sector, part) in (0..).zip(data[..cut].chunks(SECTOR)) {
                        if rng.below(8) < survive {
                            let at = offset + sector * SECTOR;
                            bytes[at..at + part.len()].copy_from_slice(part);
                        }
                    }
                }
            }
        }
        bytes
    }
}

/// A disk that can lose its power.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn with(bytes: Vec<u8>) -> Self {
        let platter = Platter { durable: bytes.clone(), seen: bytes, ..Platter::default() };
        Self(Arc::new(Mutex::new(platter)))
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let offset = place(offset);
        let platter = self.lock();
        let bytes = platter.seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::other("beyond the end"))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let length = place(length);
        let mut platter = self.lock();
        platter.take()?;
        platter.seen.resize(length, 0);
        platter.changes.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut platter = self.lock();
        platter.take()?;
        platter.durable = platter.seen.clone();
        platter.changes.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let offset = place(offset);
        let mut platter = self.lock();
        platter.take()?;
        platter.seen[offset..offset + data.len()].copy_from_slice(data);
        platter.changes.push(Change::Bytes(offset, data.to_vec()));
        Ok(())
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("it fits into memory")
}

fn index(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}

fn open(disk: &Disk) -> Result<RedbStore, redb::Error> {
    let mut builder = Builder::new();
    let database = builder.set_cache_size(CACHE_BYTES).create_with_backend(disk.clone())?;
    Ok(RedbStore::of(database)?.expect("the layout is ours"))
}

type Rows = BTreeMap<(Table, Bytes), Bytes>;

fn rows(store: &mut RedbStore) -> Rows {
    let restored = store.restore().expect("it is read");
    restored.records.into_iter().map(|row| ((row.table, row.key), row.value)).collect()
}

/// Draws some batches, and does to the rows what they do.
fn batches(rng: &mut Rng, rows: &mut Rows) -> Vec<Batch> {
    let count = 1 + rng.below(3);
    let batch = |number| {
        let mut batch = Batch { id: WriteId(number), puts: Vec::new(), deletes: Vec::new() };
        for _ in 0..1 + rng.below(6) {
            let tables: Vec<Table> = Table::all().collect();
            let table = tables[index(rng, tables.len())];
            let key = Bytes::copy_from_slice(&[u8::try_from(rng.below(40)).unwrap_or(0); 32]);
            let value =
                Bytes::from(vec![u8::try_from(rng.below(256)).unwrap_or(0); index(rng, 9000)]);
            if rng.below(4) == 0 {
                // A batch has a key once.
                if batch.puts.iter().all(|put: &Record| (put.table, &put.key) != (table, &key)) {
                    rows.remove(&(table, key.clone()));
                    batch.deletes.push((table, key));
                }
            } else if !batch.deletes.contains(&(table, key.clone())) {
                rows.insert((table, key.clone()), value.clone());
                batch.puts.push(Record { table, key, value });
            }
        }
        batch
    };
    (0..count).map(batch).collect()
}

#[test]
fn a_store_keeps_what_it_reported_and_halves_nothing_when_the_power_is_lost() {
    let mut rng = Rng::from_seed([5; 32]);
    let (mut disk, mut kept) = (Disk::with(Vec::new()), Rows::new());
    let mut outcomes = BTreeMap::<&str, u64>::new();
    for crash in 0..CRASHES {
        disk.lock().left = Some(rng.below(120));
        let mut next = kept.clone();
        if let Ok(mut store) = open(&disk) {
            assert_eq!(rows(&mut store), kept, "crash {crash}");
            loop {
                let batches = batches(&mut rng, &mut next);
                if store.apply(&batches).is_err() {
                    break;
                }
                kept.clone_from(&next);
            }
        }
        // A database that is dropped writes no more: the power is off.
        disk.lock().left = Some(0);
        let bytes = disk.lock().lose_power(&mut rng);
        let found = rows(&mut open(&Disk::with(bytes.clone())).expect("what is left opens"));
        // The next loss may come while the file is repaired.
        disk = Disk::with(bytes);
        let what =
            if found == kept { "nothing of the last write" } else { "all of the last write" };
        assert!(found == kept || found == next, "crash {crash}: a part of the last write is there");
        *outcomes.entry(what).or_default() += 1;
        kept = found;
    }
    assert!(outcomes.len() == 2 && outcomes.values().all(|&count| count > 5), "{outcomes:?}");
}
