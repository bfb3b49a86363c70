//! The demultiplexer: bytes in, tracks and units out.

use super::dispatcher::Dispatcher;
use super::event::{Counters, Event};
use super::framer::{Framer, RawPacket};
use super::pid_table::PidReport;
use super::programs::Program;
use super::settings::Settings;
use super::store::UnitStore;

/// Reads one program of a transport stream.
///
/// In/Out: bytes in any pieces; [`Self::feed`] copies each payload once, into the store. Whoever
/// has packets already gives them to [`Self::push`] and takes what they say from [`Self::poll`].
/// `None` of either means that no unit is held: until then the units that wait are the store's.
///
/// Errors: none. Whatever is wrong is counted, and costs the unit that it is in.
///
/// Limits: those of [`super::settings`]; what one packet says waits, and no more.
#[derive(Debug)]
pub struct Demuxer<U> {
    framer: Framer,
    dispatcher: Dispatcher<U>,
}

impl<U> Demuxer<U> {
    /// A demultiplexer that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { framer: Framer::default(), dispatcher: Dispatcher::new(settings) }
    }

    /// Takes bytes until they say something. Without an event all were taken.
    pub fn feed<S: UnitStore<Unit = U>>(
        &mut self,
        input: &mut &[u8],
        store: &mut S,
    ) -> Option<Event<U>> {
        loop {
            if let Some(event) = self.dispatcher.events.pop_front() {
                return Some(event);
            }
            let packet = self.framer.next(input)?;
            self.dispatcher.push(packet, store);
        }
    }

    /// Takes one packet that was found before.
    pub fn push<S: UnitStore<Unit = U>>(&mut self, packet: &RawPacket, store: &mut S) {
        self.dispatcher.push(packet, store);
    }

    /// What waits.
    pub fn poll(&mut self) -> Option<Event<U>> {
        self.dispatcher.events.pop_front()
    }

    /// The stream is over: what is whole waits for [`Self::poll`], and the store has nothing open.
    pub fn finish<S: UnitStore<Unit = U>>(&mut self, store: &mut S) {
        while let Some(packet) = self.framer.rest() {
            self.dispatcher.push(packet, store);
        }
        self.dispatcher.end(store);
    }

    /// What was found so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let sync = self.framer.counters();
        let (sync_losses, bytes_skipped) = (sync.losses, sync.skipped);
        Counters { sync_losses, bytes_skipped, ..self.dispatcher.counters }
    }

    /// The programs that the stream has.
    #[must_use]
    pub fn programs(&self) -> &[Program] {
        self.dispatcher.programs.list()
    }

    /// `transport_stream_id`, as the newest association has it.
    #[must_use]
    pub const fn transport_stream(&self) -> u16 {
        self.dispatcher.programs.transport_stream()
    }

    /// The program that is read.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        self.dispatcher.program()
    }

    /// Another number whenever the tables said something new of [`Self::programs`].
    #[must_use]
    pub const fn tables_version(&self) -> u32 {
        self.dispatcher.tables_version
    }

    /// Bytes of its tables and of what waits in it, but for the units, which the store has.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.framer.buffer_bytes() + self.dispatcher.buffer_bytes()
    }

    /// The PIDs that were seen.
    pub fn pids(&self) -> impl Iterator<Item = PidReport> {
        self.dispatcher.pids.reports()
    }
}
