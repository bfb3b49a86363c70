//! The filler of a handshake from a small seed.
//!
//! Spec: RTMP 1.0 section 5.2.3 asks for data that is unlikely to repeat, not for secrecy: the
//! digest's key is public.

use codecs::rtmp::handshake::RANDOM_LEN;

/// `RANDOM_LEN` bytes that differ with the seed (SplitMix64 over its four words).
pub(super) fn filler(seed: [u8; 32]) -> [u8; RANDOM_LEN] {
    let mut state = seed.chunks_exact(8).fold(0_u64, |state, word| {
        let word = word.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        state.rotate_left(17) ^ word
    });
    let mut bytes = [0; RANDOM_LEN];
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // CONTROL: the filler of a handshake.
        chunk.copy_from_slice(&mixed.to_be_bytes()[..chunk.len()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_give_different_fillers() {
        let [a, b] = [[1; 32], [2; 32]].map(filler);
        assert_ne!(a, b);
        assert_ne!(a[..8], a[8..16]);
        assert_eq!(a, filler([1; 32]));
    }
}
