//! A socket with the bytes that it could not send yet, and TLS around it if there is.
//!
//! Lives on: the thread of its [`Poll`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};

use anyhow::Result;
use rustls::client::ClientConnection;

use crate::socket::{self, Dial, Interest, Poll};
use crate::stream_url::StreamUrl;
use crate::tls::{TlsPeer, Trust};

/// Addresses of this machine that connections to itself come from at most: each has some 28,000
/// ports for a server's port.
pub const SOURCES_MAX: u8 = 64;

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub struct Route {
    /// The address.
    pub addr: SocketAddr,
    tls: Option<TlsPeer>,
    /// Where connections come from; the kernel chooses until it has no port left.
    from: Option<Ipv4Addr>,
    /// Bytes that the kernel keeps unread for a connection; it chooses without.
    receive_buffer: Option<usize>,
}

impl Route {
    /// The way to the server of a stream.
    ///
    /// # Errors
    /// If it has no address, or its certificate could not be checked.
    pub fn to(url: &StreamUrl, trust: &Trust) -> Result<Self> {
        let tls = url.is_tls.then(|| TlsPeer::new(&url.host, trust)).transpose()?;
        Ok(Self { addr: url.resolve()?, tls, from: None, receive_buffer: None })
    }

    /// The same way, with so many bytes kept unread by the kernel.
    #[must_use]
    pub const fn with_receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Has connections come from the next address of this machine, after the ports of the one
    /// before have run out; false if there is none.
    pub const fn use_next_source(&mut self) -> bool {
        let IpAddr::V4(to) = self.addr.ip() else { return false };
        let last = match self.from {
            Some(from) => from.octets()[3],
            None => 1,
        };
        if !to.is_loopback() || last >= SOURCES_MAX {
            return false;
        }
        self.from = Some(Ipv4Addr::new(127, 0, 0, last + 1));
        true
    }

    /// A socket for datagrams to the server and from it alone.
    ///
    /// # Errors
    /// What the kernel says; [`ErrorKind::AddrNotAvailable`] if an address has no port left.
    pub fn datagrams(&self) -> io::Result<UdpSocket> {
        let from = match (self.addr, self.from) {
            (SocketAddr::V4(_), from) => IpAddr::V4(from.unwrap_or(Ipv4Addr::UNSPECIFIED)),
            (SocketAddr::V6(_), _) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((from, 0)).map_err(|error| match error.kind() {
            // So the kernel says that each port is taken.
            ErrorKind::AddrInUse => io::Error::from(ErrorKind::AddrNotAvailable),
            _ => error,
        })?;
        socket.set_nonblocking(true)?;
        socket.connect(self.addr)?;
        Ok(socket)
    }
}

/// One connection, watched by a [`Poll`] for as long as [`Self::unwatch`] is not called.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    token: u64,
    out: Vec<u8>,
    sent: usize,
    interest: Option<Interest>,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that came from the socket since they were last asked for.
    received: u64,
}

impl Connection {
    /// Starts to connect.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(route: &Route, token: u64, poll: &Poll) -> io::Result<Self> {
        let tls = route.tls.as_ref().map(TlsPeer::connect).transpose();
        let tls = tls.map_err(io::Error::other)?.map(Box::new);
        let Route { addr, from, receive_buffer, .. } = *route;
        let stream = socket::connect(Dial { to: addr, from, receive_buffer })?;
        poll.add(&stream, token, Interest::ReadWrite)?;
        let interest = Some(Interest::ReadWrite);
        Ok(Self { stream, token, out: Vec::new(), sent: 0, interest, tls, received: 0 })
    }

    /// Where to append what is to be sent by the next [`Self::flush`].
    pub const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What its readiness is told by.
    #[must_use]
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// Whether what comes is encrypted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Bytes that are not sent yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        let encrypted = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        self.out.len() - self.sent + usize::from(encrypted)
    }

    /// Bytes that the socket gave since this was last asked, headers of TLS included.
    pub const fn take_received(&mut self) -> u64 {
        std::mem::replace(&mut self.received, 0)
    }

    /// Sends what the socket takes, and watches for room if it does not take all.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn flush(&mut self, poll: &Poll) -> io::Result<()> {
        match &mut self.tls {
            None => self.flush_plain()?,
            Some(tls) => {
                tls.writer().write_all(&self.out)?;
                self.out.clear();
                flush_tls(tls, &mut self.stream)?;
            }
        }
        let wanted = if self.backlog() == 0 { Interest::Read } else { Interest::ReadWrite };
        if self.interest.is_some_and(|interest| interest != wanted) {
            poll.modify(&self.stream, self.token, wanted)?;
            self.interest = Some(wanted);
        }
        Ok(())
    }

    fn flush_plain(&mut self) -> io::Result<()> {
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
        Ok(())
    }

    /// Reads into `buffer`: `None` if nothing is there, 0 if the peer ended.
    ///
    /// # Errors
    /// What the kernel or TLS says; a connection that was refused tells it here.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Self { stream, tls, received, .. } = self;
        let Some(tls) = tls else {
            let len = would_block_is_none(stream.read(buffer))?;
            *received += len.unwrap_or(0) as u64;
            return Ok(len);
        };
        loop {
            match tls.reader().read(buffer) {
                // A peer that ends without saying so is no worse than one without TLS.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Some(0)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other.map(Some),
            }
            let Some(len) = would_block_is_none(tls.read_tls(stream))? else { return Ok(None) };
            *received += len as u64;
            let processed = tls.process_new_packets();
            // An alert that says what is wrong goes out before the end.
            flush_tls(tls, stream)?;
            processed.map_err(io::Error::other)?;
            if len == 0 {
                return Ok(Some(0));
            }
        }
    }

    /// Throws `most` received bytes away inside the kernel. After that nothing can be decrypted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn discard(&self, most: u64) -> io::Result<socket::Discarded> {
        socket::discard_most(&self.stream, most)
    }

    /// Wakes for so many bytes at the earliest.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wake_at(&self, bytes: usize) -> io::Result<()> {
        socket::receive_low_water(&self.stream, bytes)
    }

    /// Watches for the end only, so that no packet wakes this thread; what is unsent waits until it
    /// is flushed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn watch_end(&mut self, poll: &Poll) -> io::Result<()> {
        if self.interest.take().is_some() {
            poll.modify(&self.stream, self.token, Interest::End)?;
        }
        Ok(())
    }

    /// Ends it from this side, too; it is watched no more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn leave(&mut self, poll: &Poll) -> io::Result<()> {
        self.out.clear();
        self.sent = 0;
        // The peer may have gone entirely; then there is nothing to end.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.unwatch(poll)
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

/// Whether an error says that the peer has ended the connection.
#[must_use]
pub fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

fn flush_tls(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn would_block_is_none(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(len) => Ok(Some(len)),
        // An interrupted call is repeated when the socket is looked at again.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
