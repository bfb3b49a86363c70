//! What a player checks of the media that it gets.

use codecs::flv::video::{VideoPacket, VideoTagHeader};

use crate::piece::{Piece, PieceKind, Unit};
use crate::stamp::{DELIMITER_LEN_MAX, STAMP_LEN, Stamp};
use crate::stats::Histogram;

/// Bytes of a message that are looked at: the tag header, a delimiter, a NAL unit length, a stamp.
const PREFIX_LEN: usize = 8 + DELIMITER_LEN_MAX + 4 + STAMP_LEN + 1;

/// What was found, summed over players.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// From the stamp to the last byte of the frame, in nanoseconds.
    pub latency: Histogram,
    /// Video frames received.
    pub frames: u64,
    /// Frames that are missing between two that came.
    pub lost: u64,
    /// Frames that came again.
    pub duplicated: u64,
    /// Frames that came after a later one.
    pub reordered: u64,
    /// Messages whose time is before that of the previous message of their track.
    pub timestamps_back: u64,
    /// Streams that did not begin with configuration and keyframe.
    pub undecodable_starts: u64,
    /// Frames without a stamp: the stream is not ours, latency and loss are unknown.
    pub unstamped: u64,
}

impl Findings {
    /// Adds what was found elsewhere, or later.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.frames += other.frames;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.timestamps_back += other.timestamps_back;
        self.undecodable_starts += other.undecodable_starts;
        self.unstamped += other.unstamped;
    }
}

/// What a piece of media was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Something that needs no note.
    Plain,
    /// A video frame has come whole.
    Frame,
}

/// Checks the stream of one player.
#[derive(Debug)]
pub struct Verifier {
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    configured: bool,
    frames: u64,
    last_sequence: Option<u64>,
    last_timestamps: [Option<u32>; 2],
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            configured: false,
            frames: 0,
            last_sequence: None,
            last_timestamps: [None; 2],
        }
    }
}

impl Verifier {
    /// Takes a piece of media that came at `now_ns`.
    pub fn piece(&mut self, piece: &Piece<'_>, now_ns: u64, findings: &mut Findings) -> Arrival {
        if piece.offset == 0 {
            self.check_timestamp(piece.kind, piece.timestamp_ms, findings);
            self.prefix_len = 0;
        }
        if piece.kind == PieceKind::Audio {
            return Arrival::Plain;
        }
        let room = PREFIX_LEN - self.prefix_len;
        let kept = &piece.data[..piece.data.len().min(room)];
        self.prefix[self.prefix_len..self.prefix_len + kept.len()].copy_from_slice(kept);
        self.prefix_len += kept.len();
        if piece.last { self.message(now_ns, findings) } else { Arrival::Plain }
    }

    /// Takes a whole picture.
    pub fn unit(&mut self, unit: &Unit, findings: &mut Findings) -> Arrival {
        self.check_timestamp(PieceKind::Video, unit.time, findings);
        self.configured |= unit.has_config;
        self.frame(unit.is_key, unit.stamp, unit.arrived_ns, findings);
        Arrival::Frame
    }

    fn check_timestamp(&mut self, kind: PieceKind, time: u32, findings: &mut Findings) {
        let last = &mut self.last_timestamps[usize::from(kind == PieceKind::Video)];
        // The clock wraps: half its range ahead is behind.
        if last.is_some_and(|last| time.wrapping_sub(last) > u32::MAX / 2) {
            findings.timestamps_back += 1;
        }
        *last = Some(time);
    }

    fn message(&mut self, now_ns: u64, findings: &mut Findings) -> Arrival {
        let body = &self.prefix[..self.prefix_len];
        let Ok(header) = VideoTagHeader::parse(body) else {
            return Arrival::Plain;
        };
        match header.packet {
            VideoPacket::SequenceStart => {
                self.configured = true;
                return Arrival::Plain;
            }
            VideoPacket::Coded { .. } => {}
            _ => return Arrival::Plain,
        }
        let stamp = Stamp::find(body.get(header.header_len..).unwrap_or_default());
        self.frame(header.frame_type.is_key(), stamp, now_ns, findings);
        Arrival::Frame
    }

    fn frame(&mut self, is_key: bool, stamp: Option<Stamp>, now_ns: u64, findings: &mut Findings) {
        if self.frames == 0 && !(self.configured && is_key) {
            findings.undecodable_starts += 1;
        }
        self.frames += 1;
        findings.frames += 1;
        match stamp {
            Some(stamp) => self.stamped(stamp, now_ns, findings),
            None => findings.unstamped += 1,
        }
    }

    fn stamped(&mut self, stamp: Stamp, now_ns: u64, findings: &mut Findings) {
        let Stamp { sent_ns, sequence } = stamp;
        findings.latency.record(now_ns.saturating_sub(sent_ns));
        match self.last_sequence {
            Some(last) if sequence == last => findings.duplicated += 1,
            Some(last) if sequence < last => findings.reordered += 1,
            Some(last) => findings.lost += sequence - last - 1,
            None => {}
        }
        self.last_sequence = self.last_sequence.max(Some(sequence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::PictureSize;
    use crate::source::{Source, SourceSettings};

    const SETTINGS: SourceSettings = SourceSettings {
        size: PictureSize::DEFAULT,
        bitrate: 500_000,
        fps: 30,
        gop_frames: 4,
        audio: false,
    };

    struct Player {
        verifier: Verifier,
        findings: Findings,
    }

    impl Player {
        fn new() -> Self {
            Self { verifier: Verifier::default(), findings: Findings::default() }
        }

        /// Gives a body in pieces of `step` bytes.
        fn message(&mut self, timestamp_ms: u32, body: &[u8], step: usize) -> Arrival {
            let mut arrival = Arrival::Plain;
            for (index, data) in body.chunks(step).enumerate() {
                let offset = (index * step) as u32;
                let last = index * step + data.len() == body.len();
                let piece = Piece { kind: PieceKind::Video, timestamp_ms, offset, data, last };
                arrival = self.verifier.piece(&piece, 1_000, &mut self.findings);
                assert!(last || arrival == Arrival::Plain);
            }
            arrival
        }
    }

    #[test]
    fn a_sound_stream_has_no_findings() {
        let mut player = Player::new();
        let mut source = Source::new(SETTINGS);
        assert_eq!(player.message(0, &source.video_config(), 7), Arrival::Plain);
        for step in [1, 10, 64, 65, 5000, 100_000] {
            let frame = source.video(400);
            assert_eq!(player.message(frame.timestamp_ms, frame.body, step), Arrival::Frame);
        }
        let Findings { frames, lost, duplicated, reordered, timestamps_back, .. } = player.findings;
        assert_eq!([frames, lost, duplicated, reordered, timestamps_back], [6, 0, 0, 0, 0]);
        assert_eq!((player.findings.undecodable_starts, player.findings.unstamped), (0, 0));
        assert_eq!(player.findings.latency.quantile(1000), 600);
    }

    #[test]
    fn loss_repetition_and_disorder_are_told_apart() {
        let mut source = Source::new(SETTINGS);
        let frames: Vec<_> = (0..8).map(|_| source.video(0).body.to_vec()).collect();
        let mut player = Player::new();
        for (index, at_ms) in [(1, 33), (2, 66), (2, 66), (5, 166), (4, 133), (6, 200)] {
            player.message(at_ms, &frames[index], 1000);
        }
        let findings = player.findings;
        assert_eq!((findings.lost, findings.duplicated, findings.reordered), (2, 1, 1));
        assert_eq!((findings.timestamps_back, findings.undecodable_starts), (1, 1));
    }

    #[test]
    fn clocks_may_wrap_and_strangers_have_no_stamp() {
        let mut player = Player::new();
        let strange = [0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
        player.message(u32::MAX - 10, &strange, 100);
        player.message(20, &strange, 100);
        assert_eq!((player.findings.timestamps_back, player.findings.unstamped), (0, 2));
        assert_eq!(player.message(20, &[], 1), Arrival::Plain);
        assert_eq!(player.message(20, &[0xff], 1), Arrival::Plain);
    }
}
