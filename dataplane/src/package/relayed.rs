//! Packets of a publisher's own in a log, as they came.
//!
//! Spec: ITU-T H.222.0; the codec's part is in [`codecs::mpegts::relay`]. An entry is a run of
//! packets. Beside them the log has the tables, where the publisher has its own, and where another
//! source begins a packet for each PID that says so. What a player gets who begins at a join point
//! is its own: the preamble has the tables, the entry the counters.
//!
//! Errors: a run that finds no page is missing, and what follows says so.

use codecs::mpegts::demux::RawPacket;
use codecs::mpegts::relay::{Relay, RelayProgram, RelayTables};
use codecs::mpegts::{Continuity, PACKET_LEN};

use crate::error::Error;
use crate::log::{EntryMeta, LogWriter};
use crate::slab::{AuBytes, Pool};

/// Writes the log of one stream. Lives on: the home shard. Crosses by: with its stream.
#[derive(Debug, Default)]
pub struct RelayPackager {
    relay: Relay,
    /// Packets of the entry in hand.
    out: Vec<RawPacket>,
    /// Bytes of the run in hand.
    run: Vec<u8>,
}

impl RelayPackager {
    /// The packets are those of this program from here on; true if the tables are others.
    pub fn follow(&mut self, program: &RelayProgram) -> bool {
        self.relay.follow(program)
    }

    /// What comes now is of another source.
    pub fn renew(&mut self) {
        self.relay.renew();
    }

    /// Packets that were made here came in between, with tables in these versions.
    pub fn interrupt(&mut self, versions: (u8, u8)) {
        self.relay.interrupt(versions);
    }

    /// The versions of the tables that were told last.
    #[must_use]
    pub fn versions(&self) -> (u8, u8) {
        self.relay.versions()
    }

    /// The tables in force.
    #[must_use]
    pub const fn tables(&self) -> Option<&RelayTables> {
        self.relay.tables()
    }

    /// Appends the tables; true if there is an entry.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; the log ends with a whole entry then.
    pub fn tell_tables(
        &mut self,
        log: &mut LogWriter,
        pool: &Pool,
        meta: EntryMeta,
    ) -> Result<bool, Error> {
        self.out.clear();
        let continuity = self.continuity();
        self.relay.tell_tables(&mut self.out);
        self.append(log, pool, EntryMeta { continuity, ..meta })
    }

    /// Appends what says that packets follow which were made here, with these counters; true if
    /// there is an entry.
    ///
    /// # Errors
    /// Those of [`Self::tell_tables`].
    pub fn leave(
        &mut self,
        continuity: Continuity,
        log: &mut LogWriter,
        pool: &Pool,
        meta: EntryMeta,
    ) -> Result<bool, Error> {
        self.out.clear();
        self.relay.leave(continuity, &mut self.out);
        self.append(log, pool, EntryMeta { continuity, ..meta })
    }

    /// Appends a run; true if there is an entry.
    ///
    /// # Errors
    /// Those of [`Self::tell_tables`].
    pub fn run(
        &mut self,
        packets: &AuBytes,
        log: &mut LogWriter,
        pool: &Pool,
        meta: EntryMeta,
    ) -> Result<bool, Error> {
        self.out.clear();
        self.run.clear();
        // COPY(package): a run, which lies in two pages at times.
        pool.chunks(packets).for_each(|chunk| self.run.extend_from_slice(chunk));
        let continuity = self.continuity();
        let (packets, _) = self.run.as_chunks::<PACKET_LEN>();
        for packet in packets {
            self.relay.take(packet, &mut self.out);
        }
        self.append(log, pool, EntryMeta { continuity, ..meta })
    }

    /// Bytes beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let packets = self.out.capacity() * PACKET_LEN + self.run.capacity();
        self.relay.buffer_bytes() + packets
    }

    /// The counters of what comes next, as an entry keeps them.
    fn continuity(&self) -> Continuity {
        Continuity::from_bits(self.relay.counters().to_bits())
    }

    fn append(&mut self, log: &mut LogWriter, pool: &Pool, meta: EntryMeta) -> Result<bool, Error> {
        if self.out.is_empty() {
            return Ok(false);
        }
        log.begin();
        let put = |log: &mut LogWriter, out: &[RawPacket]| {
            out.iter().try_for_each(|packet| log.put(pool, packet))?;
            log.end(pool, meta)
        };
        put(log, &self.out).map(|()| true).map_err(|exhausted| {
            log.abandon(pool);
            // What was counted is not there.
            self.relay.renew();
            Error::from(exhausted)
        })
    }
}
