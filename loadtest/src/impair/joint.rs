//! A client's connection joined to one to the server, with a pipe in each direction.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::path::Path;
use super::relay::ImpairPlan;
use super::totals::ImpairSummary;
use crate::socket::{self, Interest, Poll, monotonic_ns};

/// Bytes that are read at once, and less if that many would take longer than [`PIECE_NS`] to pass.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// A packet of Ethernet without its headers: no piece is smaller for the sake of a rate.
const PIECE_BYTES_MIN: usize = 1448;

const PIECE_NS: u64 = 2_000_000;

/// Pieces that are read of a socket before others have their turn.
const BATCH_MAX: usize = 16;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on.
    Open,
    /// Both sides ended, and all was given on.
    Ended,
    /// It has had the bytes after which it is cut.
    Cut,
    /// One side failed, so the other one does.
    Failed,
}

/// One direction: what was read and is not due, or not written.
#[derive(Debug)]
struct Pipe {
    path: Path,
    /// Pieces with their times; the end of the stream is an empty one.
    pieces: VecDeque<(u64, Vec<u8>)>,
    /// Bytes of the first piece that are written.
    written: usize,
    held_bytes: u64,
    held_bytes_max: u64,
    piece_bytes: usize,
    /// Nothing more is to be read.
    ended: bool,
    /// The end was given on.
    finished: bool,
    /// The reader takes nothing now.
    blocked: bool,
}

/// The two connections.
#[derive(Debug)]
pub(super) struct Joint {
    client: u64,
    /// To the client, to the server.
    streams: [TcpStream; 2],
    /// What each is watched for. One that nothing is wanted from is not watched, because the end
    /// of a peer whose last bytes have to wait would be told again and again.
    interests: [Option<Interest>; 2],
    /// From the client, from the server.
    pipes: [Pipe; 2],
    cut_left: Option<u64>,
}

impl Joint {
    pub(super) fn new(
        plan: &ImpairPlan,
        client: u64,
        streams: [TcpStream; 2],
        poll: &Poll,
        now_ns: u64,
    ) -> io::Result<Self> {
        for (side, stream) in streams.iter().enumerate() {
            poll.add(stream, 2 * client + side as u64, Interest::ReadWrite)?;
        }
        let [up, down] = plan.paths(client, now_ns);
        let pipes = [(up, plan.up), (down, plan.down)].map(|(path, impairment)| {
            let of_rate =
                impairment.rate.map_or(u64::MAX, |rate| rate / 8 * PIECE_NS / 1_000_000_000);
            let piece_bytes = usize::try_from(of_rate).unwrap_or(usize::MAX);
            Pipe {
                path,
                pieces: VecDeque::new(),
                written: 0,
                held_bytes: 0,
                held_bytes_max: impairment.queue_bytes,
                piece_bytes: piece_bytes.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX),
                ended: false,
                finished: false,
                blocked: false,
            }
        });
        let interests = [Some(Interest::ReadWrite); 2];
        Ok(Self { client, streams, interests, pipes, cut_left: plan.cut_after })
    }

    pub(super) const fn count(&self, summary: &mut ImpairSummary) {
        summary.up.add(self.pipes[0].path.totals());
        summary.down.add(self.pipes[1].path.totals());
    }

    /// Does what a ready socket allows; the times of what was read are added to `due`.
    pub(super) fn ready(&mut self, side: usize, due: &mut Vec<u64>) -> Outcome {
        self.pipes[1 - side].blocked = false;
        match self.read(side, due) {
            Ok(()) => self.write_due(),
            Err(_) => Outcome::Failed,
        }
    }

    /// Gives on what is due in both directions.
    pub(super) fn write_due(&mut self) -> Outcome {
        let now_ns = monotonic_ns();
        let Self { streams: [client, server], pipes: [up, down], cut_left, .. } = self;
        for (pipe, to) in [(up, server), (down, client)] {
            match pipe.write_due(to, now_ns, cut_left) {
                Ok(()) if *cut_left == Some(0) => return Outcome::Cut,
                Ok(()) => {}
                Err(_) => return Outcome::Failed,
            }
        }
        let is_ended = self.pipes.iter().all(|pipe| pipe.finished);
        if is_ended { Outcome::Ended } else { Outcome::Open }
    }

    /// Watches each socket for what it can do something about.
    pub(super) fn watch(&mut self, poll: &Poll) -> io::Result<()> {
        for side in 0..2 {
            let wanted = match (self.pipes[side].has_room(), self.pipes[1 - side].blocked) {
                (true, true) => Some(Interest::ReadWrite),
                (true, false) => Some(Interest::Read),
                (false, true) => Some(Interest::Write),
                (false, false) => None,
            };
            let (stream, token) = (&self.streams[side], 2 * self.client + side as u64);
            match (self.interests[side], wanted) {
                (None, Some(wanted)) => poll.add(stream, token, wanted)?,
                (Some(_), None) => poll.remove(stream)?,
                (Some(now), Some(wanted)) if now != wanted => poll.modify(stream, token, wanted)?,
                _ => {}
            }
            self.interests[side] = wanted;
        }
        Ok(())
    }

    /// Both peers get a reset when this goes.
    pub(super) fn reset(&self) {
        for stream in &self.streams {
            // A socket that cannot be set is closed without a reset.
            let _ = socket::reset_on_close(stream);
        }
    }

    fn read(&mut self, side: usize, due: &mut Vec<u64>) -> io::Result<()> {
        let pipe = &mut self.pipes[side];
        let mut buffer = [0; PIECE_BYTES_MAX];
        for _ in 0..BATCH_MAX {
            if !pipe.has_room() {
                break;
            }
            let len = match self.streams[side].read(&mut buffer[..pipe.piece_bytes]) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let due_ns = pipe.path.admit_piece(monotonic_ns(), len);
            pipe.ended |= len == 0;
            pipe.held_bytes += len as u64;
            pipe.pieces.push_back((due_ns, buffer[..len].to_vec()));
            due.push(due_ns);
        }
        Ok(())
    }
}

impl Pipe {
    const fn has_room(&self) -> bool {
        !self.ended && self.held_bytes < self.held_bytes_max
    }

    fn write_due(
        &mut self,
        to: &mut TcpStream,
        now_ns: u64,
        cut_left: &mut Option<u64>,
    ) -> io::Result<()> {
        while !self.blocked
            && *cut_left != Some(0)
            && let Some((_, piece)) = self.pieces.front().filter(|(due_ns, _)| *due_ns <= now_ns)
        {
            if piece.is_empty() {
                to.shutdown(Shutdown::Write)?;
                self.finished = true;
                self.pieces.pop_front();
                continue;
            }
            let rest = &piece[self.written..];
            let allowed =
                cut_left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            match to.write(&rest[..rest.len().min(allowed)]) {
                Ok(taken) => {
                    *cut_left = cut_left.map(|left| left - taken as u64);
                    self.written += taken;
                    self.held_bytes -= taken as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.written == piece.len() {
                self.path.forwarded(self.written);
                self.written = 0;
                self.pieces.pop_front();
            }
        }
        Ok(())
    }
}
