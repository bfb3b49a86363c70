//! H.264 NAL unit types.
//!
//! Spec: ITU-T H.264 7.3.1 and table 7-1.

/// `nal_unit_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NalType(pub u8);

impl NalType {
    /// Slice of a picture that is not IDR.
    pub const SLICE: Self = Self(1);
    /// Slice data partition A.
    pub const PARTITION_A: Self = Self(2);
    /// Slice of an IDR picture.
    pub const IDR: Self = Self(5);
    /// Supplemental enhancement information.
    pub const SEI: Self = Self(6);
    /// Sequence parameter set.
    pub const SPS: Self = Self(7);
    /// Picture parameter set.
    pub const PPS: Self = Self(8);
    /// Access unit delimiter.
    pub const AUD: Self = Self(9);
    /// End of sequence.
    pub const END_OF_SEQUENCE: Self = Self(10);
    /// End of stream.
    pub const END_OF_STREAM: Self = Self(11);
    /// Filler data.
    pub const FILLER: Self = Self(12);
    /// Sequence parameter set extension.
    pub const SPS_EXTENSION: Self = Self(13);

    /// The type of a NAL unit, `None` if it is empty.
    #[must_use]
    pub fn of(unit: &[u8]) -> Option<Self> {
        unit.first().map(|header| Self(header & 0x1f))
    }

    /// True for the NAL units that hold picture data.
    #[must_use]
    pub const fn is_vcl(self) -> bool {
        matches!(self.0, 1..=5)
    }

    /// True for a slice of an IDR picture, where decoding can start.
    #[must_use]
    pub const fn is_keyframe(self) -> bool {
        self.0 == Self::IDR.0
    }

    /// True for SPS, PPS and SPS extension, which travel in the decoder configuration.
    #[must_use]
    pub const fn is_parameter_set(self) -> bool {
        matches!(self.0, 7 | 8 | 13)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_type() {
        // Header, keyframe, picture data, parameter set.
        let table = [
            (0x65, NalType::IDR, [true, true, false]),
            (0x41, NalType::SLICE, [false, true, false]),
            (0x01, NalType::SLICE, [false, true, false]),
            (0x06, NalType::SEI, [false, false, false]),
            (0x67, NalType::SPS, [false, false, true]),
            (0x68, NalType::PPS, [false, false, true]),
            (0x09, NalType::AUD, [false, false, false]),
        ];
        for (header, kind, flags) in table {
            assert_eq!(NalType::of(&[header, 0]), Some(kind));
            assert_eq!([kind.is_keyframe(), kind.is_vcl(), kind.is_parameter_set()], flags);
        }
        assert_eq!(NalType::of(&[]), None);
    }
}
