//! What a place in a stream that is sent on goes on from.
//!
//! Shape: 4 bits for the counter of the next packet of each of nine PIDs (association, map, seven
//! streams), and one bit for each of the streams that tells whether there was a packet of it: 43
//! bits.
//! Limits: [`SPLICED_MAX`] streams. The counters of others tell a reader who goes on here that
//! something is missing, which is true.

/// Streams whose counters are remembered.
pub const SPLICED_MAX: usize = 7;

const STREAMS_AT: usize = 2;
const SEEN_SHIFT: usize = 4 * (STREAMS_AT + SPLICED_MAX);

/// Counters at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RelayCounters(u64);

impl RelayCounters {
    /// Bits of [`Self::to_bits`].
    pub const BITS: usize = SEEN_SHIFT + SPLICED_MAX;

    /// As a number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From [`Self::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// The counters of the next packets of the tables.
    pub(super) const fn tables(self) -> (u8, u8) {
        (self.nibble(0), self.nibble(1))
    }

    /// The counter of the next packet of a stream, if there was one before.
    pub(super) fn stream(self, nth: usize) -> Option<u8> {
        (nth < SPLICED_MAX && self.0 >> (SEEN_SHIFT + nth) & 1 == 1)
            .then(|| self.nibble(STREAMS_AT + nth))
    }

    pub(super) const fn set_tables(&mut self, association: u8, map: u8) {
        self.set(0, association);
        self.set(1, map);
    }

    pub(super) const fn set_stream(&mut self, nth: usize, counter: u8) {
        if nth < SPLICED_MAX {
            self.set(STREAMS_AT + nth, counter);
            self.0 |= 1 << (SEEN_SHIFT + nth);
        }
    }

    const fn nibble(self, nth: usize) -> u8 {
        (self.0 >> (4 * nth) & 0xf) as u8
    }

    const fn set(&mut self, nth: usize, counter: u8) {
        self.0 = self.0 & !(0xf << (4 * nth)) | (counter as u64 & 0xf) << (4 * nth);
    }
}
