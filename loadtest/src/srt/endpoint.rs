//! A caller with its socket.
//!
//! Lives on: the thread of its [`Poll`].
//!
//! Limits: [`READS_MAX`] reads before others have their turn.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;

use anyhow::Result;

use super::caller::{Caller, Told};
use super::link::Link;
use super::outbox::Outbox;
use super::target::SrtTarget;
use crate::connection::Route;
use crate::socket::{self, Interest, Poll, monotonic_ns};

/// Reads before others have their turn.
const READS_MAX: usize = 16;

/// Room for bursts in the socket, as far as the kernel allows.
const SOCKET_BYTES: usize = 1 << 20;

/// One connection over a socket of its own. When it is dropped, the server is told.
#[derive(Debug)]
pub struct Endpoint {
    socket: UdpSocket,
    caller: Caller,
    out: Outbox,
    opened_ns: u64,
    released: Vec<u8>,
    received: u64,
}

impl Endpoint {
    /// Starts to call, watched by `poll`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(route: &Route, target: &SrtTarget, token: u64, poll: &Poll) -> io::Result<Self> {
        let socket = route.datagrams()?;
        socket::buffers(&socket, SOCKET_BYTES)?;
        socket::gather_datagrams(&socket);
        let caller = Caller::new(target, route.addr.ip(), &socket::random()?);
        let mut endpoint = Self {
            socket,
            caller: caller.map_err(io::Error::other)?,
            out: Outbox::default(),
            opened_ns: monotonic_ns(),
            released: Vec::new(),
            received: 0,
        };
        poll.add(&endpoint.socket, token, Interest::Read)?;
        endpoint.tick().map_err(io::Error::other)?;
        Ok(endpoint)
    }

    /// Reads what has come, into a buffer with room for a train at least; what it released stands
    /// in [`Self::take_released`]. Stops early when the server has decided.
    ///
    /// # Errors
    /// What the kernel says; if the server ends the connection, or breaks the protocol.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Told> {
        for _ in 0..READS_MAX {
            let trains = socket::receive_trains(&self.socket, buffer)?;
            let now_us = self.now_us();
            let mut decided = Told::Nothing;
            for train in trains.iter() {
                self.received += train.len as u64;
                for datagram in train.datagrams(buffer) {
                    let Self { caller, out, released, .. } = self;
                    let told = caller.take(datagram, now_us, out, released)?;
                    if told != Told::Nothing {
                        decided = told;
                    }
                }
            }
            self.flush()?;
            if decided != Told::Nothing {
                return Ok(decided);
            }
            if !trains.is_full {
                break;
            }
        }
        Ok(Told::Nothing)
    }

    /// Time has passed.
    ///
    /// # Errors
    /// What the kernel says; if the server does not answer, or has been silent for too long.
    pub fn tick(&mut self) -> Result<()> {
        let now_us = self.now_us();
        let Self { caller, out, released, .. } = self;
        caller.tick(now_us, out, released)?;
        Ok(self.flush()?)
    }

    /// The connection, once the server has agreed to it.
    pub fn link(&mut self) -> Option<&mut Link> {
        self.caller.link()
    }

    /// Sends payloads; false if there is no room for all of them, and then for none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send<'a>(
        &mut self,
        payloads: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> io::Result<bool> {
        let now_us = self.now_us();
        let Self { caller, out, .. } = self;
        let Some(link) = caller.link().filter(|link| link.room() >= payloads.len()) else {
            return Ok(false);
        };
        payloads.for_each(|payload| link.send(payload, now_us, out));
        self.flush()?;
        Ok(true)
    }

    /// The bytes that were released since this was last asked, into an empty buffer.
    pub fn take_released(&mut self, into: &mut Vec<u8>) {
        into.clear();
        std::mem::swap(&mut self.released, into);
    }

    /// Bytes of datagrams that came since this was last asked.
    pub const fn take_received(&mut self) -> u64 {
        std::mem::replace(&mut self.received, 0)
    }

    /// Watches no more, so that no packet wakes this thread; packets are only counted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn quieten(&mut self, poll: &Poll) -> io::Result<()> {
        poll.remove(&self.socket)?;
        self.released = Vec::new();
        if let Some(link) = self.caller.link() {
            link.only_count();
        }
        Ok(())
    }

    fn now_us(&self) -> u64 {
        (monotonic_ns() - self.opened_ns) / 1_000
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = self.out.datagrams().try_for_each(|datagram| {
            match self.socket.send(datagram) {
                // What the kernel has no room for is lost, as it may be on any way.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => Ok(()),
                other => other.map(|_| ()),
            }
        });
        self.out.clear();
        sent
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let now_us = self.now_us();
        self.caller.close(now_us, &mut self.out);
        // What a server makes of a lost goodbye is its own business.
        let _ = self.flush();
    }
}
