//! Sections out of packets.
//!
//! Spec: ISO/IEC 13818-1 2.4.4.1, 2.4.4.2 (pointer_field) and annex A (CRC-32).
//!
//! Limits: [`SECTION_BYTES_MAX`] of a section; nothing else is held.

/// The longest section of any table.
pub(super) const SECTION_BYTES_MAX: usize = 4096;

/// The bytes of a section that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct SectionReader {
    held: Vec<u8>,
    /// A start was seen, and nothing was lost since.
    running: bool,
}

impl SectionReader {
    /// Gives up what is held: something was lost.
    pub(super) fn reset(&mut self) {
        self.held.clear();
        self.running = false;
    }

    /// Takes a packet's payload; tells each section that it makes whole.
    pub(super) fn feed(
        &mut self,
        payload: &[u8],
        unit_start: bool,
    ) -> Result<Vec<Vec<u8>>, &'static str> {
        let mut whole = Vec::new();
        let mut payload = payload;
        if unit_start {
            let pointed = payload.split_first().and_then(|(pointer, rest)| {
                rest.split_at_checked(usize::from(*pointer)).filter(|(_, rest)| !rest.is_empty())
            });
            let Some((before, after)) = pointed else {
                self.reset();
                return Err("a pointer field points behind its packet");
            };
            if self.running {
                self.held.extend_from_slice(before);
                self.split(&mut whole)?;
            }
            self.held.clear();
            self.running = true;
            payload = after;
        }
        if self.running {
            self.held.extend_from_slice(payload);
            self.split(&mut whole)?;
        }
        Ok(whole)
    }

    fn split(&mut self, whole: &mut Vec<Vec<u8>>) -> Result<(), &'static str> {
        while let [table, high, low, ..] = self.held[..] {
            if table == 0xff {
                // The rest of the packet is stuffing; the next section has a start of its own.
                self.reset();
                break;
            }
            let len = 3 + (usize::from(high & 0x0f) << 8 | usize::from(low));
            if len > SECTION_BYTES_MAX {
                self.reset();
                return Err("a section is longer than any may be");
            }
            if self.held.len() < len {
                break;
            }
            whole.push(self.held.drain(..len).collect());
        }
        // Fewer than three bytes of stuffing look like the start of a section.
        if self.held.first() == Some(&0xff) {
            self.reset();
        }
        Ok(())
    }
}

/// The CRC-32 of a section; zero if the section ends with its own.
pub(super) fn crc32(section: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in section {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 };
        }
    }
    crc
}
