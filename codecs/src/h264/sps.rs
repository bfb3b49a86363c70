//! The H.264 sequence parameter set.
//!
//! Spec: ITU-T H.264 7.3.2.1.1, Annex E.1.1 (VUI).
//!
//! Limits: picture sides [`PICTURE_SIDE_MAX`]; every count by the specification.

use super::NalType;
use crate::Error;
use crate::bits::BitReader;
use crate::nal::{self, PICTURE_SIDE_MAX};
use crate::reader::Reader;

/// What a sequence parameter set says of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile_idc: u8,
    /// The byte of constraint flags behind it.
    pub constraints: u8,
    /// `level_idc`, ten times the level.
    pub level_idc: u8,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format_idc: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Width in pixels, after cropping.
    pub width: u32,
    /// Height in pixels, after cropping.
    pub height: u32,
    /// Frames per second in thousandths, if the VUI tells.
    pub fps_milli: Option<u32>,
}

/// The fields that only the high profiles have.
#[derive(Clone, Copy)]
struct HighFields {
    chroma_format_idc: u8,
    separate_planes: bool,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
}

impl Sps {
    /// Parses a whole NAL unit, its header included, with emulation prevention bytes in place.
    ///
    /// A VUI that ends early or makes no sense leaves `fps_milli` empty: IP cameras are known to
    /// cut it, and a picture needs none of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no SPS or crops more than the picture; [`Error::Truncated`];
    /// [`Error::TooLarge`] for sizes and counts beyond the specification.
    pub fn parse(unit: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(unit);
        let header = r.u8("h264.sps.header")?;
        if NalType(header & 0x1f) != NalType::SPS {
            return Err(Error::Invalid { what: "h264.sps.header", value: u64::from(header) });
        }
        let [profile_idc, constraints, level_idc] = r.array("h264.sps.profile")?;
        let mut bits = BitReader::rbsp(r.rest());
        bits.ue_max(31, "h264.sps.id")?;
        let high = high_fields(&mut bits, profile_idc)?;
        skip_order_count(&mut bits)?;
        bits.ue_max(16, "h264.sps.max_num_ref_frames")?;
        bits.flag("h264.sps.gaps_allowed")?;
        let (width, height) = picture_size(&mut bits, high)?;
        let fps_milli = vui_frame_rate(&mut bits).ok().flatten();
        Ok(Self {
            profile_idc,
            constraints,
            level_idc,
            chroma_format_idc: high.chroma_format_idc,
            bit_depth_luma: high.bit_depth_luma,
            bit_depth_chroma: high.bit_depth_chroma,
            width,
            height,
            fps_milli,
        })
    }
}

const fn has_high_fields(profile_idc: u8) -> bool {
    matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

fn high_fields(bits: &mut BitReader<'_>, profile_idc: u8) -> Result<HighFields, Error> {
    if !has_high_fields(profile_idc) {
        return Ok(HighFields {
            chroma_format_idc: 1,
            separate_planes: false,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
        });
    }
    let chroma_format_idc = bits.ue_max(3, "h264.sps.chroma_format_idc")?;
    let separate_planes = chroma_format_idc == 3 && bits.flag("h264.sps.separate_planes")?;
    let bit_depth_luma = bits.ue_max(6, "h264.sps.bit_depth_luma")?;
    let bit_depth_chroma = bits.ue_max(6, "h264.sps.bit_depth_chroma")?;
    bits.flag("h264.sps.transform_bypass")?;
    if bits.flag("h264.sps.scaling_matrix_present")? {
        for list in 0..if chroma_format_idc == 3 { 12 } else { 8 } {
            if bits.flag("h264.sps.scaling_list_present")? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    let byte = |value: u32| u8::try_from(value).expect("limited to one digit above");
    Ok(HighFields {
        chroma_format_idc: byte(chroma_format_idc),
        separate_planes,
        bit_depth_luma: 8 + byte(bit_depth_luma),
        bit_depth_chroma: 8 + byte(bit_depth_chroma),
    })
}

fn skip_scaling_list(bits: &mut BitReader<'_>, len: u32) -> Result<(), Error> {
    let mut last = 8_i32;
    for _ in 0..len {
        let delta = bits.se("h264.sps.delta_scale")?;
        // The specification limits the delta to a byte and wraps the sum into one.
        let next = last.wrapping_add(delta).rem_euclid(256);
        if next == 0 {
            break;
        }
        last = next;
    }
    Ok(())
}

fn skip_order_count(bits: &mut BitReader<'_>) -> Result<(), Error> {
    bits.ue_max(12, "h264.sps.log2_max_frame_num")?;
    match bits.ue_max(2, "h264.sps.pic_order_cnt_type")? {
        0 => {
            bits.ue_max(12, "h264.sps.log2_max_pic_order_cnt_lsb")?;
        }
        1 => {
            bits.flag("h264.sps.delta_pic_order_always_zero")?;
            bits.se("h264.sps.offset_for_non_ref_pic")?;
            bits.se("h264.sps.offset_for_top_to_bottom_field")?;
            for _ in 0..bits.ue_max(255, "h264.sps.num_ref_frames_in_cycle")? {
                bits.se("h264.sps.offset_for_ref_frame")?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn picture_size(bits: &mut BitReader<'_>, high: HighFields) -> Result<(u32, u32), Error> {
    let mbs_max = PICTURE_SIDE_MAX / 16;
    let width = (bits.ue_max(mbs_max - 1, "h264.sps.width_mbs")? + 1) * 16;
    let map_units = bits.ue_max(mbs_max - 1, "h264.sps.height_map_units")? + 1;
    let frame_mbs_only = bits.flag("h264.sps.frame_mbs_only")?;
    if !frame_mbs_only {
        bits.flag("h264.sps.mb_adaptive_frame_field")?;
    }
    let field_factor = if frame_mbs_only { 1 } else { 2 };
    let height = map_units * field_factor * 16;
    bits.flag("h264.sps.direct_8x8_inference")?;
    if !bits.flag("h264.sps.frame_cropping")? {
        return Ok((width, height));
    }
    // Table 6-1: crop units count chroma samples, and rows of both fields.
    let (sub_width, sub_height) = match high.chroma_format_idc {
        1 if !high.separate_planes => (2, 2),
        2 if !high.separate_planes => (2, 1),
        _ => (1, 1),
    };
    let left = bits.ue("h264.sps.crop_left")?;
    let right = bits.ue("h264.sps.crop_right")?;
    let top = bits.ue("h264.sps.crop_top")?;
    let bottom = bits.ue("h264.sps.crop_bottom")?;
    Ok((
        nal::cropped(width, left, right, sub_width).ok_or(crop_error(left, right))?,
        nal::cropped(height, top, bottom, sub_height * field_factor)
            .ok_or(crop_error(top, bottom))?,
    ))
}

const fn crop_error(first: u32, second: u32) -> Error {
    Error::Invalid { what: "h264.sps.crop", value: first as u64 + second as u64 }
}

/// Reads the VUI up to its timing (Annex E.1.1).
fn vui_frame_rate(bits: &mut BitReader<'_>) -> Result<Option<u32>, Error> {
    if !bits.flag("h264.sps.vui_present")? {
        return Ok(None);
    }
    if bits.flag("h264.vui.aspect_ratio_present")?
        && bits.bits(8, "h264.vui.aspect_ratio_idc")? == 255
    {
        bits.skip(32, "h264.vui.sar")?;
    }
    if bits.flag("h264.vui.overscan_present")? {
        bits.flag("h264.vui.overscan_appropriate")?;
    }
    if bits.flag("h264.vui.video_signal_present")? {
        bits.skip(4, "h264.vui.video_format")?;
        if bits.flag("h264.vui.colour_present")? {
            bits.skip(24, "h264.vui.colour")?;
        }
    }
    if bits.flag("h264.vui.chroma_location_present")? {
        bits.ue("h264.vui.chroma_location_top")?;
        bits.ue("h264.vui.chroma_location_bottom")?;
    }
    if !bits.flag("h264.vui.timing_present")? {
        return Ok(None);
    }
    let units_in_tick = bits.bits(32, "h264.vui.num_units_in_tick")?;
    let time_scale = bits.bits(32, "h264.vui.time_scale")?;
    // A tick is a field, so a frame takes two.
    Ok(nal::fps_milli(time_scale, u64::from(units_in_tick) * 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit_writer::BitWriter;

    /// Baseline up to the reference frames, ready for the picture size.
    fn baseline() -> BitWriter {
        BitWriter::starting(&[0x67, 66, 0xc0, 30]).ue(&[0, 0, 2, 1]).put(0, 1)
    }

    /// High profile with a chroma format, without scaling matrix.
    fn high(chroma: &[u32]) -> BitWriter {
        BitWriter::starting(&[0x67, 100, 0, 40]).ue(&[0]).ue(chroma)
    }

    fn size(bits: &BitWriter) -> Result<(u32, u32), Error> {
        Sps::parse(&bits.escaped()).map(|sps| (sps.width, sps.height))
    }

    #[test]
    fn crop_units_follow_chroma_and_fields() {
        // Order counts: frame number, type 0, its size; then reference frames, gaps.
        let tail = |bits: BitWriter| bits.text("0 0").ue(&[0, 0, 0, 1]).text("0");
        let table = [
            ("uncropped", baseline().ue(&[19, 11]).text("1 1 0 0"), (320, 192)),
            ("4:2:0", baseline().ue(&[119, 67]).text("1 1 1").ue(&[0, 0, 0, 4]), (1920, 1080)),
            ("fields", baseline().ue(&[119, 33]).text("0 0 1 1").ue(&[0, 0, 0, 2]), (1920, 1080)),
            (
                "4:2:2",
                tail(high(&[2, 0, 0])).ue(&[119, 67]).text("1 1 1").ue(&[1, 1, 0, 8]),
                (1916, 1080),
            ),
            (
                "4:4:4",
                BitWriter::starting(&[0x67, 244, 0, 40])
                    .ue(&[0, 3])
                    .text("0")
                    .ue(&[0, 0])
                    .text("0 0")
                    .ue(&[0, 0, 0, 1])
                    .text("0")
                    .ue(&[0, 0])
                    .text("1 1 1")
                    .ue(&[1, 2, 3, 4]),
                (13, 9),
            ),
        ];
        for (name, bits, expected) in table {
            assert_eq!(size(&bits.text("0 1")), Ok(expected), "{name}");
        }
    }

    #[test]
    fn scaling_lists_and_order_count_cycles_are_passed_over() {
        // The first list ends at once (delta -8), the second repeats 16 zero deltas, the last one
        // goes through all 64.
        let bits = high(&[1, 2, 2]).text("0 1").text("1").ue(&[16]).text("1").ue(&[0; 16]);
        let bits = bits.text("00000 1").ue(&[0; 64]);
        let bits = bits.ue(&[4, 1]).text("1").ue(&[3, 4, 2, 9, 9]).ue(&[4]).text("0");
        let sps = Sps::parse(&bits.ue(&[19, 14]).text("1 1 0 0 1").escaped()).unwrap();
        assert_eq!((sps.width, sps.height), (320, 240));
        assert_eq!((sps.bit_depth_luma, sps.bit_depth_chroma), (10, 10));
    }

    #[test]
    fn a_cut_vui_only_costs_the_frame_rate() {
        let bits = baseline().ue(&[19, 11]).text("1 1 0 1");
        let timing = |bits: BitWriter| bits.text("1").put(1, 32).put(50, 32).text("1 1");
        let full = bits
            .clone()
            .text("1 11111111")
            .put(0x0004_0003, 32)
            .text("1 1 1 101 1 1")
            .put(0x0001_0101, 24)
            .text("1")
            .ue(&[1, 1]);
        let table = [
            ("everything before it", timing(full), Some(25_000)),
            ("nothing before it", timing(bits.clone().text("0 0 0 0")), Some(25_000)),
            ("no timing", bits.clone().text("0 0 0 0 0 1"), None),
            ("cut", bits.text("0 0 0 0 1").put(1, 32), None),
        ];
        for (name, bits, fps_milli) in table {
            let sps = Sps::parse(&bits.escaped()).unwrap();
            assert_eq!((sps.width, sps.fps_milli), (320, fps_milli), "{name}");
        }
    }

    #[test]
    fn sizes_and_counts_have_limits() {
        let crop = baseline().ue(&[0, 0]).text("1 1 1").ue(&[4, 4, 0, 0]).text("0 1");
        assert_eq!(size(&crop), Err(Error::Invalid { what: "h264.sps.crop", value: 8 }));
        let wide = baseline().ue(&[1055, 0]).text("1 1 0 0 1");
        let error = Error::TooLarge { what: "h264.sps.width_mbs", value: 1055, max: 1054 };
        assert_eq!(size(&wide), Err(error));
        let overflow = baseline().ue(&[0, 0]).text("1 1 1").ue(&[u32::MAX, u32::MAX, 0, 0]);
        assert!(matches!(size(&overflow), Err(Error::Invalid { .. })));
        assert_eq!(
            Sps::parse(&[0x68, 1, 2, 3]),
            Err(Error::Invalid { what: "h264.sps.header", value: 0x68 })
        );
        assert_eq!(Sps::parse(&[]), Err(Error::Truncated { what: "h264.sps.header" }));
    }
}
