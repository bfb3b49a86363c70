//! What encoders of RTMP say of themselves and a transport stream does not: `onMetaData`, made of
//! the configurations of the default tracks, for players of RTMP and FLV.

use codecs::amf0::Value;
use codecs::flv::enhanced::four_cc;
use codecs::media::{AudioFormat, Codec, DecoderConfig, TrackKind, VideoFormat};
use codecs::rtmp::command::encode_data;

/// What is known of the default tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    video: Option<(Codec, Option<VideoFormat>)>,
    audio: Option<(Codec, Option<AudioFormat>)>,
    is_news: bool,
}

impl Metadata {
    /// A default track has this configuration from now on.
    pub(super) fn see(&mut self, config: &DecoderConfig) {
        let mut seen = *self;
        match config.codec.kind() {
            TrackKind::Video => seen.video = Some((config.codec, config.video)),
            TrackKind::Audio => seen.audio = Some((config.codec, config.audio)),
            TrackKind::Data => {}
        }
        if seen != *self {
            *self = Self { is_news: true, ..seen };
        }
    }

    /// A default track is there no more.
    pub(super) fn forget(&mut self, kind: TrackKind) {
        let before = *self;
        match kind {
            TrackKind::Video => self.video = None,
            TrackKind::Audio => self.audio = None,
            TrackKind::Data => {}
        }
        self.is_news |= *self != before;
    }

    /// The body, once after each change.
    pub(super) fn take_news(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.is_news).then(|| self.body())
    }

    fn body(&self) -> Vec<u8> {
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut tell = |name: &str, value: Value| members.push((name.to_owned(), value));
        if let Some((codec, format)) = self.video {
            if let Some(VideoFormat { width, height, fps_milli, .. }) = format {
                tell("width", width.into());
                tell("height", height.into());
                if let Some(fps_milli) = fps_milli {
                    tell("framerate", (f64::from(fps_milli) / 1_000.0).into());
                }
            }
            tell("videocodecid", codec_number(codec));
        }
        if let Some((codec, format)) = self.audio {
            if let Some(AudioFormat { sample_rate, channels, .. }) = format {
                tell("audiosamplerate", sample_rate.into());
                tell("audiochannels", u32::from(channels).into());
                tell("stereo", (channels >= 2).into());
            }
            tell("audiocodecid", codec_number(codec));
        }
        let mut body = Vec::new();
        encode_data(&[Value::from("onMetaData"), Value::EcmaArray(members)], &mut body);
        body
    }
}

/// The number of a codec in the metadata: that of its tags, or its four letters.
fn codec_number(codec: Codec) -> Value {
    let number = match codec {
        Codec::H264 => Some(7),
        Codec::Mp3 => Some(2),
        Codec::Aac => Some(10),
        _ => four_cc(codec).map(u32::from_be_bytes),
    };
    number.map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use codecs::amf0::Limits;
    use codecs::rtmp::command::parse_data;

    use super::*;

    fn config(codec: Codec) -> DecoderConfig {
        let video =
            VideoFormat { width: 1920, height: 1080, fps_milli: Some(29_970), nal_length_size: 4 };
        let audio = AudioFormat { sample_rate: 48_000, channels: 2, samples_per_unit: 1_024 };
        let is_video = codec.kind() == TrackKind::Video;
        DecoderConfig {
            codec,
            record: Vec::new(),
            video: is_video.then_some(video),
            audio: (!is_video).then_some(audio),
            codec_string: String::new(),
        }
    }

    fn told(metadata: &mut Metadata) -> Vec<(String, Value)> {
        let body = metadata.take_news().unwrap();
        let values = parse_data(&body, &Limits::default(), false).unwrap();
        assert_eq!(values[0].as_str(), Some("onMetaData"));
        values[1].members().to_vec()
    }

    #[test]
    fn the_default_tracks_are_told_once_after_each_change() {
        let mut metadata = Metadata::default();
        assert_eq!(metadata.take_news(), None);
        metadata.see(&config(Codec::Hevc));
        metadata.see(&config(Codec::Aac));
        let expected: [(&str, Value); 8] = [
            ("width", 1_920_u32.into()),
            ("height", 1_080_u32.into()),
            ("framerate", 29.97.into()),
            ("videocodecid", f64::from(0x6876_6331_u32).into()),
            ("audiosamplerate", 48_000_u32.into()),
            ("audiochannels", 2_u32.into()),
            ("stereo", true.into()),
            ("audiocodecid", 10_u32.into()),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(told(&mut metadata), expected);
        metadata.see(&config(Codec::Aac));
        assert_eq!(metadata.take_news(), None, "nothing is new");
        metadata.forget(TrackKind::Video);
        assert_eq!(told(&mut metadata), expected[4..]);
    }
}
