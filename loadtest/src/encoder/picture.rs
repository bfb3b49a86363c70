//! Pictures of a wanted size in bytes.
//!
//! Spec: ITU-T H.264 7.3.3 (slice header), 7.3.4 (slice data), 7.3.2.7 (filler data).
//!
//! Shape: one slice NAL unit, and one of filler data if noise does not fill the picture's size to
//! the byte, each behind its length in four bytes.
//!
//! In/Out: appended to the caller's buffer.

use super::bit_writer::BitWriter;
use super::canvas::Canvas;
use super::macroblock::{NOISE_LEN, Neighbours, Slice, put_noise, put_tile};
use super::parameter_sets::{self, PictureSize};

const NAL_SLICE: u8 = 0x41;
const NAL_IDR: u8 = 0x65;
const NAL_FILLER: u8 = 0x0c;

/// Values that the number of a reference picture takes: it has four bits.
const FRAME_NUM_COUNT: u32 = 16;

/// Bytes of a length before a NAL unit.
const LENGTH_LEN: usize = 4;

/// The smallest NAL unit of filler data with its length: header and stop bit.
const FILLER_LEN_MIN: usize = LENGTH_LEN + 2;

/// What a slice may need behind its last tile: a run of skipped macroblocks, the stop bit.
const SLICE_END_LEN: usize = 5;

/// What the pictures of a stream have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// Their size in samples.
    pub size: PictureSize,
    /// How many there are in a second.
    pub fps: u32,
    /// Bits per second, for the level.
    pub bitrate: u64,
}

/// Draws and encodes one picture after the other.
#[derive(Debug)]
pub struct PictureEncoder {
    canvas: Canvas,
    next: u64,
    frame_num: u32,
    idr_count: u32,
    noise: usize,
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl PictureEncoder {
    /// Starts before the first picture.
    #[must_use]
    pub fn new(format: &VideoFormat) -> Self {
        Self {
            canvas: Canvas::new(format.size),
            next: 0,
            frame_num: 0,
            idr_count: 0,
            noise: 0,
            sps: parameter_sets::sps(format),
            pps: parameter_sets::pps(),
        }
    }

    /// The sequence parameter set.
    #[must_use]
    pub fn sps(&self) -> &[u8] {
        &self.sps
    }

    /// The picture parameter set.
    #[must_use]
    pub fn pps(&self) -> &[u8] {
        &self.pps
    }

    /// Appends the next picture, of `len` bytes if it can be so small; the first one has to be a
    /// keyframe.
    pub fn encode(&mut self, is_key: bool, len: usize, out: &mut Vec<u8>) {
        if self.next > 0 {
            self.canvas.draw(self.next);
        }
        self.next += 1;
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_LEN]);
        out.push(if is_key { NAL_IDR } else { NAL_SLICE });
        if is_key {
            self.put_intra(start + len, out);
        } else {
            self.put_predicted(start + len, out);
        }
        put_length(start, out);
        put_filler((start + len).saturating_sub(out.len()), out);
    }

    fn put_intra(&mut self, end: usize, out: &mut Vec<u8>) {
        self.frame_num = 0;
        let mut w = BitWriter::rbsp(out);
        w.ue(0); // first_mb_in_slice
        w.ue(7); // slice_type: all I
        w.ue(0); // pic_parameter_set_id
        w.bits(4, 0); // frame_num
        w.ue(self.idr_count % 2); // idr_pic_id: differs between neighbours
        self.idr_count = self.idr_count.wrapping_add(1);
        w.flag(false); // no_output_of_prior_pics_flag
        w.flag(false); // long_term_reference_flag
        put_header_end(&mut w);
        let (drawn, all) = (self.canvas.drawn_len(), self.canvas.len());
        self.put_tiles(&mut w, 0..drawn);
        // A tile below the drawing looks like the one above it, which takes one byte.
        let rest = (all - drawn) as usize;
        let room = end.saturating_sub(w.len() + rest + SLICE_END_LEN);
        let noise = (room / (NOISE_LEN - 1)).min(rest) as u32;
        self.put_tiles(&mut w, drawn..all - noise);
        for _ in 0..noise {
            put_noise(&mut w, Slice::Intra, self.next_noise());
        }
        w.stop();
    }

    fn put_predicted(&mut self, end: usize, out: &mut Vec<u8>) {
        self.frame_num = (self.frame_num + 1) % FRAME_NUM_COUNT;
        let mut w = BitWriter::rbsp(out);
        w.ue(0); // first_mb_in_slice
        w.ue(5); // slice_type: all P
        w.ue(0); // pic_parameter_set_id
        w.bits(4, self.frame_num);
        w.flag(false); // num_ref_idx_active_override_flag
        w.flag(false); // ref_pic_list_modification_flag_l0
        w.flag(false); // adaptive_ref_pic_marking_mode_flag
        put_header_end(&mut w);
        let mut coded = 0;
        for &tile in self.canvas.changed() {
            w.ue(tile - coded); // mb_skip_run
            put_tile(&mut w, Slice::Predicted, self.neighbours(tile), self.canvas.colour(tile));
            coded = tile + 1;
        }
        let (drawn, all) = (self.canvas.drawn_len(), self.canvas.len());
        let room = end.saturating_sub(w.len() + SLICE_END_LEN);
        let noise = (room / NOISE_LEN).min((all - drawn) as usize) as u32;
        let skipped = all - noise - coded;
        if skipped > 0 || noise > 0 {
            w.ue(skipped);
        }
        for index in 0..noise {
            if index > 0 {
                w.ue(0);
            }
            put_noise(&mut w, Slice::Predicted, self.next_noise());
        }
        w.stop();
    }

    fn put_tiles(&self, w: &mut BitWriter<'_>, tiles: std::ops::Range<u32>) {
        for tile in tiles {
            put_tile(w, Slice::Intra, self.neighbours(tile), self.canvas.colour(tile));
        }
    }

    fn neighbours(&self, tile: u32) -> Neighbours {
        Neighbours { above: self.canvas.above(tile), left: self.canvas.left(tile) }
    }

    const fn next_noise(&mut self) -> usize {
        self.noise = self.noise.wrapping_add(1);
        self.noise
    }
}

fn put_header_end(w: &mut BitWriter<'_>) {
    w.se(0); // slice_qp_delta
    w.ue(1); // disable_deblocking_filter_idc: tiles keep their edges
}

/// Writes the length of the NAL unit that ends the buffer.
fn put_length(start: usize, out: &mut [u8]) {
    let len = (out.len() - start - LENGTH_LEN) as u32;
    out[start..start + LENGTH_LEN].copy_from_slice(&len.to_be_bytes());
}

/// Appends a NAL unit of filler data of `len` bytes with its length, if it can be so small.
fn put_filler(len: usize, out: &mut Vec<u8>) {
    if len < FILLER_LEN_MIN {
        return;
    }
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_LEN]);
    out.push(NAL_FILLER);
    out.resize(start + len - 1, 0xff);
    out.push(0x80);
    put_length(start, out);
}
