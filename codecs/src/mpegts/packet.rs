//! The transport packet: header, adaptation field, continuity counters.
//!
//! Spec: ITU-T H.222.0 2.4.3.2 to 2.4.3.5.
//! Shape: sync byte 0x47; start flag and PID (13 bits); adaptation and payload flags, counter (4
//! bits); then the adaptation field, its length first, and the payload up to byte 188.
//! Units: the PCR counts 27 MHz, unrolled to 64 bits.

use crate::media::Codec;
use crate::writer::Writer;

/// Bytes of a packet.
pub const PACKET_LEN: usize = 188;
/// Bytes of the header in front of adaptation field and payload.
pub const HEADER_LEN: usize = 4;
/// Bytes of a packet behind its header.
pub const BODY_LEN: usize = PACKET_LEN - HEADER_LEN;

/// Bytes of an adaptation field with flags alone.
const FLAGS_LEN: usize = 2;
const PCR_LEN: usize = 6;

/// A packet identifier, 13 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(u16);

impl Pid {
    /// The program association table.
    pub const PAT: Self = Self(0);
    /// The program map table of our one program.
    pub const PMT: Self = Self(0x1000);
    /// Nothing: also "this program has no clock".
    pub const NULL: Self = Self(0x1fff);

    /// The low 13 bits of a number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number & 0x1fff)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Where a codec's packets and counters have their place, whatever else the stream carries.
///
/// Each codec has a PID of its own, so that a change of codec is a change of PID, which players
/// follow; another type on a known PID is not looked at by most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot(u8);

impl Slot {
    const PAT: Self = Self(0);
    const PMT: Self = Self(1);
    /// The tables, and one slot for each codec that is carried.
    const COUNT: u8 = 10;
    const STREAMS: u8 = 2;

    pub(super) const fn of(codec: Codec) -> Option<Self> {
        Some(Self(match codec {
            Codec::H264 => 2,
            Codec::Hevc => 3,
            Codec::Aac => 4,
            Codec::Mp3 => 5,
            Codec::Ac3 => 6,
            Codec::Eac3 => 7,
            Codec::Opus => 8,
            Codec::Mp2 => 9,
            _ => return None,
        }))
    }

    pub(super) const fn pid(self) -> Pid {
        match self.0 {
            0 => Pid::PAT,
            1 => Pid::PMT,
            n @ 2..4 => Pid(0x100 + n as u16 - 2),
            n => Pid(0x110 + n as u16 - 4),
        }
    }
}

/// The counter that the next packet of each PID has, and which PIDs the program map lists.
///
/// Shape: 4 bits for each of ten PIDs, then one bit for each of eight streams: 48 bits, so that it
/// fits the entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Continuity(u64);

const _: () = assert!(
    (Slot::COUNT * 5 - Slot::STREAMS) as u32 <= Continuity::BITS,
    "counters and streams fit the bits"
);

impl Continuity {
    /// Bits of [`Self::to_bits`].
    pub const BITS: u32 = 48;
    const LISTED_SHIFT: u8 = Slot::COUNT * 4;

    /// As a number of [`Self::BITS`] bits.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From [`Self::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// The counter of the next packet with payload, which it advances.
    pub(super) const fn take(&mut self, slot: Slot) -> u8 {
        let counter = self.next(slot);
        let shift = slot.0 * 4;
        self.0 = self.0 & !(0xf << shift) | ((counter as u64 + 1) & 0xf) << shift;
        counter
    }

    /// The counter of the last packet with payload, which packets without payload repeat.
    pub(super) const fn last(self, slot: Slot) -> u8 {
        self.next(slot).wrapping_sub(1) & 0xf
    }

    const fn next(self, slot: Slot) -> u8 {
        (self.0 >> (slot.0 * 4) & 0xf) as u8
    }

    /// Every PID that packets may have which are made here, and the counter of its last one.
    pub(super) fn made(self) -> impl Iterator<Item = (Pid, u8)> {
        (0..Slot::COUNT).map(move |slot| (Slot(slot).pid(), self.last(Slot(slot))))
    }

    /// The program map lists exactly these from now on.
    pub(super) fn list(&mut self, slots: impl Iterator<Item = Slot>) {
        self.0 &= (1 << Self::LISTED_SHIFT) - 1;
        for Slot(slot) in slots {
            self.0 |= 1 << (Self::LISTED_SHIFT + slot - Slot::STREAMS);
        }
    }

    fn listed(self) -> impl Iterator<Item = Slot> {
        let streams = (Slot::STREAMS..Slot::COUNT)
            .filter(move |slot| self.0 >> (Self::LISTED_SHIFT + slot - Slot::STREAMS) & 1 == 1);
        [Slot::PAT, Slot::PMT].into_iter().chain(streams.map(Slot))
    }
}

pub(super) const PAT_SLOT: Slot = Slot::PAT;
pub(super) const PMT_SLOT: Slot = Slot::PMT;

/// What the adaptation field of a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Adaptation {
    /// Counters, and the clock if it is the PCR's PID, do not go on from what came before.
    pub discontinuity: bool,
    /// Decoding may start here.
    pub random_access: bool,
    /// The program clock reference.
    pub pcr: Option<i64>,
}

impl Adaptation {
    /// Bytes that it takes at least; none if it says nothing.
    #[must_use]
    pub fn len(&self) -> usize {
        match (self.pcr, *self == Self::default()) {
            (_, true) => 0,
            (None, _) => FLAGS_LEN,
            (Some(_), _) => FLAGS_LEN + PCR_LEN,
        }
    }

    /// True if it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes it with stuffing to `len` bytes, its length field included.
    fn encode(&self, len: usize, writer: &mut Writer<'_>) {
        let Some(behind) = len.checked_sub(1) else { return };
        writer.u8(u8::try_from(behind).expect("an adaptation field fits its packet"));
        if behind == 0 {
            return;
        }
        writer.u8(u8::from(self.discontinuity) << 7
            | u8::from(self.random_access) << 6
            | u8::from(self.pcr.is_some()) << 4);
        let mut used = FLAGS_LEN;
        if let Some(pcr) = self.pcr {
            encode_pcr(pcr, writer);
            used += PCR_LEN;
        }
        for _ in used..len {
            writer.u8(0xff);
        }
    }
}

/// 33 bits of 90 kHz, six reserved ones, nine bits of 27 MHz.
fn encode_pcr(pcr: i64, writer: &mut Writer<'_>) {
    let base = pcr.div_euclid(300).rem_euclid(1 << 33).cast_unsigned();
    let extension = pcr.rem_euclid(300).cast_unsigned();
    let value = base << 15 | 0x3f << 9 | extension;
    let [_, _, bytes @ ..] = value.to_be_bytes();
    writer.put(&bytes);
}

/// The start of one packet, up to where its payload begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketStart {
    pub(super) slot: Slot,
    /// A section or PES packet begins in it.
    pub(super) start: bool,
    pub(super) adaptation: Adaptation,
    /// Bytes of payload; what is left of the packet is stuffed.
    pub(super) payload: usize,
}

impl PacketStart {
    /// Writes header and adaptation field, and advances the counter if there is payload.
    pub(super) fn encode(&self, continuity: &mut Continuity, writer: &mut Writer<'_>) {
        let (slot, adaptation_len) = (self.slot, BODY_LEN - self.payload);
        let counter = if self.payload > 0 { continuity.take(slot) } else { continuity.last(slot) };
        writer.u8(0x47);
        writer.u16(u16::from(self.start) << 14 | slot.pid().get());
        let has_adaptation = u8::from(adaptation_len > 0);
        let has_payload = u8::from(self.payload > 0);
        writer.u8(has_adaptation << 5 | has_payload << 4 | counter);
        self.adaptation.encode(adaptation_len, writer);
    }
}

/// A packet without payload.
pub(super) fn bare_packet(pid: Pid, counter: u8, adaptation: &Adaptation) -> [u8; PACKET_LEN] {
    let mut packet = [0; PACKET_LEN];
    let mut writer = Writer::new(&mut packet);
    writer.u8(0x47);
    writer.u16(pid.get());
    writer.u8(0x20 | counter & 0x0f);
    adaptation.encode(BODY_LEN, &mut writer);
    packet
}

/// What a reader needs between two places of a stream that do not follow each other: for each PID a
/// packet without payload that says so, with the counter that the place behind it goes on from.
///
/// Spec: ITU-T H.222.0 2.4.3.5, `discontinuity_indicator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice(pub Continuity);

impl Splice {
    /// Bytes at most.
    pub const LEN_MAX: usize = Slot::COUNT as usize * PACKET_LEN;

    /// Bytes of all its packets.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.0.listed().count() * PACKET_LEN
    }

    /// Writes them.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let Self(mut continuity) = *self;
        for slot in self.0.listed() {
            let adaptation = Adaptation { discontinuity: true, ..Adaptation::default() };
            PacketStart { slot, start: false, adaptation, payload: 0 }
                .encode(&mut continuity, writer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: Slot = Slot(2);

    fn start(adaptation: Adaptation, payload: usize) -> ([u8; PACKET_LEN], usize) {
        let mut bytes = [0; PACKET_LEN];
        let mut writer = Writer::new(&mut bytes);
        let packet = PacketStart { slot: VIDEO, start: true, adaptation, payload };
        packet.encode(&mut Continuity::default(), &mut writer);
        let len = writer.written();
        (bytes, len)
    }

    #[test]
    fn stuffing_fills_what_payload_leaves() {
        for payload in 1..=BODY_LEN {
            let (bytes, len) = start(Adaptation::default(), payload);
            assert_eq!(len + payload, PACKET_LEN);
            let stuffed = BODY_LEN - payload;
            assert_eq!(bytes[..3], [0x47, 0x41, 0x00]);
            assert_eq!(bytes[3], if stuffed > 0 { 0x30 } else { 0x10 });
            match stuffed {
                0 => {}
                1 => assert_eq!(bytes[4], 0),
                _ => {
                    assert_eq!(usize::from(bytes[4]), stuffed - 1);
                    assert_eq!(bytes[5], 0);
                    assert!(bytes[6..len].iter().all(|&byte| byte == 0xff));
                }
            }
        }
    }

    #[test]
    fn the_clock_has_33_bits_and_nine() {
        let table = [
            (0, [0, 0, 0, 0, 0x7e, 0]),
            (299, [0, 0, 0, 0, 0x7f, 0x2b]),
            (300, [0, 0, 0, 0, 0xfe, 0]),
            ((1 << 33) * 300 - 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0x2b]),
            ((1 << 33) * 300, [0, 0, 0, 0, 0x7e, 0]),
            (-1, [0xff, 0xff, 0xff, 0xff, 0xff, 0x2b]),
        ];
        for (pcr, expected) in table {
            let adaptation = Adaptation { pcr: Some(pcr), ..Adaptation::default() };
            let (bytes, _) = start(adaptation, 100);
            assert_eq!((bytes[4], bytes[5]), (83, 0x10));
            assert_eq!(bytes[6..12], expected, "{pcr}");
        }
    }

    #[test]
    fn counters_go_round_and_only_with_payload() {
        let mut continuity = Continuity::default();
        let taken: [u8; 18] = core::array::from_fn(|_| continuity.take(VIDEO));
        let expected: [u8; 18] = core::array::from_fn(|n| u8::try_from(n % 16).unwrap());
        assert_eq!(taken, expected);
        assert_eq!(continuity.last(VIDEO), 1);
        assert_eq!(continuity.last(Slot::PMT), 15);
        assert_eq!(continuity.take(Slot::PMT), 0);
    }

    #[test]
    fn a_splice_speaks_for_each_listed_pid() {
        let codecs = [
            Codec::H264,
            Codec::Hevc,
            Codec::Aac,
            Codec::Mp3,
            Codec::Ac3,
            Codec::Eac3,
            Codec::Opus,
            Codec::Mp2,
        ];
        let mut continuity = Continuity::default();
        let slots = codecs.map(|codec| Slot::of(codec).unwrap());
        continuity.list(slots.into_iter());
        assert_eq!(Splice(continuity).encoded_len(), Splice::LEN_MAX);
        continuity.list([slots[0], slots[3]].into_iter());
        for (slot, count) in [(Slot::PAT, 3), (Slot::PMT, 1), (slots[0], 0), (slots[3], 16)] {
            (0..count).for_each(|_| _ = continuity.take(slot));
        }
        let kept = Continuity::from_bits(continuity.to_bits());
        assert_eq!(kept, continuity);
        let mut bytes = [0; 4 * PACKET_LEN];
        assert_eq!(Splice(kept).encoded_len(), bytes.len());
        Splice(kept).encode(&mut Writer::new(&mut bytes));
        let heads = bytes.chunks(PACKET_LEN).map(|packet| *packet.first_chunk().unwrap());
        let expected: [[u8; 6]; 4] = [
            [0x47, 0, 0, 0x22, 183, 0x80],
            [0x47, 0x10, 0, 0x20, 183, 0x80],
            [0x47, 0x01, 0, 0x2f, 183, 0x80],
            [0x47, 0x01, 0x11, 0x2f, 183, 0x80],
        ];
        assert!(heads.eq(expected));
    }

    #[test]
    fn no_two_codecs_share_a_pid_and_others_have_none() {
        let pids: alloc::vec::Vec<_> = (0..Slot::COUNT).map(|n| Slot(n).pid()).collect();
        for (at, pid) in pids.iter().enumerate() {
            assert!(!pids[..at].contains(pid));
        }
        for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Flac, Codec::Speex, Codec::Vvc] {
            assert_eq!(Slot::of(codec), None, "{codec:?}");
        }
    }
}
