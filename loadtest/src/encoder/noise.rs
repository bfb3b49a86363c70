//! The noise that fills pictures: samples of video range, none of them zero, so that no start code
//! can appear in them.

use std::sync::LazyLock;

/// Samples of one macroblock: 16x16 of luma, 8x8 of each chroma.
pub(super) const MACROBLOCK_SAMPLES: usize = 384;

const POOL_SAMPLES: usize = 64 * 1024;

/// How far apart the samples of two macroblocks stand: they overlap, and nobody sees it.
const STRIDE: usize = 389;

/// The darkest sample, and how many levels there are from it on.
const LEVEL_MIN: u8 = 64;
const LEVELS: u8 = 128;

static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..POOL_SAMPLES)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            LEVEL_MIN + state.to_be_bytes()[0] % LEVELS
        })
        .collect()
});

/// The samples of macroblock `index`; other numbers give other noise.
pub(super) fn macroblock(index: usize) -> &'static [u8] {
    let at = index.wrapping_mul(STRIDE) % (POOL_SAMPLES - MACROBLOCK_SAMPLES);
    &POOL[at..at + MACROBLOCK_SAMPLES]
}
