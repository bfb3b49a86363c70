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
use crate::slab::{AuBytes, Exhausted, Pool};

/// Writes the log of one stream. Lives on: the home shard. Crosses by: with its stream.
#[derive(Debug, Default)]
pub struct RelayPackager {
    relay: Relay,
    /// Packets that come before the one in hand, or in its place.
    out: Vec<RawPacket>,
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
        let continuity = self.continuity();
        let begun = log.head();
        log.begin();
        let written = self.write_run(packets, log, pool);
        if written.is_ok() && log.head() == begun {
            log.abandon(pool);
            return Ok(false);
        }
        let ended = written.and_then(|()| log.end(pool, EntryMeta { continuity, ..meta }));
        self.appended(ended, log, pool)
    }

    /// Bytes beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.relay.buffer_bytes() + self.out.capacity() * PACKET_LEN
    }

    /// The counters of what comes next, as an entry keeps them.
    fn continuity(&self) -> Continuity {
        Continuity::from_bits(self.relay.counters().to_bits())
    }

    /// Writes what is sent of a run, page by page.
    fn write_run(
        &mut self,
        packets: &AuBytes,
        log: &mut LogWriter,
        pool: &Pool,
    ) -> Result<(), Exhausted> {
        let (mut parted, mut has) = ([0; PACKET_LEN], 0);
        for mut piece in pool.chunks(packets) {
            if has > 0 {
                let (now, later) = piece.split_at((PACKET_LEN - has).min(piece.len()));
                // COPY(package): a packet that lies in two pages, its last part.
                parted[has..has + now.len()].copy_from_slice(now);
                (has, piece) = (has + now.len(), later);
                if has < PACKET_LEN {
                    continue;
                }
                self.write_packets(&[parted], log, pool)?;
            }
            let (whole, begun) = piece.as_chunks::<PACKET_LEN>();
            self.write_packets(whole, log, pool)?;
            // COPY(package): a packet that lies in two pages, its first part.
            parted[..begun.len()].copy_from_slice(begun);
            has = begun.len();
        }
        Ok(())
    }

    /// Writes packets that lie behind each other, as many at a time as nothing comes between.
    fn write_packets(
        &mut self,
        packets: &[RawPacket],
        log: &mut LogWriter,
        pool: &Pool,
    ) -> Result<(), Exhausted> {
        let mut unwritten = 0;
        for (at, packet) in packets.iter().enumerate() {
            let passes = self.relay.take(packet, &mut self.out);
            if passes && self.out.is_empty() {
                continue;
            }
            log.put(pool, packets[unwritten..at].as_flattened())?;
            log.put(pool, self.out.as_flattened())?;
            self.out.clear();
            unwritten = if passes { at } else { at + 1 };
        }
        log.put(pool, packets[unwritten..].as_flattened())
    }

    fn append(&mut self, log: &mut LogWriter, pool: &Pool, meta: EntryMeta) -> Result<bool, Error> {
        if self.out.is_empty() {
            return Ok(false);
        }
        log.begin();
        let put = log.put(pool, self.out.as_flattened());
        let ended = put.and_then(|()| log.end(pool, meta));
        self.appended(ended, log, pool)
    }

    /// What became of an entry.
    fn appended(
        &mut self,
        ended: Result<(), Exhausted>,
        log: &mut LogWriter,
        pool: &Pool,
    ) -> Result<bool, Error> {
        ended.map(|()| true).map_err(|exhausted| {
            log.abandon(pool);
            // What was counted is not there.
            self.relay.renew();
            Error::from(exhausted)
        })
    }
}

#[cfg(test)]
mod tests {
    use codecs::mpegts::demux::{Demuxer, MemoryStore, Settings};
    use codecs::mpegts::psi::crc32;
    use codecs::time::MediaTime;

    use super::*;
    use crate::log::{EntryKind, Epochs, Gc, LogLimits};
    use crate::slab::{AuWriter, PageClass, Region, RegionConfig};

    const LIMITS: LogLimits = LogLimits {
        bytes_max: 4 << 20,
        retain: MediaTime::from_millis(60_000),
        gop_bytes_max: 4 << 20,
        held_bytes_max: 0,
    };
    const MAP_PID: u16 = 0x20;
    const VIDEO: u16 = 0x100;

    fn packet(pid: u16, counter: u8, payload: &[u8]) -> RawPacket {
        let mut packet = [0xff; PACKET_LEN];
        let [high, low] = pid.to_be_bytes();
        packet[..4].copy_from_slice(&[0x47, 0x40 | high, low, 0x10 | counter & 0x0f]);
        packet[4..4 + payload.len()].copy_from_slice(payload);
        packet
    }

    fn table(pid: u16, counter: u8, section: &[u8]) -> RawPacket {
        let checksum = crc32(section).to_be_bytes();
        packet(pid, counter, &[&[0], section, &checksum].concat())
    }

    fn map(counter: u8) -> RawPacket {
        let section = [2, 0xb0, 18, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0];
        table(MAP_PID, counter, &section)
    }

    fn program() -> RelayProgram {
        let (mut demuxer, mut store) = (Demuxer::new(Settings::default()), MemoryStore::default());
        let association = [0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0, 0x20];
        demuxer.push(&table(0, 0, &association), &mut store);
        demuxer.push(&map(0), &mut store);
        RelayProgram::of(demuxer.program().unwrap(), &[], 1, true).unwrap()
    }

    #[test]
    fn a_run_goes_from_its_pages_to_those_of_the_log_at_once() {
        let region = RegionConfig {
            shards: 1,
            large_pages_per_shard: 8,
            small_pages_per_shard: 64,
            poison: true,
        };
        let pool = Region::map(&region).unwrap().1.remove(0);
        let (mut gc, mut source) = (Gc::new(&pool), AuWriter::new());
        let mut log = LogWriter::of_packets(&pool, LIMITS);
        let mut packager = RelayPackager::default();
        packager.follow(&program());
        let meta = EntryMeta::plain(EntryKind::Video, MediaTime::ZERO, 0);
        let (mut sent, mut counter) = (Vec::new(), 0_u8);
        // Runs that are no part of a page: some packets lie in two.
        for run in 0..200_u8 {
            for _ in 0..7 {
                let one = packet(VIDEO, counter, &[run; 150]);
                source.append(&pool, PageClass::Small, &one).unwrap();
                sent.extend(one);
                counter = counter.wrapping_add(1);
            }
            let packets = source.finish(&pool);
            assert!(packager.run(&packets, &mut log, &pool, meta).unwrap());
            pool.release(packets);
        }
        assert_eq!(packager.out.capacity(), 0, "nothing lay anywhere in between");
        // What is told in place of a packet, and before one, comes where that is.
        packager.renew();
        let parts = [packet(0x30, 4, &[1; 9]), map(9), packet(VIDEO, 3, &[2; 9]), map(10)];
        for part in &parts {
            source.append(&pool, PageClass::Small, part).unwrap();
        }
        let packets = source.finish(&pool);
        packager.run(&packets, &mut log, &pool, meta).unwrap();
        pool.release(packets);
        log.publish();
        let len = usize::try_from(log.head()).unwrap();
        let mut written = vec![0; len];
        for number in 0..log.log().entries_committed() {
            let entry = log.log().entry(number).unwrap();
            let at = usize::try_from(entry.offset).unwrap();
            let bytes = &mut written[at..at + entry.len as usize];
            assert_eq!(log.log().read(entry.offset, bytes), Ok(bytes.len()));
        }
        let (media, rest) = written.split_at(sent.len());
        assert!(media == sent, "as it came");
        let (rest, _) = rest.as_chunks::<PACKET_LEN>();
        let pid = |packet: &RawPacket| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        assert_eq!(
            rest.iter().map(pid).collect::<Vec<_>>(),
            [0x30, MAP_PID, VIDEO, VIDEO, MAP_PID],
            "a gap is told before the packet behind it"
        );
        assert_eq!((rest[0], rest[3]), (parts[0], parts[2]));
        let empty = source.finish(&pool);
        assert!(!packager.run(&empty, &mut log, &pool, meta).unwrap(), "no entry for nothing");
        log.close(&pool, &mut gc);
        source.close(&pool);
        gc.collect(&Epochs::new(1), &pool);
        assert_eq!(pool.usage(PageClass::Large).in_use, 0);
    }
}
