//! The stream as a transport stream, cut into a segment at each keyframe.

use crate::multiplex::{Multiplex, PMT_PID, VIDEO_PID, pat, pes, pmt};

/// A decoding time is so far after the PCR before it.
const LEAD_MS: u64 = 200;

#[derive(Default)]
pub(crate) struct Transport {
    mux: Multiplex,
    /// SPS and PPS, each behind a start code.
    parameter_sets: Vec<u8>,
    frames: u64,
    leaks: bool,
    /// The segments that are whole, from number 0.
    segments: Vec<Vec<u8>>,
    current: Vec<u8>,
    durations_ms: Vec<u32>,
    started_ms: Option<u32>,
}

impl Transport {
    pub(crate) fn new(leaks: bool) -> Self {
        Self { leaks, ..Self::default() }
    }

    /// Takes the generator's own avcC: one SPS, one PPS. The stream begins anew.
    pub(crate) fn configure(&mut self, body: &[u8]) {
        *self = Self::new(self.leaks);
        let avcc = &body[5..];
        let sps_len = usize::from(avcc[7]);
        let (sps, rest) = avcc[8..].split_at(sps_len);
        self.parameter_sets = [&[0, 0, 0, 1][..], sps, &[0, 0, 0, 1], &rest[3..]].concat();
    }

    /// The packets of a frame.
    pub(crate) fn frame(&mut self, time_ms: u32, is_key: bool, body: &[u8]) -> Vec<u8> {
        self.frames += 1;
        if is_key {
            if let Some(started_ms) = self.started_ms.replace(time_ms) {
                self.segments.push(std::mem::take(&mut self.current));
                self.durations_ms.push(time_ms - started_ms);
            }
            self.mux.section(0, &pat());
            self.mux.section(PMT_PID, &pmt(&[(0x1b, VIDEO_PID)]));
        }
        let mut unit = vec![0, 0, 0, 1, 9, 0xf0];
        if is_key {
            unit.extend(&self.parameter_sets);
        }
        let mut rest = &body[5..];
        while let Some((len, after)) = rest.split_first_chunk() {
            let (nal, after) = after.split_at(u32::from_be_bytes(*len) as usize);
            unit.extend([0, 0, 0, 1]);
            unit.extend(nal);
            rest = after;
        }
        let now = u64::from(time_ms);
        let dts = (now + LEAD_MS) * 90;
        self.mux.unit(VIDEO_PID, Some(now * 27_000), &pes(0xe0, dts, None, &unit));
        let mut packets = std::mem::take(&mut self.mux.packets);
        if self.leaks && self.frames.is_multiple_of(10) {
            packets.remove(packets.len() - 2);
        }
        let bytes = packets.concat();
        self.current.extend(&bytes);
        bytes
    }

    /// The media playlist, once there is a segment.
    pub(crate) fn playlist(&self) -> Option<String> {
        let first = self.segments.len().checked_sub(1)?.saturating_sub(15);
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:";
        let listed =
            self.durations_ms.iter().enumerate().skip(first).map(|(number, ms)| {
                format!("#EXTINF:{}.{:03},\n{number}.ts\n", ms / 1000, ms % 1000)
            });
        Some(format!("{head}{first}\n{}", listed.collect::<String>()))
    }

    pub(crate) fn segment(&self, name: &str) -> Option<&[u8]> {
        let number: usize = name.strip_suffix(".ts")?.parse().ok()?;
        self.segments.get(number).map(Vec::as_slice)
    }
}
