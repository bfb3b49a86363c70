//! The two tables that lead to the media: PAT and PMT.
//!
//! Spec: ISO/IEC 13818-1 2.4.4.3 to 2.4.4.9.

pub(super) const TABLE_PAT: u8 = 0;
pub(super) const TABLE_CAT: u8 = 1;
pub(super) const TABLE_PMT: u8 = 2;

/// What every long section begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    pub(super) extension: u16,
    pub(super) version: u8,
    pub(super) current: bool,
    pub(super) number: u8,
    pub(super) last_number: u8,
    body: &'a [u8],
}

impl<'a> Section<'a> {
    /// Reads the header of a whole section whose CRC is right.
    pub(super) fn parse(section: &'a [u8]) -> Result<Self, &'static str> {
        let (head, rest) = section.split_first_chunk::<8>().ok_or("a section is too short")?;
        let (body, _crc) = rest.split_last_chunk::<4>().ok_or("a section is too short")?;
        if head[1] & 0x80 == 0 {
            return Err("a table's section has no section syntax");
        }
        Ok(Self {
            extension: u16::from_be_bytes([head[3], head[4]]),
            version: head[5] >> 1 & 0x1f,
            current: head[5] & 1 != 0,
            number: head[6],
            last_number: head[7],
            body,
        })
    }

    /// The programs of a PAT and the PIDs of their PMTs; number 0 names no program.
    pub(super) fn programs(&self) -> Result<Vec<(u16, u16)>, &'static str> {
        let (entries, rest) = self.body.as_chunks::<4>();
        if !rest.is_empty() {
            return Err("a PAT ends within an entry");
        }
        let entry = |[a, b, c, d]: &[u8; 4]| (u16::from_be_bytes([*a, *b]), pid(*c, *d));
        Ok(entries.iter().map(entry).filter(|(number, _)| *number != 0).collect())
    }

    /// The layout of a program, of its PMT.
    pub(super) fn layout(&self) -> Result<Layout, &'static str> {
        const SHORT: &str = "a PMT ends within an entry";
        let (head, rest) = self.body.split_first_chunk::<4>().ok_or(SHORT)?;
        let [a, b, c, d] = *head;
        let (_, mut rest) = rest.split_at_checked(length(c, d)).ok_or(SHORT)?;
        let mut streams = Vec::new();
        while !rest.is_empty() {
            let ([kind, a, b, c, d], after) = rest.split_first_chunk::<5>().ok_or(SHORT)?;
            let (descriptors, after) = after.split_at_checked(length(*c, *d)).ok_or(SHORT)?;
            let is_timed = is_timed(*kind, descriptors)?;
            streams.push(Listed { pid: pid(*a, *b), kind: *kind, is_timed });
            rest = after;
        }
        Ok(Layout { pcr_pid: pid(a, b), streams })
    }
}

/// What a PMT tells of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) pcr_pid: u16,
    pub(super) streams: Vec<Listed>,
}

/// An elementary stream in a PMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) pid: u16,
    /// Its stream_type.
    pub(super) kind: u8,
    /// True for picture and sound, whose PTS must come regularly.
    pub(super) is_timed: bool,
}

const fn pid(high: u8, low: u8) -> u16 {
    (high as u16 & 0x1f) << 8 | low as u16
}

const fn length(high: u8, low: u8) -> usize {
    (high as usize & 0x0f) << 8 | low as usize
}

/// Whether a stream is picture or sound: by its type, or, as private data, by a descriptor.
fn is_timed(kind: u8, descriptors: &[u8]) -> Result<bool, &'static str> {
    let mut names_sound = false;
    let mut rest = descriptors;
    while !rest.is_empty() {
        let [tag, len, after @ ..] = rest else { return Err("a descriptor is too short") };
        let (body, after) =
            after.split_at_checked(usize::from(*len)).ok_or("a descriptor is too long")?;
        // AC-3, enhanced AC-3, DTS and AAC of DVB; registrations of sound and picture.
        names_sound |= matches!(tag, 0x6a | 0x7a | 0x7b | 0x7c);
        let names = [b"Opus", b"AC-3", b"EAC3", b"HEVC", b"AV01", b"VVC "];
        names_sound |= *tag == 5 && names.iter().any(|name| body.starts_with(*name));
        rest = after;
    }
    Ok(match kind {
        0x01..=0x04 | 0x0f..=0x11 | 0x1b | 0x24 | 0x33 | 0x81 | 0x87 => true,
        0x06 => names_sound,
        _ => false,
    })
}
