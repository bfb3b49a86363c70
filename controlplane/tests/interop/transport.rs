//! What a transport stream carries, read by hand: neither our multiplexer nor a player's demuxer.
//!
//! The stream is judged by TR 101 290 first, without exemption: what is read here is well formed.

use loadtest::mpegts::{Indicator, PACKET_LEN, Tr101290};

use crate::verify::{Media, Nals};

const H264: u8 = 0x1b;
const HEVC: u8 = 0x24;
const ADTS: u8 = 0x0f;

/// One elementary stream, and the packets of its unit in hand.
struct Elementary {
    pid: u16,
    stream_type: u8,
    unit: Vec<u8>,
}

/// Pictures and sound of `stream`; `who` received it.
pub(crate) fn media(stream: &[u8], who: &str) -> Media {
    media_with_pauses(stream, who, 0)
}

/// The same of a stream whose publisher was away so often: each of its two tracks may be silent as
/// often, and nothing else may be wrong.
pub(crate) fn media_with_pauses(stream: &[u8], who: &str, pauses: u64) -> Media {
    let verdict = Tr101290::check(stream);
    let is_silence = |indicator| matches!(indicator, Indicator::Pts | Indicator::Pid);
    let mut wrong = verdict.counts.iter();
    let allowed = wrong.all(|&(rule, count)| is_silence(rule) && count <= 2 * pauses);
    assert!(verdict.packets > 0 && allowed, "{who}: {verdict}");
    let mut media = Media::default();
    let mut pmt = None;
    let mut streams: Vec<Elementary> = Vec::new();
    for packet in stream.chunks_exact(PACKET_LEN) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let begins = packet[1] & 0x40 != 0;
        let Some(payload) = payload(packet) else { continue };
        if pid == 0 && begins {
            let section = &payload[1 + usize::from(payload[0])..];
            pmt = Some(u16::from_be_bytes([section[10] & 0x1f, section[11]]));
        } else if Some(pid) == pmt && begins {
            tables(&payload[1 + usize::from(payload[0])..], &mut streams);
        } else if let Some(of) = streams.iter_mut().find(|known| known.pid == pid) {
            if begins {
                of.finish(&mut media);
            }
            of.unit.extend_from_slice(payload);
        }
    }
    streams.iter_mut().for_each(|of| of.finish(&mut media));
    media
}

fn payload(packet: &[u8]) -> Option<&[u8]> {
    let adaptation = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
    (packet[3] & 0x10 != 0).then(|| &packet[4 + adaptation..])
}

/// The streams of a PMT in one packet.
fn tables(section: &[u8], streams: &mut Vec<Elementary>) {
    let length = usize::from(u16::from_be_bytes([section[1] & 0x0f, section[2]]));
    let info = usize::from(u16::from_be_bytes([section[10] & 0x0f, section[11]]));
    let mut rest = &section[12 + info..3 + length - 4];
    while let [stream_type, a, b, c, d, ..] = *rest {
        let pid = u16::from_be_bytes([a & 0x1f, b]);
        if streams.iter().all(|known| known.pid != pid) {
            streams.push(Elementary { pid, stream_type, unit: Vec::new() });
        }
        rest = &rest[5 + usize::from(u16::from_be_bytes([c & 0x0f, d]))..];
    }
}

impl Elementary {
    fn finish(&mut self, media: &mut Media) {
        if self.unit.is_empty() {
            return;
        }
        let data = &self.unit[9 + usize::from(self.unit[8])..];
        match self.stream_type {
            H264 | HEVC => {
                let nals = if self.stream_type == H264 { Nals::H264 } else { Nals::Hevc };
                let mut picture = Vec::new();
                let mut keyframe = false;
                for unit in nal_units(data).filter(|unit| nals.is_vcl(unit)) {
                    keyframe |= nals.is_key(unit);
                    picture.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                    picture.extend_from_slice(unit);
                }
                media.video.push((keyframe, picture));
            }
            ADTS => {
                let mut rest = data;
                while let [0xff, flags, _, c, d, e, _, ..] = *rest {
                    let length = usize::from(c & 3) << 11 | usize::from(d) << 3;
                    let (frame, next) = rest.split_at(length | usize::from(e >> 5));
                    let head = if flags & 1 == 1 { 7 } else { 9 };
                    media.audio.push(frame[head..].to_vec());
                    rest = next;
                }
                assert!(rest.is_empty(), "bytes are left after the last ADTS frame");
            }
            _ => media.audio.push(data.to_vec()),
        }
        self.unit.clear();
    }
}

/// The NAL units between start codes.
fn nal_units(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let code = |bytes: &[u8]| bytes.windows(3).position(|three| three == [0, 0, 1]);
    data = code(data).map_or(&[][..], |at| &data[at + 3..]);
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let (mut unit, rest) = match code(data) {
            Some(at) => (&data[..at], &data[at + 3..]),
            None => (data, &[][..]),
        };
        data = rest;
        // Zero bytes before a start code belong to no unit.
        while let [before @ .., 0] = unit {
            unit = before;
        }
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes_of_either_length_part_nal_units() {
        let data = [0, 0, 0, 1, 9, 16, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 0x41];
        let units: Vec<_> = nal_units(&data).collect();
        assert_eq!(units, [&[9, 16][..], &[0x65, 7], &[0x41]]);
    }
}
