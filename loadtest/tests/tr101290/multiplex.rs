//! A good stream, packet by packet, and the tools to damage it. Written for this test alone.

pub(crate) const PMT_PID: u16 = 0x1000;
pub(crate) const VIDEO_PID: u16 = 0x100;
pub(crate) const AUDIO_PID: u16 = 0x101;
pub(crate) const NULL_PID: u16 = 0x1fff;

/// Milliseconds from one frame, and PCR, to the next.
pub(crate) const FRAME_MS: u64 = 20;

/// PAT and PMT come every so many frames: every 100 ms.
const TABLE_FRAMES: u64 = 5;

/// A decoding time is so far after the PCR before it.
const LEAD_MS: u64 = 200;

/// The PCR wraps within the stream.
const START_MS: u64 = ((1 << 33) / 90) - 1000;

pub(crate) type Packet = [u8; 188];

/// Packets in order.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) packets: Vec<Packet>,
}

pub(crate) fn pid_of(packet: &Packet) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

pub(crate) fn is_start(packet: &Packet) -> bool {
    packet[1] & 0x40 != 0
}

pub(crate) fn has_pcr(packet: &Packet) -> bool {
    packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0
}

fn payload_at(packet: &Packet) -> usize {
    if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) }
}

impl Stream {
    /// Seven seconds of picture and sound.
    pub(crate) fn good() -> Self {
        let mut mux = Multiplex::default();
        for frame in 0..7000 / FRAME_MS {
            let now = START_MS + frame * FRAME_MS;
            if frame % TABLE_FRAMES == 0 {
                mux.section(0, &pat());
                mux.section(PMT_PID, &pmt(&[(0x1b, VIDEO_PID), (0x0f, AUDIO_PID)]));
            }
            let dts = (now + LEAD_MS) * 90;
            // Pictures are shown later than they are decoded.
            let picture = vec![0xa5; 700 + 11 * (frame as usize % 40)];
            let picture = pes(0xe0, dts + 40 * 90, Some(dts), &picture);
            mux.unit(VIDEO_PID, Some(now * 27_000), &picture);
            mux.unit(AUDIO_PID, None, &pes(0xc0, dts, None, &[0xa5; 100]));
        }
        mux.push(NULL_PID, &[0x10], &[0xff; 184]);
        Self { packets: mux.packets }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.packets.concat()
    }

    /// The packet of `pid` that begins a unit or a section, the `nth` of them from 0.
    pub(crate) fn nth_start(&self, pid: u16, nth: usize) -> usize {
        let starts = |packet: &Packet| pid_of(packet) == pid && is_start(packet);
        let indices = self.packets.iter().enumerate().filter(|(_, packet)| starts(packet));
        indices.map(|(index, _)| index).nth(nth).unwrap()
    }

    /// A packet of `pid` behind packet `from` that begins nothing.
    pub(crate) fn continuing(&self, pid: u16, from: usize) -> usize {
        let goes_on = |packet: &Packet| pid_of(packet) == pid && !is_start(packet);
        from + self.packets[from..].iter().position(goes_on).unwrap()
    }

    /// Takes out packets so that nobody sees a gap: the counters close up.
    pub(crate) fn take_out(&mut self, wanted: impl Fn(usize, &Packet) -> bool) {
        let mut kept = Vec::new();
        let mut missing = std::collections::HashMap::<u16, u8>::new();
        for (index, packet) in self.packets.iter().enumerate() {
            let missing = missing.entry(pid_of(packet)).or_default();
            if wanted(index, packet) {
                *missing += 1;
                continue;
            }
            let mut packet = *packet;
            packet[3] = packet[3] & 0xf0 | packet[3].wrapping_sub(*missing) & 0x0f;
            kept.push(packet);
        }
        self.packets = kept;
    }

    /// Changes the section of each packet of `pid`, its CRC too.
    pub(crate) fn rewrite_sections(&mut self, pid: u16, section: &[u8]) {
        for packet in self.packets.iter_mut().filter(|packet| pid_of(packet) == pid) {
            let head = [packet[0], packet[1], packet[2], packet[3]];
            *packet = section_packet(head, section);
        }
    }

    /// Moves the PCR of a packet.
    pub(crate) fn move_pcr(&mut self, index: usize, by_ms: i64) {
        let packet = &mut self.packets[index];
        let bytes = <[u8; 6]>::try_from(&packet[6..12]).unwrap().map(i64::from);
        let base = bytes[..4].iter().fold(0, |base, byte| base << 8 | byte) << 1 | bytes[4] >> 7;
        let base = (base + by_ms * 90).rem_euclid(1 << 33) as u64;
        packet[6..12].copy_from_slice(&pcr_bytes(base * 300));
    }

    /// Moves the DTS of the unit that begins in a packet.
    pub(crate) fn set_dts_ms(&mut self, index: usize, dts_ms: u64) {
        let packet = &mut self.packets[index];
        let at = payload_at(packet) + 14;
        packet[at..at + 5].copy_from_slice(&time(1, dts_ms * 90));
    }

    /// Leaves a unit without times; their bytes become stuffing.
    pub(crate) fn strip_times(&mut self, index: usize) {
        let packet = &mut self.packets[index];
        let at = payload_at(packet);
        packet[at + 7] = 0;
        let len = usize::from(packet[at + 8]);
        packet[at + 9..at + 9 + len].fill(0xff);
    }

    /// Where a packet's payload begins.
    pub(crate) fn payload_at(&self, index: usize) -> usize {
        payload_at(&self.packets[index])
    }
}

/// When PCR `frame` is, in milliseconds.
pub(crate) fn pcr_ms(frame: u64) -> u64 {
    START_MS + frame * FRAME_MS
}

#[derive(Default)]
pub(crate) struct Multiplex {
    pub(crate) packets: Vec<Packet>,
    counters: std::collections::HashMap<u16, u8>,
}

impl Multiplex {
    fn head(&mut self, pid: u16, flags: u8, control: u8) -> [u8; 4] {
        let counter = self.counters.entry(pid).or_default();
        let head = [0x47, flags | (pid >> 8) as u8, pid as u8, control | *counter];
        *counter = (*counter + 1) & 0x0f;
        head
    }

    fn push(&mut self, pid: u16, control: &[u8; 1], rest: &[u8; 184]) {
        let head = self.head(pid, 0, control[0]);
        self.packets.push([&head[..], rest].concat().try_into().unwrap());
    }

    pub(crate) fn section(&mut self, pid: u16, section: &[u8]) {
        let head = self.head(pid, 0x40, 0x10);
        self.packets.push(section_packet(head, section));
    }

    pub(crate) fn unit(&mut self, pid: u16, pcr: Option<u64>, unit: &[u8]) {
        let mut rest = unit;
        let mut adaptation = pcr.map(|pcr| [&[0x50][..], &pcr_bytes(pcr)].concat());
        let mut flags = 0x40;
        while !rest.is_empty() {
            let mut field = adaptation.take();
            let room = 184 - field.as_ref().map_or(0, |field| field.len() + 1);
            let taken = room.min(rest.len());
            let missing = room - taken;
            if missing > 0 {
                match &mut field {
                    Some(field) => field.resize(field.len() + missing, 0xff),
                    None if missing == 1 => field = Some(Vec::new()),
                    None => field = Some([&[0][..], &vec![0xff; missing - 2]].concat()),
                }
            }
            let mut packet =
                self.head(pid, flags, if field.is_some() { 0x30 } else { 0x10 }).to_vec();
            if let Some(field) = field {
                packet.push(u8::try_from(field.len()).unwrap());
                packet.extend(field);
            }
            packet.extend(&rest[..taken]);
            self.packets.push(packet.try_into().unwrap());
            rest = &rest[taken..];
            flags = 0;
        }
    }
}

fn section_packet(head: [u8; 4], section: &[u8]) -> Packet {
    let mut packet = [0xff; 188];
    packet[..4].copy_from_slice(&head);
    packet[4] = 0;
    packet[5..5 + section.len()].copy_from_slice(section);
    packet
}

fn pcr_bytes(pcr: u64) -> [u8; 6] {
    let (base, extension) = (pcr / 300 % (1 << 33), pcr % 300);
    let bits = base << 15 | 0x3f << 9 | extension;
    *bits.to_be_bytes().last_chunk().unwrap()
}

fn time(prefix: u64, stamp: u64) -> [u8; 5] {
    let stamp = stamp % (1 << 33);
    let (high, middle, low) = (stamp >> 30, stamp >> 15 & 0x7fff, stamp & 0x7fff);
    let bits = prefix << 36 | high << 33 | 1 << 32 | middle << 17 | 1 << 16 | low << 1 | 1;
    *bits.to_be_bytes().last_chunk().unwrap()
}

pub(crate) fn pes(stream_id: u8, pts: u64, dts: Option<u64>, body: &[u8]) -> Vec<u8> {
    let (flags, prefix) = if dts.is_some() { (0xc0, 3) } else { (0x80, 2) };
    let mut times = time(prefix, pts).to_vec();
    times.extend(dts.iter().flat_map(|dts| time(1, *dts)));
    let mut pes = vec![0, 0, 1, stream_id, 0, 0, 0x80, flags, times.len() as u8];
    pes.extend(times);
    pes.extend(body);
    if stream_id == 0xc0 {
        let len = (pes.len() - 6) as u16;
        pes[4..6].copy_from_slice(&len.to_be_bytes());
    }
    pes
}

/// A section with its length and its CRC.
pub(crate) fn table(id: u8, extension: u16, body: &[u8]) -> Vec<u8> {
    let len = (5 + body.len() + 4) as u8;
    let [high, low] = extension.to_be_bytes();
    let mut section = vec![id, 0xb0, len, high, low, 0xc1, 0, 0];
    section.extend(body);
    let crc = crc32(&section);
    section.extend(crc.to_be_bytes());
    section
}

pub(crate) fn pat() -> Vec<u8> {
    table(0, 1, &[0, 1, 0xe0 | (PMT_PID >> 8) as u8, PMT_PID as u8])
}

pub(crate) fn pmt(streams: &[(u8, u16)]) -> Vec<u8> {
    let mut body = vec![0xe0 | (VIDEO_PID >> 8) as u8, VIDEO_PID as u8, 0xf0, 0];
    for (kind, pid) in streams {
        body.extend([*kind, 0xe0 | (pid >> 8) as u8, *pid as u8, 0xf0, 0]);
    }
    table(2, 1, &body)
}

/// By division, where the checker shifts.
fn crc32(bytes: &[u8]) -> u32 {
    let mut remainder = 0_u64;
    let padded = bytes.iter().chain(&[0; 4]).enumerate();
    for (index, byte) in padded {
        let byte = if index < 4 { byte ^ 0xff } else { *byte };
        remainder = remainder << 8 | u64::from(byte);
        for bit in (32..40).rev() {
            if remainder >> bit & 1 == 1 {
                remainder ^= 0x1_04c1_1db7 << (bit - 32);
            }
        }
    }
    remainder as u32
}
