//! The records of the node, in redb: one table for each of the core's, keys and values as they are.
//!
//! The file is `x0x.redb` in the data directory; the system's lock on it keeps a second daemon out.
//! The table `meta` holds the version of this layout.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition,
};
use x0x_core::node::{Batch, Load, Record, Restored, Store, StoreError, Table, slice};

use crate::files::{self, FileError};

/// The version of the layout.
const VERSION: &[u8] = &[1];

/// How much of the file is kept in memory, in bytes.
const CACHE_BYTES: usize = 1 << 20;

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened, or another user owns it or may write it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else has it.
    #[error("{0} is in use: another daemon runs on this directory; stop it with: x0x stop")]
    InUse(PathBuf),
    /// It is of a newer program.
    #[error("{0} was written by a newer version of x0xd: use that one")]
    Version(PathBuf),
    /// The disk is full.
    #[error("{0} cannot be opened: no space left on the disk; make room and start again")]
    Full(PathBuf),
    /// It cannot be read.
    #[error("{path} cannot be opened: {reason}; move it away to start with an empty one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Records in redb.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
}

fn table(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

impl RedbStore {
    /// Opens the store in a data directory, or makes it.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. The file is left as it is.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join("x0x.redb");
        let mut options = OpenOptions::new();
        let file = files::open(&path, options.read(true).write(true).create(true).truncate(false))?;
        let opened = FileBackend::new(file).and_then(|backend| {
            Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)
        });
        let cannot = |error: redb::Error| {
            if is_full(&error) {
                OpenError::Full(path.clone())
            } else {
                OpenError::Damaged { path: path.clone(), reason: error.to_string() }
            }
        };
        let database = opened.map_err(|error| {
            if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
                OpenError::InUse(path.clone())
            } else {
                cannot(error.into())
            }
        })?;
        match Self::of(database).map_err(cannot)? {
            Some(store) => Ok(store),
            None => Err(OpenError::Version(path)),
        }
    }

    /// Takes a database; none if its layout is of another version.
    fn of(database: Database) -> Result<Option<Self>, redb::Error> {
        let store = Self { database };
        let version = store.version()?;
        Ok((version == VERSION).then_some(store))
    }

    /// Reads the version of the layout; a new file gets the present one.
    fn version(&self) -> Result<Vec<u8>, redb::Error> {
        let transaction = self.database.begin_read()?;
        match transaction.open_table(META) {
            Ok(meta) => {
                if let Some(version) = meta.get(&b"version"[..])? {
                    return Ok(version.value().to_vec());
                }
            }
            Err(redb::TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
        }
        drop(transaction);
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(&b"version"[..], VERSION)?;
        transaction.commit()?;
        Ok(VERSION.to_vec())
    }

    fn read_all(&self) -> Result<Vec<Record>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut records = Vec::new();
        for name in Table::all() {
            let rows = match transaction.open_table(table(name)) {
                Ok(rows) => rows,
                Err(redb::TableError::TableDoesNotExist(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            for row in rows.iter()? {
                let (key, value) = row?;
                let key = Bytes::copy_from_slice(key.value());
                let value = Bytes::copy_from_slice(value.value());
                records.push(Record { table: name, key, value });
            }
        }
        Ok(records)
    }

    fn write(&self, batches: &[Batch]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for batch in batches {
            for put in &batch.puts {
                transaction.open_table(table(put.table))?.insert(&put.key[..], &put.value[..])?;
            }
            for (name, key) in &batch.deletes {
                transaction.open_table(table(*name))?.remove(&key[..])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self, load: &Load) -> Result<Option<Bytes>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let rows = match transaction.open_table(table(load.table)) {
            Ok(rows) => rows,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let value = rows.get(&load.key[..])?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }
}

impl Store for RedbStore {
    fn restore(&mut self) -> Result<Restored, StoreError> {
        self.read_all().map(|records| Restored { records }).map_err(failed)
    }

    fn apply(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        self.write(batches).map_err(failed)
    }

    fn load(&mut self, load: &Load) -> Result<Bytes, StoreError> {
        let value = self.read(load).map_err(failed)?.ok_or(StoreError::Missing)?;
        slice(&value, &load.range)
    }
}

fn failed(error: redb::Error) -> StoreError {
    if is_full(&error) { StoreError::Full } else { StoreError::Failed(error.to_string()) }
}

fn is_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull)
}

#[cfg(test)]
mod torn;

#[cfg(test)]
mod tests {
    use x0x_core::link;
    use x0x_core::node::{LoadId, WriteId};

    use super::*;

    fn directory(test: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("x0x-store-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        path
    }

    fn record(key: u8, value: &'static [u8]) -> Record {
        let key = Bytes::copy_from_slice(&[key; 32]);
        Record { table: Table::Link(link::Table::Peers), key, value: Bytes::from_static(value) }
    }

    #[test]
    fn what_was_applied_is_there_again_and_what_was_deleted_is_not() {
        let directory = directory("again");
        let mut store = RedbStore::open(&directory).expect("it opens");
        let puts = vec![record(1, b"one"), record(2, b"two")];
        let gone = puts[1].key.clone();
        let write = Batch { id: WriteId(1), puts, deletes: vec![] };
        let delete = Batch {
            id: WriteId(2),
            puts: vec![],
            deletes: vec![(Table::Link(link::Table::Peers), gone)],
        };
        store.apply(&[write, delete]).expect("it is written");
        assert!(matches!(RedbStore::open(&directory), Err(OpenError::InUse(_))));
        drop(store);

        let mut store = RedbStore::open(&directory).expect("it opens again");
        let kept = record(1, b"one");
        let restored = store.restore().expect("it is read");
        assert_eq!(restored.records, std::slice::from_ref(&kept));
        let mut load = Load { id: LoadId(1), table: kept.table, key: kept.key, range: 1..3 };
        assert_eq!(store.load(&load), Ok(Bytes::from_static(b"ne")));
        load.range = 1..4;
        assert!(matches!(store.load(&load), Err(StoreError::Failed(_))));
        load.key = Bytes::from_static(&[2; 32]);
        assert_eq!(store.load(&load), Err(StoreError::Missing));
        std::fs::remove_dir_all(&directory).expect("the directory is ours");
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let directory = directory("damaged");
        let path = directory.join("x0x.redb");
        std::fs::write(&path, [7; 8192]).expect("it can be written");
        let error = RedbStore::open(&directory).expect_err("it is damaged").to_string();
        assert!(error.contains("x0x.redb") && error.contains("move it away"), "{error}");
        assert_eq!(std::fs::read(&path).expect("it exists"), [7; 8192]);
        std::fs::remove_dir_all(&directory).expect("the directory is ours");
    }
}
