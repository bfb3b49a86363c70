//! A transport stream with everything.

use codecs::mpegts::PACKET_LEN;

use super::super::transport::*;

pub(super) const CUES: u16 = 0x120;
pub(super) const METADATA: u16 = 0x121;
pub(super) const UNKNOWN: u16 = 0x122;
pub(super) const NULL: u16 = 0x1fff;
pub(super) const GOP: i64 = 10;
/// The times of a feed begin so long, in frames, before they wrap.
pub(super) const WRAPS_AFTER: i64 = 35;
/// Packets of a datagram.
pub(super) const GROUP: usize = 7;

/// A stream with everything, which grows by frames of 40 ms.
pub(super) struct Feed {
    pub(super) stream: Stream,
    pub(super) number: i64,
    pub(super) streams: Vec<(u8, u16, &'static [u8])>,
    version: u8,
}

impl Feed {
    pub(super) fn new(version: u8) -> Self {
        let streams = vec![
            (0x1b, VIDEO, &[][..]),
            (0x0f, AUDIO, &[][..]),
            (0x86, CUES, &[][..]),
            (0x06, METADATA, &b"\x05\x04KLVA"[..]),
            (0xc7, UNKNOWN, &[][..]),
        ];
        Self { stream: Stream::new(), number: 0, streams, version }
    }

    /// So many frames more, and what fills the last datagram.
    pub(super) fn frames(&mut self, count: i64) -> Vec<u8> {
        let began = self.stream.bytes.len();
        for _ in 0..count {
            self.frame();
        }
        while !(self.stream.bytes.len() / PACKET_LEN).is_multiple_of(GROUP) {
            self.stream.packet(NULL, false, Field::default(), &[0xff; 184]);
        }
        self.stream.bytes[began..].to_vec()
    }

    /// What a multiplexer sends that has lost its source: tables, clocks, cues that say nothing,
    /// and what fills.
    pub(super) fn without_source(&mut self) -> Vec<u8> {
        let began = self.stream.bytes.len();
        self.stream.tables(self.version, &self.streams);
        self.stream.section(CUES, &sealed(vec![0xfc, 0, 0, 0, 0, 0]));
        self.stream.packet(0x11, true, Field::default(), &[8; 184]);
        let pcr = (1 << 33) * 300 - 27_000 * WRAPS_AFTER;
        self.stream.clock(VIDEO, pcr, 0);
        while !(self.stream.bytes.len() / PACKET_LEN).is_multiple_of(GROUP) {
            self.stream.packet(NULL, false, Field::default(), &[0xff; 184]);
        }
        self.stream.bytes[began..].to_vec()
    }

    fn frame(&mut self) {
        let (stream, number) = (&mut self.stream, self.number);
        let pts = (1 << 33) + 3_600 * (number - WRAPS_AFTER);
        let is_key = number % GOP == 0;
        // Tables in the middle of a group of pictures, not where players begin.
        if number % GOP == 4 || stream.bytes.is_empty() {
            stream.tables(self.version, &self.streams);
        }
        stream.packet(NULL, false, Field::default(), &[0xff; 184]);
        let field = Field { flags: 0, pcr: Some((pts - 9_000) * 300) };
        let mut picture = if is_key { keyframe(1_900) } else { picture(700) };
        picture.extend(number.to_be_bytes().map(|byte| byte | 0x80));
        stream.pes_bytes(VIDEO, field, &pes(pts, None, &picture));
        stream.pes(AUDIO, pts, &adts(120, 0x21));
        stream.packet(METADATA, true, Field::default(), &[number as u8 | 1; 184]);
        if number % GOP == 7 {
            stream.section(CUES, &sealed(vec![0xfc, 0, 0, number as u8, 2, 3]));
            stream.packet(UNKNOWN, true, Field::default(), &[number as u8; 184]);
        }
        self.number += 1;
    }
}
