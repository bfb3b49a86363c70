//! Database: the tables in one redb file, without a thread.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::order::{Rows, StoreError, Table, Write};
use super::undo::{Undo, decode};
use crate::error::reason;

/// Bytes of pages that are kept in memory at most.
pub(crate) const CACHE_BYTES: usize = 4 << 20;

/// The open tables.
pub(super) struct Database(redb::Database);

/// Why tables could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// Another process holds the file.
    #[error("another process has it open")]
    Locked,
    /// The file is not a whole database.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The file was written by a version that this one cannot read.
    #[error("another version of Grandstand wrote it")]
    Version,
    /// The system could not read or write it.
    #[error("{0}")]
    Disk(String),
}

impl Database {
    /// Opens the tables of `backend`, which makes them when it is empty, and reads every page of
    /// them once: a file that somebody or some disk changed is found now and not in service.
    pub(super) fn open(backend: impl StorageBackend) -> Result<Self, OpenError> {
        let opened = guarded(|| {
            let database = redb::Builder::new()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(true)
                .create_with_backend(backend)?;
            let transaction = database.begin_write().map_err(redb::Error::from)?;
            for table in Table::ALL {
                transaction.open_table(definition(table)).map_err(redb::Error::from)?;
            }
            transaction.commit().map_err(redb::Error::from)?;
            Ok(database)
        });
        opened.map(Self).map_err(|error| match error {
            Failure::Panic => OpenError::Damaged("a page makes no sense".to_owned()),
            Failure::Error(redb::Error::DatabaseAlreadyOpen) => OpenError::Locked,
            Failure::Error(redb::Error::UpgradeRequired(_)) => OpenError::Version,
            // What makes no sense is told as an error of the system, too.
            Failure::Error(redb::Error::Io(error)) if error.kind() != ErrorKind::InvalidData => {
                OpenError::Disk(reason(&error))
            }
            Failure::Error(error) => OpenError::Damaged(error.to_string()),
        })
    }

    /// Makes all `groups` durable by one fsync: when this returns they are on the disk. What was
    /// there before goes to `undo`.
    ///
    /// Errors: they are there whole or not at all.
    pub(super) fn commit(&self, groups: &[Vec<Write>], undo: &mut Undo) -> Result<(), StoreError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            transaction.delete_table(SPILLED)?;
            for table in Table::ALL {
                let mut rows = groups.iter().flatten().filter(|row| row.table == table).peekable();
                if rows.peek().is_none() {
                    continue;
                }
                let mut open = transaction.open_table(definition(table))?;
                for Write { key, value, .. } in rows {
                    let before = match value {
                        Some(value) => open.insert(key.as_slice(), value.as_slice())?,
                        None => open.remove(key.as_slice())?,
                    };
                    let before = before.as_ref().map(redb::AccessGuard::value);
                    if let Some(row) = undo.keep(table, key, before) {
                        let mut spilled = transaction.open_table(SPILLED)?;
                        spilled.insert(row.key.as_slice(), row.value.as_slice())?;
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Takes a commit back that failed, if it is there.
    ///
    /// Errors: it is as it was before.
    pub(super) fn take_back(&self, undo: &Undo) -> Result<(), StoreError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let write = |table, key: &[u8], value: Option<&[u8]>| {
                let mut open = transaction.open_table(definition(table))?;
                match value {
                    Some(value) => drop(open.insert(key, value)?),
                    None => drop(open.remove(key)?),
                }
                Ok::<_, redb::Error>(())
            };
            let keys = undo.spilled();
            let spilled = transaction.open_table(SPILLED)?;
            for row in spilled.range(keys.start.as_slice()..keys.end.as_slice())?.rev() {
                if let Some((table, key, value)) = decode(row?.1.value()) {
                    write(table, key, value)?;
                }
            }
            drop(spilled);
            transaction.delete_table(SPILLED)?;
            for Write { table, key, value } in undo.rows() {
                write(*table, key, value.as_deref())?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// Has the disk take a commit of so many bytes, and gives their room in the file free again: it
    /// is what the next commits use.
    ///
    /// Errors: it has no room for them, or does not work.
    pub(super) fn prove(&self, bytes: usize) -> Result<(), StoreError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let mut proof = transaction.open_table(PROOF)?;
            for row in 0..bytes.div_ceil(PROOF_ROW.len()) as u64 {
                proof.insert(row, PROOF_ROW.as_slice())?;
            }
            drop(proof);
            transaction.commit()?;
            let transaction = database.begin_write()?;
            transaction.delete_table(PROOF)?;
            Ok(transaction.commit()?)
        })
    }

    /// One row.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.run(|database| {
            let open = database.begin_read()?.open_table(definition(table))?;
            Ok(open.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Up to `limit` rows whose key is at least `from`.
    pub(super) fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Rows, StoreError> {
        self.run(|database| {
            let open = database.begin_read()?.open_table(definition(table))?;
            let rows = open.range(from..)?.take(limit).map(|row| {
                let (key, value) = row?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            });
            rows.collect::<Result<_, redb::Error>>()
        })
    }

    fn run<T>(
        &self,
        act: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        guarded(|| act(&self.0)).map_err(|failure| match failure {
            Failure::Panic => StoreError::Failed("a page makes no sense".to_owned()),
            Failure::Error(redb::Error::Io(error)) => StoreError::Failed(reason(&error)),
            Failure::Error(error) => StoreError::Failed(error.to_string()),
        })
    }
}

/// What rows were before the last commit, as far as memory had no room for them.
const SPILLED: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("undo");

/// What a disk that failed must take before it is believed to work.
const PROOF: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("proof");
/// One row of it: with what the library adds it fills sixteen pages, and not one more.
static PROOF_ROW: [u8; 65_000] = [0; 65_000];

/// The table in the file.
const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

enum Failure {
    Error(redb::Error),
    Panic,
}

/// A page that makes no sense may panic the library, which must not take the server down.
fn guarded<T>(act: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result.map_err(Failure::Error),
        Err(_) => Err(Failure::Panic),
    }
}
