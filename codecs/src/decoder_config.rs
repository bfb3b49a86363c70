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
use crate::ac3;
use crate::av1::Av1CodecConfigurationRecord;
use crate::flac::StreamInfo;
use crate::h264::{self, AvcDecoderConfigurationRecord};
use crate::hevc::{self, HevcDecoderConfigurationRecord};
use crate::media::{AudioFormat, Codec, DecoderConfig, VideoFormat};
use crate::mpeg_audio;
use crate::opus::{self, OpusHead};
use crate::vp9::VpCodecConfigurationRecord;
use crate::{Error, codec_string, nal, vp8, vp9};

/// The largest record that is kept: parameter sets take a few hundred bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Bytes at the start of an access unit that [`DecoderConfig::learn`] looks at.
pub const UNIT_START_LEN: usize = 32;

/// What a record says beyond its bytes.
#[derive(Default)]
struct Description {
    video: Option<VideoFormat>,
    audio: Option<AudioFormat>,
    codec_string: String,
}

impl DecoderConfig {
    /// Parses the decoder configuration record of `codec`.
    ///
    /// H.264, HEVC, AV1, VP8, VP9, AAC, Opus and FLAC are understood. The records of other codecs
    /// are kept unread, with their codec string where it is the same for all streams.
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
            // These may come without: their units tell the rest.
            Codec::Vp8 | Codec::Vp9 | Codec::Opus | Codec::Flac if record.is_empty() => {
                Description {
                    codec_string: codec_string::of_codec(codec).unwrap_or_default().to_owned(),
                    ..Description::default()
                }
            }
            Codec::Vp8 => describe_vp(record, "vp08")?,
            Codec::Vp9 => describe_vp(record, "vp09")?,
            Codec::Opus => describe_opus(record)?,
            Codec::Flac => describe_flac(record)?,
            _ => Description {
                audio: fixed_format(codec),
                codec_string: codec_string::of_codec(codec).unwrap_or_default().to_owned(),
                ..Description::default()
            },
        };
        Ok(Self { codec, record: record.to_vec(), video, audio, codec_string })
    }

    /// True for codecs whose access units tell what their record does not.
    #[must_use]
    pub const fn learns(codec: Codec) -> bool {
        matches!(
            codec,
            Codec::Vp8 | Codec::Vp9 | Codec::Mp2 | Codec::Mp3 | Codec::Ac3 | Codec::Eac3
        )
    }

    /// Takes what the first [`UNIT_START_LEN`] bytes of an access unit tell: the size of VP8 and
    /// VP9 pictures, the rate and channels of MPEG audio, AC-3 and E-AC-3. True if that was news;
    /// what cannot be read is none.
    pub fn learn(&mut self, unit: &[u8]) -> bool {
        let picture = |width, height| {
            let nal_length_size = nal::LENGTH_SIZE;
            Some(VideoFormat { width, height, fps_milli: None, nal_length_size })
        };
        let (video, audio) = match self.codec {
            Codec::Vp8 => {
                let Ok(Some(header)) = vp8::KeyframeHeader::parse(unit) else { return false };
                (picture(u32::from(header.width), u32::from(header.height)), None)
            }
            Codec::Vp9 => {
                let Ok(Some(header)) = vp9::KeyframeHeader::parse(unit) else { return false };
                if self.record.is_empty() {
                    self.codec_string = header.codec_string();
                }
                (picture(header.width, header.height), None)
            }
            Codec::Mp2 | Codec::Mp3 => {
                let Ok(header) = mpeg_audio::FrameHeader::parse(unit) else { return false };
                (None, Some((header.sample_rate, header.channels, header.samples)))
            }
            Codec::Ac3 | Codec::Eac3 => {
                let Ok(header) = ac3::FrameHeader::parse(unit) else { return false };
                (None, Some((header.sample_rate, header.channels(), header.samples)))
            }
            _ => return false,
        };
        let audio = audio.map(|(sample_rate, channels, samples_per_unit)| AudioFormat {
            sample_rate,
            channels,
            samples_per_unit,
        });
        let news = (self.video, self.audio) != (video, audio);
        (self.video, self.audio) = (video, audio);
        news
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

fn describe_vp(record: &[u8], name: &str) -> Result<Description, Error> {
    let vpcc = VpCodecConfigurationRecord::parse(record)?;
    Ok(Description { codec_string: vpcc.codec_string(name), ..Description::default() })
}

fn describe_flac(record: &[u8]) -> Result<Description, Error> {
    let info = StreamInfo::parse(record)?;
    let audio = AudioFormat {
        sample_rate: info.sample_rate,
        channels: info.channels,
        samples_per_unit: info.samples_per_unit(),
    };
    let codec_string = codec_string::of_codec(Codec::Flac).unwrap_or_default().to_owned();
    Ok(Description { video: None, audio: Some(audio), codec_string })
}

/// The format of codecs that know but one.
fn fixed_format(codec: Codec) -> Option<AudioFormat> {
    let sample_rate = match codec {
        Codec::G711Alaw | Codec::G711Mulaw => 8_000,
        Codec::Speex => 16_000,
        _ => return None,
    };
    Some(AudioFormat { sample_rate, channels: 1, samples_per_unit: 0 })
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
        for codec in [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Aac] {
            assert!(matches!(DecoderConfig::parse(codec, &[]), Err(Error::Truncated { .. })));
        }
        for codec in [Codec::Opus, Codec::Flac, Codec::Vp8, Codec::Vp9] {
            assert!(matches!(DecoderConfig::parse(codec, &[0]), Err(Error::Truncated { .. })));
            assert!(DecoderConfig::parse(codec, &[]).is_ok(), "{codec:?} may come without");
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
        for (codec, text) in [(Codec::Ac3, "ac-3"), (Codec::Mp3, "mp4a.40.34"), (Codec::Vvc, "")] {
            let config = DecoderConfig::parse(codec, &[1, 2]).unwrap();
            assert_eq!(
                (config.record.as_slice(), config.codec_string.as_str()),
                (&[1, 2][..], text)
            );
        }
    }

    #[test]
    fn units_tell_what_records_do_not() {
        let vp9 = b"\x82\x49\x83\x42\0\x13\xf0\x0b\x36";
        let vp8 = [0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, 9];
        let size = |config: &DecoderConfig| config.video.map(|video| (video.width, video.height));
        for (codec, unit, text) in
            [(Codec::Vp9, &vp9[..], "vp09.00.10.08"), (Codec::Vp8, &vp8, "vp8")]
        {
            let mut config = DecoderConfig::parse(codec, &[]).unwrap();
            assert!(DecoderConfig::learns(codec) && !config.learn(&unit[..4]));
            assert!(config.learn(unit) && !config.learn(unit), "news once");
            assert_eq!((size(&config), config.codec_string.as_str()), (Some((320, 180)), text));
        }
        let sound: [(&[u8], Codec, u32, u8, u32); 3] = [
            (b"\xff\xfb\x90\x64", Codec::Mp3, 44_100, 2, 1152),
            (b"\x0b\x77\0\0\x1c\x40\xe1", Codec::Ac3, 48_000, 6, 1536),
            (b"\x0b\x77\x01\x7f\x34\x80", Codec::Eac3, 48_000, 2, 1536),
        ];
        for (unit, codec, sample_rate, channels, samples_per_unit) in sound {
            let mut config = DecoderConfig::parse(codec, &[]).unwrap();
            assert!(config.learn(unit));
            assert_eq!(config.audio, Some(AudioFormat { sample_rate, channels, samples_per_unit }));
        }
        assert!(!DecoderConfig::learns(Codec::H264));
    }
}
