//! Bytes to packets: finding the rhythm of sync bytes, and finding it again.
//!
//! Spec: ITU-T H.222.0 2.4.3.2; ETSI TR 101 290 5.2.1 (five sync bytes in a row are believed).
//! Shape: packets of 188 bytes; of 192 with a time code before each, as Blu-ray recorders and some
//! multicast senders write them; of 204 with a checksum behind each, as demodulators give them.
//! In/Out: any pieces come in; a packet that lies whole in its piece is lent from there.
//! Limits: [`HELD_BYTES_MAX`].

use alloc::vec::Vec;

use crate::mpegts::packet::PACKET_LEN;

/// One packet.
pub type RawPacket = [u8; PACKET_LEN];

/// Bytes that are held at most.
pub const HELD_BYTES_MAX: usize = 2 * SEARCHED_LEN;

const SYNC_BYTE: u8 = 0x47;
/// From one sync byte to the next, by how often it is met.
const STRIDES: [usize; 3] = [PACKET_LEN, 192, 204];
/// Sync bytes in a row that are believed.
const SYNC_RUN: usize = 5;
/// Bytes that must be there before a place is judged, so that no cut of the input matters.
const SEARCHED_LEN: usize = 204 * (SYNC_RUN - 1) + 1;

/// What was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SyncCounters {
    /// Times that the rhythm was lost.
    pub losses: u64,
    /// Bytes that were no packet.
    pub skipped: u64,
}

/// Finds packets.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    held: Vec<u8>,
    /// The first byte of `held` that was not given out.
    at: usize,
    /// The rhythm; `None` while it is searched for.
    stride: Option<usize>,
    /// Bytes between the packets that are still to come, and are passed over.
    gap: usize,
    counters: SyncCounters,
}

/// Where the next packet lies.
enum Place<'a> {
    Held(usize),
    Input(&'a RawPacket),
}

impl Framer {
    /// The next packet; `None` when all of `input` was taken.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<&'a RawPacket> {
        match self.locate(input)? {
            Place::Held(at) => self.held.get(at..)?.first_chunk(),
            Place::Input(packet) => Some(packet),
        }
    }

    /// The next packet of a stream that is over, although too few follow it to be sure.
    pub fn rest(&mut self) -> Option<&RawPacket> {
        if self.stride.is_none() {
            let held = self.held.get(self.at..).unwrap_or_default();
            let last = held.len().checked_sub(PACKET_LEN)?;
            let found = (0..=last).find(|&at| {
                held.get(at..).is_some_and(|from| from.iter().step_by(PACKET_LEN).all(is_sync))
            })?;
            self.lock(found, PACKET_LEN);
        }
        self.next(&mut &[][..])
    }

    /// Bytes that it has room for.
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// What was passed over so far.
    #[must_use]
    pub const fn counters(&self) -> SyncCounters {
        self.counters
    }

    fn locate<'a>(&mut self, input: &mut &'a [u8]) -> Option<Place<'a>> {
        loop {
            let Some(stride) = self.stride else {
                self.search(input)?;
                continue;
            };
            let left = self.held.len() - self.at;
            if left == 0 {
                self.forget();
                let passed = self.gap.min(input.len());
                *input = input.get(passed..).unwrap_or_default();
                self.gap -= passed;
                if let Some((packet, behind)) = input.split_first_chunk::<PACKET_LEN>() {
                    if packet.first().is_some_and(is_sync) {
                        *input = behind;
                        self.gap = stride - PACKET_LEN;
                        return Some(Place::Input(packet));
                    }
                    self.lose();
                    continue;
                }
            }
            if left < PACKET_LEN {
                self.compact();
                self.hold(input, PACKET_LEN);
                if self.held.len() < PACKET_LEN {
                    return None;
                }
            }
            let at = self.at;
            if !self.held.get(at).is_some_and(is_sync) {
                self.lose();
                continue;
            }
            self.at = (at + stride).min(self.held.len());
            self.gap = at + stride - self.at;
            return Some(Place::Held(at));
        }
    }

    /// Looks for the rhythm; `None` if more bytes are needed.
    fn search(&mut self, input: &mut &[u8]) -> Option<()> {
        self.compact();
        self.hold(input, HELD_BYTES_MAX);
        let mut at = 0;
        while let Some(window) = self.held.get(at..at + SEARCHED_LEN) {
            let in_rhythm =
                |stride: &&usize| window.iter().step_by(**stride).take(SYNC_RUN).all(is_sync);
            if let Some(&stride) = STRIDES.iter().find(in_rhythm) {
                self.lock(at, stride);
                return Some(());
            }
            at += 1;
        }
        self.counters.skipped += at as u64;
        self.at = at;
        self.compact();
        (!input.is_empty()).then_some(())
    }

    /// Packets begin at byte `found` of what is held.
    fn lock(&mut self, found: usize, stride: usize) {
        self.counters.skipped += found as u64;
        self.at += found;
        self.stride = Some(stride);
        self.gap = 0;
    }

    fn lose(&mut self) {
        self.counters.losses += 1;
        self.stride = None;
    }

    /// Takes bytes until `len` are held.
    fn hold(&mut self, input: &mut &[u8], len: usize) {
        let wanted = len.saturating_sub(self.held.len()).min(input.len());
        let (now, later) = input.split_at(wanted);
        self.held.extend_from_slice(now);
        *input = later;
    }

    fn compact(&mut self) {
        self.held.drain(..self.at);
        self.at = 0;
    }

    fn forget(&mut self) {
        self.held.clear();
        self.at = 0;
    }
}

const fn is_sync(byte: &u8) -> bool {
    *byte == SYNC_BYTE
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// Packets with a number each, `before` and `behind` bytes around them.
    fn stream(count: u8, before: usize, behind: usize) -> Vec<u8> {
        (0..count).fold(Vec::new(), |mut bytes, number| {
            bytes.extend(vec![0xee; before]);
            bytes.extend([SYNC_BYTE, number]);
            bytes.extend(vec![0; PACKET_LEN - 2]);
            bytes.extend(vec![0xee; behind]);
            bytes
        })
    }

    /// The numbers of the packets that are found, and what was passed over.
    fn found(bytes: &[u8], step: usize) -> (Vec<u8>, SyncCounters) {
        let (mut framer, mut numbers) = (Framer::default(), Vec::new());
        for mut piece in bytes.chunks(step) {
            while let Some(packet) = framer.next(&mut piece) {
                assert_eq!(packet[0], SYNC_BYTE);
                numbers.push(packet[1]);
            }
            assert!(framer.held.len() <= HELD_BYTES_MAX);
        }
        while let Some(packet) = framer.rest() {
            numbers.push(packet[1]);
        }
        (numbers, framer.counters())
    }

    #[test]
    fn every_rhythm_is_found_in_any_pieces() {
        for (before, behind) in [(0, 0), (4, 0), (0, 16)] {
            let bytes = stream(30, before, behind);
            for step in [1, 7, 187, 188, 189, 1_316, bytes.len()] {
                let (numbers, counters) = found(&bytes, step);
                assert_eq!(numbers, Vec::from_iter(0..30), "{before} {behind} {step}");
                assert_eq!(counters, SyncCounters { losses: 0, skipped: before as u64 });
            }
        }
    }

    #[test]
    fn the_rhythm_is_found_again_behind_damage() {
        let good = stream(20, 0, 0);
        for cut in [1, 100, 187] {
            let bytes = [&good[..10 * PACKET_LEN], &good[10 * PACKET_LEN + cut..]].concat();
            for step in [1, 188, 1_316, 9_999] {
                let (numbers, counters) = found(&bytes, step);
                assert_eq!(numbers, Vec::from_iter((0..10).chain(11..20)), "{cut} {step}");
                let skipped = (PACKET_LEN - cut) as u64;
                assert_eq!(counters, SyncCounters { losses: 1, skipped });
            }
        }
        let mut flipped = good;
        flipped[5 * PACKET_LEN] = 0;
        assert_eq!(found(&flipped, 1_316).0, Vec::from_iter((0..5).chain(6..20)));
    }

    #[test]
    fn a_stream_of_few_packets_is_read_at_its_end() {
        for count in 1..6 {
            let bytes = [&[1, 2, 3][..], &stream(count, 0, 0)].concat();
            assert_eq!(found(&bytes, 50).0, Vec::from_iter(0..count));
        }
        assert!(found(&[SYNC_BYTE; 100], 9).0.is_empty());
    }

    proptest! {
        #[test]
        fn no_cut_changes_what_is_found(
            parts in prop::collection::vec((0_u8..12, 0_usize..300, any::<bool>()), 1..6),
            step in 1_usize..2_000,
        ) {
            let bytes = parts.iter().fold(Vec::new(), |mut bytes, &(count, noise, syncs)| {
                bytes.extend(stream(count, 0, 0));
                bytes.extend(vec![if syncs { SYNC_BYTE } else { 3 }; noise]);
                bytes
            });
            prop_assert_eq!(found(&bytes, step), found(&bytes, bytes.len().max(1)));
        }
    }
}
