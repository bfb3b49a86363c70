//! What a player checks of the media that it gets.

use codecs::flv::video::{VideoPacket, VideoTagHeader};

use crate::content::Content;
use crate::piece::{Piece, PieceKind, Unit};
use crate::stamp::{DELIMITER_LEN_MAX, STAMP_LEN, Stamp};
use crate::stats::Histogram;

/// Bytes of a message that are looked at: the tag header, a delimiter, a NAL unit length, a stamp.
const PREFIX_LEN: usize = 8 + DELIMITER_LEN_MAX + 4 + STAMP_LEN + 1;

/// Frames back that are remembered, to tell one that comes late from one that comes twice.
const REMEMBERED_MAX: u64 = u64::BITS as u64;

/// What was found, summed over players.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// From the stamp to the last byte of the frame, in nanoseconds.
    pub latency: Histogram,
    /// Video frames received.
    pub frames: u64,
    /// Frames that were missing between two that came.
    pub missing: u64,
    /// Those of them that came after all.
    pub recovered: u64,
    /// Frames that came again.
    pub duplicated: u64,
    /// Frames that came after a later one.
    pub reordered: u64,
    /// Messages whose time is before that of the previous message of their track.
    pub timestamps_back: u64,
    /// Streams that did not begin with configuration and keyframe.
    pub undecodable_starts: u64,
    /// Frames whose bytes behind the stamp are not those that were published.
    pub corrupt: u64,
    /// Frames without a stamp: the stream is not ours, latency and loss are unknown.
    pub unstamped: u64,
}

impl Findings {
    /// Adds what was found elsewhere, or later.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.frames += other.frames;
        self.missing = self.missing.saturating_add(other.missing);
        self.recovered += other.recovered;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.timestamps_back += other.timestamps_back;
        self.undecodable_starts += other.undecodable_starts;
        self.corrupt += other.corrupt;
        self.unstamped += other.unstamped;
    }

    /// Frames that never came.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.missing.saturating_sub(self.recovered)
    }
}

/// What a piece of media was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Something that needs no note.
    Plain,
    /// A video frame has begun.
    Begun,
    /// A video frame has come whole.
    Frame,
}

/// Checks the stream of one player.
#[derive(Debug)]
pub struct Verifier {
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// The picture that is coming.
    picture: Option<Picture>,
    /// Only the first frame's content is checked.
    starts_only: bool,
    configured: bool,
    frames: u64,
    order: Order,
    last_timestamps: [Option<u32>; 2],
}

/// A picture of which the start has come.
#[derive(Clone, Copy, Debug)]
struct Picture {
    is_key: bool,
    stamp: Option<Stamp>,
    /// What came behind the stamp.
    content: Content,
}

/// Which frames came.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    first: u64,
    last: u64,
    /// Bit `n`: frame `last - n` came; none before the first one.
    came: u64,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            picture: None,
            starts_only: false,
            configured: false,
            frames: 0,
            order: Order::default(),
            last_timestamps: [None; 2],
        }
    }
}

impl Verifier {
    /// Of all frames but the first one it checks no content.
    #[must_use]
    pub fn of_start() -> Self {
        Self { starts_only: true, ..Self::default() }
    }

    /// Takes a piece of media that came at `now_ns`.
    pub fn piece(&mut self, piece: &Piece<'_>, now_ns: u64, findings: &mut Findings) -> Arrival {
        if piece.offset == 0 {
            self.check_timestamp(piece.kind, piece.timestamp_ms, findings);
        }
        if piece.kind == PieceKind::Audio {
            return Arrival::Plain;
        }
        if piece.offset == 0 {
            (self.prefix_len, self.picture) = (0, None);
        }
        let room = PREFIX_LEN - self.prefix_len;
        let (kept, rest) = piece.data.split_at(piece.data.len().min(room));
        self.prefix[self.prefix_len..self.prefix_len + kept.len()].copy_from_slice(kept);
        self.prefix_len += kept.len();
        let begins = room > 0 && (self.prefix_len == PREFIX_LEN || piece.last);
        if begins {
            self.picture = self.head();
        }
        let is_checked = !self.starts_only || self.frames == 0;
        let Some(picture) = &mut self.picture else { return Arrival::Plain };
        if is_checked {
            picture.content.add(rest);
        }
        match *picture {
            picture if piece.last => self.frame(&picture, is_checked, now_ns, findings),
            _ if begins => return Arrival::Begun,
            _ => return Arrival::Plain,
        }
        Arrival::Frame
    }

    /// Takes a whole picture.
    pub fn unit(&mut self, unit: &Unit, findings: &mut Findings) -> Arrival {
        self.check_timestamp(PieceKind::Video, unit.time, findings);
        self.configured |= unit.has_config;
        let Unit { is_key, stamp, content, arrived_ns, .. } = *unit;
        let picture = Picture { is_key, stamp, content: content.unwrap_or_default() };
        self.frame(&picture, content.is_some(), arrived_ns, findings);
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

    /// Reads the start of a message; a picture if it is one.
    fn head(&mut self) -> Option<Picture> {
        let body = &self.prefix[..self.prefix_len];
        let header = VideoTagHeader::parse(body).ok()?;
        match header.packet {
            VideoPacket::SequenceStart => {
                self.configured = true;
                return None;
            }
            VideoPacket::Coded { .. } => {}
            _ => return None,
        }
        let is_key = header.frame_type.is_key();
        let unit = body.get(header.header_len..).unwrap_or_default();
        Some(match Stamp::find(unit) {
            Some((stamp, end)) => {
                let content = Content::of(unit.get(end..).unwrap_or_default());
                Picture { is_key, stamp: Some(stamp), content }
            }
            None => Picture { is_key, stamp: None, content: Content::default() },
        })
    }

    fn frame(&mut self, picture: &Picture, is_checked: bool, now_ns: u64, findings: &mut Findings) {
        if self.frames == 0 && !(self.configured && picture.is_key) {
            findings.undecodable_starts += 1;
        }
        self.frames += 1;
        findings.frames += 1;
        let Some(stamp) = picture.stamp else {
            findings.unstamped += 1;
            return;
        };
        findings.corrupt += u64::from(is_checked && picture.content != stamp.content);
        findings.latency.record(now_ns.saturating_sub(stamp.sent_ns));
        self.order.frame(stamp.sequence, findings);
    }
}

impl Order {
    /// Takes the number of a frame that came.
    fn frame(&mut self, sequence: u64, findings: &mut Findings) {
        if self.came == 0 {
            *self = Self { first: sequence, last: sequence, came: 1 };
            return;
        }
        if sequence > self.last {
            let ahead = sequence - self.last - 1;
            findings.missing = findings.missing.saturating_add(ahead);
            let before = if ahead + 1 < REMEMBERED_MAX { self.came << (ahead + 1) } else { 0 };
            (self.last, self.came) = (sequence, before | 1);
            return;
        }
        let back = self.last - sequence;
        let bit = if back < REMEMBERED_MAX { 1 << back } else { 0 };
        if self.came & bit != 0 {
            findings.duplicated += 1;
            return;
        }
        self.came |= bit;
        findings.reordered += 1;
        // One from before the first was never missed.
        findings.recovered += u64::from(bit != 0 && sequence > self.first);
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
                assert!(last || arrival != Arrival::Frame);
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
        let Findings { frames, missing, duplicated, reordered, timestamps_back, .. } =
            player.findings;
        assert_eq!([frames, missing, duplicated, reordered, timestamps_back], [6, 0, 0, 0, 0]);
        assert_eq!((player.findings.undecodable_starts, player.findings.unstamped), (0, 0));
        assert_eq!(player.findings.corrupt, 0);
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
        assert_eq!((findings.duplicated, findings.reordered), (1, 1));
        assert_eq!((findings.missing, findings.lost()), (2, 1), "the fourth came after all");
        assert_eq!((findings.timestamps_back, findings.undecodable_starts), (1, 1));
    }

    #[test]
    fn late_is_not_lost_and_what_is_forgotten_is() {
        let mut findings = Findings::default();
        let mut order = Order::default();
        for sequence in [5, 8, 7, 7, 6, 4, 80, 9, 79, 200] {
            order.frame(sequence, &mut findings);
        }
        // 6 and 7 came after all, and 79; of 9 nobody knows any more whether it did.
        assert_eq!((findings.missing, findings.recovered), (2 + 71 + 119, 3));
        assert_eq!((findings.reordered, findings.duplicated), (5, 1));
        order.frame(u64::MAX - 1, &mut findings);
        order.frame(0, &mut findings);
        order.frame(u64::MAX - 1, &mut findings);
        assert_eq!((findings.duplicated, findings.reordered), (2, 6));
    }

    #[test]
    fn every_byte_behind_the_stamp_counts() {
        let mut source = Source::new(SETTINGS);
        let config = source.video_config();
        let body = source.video(0).body.to_vec();
        let head_len = 5 + 4 + STAMP_LEN;
        let corrupt = |body: &[u8], step: usize| {
            let mut player = Player::new();
            player.message(0, &config, 100);
            player.message(0, body, step);
            assert_eq!((player.findings.frames, player.findings.unstamped), (1, 0));
            player.findings.corrupt
        };
        for step in [1, 64, 100, 4096, body.len()] {
            assert_eq!(corrupt(&body, step), 0);
            assert_eq!(corrupt(&body[..body.len() - 1], step), 1, "cut off");
            assert_eq!(corrupt(&[&body[..], &[0]].concat(), step), 1, "drawn out");
            for at in (head_len..body.len()).step_by(997).chain([head_len + 60, body.len() - 1]) {
                let mut other = body.clone();
                other[at] ^= 4;
                assert_eq!(corrupt(&other, step), 1, "byte {at} in pieces of {step}");
            }
        }
        assert_eq!(corrupt(&body[..head_len], 7), 1, "nothing is left");
    }

    #[test]
    fn sound_between_the_pieces_of_a_picture_does_no_harm() {
        let mut source = Source::new(SETTINGS);
        let config = source.video_config();
        let body = source.video(0).body.to_vec();
        let mut player = Player::new();
        player.message(0, &config, 100);
        let mut arrivals = Vec::new();
        for (index, data) in body.chunks(60).enumerate() {
            let (offset, last) = (index as u32 * 60, index * 60 + data.len() == body.len());
            let video = Piece { kind: PieceKind::Video, timestamp_ms: 0, offset, data, last };
            let audio = Piece { kind: PieceKind::Audio, offset: 0, last: true, ..video };
            for piece in [video, audio] {
                arrivals.push(player.verifier.piece(&piece, 1, &mut player.findings));
            }
        }
        let not_plain: Vec<_> = arrivals.iter().filter(|of| **of != Arrival::Plain).collect();
        assert_eq!(not_plain, [&Arrival::Begun, &Arrival::Frame]);
        assert_eq!((player.findings.frames, player.findings.corrupt), (1, 0));
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
