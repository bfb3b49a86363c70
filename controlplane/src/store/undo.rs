//! Undo: what rows were before a commit, until it is known that the commit is on the disk.
//!
//! A commit whose fsync failed may be there or not. Whoever asked for it was told that it is not,
//! so it is taken back before anybody asks for the next one.
//!
//! ```text
//!   rows as they were --the first bytes--> memory ------------------> taken back, if it failed
//!                     --the rest---------> a table, by the commit's own transaction --^
//! ```
//!
//! What the commit itself wrote down is there if the commit is, which is when it is needed.
//!
//! Limits: [`UNDO_BYTES_MAX`] of memory.

use super::order::{Table, Write};

/// Bytes of rows that are kept in memory for a commit at most.
pub(crate) const UNDO_BYTES_MAX: usize = 4 << 20;

/// The rows of a commit as they were, in the order of its writes.
#[derive(Debug)]
pub(super) struct Undo {
    /// By what the commit is known in the table: no other one's row is taken for one of its own.
    commit: [u8; 8],
    rows: Vec<Write>,
    bytes: usize,
    bytes_max: usize,
    spilled: u64,
}

/// A row of the table, by its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spilled {
    pub(super) key: [u8; 16],
    pub(super) value: Vec<u8>,
}

impl Undo {
    /// Of a commit, with so many bytes of memory.
    pub(super) fn within(bytes_max: usize) -> Self {
        let mut commit = [0; 8];
        // Without chance: what an earlier process wrote last could be taken for this commit's.
        let _ = getrandom::fill(&mut commit);
        Self { commit, rows: Vec::new(), bytes: 0, bytes_max, spilled: 0 }
    }

    /// A row was this before it was written. What memory has no room for is to be written down by
    /// the same transaction.
    pub(super) fn keep(
        &mut self,
        table: Table,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Option<Spilled> {
        let bytes = key.len() + value.map_or(0, <[u8]>::len);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= self.bytes_max {
            // CONTROL: the row, one at a time, on the thread of the store.
            self.rows.push(Write { table, key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
            return None;
        }
        self.spilled += 1;
        let place = self.place(self.spilled - 1);
        Some(Spilled { key: place, value: encode(table, key, value) })
    }

    /// True if there is nothing to take back.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.spilled == 0
    }

    /// The keys in the table of what memory had no room for: the first one, and the one after them.
    pub(super) fn spilled(&self) -> std::ops::Range<[u8; 16]> {
        self.place(0)..self.place(self.spilled)
    }

    /// The key in the table of the row with this number.
    fn place(&self, number: u64) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.commit);
        key[8..].copy_from_slice(&number.to_be_bytes());
        key
    }

    /// The rows in memory, the last one first: a row that was written twice was first what it was
    /// before the first time. All of them are older than those of the table.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Write> {
        self.rows.iter().rev()
    }
}

/// A row as one value: the place of its table, the length of its key, the key, and 1 and the value
/// if there was one.
fn encode(table: Table, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let place = Table::ALL.iter().position(|&other| other == table).unwrap_or_default();
    let mut row = Vec::with_capacity(6 + key.len() + value.map_or(0, <[u8]>::len));
    row.push(u8::try_from(place).unwrap_or_default());
    row.extend_from_slice(&u32::try_from(key.len()).unwrap_or_default().to_be_bytes());
    row.extend_from_slice(key);
    row.push(u8::from(value.is_some()));
    row.extend_from_slice(value.unwrap_or_default());
    row
}

/// A row as it was: its table, its key, and its value if it was there.
pub(super) type Before<'a> = (Table, &'a [u8], Option<&'a [u8]>);

/// What was encoded; `None` if it makes no sense.
pub(super) fn decode(row: &[u8]) -> Option<Before<'_>> {
    let (&place, rest) = row.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (&is_there, value) = rest.split_first()?;
    Some((*Table::ALL.get(usize::from(place))?, key, (is_there == 1).then_some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_state_of_a_row_is_written_last() {
        let mut undo = Undo::within(UNDO_BYTES_MAX);
        assert!(undo.is_empty());
        assert_eq!(undo.keep(Table::Meta, b"a", Some(b"1")), None);
        assert_eq!(undo.keep(Table::Meta, b"a", Some(b"2")), None);
        assert_eq!(undo.keep(Table::Meta, b"b", None), None);
        let values: Vec<_> = undo.rows().map(|row| row.value.clone()).collect();
        assert_eq!(values, [None, Some(b"2".to_vec()), Some(b"1".to_vec())]);
    }

    #[test]
    fn what_memory_has_no_room_for_is_written_down() {
        let mut undo = Undo::within(UNDO_BYTES_MAX);
        let large = vec![7; UNDO_BYTES_MAX];
        let first = undo.keep(Table::Hooks, b"a", Some(&large)).expect("there is no room");
        let second = undo.keep(Table::Meta, b"b", None).expect("the order is kept");
        assert_eq!(undo.rows().count(), 0);
        assert!(!undo.is_empty() && first.key < second.key);
        let keys = undo.spilled();
        assert!(keys.contains(&first.key) && keys.contains(&second.key));
        assert_eq!(decode(&first.value), Some((Table::Hooks, &b"a"[..], Some(&large[..]))));
        assert_eq!(decode(&second.value), Some((Table::Meta, &b"b"[..], None)));
        assert!(
            !Undo::within(UNDO_BYTES_MAX).spilled().contains(&first.key),
            "each commit has keys of its own"
        );
        for cut in 0..second.value.len() {
            assert_eq!(decode(&second.value[..cut]), None);
        }
    }
}
