//! Sections of tables out of packets.
//!
//! Spec: ITU-T H.222.0 2.4.4.1 (pointer), 2.4.4.11 (private section).
//! Shape: table id (8), syntax indicator (1), 3 bits, length (12), then so many bytes.
//! Limits: [`SECTION_BYTES_MAX`], which twelve bits of length cannot exceed.

use alloc::vec::Vec;

/// Bytes of a section at most.
const SECTION_BYTES_MAX: usize = HEAD_LEN + 0xfff;

const HEAD_LEN: usize = 3;
/// What fills a packet behind its last section.
const STUFFING: u8 = 0xff;

/// The payload of one packet, on its way into sections.
#[derive(Clone, Copy, Debug)]
pub(super) struct SectionPayload<'a> {
    /// What belongs to the section that is open.
    open: &'a [u8],
    /// What comes from the next section on.
    next: Option<&'a [u8]>,
}

impl<'a> SectionPayload<'a> {
    pub(super) fn new(payload: &'a [u8], start: bool) -> Self {
        if !start {
            return Self { open: payload, next: None };
        }
        let split = payload
            .split_first()
            .and_then(|(&pointer, rest)| rest.split_at_checked(usize::from(pointer)));
        let Some((open, next)) = split else { return Self { open: &[], next: Some(&[]) } };
        Self { open, next: Some(next) }
    }
}

/// Gathers sections.
#[derive(Clone, Debug, Default)]
pub(super) struct SectionReader {
    held: Vec<u8>,
    is_open: bool,
    /// What is held was given out.
    is_given: bool,
}

impl SectionReader {
    pub(super) const fn buffer_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// A part of what is open is missing.
    pub(super) fn reset(&mut self) {
        self.held.clear();
        (self.is_open, self.is_given) = (false, false);
    }

    /// The next section that is whole; `None` when all of the payload was taken.
    pub(super) fn next(&mut self, payload: &mut SectionPayload<'_>) -> Option<&[u8]> {
        if self.is_given {
            self.held.clear();
            self.is_given = false;
        }
        loop {
            if self.is_open && !payload.open.is_empty() {
                self.take(payload);
                if self.is_given {
                    return Some(&self.held);
                }
                continue;
            }
            payload.open = payload.next.take()?;
            self.reset();
            self.is_open = true;
        }
    }

    /// Takes bytes up to the end of the head, or of the section.
    fn take(&mut self, payload: &mut SectionPayload<'_>) {
        if self.held.is_empty() && payload.open.first() == Some(&STUFFING) {
            self.is_open = false;
            return;
        }
        let whole = match *self.held.as_slice() {
            [_, high, low, ..] => HEAD_LEN + usize::from(u16::from_be_bytes([high & 0x0f, low])),
            _ => HEAD_LEN,
        };
        debug_assert!(whole <= SECTION_BYTES_MAX, "twelve bits and a head");
        let wanted = (whole - self.held.len()).min(payload.open.len());
        let (now, later) = payload.open.split_at(wanted);
        self.held.extend_from_slice(now);
        payload.open = later;
        let has_head =
            whole > HEAD_LEN || matches!(*self.held.as_slice(), [_, h, 0] if h & 15 == 0);
        self.is_given = has_head && self.held.len() == whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn section(len: usize, fill: u8) -> Vec<u8> {
        let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
        let mut bytes = vec![2, 0xb0 | high, low];
        bytes.extend(vec![fill; len]);
        bytes
    }

    fn read(reader: &mut SectionReader, payload: &[u8], start: bool) -> Vec<Vec<u8>> {
        let mut payload = SectionPayload::new(payload, start);
        let mut found = Vec::new();
        while let Some(section) = reader.next(&mut payload) {
            found.push(section.to_vec());
        }
        found
    }

    #[test]
    fn sections_are_found_wherever_packets_cut_them() {
        let (long, short, empty) = (section(300, 7), section(5, 9), section(0, 0));
        let all = [&long[..], &short, &empty, &short].concat();
        for cut in 1..all.len() {
            let mut reader = SectionReader::default();
            let head = [&[0][..], &all[..cut]].concat();
            let mut found = read(&mut reader, &head, true);
            found.extend(read(&mut reader, &[&all[cut..], &[0xff; 9]].concat(), false));
            assert_eq!(found, [&long[..], &short, &empty, &short], "{cut}");
        }
    }

    #[test]
    fn a_pointer_ends_one_section_and_begins_another() {
        let (first, second) = (section(40, 1), section(4, 2));
        let mut reader = SectionReader::default();
        assert!(read(&mut reader, &first[..9], false).is_empty(), "nobody saw it begin");
        assert!(read(&mut reader, &[&[0][..], &first[..20]].concat(), true).is_empty());
        let rest = [&[23][..], &first[20..], &second, &[0xff; 30]].concat();
        assert_eq!(read(&mut reader, &rest, true), [&first[..], &second]);
        // The end of one that is cut off is not waited for.
        assert!(read(&mut reader, &[&[0][..], &first[..20]].concat(), true).is_empty());
        assert_eq!(read(&mut reader, &[&[0][..], &second].concat(), true), [&second[..]]);
    }

    #[test]
    fn what_makes_no_sense_gives_nothing() {
        let mut reader = SectionReader::default();
        for payload in [&[][..], &[9], &[200, 1, 2], &[0], &[0, 0xff, 2, 0xb0]] {
            assert!(read(&mut reader, payload, true).is_empty(), "{payload:?}");
        }
        let longest = section(0xfff, 3);
        let mut found = read(&mut reader, &[&[0][..], &longest[..180]].concat(), true);
        for piece in longest[180..].chunks(184) {
            found.extend(read(&mut reader, piece, false));
        }
        assert_eq!((found.len(), found[0].len()), (1, SECTION_BYTES_MAX));
    }
}
