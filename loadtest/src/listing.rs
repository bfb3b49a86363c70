//! What a transport stream holds, as the demultiplexer of the codecs finds it.
//!
//! The checker of [`crate::mpegts`] tells whether a stream keeps the rules; this tells what becomes
//! of it: a stream that breaks some may be read all the same, and one that keeps all may hold what
//! nobody reads.
//!
//! Limits: those of the reader; [`TRACKS_MAX`] tracks are told, and no unit is kept.

use std::fmt;

use codecs::media::DecoderConfig;
use codecs::mpegts::demux::{
    Counters, DataFormat, Demuxer, Event, NoRoom, Settings, Track, TrackSlot, UnitStore,
};
use codecs::time::MediaTime;
use serde::Serialize;

/// Tracks that are told at most, those that ended among them.
pub const TRACKS_MAX: usize = 64;

/// A track that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrackListing {
    /// Its PID.
    pub pid: u16,
    /// Its codec or format.
    pub format: String,
    /// What its configuration says, for people.
    pub detail: String,
    /// Pictures, frames of sound, or pieces of data.
    pub units: u64,
    /// Of them those where decoding may start.
    pub keyframes: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// From the first decode time to the last.
    pub seconds: f64,
    #[serde(skip)]
    first: Option<MediaTime>,
}

/// A stream that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct UnreadStream {
    /// Its PID.
    pub pid: u16,
    /// Its stream_type.
    pub stream_type: u8,
}

/// What is read of a transport stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Listing {
    /// The number of the program.
    pub program: Option<u16>,
    /// Its tracks.
    pub tracks: Vec<TrackListing>,
    /// Its streams that are not read.
    pub unread: Vec<UnreadStream>,
    /// Units that are not whole, or not readable.
    pub units_lost: u64,
    /// Times that the clock went on from somewhere else.
    pub clock_jumps: u64,
}

/// Lists a stream while it is read.
#[derive(Debug)]
pub struct Lister {
    demuxer: Demuxer<u64>,
    store: Lengths,
    /// The listing that each track of the program has now.
    slots: Vec<usize>,
    tracks: Vec<TrackListing>,
}

impl Default for Lister {
    fn default() -> Self {
        let demuxer = Demuxer::new(Settings::default());
        Self { demuxer, store: Lengths::default(), slots: Vec::new(), tracks: Vec::new() }
    }
}

impl Lister {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(event) = self.demuxer.feed(&mut bytes, &mut self.store) {
            self.take(event);
        }
    }

    /// The stream is over.
    #[must_use]
    pub fn finish(mut self) -> Listing {
        self.demuxer.finish(&mut self.store);
        while let Some(event) = self.demuxer.poll() {
            self.take(event);
        }
        let program = self.demuxer.program();
        let streams = program.map(|program| program.streams.as_slice()).unwrap_or_default();
        let unread = streams.iter().filter(|stream| stream.carriage.is_none());
        let counters = self.demuxer.counters();
        Listing {
            program: program.map(|program| program.number),
            unread: unread
                .map(|stream| UnreadStream {
                    pid: stream.pid.get(),
                    stream_type: stream.stream_type,
                })
                .collect(),
            tracks: self.tracks,
            units_lost: units_lost(&counters),
            clock_jumps: counters.clock_jumps,
        }
    }

    fn take(&mut self, event: Event<u64>) {
        match event {
            Event::Track(track) => self.begin(&track),
            Event::Config { track, config } => {
                if let Some(listing) = self.listing(track) {
                    config.codec.name().clone_into(&mut listing.format);
                    listing.detail = detail(&config);
                }
            }
            Event::Unit(unit) => self.count(unit.track, unit.dts, unit.keyframe, unit.bytes),
            Event::Data(unit) => {
                let format = match unit.format {
                    DataFormat::Scte35 => "scte35",
                    DataFormat::Klv => "klv",
                };
                if let Some(listing) = self.listing(unit.track) {
                    format.clone_into(&mut listing.format);
                }
                self.count(unit.track, unit.pts, true, unit.bytes);
            }
            Event::TrackEnded(_) | Event::ClockJump(_) => {}
        }
    }

    fn begin(&mut self, track: &Track) {
        let slot = track.slot.index();
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, usize::MAX);
        }
        self.slots[slot] = self.tracks.len();
        if self.tracks.len() < TRACKS_MAX {
            let format = format!("type {:#04x}", track.stream_type);
            let pid = track.pid.get();
            self.tracks.push(TrackListing { pid, format, ..TrackListing::default() });
        }
    }

    fn listing(&mut self, track: TrackSlot) -> Option<&mut TrackListing> {
        self.tracks.get_mut(*self.slots.get(track.index())?)
    }

    fn count(&mut self, track: TrackSlot, at: MediaTime, is_key: bool, bytes: u64) {
        let Some(listing) = self.listing(track) else { return };
        listing.units += 1;
        listing.keyframes += u64::from(is_key);
        listing.bytes += bytes;
        let first = *listing.first.get_or_insert(at);
        listing.seconds = (at - first).as_nanos() as f64 / 1e9;
    }
}

/// Nothing is kept of a unit but how long it is.
#[derive(Debug, Default)]
struct Lengths(Vec<u64>);

impl Lengths {
    fn open(&mut self, track: TrackSlot) -> &mut u64 {
        if self.0.len() <= track.index() {
            self.0.resize(track.index() + 1, 0);
        }
        &mut self.0[track.index()]
    }
}

impl UnitStore for Lengths {
    type Unit = u64;

    fn append(&mut self, track: TrackSlot, bytes: &[u8]) -> Result<(), NoRoom> {
        *self.open(track) += bytes.len() as u64;
        Ok(())
    }

    fn overwrite(&mut self, _track: TrackSlot, _at: usize, _bytes: [u8; 4]) {}

    fn finish(&mut self, track: TrackSlot) -> u64 {
        std::mem::take(self.open(track))
    }

    fn abort(&mut self, track: TrackSlot) {
        *self.open(track) = 0;
    }
}

fn detail(config: &DecoderConfig) -> String {
    let mut words = vec![config.codec_string.clone()];
    words.extend(config.video.map(|video| format!("{}x{}", video.width, video.height)));
    words.extend(
        config.audio.map(|audio| format!("{} Hz, {} channels", audio.sample_rate, audio.channels)),
    );
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

const fn units_lost(counters: &Counters) -> u64 {
    counters.units_damaged
        + counters.units_too_large
        + counters.units_without_config
        + counters.units_without_time
        + counters.units_unreadable
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(program) = self.program else {
            return writeln!(f, "nothing of it can be read: no program with a known codec");
        };
        writeln!(f, "what is read of program {program}:")?;
        for track in &self.tracks {
            let TrackListing { pid, format, detail, units, keyframes, bytes, seconds, .. } = track;
            let space = if detail.is_empty() { "" } else { " " };
            write!(f, "  {pid:#06x} {format}{space}{detail}: {units} units")?;
            if keyframes != units {
                write!(f, ", {keyframes} keyframes")?;
            }
            writeln!(f, ", {bytes} bytes, {seconds:.3} s")?;
        }
        for UnreadStream { pid, stream_type } in &self.unread {
            writeln!(f, "  {pid:#06x} type {stream_type:#04x}: not read")?;
        }
        if self.units_lost > 0 {
            writeln!(f, "  {} units are not whole or cannot be read", self.units_lost)?;
        }
        if self.clock_jumps > 0 {
            writeln!(f, "  the clock jumps {} times", self.clock_jumps)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(stream: &[u8], step: usize) -> Listing {
        let mut lister = Lister::default();
        stream.chunks(step).for_each(|piece| lister.feed(piece));
        lister.finish()
    }

    #[test]
    fn tracks_are_told_with_what_is_in_them() {
        let stream = include_bytes!("../../codecs/testdata/mpegts/ffmpeg_h264_aac.ts");
        let whole = listing(stream, stream.len());
        assert_eq!(whole, listing(stream, 1_000));
        let text = whole.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, "what is read of program 1:"), "{text}");
        assert!(lines[1].starts_with("  0x0100 h264 avc1."), "{text}");
        assert!(lines[1].contains(" 96x64: 20 units, 4 keyframes, "), "{text}");
        assert!(lines[2].starts_with("  0x0101 aac mp4a.40.2 48000 Hz, 2 channels: 95 units, "));
        assert!((1.8..2.1).contains(&whole.tracks[0].seconds));
        let nothing = listing(&[0x47; 5_000], 100).to_string();
        assert!(nothing.starts_with("nothing of it can be read"), "{nothing}");
        let cut = listing(&[&stream[..188 * 20], &stream[188 * 23..]].concat(), 188);
        assert!(cut.units_lost > 0 && cut.to_string().contains(" not whole"));
    }
}
