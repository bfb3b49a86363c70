//! Order: what is asked of the store, and its bounds.

use tokio::sync::oneshot;

/// Writes of one commit at most.
pub const WRITES_MAX: usize = 32_768;
/// Bytes of a key at most.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the keys and values of one commit at most.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;

/// One table of the store: the rooms share the file and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Desired streams, by name.
    Streams,
    /// Templates, by code.
    Templates,
    /// Hooks that the API made, by id.
    Hooks,
    /// Events that wait for their delivery, by hook and time.
    Outbox,
    /// Events that no hook took.
    DeadLetters,
    /// Streams that the coordinator's application believes to be open.
    Announced,
    /// Desired tenants, as JSON by name.
    Tenants,
    /// What was used, by hour, tenant, stream and protocol.
    Usage,
    /// What was used by streams and by tenants, by day and by month.
    Totals,
    /// What the rooms remember of themselves.
    Meta,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 10] = [
        Self::Streams,
        Self::Templates,
        Self::Hooks,
        Self::Outbox,
        Self::DeadLetters,
        Self::Announced,
        Self::Tenants,
        Self::Usage,
        Self::Totals,
        Self::Meta,
    ];

    /// Its name in the file, which never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Templates => "templates",
            Self::Hooks => "hooks",
            Self::Outbox => "outbox",
            Self::DeadLetters => "dead_letters",
            Self::Announced => "announced",
            Self::Tenants => "tenants",
            Self::Usage => "usage",
            Self::Totals => "totals",
            Self::Meta => "meta",
        }
    }
}

/// One row to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Under which key.
    pub key: Vec<u8>,
    /// What; `None` deletes the row.
    pub value: Option<Vec<u8>>,
}

/// Rows, ascending by key.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl Write {
    pub(super) const fn bytes(&self) -> usize {
        let value = match &self.value {
            Some(value) => value.len(),
            None => 0,
        };
        self.key.len() + value
    }
}

/// Values may hold secrets, so that only their size is shown.
impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.escape_ascii();
        let bytes = self.value.as_ref().map(Vec::len);
        write!(f, "{}[{key}] = {bytes:?} bytes", self.table.name())
    }
}

/// The bytes of a commit.
///
/// Errors: it is beyond a limit.
pub(super) fn weigh(writes: &[Write]) -> Result<usize, StoreError> {
    let fits = |write: &Write| {
        let value = write.value.as_ref().map_or(0, Vec::len);
        write.key.len() <= KEY_BYTES_MAX && value <= VALUE_BYTES_MAX
    };
    let bytes = writes.iter().map(Write::bytes).sum();
    let legal = writes.len() <= WRITES_MAX && bytes <= COMMIT_BYTES_MAX;
    if legal && writes.iter().all(fits) { Ok(bytes) } else { Err(StoreError::TooLarge) }
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much waits.
    #[error("the store is busy; try again later")]
    Busy,
    /// A key, a value or a commit is beyond its limit.
    #[error("the change is larger than the store takes at once; make it smaller")]
    TooLarge,
    /// The disk failed: nothing is kept or read until it works again, which is tried by itself.
    #[error("the store failed: {0}; mend the disk of data.dir, it is tried again by itself")]
    Failed(String),
}

/// One order on its way to the thread.
pub(super) enum Order {
    Commit {
        writes: Vec<Write>,
        bytes: usize,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Get {
        table: Table,
        key: Vec<u8>,
        reply: oneshot::Sender<Result<Option<Vec<u8>>, StoreError>>,
    },
    Scan {
        table: Table,
        from: Vec<u8>,
        limit: usize,
        reply: oneshot::Sender<Result<Rows, StoreError>>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: usize, value: usize) -> Write {
        Write { table: Table::Meta, key: vec![0; key], value: Some(vec![0; value]) }
    }

    #[test]
    fn every_limit_of_a_commit_holds() {
        assert_eq!(weigh(&[write(3, 4), write(KEY_BYTES_MAX, VALUE_BYTES_MAX)]).unwrap(), {
            7 + KEY_BYTES_MAX + VALUE_BYTES_MAX
        });
        assert!(weigh(&vec![write(1, 1); WRITES_MAX]).is_ok());
        for over in [
            vec![write(KEY_BYTES_MAX + 1, 0)],
            vec![write(0, VALUE_BYTES_MAX + 1)],
            vec![write(0, VALUE_BYTES_MAX); COMMIT_BYTES_MAX / VALUE_BYTES_MAX + 1],
            vec![write(1, 1); WRITES_MAX + 1],
        ] {
            assert_eq!(weigh(&over), Err(StoreError::TooLarge));
        }
    }

    #[test]
    fn a_value_is_never_printed() {
        let write =
            Write { table: Table::Streams, key: b"a/b".to_vec(), value: Some(b"hunter2".to_vec()) };
        assert_eq!(format!("{write:?}"), "streams[a/b] = Some(7) bytes");
    }
}
