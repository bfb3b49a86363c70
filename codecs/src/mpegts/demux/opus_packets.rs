//! Packets of Opus behind control headers.
//!
//! Spec: the Opus mapping of Xiph ("OpusTS") 4.
//! Shape: eleven bits of prefix, flags of a trim at the start, one at the end and an extension, two
//! reserved bits; the packet's length in bytes of which all but the last are 255; what the flags
//! announce; the packet.

use alloc::vec::Vec;

use super::event::MediaUnit;
use super::frame_times::FrameTimes;
use super::sink::{OpenUnit, Sink};
use super::store::UnitStore;
use crate::media::{Codec, DecoderConfig};
use crate::opus;
use crate::time::MediaTime;

const PREFIX: u16 = 0x3ff << 5;
const PREFIX_MASK: u16 = 0xffe0;
const TRIM_START: u16 = 0x10;
const TRIM_END: u16 = 0x08;
const EXTENSION: u16 = 0x04;
/// Streams and how many of them are pairs, by channel configuration.
const STREAMS: [(u8, u8); 9] =
    [(1, 1), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 2), (4, 3), (5, 3)];
/// Where each channel comes from, by channel configuration.
const MAPPINGS: [&[u8]; 9] = [
    &[0, 1],
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 4, 1, 2, 3],
    &[0, 4, 1, 2, 3, 5],
    &[0, 4, 1, 2, 3, 5, 6],
    &[0, 6, 1, 2, 3, 4, 5, 7],
];

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing is read before the next PES packet.
    Lost,
    /// The first byte of the prefix, if it came.
    Prefix(Option<u8>),
    /// The length so far.
    Length { flags: u16, len: usize },
    /// The length of the extension comes behind so many bytes.
    Extension { left: usize, len: usize },
    /// So many bytes are passed over.
    Passed { left: usize, len: usize },
    /// So many bytes of the packet are left.
    Packet { left: usize },
}

/// Assembles the packets of one track.
#[derive(Clone, Debug)]
pub(super) struct OpusPackets {
    channel_config: u8,
    is_configured: bool,
    state: State,
    /// The first bytes of the packet, which tell how long it lasts.
    first: [u8; 2],
    first_len: usize,
    told: Option<MediaTime>,
    times: FrameTimes,
    unit: OpenUnit,
    after_gap: bool,
}

impl OpusPackets {
    pub(super) const fn new(channel_config: u8) -> Self {
        Self {
            channel_config,
            is_configured: false,
            state: State::Lost,
            first: [0; 2],
            first_len: 0,
            told: None,
            times: FrameTimes::new(),
            unit: OpenUnit::new(),
            after_gap: false,
        }
    }

    /// A PES packet begins.
    pub(super) const fn begin_pes(&mut self, time: Option<MediaTime>, time_base: u32) {
        self.times.tell(time, time_base);
        if matches!(self.state, State::Lost) {
            self.state = State::Prefix(None);
        }
    }

    /// Takes its payload.
    pub(super) fn payload<S: UnitStore>(&mut self, mut input: &[u8], sink: &mut Sink<'_, S>) {
        while let Some((&first, rest)) = input.split_first() {
            match self.state {
                State::Lost => return,
                State::Prefix(None) => {
                    self.told = self.times.take_told();
                    self.state = State::Prefix(Some(first));
                    input = rest;
                }
                State::Prefix(Some(high)) => {
                    let flags = u16::from_be_bytes([high, first]);
                    if flags & PREFIX_MASK != PREFIX {
                        sink.counters.frame_sync_losses += 1;
                        self.forget(sink);
                        return;
                    }
                    self.state = State::Length { flags, len: 0 };
                    input = rest;
                }
                State::Length { flags, len } => {
                    let len = len + usize::from(first);
                    self.state = match first {
                        0xff => State::Length { flags, len },
                        _ => Self::behind_length(flags, len),
                    };
                    input = rest;
                    self.begin_packet(sink);
                }
                State::Extension { left: 0, len } => {
                    self.state = State::Passed { left: usize::from(first), len };
                    input = rest;
                    self.begin_packet(sink);
                }
                State::Extension { left, len } => {
                    self.state = State::Extension { left: left - 1, len };
                    input = rest;
                }
                State::Passed { left, len } => {
                    let passed = left.min(input.len());
                    self.state = State::Passed { left: left - passed, len };
                    input = input.get(passed..).unwrap_or_default();
                    self.begin_packet(sink);
                }
                State::Packet { left } => {
                    let (now, later) = input.split_at(left.min(input.len()));
                    self.packet(now, left - now.len(), sink);
                    input = later;
                }
            }
        }
    }

    /// Packets are missing here.
    pub(super) fn lose<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        sink.counters.units_damaged += u64::from(!matches!(self.state, State::Prefix(None)));
        self.forget(sink);
    }

    /// Passes over the rest of the PES packet.
    pub(super) fn forget<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        self.unit.abort(sink);
        (self.state, self.after_gap) = (State::Lost, true);
    }

    const fn behind_length(flags: u16, len: usize) -> State {
        let mut left = 0;
        if flags & TRIM_START != 0 {
            left += 2;
        }
        if flags & TRIM_END != 0 {
            left += 2;
        }
        if flags & EXTENSION != 0 {
            State::Extension { left, len }
        } else {
            State::Passed { left, len }
        }
    }

    /// The packet begins if nothing is left before it.
    fn begin_packet<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let State::Passed { left: 0, len } = self.state else { return };
        self.first_len = 0;
        self.state = State::Packet { left: len };
        if len == 0 {
            self.packet(&[], 0, sink);
        }
    }

    fn packet<S: UnitStore>(&mut self, bytes: &[u8], left: usize, sink: &mut Sink<'_, S>) {
        for &byte in bytes.iter().take(2) {
            if let Some(place) = self.first.get_mut(self.first_len) {
                *place = byte;
                self.first_len += 1;
            }
        }
        self.unit.append(bytes, sink);
        self.state = State::Packet { left };
        if left == 0 {
            self.state = State::Prefix(None);
            self.give(sink);
        }
    }

    fn give<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let first = self.first.get(..self.first_len).unwrap_or_default();
        let samples = opus::packet_samples(first);
        let time = self.times.place(self.told.take(), samples, opus::SAMPLE_RATE);
        let is_whole = self.unit.end();
        self.configure(sink);
        let Some(time) = time.filter(|_| is_whole && self.is_configured) else {
            sink.counters.units_without_time += u64::from(is_whole && time.is_none());
            sink.abort();
            self.after_gap = true;
            return;
        };
        sink.give(MediaUnit {
            track: sink.track,
            codec: Codec::Opus,
            dts: time.at,
            pts: time.at,
            time_base: time.time_base,
            keyframe: true,
            damaged: false,
            after_gap: core::mem::take(&mut self.after_gap),
            estimated: time.estimated,
            bytes: (),
        });
    }

    fn configure<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        if self.is_configured {
            return;
        }
        if let Ok(config) = DecoderConfig::parse(Codec::Opus, &record(self.channel_config)) {
            self.is_configured = true;
            sink.configure(config);
        }
    }
}

/// The identification header, without its magic, of a channel configuration.
fn record(channel_config: u8) -> Vec<u8> {
    let at = usize::from(channel_config);
    let mapping = MAPPINGS.get(at).copied().unwrap_or_default();
    let channels = u8::try_from(mapping.len()).unwrap_or_default();
    let family = match channel_config {
        // Dual mono: two channels that have nothing to do with each other, coded as a pair.
        0 => u8::MAX,
        1 | 2 => 0,
        _ => 1,
    };
    let mut record = Vec::from([1, channels, 0, 0]);
    record.extend_from_slice(&opus::SAMPLE_RATE.to_le_bytes());
    record.extend_from_slice(&[0, 0, family]);
    if family != 0 {
        let (streams, pairs) = STREAMS.get(at).copied().unwrap_or_default();
        record.extend_from_slice(&[streams, pairs]);
        record.extend_from_slice(mapping);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opus::OpusHead;

    #[test]
    fn every_channel_configuration_has_a_header() {
        // Streams and pairs as other readers have them.
        for (config, channels, family, coded) in [
            (0, 2, 255, Some((1, 1))),
            (1, 1, 0, None),
            (2, 2, 0, None),
            (3, 3, 1, Some((2, 1))),
            (4, 4, 1, Some((2, 2))),
            (5, 5, 1, Some((3, 2))),
            (6, 6, 1, Some((4, 2))),
            (7, 7, 1, Some((4, 3))),
            (8, 8, 1, Some((5, 3))),
        ] {
            let record = record(config);
            let head = OpusHead::parse(&record).unwrap();
            assert_eq!((head.channels, head.mapping_family), (channels, family));
            let (id, mapping) = record.split_at(11);
            let found = mapping.first_chunk().map(|&[streams, pairs]| (streams, pairs));
            assert_eq!((id.len(), found), (11, coded), "{config}");
            let mut from = mapping.iter().skip(2).copied().collect::<Vec<_>>();
            from.sort_unstable();
            assert!(from.is_empty() || from.into_iter().eq(0..channels), "{config}");
        }
    }
}
