//! A synthetic encoder: H.264 and AAC that are sound in structure and filler in content.
//!
//! Shape: every access unit is a stamp ([`crate::stamp`]) and one slice NAL unit of filler without
//! zero bytes; a keyframe has [`KEYFRAME_WEIGHT`] times the size of another frame.

use codecs::flv::audio::{self, AudioPacket};
use codecs::flv::video::{self, VideoPacket};
use codecs::media::Codec;
use codecs::writer::Writer;

use crate::stamp::{STAMP_LEN, Stamp};

/// How much larger a keyframe is than another frame.
pub const KEYFRAME_WEIGHT: u64 = 8;

/// Constrained baseline, level 3.1, 1280x720.
const SPS: [u8; 9] = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4];

const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

/// AAC LC, 48 kHz, stereo.
const AUDIO_CONFIG: [u8; 2] = [0x11, 0x90];

/// Bytes of an AAC frame: 128 kb/s.
const AUDIO_FRAME_LEN: usize = 341;

const AUDIO_SAMPLES: u64 = 1024;
const AUDIO_RATE: u64 = 48_000;

/// The smallest slice: its header and some filler.
const SLICE_LEN_MIN: usize = 16;

/// What the encoder is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Bits per second of the video.
    pub bitrate: u64,
    /// Frames per second.
    pub fps: u32,
    /// Frames from one keyframe to the next.
    pub gop_frames: u32,
    /// Add a sound track.
    pub audio: bool,
}

/// An FLV tag body with its time.
#[derive(Clone, Copy, Debug)]
pub struct SourceFrame<'a> {
    /// Its time in milliseconds.
    pub timestamp_ms: u32,
    /// The tag body.
    pub body: &'a [u8],
}

/// The encoder of one stream.
#[derive(Debug)]
pub struct Source {
    settings: SourceSettings,
    sequence: u64,
    audio_sequence: u64,
    keyframe: Vec<u8>,
    inter_frame: Vec<u8>,
    audio_frame: Vec<u8>,
}

impl Source {
    /// Prepares the frames.
    #[must_use]
    pub fn new(settings: SourceSettings) -> Self {
        let gop = u64::from(settings.gop_frames.max(1));
        let gop_bytes = settings.bitrate / 8 * gop / u64::from(settings.fps.max(1));
        let inter_len = gop_bytes / (gop - 1 + KEYFRAME_WEIGHT);
        let mut audio_frame = audio_header(AudioPacket::Coded);
        audio_frame.resize(audio_frame.len() + AUDIO_FRAME_LEN, 0x5a);
        Self {
            settings,
            sequence: 0,
            audio_sequence: 0,
            keyframe: coded(true, inter_len * KEYFRAME_WEIGHT),
            inter_frame: coded(false, inter_len),
            audio_frame,
        }
    }

    /// The video sequence header, a tag body with avcC.
    #[must_use]
    pub fn video_config() -> Vec<u8> {
        let mut body = video_header(true, VideoPacket::SequenceStart);
        body.extend_from_slice(&[1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1, 0, SPS.len() as u8]);
        body.extend_from_slice(&SPS);
        body.extend_from_slice(&[1, 0, PPS.len() as u8]);
        body.extend_from_slice(&PPS);
        body
    }

    /// The audio sequence header, a tag body; `None` without a sound track.
    #[must_use]
    pub fn audio_config(&self) -> Option<Vec<u8>> {
        self.settings.audio.then(|| {
            let mut body = audio_header(AudioPacket::SequenceStart);
            body.extend_from_slice(&AUDIO_CONFIG);
            body
        })
    }

    /// When the next video frame is due, in nanoseconds from the start.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.sequence * 1_000_000_000 / u64::from(self.settings.fps.max(1))
    }

    /// The number of the next video frame.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next video frame, stamped.
    pub fn video(&mut self, sent_ns: u64) -> SourceFrame<'_> {
        let timestamp_ms = (self.due_ns() / 1_000_000) as u32;
        let stamp = Stamp { sent_ns, sequence: self.sequence };
        let is_key = self.sequence.is_multiple_of(u64::from(self.settings.gop_frames.max(1)));
        self.sequence += 1;
        let body = if is_key { &mut self.keyframe } else { &mut self.inter_frame };
        let at = video_header_len() + 4;
        body[at..at + STAMP_LEN].copy_from_slice(&stamp.encode());
        SourceFrame { timestamp_ms, body }
    }

    /// The next audio frame, if one is due no later than the next video frame.
    pub fn audio(&mut self) -> Option<SourceFrame<'_>> {
        let at_ns = self.audio_sequence * AUDIO_SAMPLES * 1_000_000_000 / AUDIO_RATE;
        if !self.settings.audio || at_ns > self.due_ns() {
            return None;
        }
        self.audio_sequence += 1;
        let timestamp_ms = (at_ns / 1_000_000) as u32;
        Some(SourceFrame { timestamp_ms, body: &self.audio_frame })
    }
}

const fn video_header_len() -> usize {
    video::video_header_len(Codec::H264, false, VideoPacket::Coded { composition_time_ms: 0 })
}

fn video_header(keyframe: bool, packet: VideoPacket) -> Vec<u8> {
    let mut body = vec![0; video::video_header_len(Codec::H264, false, packet)];
    video::encode_video_header(Codec::H264, false, keyframe, packet, &mut Writer::new(&mut body));
    body
}

fn audio_header(packet: AudioPacket) -> Vec<u8> {
    let mut body = vec![0; audio::audio_header_len(Codec::Aac, false, packet)];
    audio::encode_audio_header(Codec::Aac, false, packet, &mut Writer::new(&mut body));
    body
}

/// A tag body of about `len` bytes: header, room for the stamp, a slice.
fn coded(keyframe: bool, len: u64) -> Vec<u8> {
    let mut body = video_header(keyframe, VideoPacket::Coded { composition_time_ms: 0 });
    body.extend_from_slice(&(STAMP_LEN as u32).to_be_bytes());
    body.resize(body.len() + STAMP_LEN, 0);
    let wanted = usize::try_from(len).unwrap_or(usize::MAX);
    let slice_len = wanted.saturating_sub(body.len() + 4).max(SLICE_LEN_MIN);
    body.extend_from_slice(&(slice_len as u32).to_be_bytes());
    let slice_at = body.len();
    // first_mb_in_slice 0, slice_type 7 (all I) or 5 (all P), pic_parameter_set_id 0, then filler.
    let head: [u8; 3] = if keyframe { [0x65, 0x88, 0x84] } else { [0x41, 0x9a, 0x24] };
    body.extend_from_slice(&head);
    body.resize(slice_at + slice_len, 0xa5);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::flv::audio::AudioTagHeader;
    use codecs::flv::video::VideoTagHeader;
    use codecs::media::DecoderConfig;

    const SETTINGS: SourceSettings =
        SourceSettings { bitrate: 2_000_000, fps: 30, gop_frames: 60, audio: true };

    #[test]
    fn a_gop_has_its_bitrate_and_one_keyframe() {
        let mut source = Source::new(SETTINGS);
        let mut bytes = 0;
        for sequence in 0..60 {
            let frame = source.video(7);
            let header = VideoTagHeader::parse(frame.body).unwrap();
            assert_eq!(header.frame_type.is_key(), sequence == 0);
            assert_eq!(
                Stamp::find(&frame.body[header.header_len..]),
                Some(Stamp { sent_ns: 7, sequence })
            );
            assert_eq!(u64::from(frame.timestamp_ms), sequence * 1000 / 30);
            assert!(!frame.body[header.header_len..].windows(4).any(|four| four == [0, 0, 0, 1]));
            bytes += frame.body.len() as u64;
        }
        let wanted = 2_000_000 / 8 * 2;
        assert!(bytes.abs_diff(wanted) < wanted / 100, "{bytes}");
        assert_eq!(source.video(0).body.len(), Source::new(SETTINGS).video(0).body.len());
    }

    #[test]
    fn sound_keeps_up_with_pictures() {
        let mut source = Source::new(SETTINGS);
        let mut frames = 0;
        for _ in 0..31 {
            frames += std::iter::from_fn(|| source.audio().map(|_| ())).count();
            source.video(0);
        }
        assert_eq!(frames, 47, "48000 / 1024 frames in a second, and the one at 0");
        let mut mute = Source::new(SourceSettings { audio: false, ..SETTINGS });
        assert!(mute.audio().is_none() && mute.audio_config().is_none());
    }

    #[test]
    fn configurations_can_be_read() {
        let video = Source::video_config();
        let header = VideoTagHeader::parse(&video).unwrap();
        let config = DecoderConfig::parse(Codec::H264, &video[header.header_len..]).unwrap();
        assert_eq!(config.video.map(|video| (video.width, video.height)), Some((1280, 720)));
        let audio = Source::new(SETTINGS).audio_config().unwrap();
        let header = AudioTagHeader::parse(&audio).unwrap();
        let config = DecoderConfig::parse(Codec::Aac, &audio[header.header_len..]).unwrap();
        let format = config.audio.map(|audio| (audio.sample_rate, audio.channels));
        assert_eq!(format, Some((48_000, 2)));
    }

    #[test]
    fn tiny_bitrates_still_make_frames() {
        let settings = SourceSettings { bitrate: 0, fps: 0, gop_frames: 0, audio: false };
        let mut source = Source::new(settings);
        assert!(source.video(0).body.len() > STAMP_LEN + SLICE_LEN_MIN);
    }
}
