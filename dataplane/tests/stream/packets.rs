//! A small reader of transport packets, which shares nothing with the multiplexer.

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) pid: u16,
    pub(crate) continuity: u8,
    pub(crate) has_payload: bool,
    pub(crate) discontinuity: bool,
    pub(crate) random_access: bool,
    /// The clock in units of 27 MHz, modulo 2^33 x 300.
    pub(crate) pcr: Option<u64>,
    /// A unit begins here: its stream id, presentation and decode time in units of 90 kHz.
    pub(crate) pes: Option<Pes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pes {
    pub(crate) stream_id: u8,
    pub(crate) pts: u64,
    pub(crate) dts: u64,
}

impl Pes {
    pub(crate) fn is_video(self) -> bool {
        self.stream_id & 0xf0 == 0xe0
    }
}

/// The packets of `bytes`, which begin at a packet.
pub(crate) fn packets(bytes: &[u8]) -> impl Iterator<Item = Packet> {
    assert_eq!(bytes.len() % 188, 0, "whole packets");
    bytes.chunks_exact(188).map(packet)
}

fn packet(bytes: &[u8]) -> Packet {
    assert_eq!(bytes[0], 0x47, "the sync byte");
    assert_eq!(bytes[1] & 0x80, 0, "no transport error");
    let pid = u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]);
    let (adapted, has_payload) = (bytes[3] & 0x20 != 0, bytes[3] & 0x10 != 0);
    let mut at = 4;
    let (mut discontinuity, mut random_access, mut pcr) = (false, false, None);
    if adapted {
        let len = usize::from(bytes[4]);
        if len > 0 {
            let flags = bytes[5];
            (discontinuity, random_access) = (flags & 0x80 != 0, flags & 0x40 != 0);
            if flags & 0x10 != 0 {
                let field = u64::from_be_bytes([
                    0, 0, bytes[6], bytes[7], bytes[8], bytes[9], bytes[10], bytes[11],
                ]);
                pcr = Some((field >> 15) * 300 + (field & 0x1ff));
            }
        }
        at += 1 + len;
    }
    let begins = bytes[1] & 0x40 != 0 && has_payload && pid >= 0x20;
    let pes = begins.then(|| pes(&bytes[at..])).flatten();
    Packet { pid, continuity: bytes[3] & 15, has_payload, discontinuity, random_access, pcr, pes }
}

fn pes(bytes: &[u8]) -> Option<Pes> {
    if bytes.len() < 9 || bytes[..3] != [0, 0, 1] {
        return None;
    }
    let times = bytes[7] >> 6;
    let pts = (times & 2 != 0).then(|| time(&bytes[9..14]))?;
    let dts = if times == 3 { time(&bytes[14..19]) } else { pts };
    Some(Pes { stream_id: bytes[3], pts, dts })
}

fn time(field: &[u8]) -> u64 {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|i| u64::from(field[i]));
    (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
}
