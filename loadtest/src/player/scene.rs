//! What all players of a thread share: they borrow it in turn.

use super::Tally;
use crate::mpegts::Tr101290;
use crate::socket::Poll;

pub(super) struct Scene {
    pub(super) poll: Poll,
    pub(super) buffer: Vec<u8>,
    /// One for each part.
    pub(super) tallies: Vec<Tally>,
    /// Whose turn it is.
    pub(super) part: usize,
}

impl Scene {
    /// What the player's part has counted.
    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.tallies[self.part]
    }

    /// Lets `act` use the buffer beside the rest.
    pub(super) fn with_buffer<T>(&mut self, act: impl FnOnce(&mut Self, &mut [u8]) -> T) -> T {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = act(self, &mut buffer);
        self.buffer = buffer;
        result
    }

    /// Gives a sampled player's transport stream to its judge, and counts what it finds.
    pub(super) fn judge(&mut self, judge: &mut Tr101290, bytes: &[u8]) {
        let before = judge.faults();
        judge.feed(bytes);
        let tally = self.tally();
        tally.transport_faults += judge.faults() - before;
        if tally.first_transport_fault.is_none() && judge.faults() > before {
            tally.first_transport_fault = judge.first_fault();
        }
    }
}
