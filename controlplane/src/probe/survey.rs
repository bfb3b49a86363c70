//! Survey: what a player saw of a stream.

use std::time::{Duration, Instant};

use codecs::flv::{AudioPacket, VideoPacket};
use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::time::Unwrapper;
use dataplane::session::rtmp::client::{Media, MediaHeader};

/// Tracks that are told apart at most.
const TRACKS_MAX: usize = 32;

/// One track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: u8,
    pub(super) codec: Codec,
    pub(super) config: Option<DecoderConfig>,
    pub(super) frames: u64,
    pub(super) keyframes: u64,
    pub(super) bytes: u64,
    clock: Unwrapper<32>,
    first_ms: Option<i64>,
    last_ms: i64,
}

/// Everything that was seen, and when.
#[derive(Debug)]
pub(super) struct Survey {
    began: Instant,
    /// From the start to the TCP connection.
    pub(super) connected: Option<Duration>,
    /// To the start of playing.
    pub(super) accepted: Option<Duration>,
    /// To the first frame of any track.
    pub(super) first_frame: Option<Duration>,
    /// To the first keyframe of a video track.
    pub(super) first_keyframe: Option<Duration>,
    pub(super) tracks: Vec<Track>,
    /// Messages that could not be read.
    pub(super) unknown: u64,
}

impl Survey {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            connected: None,
            accepted: None,
            first_frame: None,
            first_keyframe: None,
            tracks: Vec::new(),
            unknown: 0,
        }
    }

    /// The time since the start.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Takes one media message.
    pub(super) fn media(&mut self, media: &Media, now: Instant) {
        match media.header {
            MediaHeader::Audio(header) => {
                let what = What::of_audio(header.packet);
                let tracks = header.tracks(&media.body).flatten();
                for track in tracks {
                    let payload = media.body.get(track.range).unwrap_or_default();
                    self.part((track.track_id, track.codec), media.timestamp, what, payload, now);
                }
            }
            MediaHeader::Video(header) => {
                let what = What::of_video(header.packet, header.frame_type.is_key());
                let tracks = header.tracks(&media.body).flatten();
                for track in tracks {
                    let payload = media.body.get(track.range).unwrap_or_default();
                    self.part((track.track_id, track.codec), media.timestamp, what, payload, now);
                }
            }
            MediaHeader::Unknown => self.unknown += 1,
        }
    }

    fn part(
        &mut self,
        (id, codec): (u8, Codec),
        timestamp: u32,
        what: What,
        payload: &[u8],
        now: Instant,
    ) {
        let keyframe = match what {
            What::Nothing => return,
            What::Config => {
                if let Some(track) = self.track(id, codec) {
                    track.config = DecoderConfig::parse(codec, payload).ok();
                }
                return;
            }
            What::Frame { keyframe } => keyframe,
        };
        let elapsed = self.elapsed(now);
        let Some(track) = self.track(id, codec) else { return };
        track.frame(timestamp, payload.len(), keyframe);
        track.learn(payload);
        self.first_frame.get_or_insert(elapsed);
        if keyframe && codec.kind() == TrackKind::Video {
            self.first_keyframe.get_or_insert(elapsed);
        }
    }

    /// The track of that kind and number; a new codec makes it a new one.
    fn track(&mut self, id: u8, codec: Codec) -> Option<&mut Track> {
        let same = |track: &Track| track.id == id && track.codec == codec;
        let index = match self.tracks.iter().position(same) {
            Some(index) => index,
            None if self.tracks.len() < TRACKS_MAX => {
                self.tracks.push(Track::new(id, codec));
                self.tracks.len() - 1
            }
            None => return None,
        };
        self.tracks.get_mut(index)
    }
}

/// What a message means for a track.
#[derive(Clone, Copy)]
enum What {
    Config,
    Frame { keyframe: bool },
    Nothing,
}

impl What {
    const fn of_audio(packet: AudioPacket) -> Self {
        match packet {
            AudioPacket::SequenceStart => Self::Config,
            AudioPacket::Coded => Self::Frame { keyframe: true },
            _ => Self::Nothing,
        }
    }

    const fn of_video(packet: VideoPacket, keyframe: bool) -> Self {
        match packet {
            VideoPacket::SequenceStart => Self::Config,
            VideoPacket::Coded { .. } => Self::Frame { keyframe },
            _ => Self::Nothing,
        }
    }
}

impl Track {
    fn new(id: u8, codec: Codec) -> Self {
        Self {
            id,
            codec,
            config: None,
            frames: 0,
            keyframes: 0,
            bytes: 0,
            clock: Unwrapper::new(),
            first_ms: None,
            last_ms: 0,
        }
    }

    fn frame(&mut self, timestamp: u32, bytes: usize, keyframe: bool) {
        let at = self.clock.unwrap(u64::from(timestamp));
        self.first_ms.get_or_insert(at);
        self.last_ms = self.last_ms.max(at);
        self.frames += 1;
        self.keyframes += u64::from(keyframe);
        self.bytes += bytes as u64;
    }

    /// Takes what a frame tells of codecs whose record does not.
    fn learn(&mut self, payload: &[u8]) {
        if DecoderConfig::learns(self.codec) {
            let bare = || DecoderConfig::parse(self.codec, &[]).ok();
            self.config = self.config.take().or_else(bare);
            self.config.as_mut().map(|config| config.learn(payload));
        }
    }

    /// Seconds of stream time from the first frame to the end of the last one, which is taken to
    /// last as long as the others; `None` for a single frame.
    ///
    /// Stream time, because a join brings the past at once and would look like a high bitrate.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]
    fn seconds(&self) -> Option<f64> {
        let span = (self.last_ms - self.first_ms?) as f64 / 1000.0;
        (self.frames > 1 && span > 0.0)
            .then(|| span * self.frames as f64 / (self.frames - 1) as f64)
    }

    /// Frames per second.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]
    pub(super) fn fps(&self) -> Option<f64> {
        Some(self.frames as f64 / self.seconds()?)
    }

    /// Bits per second of payload.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]
    pub(super) fn bps(&self) -> Option<f64> {
        Some(self.bytes as f64 * 8.0 / self.seconds()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_stream_time() {
        let mut track = Track::new(0, Codec::H264);
        assert_eq!((track.fps(), track.bps()), (None, None));
        // 25 frames a second around the wrap of the clock.
        for n in 0..50_u32 {
            track.frame((u32::MAX - 999).wrapping_add(n * 40), 1_000, n == 0);
        }
        assert_eq!((track.frames, track.keyframes), (50, 1));
        assert!((track.fps().unwrap() - 25.0).abs() < 1e-9);
        assert!((track.bps().unwrap() - 200_000.0).abs() < 1e-6);
    }

    #[test]
    fn frames_tell_what_no_record_does() {
        let mut track = Track::new(0, Codec::Mp3);
        track.learn(b"\xff\xfb\x90\x64");
        let audio = track.config.as_ref().and_then(|config| config.audio).unwrap();
        assert_eq!((audio.sample_rate, audio.channels), (44_100, 2));
        track.learn(b"\xff");
        assert!(track.config.is_some_and(|config| config.audio.is_some()), "and nothing undoes it");
    }

    #[test]
    fn tracks_are_bounded() {
        let mut survey = Survey::new(Instant::now());
        for id in 0..=255 {
            let _ = survey.track(id, Codec::Aac);
        }
        assert_eq!(survey.tracks.len(), TRACKS_MAX);
        assert!(survey.track(0, Codec::Aac).is_some() && survey.track(200, Codec::Aac).is_none());
    }
}
