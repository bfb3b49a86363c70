//! One end of a trial: it is given bytes, or gives what came.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::cell::{Key, Peer};
use crate::content::{Content, PACKET};
use crate::ours::Ours;
use crate::program::Program;

/// What an end waits before it gives up a packet.
pub(crate) const LATENCY_MS: u64 = 400;
pub(crate) const SECRET: &str = "a-secret-of-both";

/// Where an end is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Calls(SocketAddr),
    IsCalledAt(SocketAddr),
}

/// What an end has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) place: Place,
    pub(crate) sends: bool,
    pub(crate) key: Key,
    /// Packets of the stream.
    pub(crate) packets: u64,
}

impl Task {
    /// Packets that one key encrypts, and those before its use that it is told: keys change in the
    /// middle of each stream, half a second after they are told.
    pub(crate) const fn refresh(self) -> [u64; 2] {
        [self.packets / 2, self.packets / 5]
    }
}

enum Who {
    Ours(Ours),
    Program(Program),
}

/// One end.
pub(crate) struct End {
    who: Who,
    came: Receiver<Vec<u8>>,
    output: Vec<u8>,
}

impl End {
    pub(crate) fn start(peer: Peer, task: Task, content: &Arc<Content>) -> Self {
        let (who, came) = if peer == Peer::Ours {
            let (ours, came) = Ours::start(task, Arc::clone(content));
            (Who::Ours(ours), came)
        } else {
            let (program, came) = Program::start(peer, task);
            (Who::Program(program), came)
        };
        Self { who, came, output: Vec::new() }
    }

    /// Whether it is connected; `None` if it does not tell.
    pub(crate) fn is_connected(&self) -> Option<bool> {
        match &self.who {
            Who::Ours(ours) => Some(ours.is_connected()),
            Who::Program(_) => None,
        }
    }

    /// The version that the peer of our session told.
    pub(crate) fn peer_version(&self) -> Option<u32> {
        match &self.who {
            Who::Ours(ours) => ours.peer_version(),
            Who::Program(_) => None,
        }
    }

    /// Gives it what comes before `end`, if it does not have it.
    pub(crate) fn give(&mut self, content: &Content, end: usize) -> std::io::Result<()> {
        match &mut self.who {
            Who::Ours(ours) => ours.offer(end),
            Who::Program(program) => program.write(&content.bytes()[..end])?,
        }
        Ok(())
    }

    /// Gives a program its first packet: some call nobody before they have read something.
    pub(crate) fn prime(&mut self, content: &Content) -> std::io::Result<()> {
        if let Who::Program(program) = &mut self.who {
            program.write(&content.bytes()[..PACKET])?;
        }
        Ok(())
    }

    /// Waits so long for more that came; true if something did.
    pub(crate) fn wait(&mut self, time: Duration) -> bool {
        match self.came.recv_timeout(time) {
            Ok(bytes) => {
                self.output.extend_from_slice(&bytes);
                self.output.extend(self.came.try_iter().flatten());
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            // Who is over says nothing more, and time passes all the same.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::park_timeout(time);
                false
            }
        }
    }

    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Why it is over, if it is.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match &mut self.who {
            Who::Ours(ours) => ours.ended(),
            Who::Program(program) => program.ended(),
        }
    }
}

/// An address on which nobody listens.
pub(crate) fn free_addr() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
