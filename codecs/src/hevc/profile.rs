//! Profile, tier and level of H.265, and the codec string that they make.
//!
//! Spec: ITU-T H.265 7.3.3; ISO/IEC 14496-15 Annex E.3.

use alloc::format;
use alloc::string::String;

/// Profile, tier and level of the whole stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileTierLevel {
    /// `general_profile_space`.
    pub profile_space: u8,
    /// `general_tier_flag`: high tier.
    pub high_tier: bool,
    /// `general_profile_idc`.
    pub profile_idc: u8,
    /// `general_profile_compatibility_flag[0..32]`, the first one most significant.
    pub compatibility: u32,
    /// The 48 bits of source and constraint flags.
    pub constraints: [u8; 6],
    /// `general_level_idc`, thirty times the level.
    pub level_idc: u8,
}

impl ProfileTierLevel {
    /// From the 12 bytes that the SPS and hvcC share.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        let [first, c0, c1, c2, c3, f0, f1, f2, f3, f4, f5, level_idc] = bytes;
        Self {
            profile_space: first >> 6,
            high_tier: first & 0x20 != 0,
            profile_idc: first & 0x1f,
            compatibility: u32::from_be_bytes([c0, c1, c2, c3]),
            constraints: [f0, f1, f2, f3, f4, f5],
            level_idc,
        }
    }

    /// The same 12 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let tier = u8::from(self.high_tier) << 5;
        let first = self.profile_space << 6 | tier | self.profile_idc & 0x1f;
        let [c0, c1, c2, c3] = self.compatibility.to_be_bytes();
        let [f0, f1, f2, f3, f4, f5] = self.constraints;
        [first, c0, c1, c2, c3, f0, f1, f2, f3, f4, f5, self.level_idc]
    }

    /// The codec string of ISO/IEC 14496-15 Annex E.3.
    ///
    /// Profile space and profile, compatibility flags in reverse bit order as hexadecimal, tier
    /// and level, then the constraint bytes without the zeros at their end.
    #[must_use]
    pub fn codec_string(&self) -> String {
        let space = ["", "A", "B", "C"][usize::from(self.profile_space & 3)];
        let tier = if self.high_tier { 'H' } else { 'L' };
        let mut text = format!(
            "hvc1.{space}{}.{:x}.{tier}{}",
            self.profile_idc,
            self.compatibility.reverse_bits(),
            self.level_idc
        );
        let kept = self.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        for byte in self.constraints.iter().take(kept) {
            text.push_str(&format!(".{byte:x}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codec_strings_follow_the_examples_of_the_specification() {
        let table = [
            ([0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93], "hvc1.1.6.L93.b0"),
            ([0x21, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 150], "hvc1.1.6.H150"),
            ([0x42, 0x20, 0, 0, 0, 0x90, 0, 0x10, 0, 0, 0, 120], "hvc1.A2.4.L120.90.0.10"),
        ];
        for (bytes, text) in table {
            let ptl = ProfileTierLevel::from_bytes(bytes);
            assert_eq!(ptl.codec_string(), text);
            assert_eq!(ptl.to_bytes(), bytes);
        }
    }
}
