//! The kernel's calls about sockets: connecting, readiness, discarding; the clock, and the limit of
//! open files. The only unsafe code of the crate.
//!
//! Lives on: each [`Poll`] and its sockets on one thread.

mod chance;
mod datagrams;
mod exact_wait;
mod interrupt;
mod options;
mod terminal;
mod thread;

pub use chance::random;
pub use datagrams::{TRAIN_BYTES_MAX, TRAINS_MAX, Train, Trains, gather_datagrams, receive_trains};
pub use interrupt::{interrupted, watch_interrupt};
pub use options::{buffers, reset_on_close};
pub use terminal::columns;
pub use thread::{affinity, pin, thread_cpu_ns};

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// Bytes that one call discards at most.
const DISCARD_BYTES_MAX: usize = 1 << 20;

/// Readiness that one call tells at most.
const EVENTS_MAX: usize = 1024;

/// How to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Where to.
    pub to: SocketAddr,
    /// The address to connect from; the kernel chooses without.
    pub from: Option<Ipv4Addr>,
    /// Bytes that the kernel keeps unread; it chooses without.
    pub receive_buffer: Option<usize>,
}

impl From<SocketAddr> for Dial {
    fn from(to: SocketAddr) -> Self {
        Self { to, from: None, receive_buffer: None }
    }
}

/// Starts to connect, without waiting; the socket is writable when it is done.
///
/// # Errors
/// What the kernel says.
pub fn connect(dial: impl Into<Dial>) -> io::Result<TcpStream> {
    let Dial { to: addr, from, receive_buffer } = dial.into();
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointer; the descriptor that it returns belongs to nobody else.
    let fd = unsafe {
        let fd = check(libc::socket(family, kind, 0))?;
        OwnedFd::from_raw_fd(fd)
    };
    if let Some(bytes) = receive_buffer {
        // The window is agreed on when the connection is made, so it is bounded before.
        set_option(&fd, (libc::SOL_SOCKET, libc::SO_RCVBUF), bytes)?;
    }
    if let Some(from) = from {
        bind_from(&fd, from)?;
    }
    let result = match addr {
        SocketAddr::V4(addr) => {
            let raw = raw_address(addr);
            // SAFETY: the address lives until the call returns, and the length is its own.
            unsafe { connect_raw(&fd, ptr::from_ref(&raw).cast(), size_of_val(&raw)) }
        }
        SocketAddr::V6(addr) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: addr.port().to_be(),
                sin6_flowinfo: addr.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                sin6_scope_id: addr.scope_id(),
            };
            // SAFETY: the address lives until the call returns, and the length is its own.
            unsafe { connect_raw(&fd, ptr::from_ref(&raw).cast(), size_of_val(&raw)) }
        }
    };
    match result {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => {
            let stream = TcpStream::from(fd);
            stream.set_nodelay(true)?;
            Ok(stream)
        }
    }
}

fn raw_address(addr: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(addr.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// Connects from this address; the port is chosen together with the peer, so that an address has as
/// many of them for each peer as there are ports.
fn bind_from(fd: &OwnedFd, from: Ipv4Addr) -> io::Result<()> {
    set_option(fd, (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT), 1)?;
    let raw = raw_address(SocketAddrV4::new(from, 0));
    let (addr, len) = (ptr::from_ref(&raw).cast(), size_of_val(&raw) as libc::socklen_t);
    // SAFETY: the address lives until the call returns, and the length is its own.
    check(unsafe { libc::bind(fd.as_raw_fd(), addr, len) }).map(|_| ())
}

/// Sets an option whose value is an int.
fn set_option(fd: &impl AsRawFd, (level, name): (i32, i32), value: usize) -> io::Result<()> {
    let value = i32::try_from(value).unwrap_or(i32::MAX);
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads one int, whose length is told; the descriptor is open.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), len)
    })
    .map(|_| ())
}

/// # Safety
/// `addr` must point to `len` bytes of a socket address.
unsafe fn connect_raw(fd: &OwnedFd, addr: *const libc::sockaddr, len: usize) -> io::Result<()> {
    // SAFETY: the caller vouches for the address; the descriptor is open.
    check(unsafe { libc::connect(fd.as_raw_fd(), addr, len as libc::socklen_t) }).map(|_| ())
}

/// What [`discard`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Bytes thrown away.
    pub bytes: u64,
    /// The peer closed its side.
    pub ended: bool,
}

/// Throws away what a socket has received, inside the kernel: no byte is copied.
///
/// # Errors
/// What the kernel says, unless that nothing is there.
pub fn discard(stream: &TcpStream) -> io::Result<Discarded> {
    discard_most(stream, u64::MAX)
}

/// The same for `most` bytes.
///
/// # Errors
/// What the kernel says, unless that nothing is there.
pub fn discard_most(stream: &TcpStream, most: u64) -> io::Result<Discarded> {
    let mut bytes = 0;
    loop {
        let left = usize::try_from(most - bytes).unwrap_or(usize::MAX).min(DISCARD_BYTES_MAX);
        if left == 0 {
            return Ok(Discarded { bytes, ended: false });
        }
        let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        // SAFETY: with MSG_TRUNC, TCP drops the bytes and writes none, so the null buffer is never
        // touched; the descriptor is open.
        let result = unsafe { libc::recv(stream.as_raw_fd(), ptr::null_mut(), left, flags) };
        match usize::try_from(result) {
            Ok(0) => return Ok(Discarded { bytes, ended: true }),
            Ok(taken) => {
                bytes += taken as u64;
                if taken < left {
                    return Ok(Discarded { bytes, ended: false });
                }
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(Discarded { bytes, ended: false }),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                }
            }
        }
    }
}

/// Wakes the owner of a socket for so many bytes at the earliest, or the end.
///
/// # Errors
/// What the kernel says.
pub fn receive_low_water(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    set_option(stream, (libc::SOL_SOCKET, libc::SO_RCVLOWAT), bytes.max(1))
}

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes, or the end of them.
    Read,
    /// That, and room to write.
    ReadWrite,
    /// The peer's end only, bytes unread before it or not.
    End,
    /// Room to write.
    Write,
}

impl Interest {
    const fn mask(self) -> u32 {
        let read = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
        match self {
            Self::Read => read,
            Self::ReadWrite => read | libc::EPOLLOUT as u32,
            Self::End => libc::EPOLLRDHUP as u32,
            Self::Write => libc::EPOLLOUT as u32,
        }
    }
}

/// A set of sockets that are watched, level-triggered.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 takes no pointer; its descriptor belongs to nobody else.
        let epoll = unsafe {
            let fd = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { epoll })
    }

    /// Starts to watch a socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&self, socket: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, token, interest)
    }

    /// Changes what a socket is watched for.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn modify(&self, socket: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, token, interest)
    }

    /// Stops to watch a socket; closing it does the same.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, socket: &impl AsRawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, socket, 0, Interest::Read)
    }

    fn control(
        &self,
        operation: i32,
        socket: &impl AsRawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.mask(), u64: token };
        // SAFETY: both descriptors are open, and the event lives until the call returns.
        check(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), operation, socket.as_raw_fd(), &raw mut event)
        })
        .map(|_| ())
    }

    /// Waits until `deadline_ns` of [`monotonic_ns`] and collects the tokens of ready sockets.
    ///
    /// Waits are whole milliseconds, rounded up, so that a deadline has always passed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self, deadline_ns: u64, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let left_ms = deadline_ns.saturating_sub(monotonic_ns()).div_ceil(1_000_000);
        let timeout = i32::try_from(left_ms).unwrap_or(i32::MAX);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        // SAFETY: the kernel writes EVENTS_MAX events at most into the array of that length.
        let result = check(unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                EVENTS_MAX as i32,
                timeout,
            )
        });
        let count = match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        ready.extend(events.iter().take(count as usize).map(|event| event.u64));
        Ok(())
    }
}

/// The monotonic clock of the machine, the same in every process.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Ticks per second of the CPU times in `/proc`.
#[must_use]
pub fn cpu_ticks_per_second() -> u64 {
    // SAFETY: sysconf takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}

/// Bytes of a page, the unit of some counts in `/proc`.
#[must_use]
pub fn page_bytes() -> u64 {
    // SAFETY: sysconf takes no pointer.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096).max(1)
}

/// Raises the number of descriptors that this process may have to what it is allowed to; tells
/// how many that are.
///
/// # Errors
/// What the kernel says.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit, then reads it.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
    }
    Ok(limit.rlim_cur)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn bytes_are_discarded_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let poll = Poll::new().unwrap();
        poll.add(&client, 7, Interest::Read).unwrap();
        let mut ready = Vec::new();
        poll.wait(0, &mut ready).unwrap();
        assert!(ready.is_empty());
        assert_eq!(discard(&client).unwrap(), Discarded { bytes: 0, ended: false });
        server.write_all(&[1; 5000]).unwrap();
        drop(server);
        let mut bytes = 0;
        loop {
            poll.wait(monotonic_ns() + 5_000_000_000, &mut ready).unwrap();
            assert_eq!(ready, [7]);
            let discarded = discard_most(&client, 2000).unwrap();
            assert!(discarded.bytes <= 2000);
            bytes += discarded.bytes;
            if discarded.ended {
                break;
            }
        }
        assert_eq!(bytes, 5000);
    }

    #[test]
    fn a_closed_port_is_an_error_when_it_is_known() {
        let addr = TcpListener::bind("[::1]:0").and_then(|listener| listener.local_addr());
        let Ok(addr) = addr else { return };
        let Ok(client) = connect(addr) else { return };
        let poll = Poll::new().unwrap();
        poll.add(&client, 1, Interest::ReadWrite).unwrap();
        let mut ready = Vec::new();
        poll.wait(monotonic_ns() + 5_000_000_000, &mut ready).unwrap();
        assert_eq!(client.take_error().unwrap().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_clock_advances_and_files_can_be_opened() {
        let before = monotonic_ns();
        assert!(monotonic_ns() >= before && before > 0);
        assert!(raise_open_files().unwrap() >= 64);
        assert!(cpu_ticks_per_second() >= 1);
    }
}
