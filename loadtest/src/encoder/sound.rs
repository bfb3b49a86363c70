//! A tone in AAC.
//!
//! Spec: ISO/IEC 14496-3 4.4.2 (raw data blocks), 4.6.3 (spectral codebook 1).
//!
//! Shape: a channel pair with one spectral line, whose sign changes every second frame, so that
//! the tone goes on from frame to frame; fill elements up to the size of a frame.

use super::bit_writer::BitWriter;

/// `AudioSpecificConfig`: AAC LC, 48 kHz, stereo.
pub const AUDIO_CONFIG: [u8; 2] = [0x11, 0x90];

/// Samples of a frame.
pub const SAMPLES_PER_FRAME: u64 = 1024;

/// Samples per second.
pub const SAMPLE_RATE: u64 = 48_000;

/// Frames until the signs of the spectral line come again.
const PERIOD: usize = 4;

/// Loud enough to be heard, some -20 dB; a step is one and a half.
const GLOBAL_GAIN: u32 = 188;

/// The scale factor band of line 18, which at 48 kHz is a tone of 434 Hz; lines 16 to 19.
const BAND: u32 = 4;

/// Codewords of spectral codebook 1 for (0, 0, 1, 0) and (0, 0, -1, 0).
const LINE_UP: u32 = 0b1_0110;
const LINE_DOWN: u32 = 0b1_0101;

const ID_CPE: u32 = 1;
const ID_FIL: u32 = 6;
const ID_END: u32 = 7;

/// Bytes that a fill element can hold: its count has four bits, and eight more if they are full.
const FILL_SHORT_MAX: usize = 14;
const FILL_LONG_MAX: usize = 15 + 255 - 1;

/// The frames of a tone, one after the other.
#[derive(Clone, Debug)]
pub struct SoundEncoder {
    frames: [Vec<u8>; PERIOD],
    next: usize,
}

impl SoundEncoder {
    /// Prepares frames of about `len` bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let frames = [LINE_UP, LINE_UP, LINE_DOWN, LINE_DOWN].map(|line| frame(line, len));
        Self { frames, next: 0 }
    }

    /// The next frame, a raw data block.
    pub fn encode(&mut self) -> &[u8] {
        let frame = &self.frames[self.next];
        self.next = (self.next + 1) % PERIOD;
        frame
    }
}

fn frame(line: u32, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    let mut w = BitWriter::plain(&mut out);
    w.bits(3, ID_CPE);
    w.bits(4, 0); // element_instance_tag
    w.flag(true); // common_window
    w.flag(false); // ics_reserved_bit
    w.bits(2, 0); // window_sequence: long
    w.flag(false); // window_shape: sine
    w.bits(6, BAND + 1); // max_sfb
    w.flag(false); // predictor_data_present
    w.bits(2, 0); // ms_mask_present
    for _channel in 0..2 {
        channel(&mut w, line);
    }
    // The last byte holds the end; a fill element is told in whole bytes.
    while w.len() + 2 + 1 < len {
        put_fill(&mut w, len);
    }
    w.bits(3, ID_END);
    w.align();
    out
}

fn channel(w: &mut BitWriter<'_>, line: u32) {
    w.bits(8, GLOBAL_GAIN);
    for (codebook, bands) in [(0, BAND), (1, 1)] {
        w.bits(4, codebook); // sect_cb
        w.bits(5, bands); // sect_len_incr
    }
    w.flag(false); // scale factor of the band: the same as the gain
    w.flag(false); // pulse_data_present
    w.flag(false); // tns_data_present
    w.flag(false); // gain_control_data_present
    w.bits(5, line);
}

/// A fill element that leaves room for the end of a frame of `len` bytes.
fn put_fill(w: &mut BitWriter<'_>, len: usize) {
    let left = len - w.len() - 2;
    w.bits(3, ID_FIL);
    let count = if left <= FILL_SHORT_MAX {
        w.bits(4, left as u32);
        left
    } else {
        let count = (left - 1).clamp(15, FILL_LONG_MAX);
        w.bits(4, 15);
        w.bits(8, (count - 15 + 1) as u32);
        count
    };
    // extension_payload: EXT_FILL_DATA, its nibble of zeros, then bytes that the standard names.
    w.bits(8, 0x10);
    for _ in 1..count {
        w.bits(8, 0xa5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_size_that_is_asked_for() {
        for len in [60, 61, 75, 76, 300, 341, 700, 2000] {
            let mut sound = SoundEncoder::new(len);
            let first = sound.encode().to_vec();
            assert!(first.len().abs_diff(len) <= 2, "{} for {len}", first.len());
            let others: Vec<_> = (1..PERIOD).map(|_| sound.encode().to_vec()).collect();
            assert_eq!(others.iter().filter(|frame| **frame == first).count(), 1);
            assert_eq!(sound.encode(), first);
        }
        assert!(SoundEncoder::new(0).encode().len() < 20);
    }
}
