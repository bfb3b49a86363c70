//! AAC in LATM.
//!
//! Spec: ISO/IEC 14496-3 1.7.3 (`AudioMuxElement`, `StreamMuxConfig`, `PayloadLengthInfo`).
//! What is read is what is sent: one program with one layer, whose configuration comes with it.
//! Errors: [`Error::Unsupported`] for anything else, and before the first configuration.
//! Limits: [`CONFIG_BYTES_MAX`]; the rest by the widths of fields.

use crate::Error;
use crate::aac::AudioSpecificConfig;
use crate::bits::BitReader;
use crate::media::{Codec, DecoderConfig};

/// Bytes of a configuration at most; one with a program config element has some twenty.
const CONFIG_BYTES_MAX: usize = 96;

/// How long the payload of each frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameLength {
    /// It stands before the payload.
    Told,
    /// Always so many bytes.
    Fixed(u32),
}

/// The stream's configuration.
#[derive(Clone, Copy, Debug)]
struct Mux {
    frames: u32,
    length: FrameLength,
    samples: u32,
    sample_rate: u32,
}

/// What is known of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Latm {
    mux: Option<Mux>,
    config: Option<DecoderConfig>,
    is_news: bool,
}

/// The frames of one element.
#[derive(Clone, Debug)]
pub(super) struct Frames<'a> {
    bits: BitReader<'a>,
    length: FrameLength,
    left: u32,
}

/// The payload of a frame, which begins at any bit.
#[derive(Clone, Debug)]
pub(super) struct Payload<'a> {
    bits: BitReader<'a>,
    len: u32,
}

impl Latm {
    /// Reads the start of an element.
    pub(super) fn read<'a>(&mut self, element: &'a [u8]) -> Result<Frames<'a>, Error> {
        let mut bits = BitReader::new(element);
        let is_same = bits.flag("aac.latm.same_config")?;
        if !is_same {
            self.mux = None;
            self.mux = Some(self.read_config(&mut bits, element)?);
        }
        let unsupported = Error::Unsupported { what: "aac.latm.config", value: 0 };
        let mux = self.mux.ok_or(unsupported)?;
        Ok(Frames { bits, length: mux.length, left: mux.frames })
    }

    /// The configuration, if it is another one than when it was asked for last.
    pub(super) fn take_config(&mut self) -> Option<&DecoderConfig> {
        let is_news = core::mem::take(&mut self.is_news);
        self.config.as_ref().filter(|_| is_news)
    }

    pub(super) const fn is_configured(&self) -> bool {
        self.mux.is_some()
    }

    /// Samples of a frame, and their rate.
    pub(super) fn samples(&self) -> (u32, u32) {
        self.mux.map_or((0, 0), |mux| (mux.samples, mux.sample_rate))
    }

    fn read_config(&mut self, bits: &mut BitReader<'_>, element: &[u8]) -> Result<Mux, Error> {
        let refuse = |what, value| Err(Error::Unsupported { what, value: u64::from(value) });
        let version = bits.bits(1, "aac.latm.version")?;
        if version == 1 {
            if bits.flag("aac.latm.version_a")? {
                return refuse("aac.latm.version_a", 1_u32);
            }
            value(bits)?;
        }
        if !bits.flag("aac.latm.same_time")? {
            return refuse("aac.latm.same_time", 0_u32);
        }
        let frames = bits.bits(6, "aac.latm.frames")? + 1;
        let programs_and_layers = bits.bits(4 + 3, "aac.latm.programs")?;
        if programs_and_layers != 0 {
            return refuse("aac.latm.programs", programs_and_layers);
        }
        let told = if version == 1 { Some(value(bits)?) } else { None };
        let asc = self.read_asc(bits, told, element)?;
        let length = match bits.bits(3, "aac.latm.frame_length_type")? {
            0 => {
                bits.skip(8, "aac.latm.buffer_fullness")?;
                FrameLength::Told
            }
            1 => FrameLength::Fixed(bits.bits(9, "aac.latm.frame_length")? + 20),
            other => return refuse("aac.latm.frame_length_type", other),
        };
        if bits.flag("aac.latm.other_data")? {
            if version == 1 {
                value(bits)?;
            } else {
                while bits.flag("aac.latm.other_data_len")? {
                    bits.skip(8, "aac.latm.other_data_len")?;
                }
                bits.skip(8, "aac.latm.other_data_len")?;
            }
        }
        if bits.flag("aac.latm.checksum")? {
            bits.skip(8, "aac.latm.checksum")?;
        }
        let AudioSpecificConfig { samples_per_unit: samples, sample_rate, .. } = asc;
        if samples == 0 {
            return refuse("aac.latm.object_type", u32::from(asc.object_type));
        }
        Ok(Mux { frames, length, samples, sample_rate })
    }

    /// Reads the `AudioSpecificConfig`, which begins at any bit; `told` is how many it has.
    fn read_asc(
        &mut self,
        bits: &mut BitReader<'_>,
        told: Option<u32>,
        element: &[u8],
    ) -> Result<AudioSpecificConfig, Error> {
        let mut bytes = [0; CONFIG_BYTES_MAX];
        let there = bits.bits_left().min(element.len() * 8);
        let mut ahead = *bits;
        for (at, byte) in bytes.iter_mut().enumerate() {
            let width = there.saturating_sub(at * 8).min(8);
            let width = u32::try_from(width).unwrap_or_default();
            if width > 0 {
                *byte = ahead.bits8(width, "aac.latm.asc")? << (8 - width);
            }
        }
        let (asc, len) = match told {
            None => AudioSpecificConfig::parse_prefix(&bytes)?,
            Some(len) => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let whole = bytes.get(..len.div_ceil(8));
                let (value, max) = (len as u64 / 8, CONFIG_BYTES_MAX as u64);
                let too_large = Error::TooLarge { what: "aac.latm.asc", value, max };
                (AudioSpecificConfig::parse(whole.ok_or(too_large)?)?, len)
            }
        };
        bits.skip(u32::try_from(len).unwrap_or(u32::MAX), "aac.latm.asc")?;
        let record_len = len.div_ceil(8);
        if let Some(last) = record_len.checked_sub(1).and_then(|last| bytes.get_mut(last)) {
            // Bits behind its end belong to something else.
            *last &= u8::MAX << (record_len * 8 - len);
        }
        let record = bytes.get(..record_len).unwrap_or_default();
        if self.config.as_ref().is_none_or(|config| config.record != record) {
            self.config = Some(DecoderConfig::parse(Codec::Aac, record)?);
            self.is_news = true;
        }
        Ok(asc)
    }
}

impl<'a> Frames<'a> {
    /// The payload of the next frame.
    pub(super) fn next(&mut self) -> Result<Option<Payload<'a>>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let len = match self.length {
            FrameLength::Fixed(len) => len,
            FrameLength::Told => self.bits.extended("aac.latm.length")?,
        };
        let payload = Payload { bits: self.bits, len };
        self.bits.skip(len.saturating_mul(8), "aac.latm.payload")?;
        Ok(Some(payload))
    }
}

impl Payload<'_> {
    /// The next bytes; none when it is over.
    pub(super) fn take<'b>(&mut self, out: &'b mut [u8; 64]) -> &'b [u8] {
        let mut len = 0;
        for (place, _) in out.iter_mut().zip(0..self.len) {
            *place = self.bits.bits8(8, "aac.latm.payload").unwrap_or_default();
            len += 1;
        }
        self.len -= u32::try_from(len).unwrap_or_default();
        out.get(..len).unwrap_or_default()
    }
}

/// `LatmGetValue`: a count of bytes, then the bytes.
fn value(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let bytes = bits.bits(2, "aac.latm.value")? + 1;
    bits.bits(8 * bytes, "aac.latm.value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit_writer::BitWriter;
    use alloc::vec::Vec;

    /// Version 0, one time for all, `frames`, one program, stereo of 48 kHz.
    fn config(frames: &str) -> BitWriter {
        BitWriter::default().text("0 0 1").text(frames).text("0000 000 00010 0011 0010 000")
    }

    fn read(latm: &mut Latm, element: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut frames = latm.read(element)?;
        let mut found = Vec::new();
        while let Some(mut payload) = frames.next()? {
            let (mut unit, mut piece) = (Vec::new(), [0; 64]);
            loop {
                let bytes = payload.take(&mut piece);
                if bytes.is_empty() {
                    break;
                }
                unit.extend_from_slice(bytes);
            }
            found.push(unit);
        }
        Ok(found)
    }

    fn with_payload(bits: BitWriter, len: usize) -> BitWriter {
        let bits = (0..len / 255).fold(bits, |bits, _| bits.put(255, 8)).put(len as u64 % 255, 8);
        (0..len).fold(bits, |bits, at| bits.put(at as u64 % 251, 8))
    }

    fn payload(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn frames_come_out_of_any_bit() {
        let mut latm = Latm::default();
        let unsupported = Error::Unsupported { what: "aac.latm.config", value: 0 };
        assert_eq!(read(&mut latm, &[0x80, 0]), Err(unsupported));
        let bits = config("000001").text("000").put(0xff, 8).text("0 0");
        let element = with_payload(with_payload(bits, 300), 1).bytes();
        assert_eq!(read(&mut latm, &element).unwrap(), [payload(300), payload(1)]);
        let told = latm.take_config().map(|config| config.record.clone());
        assert_eq!((told, latm.samples()), (Some(Vec::from([0x11, 0x90])), (1024, 48_000)));
        assert_eq!(latm.take_config(), None, "news once");
        let same = with_payload(with_payload(BitWriter::default().text("1"), 255), 64).bytes();
        assert_eq!(read(&mut latm, &same).unwrap(), [payload(255), payload(64)]);
        for len in 0..element.len() {
            assert!(read(&mut Latm::default(), &element[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn fixed_lengths_other_data_and_lengths_of_the_configuration() {
        let mut latm = Latm::default();
        let bits = config("000000").text("001").put(3, 9).text("1 1").put(1, 8).text("0");
        let bits = bits.put(9, 8).text("1").put(0, 8);
        let bits = payload(23).iter().fold(bits, |bits, &byte| bits.put(u64::from(byte), 8));
        assert_eq!(read(&mut latm, &bits.bytes()).unwrap(), [payload(23)]);
        // Version 1 tells how long the configuration is: here with SBR behind it.
        let asc = "00010 0110 0010 000 01010110111 00101 1 0011";
        let bits = BitWriter::default().text("0 1 0 00").put(1, 8).text("1 000000 0000 000 00");
        let bits = bits.put(37, 8).text(asc).text("000").put(0xff, 8).text("0 0");
        assert_eq!(read(&mut latm, &with_payload(bits, 9).bytes()).unwrap(), [payload(9)]);
        assert_eq!(latm.samples(), (2048, 48_000));
        assert!(latm.take_config().is_some_and(|config| config.codec_string == "mp4a.40.5"));
    }

    #[test]
    fn what_nobody_sends_is_refused() {
        for text in ["0 1 1", "0 0 0", "0 0 1 000000 0001 000", "0 0 1 000000 0000 001"] {
            let element = BitWriter::default().text(text).put(0, 64).bytes();
            let result = read(&mut Latm::default(), &element);
            assert!(matches!(result, Err(Error::Unsupported { .. })), "{text}: {result:?}");
        }
    }
}
