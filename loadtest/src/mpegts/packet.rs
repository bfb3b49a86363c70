//! One packet of 188 bytes.
//!
//! Spec: ISO/IEC 13818-1 2.4.3.2 to 2.4.3.5.
//!
//! Shape: 0x47 | error, unit start, priority, PID 13 | scrambling 2, adaptation 2, continuity 4 |
//! adaptation field | payload.

/// Bytes of a packet.
pub const PACKET_LEN: usize = 188;

pub(super) const SYNC_BYTE: u8 = 0x47;

/// Values that a PID can have.
pub(super) const PIDS: usize = 1 << 13;

pub(super) const PID_PAT: u16 = 0;
pub(super) const PID_CAT: u16 = 1;
pub(super) const PID_NULL: u16 = 0x1fff;

pub(super) type Raw = [u8; PACKET_LEN];

/// What an adaptation field says that matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adaptation {
    pub(super) discontinuity: bool,
    /// 27 MHz, modulo 2^33 * 300.
    pub(super) pcr: Option<u64>,
}

/// A packet's header and where its payload is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) transport_error: bool,
    pub(super) unit_start: bool,
    pub(super) pid: u16,
    pub(super) scrambled: bool,
    pub(super) continuity: u8,
    pub(super) has_payload: bool,
    pub(super) adaptation: Adaptation,
    pub(super) payload: &'a [u8],
    /// What of the structure is broken; the payload is empty then.
    pub(super) fault: Option<&'static str>,
}

impl<'a> Packet<'a> {
    pub(super) fn parse(raw: &'a Raw) -> Self {
        let [_, first, second, third, body @ ..] = raw;
        let mut packet = Self {
            transport_error: first & 0x80 != 0,
            unit_start: first & 0x40 != 0,
            pid: u16::from(first & 0x1f) << 8 | u16::from(*second),
            scrambled: third & 0xc0 != 0,
            continuity: third & 0x0f,
            has_payload: third & 0x10 != 0,
            adaptation: Adaptation::default(),
            payload: &[],
            fault: None,
        };
        let mut payload = body.as_slice();
        if third & 0x20 != 0 {
            let len = usize::from(body[0]);
            let Some((field, rest)) = payload[1..].split_at_checked(len) else {
                packet.fault = Some("the adaptation field is longer than the packet");
                return packet;
            };
            match adaptation(field) {
                Ok(adaptation) => packet.adaptation = adaptation,
                Err(fault) => packet.fault = Some(fault),
            }
            if packet.has_payload == rest.is_empty() {
                packet.fault = Some("the adaptation field does not leave what the header tells");
            }
            payload = rest;
        } else if !packet.has_payload {
            packet.fault = Some("neither payload nor adaptation field");
        }
        if packet.has_payload && packet.fault.is_none() {
            packet.payload = payload;
        }
        packet
    }
}

fn adaptation(field: &[u8]) -> Result<Adaptation, &'static str> {
    // One byte of stuffing is a field of no length.
    let Some((flags, rest)) = field.split_first() else {
        return Ok(Adaptation::default());
    };
    let pcr = match (flags & 0x10 != 0, rest.first_chunk::<6>()) {
        (false, _) => None,
        (true, None) => return Err("the adaptation field is too short for its PCR"),
        (true, Some(bytes)) => Some(pcr(*bytes)?),
    };
    Ok(Adaptation { discontinuity: flags & 0x80 != 0, pcr })
}

fn pcr(bytes: [u8; 6]) -> Result<u64, &'static str> {
    let [a, b, c, d, e, f] = bytes.map(u64::from);
    let base = a << 25 | b << 17 | c << 9 | d << 1 | e >> 7;
    let extension = (e & 1) << 8 | f;
    if extension >= 300 {
        return Err("the extension of a PCR is 300 or more");
    }
    Ok(base * 300 + extension)
}

/// True if `again` repeats `raw`: all bytes equal but those of a PCR, which may be written anew.
pub(super) fn is_duplicate(raw: &Raw, again: &Raw) -> bool {
    let has_pcr = |raw: &Raw| raw[3] & 0x20 != 0 && raw[4] >= 7 && raw[5] & 0x10 != 0;
    if has_pcr(raw) && has_pcr(again) {
        return raw[..6] == again[..6] && raw[12..] == again[12..];
    }
    raw == again
}
