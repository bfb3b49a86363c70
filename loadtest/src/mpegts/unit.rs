//! The start of a PES packet: when its access unit is to be decoded.
//!
//! Spec: ISO/IEC 13818-1 2.4.3.6, 2.4.3.7.
//!
//! Units: 90 kHz, modulo 2^33.

/// Bytes up to the end of a DTS.
const HEAD_LEN: usize = 19;

/// The times of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    /// When it is shown; absent if the header tells none.
    pub(super) pts: Option<u64>,
    /// When it is decoded: its DTS, or its PTS if it has none.
    pub(super) dts: Option<u64>,
}

/// Gathers the bytes of a header, which may be spread over packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnitHead {
    bytes: [u8; HEAD_LEN],
    len: usize,
    running: bool,
}

impl Default for UnitHead {
    fn default() -> Self {
        Self { bytes: [0; HEAD_LEN], len: 0, running: false }
    }
}

impl UnitHead {
    /// Gives up what is held: something was lost.
    pub(super) const fn reset(&mut self) {
        self.running = false;
    }

    /// Takes a packet's payload; tells the times once the header is whole enough.
    pub(super) fn feed(
        &mut self,
        payload: &[u8],
        unit_start: bool,
    ) -> Option<Result<Stamps, &'static str>> {
        if unit_start {
            *self = Self { running: true, ..Self::default() };
        }
        if !self.running {
            return None;
        }
        let room = &mut self.bytes[self.len..];
        let taken = room.len().min(payload.len());
        room[..taken].copy_from_slice(&payload[..taken]);
        self.len += taken;
        let stamps = parse(&self.bytes[..self.len]).transpose();
        self.running = stamps.is_none();
        stamps
    }
}

/// Reads as much as is there: `None` if that is not enough.
fn parse(head: &[u8]) -> Result<Option<Stamps>, &'static str> {
    let prefix = head.len().min(3);
    if head[..prefix] != [0, 0, 1][..prefix] {
        return Err("a unit begins without the start code of a PES packet");
    }
    let Some(&stream_id) = head.get(3) else { return Ok(None) };
    // Streams without the optional header have no times.
    if matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff) {
        return Ok(Some(Stamps { pts: None, dts: None }));
    }
    let Some((&[mark, flags, header_len], times)) =
        head.get(6..).and_then(<[u8]>::split_first_chunk)
    else {
        return Ok(None);
    };
    if mark & 0xc0 != 0x80 {
        return Err("a PES header lacks its marker");
    }
    let (wanted, prefixes) = match flags >> 6 {
        0 => return Ok(Some(Stamps { pts: None, dts: None })),
        2 => (5, [2, 0]),
        3 => (10, [3, 1]),
        _ => return Err("a PES header has a DTS and no PTS"),
    };
    if usize::from(header_len) < wanted {
        return Err("a PES header is too short for its times");
    }
    let Some(times) = times.get(..wanted) else { return Ok(None) };
    let (fields, _) = times.as_chunks::<5>();
    let mut values = [None; 2];
    for ((field, prefix), value) in fields.iter().zip(prefixes).zip(&mut values) {
        *value = Some(time(*field, prefix)?);
    }
    let [pts, dts] = values;
    Ok(Some(Stamps { pts, dts: dts.or(pts) }))
}

fn time(field: [u8; 5], prefix: u8) -> Result<u64, &'static str> {
    let [a, b, c, d, e] = field.map(u64::from);
    if field[0] >> 4 != prefix || a & c & e & 1 == 0 {
        return Err("a time in a PES header lacks its markers");
    }
    Ok((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}
