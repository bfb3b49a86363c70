//! A synthetic encoder: H.264 and AAC that decode, of a given bit rate, frame rate and GOP.
//!
//! Shape: every access unit is a stamp ([`crate::stamp`]) and the NAL units of a picture
//! ([`crate::encoder`]); a keyframe has [`KEYFRAME_WEIGHT`] times the size of another frame, or
//! more if its picture needs that: then the other frames have less, so that the GOP keeps its size.

use codecs::flv::audio::{self, AudioPacket};
use codecs::flv::video::{self, VideoPacket};
use codecs::h264::AvcDecoderConfigurationRecord;
use codecs::media::Codec;
use codecs::writer::Writer;

use crate::content::Content;
use crate::encoder::{
    AUDIO_CONFIG, PictureEncoder, PictureSize, SAMPLE_RATE, SAMPLES_PER_FRAME, SoundEncoder,
    VideoFormat,
};
use crate::piece::PieceKind;
use crate::stamp::{STAMP_LEN, Stamp};

/// How much larger a keyframe is than another frame.
pub const KEYFRAME_WEIGHT: u64 = 8;

/// Bytes of an AAC frame: 128 kb/s.
const AUDIO_FRAME_LEN: usize = 341;

/// Bits per second that are sensible for one stream.
pub const BITRATE_MAX: u64 = 1_000_000_000;

/// Frames per second that are sensible.
pub const FPS_MAX: u32 = 1000;

/// The longest time from keyframe to keyframe, in nanoseconds.
pub const GOP_NS_MAX: u64 = 3600 * 1_000_000_000;

/// Bytes of a picture: a message tells its length in 24 bits.
pub const PICTURE_BYTES_MAX: usize = (1 << 24) - 1;

/// What the encoder is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Width and height of the pictures.
    pub size: PictureSize,
    /// Bits per second of the video.
    pub bitrate: u64,
    /// Frames per second.
    pub fps: u32,
    /// Frames from one keyframe to the next.
    pub gop_frames: u32,
    /// Add a sound track.
    pub audio: bool,
}

impl SourceSettings {
    /// Bytes of a keyframe, unless its picture needs more.
    #[must_use]
    pub fn keyframe_len(&self) -> usize {
        GopBudget::new(self).next(true)
    }
}

/// An FLV tag body with its time.
#[derive(Clone, Copy, Debug)]
pub struct SourceFrame<'a> {
    /// What it is.
    pub kind: PieceKind,
    /// It is a picture, and not sound or configuration.
    pub is_picture: bool,
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
    pictures: PictureEncoder,
    sound: SoundEncoder,
    gop: GopBudget,
    /// The tag body of the last frame.
    body: Vec<u8>,
}

impl Source {
    /// Prepares the encoder.
    #[must_use]
    pub fn new(settings: SourceSettings) -> Self {
        let SourceSettings { size, bitrate, fps, .. } = settings;
        Self {
            settings,
            sequence: 0,
            audio_sequence: 0,
            pictures: PictureEncoder::new(&VideoFormat { size, fps: fps.max(1), bitrate }),
            sound: SoundEncoder::new(AUDIO_FRAME_LEN),
            gop: GopBudget::new(&settings),
            body: Vec::new(),
        }
    }

    /// The video sequence header, a tag body with avcC.
    ///
    /// # Panics
    /// Never: our parameter sets fit.
    #[must_use]
    pub fn video_config(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_video_header(true, VideoPacket::SequenceStart, &mut body);
        let sets = (&[self.pictures.sps()], &[self.pictures.pps()]);
        let record = AvcDecoderConfigurationRecord::encode(sets.0, sets.1);
        body.extend_from_slice(&record.expect("one set of each kind, a few bytes long"));
        body
    }

    /// The audio sequence header, a tag body; `None` without a sound track.
    #[must_use]
    pub fn audio_config(&self) -> Option<Vec<u8>> {
        self.settings.audio.then(|| {
            let mut body = Vec::new();
            put_audio_header(AudioPacket::SequenceStart, &mut body);
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
        let sequence = self.sequence;
        let is_key = self.sequence.is_multiple_of(u64::from(self.settings.gop_frames.max(1)));
        self.sequence += 1;
        self.body.clear();
        let packet = VideoPacket::Coded { composition_time_ms: 0 };
        put_video_header(is_key, packet, &mut self.body);
        self.body.extend_from_slice(&(STAMP_LEN as u32).to_be_bytes());
        let stamp_at = self.body.len();
        self.body.resize(stamp_at + STAMP_LEN, 0);
        let len = self.gop.next(is_key).saturating_sub(self.body.len());
        self.pictures.encode(is_key, len, &mut self.body);
        self.gop.spend(is_key, self.body.len());
        let (head, picture) = self.body.split_at_mut(stamp_at + STAMP_LEN);
        let stamp = Stamp { sent_ns, sequence, content: Content::of(picture) };
        head[stamp_at..].copy_from_slice(&stamp.encode());
        let (kind, is_picture) = (PieceKind::Video, true);
        SourceFrame { kind, is_picture, timestamp_ms, body: &self.body }
    }

    /// The next frame: sound that is due no later than the next picture, or that picture, stamped.
    pub fn frame(&mut self, sent_ns: u64) -> SourceFrame<'_> {
        if self.is_audio_due() {
            return self.audio().expect("it is due");
        }
        self.video(sent_ns)
    }

    fn is_audio_due(&self) -> bool {
        self.settings.audio && self.audio_at_ns() <= self.due_ns()
    }

    const fn audio_at_ns(&self) -> u64 {
        self.audio_sequence * SAMPLES_PER_FRAME * 1_000_000_000 / SAMPLE_RATE
    }

    /// The next audio frame, if one is due no later than the next video frame.
    pub fn audio(&mut self) -> Option<SourceFrame<'_>> {
        let at_ns = self.audio_at_ns();
        if !self.is_audio_due() {
            return None;
        }
        self.audio_sequence += 1;
        let timestamp_ms = (at_ns / 1_000_000) as u32;
        self.body.clear();
        put_audio_header(AudioPacket::Coded, &mut self.body);
        self.body.extend_from_slice(self.sound.encode());
        let (kind, is_picture) = (PieceKind::Audio, false);
        Some(SourceFrame { kind, is_picture, timestamp_ms, body: &self.body })
    }
}

/// The bytes that the frames of a GOP may have.
#[derive(Clone, Copy, Debug)]
struct GopBudget {
    gop_bytes: u64,
    inter_frames: u64,
    /// What the last keyframe took.
    key_len: u64,
}

impl GopBudget {
    fn new(settings: &SourceSettings) -> Self {
        let gop = u64::from(settings.gop_frames.max(1));
        let gop_bytes = settings.bitrate / 8 * gop / u64::from(settings.fps.max(1));
        Self { gop_bytes, inter_frames: gop - 1, key_len: 0 }
    }

    /// The size of the next tag body.
    fn next(&self, is_key: bool) -> usize {
        let len = if is_key {
            self.gop_bytes * KEYFRAME_WEIGHT / (self.inter_frames + KEYFRAME_WEIGHT)
        } else {
            self.gop_bytes.saturating_sub(self.key_len) / self.inter_frames.max(1)
        };
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    fn spend(&mut self, is_key: bool, len: usize) {
        if is_key {
            self.key_len = len as u64;
        }
    }
}

fn put_video_header(keyframe: bool, packet: VideoPacket, body: &mut Vec<u8>) {
    let at = body.len();
    body.resize(at + video::video_header_len(Codec::H264, false, packet), 0);
    let mut writer = Writer::new(&mut body[at..]);
    video::encode_video_header(Codec::H264, false, keyframe, packet, &mut writer);
}

fn put_audio_header(packet: AudioPacket, body: &mut Vec<u8>) {
    let at = body.len();
    body.resize(at + audio::audio_header_len(Codec::Aac, false, packet), 0);
    audio::encode_audio_header(Codec::Aac, false, packet, &mut Writer::new(&mut body[at..]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::flv::audio::AudioTagHeader;
    use codecs::flv::video::VideoTagHeader;
    use codecs::media::DecoderConfig;

    const SETTINGS: SourceSettings = SourceSettings {
        size: PictureSize::DEFAULT,
        bitrate: 2_000_000,
        fps: 30,
        gop_frames: 60,
        audio: true,
    };

    #[test]
    fn a_gop_has_its_bitrate_and_one_keyframe() {
        let mut source = Source::new(SETTINGS);
        let mut bytes = 0;
        for sequence in 0..60 {
            let frame = source.video(7);
            let header = VideoTagHeader::parse(frame.body).unwrap();
            assert_eq!(header.frame_type.is_key(), sequence == 0);
            let (head, unit) = frame.body.split_at(header.header_len);
            let (stamp, end) = Stamp::find(unit).unwrap();
            let content = Content::of(&unit[end..]);
            assert_eq!(stamp, Stamp { sent_ns: 7, sequence, content });
            assert!(content.len as usize + end + head.len() == frame.body.len() && end > 0);
            assert_eq!(u64::from(frame.timestamp_ms), sequence * 1000 / 30);
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
        let video = Source::new(SETTINGS).video_config();
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
        let settings =
            SourceSettings { bitrate: 0, fps: 0, gop_frames: 0, audio: false, ..SETTINGS };
        let mut source = Source::new(settings);
        assert!(source.video(0).body.len() > STAMP_LEN);
    }
}
