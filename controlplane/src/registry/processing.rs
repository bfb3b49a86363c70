//! Processing: transcoder, recording, watermark and thumbnail of a stream.
//!
//! All of it is kept and checked for its shape, and has no effect yet.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::{Fault, few, short};

/// Rungs of a ladder at most.
pub(super) const PROFILES_MAX: usize = 16;
/// Further arguments of a transcoder at most.
pub(super) const EXTRA_ARGS_MAX: usize = 64;
/// Bytes of a word of these at most.
const WORD_BYTES_MAX: usize = 256;

/// How a stream is transcoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Transcoder {
    /// One process for all rungs ("multi" or ""), or one for each ("`per_profile`").
    pub mode: String,
    /// Video.
    pub video: VideoTranscoding,
    /// Audio.
    pub audio: AudioTranscoding,
    /// The decoder.
    pub decoder: Decoder,
    /// What holds for all rungs.
    pub global: Global,
    /// Further arguments.
    #[schema(max_items = 64)]
    pub extra_args: Vec<String>,
}

/// How video is transcoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VideoTranscoding {
    /// As it is.
    pub copy: bool,
    /// "", "auto", "tff", "bff" or "progressive".
    pub interlace: String,
    /// The ladder.
    #[schema(max_items = 16)]
    pub profiles: Vec<VideoProfile>,
}

/// How audio is transcoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AudioTranscoding {
    /// As it is.
    pub copy: bool,
    /// "", "aac", "mp2a", "mp3", "ac3", "eac3" or "copy".
    pub codec: String,
    /// Kilobits a second, 0 for 128.
    pub bitrate: u32,
    /// Hertz, 0 for the source's.
    pub sample_rate: u32,
    /// Channels, 0 for the source's.
    pub channels: u8,
    /// The language.
    pub language: String,
    /// Loudness is evened out.
    pub normalize: bool,
}

/// The decoder of a transcoder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Decoder {
    /// Its name.
    pub name: String,
}

/// What holds for all rungs of a ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Global {
    /// "", "none", "nvenc", "vaapi", "qsv" or "videotoolbox".
    pub hw: String,
    /// Frames a second, 0 for the source's.
    pub fps: f64,
    /// Frames of a group of pictures, 0 for the encoder's own.
    pub gop: u32,
    /// The device.
    pub deviceid: i32,
}

/// One rung of a ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VideoProfile {
    /// Pixels, 0 for the source's.
    pub width: u32,
    /// Pixels, 0 for the source's.
    pub height: u32,
    /// Kilobits a second, 0 for 2500.
    pub bitrate: u32,
    /// Kilobits a second at most, 0 for no bound.
    pub max_bitrate: u32,
    /// Frames a second, 0 for the source's.
    #[schema(minimum = 0, maximum = 1000)]
    pub framerate: f64,
    /// Seconds between keyframes.
    pub keyframe_interval: u32,
    /// The codec, or an encoder by its name.
    #[schema(max_length = 256)]
    pub codec: String,
    /// The encoder's preset.
    #[schema(max_length = 256)]
    pub preset: String,
    /// The codec's profile.
    #[schema(max_length = 256)]
    pub profile: String,
    /// The codec's level.
    #[schema(max_length = 256)]
    pub level: String,
    /// B-frames, `null` for the encoder's own.
    pub bframes: Option<u8>,
    /// Reference frames, `null` for the encoder's own.
    pub refs: Option<u8>,
    /// The shape of a pixel, as "N:M".
    pub sar: String,
    /// "", "pad", "crop", "stretch" or "fit".
    pub resize_mode: String,
}

/// How a stream is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dvr {
    /// It is recorded.
    pub enabled: bool,
    /// Seconds that are kept, 0 for all.
    pub retention_sec: u64,
    /// Seconds of a segment, 0 for 4.
    pub segment_duration: u32,
    /// The directory, "" for the node's own.
    #[schema(max_length = 256)]
    pub storage_path: String,
    /// Gigabytes at most, 0 for no bound.
    #[schema(minimum = 0, maximum = 1000000000)]
    pub max_size_gb: f64,
}

/// What is drawn over a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watermark {
    /// It is drawn.
    pub enabled: bool,
    /// "text" or "image".
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    #[schema(max_length = 256)]
    pub text: String,
    /// The file of its font.
    #[schema(max_length = 256)]
    pub font_file: String,
    /// Its size, 0 for 24.
    pub font_size: u32,
    /// Its colour, "" for white.
    #[schema(max_length = 256)]
    pub font_color: String,
    /// The image, by its name in the library.
    #[schema(max_length = 96)]
    pub filename: String,
    /// 0 to 1; 0 is taken as 1.
    #[schema(minimum = 0, maximum = 1)]
    pub opacity: f64,
    /// "", "`top_left`", "`top_right`", "`bottom_left`", "`bottom_right`", "center" or "custom".
    pub position: String,
    /// Pixels from the edge.
    pub offset_x: i32,
    /// Pixels from the edge.
    pub offset_y: i32,
    /// The place of "custom".
    #[schema(max_length = 256)]
    pub x: String,
    /// The place of "custom".
    #[schema(max_length = 256)]
    pub y: String,
    /// It grows with the rung.
    pub resize: bool,
}

/// Pictures of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Thumbnail {
    /// They are made.
    pub enabled: bool,
    /// Seconds between two.
    pub interval_sec: u32,
    /// Pixels, 0 for the source's.
    pub width: u32,
    /// Pixels, 0 for the source's.
    pub height: u32,
    /// 1 is the best, 31 the smallest, 0 is taken as 5.
    #[schema(maximum = 31)]
    pub quality: u8,
    /// The directory.
    #[schema(max_length = 256)]
    pub output_dir: String,
}

/// Checks that `word` is one of `words`, or empty.
fn one_of(field: &str, code: &'static str, word: &str, words: &[&str]) -> Result<(), Fault> {
    if word.is_empty() || words.contains(&word) {
        return Ok(());
    }
    Err(Fault::new(code, field, format!("it is one of {}, or empty", words.join(", "))))
}

impl Transcoder {
    pub(super) fn check(&self) -> Result<(), Fault> {
        one_of("mode", "invalid_transcoder_mode", &self.mode, &["multi", "per_profile"])?;
        let wrong = "invalid_transcoder";
        let interlaces = ["auto", "tff", "bff", "progressive"];
        one_of("video.interlace", wrong, &self.video.interlace, &interlaces)?;
        let codecs = ["aac", "mp2a", "mp3", "ac3", "eac3", "copy"];
        one_of("audio.codec", wrong, &self.audio.codec, &codecs)?;
        let devices = ["none", "nvenc", "vaapi", "qsv", "videotoolbox"];
        one_of("global.hw", wrong, &self.global.hw, &devices)?;
        few("video.profiles", &self.video.profiles, PROFILES_MAX)?;
        few("extra_args", &self.extra_args, EXTRA_ARGS_MAX)?;
        for arg in &self.extra_args {
            short("extra_args", arg, WORD_BYTES_MAX)?;
        }
        for (index, rung) in self.video.profiles.iter().enumerate() {
            rung.check().map_err(|fault| fault.within(&format!("video.profiles[{index}]")))?;
        }
        Ok(())
    }
}

impl VideoProfile {
    fn check(&self) -> Result<(), Fault> {
        for (field, word) in [
            ("codec", &self.codec),
            ("preset", &self.preset),
            ("profile", &self.profile),
            ("level", &self.level),
        ] {
            short(field, word, WORD_BYTES_MAX)?;
        }
        let modes = ["pad", "crop", "stretch", "fit"];
        one_of("resize_mode", "invalid_transcoder", &self.resize_mode, &modes)?;
        let part = |text: &str| text.parse::<u32>().is_ok_and(|number| number > 0);
        let shape = self.sar.split_once(':').is_some_and(|(n, m)| part(n) && part(m));
        if !self.sar.is_empty() && !shape {
            return Err(Fault::new("invalid_transcoder", "sar", "it is N:M, such as 4:3"));
        }
        if !(0.0..=1_000.0).contains(&self.framerate) {
            let message = "frames a second go from 0 to 1000";
            return Err(Fault::new("invalid_transcoder", "framerate", message));
        }
        Ok(())
    }
}

impl Dvr {
    pub(super) fn check(&self) -> Result<(), Fault> {
        short("storage_path", &self.storage_path, WORD_BYTES_MAX)?;
        let climbs = self.storage_path.split('/').any(|part| part == "..");
        if climbs || !(0.0..=1e9).contains(&self.max_size_gb) {
            let field = if climbs { "storage_path" } else { "max_size_gb" };
            let message = "a path has no `..`, and gigabytes go from 0 to 1000000000";
            return Err(Fault::new("invalid_dvr", field, message));
        }
        Ok(())
    }
}

impl Watermark {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let wrong = |field: &str, message: &str| {
            Err(Fault::new("invalid_watermark", field, message.to_owned()))
        };
        for (field, word) in [
            ("text", &self.text),
            ("font_file", &self.font_file),
            ("font_color", &self.font_color),
            ("x", &self.x),
            ("y", &self.y),
        ] {
            short(field, word, WORD_BYTES_MAX)?;
        }
        one_of("type", "invalid_watermark", &self.kind, &["text", "image"])?;
        let corners = ["top_left", "top_right", "bottom_left", "bottom_right", "center", "custom"];
        one_of("position", "invalid_watermark", &self.position, &corners)?;
        if !(0.0..=1.0).contains(&self.opacity) {
            return wrong("opacity", "it goes from 0 to 1");
        }
        if self.position == "custom" && self.x.is_empty() && self.y.is_empty() {
            return wrong("x", "a custom place needs x or y");
        }
        if self.kind == "image" && self.filename.is_empty() {
            return wrong("filename", "an image needs the name of its file");
        }
        if !self.filename.is_empty() && !is_asset(&self.filename) {
            return wrong("filename", "it is NAME.EXTENSION of letters, digits, _ and -");
        }
        Ok(())
    }
}

/// True for `[A-Za-z0-9_-]+\.[A-Za-z0-9]+` of at most 96 bytes.
fn is_asset(name: &str) -> bool {
    let Some((stem, extension)) = name.split_once('.') else { return false };
    let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    name.len() <= 96
        && !stem.is_empty()
        && stem.bytes().all(legal)
        && !extension.is_empty()
        && extension.bytes().all(|c| c.is_ascii_alphanumeric())
}

impl Thumbnail {
    pub(super) fn check(&self) -> Result<(), Fault> {
        short("output_dir", &self.output_dir, WORD_BYTES_MAX)?;
        if self.quality > 31 {
            return Err(Fault::new("invalid_thumbnail", "quality", "it goes from 1 to 31"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fault::read;
    use serde_json::json;

    #[test]
    fn shapes_are_checked_though_they_have_no_effect() {
        let transcoder = |value| read::<Transcoder>(value).and_then(|read| read.check());
        let watermark = |value| read::<Watermark>(value).and_then(|read| read.check());
        let dvr = |value| read::<Dvr>(value).and_then(|read| read.check());
        let rung = json!({"video": {"profiles": [
            {"width": 1280, "codec": "h264", "bframes": 2, "refs": null, "sar": "1:1"}
        ]}});
        assert_eq!(transcoder(rung), Ok(()));
        assert_eq!(watermark(json!({"type": "image", "filename": "logo-1.png"})), Ok(()));
        assert_eq!(dvr(json!({"enabled": true, "max_size_gb": 1.5})), Ok(()));
        for (result, code, field) in [
            (transcoder(json!({"mode": "x"})), "invalid_transcoder_mode", "mode"),
            (
                transcoder(json!({"video": {"profiles": [{}, {"sar": "0:1"}]}})),
                "invalid_transcoder",
                "video.profiles[1].sar",
            ),
            (
                transcoder(json!({"video": {"profiles": [{"widht": 1}]}})),
                "unknown_field",
                "video.profiles[0].widht",
            ),
            (transcoder(json!({"audio": {"bitrate": "fast"}})), "invalid_value", "audio.bitrate"),
            (watermark(json!({"opacity": 2})), "invalid_watermark", "opacity"),
            (watermark(json!({"position": "custom"})), "invalid_watermark", "x"),
            (watermark(json!({"type": "image"})), "invalid_watermark", "filename"),
            (watermark(json!({"filename": "../x.png"})), "invalid_watermark", "filename"),
            (dvr(json!({"storage_path": "/a/../b"})), "invalid_dvr", "storage_path"),
        ] {
            let fault = result.unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), (code, field), "{fault}");
        }
    }
}
