//! What a decoder has to know before the first picture.
//!
//! Spec: ITU-T H.264 7.3.2.1, 7.3.2.2, E.1.1, and table A-1 for the levels.
//!
//! Constrained Baseline: one reference picture, output in the order of decoding, CAVLC, deblocking
//! left to the slices, colours of BT.709, the frame rate in the timing information.

use anyhow::{Context, Result, ensure};

use super::bit_writer::BitWriter;
use super::picture::VideoFormat;

/// The longest side of a picture.
pub const PICTURE_SIDE_MAX: u32 = 4096;

const PROFILE_BASELINE: u8 = 66;
/// `constraint_set0_flag` and `constraint_set1_flag`: Constrained Baseline.
const CONSTRAINTS: u8 = 0xc0;
const NAL_SPS: u8 = 0x67;
const NAL_PPS: u8 = 0x68;

/// The quantiser of every macroblock: with it a coefficient of one is a step of one in luma, and a
/// step of two in chroma.
const QP: i32 = 28;

/// `level_idc`, macroblocks a second, macroblocks a picture, bits a second.
const LEVELS: [(u8, u32, u32, u64); 19] = [
    (10, 1_485, 99, 64_000),
    (11, 3_000, 396, 192_000),
    (12, 6_000, 396, 384_000),
    (13, 11_880, 396, 768_000),
    (20, 11_880, 396, 2_000_000),
    (21, 19_800, 792, 4_000_000),
    (22, 20_250, 1_620, 4_000_000),
    (30, 40_500, 1_620, 10_000_000),
    (31, 108_000, 3_600, 14_000_000),
    (32, 216_000, 5_120, 20_000_000),
    (40, 245_760, 8_192, 20_000_000),
    (41, 245_760, 8_192, 50_000_000),
    (42, 522_240, 8_704, 50_000_000),
    (50, 589_824, 22_080, 135_000_000),
    (51, 983_040, 36_864, 240_000_000),
    (52, 2_073_600, 36_864, 240_000_000),
    (60, 4_177_920, 139_264, 240_000_000),
    (61, 8_355_840, 139_264, 480_000_000),
    (62, 16_711_680, 139_264, 800_000_000),
];

/// The size of a picture, with even sides of 16 to [`PICTURE_SIDE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureSize {
    width: u32,
    height: u32,
}

impl PictureSize {
    /// The size unless another one is asked for.
    pub const DEFAULT: Self = Self { width: 1280, height: 720 };

    /// Reads `WIDTHxHEIGHT`.
    ///
    /// # Errors
    /// In one line, if that is no size of a picture.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || format!("no picture size: {text}; write it as 1280x720");
        let (width, height) = text.split_once('x').with_context(wrong)?;
        let [width, height] = [width, height].map(str::parse::<u32>);
        let (width, height) = (width.ok().with_context(wrong)?, height.ok().with_context(wrong)?);
        let is_side = |side: u32| (16..=PICTURE_SIDE_MAX).contains(&side) && side.is_multiple_of(2);
        ensure!(
            is_side(width) && is_side(height),
            "{text} is no picture size: both sides are even, from 16 to {PICTURE_SIDE_MAX}"
        );
        Ok(Self { width, height })
    }

    /// Samples from left to right.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.width
    }

    /// Samples from top to bottom.
    #[must_use]
    pub const fn height(self) -> u32 {
        self.height
    }

    /// Macroblocks from left to right.
    pub(super) const fn columns(self) -> u32 {
        self.width.div_ceil(16)
    }

    /// Macroblocks from top to bottom.
    pub(super) const fn rows(self) -> u32 {
        self.height.div_ceil(16)
    }
}

/// The sequence parameter set, a NAL unit.
pub(super) fn sps(format: &VideoFormat) -> Vec<u8> {
    let size = format.size;
    let mut unit = vec![NAL_SPS, PROFILE_BASELINE, CONSTRAINTS, level_idc(format)];
    let mut w = BitWriter::rbsp(&mut unit);
    w.ue(0); // seq_parameter_set_id
    w.ue(0); // log2_max_frame_num_minus4
    w.ue(2); // pic_order_cnt_type: output in the order of decoding
    w.ue(1); // max_num_ref_frames
    w.flag(false); // gaps_in_frame_num_value_allowed_flag
    w.ue(size.columns() - 1);
    w.ue(size.rows() - 1);
    w.flag(true); // frame_mbs_only_flag
    w.flag(true); // direct_8x8_inference_flag
    let (right, bottom) = (size.columns() * 16 - size.width, size.rows() * 16 - size.height);
    w.flag(right + bottom > 0); // frame_cropping_flag
    if right + bottom > 0 {
        for crop in [0, right / 2, 0, bottom / 2] {
            w.ue(crop);
        }
    }
    w.flag(true); // vui_parameters_present_flag
    vui(&mut w, format.fps);
    w.stop();
    unit
}

fn vui(w: &mut BitWriter<'_>, fps: u32) {
    w.flag(false); // aspect_ratio_info_present_flag
    w.flag(false); // overscan_info_present_flag
    w.flag(true); // video_signal_type_present_flag
    w.bits(3, 5); // video_format: unspecified
    w.flag(false); // video_full_range_flag
    w.flag(true); // colour_description_present_flag
    for bt709 in [1, 1, 1] {
        w.bits(8, bt709);
    }
    w.flag(false); // chroma_loc_info_present_flag
    w.flag(true); // timing_info_present_flag
    w.bits(32, 1); // num_units_in_tick
    w.bits(32, fps.saturating_mul(2)); // time_scale: a tick is half a frame
    w.flag(true); // fixed_frame_rate_flag
    w.flag(false); // nal_hrd_parameters_present_flag
    w.flag(false); // vcl_hrd_parameters_present_flag
    w.flag(false); // pic_struct_present_flag
    w.flag(true); // bitstream_restriction_flag
    w.flag(true); // motion_vectors_over_pic_boundaries_flag
    w.ue(0); // max_bytes_per_pic_denom: no limit told
    w.ue(0); // max_bits_per_mb_denom: no limit told
    w.ue(11); // log2_max_mv_length_horizontal
    w.ue(11); // log2_max_mv_length_vertical
    w.ue(0); // max_num_reorder_frames
    w.ue(1); // max_dec_frame_buffering
}

/// The picture parameter set, a NAL unit.
pub(super) fn pps() -> Vec<u8> {
    let mut unit = vec![NAL_PPS];
    let mut w = BitWriter::rbsp(&mut unit);
    w.ue(0); // pic_parameter_set_id
    w.ue(0); // seq_parameter_set_id
    w.flag(false); // entropy_coding_mode_flag: CAVLC
    w.flag(false); // bottom_field_pic_order_in_frame_present_flag
    w.ue(0); // num_slice_groups_minus1
    w.ue(0); // num_ref_idx_l0_default_active_minus1
    w.ue(0); // num_ref_idx_l1_default_active_minus1
    w.flag(false); // weighted_pred_flag
    w.bits(2, 0); // weighted_bipred_idc
    w.se(QP - 26); // pic_init_qp_minus26
    w.se(0); // pic_init_qs_minus26
    w.se(0); // chroma_qp_index_offset
    w.flag(true); // deblocking_filter_control_present_flag
    w.flag(false); // constrained_intra_pred_flag
    w.flag(false); // redundant_pic_cnt_present_flag
    w.stop();
    unit
}

/// The lowest level that allows the format.
fn level_idc(format: &VideoFormat) -> u8 {
    let (columns, rows) = (format.size.columns(), format.size.rows());
    let picture = columns * rows;
    let allows = |&&(_, rate, picture_max, bitrate): &&(u8, u32, u32, u64)| {
        let side_max = (8 * picture_max).isqrt();
        picture <= picture_max
            && columns.max(rows) <= side_max
            && u64::from(picture) * u64::from(format.fps) <= u64::from(rate)
            && format.bitrate <= bitrate
    };
    LEVELS.iter().find(allows).map_or(62, |(level_idc, ..)| *level_idc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::h264::Sps;

    fn format(size: &str, fps: u32, bitrate: u64) -> VideoFormat {
        VideoFormat { size: PictureSize::parse(size).unwrap(), fps, bitrate }
    }

    #[test]
    fn parameter_sets_tell_size_rate_and_level() {
        let table = [
            ("1280x720", 30, 2_000_000, 31),
            ("1920x1080", 60, 6_000_000, 42),
            ("320x180", 25, 500_000, 13),
            ("16x16", 1, 0, 10),
            ("4096x16", 30, 1, 40),
            ("4096x4096", 60, 1, 60),
            ("4096x4096", 1000, 1, 62),
        ];
        for (size, fps, bitrate, level) in table {
            let unit = sps(&format(size, fps, bitrate));
            let sps = Sps::parse(&unit).unwrap();
            assert_eq!(format!("{}x{}", sps.width, sps.height), size);
            assert_eq!((unit[1], unit[2], unit[3]), (66, 0xc0, level), "{size}");
            assert!(!unit.windows(3).any(|three| three[..2] == [0, 0] && three[2] < 3));
        }
    }

    #[test]
    fn what_is_no_size_is_one_clear_line() {
        for text in ["", "720p", "1280", "1280x", "x720", "1280x720x1", "-2x16"] {
            let error = PictureSize::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("no picture size: "), "{text}: {error}");
        }
        for text in ["15x16", "16x14", "17x16", "4098x16", "0x0"] {
            let error = PictureSize::parse(text).unwrap_err().to_string();
            assert!(error.contains("is no picture size: both sides are even"), "{text}: {error}");
        }
    }
}
