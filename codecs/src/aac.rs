//! AAC: `AudioSpecificConfig` and the ADTS header.
//!
//! Spec: ISO/IEC 14496-3 1.6.2.1 (`AudioSpecificConfig`), 1.6.5 (SBR and PS signalling), 4.4.1
//! (`GASpecificConfig`), 4.4.1.1 (program config element), 1.A.2.2 (ADTS); RFC 6381 3.3.
//!
//! Shape: object type 5 bits (31 escapes to 6 more), frequency index 4 bits (15 escapes to a
//! 24-bit rate), channel configuration 4 bits, then what the object type wants.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Error;
use crate::bits::BitReader;
use crate::reader::Reader;

/// AAC LC, the object type of nearly every live stream.
pub const AAC_LC: u8 = 2;
/// Spectral band replication (HE-AAC).
pub const SBR: u8 = 5;
/// Parametric stereo (HE-AAC v2).
pub const PS: u8 = 29;

/// The length of an ADTS header without its checksum.
pub const ADTS_HEADER_LEN: usize = 7;

pub(crate) const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// What a decoder must know of an AAC track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// The object type of the core, behind SBR and PS: 2 for AAC LC.
    pub object_type: u8,
    /// The rate of the core.
    pub core_sample_rate: u32,
    /// The rate of the output: that of SBR where it is signalled.
    pub sample_rate: u32,
    /// Channels of the output, 0 if the configuration does not tell.
    pub channels: u8,
    /// Samples of output in one access unit, 0 if it varies.
    pub samples_per_unit: u32,
    /// Spectral band replication is signalled.
    pub sbr: bool,
    /// Parametric stereo is signalled.
    pub ps: bool,
    /// The channel configuration as it stands there; 0 if a program config element tells.
    pub channel_config: u8,
    /// The first bit of the program config element, if there is one.
    pub(crate) program_config_at: Option<u32>,
}

impl AudioSpecificConfig {
    /// Parses an `AudioSpecificConfig`.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for a reserved frequency index or a rate of 0.
    pub fn parse(config: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(config);
        let (mut asc, core_samples) = Self::core(&mut bits)?;
        if !asc.sbr && has_general_audio_config(asc.object_type) {
            // Decoders that know no SBR ignore what follows, so damage there harms nobody.
            asc.sync_extension(bits);
        }
        asc.conclude(core_samples);
        Ok(asc)
    }

    /// Parses one that other bits follow, as in LATM; also gives how many bits it has. SBR that is
    /// told behind the core's configuration cannot be told apart from those, so it is not looked
    /// for.
    ///
    /// # Errors
    /// Those of [`Self::parse`].
    pub fn parse_prefix(bytes: &[u8]) -> Result<(Self, usize), Error> {
        let mut bits = BitReader::new(bytes);
        let (mut asc, core_samples) = Self::core(&mut bits)?;
        asc.conclude(core_samples);
        Ok((asc, bytes.len() * 8 - bits.bits_left()))
    }

    /// Reads all but the extension behind it; gives the core's samples of an access unit.
    fn core(bits: &mut BitReader<'_>) -> Result<(Self, u32), Error> {
        let bit_len = bits.bits_left();
        let first_type = object_type(bits)?;
        let core_sample_rate = sample_rate(bits)?;
        let channel_config = bits.bits8(4, "aac.asc.channel_config")?;
        let mut asc = Self {
            object_type: first_type,
            core_sample_rate,
            sample_rate: core_sample_rate,
            channels: channels_of(channel_config),
            samples_per_unit: 0,
            sbr: matches!(first_type, SBR | PS),
            ps: first_type == PS,
            channel_config,
            program_config_at: None,
        };
        if asc.sbr {
            asc.sample_rate = sample_rate(bits)?;
            asc.object_type = object_type(bits)?;
            if asc.object_type == 22 {
                bits.skip(4, "aac.asc.extension_channel_config")?;
            }
        }
        let core_samples = asc.core_config(bits, bit_len)?;
        Ok((asc, core_samples))
    }

    fn conclude(&mut self, core_samples: u32) {
        if self.ps && self.channels == 1 {
            self.channels = 2;
        }
        let output = u64::from(core_samples) * u64::from(self.sample_rate);
        let samples = output.checked_div(u64::from(self.core_sample_rate)).unwrap_or_default();
        self.samples_per_unit = u32::try_from(samples).unwrap_or(0);
    }

    /// Reads what the core's object type wants; gives the samples of its access unit.
    fn core_config(&mut self, bits: &mut BitReader<'_>, bit_len: usize) -> Result<u32, Error> {
        match self.object_type {
            39 => {
                // ELDSpecificConfig (4.6.20).
                Ok(if bits.flag("aac.asc.frame_length")? { 480 } else { 512 })
            }
            kind if has_general_audio_config(kind) => {
                let short = bits.flag("aac.asc.frame_length")?;
                if bits.flag("aac.asc.depends_on_core")? {
                    bits.skip(14, "aac.asc.core_delay")?;
                }
                let extension = bits.flag("aac.asc.extension")?;
                if self.channel_config == 0 {
                    self.program_config_at = u32::try_from(bit_len - bits.bits_left()).ok();
                    self.channels = program_config_channels(bits)?;
                }
                if matches!(kind, 6 | 20) {
                    bits.skip(3, "aac.asc.layer")?;
                }
                if extension {
                    match kind {
                        22 => bits.skip(16, "aac.asc.bsac")?,
                        17 | 19 | 20 | 23 => bits.skip(3, "aac.asc.resilience")?,
                        _ => {}
                    }
                    bits.flag("aac.asc.extension3")?;
                }
                Ok(match (kind, short) {
                    (23, false) => 512,
                    (23, true) => 480,
                    (_, false) => 1024,
                    (_, true) => 960,
                })
            }
            // Speech, MP3, lossless and USAC have frames of their own.
            _ => Ok(0),
        }
    }

    /// Looks for SBR and PS behind the core's configuration (1.6.5.2, backward compatible).
    fn sync_extension(&mut self, mut bits: BitReader<'_>) {
        let mut read = || -> Result<(bool, u32, bool), Error> {
            let found = bits.bits(11, "aac.asc.sync_extension")? == 0x2b7
                && object_type(&mut bits)? == SBR
                && bits.flag("aac.asc.sbr_present")?;
            if !found {
                return Ok((false, self.core_sample_rate, false));
            }
            let rate = sample_rate(&mut bits)?;
            let ps = bits.bits(11, "aac.asc.sync_extension").is_ok_and(|sync| sync == 0x548)
                && bits.flag("aac.asc.ps_present")?;
            Ok((true, rate, ps))
        };
        if let Ok((sbr, rate, ps)) = read() {
            (self.sbr, self.sample_rate, self.ps) = (sbr, rate, ps);
        }
    }

    /// The RFC 6381 codec string, `mp4a.40.N`.
    #[must_use]
    pub fn codec_string(&self) -> String {
        let kind = match (self.ps, self.sbr) {
            (true, _) => PS,
            (false, true) => SBR,
            (false, false) => self.object_type,
        };
        format!("mp4a.40.{kind}")
    }

    /// Builds the configuration of AAC LC without SBR.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if no channel configuration has that many channels;
    /// [`Error::Invalid`] for a rate that its 24 bits do not hold.
    pub fn encode_lc(sample_rate: u32, channels: u8) -> Result<Vec<u8>, Error> {
        let channel_config = match channels {
            1..=6 => u64::from(channels),
            8 => 7,
            7 => 11,
            _ => {
                let value = u64::from(channels);
                return Err(Error::Unsupported { what: "aac.asc.channels", value });
            }
        };
        if sample_rate == 0 || sample_rate >= 1 << 24 {
            let value = u64::from(sample_rate);
            return Err(Error::Invalid { what: "aac.asc.sample_rate", value });
        }
        let index = SAMPLE_RATES.iter().position(|rate| *rate == sample_rate);
        let (rate, rate_bits) = match index {
            Some(index) => (index as u64, 4),
            None => (0xf << 24 | u64::from(sample_rate), 28),
        };
        // Object type 5 bits, rate, channels 4 bits, three flags of GASpecificConfig: all zero.
        let value = (u64::from(AAC_LC) << rate_bits | rate) << 7 | channel_config << 3;
        let len = (5 + rate_bits + 4 + 3) / 8;
        Ok(value.to_be_bytes().iter().skip(8 - len).copied().collect())
    }
}

fn object_type(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    match bits.bits8(5, "aac.asc.object_type")? {
        31 => Ok(32 + bits.bits8(6, "aac.asc.object_type")?),
        kind => Ok(kind),
    }
}

fn sample_rate(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let index = bits.bits8(4, "aac.asc.frequency_index")?;
    let rate = if index == 15 { Some(bits.bits(24, "aac.asc.frequency")?) } else { rate_of(index) };
    rate.filter(|rate| *rate > 0)
        .ok_or(Error::Invalid { what: "aac.asc.frequency_index", value: u64::from(index) })
}

fn rate_of(index: u8) -> Option<u32> {
    SAMPLE_RATES.get(usize::from(index)).copied()
}

/// Table 1.19; 0 for the reserved values and for "see the program config element".
const fn channels_of(channel_config: u8) -> u8 {
    match channel_config {
        1..=6 => channel_config,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => 0,
    }
}

const fn has_general_audio_config(object_type: u8) -> bool {
    matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23)
}

/// The channels of a program config element: one per single element, two per pair.
fn program_config_channels(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    bits.skip(4 + 2 + 4, "aac.pce.header")?;
    let mut elements = 0;
    for _ in 0..3 {
        elements += bits.bits8(4, "aac.pce.elements")?;
    }
    let low_frequency = bits.bits8(2, "aac.pce.lfe")?;
    let associated_data = bits.bits(3, "aac.pce.associated_data")?;
    let coupling = bits.bits(4, "aac.pce.coupling")?;
    for mixdown_bits in [4, 4, 3] {
        if bits.flag("aac.pce.mixdown_present")? {
            bits.skip(mixdown_bits, "aac.pce.mixdown")?;
        }
    }
    let mut channels = low_frequency;
    for _ in 0..elements {
        channels += if bits.flag("aac.pce.is_pair")? { 2 } else { 1 };
        bits.skip(4, "aac.pce.tag")?;
    }
    bits.skip(4 * (u32::from(low_frequency) + associated_data), "aac.pce.tags")?;
    bits.skip(5 * coupling, "aac.pce.coupling_tags")?;
    // The comment behind it starts at the next byte of the configuration, whose first byte is
    // where this reader began.
    let aligned = u32::try_from(bits.bits_left() % 8).expect("a remainder of 8");
    bits.skip(aligned, "aac.pce.alignment")?;
    let comment_len = bits.bits(8, "aac.pce.comment_len")?;
    bits.skip(8 * comment_len, "aac.pce.comment")?;
    Ok(channels)
}

/// The fixed and variable header of an ADTS frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdtsHeader {
    /// The object type of the core: 1 main, 2 LC, 3 SSR, 4 LTP.
    pub object_type: u8,
    /// The rate of the core.
    pub sample_rate: u32,
    /// Channels, 0 if the first raw data block tells.
    pub channels: u8,
    /// Bytes of the frame, its header included.
    pub frame_len: u16,
    /// Raw data blocks of 1024 samples in the frame: 1 to 4.
    pub blocks: u8,
}

impl AdtsHeader {
    /// Parses the header at the start of `bytes`; also gives its length, 7 or 9 with a checksum.
    ///
    /// # Errors
    /// [`Error::Invalid`] without the sync word, with a layer, for a reserved frequency, or for a
    /// frame that is shorter than its header.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let Ok(header) = Reader::new(bytes).array::<ADTS_HEADER_LEN>("aac.adts.header") else {
            return Ok(None);
        };
        let [sync, flags, profile, copy, len, fullness, blocks] = header;
        if sync != 0xff || flags & 0xf6 != 0xf0 {
            let value = u64::from(u16::from_be_bytes([sync, flags]));
            return Err(Error::Invalid { what: "aac.adts.sync", value });
        }
        let header_len = ADTS_HEADER_LEN + if flags & 1 == 0 { 2 } else { 0 };
        let index = profile >> 2 & 0x0f;
        let sample_rate = rate_of(index)
            .ok_or(Error::Invalid { what: "aac.adts.frequency_index", value: u64::from(index) })?;
        let frame_len = u16::from(copy & 3) << 11 | u16::from(len) << 3 | u16::from(fullness >> 5);
        if usize::from(frame_len) < header_len {
            let value = u64::from(frame_len);
            return Err(Error::Invalid { what: "aac.adts.frame_len", value });
        }
        let header = Self {
            object_type: (profile >> 6) + 1,
            sample_rate,
            channels: channels_of((profile & 1) << 2 | copy >> 6),
            frame_len,
            blocks: (blocks & 3) + 1,
        };
        Ok(Some((header, header_len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit_writer::BitWriter;

    /// Object type, rate, core rate, channels, samples, codec string.
    type Expected = (u8, u32, u32, u8, u32, &'static str);

    #[test]
    fn configurations_of_every_signalling() {
        // Bits: object type, frequency index, channels, then flags and extensions.
        let table: [(&str, &str, Expected); 11] = [
            ("LC", "00010 0100 0010 000", (2, 44_100, 44_100, 2, 1024, "mp4a.40.2")),
            ("LC 960", "00010 0011 0010 100", (2, 48_000, 48_000, 2, 960, "mp4a.40.2")),
            ("7.1", "00010 0011 0111 000", (2, 48_000, 48_000, 8, 1024, "mp4a.40.2")),
            ("reserved", "00010 0011 1000 000", (2, 48_000, 48_000, 0, 1024, "mp4a.40.2")),
            ("SBR", "00101 0110 0010 0011 00010 000", (2, 48_000, 24_000, 2, 2048, "mp4a.40.5")),
            ("PS", "11101 0111 0001 0100 00010 000", (2, 44_100, 22_050, 2, 2048, "mp4a.40.29")),
            (
                "backward compatible SBR",
                "00010 0110 0010 000 01010110111 00101 1 0011",
                (2, 48_000, 24_000, 2, 2048, "mp4a.40.5"),
            ),
            (
                "backward compatible PS",
                "00010 0110 0001 000 01010110111 00101 1 0011 10101001000 1",
                (2, 48_000, 24_000, 2, 2048, "mp4a.40.29"),
            ),
            (
                "SBR told to be absent",
                "00010 0110 0010 000 01010110111 00101 0",
                (2, 24_000, 24_000, 2, 1024, "mp4a.40.2"),
            ),
            ("ELD", "11111 000111 0011 0001 0", (39, 48_000, 48_000, 1, 512, "mp4a.40.39")),
            ("USAC", "11111 001010 0011 0010", (42, 48_000, 48_000, 2, 0, "mp4a.40.42")),
        ];
        for (name, text, expected) in table {
            let asc = AudioSpecificConfig::parse(&BitWriter::default().text(text).bytes()).unwrap();
            let rates = (asc.sample_rate, asc.core_sample_rate);
            let codec_string = asc.codec_string();
            assert_eq!(
                (
                    asc.object_type,
                    rates.0,
                    rates.1,
                    asc.channels,
                    asc.samples_per_unit,
                    codec_string.as_str()
                ),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn explicit_rates_and_reserved_ones() {
        let parse = |bits: BitWriter| AudioSpecificConfig::parse(&bits.bytes());
        let explicit = |rate| BitWriter::default().text("00010 1111").put(rate, 24).text("0010000");
        assert_eq!(parse(explicit(37_800)).map(|asc| asc.sample_rate), Ok(37_800));
        let invalid = |value| Error::Invalid { what: "aac.asc.frequency_index", value };
        assert_eq!(parse(explicit(0)), Err(invalid(15)));
        assert_eq!(parse(BitWriter::default().text("00010 1101 0010")), Err(invalid(13)));
    }

    #[test]
    fn written_configurations_return() {
        let table: [(u32, u8, &[u8]); 4] = [
            (44_100, 2, &[0x12, 0x10]),
            (48_000, 6, &[0x11, 0xb0]),
            (8_000, 1, &[0x15, 0x88]),
            (37_800, 8, &[0x17, 0x80, 0x49, 0xd4, 0x38]),
        ];
        for (rate, channels, bytes) in table {
            assert_eq!(AudioSpecificConfig::encode_lc(rate, channels).unwrap(), bytes);
            let asc = AudioSpecificConfig::parse(bytes).unwrap();
            assert_eq!((asc.sample_rate, asc.channels), (rate, channels));
        }
        let seven = AudioSpecificConfig::encode_lc(48_000, 7).unwrap();
        assert_eq!(AudioSpecificConfig::parse(&seven).map(|asc| asc.channels), Ok(7));
        let channels = |value| Err(Error::Unsupported { what: "aac.asc.channels", value });
        assert_eq!(AudioSpecificConfig::encode_lc(48_000, 0), channels(0));
        assert_eq!(AudioSpecificConfig::encode_lc(48_000, 9), channels(9));
        let rate = |value| Err(Error::Invalid { what: "aac.asc.sample_rate", value });
        assert_eq!(AudioSpecificConfig::encode_lc(0, 2), rate(0));
        assert_eq!(AudioSpecificConfig::encode_lc(1 << 24, 2), rate(1 << 24));
    }

    #[test]
    fn adts_headers() {
        let lc = [0xff, 0xf1, 0x50, 0x80, 0x2b, 0x3f, 0xfc];
        let header = AdtsHeader {
            object_type: AAC_LC,
            sample_rate: 44_100,
            channels: 2,
            frame_len: 345,
            blocks: 1,
        };
        assert_eq!(AdtsHeader::parse(&lc), Ok(Some((header, 7))));
        let mut checked = lc;
        checked[1] = 0xf8;
        assert_eq!(AdtsHeader::parse(&checked), Ok(Some((header, 9))), "MPEG-2 with checksum");
        assert_eq!(AdtsHeader::parse(&lc[..6]), Ok(None));
        let with = |at: usize, value: u8| {
            let mut bytes = lc;
            bytes[at] = value;
            AdtsHeader::parse(&bytes).map(|_| ())
        };
        let sync = |value| Err(Error::Invalid { what: "aac.adts.sync", value });
        assert_eq!(with(0, 0xfe), sync(0xfef1));
        assert_eq!(with(1, 0xf3), sync(0xfff3));
        let index = Error::Invalid { what: "aac.adts.frequency_index", value: 13 };
        assert_eq!(with(2, 0x74), Err(index));
        let short = [0xff, 0xf1, 0x50, 0x80, 0, 0xdf, 0xfc];
        let len = Error::Invalid { what: "aac.adts.frame_len", value: 6 };
        assert_eq!(AdtsHeader::parse(&short), Err(len));
    }
}
