//! Trains: what a player in datagrams is sent of its log, several datagrams in one system call.
//!
//! Shape: each datagram is a header of 16 bytes in the arena and ranges of the log, or all of it in
//! the arena where it is encrypted or private. Those of one size, and a last one that is shorter,
//! are one train. What the protocol itself says is a train of one datagram.
//! In/Out: nothing of the log is copied but what is encrypted. The arena is used again after each
//! submit: every send ends inside its own.
//! Limits: [`ARENA_BYTES`]; [`SEND_BYTES_MAX`] of one player at a time. What becomes of a train is
//! told in `departures.rs`.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use codecs::srt::{HEADER_BYTES, PACKET_BYTES_MAX};
use codecs::writer::Writer;

use super::connection::{Connection, Establish};
use super::cursor::{Cursor, SEND_BYTES_MAX};
use super::departures::Departures;
use super::egress::class_of_rest;
use super::plan::Outcome;
use super::shard::Shard;
use crate::log::{RangeList, Succession};
use crate::package::{Due, Payload, PlayTerms};
use crate::reactor::{
    Reactor, SendPart, TRAIN_BYTES_MAX, TRAIN_DATAGRAMS_MAX, TRAIN_PARTS_MAX, Token,
};
use crate::session::srt::{DataTransmit, Playing, Returned, Scratch};

/// Bytes of headers and of what is encrypted of one submit at most.
const ARENA_BYTES: usize = 512 << 10;
/// Parts of one datagram at most: its header and a range in each of two pages.
const PARTS_PER_DATAGRAM: usize = 3;
/// Bytes of one train at most.
const BYTES_MAX: usize = if (SEND_BYTES_MAX as usize) < TRAIN_BYTES_MAX {
    SEND_BYTES_MAX as usize
} else {
    TRAIN_BYTES_MAX
};

/// What the sends of one submit borrow from, and the train that is being made. Lives on: its shard.
#[derive(Debug, Default)]
pub(super) struct Trains {
    arena: Box<[u8]>,
    at: usize,
    train: Train,
    pub departures: Departures,
    /// Scratch of an answer: what did not leave.
    pub rest: Vec<Returned>,
}

/// A train that is being made.
#[derive(Debug, Default)]
struct Train {
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
pub(super) struct Rails<'a> {
    pub fd: BorrowedFd<'a>,
    pub port: u8,
    pub token: Token,
    pub peer: &'a SocketAddr,
}

impl Train {
    /// True if a datagram of `len` bytes cannot be its next one.
    const fn is_over(&self, len: usize) -> bool {
        let fits = self.datagrams < TRAIN_DATAGRAMS_MAX
            && self.parts.len() + PARTS_PER_DATAGRAM <= TRAIN_PARTS_MAX
            && self.bytes + len <= BYTES_MAX;
        self.datagrams > 0 && (self.ends || len > self.segment || !fits)
    }

    /// Its next datagram has `len` bytes.
    const fn count(&mut self, len: usize) {
        if self.datagrams == 0 {
            self.segment = len;
        }
        self.ends = len < self.segment;
        self.datagrams += 1;
        self.bytes += len;
    }

    fn clear(&mut self) {
        self.parts.clear();
        (self.segment, self.datagrams, self.bytes, self.ends) = (0, 0, 0, false);
    }
}

impl Trains {
    /// Room for the players of a shard that has ports.
    fn with_arena() -> Self {
        let arena = vec![0; ARENA_BYTES].into_boxed_slice();
        let train = Train { parts: Vec::with_capacity(TRAIN_PARTS_MAX), ..Train::default() };
        Self { arena, train, ..Self::default() }
    }

    /// Sees to it that datagrams can be sent.
    pub(super) fn make_room(&mut self) {
        if !self.has_arena() {
            *self = Self::with_arena();
        }
    }

    const fn has_arena(&self) -> bool {
        !self.arena.is_empty()
    }

    /// A submit is over: what was sent is in the kernel's hands.
    pub(super) const fn clear(&mut self) {
        self.at = 0;
    }

    /// True if no more datagrams may be made before the next submit.
    pub(super) const fn is_full(&self) -> bool {
        self.has_arena() && self.at + PACKET_BYTES_MAX > self.arena.len()
    }

    /// Adds a datagram of a player; gives its bytes, and none if it is gone.
    fn load(
        &mut self,
        Playing { connection, cursor, .. }: &Playing,
        logs: &Succession,
        transmit: &DataTransmit,
        payload: &Payload,
    ) -> usize {
        let len = payload.len();
        let is_there = match payload {
            Payload::Log(ranges) if transmit.key.is_none() => {
                self.add(transmit, ranges);
                true
            }
            // The writer of its log, on another core, may have let go of it since.
            Payload::Log(_) | Payload::Entrance(_) => self.add_written(transmit, len, |place| {
                let is_read = cursor.index(logs).read(transmit.number, place) == Some(len);
                connection.encrypt(transmit, place);
                is_read
            }),
            Payload::Splice(splice) => self.add_written(transmit, len, |place| {
                splice.encode(&mut Writer::new(place));
                connection.encrypt(transmit, place);
                true
            }),
        };
        if is_there { HEADER_BYTES + len } else { 0 }
    }

    /// Adds a datagram of a push behind its header, which may be empty; gives its bytes, and none
    /// if it is gone.
    pub(super) fn load_push(
        &mut self,
        header: &[u8],
        number: u64,
        payload: &Payload,
        read: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> usize {
        let (start, len) = (self.at, payload.len());
        self.put(header);
        let mut ranges = &[][..];
        match payload {
            Payload::Log(list) => ranges = list.as_slice(),
            Payload::Splice(_) | Payload::Entrance(_) => {
                // The writer of its log, on another core, may have let go of it since.
                if read(&mut self.arena[self.at..self.at + len]) != Some(len) {
                    self.at = start;
                    return 0;
                }
                self.at += len;
            }
        }
        if self.at > start {
            self.train.parts.push(SendPart::new(&self.arena[start..self.at]));
        }
        let parts = ranges.iter().map(|range| SendPart { ptr: range.ptr, len: range.len });
        self.train.parts.extend(parts);
        self.train.count(header.len() + len);
        self.departures.enter(Returned { number, len, retransmitted: false }, header.len());
        header.len() + len
    }

    /// Hands the train over if a datagram of so many bytes cannot be its next one.
    pub(super) fn make_way(&mut self, reactor: &mut Reactor, rails: Rails<'_>, len: usize) {
        if self.train.is_over(len) {
            self.leave(reactor, rails);
        }
    }

    /// Adds a datagram whose payload lies in the log.
    fn add(&mut self, transmit: &DataTransmit, payload: &RangeList) {
        let start = self.at;
        self.put(&transmit.header);
        self.train.parts.push(SendPart::new(&self.arena[start..self.at]));
        let ranges = payload.as_slice().iter();
        let parts = ranges.clone().map(|range| SendPart { ptr: range.ptr, len: range.len });
        self.train.parts.extend(parts);
        self.enter(transmit, ranges.map(|range| range.len as usize).sum());
    }

    /// Adds a datagram whose payload of `len` bytes is written; false if it cannot be.
    fn add_written(
        &mut self,
        transmit: &DataTransmit,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> bool,
    ) -> bool {
        let start = self.at;
        self.put(&transmit.header);
        if !write(&mut self.arena[self.at..self.at + len]) {
            self.at = start;
            return false;
        }
        self.at += len;
        self.train.parts.push(SendPart::new(&self.arena[start..self.at]));
        self.enter(transmit, len);
        true
    }

    fn put(&mut self, bytes: &[u8]) {
        // CONTROL: the header of a datagram.
        self.arena[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// A datagram with so much payload is in the train.
    fn enter(&mut self, transmit: &DataTransmit, len: usize) {
        self.train.count(HEADER_BYTES + len);
        let DataTransmit { number, retransmitted, .. } = *transmit;
        self.departures.enter(Returned { number, len, retransmitted }, HEADER_BYTES);
    }

    /// Hands the train to the kernel, if there is one.
    pub(super) fn leave(&mut self, reactor: &mut Reactor, rails: Rails<'_>) {
        let Self { train, departures, .. } = self;
        if train.datagrams > 0 {
            let segment = u16::try_from(train.segment).expect("a datagram is under 64 KiB");
            let Rails { fd, port, token, peer } = rails;
            departures.leave(token, port, train.datagrams);
            // SAFETY: the ranges of the log stay valid until this shard's epoch advances, and the
            // arena is written again only when it was cleared; both are after the next submit.
            unsafe { reactor.send_datagrams(fd, token, peer, &train.parts, segment) };
        }
        train.clear();
    }

    /// Room for one datagram that the protocol itself has to say, unless it is full.
    pub(super) fn scratch(&mut self) -> Option<&mut Scratch> {
        self.arena.get_mut(self.at..self.at + PACKET_BYTES_MAX)?.try_into().ok()
    }

    /// Sends the `len` bytes that were written to the scratch.
    pub(super) fn say(&mut self, reactor: &mut Reactor, rails: Rails<'_>, len: usize) {
        let part = SendPart::new(&self.arena[self.at..self.at + len]);
        self.at += len;
        let segment = u16::try_from(len).expect("a datagram is under 64 KiB");
        let Rails { fd, port, token, peer } = rails;
        self.departures.leave(token, port, 0);
        // SAFETY: the arena is written again only when it was cleared, after the next submit.
        unsafe { reactor.send_datagrams(fd, token, peer, &[part], segment) };
    }
}

impl Shard {
    /// Hands everything that is queued to the kernel, and so the arena is free again.
    pub(super) fn submit(&mut self) {
        self.reactor.submit();
        self.trains.clear();
    }

    /// Queues the next trains of one player.
    pub(super) fn serve_datagrams(&mut self, slot: u32) -> Outcome {
        if self.connections.get(slot).is_some_and(|c| c.session.push().is_some()) {
            return self.serve_push(slot);
        }
        if self.waits_for_room(slot) {
            return Outcome::Idle;
        }
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
        let seen = (logs, &reader.trail);
        let port = server.port();
        let Some(fd) = ports.get(port).map(|port| port.fd.as_fd()) else { return Outcome::Idle };
        let Some(playing) = server.playing_mut() else { return Outcome::Idle };
        let terms = PlayTerms {
            join: role.options.join,
            not_before: role.not_before,
            lag_max: config.egress.player_lag_max,
        };
        let rails = Rails { fd, port, token, peer: &peer };
        let (mut bytes, mut more) = (0, true);
        let mut outcome = Outcome::Idle;
        while bytes < SEND_BYTES_MAX as usize && !trains.is_full() {
            match playing.cursor.poll(&mut playing.connection, seen, &terms, *now) {
                Due::Datagram(transmit, payload) => {
                    trains.make_way(reactor, rails, HEADER_BYTES + payload.len());
                    bytes += trains.load(playing, logs, &transmit, &payload);
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
        let class = class_of_rest(connection);
        if more {
            self.enqueue(slot, class);
        }
        self.rearm(slot);
        match outcome {
            Outcome::Idle if bytes > 0 => Outcome::Sent(bytes),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;

    use codecs::srt::{KeySlot, PAYLOAD_BYTES_MAX, SeqNumber};
    use proptest::prelude::*;

    use super::*;
    use crate::log::RawRange;
    use crate::reactor::{Completion, ReactorConfig, UdpOptions, local_addr, udp_socket};

    const PLAYER: Token = Token::new(200, 3);

    fn transmit(number: u64) -> DataTransmit {
        let header = [number.to_le_bytes()[0]; HEADER_BYTES];
        let (key, sequence) = (Some(KeySlot::Even), SeqNumber::new(1));
        DataTransmit { number, header, key, sequence, retransmitted: number.is_multiple_of(3) }
    }

    /// What a datagram is made of.
    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Log,
        Written,
        Gone,
    }

    /// Trains, and both ends of their way.
    struct Rig {
        trains: Trains,
        reactor: Reactor,
        from: OwnedFd,
        to: OwnedFd,
        addr: SocketAddr,
        /// The bytes of the log, for as long as the sends.
        log: Box<[u8]>,
        /// Datagrams that were put in a train, and those that left.
        put: Vec<Vec<u8>>,
        left: usize,
    }

    impl Rig {
        fn new() -> Self {
            let config = ReactorConfig { datagram_buffers: 64, ..ReactorConfig::default() };
            let reactor = Reactor::new(&config).unwrap().0;
            let options = UdpOptions::default();
            let [from, to] =
                [(); 2].map(|()| udp_socket(&"127.0.0.1:0".parse().unwrap(), &options).unwrap());
            let addr = local_addr(to.as_fd()).unwrap();
            let log = (0..PAYLOAD_BYTES_MAX).map(|at| (at * 7 + at / 256) as u8).collect();
            let (trains, put) = (Trains::with_arena(), Vec::new());
            Self { trains, reactor, from, to, addr, log, put, left: 0 }
        }

        fn put(&mut self, kind: Kind, len: usize) {
            let Self { trains, reactor, from, addr, log, put, .. } = self;
            let rails = Rails { fd: from.as_fd(), port: 0, token: PLAYER, peer: addr };
            if trains.train.is_over(HEADER_BYTES + len) {
                trains.leave(reactor, rails);
            }
            let transmit = transmit(put.len() as u64);
            match kind {
                Kind::Log => {
                    let mut ranges = RangeList::new();
                    let (first, second) = log[..len].split_at(len / 3);
                    for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                        let (ptr, len) = (part.as_ptr(), u32::try_from(part.len()).unwrap());
                        assert!(ranges.push(RawRange { ptr, len }));
                    }
                    trains.add(&transmit, &ranges);
                }
                Kind::Written => assert!(trains.add_written(&transmit, len, |place| {
                    place.copy_from_slice(&log[..len]);
                    true
                })),
                Kind::Gone => {
                    let before = trains.at;
                    assert!(!trains.add_written(&transmit, len, |place| {
                        place.fill(0xee);
                        false
                    }));
                    assert_eq!(trains.at, before, "its room is free again");
                    return;
                }
            }
            put.push([&transmit.header[..], &log[..len]].concat());
        }

        /// Lets what is in a train leave; every answer says that all of it did.
        fn submit(&mut self) {
            let Self { trains, reactor, from, addr, .. } = self;
            let rails = Rails { fd: from.as_fd(), port: 0, token: PLAYER, peer: addr };
            trains.leave(reactor, rails);
            reactor.submit();
            trains.clear();
            let mut received = Vec::new();
            let (expected, mut answered) = (&self.put[self.left..], 0);
            let bytes: usize = expected.iter().map(Vec::len).sum();
            while answered < bytes {
                match reactor.next_completion() {
                    Some(Completion::TrainSent { token: PLAYER, bytes }) => {
                        let sent = bytes as usize;
                        let port = trains.departures.answer(PLAYER, sent, &mut trains.rest);
                        assert_eq!((port, trains.rest.len()), (Some((0, true)), 0));
                        answered += sent;
                    }
                    Some(Completion::Datagrams { buf, .. }) => {
                        received.extend(reactor.datagrams(&buf).map(<[u8]>::to_vec));
                        reactor.release_datagrams(buf);
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(trains.departures.of(PLAYER), 0);
            while received.len() < expected.len() {
                match reactor.next_completion() {
                    Some(Completion::Datagrams { buf, .. }) => {
                        received.extend(reactor.datagrams(&buf).map(<[u8]>::to_vec));
                        reactor.release_datagrams(buf);
                    }
                    None => reactor.submit_and_wait(None),
                    other => panic!("{other:?}"),
                }
            }
            assert!(received == expected, "{} of {}", received.len(), expected.len());
            self.left = self.put.len();
        }

        fn receive(mut self) -> Self {
            self.reactor.recv_datagrams_start(self.to.as_fd(), Token::new(1, 0));
            self
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_datagram_leaves_as_it_was_made(
            datagrams in prop::collection::vec(
                (
                    prop::sample::select(vec![Kind::Log, Kind::Log, Kind::Written, Kind::Gone]),
                    prop::sample::select(vec![188, 376, 1_316, 1_316, 1_316, 1, 1_000]),
                ),
                1..200,
            ),
        ) {
            let mut rig = Rig::new().receive();
            for (at, (kind, len)) in datagrams.into_iter().enumerate() {
                rig.put(kind, len);
                if at % 70 == 69 {
                    rig.submit();
                }
            }
            rig.submit();
        }
    }

    #[test]
    fn a_full_arena_ends_a_slice_and_no_datagram_is_overwritten() {
        let mut rig = Rig::new();
        let mut count = 0;
        while !rig.trains.is_full() {
            rig.put(Kind::Written, 1_316);
            count += 1;
        }
        assert_eq!(count, (ARENA_BYTES - PACKET_BYTES_MAX) / 1_332 + 1);
        let Rig { trains, put, .. } = &rig;
        let lie = trains.arena[..trains.at].chunks(1_332);
        assert!(lie.eq(put.iter().map(Vec::as_slice)));
        assert!(rig.trains.scratch().is_none());
        rig.reactor.submit();
        rig.trains.clear();
        assert!(rig.trains.scratch().is_some());
    }

    #[test]
    fn no_size_of_datagrams_makes_a_train_too_long() {
        for len in 1..=PAYLOAD_BYTES_MAX {
            let mut rig = Rig::new();
            for _ in 0..70 {
                rig.put(Kind::Log, len);
            }
            rig.put(Kind::Log, len / 2 + 1);
            let rails = Rails { fd: rig.from.as_fd(), port: 0, token: PLAYER, peer: &rig.addr };
            rig.trains.leave(&mut rig.reactor, rails);
            rig.reactor.submit();
            let mut rest = Vec::new();
            while let Some(completion) = rig.reactor.next_completion() {
                let Completion::TrainSent { bytes, .. } = completion else {
                    panic!("{len}: {completion:?}")
                };
                rig.trains.departures.answer(PLAYER, bytes as usize, &mut rest).unwrap();
            }
            assert_eq!((rig.trains.departures.of(PLAYER), rest.len()), (0, 0), "{len}");
        }
    }
}
