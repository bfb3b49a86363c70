//! Transport packets that every player can share.
//!
//! Spec: ITU-T H.222.0; the codec's part is in [`codecs::mpegts`]. An entry is one access unit in
//! packets of its own, with the tables and the clock that are due before it. Its counters go on
//! from the entry before, which is why the packager has a state, and why each entry keeps the
//! counters that it begins with: who did not read the entry before is given a splice first.
//!
//! Left out, and counted: tracks of codecs that no transport stream carries, units whose NAL units
//! are broken, and sound that fits no header.

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::mpegts::annex_b::{AnnexB, Layout};
use codecs::mpegts::es::HEAD_LEN_MAX;
use codecs::mpegts::relay::Entrance;
use codecs::mpegts::{
    Continuity, ElementaryStream, Framing, Muxer, PACKET_LEN, PacketHead, Splice, Unit,
};
use codecs::time::MediaTime;
use codecs::writer::Writer;

use crate::error::Error;
use crate::log::{EntryKind, EntryMeta, LogWriter};
use crate::session::AccessUnit;
use crate::slab::{Exhausted, Pool};

/// A track in the log's program.
#[derive(Debug)]
struct Carried {
    codec: Codec,
    framing: Framing,
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packaged {
    /// It is in the log.
    Whole,
    /// A transport stream cannot carry it.
    LeftOut,
}

/// Frames the log of one stream. Lives on: the home shard. Crosses by: never.
#[derive(Debug, Default)]
pub struct PacketPackager {
    muxer: Muxer,
    video: Option<Carried>,
    audio: Option<Carried>,
}

/// What stands before the payload of one unit, and how long all of it is.
struct Plan<'a> {
    lead: [&'a [u8]; 2],
    len: usize,
}

impl PacketPackager {
    /// The stream has these default tracks from now on; those that cannot be carried are left out.
    pub fn set_tracks<'a>(
        &mut self,
        tracks: impl Iterator<Item = (Codec, Option<&'a DecoderConfig>)>,
    ) {
        let mut streams = [None, None];
        (self.video, self.audio) = (None, None);
        for (codec, config) in tracks {
            let Ok(framing) = Framing::of(codec, config) else { continue };
            let carried = Some(Carried { codec, framing });
            let stream = ElementaryStream::of(codec, config);
            match codec.kind() {
                TrackKind::Video => (self.video, streams[0]) = (carried, stream),
                TrackKind::Audio => (self.audio, streams[1]) = (carried, stream),
                TrackKind::Data => {}
            }
        }
        self.muxer.set_streams(streams[0], streams[1]);
    }

    /// Looks at units that are already there, for how far one track lags behind another: the clock
    /// must begin behind all of them.
    pub fn foresee<'a>(&mut self, units: impl Iterator<Item = &'a AccessUnit>) {
        let mut newest: Option<MediaTime> = None;
        for unit in units {
            let dts = unit.dts + unit.cts.min(MediaTime::ZERO);
            let ahead = newest.map_or(dts, |newest| newest.max(dts));
            newest = Some(ahead);
            self.muxer.expect_lag(ahead - dts);
        }
    }

    /// Readers know tables of somebody else in these versions: its own have the next ones.
    pub const fn follow_tables(&mut self, versions: (u8, u8)) {
        self.muxer.follow_tables(versions);
    }

    /// The versions of its tables.
    #[must_use]
    pub const fn versions(&self) -> (u8, u8) {
        self.muxer.versions()
    }

    /// The counters of what comes next.
    #[must_use]
    pub const fn continuity(&self) -> Continuity {
        self.muxer.continuity()
    }

    /// True if the program has a stream of `codec`.
    #[must_use]
    pub fn carries(&self, codec: Codec) -> bool {
        self.muxer.stream(codec).is_some()
    }

    /// True if pictures are in the program, so that players begin at one.
    #[must_use]
    pub const fn has_video(&self) -> bool {
        self.video.is_some()
    }

    /// Appends one access unit; before a join point or a segment what is due of the clock is an
    /// entry of its own, so that players and segments begin with the tables.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; the log ends with a whole entry then.
    pub fn unit(
        &mut self,
        log: &mut LogWriter,
        pool: &Pool,
        unit: &AccessUnit,
        meta: EntryMeta,
    ) -> Result<Packaged, Error> {
        let Self { muxer, video, audio } = self;
        let track = if unit.codec.kind() == TrackKind::Video { video } else { audio };
        let Some(Carried { framing, .. }) = track.as_ref().filter(|t| t.codec == unit.codec) else {
            return Ok(Packaged::LeftOut);
        };
        let mut head = [0; HEAD_LEN_MAX];
        let Ok(Plan { lead, len }) = plan(framing, unit, pool, &mut head) else {
            return Ok(Packaged::LeftOut);
        };
        if matches!(unit.codec, Codec::Mp2 | Codec::Mp3) {
            let mut first = [0; 2];
            let filled = pool.prefix(&unit.payload, &mut first);
            muxer.see(unit.codec, &first[..filled]);
        }
        let AccessUnit { codec, dts, cts, keyframe, .. } = *unit;
        let random_access = meta.join || (keyframe && codec.kind() == TrackKind::Video);
        // What can be read from here on begins with the tables and the clock.
        let join = meta.join || meta.segment;
        let described = Unit { codec, dts, cts, random_access, join, len };
        if join {
            muxer.advance(&described);
            if muxer.is_due() {
                entry(muxer, log, pool, meta, |writing| writing.rest())?;
            }
        }
        let mut packaged = Packaged::Whole;
        entry(muxer, log, pool, meta, |writing| {
            if writing.muxer.begin(described).is_err() {
                packaged = Packaged::LeftOut;
                return Ok(());
            }
            for piece in lead {
                writing.put(piece)?;
            }
            let chunks = pool.chunks(&unit.payload);
            if let Framing::AnnexB { codec, .. } = framing {
                for piece in AnnexB::new(*codec, chunks).flatten() {
                    writing.put(piece.bytes())?;
                }
            } else {
                for piece in chunks {
                    writing.put(piece)?;
                }
            }
            Ok(())
        })?;
        Ok(packaged)
    }
}

/// Looks at a unit before it is written: a PES packet begins with its length.
fn plan<'a>(
    framing: &'a Framing,
    unit: &AccessUnit,
    pool: &Pool,
    head: &'a mut [u8; HEAD_LEN_MAX],
) -> Result<Plan<'a>, codecs::Error> {
    let (lead, payload_len) = if let Framing::AnnexB { codec, .. } = framing {
        let layout = Layout::of(*codec, pool.chunks(&unit.payload))?;
        let len = layout.len;
        (framing.lead(unit.keyframe && !layout.has_parameter_sets), len)
    } else {
        let len = unit.payload.len();
        let written = framing.encode_head(len, head)?;
        ([&head[..written], &[]], len)
    };
    if payload_len == 0 {
        return Err(codecs::Error::Truncated { what: "mpegts.unit" });
    }
    Ok(Plan { lead, len: lead[0].len() + lead[1].len() + payload_len })
}

/// Writes one entry, if there is anything to write; without it all is as it was.
fn entry(
    muxer: &mut Muxer,
    log: &mut LogWriter,
    pool: &Pool,
    meta: EntryMeta,
    write: impl FnOnce(&mut Writing<'_>) -> Result<(), Exhausted>,
) -> Result<(), Error> {
    let before = *muxer;
    let begun = log.head();
    let continuity = before.continuity();
    log.begin();
    let mut writing = Writing { muxer, log, pool, room: 0, of_unit: false };
    let written = write(&mut writing);
    let of_unit = writing.of_unit;
    let done = written.and_then(|()| {
        if log.head() == begun {
            log.abandon(pool);
            return Ok(());
        }
        let meta = if of_unit {
            EntryMeta { continuity, ..meta }
        } else {
            let plain = EntryMeta::plain(EntryKind::Notice, meta.dts, meta.config_version);
            EntryMeta { continuity, ..plain }
        };
        log.end(pool, meta)
    });
    done.map_err(|exhausted| {
        *muxer = before;
        log.abandon(pool);
        Error::from(exhausted)
    })
}

/// Cuts bytes into the packets of the open entry.
struct Writing<'a> {
    muxer: &'a mut Muxer,
    log: &'a mut LogWriter,
    pool: &'a Pool,
    /// Payload bytes that the packet in hand still takes.
    room: usize,
    /// A packet with payload of the unit was written.
    of_unit: bool,
}

impl Writing<'_> {
    /// Writes packets that need no payload.
    fn rest(&mut self) -> Result<(), Exhausted> {
        while self.head()? {}
        Ok(())
    }

    /// Writes payload, and the heads before it.
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Exhausted> {
        while !bytes.is_empty() {
            if self.room == 0 {
                assert!(self.head()?, "the unit's length was counted before");
                continue;
            }
            let (now, later) = bytes.split_at(self.room.min(bytes.len()));
            self.log.put(self.pool, now)?;
            self.room -= now.len();
            self.of_unit = true;
            bytes = later;
        }
        Ok(())
    }

    /// Writes the next head; false if there is none.
    fn head(&mut self) -> Result<bool, Exhausted> {
        let mut head = [0; PACKET_LEN];
        let Some(PacketHead { len, payload }) = self.muxer.next(&mut head) else {
            return Ok(false);
        };
        self.log.put(self.pool, &head[..len])?;
        self.room = payload;
        Ok(true)
    }
}

/// Appends what a player needs that begins among packets that came as they are.
pub(super) fn write_entrance(entrance: &Entrance<'_>, out: &mut Vec<u8>) {
    let at = out.len();
    let count = entrance.count();
    out.resize(at + count * PACKET_LEN, 0);
    entrance.encode(0, count, &mut Writer::new(&mut out[at..]));
}

/// Appends what a player needs that goes on at another place than it stopped.
pub(super) fn write_splice(continuity: Continuity, out: &mut Vec<u8>) {
    let splice = Splice(continuity);
    let mut bytes = [0; Splice::LEN_MAX];
    let mut writer = Writer::new(&mut bytes);
    splice.encode(&mut writer);
    let len = writer.written();
    // CONTROL: packets without payload.
    out.extend_from_slice(&bytes[..len]);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::log::{Epochs, Gc, LogLimits};
    use crate::slab::{AuWriter, PageClass, Region, RegionConfig};

    const LIMITS: LogLimits = LogLimits {
        bytes_max: 4 << 20,
        retain: MediaTime::from_millis(60_000),
        gop_bytes_max: 4 << 20,
        held_bytes_max: 4 << 20,
    };
    const AVCC: &[u8] =
        &[1, 66, 0xc0, 30, 0xff, 0xe1, 0, 4, 0x67, 66, 0xc0, 30, 1, 0, 2, 0x68, 0xce];

    /// A packager, its log, and memory that may end.
    struct Bench {
        pool: Pool,
        gc: Gc,
        source: AuWriter,
        packager: PacketPackager,
        log: LogWriter,
        /// Entries that were read back.
        read: u64,
        /// The counter that each PID goes on with.
        counters: HashMap<u16, u8>,
    }

    fn pid(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
    }

    impl Bench {
        fn new(large: u32) -> Self {
            let region = RegionConfig {
                shards: 1,
                large_pages_per_shard: large,
                small_pages_per_shard: 64,
                poison: true,
            };
            let pool = Region::map(&region).unwrap().1.remove(0);
            let mut packager = PacketPackager::default();
            let config = DecoderConfig::parse(Codec::H264, AVCC).unwrap();
            packager.set_tracks([(Codec::H264, Some(&config)), (Codec::Mp3, None)].into_iter());
            let log = LogWriter::of_packets(&pool, LIMITS);
            let (gc, source) = (Gc::new(&pool), AuWriter::new());
            Self { pool, gc, source, packager, log, read: 0, counters: HashMap::new() }
        }

        /// `None` if there was no page for the unit itself.
        fn unit(&mut self, codec: Codec, ms: i64, key: bool, bytes: &[u8]) -> Option<AccessUnit> {
            if self.source.append(&self.pool, PageClass::Small, bytes).is_err() {
                self.source.abort(&self.pool);
                return None;
            }
            let payload = self.source.finish(&self.pool);
            let (dts, cts) = (MediaTime::from_millis(ms), MediaTime::ZERO);
            Some(AccessUnit { track: 0, codec, dts, cts, keyframe: key, payload })
        }

        fn append(&mut self, unit: AccessUnit) -> Result<Packaged, Error> {
            let join = unit.keyframe && unit.codec == Codec::H264;
            let meta = EntryMeta::plain(EntryKind::from(unit.codec.kind()), unit.dts, 0);
            let meta = EntryMeta { join, ..meta };
            let Self { packager, log, pool, .. } = self;
            let packaged = packager.unit(log, pool, &unit, meta);
            pool.release(unit.payload);
            packaged
        }

        /// Reads the entries that are new, packet by packet.
        fn check(&mut self) {
            self.log.publish();
            let log = std::sync::Arc::clone(self.log.log());
            while self.read < log.entries_committed() {
                let entry = log.entry(self.read).expect("kept");
                let mut bytes = vec![0; entry.len as usize];
                assert_eq!(log.read(entry.offset, &mut bytes), Ok(bytes.len()));
                let mut splice = Vec::new();
                write_splice(entry.continuity, &mut splice);
                for packet in splice.chunks(PACKET_LEN) {
                    let next = self.counters.get(&pid(packet)).copied().unwrap_or(0);
                    assert_eq!((packet[3] + 1) & 0x0f, next, "{:#x}", pid(packet));
                }
                for packet in bytes.chunks(PACKET_LEN) {
                    assert_eq!((packet.len(), packet[0]), (PACKET_LEN, 0x47));
                    let counter = self.counters.entry(pid(packet)).or_default();
                    if packet[3] & 0x10 != 0 {
                        assert_eq!(packet[3] & 0x0f, *counter, "{:#x}", pid(packet));
                        *counter = (*counter + 1) % 16;
                    }
                }
                if entry.join {
                    assert_eq!(bytes[..3], [0x47, 0x40, 0], "a join begins with the tables");
                }
                self.read += 1;
            }
        }

        fn end(self) {
            let Self { pool, mut gc, source, log, .. } = self;
            log.close(&pool, &mut gc);
            source.close(&pool);
            gc.collect(&Epochs::new(1), &pool);
            assert_eq!(pool.usage(PageClass::Large).in_use, 0);
        }
    }

    fn picture(len: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(len + 1).unwrap().to_be_bytes().to_vec();
        bytes.push(0x41);
        bytes.resize(len + 5, 7);
        bytes
    }

    #[test]
    fn what_is_left_out_leaves_no_trace() {
        let mut bench = Bench::new(4);
        for (codec, bytes) in [
            (Codec::Mp3, vec![]),
            (Codec::Mp3, vec![7; 70_000]),
            (Codec::Hevc, picture(10)),
            (Codec::H264, vec![0, 0, 0, 9, 0x41]),
            (Codec::H264, vec![0, 0, 0, 2, 9, 0xf0]),
        ] {
            let unit = bench.unit(codec, 0, true, &bytes).unwrap();
            assert_eq!(bench.append(unit).unwrap(), Packaged::LeftOut, "{codec:?}");
        }
        assert_eq!((bench.log.head(), bench.log.counters().entries_abandoned), (0, 0));
        let unit = bench.unit(Codec::H264, 0, true, &picture(10)).unwrap();
        assert_eq!(bench.append(unit).unwrap(), Packaged::Whole);
        bench.check();
        bench.end();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn counters_go_on_whatever_memory_there_is(
            units in prop::collection::vec(
                (any::<bool>(), prop::bool::weighted(0.1), 0_i64..400, 1_usize..60_000), 1..80,
            ),
            large in 3_u32..12,
        ) {
            let mut bench = Bench::new(large);
            let mut ms = 0;
            for (is_picture, keyframe, step, len) in units {
                ms += step;
                let unit = if is_picture {
                    bench.unit(Codec::H264, ms, keyframe, &picture(len))
                } else {
                    bench.unit(Codec::Mp3, ms, true, &vec![9; len])
                };
                let Some(unit) = unit else { continue };
                if bench.append(unit).is_err() {
                    bench.check();
                    bench.log.forget(&mut bench.gc);
                    bench.gc.collect(&Epochs::new(1), &bench.pool);
                }
                bench.check();
            }
            bench.end();
        }
    }
}
