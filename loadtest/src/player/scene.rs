//! What all players of a thread share: they borrow it in turn.

use super::Tally;
use super::loss::Loss;
use super::routes::{Routes, dial};
use crate::connection::Connection;
use crate::mpegts::Tr101290;
use crate::socket::Poll;
use crate::stream_url::StreamUrl;

pub(super) struct Scene {
    pub(super) poll: Poll,
    pub(super) buffer: Vec<u8>,
    pub(super) routes: Routes,
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

    /// Connects the player whose turn it is once more, where `url` leads.
    pub(super) fn connect_to(&mut self, url: &StreamUrl, token: u64) -> Result<Connection, Loss> {
        let route = self.routes.to(self.part, url)?;
        let connection = dial(route, token, &self.poll)?;
        self.tally().reconnects += 1;
        Ok(connection)
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
