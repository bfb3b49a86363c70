//! Trains: what an SRT player is sent of its log, several datagrams in one system call.
//!
//! Shape: each datagram is a header of 16 bytes in the arena and ranges of the log, or all of it in
//! the arena where it is encrypted or private. Those of one size, and a last one that is shorter,
//! are one train.
//! In/Out: nothing of the log is copied but what is encrypted. The arena is used again for each
//! slice: every send ends inside its submit.
//! Limits: [`ARENA_BYTES`]; [`SEND_BYTES_MAX`] of one player at a time. A train for which the
//! socket has no room is lost, as any datagram may be, and asked for again by the peer.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use codecs::srt::{HEADER_BYTES, PACKET_BYTES_MAX};
use codecs::writer::Writer;

use super::connection::{Connection, Establish};
use super::cursor::{Cursor, SEND_BYTES_MAX};
use super::opening::Opening;
use super::plan::Outcome;
use super::queues::Class;
use super::shard::Shard;
use crate::package::{Due, Payload, PlayTerms};
use crate::reactor::{Reactor, SendPart, TRAIN_DATAGRAMS_MAX, TRAIN_PARTS_MAX, Token};
use crate::session::srt::{DataTransmit, Playing};

/// Bytes of headers and of what is encrypted of one slice at most.
const ARENA_BYTES: usize = 512 << 10;
/// Parts of one datagram at most: its header and a range in each of two pages.
const PARTS_PER_DATAGRAM: usize = 3;

/// What one slice of sends borrows from, and the train that is being made. Lives on: its shard.
#[derive(Debug, Default)]
pub(super) struct Trains {
    arena: Box<[u8]>,
    at: usize,
    parts: Vec<SendPart>,
    /// Bytes of all datagrams of the train but the last.
    segment: usize,
    datagrams: usize,
    bytes: usize,
    /// A shorter datagram ends the train.
    ends: bool,
}

/// Whom a train is for.
#[derive(Clone, Copy)]
struct Rails<'a> {
    fd: BorrowedFd<'a>,
    token: Token,
    peer: &'a SocketAddr,
}

impl Trains {
    /// Room for the players of a shard that has ports.
    pub(super) fn with_arena() -> Self {
        let arena = vec![0; ARENA_BYTES].into_boxed_slice();
        Self { arena, parts: Vec::with_capacity(TRAIN_PARTS_MAX), ..Self::default() }
    }

    pub(super) const fn has_arena(&self) -> bool {
        !self.arena.is_empty()
    }

    /// A new slice begins: what was sent is in the kernel's hands.
    pub(super) const fn clear(&mut self) {
        self.at = 0;
    }

    /// True if no more datagrams may be made in this slice.
    pub(super) const fn is_full(&self) -> bool {
        self.has_arena() && self.at + PACKET_BYTES_MAX > self.arena.len()
    }

    /// Adds a datagram to the train, which leaves first if it has no place for it.
    fn add(
        &mut self,
        reactor: &mut Reactor,
        rails: Rails<'_>,
        playing: &Playing,
        (transmit, payload, logs): (&DataTransmit, &Payload, &crate::log::Succession),
    ) -> usize {
        let len = HEADER_BYTES + payload.len();
        let fits = self.datagrams < TRAIN_DATAGRAMS_MAX
            && self.parts.len() + PARTS_PER_DATAGRAM <= TRAIN_PARTS_MAX
            && self.bytes + len <= SEND_BYTES_MAX as usize;
        if self.datagrams > 0 && (self.ends || len > self.segment || !fits) {
            self.leave(reactor, rails);
        }
        let start = self.at;
        self.put(&transmit.header);
        match payload {
            Payload::Log(ranges) if transmit.key.is_none() => {
                self.parts.push(SendPart::new(&self.arena[start..self.at]));
                let parts = ranges.as_slice().iter();
                self.parts.extend(parts.map(|part| SendPart { ptr: part.ptr, len: part.len }));
            }
            Payload::Log(_) => {
                let place = &mut self.arena[self.at..start + len];
                let read = playing.cursor.index(logs).read(transmit.number, place);
                debug_assert_eq!(read, Some(payload.len()), "it was there a moment ago");
                playing.connection.encrypt(transmit, place);
                self.at = start + len;
                self.parts.push(SendPart::new(&self.arena[start..self.at]));
            }
            Payload::Splice(splice) => {
                let place = &mut self.arena[self.at..start + len];
                splice.encode(&mut Writer::new(place));
                playing.connection.encrypt(transmit, place);
                self.at = start + len;
                self.parts.push(SendPart::new(&self.arena[start..self.at]));
            }
        }
        if self.datagrams == 0 {
            self.segment = len;
        }
        self.ends = len < self.segment;
        self.datagrams += 1;
        self.bytes += len;
        len
    }

    fn put(&mut self, bytes: &[u8]) {
        // CONTROL: the header of a datagram.
        self.arena[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Hands the train to the kernel, if there is one.
    fn leave(&mut self, reactor: &mut Reactor, Rails { fd, token, peer }: Rails<'_>) {
        if self.datagrams > 0 {
            let segment = u16::try_from(self.segment).expect("a datagram is under 64 KiB");
            // SAFETY: the ranges of the log stay valid until this shard's epoch advances, and the
            // arena is written again only in the next slice; both are after the next submit.
            unsafe { reactor.send_datagrams(fd, token, peer, &self.parts, segment) };
        }
        self.parts.clear();
        (self.segment, self.datagrams, self.bytes, self.ends) = (0, 0, 0, false);
    }
}

impl Shard {
    /// Queues the next trains of one player.
    pub(super) fn serve_datagrams(&mut self, slot: u32) -> Outcome {
        let Self { connections, readers, trains, ports, reactor, counters, config, now, .. } = self;
        let token = connections.token(slot);
        let Some(connection) = connections.get_mut(slot) else { return Outcome::Idle };
        let peer = SocketAddr::from(connection.peer);
        let Connection { session, role: Some(Establish::Play(role)), .. } = connection else {
            return Outcome::Idle;
        };
        let Some(reader) = readers.get(role.reader) else { return Outcome::Idle };
        let (Some(logs), Some(server)) = (reader.logs(), session.srt_mut()) else {
            return Outcome::Idle;
        };
        let Some(port) = ports.get(server.port()) else { return Outcome::Idle };
        let Some(playing) = server.playing_mut() else { return Outcome::Idle };
        let terms = PlayTerms {
            join: role.options.join,
            not_before: role.not_before,
            lag_max: config.egress.player_lag_max,
        };
        let rails = Rails { fd: port.fd.as_fd(), token, peer: &peer };
        let (mut bytes, mut more) = (0, true);
        let mut outcome = Outcome::Idle;
        while bytes < SEND_BYTES_MAX as usize && !trains.is_full() {
            match playing.cursor.poll(&mut playing.connection, logs, &terms, *now) {
                Due::Datagram(transmit, payload) => {
                    bytes += trains.add(reactor, rails, playing, (&transmit, &payload, logs));
                    counters.sends += 1;
                    continue;
                }
                Due::Jumped => {
                    counters.player_jumps += 1;
                    let (max, window) = (config.egress.jumps_max, config.egress.jump_window);
                    if role.jumps.allow(*now, max, window) {
                        continue;
                    }
                    outcome = Outcome::TooSlow;
                }
                Due::Ended if role.over.is_none() && playing.is_shown(*now) => {
                    outcome = Outcome::StreamEnded;
                }
                Due::Ended | Due::Nothing => {}
            }
            more = false;
            break;
        }
        trains.leave(reactor, rails);
        playing.ends = logs.ended().is_some();
        if !playing.cursor.has_joined() && !role.waiting {
            role.waiting = true;
            counters.joins_waiting += 1;
        }
        let needed = playing.cursor.needed_from(&playing.connection, logs);
        role.cursor = needed.map(|offset| Cursor { offset, version: 0, at_boundary: true });
        if bytes > 0 && role.opening == Opening::Unsent {
            counters.first_byte_us.observe_time(now.saturating_duration_since(role.accepted));
            role.opening = Opening::Behind;
        }
        self.datagrams_sent(slot, bytes, more);
        match outcome {
            Outcome::Idle if bytes > 0 => Outcome::Sent(bytes),
            outcome => outcome,
        }
    }

    /// So many bytes of datagrams are on their way.
    fn datagrams_sent(&mut self, slot: u32, bytes: usize, more: bool) {
        let Self { connections, counters, usage, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        if bytes > 0 {
            connection.progress(*now);
            connection.sent += bytes as u64;
            usage.sent(slot, bytes as u64);
            counters.bytes_sent += bytes as u64;
            counters.send_bytes.observe(bytes as u64);
        }
        if more {
            self.enqueue(slot, Class::CatchUp);
        }
        self.rearm(slot);
    }
}
