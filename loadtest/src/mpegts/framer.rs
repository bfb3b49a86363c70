//! Bytes to packets: finding the rhythm of sync bytes, and losing it.
//!
//! Spec: TR 101 290 5.2.1 (1.1, 1.2): in sync after five sync bytes, out of it after two bad ones
//! in a row. The first packet is expected at the first byte.
//!
//! Limits: [`HELD_BYTES_MAX`] bytes are held.

use super::packet::{PACKET_LEN, Raw, SYNC_BYTE};

/// Bytes that are held at most.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Sync bytes in a row that are believed.
const SYNC_RUN: usize = 5;

/// What the bytes were.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framed {
    /// A packet; `damaged` if only its sync byte was wrong.
    Packet { raw: Raw, offset: u64, damaged: bool },
    /// The rhythm was lost here.
    Lost { offset: u64 },
}

/// Where the framer stands in its stream.
#[derive(Debug)]
pub(super) struct Framer {
    held: Vec<u8>,
    /// Bytes of `held` that are done with.
    at: usize,
    /// The stream's offset of `held[0]`.
    base: u64,
    in_sync: bool,
    ended: bool,
}

impl Default for Framer {
    fn default() -> Self {
        Self { held: Vec::new(), at: 0, base: 0, in_sync: true, ended: false }
    }
}

impl Framer {
    /// Takes as many bytes as it has room for; [`Self::next`] makes room.
    pub(super) fn take(&mut self, input: &mut &[u8]) {
        self.held.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let room = HELD_BYTES_MAX - self.held.len();
        let (taken, rest) = input.split_at(room.min(input.len()));
        self.held.extend_from_slice(taken);
        *input = rest;
    }

    /// No byte will come after those that were taken.
    pub(super) const fn end(&mut self) {
        self.ended = true;
    }

    /// Bytes at the end that are no packet.
    pub(super) const fn left(&self) -> usize {
        self.held.len() - self.at
    }

    /// The next thing that can be told from the bytes so far.
    pub(super) fn next(&mut self) -> Option<Framed> {
        if !self.in_sync {
            self.search();
            if !self.in_sync {
                return None;
            }
        }
        let rest = self.held.get(self.at..)?;
        let (raw, after) = rest.split_first_chunk::<PACKET_LEN>()?;
        let offset = self.base + self.at as u64;
        let damaged = raw[0] != SYNC_BYTE;
        if damaged {
            // The byte after it decides whether the rhythm goes on.
            match after.first() {
                None if !self.ended => return None,
                Some(&next) if next != SYNC_BYTE => {
                    self.in_sync = false;
                    return Some(Framed::Lost { offset });
                }
                _ => {}
            }
        }
        let raw = *raw;
        self.at += PACKET_LEN;
        Some(Framed::Packet { raw, offset, damaged })
    }

    /// Looks for enough sync bytes in a row; gives up bytes that begin none.
    fn search(&mut self) {
        const REACH: usize = (SYNC_RUN - 1) * PACKET_LEN + 1;
        while let Some(window) = self.held.get(self.at..self.at + REACH) {
            if window.iter().step_by(PACKET_LEN).all(|byte| *byte == SYNC_BYTE) {
                self.in_sync = true;
                return;
            }
            self.at += 1;
        }
    }
}
