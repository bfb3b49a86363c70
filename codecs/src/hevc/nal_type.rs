//! H.265 NAL unit types.
//!
//! Spec: ITU-T H.265 7.3.1.2 and table 7-1.

/// `nal_unit_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NalType(pub u8);

impl NalType {
    /// Broken link access, with leading pictures.
    pub const BLA_W_LP: Self = Self(16);
    /// IDR with decodable leading pictures.
    pub const IDR_W_RADL: Self = Self(19);
    /// IDR without leading pictures.
    pub const IDR_N_LP: Self = Self(20);
    /// Clean random access.
    pub const CRA: Self = Self(21);
    /// Video parameter set.
    pub const VPS: Self = Self(32);
    /// Sequence parameter set.
    pub const SPS: Self = Self(33);
    /// Picture parameter set.
    pub const PPS: Self = Self(34);
    /// Access unit delimiter.
    pub const AUD: Self = Self(35);
    /// End of sequence.
    pub const END_OF_SEQUENCE: Self = Self(36);
    /// End of bitstream.
    pub const END_OF_BITSTREAM: Self = Self(37);
    /// Filler data.
    pub const FILLER: Self = Self(38);
    /// Supplemental enhancement information ahead of the pictures.
    pub const PREFIX_SEI: Self = Self(39);
    /// Supplemental enhancement information behind the pictures.
    pub const SUFFIX_SEI: Self = Self(40);

    /// The type of a NAL unit, `None` if it is empty.
    #[must_use]
    pub fn of(unit: &[u8]) -> Option<Self> {
        unit.first().map(|header| Self(header >> 1 & 0x3f))
    }

    /// True for the NAL units that hold picture data.
    #[must_use]
    pub const fn is_vcl(self) -> bool {
        self.0 < 32
    }

    /// True for slices of intra random access pictures (BLA, IDR, CRA), where decoding can start.
    #[must_use]
    pub const fn is_keyframe(self) -> bool {
        matches!(self.0, 16..=21)
    }

    /// True for VPS, SPS and PPS, which travel in the decoder configuration.
    #[must_use]
    pub const fn is_parameter_set(self) -> bool {
        matches!(self.0, 32..=34)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_type() {
        // Header, keyframe, picture data, parameter set.
        let table = [
            (0x26, NalType::IDR_W_RADL, [true, true, false]),
            (0x28, NalType::IDR_N_LP, [true, true, false]),
            (0x2a, NalType::CRA, [true, true, false]),
            (0x20, NalType::BLA_W_LP, [true, true, false]),
            (0x02, NalType(1), [false, true, false]),
            (0x40, NalType::VPS, [false, false, true]),
            (0x42, NalType::SPS, [false, false, true]),
            (0x44, NalType::PPS, [false, false, true]),
            (0x4e, NalType::PREFIX_SEI, [false, false, false]),
        ];
        for (header, kind, flags) in table {
            assert_eq!(NalType::of(&[header, 1]), Some(kind));
            assert_eq!([kind.is_keyframe(), kind.is_vcl(), kind.is_parameter_set()], flags);
        }
        assert_eq!(NalType::of(&[]), None);
    }
}
