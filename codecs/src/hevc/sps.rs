//! The H.265 sequence parameter set.
//!
//! Spec: ITU-T H.265 7.3.2.2, 7.3.3 (profile, tier, level), 7.3.4 (scaling lists), 7.3.7
//! (short-term reference picture sets), E.2.1 (VUI).
//!
//! Limits: picture sides [`PICTURE_SIDE_MAX`]; every count by the specification.

use super::{NalType, ProfileTierLevel};
use crate::Error;
use crate::bits::BitReader;
use crate::nal::{self, PICTURE_SIDE_MAX};

/// The most short-term reference picture sets of an SPS.
const SHORT_TERM_SETS_MAX: u32 = 64;

/// The most pictures of a reference picture set.
const SET_PICTURES_MAX: u32 = 16;

/// What a sequence parameter set says of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `sps_seq_parameter_set_id`, 0 to 15.
    pub id: u8,
    /// Profile, tier and level.
    pub ptl: ProfileTierLevel,
    /// Temporal sub-layers, 1 to 7.
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_id_nested: bool,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format_idc: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Width in pixels, inside the conformance window.
    pub width: u32,
    /// Height in pixels, inside the conformance window.
    pub height: u32,
    /// Frames per second in thousandths, if the VUI tells.
    pub fps_milli: Option<u32>,
}

impl Sps {
    /// Parses a whole NAL unit, its header included, with emulation prevention bytes in place.
    ///
    /// What stands between the picture format and the timing, and the VUI itself, only leave
    /// `fps_milli` empty when they cannot be read: the SPS of multi-layer extensions and VUIs cut
    /// by IP cameras end there, and a picture needs none of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no SPS or its window is empty; [`Error::Truncated`];
    /// [`Error::TooLarge`] for sizes beyond the specification.
    pub fn parse(unit: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::rbsp(unit);
        let header = bits.bits(16, "hevc.sps.header")?;
        if NalType::of(unit) != Some(NalType::SPS) {
            return Err(Error::Invalid { what: "hevc.sps.header", value: u64::from(header) });
        }
        bits.skip(4, "hevc.sps.vps_id")?;
        let sub_layers = bits.bits8(3, "hevc.sps.max_sub_layers")?;
        if sub_layers > 6 {
            let value = u64::from(sub_layers);
            return Err(Error::Invalid { what: "hevc.sps.max_sub_layers", value });
        }
        let temporal_id_nested = bits.flag("hevc.sps.temporal_id_nesting")?;
        let ptl = profile_tier_level(&mut bits, sub_layers)?;
        let id = bits.ue_max(15, "hevc.sps.id")?;
        let chroma_format_idc = bits.ue_max(3, "hevc.sps.chroma_format_idc")?;
        if chroma_format_idc == 3 {
            bits.flag("hevc.sps.separate_planes")?;
        }
        let (width, height) = picture_size(&mut bits, chroma_format_idc)?;
        let bit_depth_luma = bits.ue_max(8, "hevc.sps.bit_depth_luma")?;
        let bit_depth_chroma = bits.ue_max(8, "hevc.sps.bit_depth_chroma")?;
        let fps_milli = frame_rate(&mut bits, sub_layers).ok().flatten();
        let byte = |value: u32| u8::try_from(value).expect("limited above");
        Ok(Self {
            id: byte(id),
            ptl,
            temporal_layers: sub_layers + 1,
            temporal_id_nested,
            chroma_format_idc: byte(chroma_format_idc),
            bit_depth_luma: 8 + byte(bit_depth_luma),
            bit_depth_chroma: 8 + byte(bit_depth_chroma),
            width,
            height,
            fps_milli,
        })
    }
}

fn profile_tier_level(bits: &mut BitReader<'_>, sub_layers: u8) -> Result<ProfileTierLevel, Error> {
    let mut general = [0; 12];
    for byte in &mut general {
        *byte = bits.bits8(8, "hevc.sps.profile_tier_level")?;
    }
    let mut present = [(false, false); 8];
    for layer in present.iter_mut().take(usize::from(sub_layers)) {
        layer.0 = bits.flag("hevc.sps.sub_layer_profile_present")?;
        layer.1 = bits.flag("hevc.sps.sub_layer_level_present")?;
    }
    if sub_layers > 0 {
        // The pairs of flags are filled up to eight.
        bits.skip(2 * (8 - u32::from(sub_layers)), "hevc.sps.sub_layer_padding")?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 }, "hevc.sps.sub_layer_profile")?;
        bits.skip(if level { 8 } else { 0 }, "hevc.sps.sub_layer_level")?;
    }
    Ok(ProfileTierLevel::from_bytes(general))
}

fn picture_size(bits: &mut BitReader<'_>, chroma_format_idc: u32) -> Result<(u32, u32), Error> {
    let width = bits.ue_max(PICTURE_SIDE_MAX, "hevc.sps.width")?;
    let height = bits.ue_max(PICTURE_SIDE_MAX, "hevc.sps.height")?;
    let mut window = [0; 4];
    if bits.flag("hevc.sps.conformance_window")? {
        for side in &mut window {
            *side = bits.ue("hevc.sps.conformance_window")?;
        }
    }
    // Table 6-1: the window counts chroma samples.
    let (sub_width, sub_height) = match chroma_format_idc {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let [left, right, top, bottom] = window;
    let error = |value: u32| Error::Invalid { what: "hevc.sps.size", value: u64::from(value) };
    Ok((
        nal::cropped(width, left, right, sub_width).ok_or(error(width))?,
        nal::cropped(height, top, bottom, sub_height).ok_or(error(height))?,
    ))
}

/// Reads everything between the bit depths and the timing of the VUI.
fn frame_rate(bits: &mut BitReader<'_>, sub_layers: u8) -> Result<Option<u32>, Error> {
    let order_bits = bits.ue_max(12, "hevc.sps.log2_max_pic_order_cnt")? + 4;
    let for_all = bits.flag("hevc.sps.sub_layer_ordering_present")?;
    for _ in if for_all { 0 } else { sub_layers }..=sub_layers {
        for _ in 0..3 {
            bits.ue("hevc.sps.sub_layer_ordering")?;
        }
    }
    for _ in 0..6 {
        bits.ue("hevc.sps.block_sizes")?;
    }
    if bits.flag("hevc.sps.scaling_list_enabled")? && bits.flag("hevc.sps.scaling_list_present")? {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2, "hevc.sps.amp_sao")?;
    if bits.flag("hevc.sps.pcm_enabled")? {
        bits.skip(8, "hevc.sps.pcm_bit_depths")?;
        bits.ue("hevc.sps.pcm_block_size")?;
        bits.ue("hevc.sps.pcm_block_size")?;
        bits.flag("hevc.sps.pcm_loop_filter")?;
    }
    skip_short_term_sets(bits)?;
    if bits.flag("hevc.sps.long_term_present")? {
        for _ in 0..bits.ue_max(32, "hevc.sps.long_term_count")? {
            bits.skip(order_bits + 1, "hevc.sps.long_term")?;
        }
    }
    bits.skip(2, "hevc.sps.temporal_mvp_smoothing")?;
    if bits.flag("hevc.sps.vui_present")? { vui_frame_rate(bits) } else { Ok(None) }
}

fn skip_scaling_lists(bits: &mut BitReader<'_>) -> Result<(), Error> {
    for size in 0..4_u32 {
        // The 32x32 lists of chroma, which 4:4:4 needs, are inferred and not sent.
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag("hevc.sps.scaling_list_pred_mode")? {
                bits.ue("hevc.sps.scaling_list_pred_delta")?;
                continue;
            }
            if size > 1 {
                bits.se("hevc.sps.scaling_list_dc")?;
            }
            for _ in 0..64.min(1_u32 << (4 + 2 * size)) {
                bits.se("hevc.sps.scaling_list_delta")?;
            }
        }
    }
    Ok(())
}

fn skip_short_term_sets(bits: &mut BitReader<'_>) -> Result<(), Error> {
    let sets = bits.ue_max(SHORT_TERM_SETS_MAX, "hevc.sps.short_term_sets")?;
    let mut pictures = 0_u32;
    for set in 0..sets {
        if set > 0 && bits.flag("hevc.sps.short_term_predicted")? {
            bits.flag("hevc.sps.short_term_sign")?;
            bits.ue("hevc.sps.short_term_delta")?;
            let mut kept = 0;
            // One flag for each picture of the previous set, and one for that set itself.
            for _ in 0..=pictures {
                let used = bits.flag("hevc.sps.short_term_used")?;
                kept += u32::from(used || bits.flag("hevc.sps.short_term_use_delta")?);
            }
            pictures = kept;
        } else {
            let negative = bits.ue_max(SET_PICTURES_MAX, "hevc.sps.short_term_negative")?;
            let positive = bits.ue_max(SET_PICTURES_MAX, "hevc.sps.short_term_positive")?;
            pictures = negative + positive;
            for _ in 0..pictures {
                bits.ue("hevc.sps.short_term_delta_poc")?;
                bits.flag("hevc.sps.short_term_used")?;
            }
        }
    }
    Ok(())
}

/// Reads the VUI up to its timing (Annex E.2.1).
fn vui_frame_rate(bits: &mut BitReader<'_>) -> Result<Option<u32>, Error> {
    if bits.flag("hevc.vui.aspect_ratio_present")?
        && bits.bits(8, "hevc.vui.aspect_ratio_idc")? == 255
    {
        bits.skip(32, "hevc.vui.sar")?;
    }
    if bits.flag("hevc.vui.overscan_present")? {
        bits.flag("hevc.vui.overscan_appropriate")?;
    }
    if bits.flag("hevc.vui.video_signal_present")? {
        bits.skip(4, "hevc.vui.video_format")?;
        if bits.flag("hevc.vui.colour_present")? {
            bits.skip(24, "hevc.vui.colour")?;
        }
    }
    if bits.flag("hevc.vui.chroma_location_present")? {
        bits.ue("hevc.vui.chroma_location_top")?;
        bits.ue("hevc.vui.chroma_location_bottom")?;
    }
    bits.flag("hevc.vui.neutral_chroma")?;
    let fields = bits.flag("hevc.vui.field_seq")?;
    bits.flag("hevc.vui.frame_field_info_present")?;
    if bits.flag("hevc.vui.default_display_window")? {
        for _ in 0..4 {
            bits.ue("hevc.vui.default_display_window")?;
        }
    }
    if !bits.flag("hevc.vui.timing_present")? {
        return Ok(None);
    }
    let units_in_tick = bits.bits(32, "hevc.vui.num_units_in_tick")?;
    let time_scale = bits.bits(32, "hevc.vui.time_scale")?;
    // A tick is a picture, which is half a frame when fields are coded apart.
    Ok(nal::fps_milli(time_scale, u64::from(units_in_tick) * if fields { 2 } else { 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit_writer::BitWriter;

    const PTL: [u8; 12] = [0x01, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93];

    /// Header, parameter set ids, `sub_layers` as text, and the general profile.
    fn start(sub_layers: &str) -> BitWriter {
        let bits = BitWriter::starting(&[0x42, 1]).text("0000").text(sub_layers).text("1");
        PTL.iter().fold(bits, |bits, byte| bits.put(u64::from(*byte), 8))
    }

    /// From the bit depths to the short-term sets, without scaling lists and PCM.
    fn tools(bits: BitWriter) -> BitWriter {
        bits.ue(&[0, 0, 4]).text("1").ue(&[4, 0, 0]).ue(&[0, 3, 0, 3, 0, 0]).text("0 11 0")
    }

    /// A VUI with nothing but a frame rate of 30000/1001.
    fn timing(bits: BitWriter) -> BitWriter {
        bits.text("1 0000 0 0 0 0 1").put(1001, 32).put(30_000, 32).text("0 0 1")
    }

    fn read(bits: &BitWriter) -> (u32, u32, Option<u32>) {
        let sps = Sps::parse(&bits.escaped()).unwrap();
        assert_eq!(sps.ptl.to_bytes(), PTL);
        (sps.width, sps.height, sps.fps_milli)
    }

    #[test]
    fn the_window_counts_chroma_samples() {
        let window = |chroma: &[u32], separate: &str| {
            let bits = start("000").ue(&[0]).ue(chroma).text(separate).ue(&[1920, 1088]);
            read(&bits.text("1").ue(&[1, 2, 0, 4]).ue(&[0, 0]))
        };
        assert_eq!(window(&[1], ""), (1914, 1080, None));
        assert_eq!(window(&[2], ""), (1914, 1084, None));
        assert_eq!(window(&[3], "0"), (1917, 1084, None));
        assert_eq!(window(&[0], ""), (1917, 1084, None));
    }

    #[test]
    fn sub_layer_profiles_are_passed_over() {
        // Three temporal layers: the first sends both, the second only its level.
        let bits = start("010").text("11 01").put(0, 12);
        let bits = bits.put(u64::MAX, 64).put(u64::MAX, 32).put(0xff, 8);
        let bits = bits.ue(&[0, 1, 640, 360]).text("0");
        let sps = Sps::parse(&bits.clone().ue(&[2, 2]).escaped()).unwrap();
        assert_eq!((sps.width, sps.height, sps.temporal_layers), (640, 360, 3));
        assert_eq!((sps.bit_depth_luma, sps.bit_depth_chroma), (10, 10));
        // Ordering info comes once for each of the three.
        let bits = bits.ue(&[2, 2, 4]).text("1").ue(&[1; 9]).ue(&[0, 3, 0, 3, 0, 0]).text("0 11 0");
        assert_eq!(read(&timing(bits.ue(&[0]).text("0 11"))), (640, 360, Some(29_970)));
    }

    #[test]
    fn what_stands_before_the_timing_is_passed_over() {
        let bits = start("000").ue(&[0, 1, 640, 360]).text("0");
        // Two sets: one with two negative and one positive picture, one predicted from it with
        // three of its four candidates, and a third predicted from those three.
        let sets = tools(bits.clone()).ue(&[3, 2, 1, 0]).text("1").ue(&[0]).text("1").ue(&[0]);
        let sets = sets.text("0 1 1").ue(&[0]).text("1 01 00 1 1 0").ue(&[0]).text("1 1 1 1");
        let long_term = sets.text("1").ue(&[2]).put(0, 9).put(0, 9);
        assert_eq!(read(&timing(long_term.text("11"))), (640, 360, Some(29_970)));
        // Every scaling list is sent in full, with a DC from 16x16 on.
        let lists = bits.ue(&[0, 0, 4]).text("1").ue(&[4, 0, 0]).ue(&[0, 3, 0, 3, 0, 0]);
        let mut lists = lists.text("1 1");
        for (count, codes) in [(6, 16), (6, 64), (6, 65), (2, 65)] {
            for _ in 0..count {
                lists = (0..codes).fold(lists.text("1"), |bits, _| bits.ue(&[0]));
            }
        }
        let pcm = lists.text("11 1 0111 0111").ue(&[0, 0]).text("1");
        assert_eq!(read(&timing(pcm.ue(&[0]).text("0 11"))), (640, 360, Some(29_970)));
    }

    #[test]
    fn fields_halve_the_frame_rate() {
        let bits = start("000").ue(&[0, 1, 720, 288]).text("0");
        let bits = tools(bits).ue(&[0]).text("0 11").text("1 1").put(255, 8).put(1, 32);
        let bits = bits.text("1 1 1 101 1 1").put(0, 24).text("1").ue(&[0, 0]).text("0 1 1 1");
        let bits = bits.ue(&[0, 0, 0, 0]).text("1").put(1, 32).put(50, 32).text("0");
        assert_eq!(read(&bits), (720, 288, Some(25_000)));
    }

    #[test]
    fn sizes_have_limits() {
        let parse = |bits: BitWriter| Sps::parse(&bits.escaped()).map(|_| ());
        let empty = start("000").ue(&[0, 1, 0, 360]).text("0").ue(&[0, 0]);
        assert_eq!(parse(empty), Err(Error::Invalid { what: "hevc.sps.size", value: 0 }));
        let wide = start("000").ue(&[0, 1, 16_889, 360]).text("0").ue(&[0, 0]);
        let error = Error::TooLarge { what: "hevc.sps.width", value: 16_889, max: 16_888 };
        assert_eq!(parse(wide), Err(error));
        let layers = Error::Invalid { what: "hevc.sps.max_sub_layers", value: 7 };
        assert_eq!(parse(start("111")), Err(layers));
        let header = Error::Invalid { what: "hevc.sps.header", value: 0x4401 };
        assert_eq!(Sps::parse(&[0x44, 1, 0]), Err(header));
    }
}
