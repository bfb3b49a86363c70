//! What a NAL unit is to the picture that it comes with.
//!
//! Spec: ITU-T H.264 7.4.1.2.3 and H.265 7.4.2.4.4 (where a picture begins), H.264 D.2.8 (recovery
//! point).

use crate::bits::BitReader;
use crate::media::Codec;
use crate::{Error, h264, hevc};

/// Messages of supplemental information that are looked at.
const SEI_MESSAGES_MAX: usize = 8;
/// `payloadType` of a recovery point.
const RECOVERY_POINT: u32 = 6;

/// What a NAL unit is to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NalKind {
    Delimiter,
    ParameterSet {
        is_sequence: bool,
    },
    Sei,
    Slice {
        first: bool,
        is_intra: bool,
    },
    /// Of another layer than the base, whose pictures are not read.
    Layer,
    /// `begins`: one behind a slice belongs to the next picture.
    Other {
        begins: bool,
    },
}

impl NalKind {
    /// By the first bytes of the unit, which has its header and, of a slice, what stands first.
    pub(super) fn of(codec: Codec, head: &[u8]) -> Self {
        let header = head.first().copied().unwrap_or_default();
        let is_first = |at: usize| head.get(at).is_some_and(|byte| byte & 0x80 != 0);
        if codec == Codec::Hevc {
            let kind = hevc::NalType(header >> 1 & 0x3f);
            // Its six bits stand across both bytes.
            let layer = header & 1 != 0 || head.get(1).is_some_and(|byte| byte >> 3 != 0);
            return match kind {
                _ if layer => Self::Layer,
                hevc::NalType::AUD => Self::Delimiter,
                hevc::NalType::PREFIX_SEI => Self::Sei,
                _ if kind.is_parameter_set() => {
                    Self::ParameterSet { is_sequence: kind == hevc::NalType::SPS }
                }
                // The flag stands behind a header of two bytes.
                _ if kind.is_vcl() => {
                    Self::Slice { first: is_first(2), is_intra: kind.is_keyframe() }
                }
                hevc::NalType(kind) => Self::Other { begins: matches!(kind, 41..=44 | 48..=55) },
            };
        }
        let kind = h264::NalType(header & 0x1f);
        match kind {
            h264::NalType::AUD => Self::Delimiter,
            h264::NalType::SEI => Self::Sei,
            h264::NalType::SPS | h264::NalType::PPS => {
                Self::ParameterSet { is_sequence: kind == h264::NalType::SPS }
            }
            // A first macroblock of 0 is a single bit.
            h264::NalType(1 | 2 | 5) => {
                Self::Slice { first: is_first(1), is_intra: kind.is_keyframe() }
            }
            h264::NalType(kind) => Self::Other { begins: matches!(kind, 14..=18) },
        }
    }

    /// True for what belongs to the next picture if slices came before it.
    pub(super) const fn begins_picture(self) -> bool {
        match self {
            Self::Delimiter | Self::ParameterSet { .. } | Self::Sei => true,
            Self::Slice { first, .. } => first,
            Self::Layer => false,
            Self::Other { begins } => begins,
        }
    }
}

/// True if supplemental information says that decoding may start with its own picture.
pub(super) fn is_recovery_point(payload: &[u8]) -> bool {
    find_recovery_point(BitReader::rbsp(payload)).unwrap_or(false)
}

fn find_recovery_point(mut bits: BitReader<'_>) -> Result<bool, Error> {
    for _ in 0..SEI_MESSAGES_MAX {
        let kind = bits.extended("h264.sei.number")?;
        let len = bits.extended("h264.sei.number")?;
        if kind == RECOVERY_POINT {
            // A count of no frames is a single bit.
            return bits.flag("h264.sei.recovery_frames");
        }
        bits.skip(8 * len, "h264.sei.payload")?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_above_the_base_are_told_apart() {
        let sequence = NalKind::ParameterSet { is_sequence: true };
        let key = NalKind::Slice { first: true, is_intra: true };
        // SPS and IDR, of layers 0, 1, 32.
        for (head, kind) in [
            (&[0x42, 0x01][..], sequence),
            (&[0x42, 0x09], NalKind::Layer),
            (&[0x43, 0x01], NalKind::Layer),
            (&[0x26, 0x01, 0x80], key),
            (&[0x26, 0x09, 0x80], NalKind::Layer),
        ] {
            assert_eq!(NalKind::of(Codec::Hevc, head), kind, "{head:x?}");
        }
        assert_eq!(NalKind::of(Codec::H264, &[0x67, 0x42]), sequence);
    }
}
