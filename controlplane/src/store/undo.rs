//! Undo: what rows were before a commit, until it is known that the commit is on the disk.
//!
//! A commit whose fsync failed may be there or not. Whoever asked for it was told that it is not,
//! so it is taken back before anybody asks for the next one.
//!
//! Limits: [`UNDO_BYTES_MAX`]; a larger commit that fails is there whole or not at all, as it is
//! after a crash.

use super::order::{Table, Write};

/// Bytes of rows that are kept for a commit at most.
pub(crate) const UNDO_BYTES_MAX: usize = 4 << 20;

/// The rows of a commit as they were, in the order of its writes.
#[derive(Default)]
pub(super) struct Undo {
    rows: Vec<Write>,
    bytes: usize,
}

impl Undo {
    /// A row was this before it was written.
    pub(super) fn keep(&mut self, table: Table, key: &[u8], value: Option<Vec<u8>>) {
        // CONTROL: the key, a row at a time, on the thread of the store.
        let row = Write { table, key: key.to_vec(), value };
        self.bytes = self.bytes.saturating_add(row.bytes());
        if self.bytes <= UNDO_BYTES_MAX {
            self.rows.push(row);
        } else {
            self.rows = Vec::new();
        }
    }

    /// The writes that take the commit back: a row that was written twice was first what it was
    /// before the first time.
    pub(super) fn into_writes(mut self) -> Vec<Write> {
        self.rows.reverse();
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_state_of_a_row_is_written_last_and_the_bytes_are_bounded() {
        let mut undo = Undo::default();
        undo.keep(Table::Meta, b"a", Some(b"1".to_vec()));
        undo.keep(Table::Meta, b"a", Some(b"2".to_vec()));
        undo.keep(Table::Meta, b"b", None);
        let values: Vec<_> = undo.into_writes().into_iter().map(|row| row.value).collect();
        assert_eq!(values, [None, Some(b"2".to_vec()), Some(b"1".to_vec())]);
        let mut undo = Undo::default();
        undo.keep(Table::Meta, b"a", Some(vec![0; UNDO_BYTES_MAX]));
        undo.keep(Table::Meta, b"b", None);
        assert!(undo.into_writes().is_empty());
    }
}
