//! What comes out of a demultiplexer.

use alloc::boxed::Box;

use super::carriage::{Carriage, DataFormat};
use super::reference_clock::ClockJump;
use super::store::TrackSlot;
use crate::media::{Codec, DecoderConfig};
use crate::mpegts::packet::Pid;
use crate::time::MediaTime;

/// One thing that the stream said; `U` is a unit's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<U> {
    /// The program has this track from now on.
    Track(Track),
    /// The program has it no more.
    TrackEnded(TrackSlot),
    /// What a decoder must know before the next unit of a track.
    Config {
        /// Which track.
        track: TrackSlot,
        /// Its codec and record.
        config: Box<DecoderConfig>,
    },
    /// A frame of sound or a picture.
    Unit(MediaUnit<U>),
    /// Timed data.
    Data(DataUnit<U>),
    /// The program's clock goes on from somewhere else; see [`ClockJump::time_base`].
    ClockJump(ClockJump),
}

/// A track of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its number here.
    pub slot: TrackSlot,
    /// Where its packets are.
    pub pid: Pid,
    /// `stream_type`.
    pub stream_type: u8,
    /// What it holds.
    pub carriage: Carriage,
    /// ISO 639-2, if the program map tells.
    pub language: Option<[u8; 3]>,
}

/// A frame of sound or a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaUnit<U> {
    /// Its track.
    pub track: TrackSlot,
    /// Its codec.
    pub codec: Codec,
    /// When to decode.
    pub dts: MediaTime,
    /// When to present.
    pub pts: MediaTime,
    /// The number of the time base of both: how often the clock had jumped before.
    pub time_base: u32,
    /// Decoding may start here.
    pub keyframe: bool,
    /// Packets of it are missing.
    pub damaged: bool,
    /// A unit of this track before it was dropped, or may have been.
    pub after_gap: bool,
    /// It came without a time: this one goes on from the unit before.
    pub estimated: bool,
    /// NAL units with 4-byte lengths, or a frame without its transport header.
    pub bytes: U,
}

/// Timed data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataUnit<U> {
    /// Its track.
    pub track: TrackSlot,
    /// What it is.
    pub format: DataFormat,
    /// Its own time, or that of the program's clock when it came.
    pub pts: MediaTime,
    /// The number of its time base.
    pub time_base: u32,
    /// A whole section, or the payload of a PES packet.
    pub bytes: U,
}

/// What was found since the start; nothing of it ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Transport packets.
    pub packets: u64,
    /// Those that fill the rate and hold nothing.
    pub null_packets: u64,
    /// Times that the rhythm of packets was lost.
    pub sync_losses: u64,
    /// Bytes that were no packet.
    pub bytes_skipped: u64,
    /// Packets that a demodulator marked as damaged.
    pub transport_errors: u64,
    /// Packets whose header contradicts itself.
    pub malformed: u64,
    /// Packets that are encrypted.
    pub scrambled: u64,
    /// Packets that repeat the one before.
    pub duplicates: u64,
    /// Times that packets were missing.
    pub continuity_errors: u64,
    /// How many at least.
    pub packets_lost: u64,
    /// Sections whose checksum is wrong.
    pub crc_errors: u64,
    /// Tables that cannot be read, or that are more than is kept.
    pub table_errors: u64,
    /// PES packets whose header cannot be read.
    pub pes_errors: u64,
    /// Times that the clock jumped.
    pub clock_jumps: u64,
    /// Frames and pictures that were given out.
    pub units: u64,
    /// Those of them, or dropped ones, that miss packets.
    pub units_damaged: u64,
    /// Dropped, longer than is allowed.
    pub units_too_large: u64,
    /// Dropped for want of memory.
    pub units_without_room: u64,
    /// Dropped before the decoder's configuration was there, or whole.
    pub units_without_config: u64,
    /// Dropped before any time was there.
    pub units_without_time: u64,
    /// Given out with a time that goes on from the one before.
    pub units_estimated: u64,
    /// Dropped, nothing in them or nothing that can be read.
    pub units_unreadable: u64,
    /// Times that frames of sound did not follow each other.
    pub frame_sync_losses: u64,
    /// Sections and packets of data that were given out.
    pub data_units: u64,
}
