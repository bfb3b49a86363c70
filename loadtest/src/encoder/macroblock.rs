//! Macroblocks of one colour, and of noise.
//!
//! Spec: ITU-T H.264 7.3.5 (syntax), 8.3.3 and 8.3.4 (prediction), 8.5.2 and 8.5.11 (what a lone
//! DC coefficient becomes), 9.2 (CAVLC).
//!
//! Shape: Intra 16x16, predicted from the tile above or to the left, of which all edge samples are
//! alike, so the prediction is exact; the difference in colour is one DC coefficient for each
//! component, or nothing. Noise is `I_PCM`.
//!
//! With the quantiser of [`super::parameter_sets`] a luma coefficient of `c` adds `c`, one of
//! chroma adds `2c`.

use super::bit_writer::BitWriter;
use super::canvas::Colour;
use super::noise;

/// Bytes of a macroblock of noise behind another one: its type and alignment, its samples.
pub(super) const NOISE_LEN: usize = 2 + noise::MACROBLOCK_SAMPLES;

/// Every component, where there is no neighbour to predict from.
const MIDDLE: Colour = Colour { luma: 128, blue: 128, red: 128 };

const I_PCM: u32 = 25;

/// In a P slice the types of intra macroblocks come after those five of inter macroblocks.
const P_TYPES: u32 = 5;

/// The slice that a macroblock stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slice {
    /// Every macroblock is coded.
    Intra,
    /// Those that do not change are skipped.
    Predicted,
}

impl Slice {
    fn intra_type(self, w: &mut BitWriter<'_>, mb_type: u32) {
        w.ue(match self {
            Self::Intra => mb_type,
            Self::Predicted => P_TYPES + mb_type,
        });
    }
}

/// What the colour of a tile is predicted from: the numbers that prediction modes have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbours {
    /// The tile above.
    pub(super) above: Option<Colour>,
    /// The tile to the left.
    pub(super) left: Option<Colour>,
}

/// Appends a tile of one colour, of which no neighbour is noise.
pub(super) fn put_tile(
    w: &mut BitWriter<'_>,
    slice: Slice,
    neighbours: Neighbours,
    colour: Colour,
) {
    // Modes: 16x16 luma has vertical 0, horizontal 1, DC 2; chroma has DC 0, horizontal 1,
    // vertical 2.
    let (predicted, luma_mode, chroma_mode) = match neighbours {
        Neighbours { above: Some(above), .. } => (above, 0, 2),
        Neighbours { left: Some(left), .. } => (left, 1, 1),
        _ => (MIDDLE, 2, 0),
    };
    let difference = |to: u8, from: u8| i32::from(to) - i32::from(from);
    let luma = difference(colour.luma, predicted.luma);
    let chroma =
        [difference(colour.blue, predicted.blue) / 2, difference(colour.red, predicted.red) / 2];
    let has_chroma = chroma != [0, 0];
    slice.intra_type(w, 1 + luma_mode + 4 * u32::from(has_chroma));
    w.ue(chroma_mode);
    w.se(0); // mb_qp_delta
    match luma {
        0 => w.flag(true), // coeff_token: none of at most 16, neighbours have none
        1 | -1 => w.bits(2, 0b01),
        _ => w.bits(6, 0b00_0101),
    }
    put_level(w, luma);
    if has_chroma {
        for level in chroma {
            match level {
                0 => w.bits(2, 0b01), // coeff_token: none of the 4 chroma DC levels
                1 | -1 => w.flag(true),
                _ => w.bits(6, 0b00_0111),
            }
            put_level(w, level);
        }
    }
}

/// The only coefficient of a block, at its start; its `coeff_token` is written.
fn put_level(w: &mut BitWriter<'_>, level: i32) {
    let magnitude = level.unsigned_abs();
    match magnitude {
        0 => return,
        1 => w.flag(level < 0), // trailing_ones_sign_flag
        _ => {
            // A level that is no trailing one is two at least, which shortens its code.
            let code = 2 * magnitude - 4 + u32::from(level < 0);
            match code {
                0..14 => w.bits(code + 1, 1),
                14..30 => {
                    w.bits(15, 1);
                    w.bits(4, code - 14);
                }
                _ => {
                    w.bits(16, 1);
                    w.bits(12, code - 30);
                }
            }
        }
    }
    w.flag(true); // total_zeros: none
}

/// Appends macroblock `index` of noise.
pub(super) fn put_noise(w: &mut BitWriter<'_>, slice: Slice, index: usize) {
    slice.intra_type(w, I_PCM);
    w.align();
    w.nonzero_bytes(noise::macroblock(index));
}
