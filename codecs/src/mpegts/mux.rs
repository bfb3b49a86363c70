//! The multiplexer: one program of at most one video and one audio stream.
//!
//! An access unit is one PES packet, in packets that nothing else shares: so units can be kept,
//! skipped and sent on their own. Before it come what is due of the tables and of the clock.
//!
//! ```text
//!   advance(unit)   clock packets up to the unit, tables among them where they are due
//!   begin(unit)     the same; then PAT, PMT, and the unit:  head payload head payload ...
//!   next(head)      one packet: its head is written, the payload behind it is the caller's
//! ```
//!
//! In/Out: a [`Muxer`] is a small value; whoever cannot write what it gave puts the old one back.
//! Errors: [`Error::Unsupported`] for a codec that is no stream, [`Error::Invalid`] for an empty
//! unit, [`Error::TooLarge`] for one of sound over [`PAYLOAD_LEN_MAX`]; nothing is begun then.

use super::clock::{Clock, ORIGIN, TABLES_INTERVAL};
use super::es::ElementaryStream;
use super::packet::{
    Adaptation, BODY_LEN, Continuity, PACKET_LEN, PAT_SLOT, PMT_SLOT, PacketStart, Pid,
};
use super::pes::{PAYLOAD_LEN_MAX, PesHeader};
use super::psi::{self, STREAMS_MAX};
use crate::Error;
use crate::media::{Codec, TrackKind};
use crate::time::MediaTime;
use crate::writer::Writer;

/// Ticks of PTS and DTS in a second.
const TICKS_PER_SECOND: u32 = 90_000;

/// One access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its stream.
    pub codec: Codec,
    /// When to decode.
    pub dts: MediaTime,
    /// When to present, from then on.
    pub cts: MediaTime,
    /// Decoding may start here.
    pub random_access: bool,
    /// Reading may start here: tables and a clock reference come with it.
    pub join: bool,
    /// Bytes of the elementary stream, with all that its framing adds.
    pub len: usize,
}

impl Unit {
    /// The time that stands in its header as DTS. A unit that is shown before it is decoded, by
    /// encoders that get the sign wrong, is decoded then.
    fn decode_time(&self) -> MediaTime {
        ORIGIN + self.dts + self.cts.min(MediaTime::ZERO)
    }
}

/// The head of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHead {
    /// Bytes of the head.
    pub len: usize,
    /// Bytes of payload that fill the packet behind it.
    pub payload: usize,
}

/// A unit that is being written.
#[derive(Clone, Copy, Debug)]
struct Open {
    unit: Unit,
    stream: ElementaryStream,
    /// Bytes that no packet has yet; `None` before the first packet.
    left: Option<usize>,
    tables_done: bool,
    /// Its clock reference is written, or comes with its first packet.
    clock_done: bool,
}

/// The tables that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tables {
    None,
    Both,
    Map,
}

/// The multiplexer.
#[derive(Clone, Copy, Debug)]
pub struct Muxer {
    streams: [Option<ElementaryStream>; STREAMS_MAX],
    /// The versions of the association and of the map.
    association: u8,
    version: u8,
    /// The map of this version was written.
    told: bool,
    tables: Tables,
    tables_at: Option<i64>,
    continuity: Continuity,
    clock: Clock,
    open: Option<Open>,
}

impl Default for Muxer {
    fn default() -> Self {
        Self::new()
    }
}

impl Muxer {
    /// A multiplexer without a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            streams: [None; STREAMS_MAX],
            association: 0,
            version: 0,
            told: false,
            tables: Tables::None,
            tables_at: None,
            continuity: Continuity::default(),
            clock: Clock::default(),
            open: None,
        }
    }

    /// The program has these streams from now on: a new version of its map, if it changes.
    pub fn set_streams(
        &mut self,
        video: Option<ElementaryStream>,
        audio: Option<ElementaryStream>,
    ) {
        let streams = [video, audio];
        if streams == self.streams {
            return;
        }
        self.streams = streams;
        if self.told {
            self.version = (self.version + 1) % 32;
            self.told = false;
        }
        self.continuity.list(streams.iter().flatten().map(ElementaryStream::slot));
    }

    /// Readers know tables of somebody else in these versions: its own have the next ones.
    pub const fn follow_tables(&mut self, (association, map): (u8, u8)) {
        self.association = (association + 1) % 32;
        self.version = (map + 1) % 32;
        (self.told, self.tables_at) = (false, None);
    }

    /// The versions of its association and of its map.
    #[must_use]
    pub const fn versions(&self) -> (u8, u8) {
        (self.association, self.version)
    }

    /// The streams of the program.
    pub fn streams(&self) -> impl Iterator<Item = ElementaryStream> + Clone + use<> {
        self.streams.into_iter().flatten()
    }

    /// The stream of `codec`, if the program has it.
    #[must_use]
    pub fn stream(&self, codec: Codec) -> Option<ElementaryStream> {
        self.streams().find(|stream| stream.codec() == codec)
    }

    /// The first bytes of a unit of `codec`, which may say more about its stream.
    pub fn see(&mut self, codec: Codec, first: &[u8]) {
        let seen = self.streams.map(|stream| {
            stream.map(|known| if known.codec() == codec { known.seen(first) } else { known })
        });
        self.set_streams(seen[0], seen[1]);
    }

    /// A track is going to lag so far behind another one.
    pub fn expect_lag(&mut self, lag: MediaTime) {
        self.clock.expect_lag(lag);
    }

    /// The counters of what comes next.
    #[must_use]
    pub const fn continuity(&self) -> Continuity {
        self.continuity
    }

    /// Lets the clock come up to a unit: [`Self::next`] gives what is due before it.
    pub fn advance(&mut self, unit: &Unit) {
        self.clock.observe(unit.decode_time());
    }

    /// True if the clock has packets of its own before the unit that it came up to.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.has_clock() && self.clock.due().is_some()
    }

    /// Begins a unit: [`Self::next`] gives all of it.
    ///
    /// # Errors
    /// Those of the module.
    pub fn begin(&mut self, unit: Unit) -> Result<(), Error> {
        let unknown = Error::Unsupported { what: "mpegts.codec", value: unit.codec as u64 };
        let stream = self.stream(unit.codec).ok_or(unknown)?;
        if unit.len == 0 {
            return Err(Error::Invalid { what: "mpegts.unit", value: 0 });
        }
        if unit.codec.kind() != TrackKind::Video && unit.len > PAYLOAD_LEN_MAX {
            let (value, max) = (unit.len as u64, PAYLOAD_LEN_MAX as u64);
            return Err(Error::TooLarge { what: "mpegts.unit", value, max });
        }
        self.advance(&unit);
        // A unit of the clock's stream carries it; with another one it has a packet of its own,
        // where whoever joins needs one.
        let carries = self.clock_stream() == Some(stream);
        let clock_done = carries || !(unit.join || self.clock.is_unset());
        self.open = Some(Open { unit, stream, left: None, tables_done: false, clock_done });
        Ok(())
    }

    /// Writes the head of the next packet; `None` if nothing is left to be written.
    pub fn next(&mut self, head: &mut [u8; PACKET_LEN]) -> Option<PacketHead> {
        if self.tables == Tables::None {
            self.schedule_tables();
        }
        let mut writer = Writer::new(head);
        let payload = match self.tables {
            Tables::Both => {
                self.section(PAT_SLOT, &mut writer);
                self.tables = Tables::Map;
                0
            }
            Tables::Map => {
                self.section(PMT_SLOT, &mut writer);
                self.tables = Tables::None;
                0
            }
            Tables::None => match self.clock_packet() {
                Some(packet) => {
                    packet.encode(&mut self.continuity, &mut writer);
                    0
                }
                None => self.unit_packet(&mut writer)?,
            },
        };
        Some(PacketHead { len: writer.written(), payload })
    }

    /// Decides whether the tables come before the next packet.
    fn schedule_tables(&mut self) {
        // A new map comes before anything that only it lists, the clock's packets among them.
        let due =
            |now: i64| !self.told || self.tables_at.is_none_or(|at| now - at >= TABLES_INTERVAL);
        let before_clock = self.clock.due().map(|due| due.pcr).filter(|_| self.has_clock());
        let at = match (before_clock, &mut self.open) {
            (Some(pcr), _) => due(pcr).then_some(pcr),
            (None, Some(open)) if !open.tables_done => {
                open.tables_done = true;
                let now = self.clock.now();
                (open.unit.join || due(now)).then_some(now)
            }
            _ => None,
        };
        if at.is_some() {
            self.tables_at = at;
            self.tables = Tables::Both;
        }
    }

    fn section(&mut self, slot: super::packet::Slot, writer: &mut Writer<'_>) {
        let adaptation = Adaptation::default();
        let packet = PacketStart { slot, start: true, adaptation, payload: BODY_LEN };
        packet.encode(&mut self.continuity, writer);
        if slot == PAT_SLOT {
            psi::encode_pat(self.association, writer);
        } else {
            let clock = self.clock_stream().map_or(Pid::NULL, |stream| stream.pid());
            psi::encode_pmt(self.version, clock, self.streams(), writer);
            self.told = true;
        }
    }

    /// The stream whose packets carry the clock: video, where there is any.
    fn clock_stream(&self) -> Option<ElementaryStream> {
        self.streams().next()
    }

    fn has_clock(&self) -> bool {
        self.clock_stream().is_some()
    }

    /// A packet with nothing but a clock reference, if one is due.
    fn clock_packet(&mut self) -> Option<PacketStart> {
        let stream = self.clock_stream()?;
        let (pcr, discontinuity) = match (self.clock.due(), &mut self.open) {
            (Some(due), _) => (due.pcr, due.discontinuity),
            (None, Some(open)) if !open.clock_done => {
                open.clock_done = true;
                (self.clock.reference(true)?, false)
            }
            _ => return None,
        };
        self.clock.show(pcr);
        let adaptation = Adaptation { discontinuity, pcr: Some(pcr), random_access: false };
        Some(PacketStart { slot: stream.slot(), start: false, adaptation, payload: 0 })
    }

    /// The next packet of the open unit; the bytes of its payload.
    fn unit_packet(&mut self, writer: &mut Writer<'_>) -> Option<usize> {
        let open = self.open?;
        let Open { unit, stream, left, .. } = open;
        let mut adaptation = Adaptation::default();
        let mut pes = None;
        if left.is_none() {
            let pts = (ORIGIN + unit.dts + unit.cts).as_ticks(TICKS_PER_SECOND);
            let dts = unit.decode_time().as_ticks(TICKS_PER_SECOND);
            let header = PesHeader {
                stream_id: stream.stream_id(),
                pts,
                dts: (dts != pts).then_some(dts),
                payload_len: unit.len,
            };
            pes = Some(header);
            adaptation.random_access = unit.random_access;
            if self.clock_stream() == Some(stream) {
                adaptation.pcr = self.clock.reference(unit.join);
            }
            if let Some(pcr) = adaptation.pcr {
                self.clock.show(pcr);
            }
        }
        let left = left.unwrap_or(unit.len);
        let header_len = pes.map_or(0, |header| header.encoded_len());
        let payload = left.min(BODY_LEN - adaptation.len() - header_len);
        let start = PacketStart {
            slot: stream.slot(),
            start: pes.is_some(),
            adaptation,
            payload: header_len + payload,
        };
        start.encode(&mut self.continuity, writer);
        if let Some(header) = pes {
            header.encode(writer);
        }
        let left = left - payload;
        self.open = (left > 0).then_some(Open { left: Some(left), ..open });
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// A packet as a reader sees it.
    #[derive(Debug)]
    struct Packet {
        pid: u16,
        start: bool,
        counter: u8,
        discontinuity: bool,
        random_access: bool,
        pcr: Option<i64>,
        payload: Vec<u8>,
    }

    fn parse(bytes: &[u8; PACKET_LEN]) -> Packet {
        assert_eq!((bytes[0], bytes[1] & 0xa0, bytes[3] & 0xc0), (0x47, 0, 0));
        let mut at = 4;
        let (mut flags, mut pcr) = (0, None);
        if bytes[3] & 0x20 != 0 {
            at = 5 + usize::from(bytes[4]);
            if at > 5 {
                flags = bytes[5];
            }
            if flags & 0x10 != 0 {
                let value =
                    bytes[6..12].iter().fold(0_i64, |sum, &byte| sum << 8 | i64::from(byte));
                pcr = Some((value >> 15) * 300 + (value & 0x1ff));
            }
        }
        let has_payload = bytes[3] & 0x10 != 0;
        assert_eq!(has_payload, at < PACKET_LEN, "stuffing goes before payload");
        Packet {
            pid: u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]),
            start: bytes[1] & 0x40 != 0,
            counter: bytes[3] & 0x0f,
            discontinuity: flags & 0x80 != 0,
            random_access: flags & 0x40 != 0,
            pcr,
            payload: bytes[at..].to_vec(),
        }
    }

    /// PTS and DTS of a PES header, and its length.
    fn times(pes: &[u8]) -> (i64, i64, usize) {
        let read = |at: usize| {
            let bits = pes[at..at + 5].iter().fold(0_i64, |sum, &byte| sum << 8 | i64::from(byte));
            (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7fff) << 15 | bits >> 1 & 0x7fff
        };
        assert_eq!((&pes[..3], pes[6]), (&[0, 0, 1][..], 0x84));
        let pts = read(9);
        let dts = if pes[7] == 0xc0 { read(14) } else { pts };
        (pts, dts, 9 + usize::from(pes[8]))
    }

    fn unit(codec: Codec, ms: i64, join: bool, len: usize) -> Unit {
        let (dts, cts) = (MediaTime::from_millis(ms), MediaTime::ZERO);
        Unit { codec, dts, cts, random_access: join, join, len }
    }

    fn muxer(codecs: &[Codec]) -> Muxer {
        let mut muxer = Muxer::new();
        let of = |kind| {
            let codec = codecs.iter().find(|codec| codec.kind() == kind)?;
            ElementaryStream::of(*codec, None)
        };
        muxer.set_streams(of(TrackKind::Video), of(TrackKind::Audio));
        muxer
    }

    /// All packets that wait, with `fill` as the payload of units.
    fn drain(muxer: &mut Muxer, fill: u8) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut head = [0; PACKET_LEN];
        while let Some(PacketHead { len, payload }) = muxer.next(&mut head) {
            assert_eq!(len + payload, PACKET_LEN);
            head[len..].fill(fill);
            packets.push(parse(&head));
        }
        packets
    }

    fn write(muxer: &mut Muxer, unit: Unit) -> Vec<Packet> {
        muxer.begin(unit).unwrap();
        drain(muxer, 7)
    }

    fn pids(packets: &[Packet]) -> Vec<u16> {
        packets.iter().map(|packet| packet.pid).collect()
    }

    #[test]
    fn a_keyframe_has_tables_and_clock_before_it() {
        let mut muxer = muxer(&[Codec::H264, Codec::Aac]);
        let packets = write(&mut muxer, unit(Codec::H264, 0, true, 300));
        assert_eq!(pids(&packets), [0, 0x1000, 0x100, 0x100]);
        let first = &packets[2];
        assert!(first.start && first.random_access && !packets[3].start);
        assert_eq!(first.pcr, Some(1_200 * 27_000));
        assert_eq!(times(&first.payload), (1_400 * 90, 1_400 * 90, 14));
        let payload = first.payload.len() - 14 + packets[3].payload.len();
        assert_eq!(payload, 300);
        let packets = write(&mut muxer, unit(Codec::Aac, 5, false, 10));
        assert_eq!(pids(&packets), [0x110], "nothing is due");
        assert!(!packets[0].random_access && packets[0].pcr.is_none());
        let packets = write(&mut muxer, unit(Codec::H264, 40, false, 10));
        assert_eq!((pids(&packets), packets[0].pcr), (Vec::from([0x100]), Some(1_240 * 27_000)));
    }

    #[test]
    fn sound_that_comes_first_has_a_clock_of_its_own() {
        let mut muxer = muxer(&[Codec::H264, Codec::Aac]);
        let packets = write(&mut muxer, unit(Codec::Aac, 0, false, 10));
        assert_eq!(pids(&packets), [0, 0x1000, 0x100, 0x110]);
        assert!(packets[2].payload.is_empty() && packets[2].pcr.is_some());
        assert_eq!(packets[2].counter, 15, "the next one with payload is 0");
        let packets = write(&mut muxer, unit(Codec::Aac, 20, true, 10));
        assert_eq!(pids(&packets), [0, 0x1000, 0x100, 0x110], "a join, with the clock");
        let packets = write(&mut muxer, unit(Codec::H264, 0, true, 10));
        assert_eq!(pids(&packets), [0, 0x1000, 0x100]);
        assert_eq!(packets[2].pcr, Some(1_220 * 27_000 + 1), "it never goes back");
    }

    #[test]
    fn distant_frames_have_clock_and_tables_between_them() {
        let mut muxer = muxer(&[Codec::H264]);
        write(&mut muxer, unit(Codec::H264, 0, true, 10));
        let next = unit(Codec::H264, 1_000, true, 10);
        muxer.advance(&next);
        let before = drain(&mut muxer, 0);
        let clock: Vec<_> = before.iter().filter_map(|packet| packet.pcr).collect();
        let expected: Vec<_> = (1..25).map(|n| (1_200 + n * 40) * 27_000).collect();
        assert_eq!(clock, expected);
        let maps = before.iter().filter(|packet| packet.pid == 0x1000).count();
        assert_eq!((maps, before.len()), (2, 24 + 4));
        assert_eq!(pids(&write(&mut muxer, next)), [0, 0x1000, 0x100]);
        let late = write(&mut muxer, unit(Codec::H264, 60_000, false, 10));
        assert_eq!(pids(&late), [0, 0x1000, 0x100, 0x100]);
        assert!(late[2].discontinuity, "a pause of a minute is not filled");
    }

    #[test]
    fn another_stream_is_another_version_of_the_map() {
        let version = |packets: &[Packet]| {
            packets.iter().find(|p| p.pid == 0x1000).map(|p| p.payload[6] >> 1 & 0x1f)
        };
        let mut muxer = muxer(&[Codec::H264, Codec::Mp3]);
        let stream = |codec| ElementaryStream::of(codec, None);
        muxer.set_streams(stream(Codec::H264), stream(Codec::Aac));
        let first = write(&mut muxer, unit(Codec::H264, 0, true, 10));
        assert_eq!(version(&first), Some(0), "nobody was told of the one before");
        muxer.set_streams(stream(Codec::H264), stream(Codec::Aac));
        assert_eq!(version(&write(&mut muxer, unit(Codec::H264, 40, false, 10))), None);
        muxer.set_streams(stream(Codec::Hevc), stream(Codec::Aac));
        let packets = write(&mut muxer, unit(Codec::Hevc, 80, false, 10));
        assert_eq!((version(&packets), packets[2].pid), (Some(1), 0x101));
        muxer.set_streams(stream(Codec::Hevc), stream(Codec::Mp3));
        muxer.see(Codec::Mp3, &[0xff, 0xf3]);
        let packets = write(&mut muxer, unit(Codec::Mp3, 80, false, 10));
        assert_eq!(version(&packets), Some(2));
        assert_eq!(packets[1].payload[24], 4, "the type of low rates");
        for version_told in 3..40_u8 {
            let audio = if version_told % 2 == 0 { Codec::Mp3 } else { Codec::Aac };
            muxer.set_streams(stream(Codec::Hevc), stream(audio));
            let packets = write(&mut muxer, unit(audio, 80, false, 10));
            assert_eq!(version(&packets), Some(version_told % 32));
        }
    }

    #[test]
    fn a_new_clock_is_told_before_it_is_shown() {
        let mut muxer = muxer(&[Codec::Aac]);
        write(&mut muxer, unit(Codec::Aac, 0, true, 10));
        let stream = |codec| ElementaryStream::of(codec, None);
        muxer.set_streams(stream(Codec::H264), stream(Codec::Aac));
        let packets = write(&mut muxer, unit(Codec::Aac, 100, false, 10));
        assert_eq!(pids(&packets), [0, 0x1000, 0x100, 0x100, 0x110]);
        muxer.set_streams(None, stream(Codec::Aac));
        let packets = write(&mut muxer, unit(Codec::Aac, 200, false, 10));
        assert_eq!(pids(&packets), [0, 0x1000, 0x110, 0x110, 0x110]);
    }

    #[test]
    fn what_cannot_be_a_unit_changes_nothing() {
        let mut muxer = muxer(&[Codec::H264, Codec::Aac]);
        let before = alloc::format!("{muxer:?}");
        for (codec, len) in [(Codec::Hevc, 1), (Codec::H264, 0), (Codec::Aac, PAYLOAD_LEN_MAX + 1)]
        {
            assert!(muxer.begin(unit(codec, 0, true, len)).is_err());
        }
        assert_eq!(alloc::format!("{muxer:?}"), before);
        assert!(muxer.begin(unit(Codec::H264, 0, true, PAYLOAD_LEN_MAX + 1)).is_ok());
    }

    #[test]
    fn a_picture_that_is_shown_before_it_is_decoded_is_decoded_then() {
        let mut muxer = muxer(&[Codec::H264]);
        let cts = MediaTime::from_millis(-10);
        let packets = write(&mut muxer, Unit { cts, ..unit(Codec::H264, 100, true, 10) });
        assert_eq!(times(&packets[2].payload), (1_490 * 90, 1_490 * 90, 14));
    }

    /// What any receiver checks, packet by packet.
    #[derive(Default)]
    struct Receiver {
        counters: alloc::collections::BTreeMap<u16, u8>,
        pcr: Option<i64>,
        tables: Option<i64>,
        pictures: u32,
    }

    const PCR_RANGE: i64 = (1 << 33) * 300;

    impl Receiver {
        fn take(&mut self, packet: &Packet) {
            let step = u8::from(!packet.payload.is_empty());
            if let Some(last) = self.counters.insert(packet.pid, packet.counter) {
                assert_eq!(packet.counter, (last + step) % 16, "{packet:?}");
            }
            if let Some(pcr) = packet.pcr {
                let last = self.pcr.replace(pcr).unwrap_or(pcr - 1);
                let step = (pcr - last).rem_euclid(PCR_RANGE);
                assert!(packet.discontinuity || (1..=1_080_000).contains(&step), "{step}");
                if self.tables.is_none() || packet.discontinuity {
                    self.tables = Some(pcr);
                }
            }
            let now = self.pcr.unwrap_or_default();
            if packet.pid == 0x1000 {
                self.tables = self.pcr;
            }
            if let Some(tables) = self.tables {
                let passed = (now - tables).rem_euclid(PCR_RANGE);
                assert!(passed <= 13_500_000, "{passed} without tables");
            }
            if packet.start && packet.pid >= 0x100 && packet.pid < 0x1000 {
                let (pts, dts, _) = times(&packet.payload);
                let ahead = (dts * 300 - now).rem_euclid(PCR_RANGE);
                assert!(ahead < PCR_RANGE / 2, "decoded before the clock");
                assert!((pts - dts).rem_euclid(1 << 33) < 90_000);
                self.pictures += 1;
            }
        }
    }

    #[test]
    fn twenty_six_hours_and_a_half_pass_over_all_wraps() {
        let mut muxer = muxer(&[Codec::H264, Codec::Aac]);
        let mut receiver = Receiver::default();
        // The clock's 33 bits last 26.5 hours; frames of a second keep the test short.
        let (mut video, mut audio) = (0, 0);
        let end = 27 * 3_600 * 1_000;
        let mut units = 0;
        while video < end {
            let next = if audio + 704 < video + 1_000 {
                audio += 704;
                unit(Codec::Aac, audio, false, 300)
            } else {
                video += 1_000;
                let cts = MediaTime::from_millis(video / 1_000 % 3 * 40);
                Unit { cts, ..unit(Codec::H264, video, video % 4_000 == 0, 1_500) }
            };
            muxer.begin(next).unwrap();
            units += 1;
            drain(&mut muxer, 0).iter().for_each(|packet| receiver.take(packet));
        }
        assert_eq!(receiver.pictures, units);
    }

    #[test]
    fn a_lag_that_is_known_holds_the_clock_back_from_the_start() {
        let mut muxer = muxer(&[Codec::H264, Codec::Aac]);
        let mut receiver = Receiver::default();
        muxer.expect_lag(MediaTime::from_millis(700));
        for number in 0..50 {
            let units = [
                unit(Codec::H264, number * 40, number % 25 == 0, 900),
                unit(Codec::Aac, number * 40 - 700, false, 90),
            ];
            for unit in units {
                let packets = write(&mut muxer, unit);
                packets.iter().for_each(|packet| receiver.take(packet));
            }
        }
        assert_eq!(receiver.pictures, 100);
    }

    proptest! {
        #[test]
        fn a_receiver_finds_no_fault_in_any_stream(
            units in prop::collection::vec(
                (any::<bool>(), -150_i64..3_000, 0_i64..500, any::<bool>(), 1_usize..3_000),
                1..120,
            ),
            video in any::<bool>(),
        ) {
            let codecs = [Codec::Hevc, Codec::Opus];
            let mut muxer = muxer(if video { &codecs } else { &codecs[1..] });
            let mut receiver = Receiver::default();
            let mut now = (1_i64 << 33) / 90 - 60_000;
            for (picture, step, cts, join, len) in units {
                let codec = if picture && video { Codec::Hevc } else { Codec::Opus };
                let late = step.min(0);
                now += step.max(0);
                let cts = MediaTime::from_millis(if picture && video { cts } else { 0 });
                let next = Unit { cts, ..unit(codec, now + late, join, len) };
                if join {
                    muxer.advance(&next);
                    drain(&mut muxer, 0).iter().for_each(|packet| receiver.take(packet));
                }
                muxer.begin(next).unwrap();
                let packets = drain(&mut muxer, 0);
                packets.iter().for_each(|packet| receiver.take(packet));
                if join {
                    prop_assert_eq!(&pids(&packets)[..2], &[0, 0x1000]);
                    prop_assert!(packets.iter().any(|packet| packet.pcr.is_some()));
                }
                let own = packets.iter().filter(|packet| (0x100..0x1000).contains(&packet.pid));
                let bytes: usize = own.clone().map(|packet| packet.payload.len()).sum();
                let header = own.clone().find(|packet| packet.start).map(|p| times(&p.payload).2);
                prop_assert_eq!(bytes, len + header.unwrap());
            }
        }
    }
}
