//! Pictures out of a byte stream.
//!
//! In/Out: NAL units get 4-byte lengths; delimiters go, parameter sets go into the configuration.
//! A picture ends where the next one begins, or with its PES packet if that tells its length, is
//! not so long that the picture had to be parted, and the packets before it were seen to hold
//! whole pictures. An encoder that begins to part short ones is noticed by the first of them, which
//! comes out cut off, and the next unit comes after a gap.

use super::event::MediaUnit;
use super::nal_kind::{NalKind, is_recovery_point};
use super::nal_splitter::{NalPiece, NalSplitter};
use super::parameter_sets::ParameterSets;
use super::picture_times::{PictureTime, PictureTimes};
use super::sink::{OpenUnit, Sink};
use super::store::UnitStore;
use crate::media::Codec;
use crate::time::MediaTime;

/// Bytes of supplemental information that are looked at.
const SEI_LEN: usize = 64;
const ZEROS: [u8; 64] = [0; 64];
/// PES packets in a row that have to hold whole pictures before their lengths end pictures.
const ALIGNED_MIN: u8 = 2;
/// Bytes of payload from which on a PES packet may be as long as its length field allows.
const LONG_PES_LEN: usize = 60_000;

/// What the header of a PES packet says of the picture that begins in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PesStart {
    /// PTS and DTS.
    pub(super) times: Option<(MediaTime, MediaTime)>,
    /// The number of their time base.
    pub(super) time_base: u32,
    /// `random_access_indicator`.
    pub(super) random_access: bool,
    /// Bytes of its payload, if it tells.
    pub(super) payload_len: Option<usize>,
}

/// What PES packets that tell their lengths are to pictures.
#[derive(Clone, Copy, Debug)]
enum Alignment {
    /// So many in a row held whole ones.
    Unknown(u8),
    /// They hold whole ones, but for long ones.
    Whole,
    /// Pictures go on in the next one.
    Spanning,
}

/// A PES packet came to its end, and nothing of the next one was looked at.
#[derive(Clone, Copy, Debug)]
struct PesEnd {
    is_long: bool,
    /// The picture was ended with it.
    is_cut: bool,
    /// A start code came since.
    is_passed: bool,
}

/// The NAL unit that is coming.
#[derive(Clone, Copy, Debug, Default)]
enum Nal {
    /// None, or one that is passed over.
    #[default]
    None,
    /// Its first bytes.
    Head,
    /// It is stored; its length is at this byte of the unit.
    Stored(usize),
    /// The same, and it is supplemental information.
    Sei(usize),
    /// A parameter set.
    Set,
}

/// The first bytes of something.
#[derive(Clone, Copy, Debug)]
struct Prefix<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Prefix<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Prefix<N> {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The picture that is open.
#[derive(Clone, Copy, Debug, Default)]
struct Picture {
    times: Option<(MediaTime, MediaTime)>,
    time_base: u32,
    random_access: bool,
    has_slices: bool,
    is_intra: bool,
    has_sequence: bool,
    is_recovery: bool,
    is_damaged: bool,
}

/// Assembles the pictures of one track.
#[derive(Clone, Debug)]
pub(super) struct Video {
    codec: Codec,
    splitter: NalSplitter,
    nal: Nal,
    head: Prefix<3>,
    sei: Prefix<SEI_LEN>,
    unit: OpenUnit,
    picture: Option<Picture>,
    sets: ParameterSets,
    /// The PES packet whose first picture has not begun.
    pes: Option<PesStart>,
    times: PictureTimes,
    /// The number of the time base of the last time that was told.
    time_base: u32,
    /// Packets are missing: nothing is read before the next PES packet.
    is_lost: bool,
    after_gap: bool,
    alignment: Alignment,
    /// The PES packet that is being read is a long one.
    is_long: bool,
    pes_end: Option<PesEnd>,
}

impl Video {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            splitter: NalSplitter::default(),
            nal: Nal::None,
            head: Prefix::default(),
            sei: Prefix::default(),
            unit: OpenUnit::default(),
            picture: None,
            sets: ParameterSets::new(codec),
            pes: None,
            times: PictureTimes::default(),
            time_base: 0,
            is_lost: false,
            after_gap: false,
            alignment: Alignment::Unknown(0),
            is_long: false,
            pes_end: None,
        }
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.sets.buffer_bytes()
    }

    /// A PES packet begins.
    pub(super) fn begin_pes(&mut self, start: PesStart) {
        self.is_long = start.payload_len.is_some_and(|len| len >= LONG_PES_LEN);
        self.pes = Some(start);
        self.is_lost = false;
    }

    /// Takes its payload.
    pub(super) fn payload<S: UnitStore>(&mut self, mut input: &[u8], sink: &mut Sink<'_, S>) {
        if self.is_lost {
            return;
        }
        while let Some(piece) = self.splitter.next(&mut input) {
            match piece {
                NalPiece::Start => {
                    self.end_nal(sink);
                    self.pes_end.iter_mut().for_each(|end| end.is_passed = true);
                    self.nal = Nal::Head;
                    self.head = Prefix::default();
                }
                NalPiece::Zeros(mut count) => {
                    while count > 0 {
                        let now = count.min(64);
                        self.bytes(ZEROS.get(..now as usize).unwrap_or_default(), sink);
                        count = if matches!(self.nal, Nal::None) { 0 } else { count - now };
                    }
                }
                NalPiece::Bytes(bytes) => self.bytes(bytes, sink),
            }
        }
    }

    /// The PES packet is over, as its length tells.
    pub(super) fn end_pes<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let Some(picture) = self.picture else { return };
        let is_long = self.is_long;
        let is_cut = match self.alignment {
            Alignment::Whole => !is_long,
            // Parameter sets alone are no picture that could go on.
            Alignment::Unknown(_) => !is_long && !picture.has_slices,
            Alignment::Spanning => false,
        };
        if is_cut {
            self.end(sink);
        }
        self.pes_end = Some(PesEnd { is_long, is_cut, is_passed: false });
    }

    /// The first thing behind the end of a PES packet tells whether pictures are whole in them.
    const fn judge_end(&mut self, goes_on: bool) {
        let Some(end) = self.pes_end.take() else { return };
        self.after_gap |= goes_on && end.is_cut;
        if end.is_long {
            return;
        }
        self.alignment = match self.alignment {
            _ if goes_on => Alignment::Spanning,
            Alignment::Unknown(count) if count + 1 < ALIGNED_MIN => Alignment::Unknown(count + 1),
            Alignment::Unknown(_) => Alignment::Whole,
            known => known,
        };
    }

    /// The stream is over.
    pub(super) fn end<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        self.end_nal(sink);
        self.splitter = NalSplitter::default();
        self.end_picture(sink);
    }

    /// Packets are missing here.
    pub(super) fn lose<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let is_at_end = self.pes_end.take().is_some_and(|end| !end.is_long);
        if is_at_end && matches!(self.alignment, Alignment::Unknown(1..)) {
            // They are missing behind its PES packet, which most likely held all of it.
            self.end(sink);
        }
        self.after_gap = true;
        self.times.lose();
        match &mut self.picture {
            Some(picture) if sink.keeps_damaged() => {
                if !core::mem::replace(&mut picture.is_damaged, true) {
                    sink.counters.units_damaged += 1;
                }
                if matches!(self.nal, Nal::Set) {
                    self.sets.abort();
                    self.nal = Nal::None;
                }
                return;
            }
            Some(_) => sink.counters.units_damaged += 1,
            None => {}
        }
        self.picture = None;
        self.unit.abort(sink);
        self.sets.abort();
        self.nal = Nal::None;
        self.splitter = NalSplitter::default();
        self.is_lost = true;
    }

    fn bytes<S: UnitStore>(&mut self, mut bytes: &[u8], sink: &mut Sink<'_, S>) {
        if self.pes_end.is_some_and(|end| !end.is_passed && !bytes.is_empty()) {
            self.judge_end(true);
        }
        while let (Nal::Head, Some((&first, rest))) = (self.nal, bytes.split_first()) {
            self.head.push(first);
            bytes = rest;
            if self.head.len >= self.head_len() {
                self.open_nal(sink);
            }
        }
        match self.nal {
            Nal::None | Nal::Head => {}
            Nal::Set => self.sets.append(bytes),
            Nal::Stored(_) => self.unit.append(bytes, sink),
            Nal::Sei(_) => {
                bytes.iter().take(SEI_LEN).for_each(|&byte| self.sei.push(byte));
                self.unit.append(bytes, sink);
            }
        }
    }

    /// Bytes by which a NAL unit is judged: its type, and for slices whether it is the first.
    fn head_len(&self) -> usize {
        match (self.codec, self.head.get().first()) {
            (Codec::Hevc, Some(header)) if header >> 1 & 0x3f < 32 => 3,
            // The layer goes on in the second byte.
            (Codec::Hevc, Some(_)) => 2,
            (Codec::H264, Some(header)) if matches!(header & 0x1f, 1 | 2 | 5) => 2,
            _ => 1,
        }
    }

    fn open_nal<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let head = self.head;
        let kind = NalKind::of(self.codec, head.get());
        if kind == NalKind::Layer {
            self.nal = Nal::None;
            return;
        }
        let has_slices = self.picture.is_some_and(|picture| picture.has_slices);
        if has_slices && kind.begins_picture() {
            self.end_picture(sink);
        }
        let is_rest = matches!(kind, NalKind::Slice { first: false, .. });
        if is_rest || kind.begins_picture() {
            self.judge_end(is_rest);
        }
        if self.picture.is_none() {
            if is_rest {
                // The slices before it are missing, so nothing can be done with it.
                self.nal = Nal::None;
                return;
            }
            self.begin_picture();
        }
        let Some(picture) = &mut self.picture else { return };
        match kind {
            NalKind::Delimiter => {
                self.nal = Nal::None;
                return;
            }
            NalKind::ParameterSet { is_sequence } => {
                picture.has_sequence |= is_sequence;
                self.sets.begin();
                self.sets.append(head.get());
                self.nal = Nal::Set;
                return;
            }
            NalKind::Slice { is_intra, .. } => {
                picture.is_intra |= is_intra;
                if !core::mem::replace(&mut picture.has_slices, true) {
                    self.settle(sink);
                }
            }
            NalKind::Sei | NalKind::Layer | NalKind::Other { .. } => {}
        }
        let at = self.unit.len();
        self.unit.append(&[0; 4], sink);
        self.unit.append(head.get(), sink);
        self.sei = Prefix::default();
        self.nal = if kind == NalKind::Sei { Nal::Sei(at) } else { Nal::Stored(at) };
    }

    fn end_nal<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        if matches!(self.nal, Nal::Head) && self.head.len > 0 {
            self.open_nal(sink);
        }
        match core::mem::take(&mut self.nal) {
            Nal::None | Nal::Head => {}
            Nal::Set => self.sets.end(),
            Nal::Stored(at) => self.unit.set_length(at, sink),
            Nal::Sei(at) => {
                self.unit.set_length(at, sink);
                let is_recovery = self.codec == Codec::H264 && is_recovery_point(self.sei.get());
                if let Some(picture) = &mut self.picture {
                    picture.is_recovery |= is_recovery;
                }
            }
        }
    }

    fn begin_picture(&mut self) {
        let pes = self.pes.take().unwrap_or_default();
        let PesStart { times, random_access, .. } = pes;
        if times.is_some() {
            self.time_base = pes.time_base;
        }
        let time_base = self.time_base;
        self.picture = Some(Picture { times, time_base, random_access, ..Picture::default() });
    }

    fn settle<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        match self.sets.settle() {
            Ok(Some(config)) => {
                let rate = config.video.and_then(|video| video.fps_milli);
                rate.into_iter().for_each(|rate| self.times.expect(rate));
                sink.configure(config);
            }
            Ok(None) => {}
            Err(_) => sink.counters.units_unreadable += 1,
        }
        sink.counters.units_unreadable += self.sets.take_refused();
    }

    fn end_picture<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let Some(picture) = self.picture.take() else { return };
        let is_whole = self.unit.end();
        let time = if picture.has_slices { self.times.place(picture.times) } else { None };
        let counters = &mut *sink.counters;
        let wanted = match time {
            _ if !picture.has_slices => {
                counters.units_unreadable += u64::from(is_whole);
                None
            }
            _ if !is_whole => None,
            _ if !self.sets.is_settled() => {
                counters.units_without_config += 1;
                None
            }
            None => {
                counters.units_without_time += 1;
                None
            }
            time => time,
        };
        let Some(PictureTime { pts, dts, estimated }) = wanted else {
            sink.abort();
            self.after_gap = true;
            return;
        };
        let keyframe = picture.is_intra
            || self.codec == Codec::H264
                && (picture.is_recovery || picture.random_access && picture.has_sequence);
        sink.give(MediaUnit {
            track: sink.track,
            codec: self.codec,
            dts,
            pts,
            time_base: picture.time_base,
            keyframe,
            damaged: picture.is_damaged,
            after_gap: core::mem::take(&mut self.after_gap),
            estimated,
            bytes: (),
        });
    }
}
