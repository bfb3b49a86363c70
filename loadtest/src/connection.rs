//! A socket with the bytes that it could not send yet.
//!
//! Lives on: the thread of its [`Poll`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::socket::{self, Interest, Poll};

/// One connection, watched by a [`Poll`] for as long as [`Self::unwatch`] is not called.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    token: u64,
    out: Vec<u8>,
    sent: usize,
    interest: Option<Interest>,
}

impl Connection {
    /// Starts to connect.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(addr: SocketAddr, token: u64, poll: &Poll) -> io::Result<Self> {
        let stream = socket::connect(addr)?;
        poll.add(&stream, token, Interest::ReadWrite)?;
        let interest = Some(Interest::ReadWrite);
        Ok(Self { stream, token, out: Vec::new(), sent: 0, interest })
    }

    /// Where to append what is to be sent by the next [`Self::flush`].
    pub const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that are not sent yet.
    #[must_use]
    pub const fn backlog(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Sends what the socket takes, and watches for room if it does not take all.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn flush(&mut self, poll: &Poll) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(taken) => self.sent += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        } else if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        let wanted = if self.out.is_empty() { Interest::Read } else { Interest::ReadWrite };
        if self.interest.is_some_and(|interest| interest != wanted) {
            poll.modify(&self.stream, self.token, wanted)?;
            self.interest = Some(wanted);
        }
        Ok(())
    }

    /// Reads into `buffer`: `None` if nothing is there, 0 if the peer ended.
    ///
    /// # Errors
    /// What the kernel says; a connection that was refused tells it here.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Throws received bytes away inside the kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn discard(&self) -> io::Result<socket::Discarded> {
        socket::discard(&self.stream)
    }

    /// Watches no more, so that no packet wakes this thread; the buffer is given back.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unwatch(&mut self, poll: &Poll) -> io::Result<()> {
        if self.interest.take().is_some() {
            poll.remove(&self.stream)?;
        }
        self.out.shrink_to_fit();
        Ok(())
    }
}
