//! ADTS, the writing side: what stands before each raw AAC frame where no configuration travels.
//!
//! Spec: ISO/IEC 14496-3 1.A.2.2 (ADTS), 4.4.1.1 (program config element), 4.4.2.1 (raw data).
//! Shape: 7 bytes; where the channel configuration is 0, a program config element follows as the
//! first element of the raw data block. That element ends at a byte, so the frame behind it is
//! left as it is.
//! Errors: [`Error::Unsupported`] for what two bits of profile, four of frequency or three of
//! channels cannot tell; such sound needs another container.
//! Limits: [`FRAME_LEN_MAX`]. Not here: reading, [`crate::aac::AdtsHeader`].

use crate::Error;
use crate::aac::{ADTS_HEADER_LEN, AudioSpecificConfig, SAMPLE_RATES};
use crate::bits::BitReader;
use crate::writer::Writer;

/// Bytes of a frame at most, its header included: the length has 13 bits.
pub const FRAME_LEN_MAX: usize = 0x1fff;
/// Bytes of a header and a program config element at most.
pub const ADTS_HEAD_LEN_MAX: usize = ADTS_HEADER_LEN + PROGRAM_CONFIG_LEN_MAX;

/// 31 bits of fields, 45 + 48 elements of 5 bits at most, the alignment and an empty comment.
const PROGRAM_CONFIG_LEN_MAX: usize = 64;
/// `id_syn_ele` of a program config element.
const ID_PCE: u32 = 5;

/// The ADTS head of one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdtsFraming {
    profile: u8,
    frequency_index: u8,
    channel_config: u8,
    program_config: [u8; PROGRAM_CONFIG_LEN_MAX],
    program_config_len: usize,
}

impl AdtsFraming {
    /// Reads what the head must say from an `AudioSpecificConfig`.
    ///
    /// HE-AAC is framed as its core: decoders find the replication in the frames.
    ///
    /// # Errors
    /// What [`AudioSpecificConfig::parse`] says; [`Error::Unsupported`].
    pub fn from_config(config: &[u8]) -> Result<Self, Error> {
        let asc = AudioSpecificConfig::parse(config)?;
        let unsupported = |what, value| Error::Unsupported { what, value };
        if !(1..=4).contains(&asc.object_type) {
            return Err(unsupported("aac.adts.object_type", u64::from(asc.object_type)));
        }
        let rate = asc.core_sample_rate;
        let index = SAMPLE_RATES.iter().position(|&known| known == rate);
        let index = index.ok_or(unsupported("aac.adts.sample_rate", u64::from(rate)))?;
        if asc.channel_config > 7 {
            return Err(unsupported("aac.adts.channels", u64::from(asc.channel_config)));
        }
        let core_samples = u64::from(asc.samples_per_unit) * u64::from(rate);
        if core_samples != 1024 * u64::from(asc.sample_rate) {
            return Err(unsupported("aac.adts.frame_length", u64::from(asc.samples_per_unit)));
        }
        let mut framing = Self {
            profile: asc.object_type - 1,
            frequency_index: u8::try_from(index).expect("13 rates"),
            channel_config: asc.channel_config,
            program_config: [0; PROGRAM_CONFIG_LEN_MAX],
            program_config_len: 0,
        };
        if let Some(at) = asc.program_config_at {
            let mut bits = BitReader::new(config);
            bits.skip(at, "aac.pce")?;
            framing.program_config_len =
                copy_program_config(&mut bits, &mut framing.program_config)?;
        }
        Ok(framing)
    }

    /// Bytes of the head.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        ADTS_HEADER_LEN + self.program_config_len
    }

    /// Writes the head of a frame of `payload_len` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`FRAME_LEN_MAX`]; nothing is written then.
    pub fn encode(&self, payload_len: usize, writer: &mut Writer<'_>) -> Result<(), Error> {
        let len = self.encoded_len() + payload_len;
        if len > FRAME_LEN_MAX {
            let (value, max) = (len as u64, FRAME_LEN_MAX as u64);
            return Err(Error::TooLarge { what: "aac.adts.frame_len", value, max });
        }
        let len = u64::try_from(len).expect("13 bits");
        // Sync word, MPEG-4, layer 0, no checksum; behind the length "variable rate", one block.
        let value = 0xfff1_u64 << 40
            | u64::from(self.profile) << 38
            | u64::from(self.frequency_index) << 34
            | u64::from(self.channel_config) << 30
            | len << 13
            | 0x7ff << 2;
        let [_, bytes @ ..] = value.to_be_bytes();
        writer.put(&bytes);
        writer.put(&self.program_config[..self.program_config_len]);
        Ok(())
    }
}

/// Copies a program config element behind its element id, without its comment; its bytes.
fn copy_program_config(
    bits: &mut BitReader<'_>,
    out: &mut [u8; PROGRAM_CONFIG_LEN_MAX],
) -> Result<usize, Error> {
    let mut copy = Copier { bits, out, at: 0 };
    copy.write(ID_PCE, 3);
    copy.copy(4 + 2 + 4)?;
    let mut elements = 0;
    for _ in 0..3 {
        elements += copy.copy(4)?;
    }
    let low_frequency = copy.copy(2)?;
    let associated_data = copy.copy(3)?;
    let coupling = copy.copy(4)?;
    for mixdown_bits in [4, 4, 3] {
        if copy.copy(1)? == 1 {
            copy.copy(mixdown_bits)?;
        }
    }
    for _ in 0..elements {
        copy.copy(5)?;
    }
    for _ in 0..low_frequency + associated_data {
        copy.copy(4)?;
    }
    for _ in 0..coupling {
        copy.copy(5)?;
    }
    copy.at = copy.at.next_multiple_of(8);
    // No comment.
    copy.write(0, 8);
    Ok(copy.at / 8)
}

/// Copies bits from where they are read to where they are written.
struct Copier<'a, 'b> {
    bits: &'a mut BitReader<'b>,
    out: &'a mut [u8; PROGRAM_CONFIG_LEN_MAX],
    at: usize,
}

impl Copier<'_, '_> {
    fn write(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            let bit = u8::from(value >> shift & 1 == 1);
            if let Some(byte) = self.out.get_mut(self.at / 8) {
                *byte |= bit << (7 - self.at % 8);
            }
            self.at += 1;
        }
    }

    fn copy(&mut self, count: u32) -> Result<u32, Error> {
        let value = self.bits.bits(count, "aac.pce")?;
        self.write(value, count);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aac::AdtsHeader;
    use crate::bits::bit_writer::BitWriter;
    use alloc::vec::Vec;

    fn framing(text: &str) -> Result<AdtsFraming, Error> {
        AdtsFraming::from_config(&BitWriter::default().text(text).bytes())
    }

    fn head(framing: &AdtsFraming, payload_len: usize) -> Vec<u8> {
        let mut bytes = [0; ADTS_HEAD_LEN_MAX];
        let mut writer = Writer::new(&mut bytes);
        framing.encode(payload_len, &mut writer).unwrap();
        let len = writer.written();
        assert_eq!(len, framing.encoded_len());
        bytes[..len].to_vec()
    }

    #[test]
    fn heads_say_what_the_configuration_says_of_the_core() {
        let table = [
            ("LC", "00010 0100 0010 000", (2, 44_100, 2)),
            ("main 5.1", "00001 0011 0110 000", (1, 48_000, 6)),
            ("7.1", "00010 0011 0111 000", (2, 48_000, 8)),
            ("SBR", "00101 0110 0010 0011 00010 000", (2, 24_000, 2)),
            ("PS", "11101 0111 0001 0100 00010 000", (2, 22_050, 1)),
        ];
        for (name, config, (object_type, sample_rate, channels)) in table {
            let bytes = head(&framing(config).unwrap(), 300);
            let (header, len) = AdtsHeader::parse(&bytes).unwrap().unwrap();
            let expected =
                AdtsHeader { object_type, sample_rate, channels, frame_len: 307, blocks: 1 };
            assert_eq!((header, len), (expected, 7), "{name}");
        }
    }

    #[test]
    fn a_program_config_element_goes_into_the_frame() {
        // Tag, profile, rate; one single and one pair in front, one effect; no mixdown; elements.
        let element = "0000 01 0011 0010 0000 0000 01 000 0000 0 0 0 00000 10001 0000";
        let comment = "00000010 01000001 01000010";
        // In the configuration the element begins at bit 16, in the frame at bit 3.
        let pad = "0".repeat(8 - element.replace(' ', "").len() % 8);
        let config = alloc::format!("00010 0011 0000 000{element}{pad}{comment}");
        let framing = framing(&config).unwrap();
        let bytes = head(&framing, 100);
        let mut expected = BitWriter::default().text("101").text(element).bytes();
        expected.push(0);
        assert_eq!(bytes[7..], expected);
        let (header, _) = AdtsHeader::parse(&bytes).unwrap().unwrap();
        assert_eq!((header.channels, usize::from(header.frame_len)), (0, bytes.len() + 100));
    }

    #[test]
    fn what_adts_cannot_tell_is_refused() {
        let table = [
            ("00010 1111 000000001011101110000001 0010 000", "aac.adts.sample_rate", 6_000),
            ("00010 0011 1011 000", "aac.adts.channels", 11),
            ("00010 0011 0010 100", "aac.adts.frame_length", 960),
        ];
        for (config, what, _) in table {
            let error = framing(config).unwrap_err();
            assert!(matches!(error, Error::Unsupported { what: w, .. } if w == what), "{error}");
        }
        let eld = framing("11111 000111 0011 0010 00000000").unwrap_err();
        assert_eq!(eld, Error::Unsupported { what: "aac.adts.object_type", value: 39 });
        let lc = framing("00010 0100 0010 000").unwrap();
        let mut bytes = [0; 7];
        assert!(lc.encode(FRAME_LEN_MAX - 7, &mut Writer::new(&mut bytes)).is_ok());
        assert!(lc.encode(FRAME_LEN_MAX - 6, &mut Writer::new(&mut bytes)).is_err());
    }
}
