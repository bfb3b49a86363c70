//! Reads a codec's own record into a [`DecoderConfig`].
//!
//! Errors: a record whose structure is broken is refused; one whose structure holds but whose
//! parameter set cannot be read is kept, without a picture format, because players may still know
//! what to do with it.
//!
//! Limits: [`RECORD_BYTES_MAX`].

use alloc::borrow::ToOwned;
use alloc::string::String;

use crate::aac::AudioSpecificConfig;
use crate::av1::Av1CodecConfigurationRecord;
use crate::h264::{self, AvcDecoderConfigurationRecord};
use crate::hevc::{self, HevcDecoderConfigurationRecord};
use crate::media::{AudioFormat, Codec, DecoderConfig, VideoFormat};
use crate::opus::{self, OpusHead};
use crate::{Error, codec_string, nal};

/// The largest record that is kept: parameter sets take a few hundred bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// What a record says beyond its bytes.
struct Description {
    video: Option<VideoFormat>,
    audio: Option<AudioFormat>,
    codec_string: String,
}

impl DecoderConfig {
    /// Parses the decoder configuration record of `codec`.
    ///
    /// H.264, HEVC, AV1, AAC and Opus are understood. The records of other codecs are kept
    /// unread, with their codec string where it is the same for all streams.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`RECORD_BYTES_MAX`]; what the codec's own record says.
    pub fn parse(codec: Codec, record: &[u8]) -> Result<Self, Error> {
        if record.len() > RECORD_BYTES_MAX {
            let (value, max) = (record.len() as u64, RECORD_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "decoder_config.record", value, max });
        }
        let record = if codec == Codec::Opus { opus::without_magic(record) } else { record };
        let Description { video, audio, codec_string } = match codec {
            Codec::H264 => describe_h264(record)?,
            Codec::Hevc => describe_hevc(record)?,
            Codec::Av1 => describe_av1(record)?,
            Codec::Aac => describe_aac(record)?,
            Codec::Opus => describe_opus(record)?,
            _ => Description {
                video: None,
                audio: None,
                codec_string: codec_string::of_codec(codec).unwrap_or_default().to_owned(),
            },
        };
        Ok(Self { codec, record: record.to_vec(), video, audio, codec_string })
    }
}

fn describe_h264(record: &[u8]) -> Result<Description, Error> {
    let avcc = AvcDecoderConfigurationRecord::parse(record)?;
    let sps = avcc.sps.first().and_then(|unit| h264::Sps::parse(unit).ok());
    let video = sps.map(|sps| VideoFormat {
        width: sps.width,
        height: sps.height,
        fps_milli: sps.fps_milli,
        nal_length_size: avcc.nal_length_size,
    });
    Ok(Description { video, audio: None, codec_string: avcc.codec_string() })
}

fn describe_hevc(record: &[u8]) -> Result<Description, Error> {
    let hvcc = HevcDecoderConfigurationRecord::parse(record)?;
    let unit = hvcc.units_of(hevc::NalType::SPS).next();
    let video = unit.and_then(|unit| hevc::Sps::parse(unit).ok()).map(|sps| VideoFormat {
        width: sps.width,
        height: sps.height,
        fps_milli: sps.fps_milli,
        nal_length_size: hvcc.nal_length_size,
    });
    Ok(Description { video, audio: None, codec_string: hvcc.codec_string() })
}

fn describe_av1(record: &[u8]) -> Result<Description, Error> {
    let av1c = Av1CodecConfigurationRecord::parse(record)?;
    let video = av1c.sequence_header().ok().flatten().map(|header| VideoFormat {
        width: header.width,
        height: header.height,
        fps_milli: header.fps_milli,
        nal_length_size: nal::LENGTH_SIZE,
    });
    Ok(Description { video, audio: None, codec_string: av1c.codec_string() })
}

fn describe_aac(record: &[u8]) -> Result<Description, Error> {
    let asc = AudioSpecificConfig::parse(record)?;
    let audio = AudioFormat {
        sample_rate: asc.sample_rate,
        channels: asc.channels,
        samples_per_unit: asc.samples_per_unit,
    };
    Ok(Description { video: None, audio: Some(audio), codec_string: asc.codec_string() })
}

fn describe_opus(record: &[u8]) -> Result<Description, Error> {
    let head = OpusHead::parse(record)?;
    let audio = AudioFormat {
        sample_rate: opus::SAMPLE_RATE,
        channels: head.channels,
        samples_per_unit: 0,
    };
    Ok(Description { video: None, audio: Some(audio), codec_string: "opus".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn an_unreadable_parameter_set_is_kept() {
        let table: [(Codec, &[u8], &str); 4] = [
            (
                Codec::H264,
                &[1, 66, 0xc0, 30, 0xff, 0xe1, 0, 2, 0x67, 66, 1, 0, 1, 0x68],
                "avc1.42c01e",
            ),
            (Codec::H264, &[1, 77, 0, 31, 0xfd, 0xe0, 0], "avc1.4d001f"),
            (
                Codec::Hevc,
                &[
                    1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8,
                    0, 0, 0x0f, 1, 0xa1, 0, 1, 0, 2, 0x42, 1,
                ],
                "hvc1.1.6.L93.90",
            ),
            (Codec::Av1, &[0x81, 4, 0x0c, 0, 0x0a, 1, 0], "av01.0.04M.08"),
        ];
        for (codec, record, codec_string) in table {
            let config = DecoderConfig::parse(codec, record).unwrap();
            assert_eq!((config.video, config.audio), (None, None), "{codec:?}");
            assert_eq!(
                (config.record.as_slice(), config.codec_string.as_str()),
                (record, codec_string)
            );
        }
    }

    #[test]
    fn a_broken_record_is_refused() {
        for codec in [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Aac, Codec::Opus] {
            assert!(matches!(DecoderConfig::parse(codec, &[]), Err(Error::Truncated { .. })));
        }
        let error = Error::TooLarge { what: "decoder_config.record", value: 65_537, max: 65_536 };
        assert_eq!(DecoderConfig::parse(Codec::Vp9, &vec![0; 65_537]), Err(error));
    }

    #[test]
    fn opus_loses_its_magic_and_other_codecs_keep_their_bytes() {
        let head = b"OpusHead\x01\x02\0\0\0\0\0\0\0\0\0";
        let config = DecoderConfig::parse(Codec::Opus, head).unwrap();
        assert_eq!((config.record.as_slice(), config.codec_string.as_str()), (&head[8..], "opus"));
        assert_eq!(config.audio.map(|audio| audio.channels), Some(2));
        for (codec, text) in [(Codec::Flac, "fLaC"), (Codec::Mp3, "mp4a.40.34"), (Codec::Vp9, "")] {
            let config = DecoderConfig::parse(codec, &[1, 2]).unwrap();
            assert_eq!(
                (config.record.as_slice(), config.codec_string.as_str()),
                (&[1, 2][..], text)
            );
        }
    }
}
