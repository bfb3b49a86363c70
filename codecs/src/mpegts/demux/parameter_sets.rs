//! The parameter sets of a video track, and the configuration that they make.
//!
//! Encoders repeat them at each keyframe. What comes with a sequence parameter set replaces all of
//! its kinds; what comes without one replaces those of the same number.
//! Limits: [`SETS_BYTES_MAX`] of sets in a picture, and of those that are kept, which are
//! [`SETS_MAX`] at most; numbers as the specifications have them. A set beyond them is refused
//! before anything is made of it, so that no picture costs more than that many bytes.

use alloc::vec::Vec;

use crate::bits::BitReader;
use crate::h264::AvcDecoderConfigurationRecord;
use crate::hevc::HevcDecoderConfigurationRecord;
use crate::media::{Codec, DecoderConfig};
use crate::{Error, h264, hevc};

/// Bytes of the parameter sets of one picture at most, and of all that are kept, each with two
/// bytes of length; those of encoders have some hundred.
pub const SETS_BYTES_MAX: usize = 16 << 10;
/// Parameter sets that are kept at most.
pub const SETS_MAX: usize = 96;

/// The greatest number of an SPS of H.264.
const AVC_SPS_ID_MAX: u32 = 31;
/// The greatest number of a PPS of H.264.
const AVC_PPS_ID_MAX: u32 = 255;
/// The greatest number of a PPS of H.265.
const HEVC_PPS_ID_MAX: u32 = 63;

/// One parameter set, with its NAL unit header.
#[derive(Clone, Debug)]
struct Set {
    kind: u8,
    id: u32,
    bytes: Vec<u8>,
}

impl Set {
    /// Bytes of it in a record.
    const fn len(&self) -> usize {
        2 + self.bytes.len()
    }
}

/// The parameter sets of a track.
#[derive(Clone, Debug)]
pub(super) struct ParameterSets {
    codec: Codec,
    /// The sets of the open picture, with two bytes of length each.
    coming: Vec<u8>,
    /// Where the set that is coming has its length.
    open: Option<usize>,
    /// What came with the last picture that had any.
    settled: Vec<u8>,
    known: Vec<Set>,
    record: Vec<u8>,
    refused: u64,
}

impl ParameterSets {
    pub(super) const fn new(codec: Codec) -> Self {
        Self {
            codec,
            coming: Vec::new(),
            open: None,
            settled: Vec::new(),
            known: Vec::new(),
            record: Vec::new(),
            refused: 0,
        }
    }

    /// True once there is a configuration.
    pub(super) const fn is_settled(&self) -> bool {
        !self.record.is_empty()
    }

    /// Sets that were not taken since this was asked before.
    pub(super) fn take_refused(&mut self) -> u64 {
        core::mem::take(&mut self.refused)
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        let known = self.known.iter().map(|set| set.bytes.capacity()).sum::<usize>();
        let table = self.known.capacity() * size_of::<Set>();
        let open = self.coming.capacity() + self.settled.capacity();
        open + self.record.capacity() + known + table
    }

    /// A set begins.
    pub(super) fn begin(&mut self) {
        self.open = Some(self.coming.len());
        self.coming.extend_from_slice(&[0; 2]);
    }

    /// Adds bytes to it; a set that is too long is forgotten.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let Some(at) = self.open else { return };
        if bytes.len() > SETS_BYTES_MAX.saturating_sub(self.coming.len()) {
            self.coming.truncate(at);
            self.open = None;
        } else {
            self.coming.extend_from_slice(bytes);
        }
    }

    /// The set is over.
    pub(super) fn end(&mut self) {
        let Some(at) = self.open.take() else { return };
        let len = u16::try_from(self.coming.len() - at - 2).expect("below SETS_BYTES_MAX");
        if let Some(field) = self.coming.get_mut(at..at + 2) {
            field.copy_from_slice(&len.to_be_bytes());
        }
    }

    /// The picture that they came with is not whole.
    pub(super) fn abort(&mut self) {
        self.coming.clear();
        self.open = None;
    }

    /// The picture's first slice comes: the configuration from here on, if it is another one.
    pub(super) fn settle(&mut self) -> Result<Option<DecoderConfig>, Error> {
        if self.coming.is_empty() || self.coming == self.settled {
            self.coming.clear();
            return Ok(None);
        }
        core::mem::swap(&mut self.coming, &mut self.settled);
        self.coming.clear();
        self.merge();
        let Some(record) = self.encode()? else { return Ok(None) };
        if record == self.record {
            return Ok(None);
        }
        let config = DecoderConfig::parse(self.codec, &record)?;
        self.record = record;
        Ok(Some(config))
    }

    fn merge(&mut self) {
        let mut sets = Vec::new();
        for unit in listed(&self.settled) {
            match self.set(unit) {
                Ok(set) => sets.push(set),
                Err(_) => self.refused += 1,
            }
        }
        let (_, sps, _) = self.kinds();
        if sets.iter().any(|set| set.kind == sps) {
            self.known.retain(|known| !sets.iter().any(|set| set.kind == known.kind));
        }
        for set in sets {
            let same = |known: &Set| (known.kind, known.id) == (set.kind, set.id);
            let at = self.known.iter().position(same);
            let before = at.map_or(0, |at| self.known[at].len());
            if self.known_bytes() - before + set.len() > SETS_BYTES_MAX {
                self.refused += 1;
                continue;
            }
            match at {
                Some(at) => self.known[at] = set,
                None if self.known.len() < SETS_MAX => self.known.push(set),
                None => self.refused += 1,
            }
        }
    }

    fn known_bytes(&self) -> usize {
        self.known.iter().map(Set::len).sum()
    }

    fn set(&self, unit: &[u8]) -> Result<Set, Error> {
        let (vps, sps, _) = self.kinds();
        let header = unit.first().copied().unwrap_or_default();
        let is_hevc = self.codec == Codec::Hevc;
        let (kind, header_len) = if is_hevc { (header >> 1 & 0x3f, 2) } else { (header & 0x1f, 1) };
        let mut bits = BitReader::rbsp(unit.get(header_len..).unwrap_or_default());
        let id = match kind {
            _ if kind == vps => bits.bits(4, "hevc.vps.id")?,
            // The number stands behind the profile, whose length varies.
            _ if kind == sps && is_hevc => u32::from(hevc::Sps::parse(unit)?.id),
            _ if kind == sps => {
                bits.skip(24, "h264.sps.profile")?;
                bits.ue_max(AVC_SPS_ID_MAX, "h264.sps.id")?
            }
            _ if is_hevc => bits.ue_max(HEVC_PPS_ID_MAX, "hevc.pps.id")?,
            _ => bits.ue_max(AVC_PPS_ID_MAX, "h264.pps.id")?,
        };
        Ok(Set { kind, id, bytes: unit.to_vec() })
    }

    /// The types of VPS, SPS and PPS.
    const fn kinds(&self) -> (u8, u8, u8) {
        match self.codec {
            Codec::Hevc => (hevc::NalType::VPS.0, hevc::NalType::SPS.0, hevc::NalType::PPS.0),
            // H.264 has no VPS, and no unit of this type.
            _ => (u8::MAX, h264::NalType::SPS.0, h264::NalType::PPS.0),
        }
    }

    /// The record of what is known; `None` if a kind is missing.
    fn encode(&self) -> Result<Option<Vec<u8>>, Error> {
        let of = |kind| -> Vec<&[u8]> {
            let sets = self.known.iter().filter(|set| set.kind == kind);
            sets.map(|set| set.bytes.as_slice()).collect()
        };
        let (vps, sps, pps) = self.kinds();
        let (vps, sps, pps) = (of(vps), of(sps), of(pps));
        if sps.is_empty() || pps.is_empty() {
            return Ok(None);
        }
        match self.codec {
            Codec::Hevc if vps.is_empty() => Ok(None),
            Codec::Hevc => HevcDecoderConfigurationRecord::encode(&vps, &sps, &pps).map(Some),
            _ => AvcDecoderConfigurationRecord::encode(&sps, &pps).map(Some),
        }
    }
}

/// The sets of a list with two bytes of length each.
fn listed(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (&len, rest) = bytes.split_first_chunk()?;
        let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(len)))?;
        bytes = rest;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit_writer::BitWriter;

    const SPS: &[u8] = &[0x67, 66, 0xc0, 30, 0xf4, 5, 1, 0xec, 0x80];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    /// Number 1.
    const OTHER_PPS: &[u8] = &[0x68, 0x5c, 0x3c, 0x80];

    fn settle(sets: &mut ParameterSets, units: &[&[u8]]) -> Option<(usize, usize)> {
        for unit in units {
            sets.begin();
            unit.chunks(3).for_each(|piece| sets.append(piece));
            sets.end();
        }
        let config = sets.settle().unwrap()?;
        let avcc = AvcDecoderConfigurationRecord::parse(&config.record).unwrap();
        Some((avcc.sps.len(), avcc.pps.len()))
    }

    #[test]
    fn a_configuration_is_told_when_it_is_another_one() {
        let mut sets = ParameterSets::new(Codec::H264);
        assert_eq!(settle(&mut sets, &[PPS]), None, "the sequence is missing");
        assert!(!sets.is_settled());
        assert_eq!(settle(&mut sets, &[SPS]), Some((1, 1)));
        assert_eq!(settle(&mut sets, &[SPS, PPS]), None, "the same");
        assert_eq!(settle(&mut sets, &[SPS, PPS]), None, "the same at once");
        assert_eq!(settle(&mut sets, &[OTHER_PPS]), Some((1, 2)), "one more");
        assert_eq!(settle(&mut sets, &[]), None);
        assert_eq!(settle(&mut sets, &[SPS, PPS]), Some((1, 1)), "all anew");
        sets.begin();
        sets.append(OTHER_PPS);
        sets.abort();
        assert_eq!(settle(&mut sets, &[]), None, "its picture was not whole");
    }

    #[test]
    fn sets_have_limits_and_bad_ones_change_nothing() {
        let mut sets = ParameterSets::new(Codec::H264);
        assert_eq!(settle(&mut sets, &[SPS, PPS]), Some((1, 1)));
        let long = [0x68; SETS_BYTES_MAX];
        assert_eq!(settle(&mut sets, &[&long]), None);
        assert!(sets.coming.is_empty());
        sets.begin();
        sets.append(&[0x67]);
        sets.end();
        assert_eq!(settle(&mut sets, &[]), None, "it has no number");
        assert_eq!((sets.take_refused(), sets.take_refused()), (1, 0));
        assert!(sets.is_settled(), "the one before is in force");
        assert_eq!(settle(&mut sets, &[SPS, OTHER_PPS]), Some((1, 1)));
    }
    /// A picture parameter set with this number.
    fn pps(number: u32, len: usize, fill: u8) -> Vec<u8> {
        let mut unit = BitWriter::starting(&[0x68]).ue(&[number]).bytes();
        unit.resize(len.max(unit.len()), fill);
        unit
    }

    #[test]
    fn what_is_kept_and_copied_is_bounded_whatever_comes() {
        let mut sets = ParameterSets::new(Codec::H264);
        assert_eq!(settle(&mut sets, &[SPS, PPS]), Some((1, 1)));
        let long = SETS_BYTES_MAX / 2;
        for number in 1..=95 {
            settle(&mut sets, &[&pps(number, long, 0xee)]);
            assert!(sets.known_bytes() <= SETS_BYTES_MAX, "{number}");
        }
        // One of them has room beside the first two.
        assert_eq!((sets.known.len(), sets.take_refused()), (3, 94));
        for fill in 1..=200 {
            assert_eq!(settle(&mut sets, &[&pps(200, 5, fill)]), Some((1, 3)), "{fill}");
            assert!(sets.record.len() <= SETS_BYTES_MAX + 64, "{fill}");
        }
        // One that is known grows into what is left, and no further.
        settle(&mut sets, &[&pps(200, long - 100, 7)]);
        assert_eq!(sets.take_refused(), 0);
        settle(&mut sets, &[&pps(200, long + 100, 7)]);
        assert_eq!(sets.take_refused(), 1);
    }

    #[test]
    fn numbers_beyond_the_specification_are_refused() {
        let mut sets = ParameterSets::new(Codec::H264);
        assert_eq!(settle(&mut sets, &[SPS, PPS]), Some((1, 1)));
        assert_eq!(settle(&mut sets, &[&pps(256, 9, 1)]), None);
        assert_eq!(sets.take_refused(), 1);
        assert_eq!(settle(&mut sets, &[&pps(255, 9, 1)]), Some((1, 2)));
        let sps = BitWriter::starting(&[0x67, 66, 0xc0, 30]).ue(&[32]).bytes();
        assert_eq!(settle(&mut sets, &[&sps]), None);
        assert_eq!((sets.take_refused(), sets.known.len()), (1, 3));
    }
    #[test]
    fn sequences_of_hevc_have_their_numbers() {
        let sps = |id| {
            let head = BitWriter::starting(&[0x42, 1]).text("0000 000 1");
            let profile = head.put(0, 48).put(0, 48);
            // Number, format, sides, no window, depths.
            profile.ue(&[id, 1, 64, 64]).text("0").ue(&[0, 0]).put(0xff, 8).escaped()
        };
        let (vps, pps) = ([0x40, 1, 0x0c, 1], [0x44, 1, 0xc1]);
        let mut sets = ParameterSets::new(Codec::Hevc);
        for unit in [&vps[..], &sps(0), &sps(15), &sps(16), &pps] {
            sets.begin();
            sets.append(unit);
            sets.end();
        }
        let config = sets.settle().unwrap().unwrap();
        let hvcc = HevcDecoderConfigurationRecord::parse(&config.record).unwrap();
        assert_eq!(hvcc.units_of(hevc::NalType::SPS).count(), 2);
        assert_eq!(sets.take_refused(), 1);
    }
}
