//! Options and questions of one socket.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::address::RawAddress;
use crate::error::Error;

/// SO_MEMINFO of the socket level, Linux 4.12.
const SO_MEMINFO: i32 = 55;
/// SO_BUF_LOCK of the socket level, Linux 5.14: which buffers keep the size that was asked for.
const SO_BUF_LOCK: i32 = 72;
/// The send buffer does, the receive buffer does not.
const SOCK_SNDBUF_LOCK: i32 = 1;

/// Options of a connection; `None` leaves the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// TCP_NODELAY: small messages leave at once.
    pub nodelay: bool,
    /// TCP_NOTSENT_LOWAT, bytes: unsent bytes above which the socket is not writable.
    pub notsent_lowat: Option<u32>,
    /// SO_SNDBUF, bytes; the kernel doubles it for its bookkeeping.
    pub send_buffer: Option<u32>,
    /// SO_RCVBUF, bytes; the kernel doubles it for its bookkeeping.
    pub recv_buffer: Option<u32>,
    /// TCP_USER_TIMEOUT, milliseconds: unacknowledged bytes older than this end the connection.
    pub user_timeout_ms: Option<u32>,
}

/// Sets `options` on a connection.
///
/// # Errors
/// The first option that the kernel refuses.
pub fn apply(fd: BorrowedFd<'_>, options: &SocketOptions) -> Result<(), Error> {
    let tcp = libc::IPPROTO_TCP;
    if options.nodelay {
        set(fd, "TCP_NODELAY", tcp, libc::TCP_NODELAY, 1)?;
    }
    let sized = [
        ("TCP_NOTSENT_LOWAT", tcp, libc::TCP_NOTSENT_LOWAT, options.notsent_lowat),
        ("SO_SNDBUF", libc::SOL_SOCKET, libc::SO_SNDBUF, options.send_buffer),
        ("SO_RCVBUF", libc::SOL_SOCKET, libc::SO_RCVBUF, options.recv_buffer),
        ("TCP_USER_TIMEOUT", tcp, libc::TCP_USER_TIMEOUT, options.user_timeout_ms),
    ];
    for (op, level, name, value) in sized {
        if let Some(value) = value {
            set(fd, op, level, name, i32::try_from(value).unwrap_or(i32::MAX))?;
        }
    }
    Ok(())
}

/// Gives a connection a receive buffer of `bytes` and a window that uses all of it; where the
/// kernel allows less, it is left to adapt the buffer by itself.
///
/// # Errors
/// The first option that the kernel refuses.
pub fn widen_receive(fd: BorrowedFd<'_>, bytes: u32) -> Result<(), Error> {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX / 2);
    set(fd, "SO_RCVBUF", libc::SOL_SOCKET, libc::SO_RCVBUF, value)?;
    let mut got = [0_u32];
    query(fd, "SO_RCVBUF", libc::SO_RCVBUF, &mut got)?;
    if got[0] / 2 >= bytes {
        // The window's clamp was set when the connection began, by the buffer of that time.
        return set(fd, "TCP_WINDOW_CLAMP", libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, value);
    }
    set(fd, "SO_BUF_LOCK", libc::SOL_SOCKET, SO_BUF_LOCK, SOCK_SNDBUF_LOCK)
}

/// Bytes of kernel memory that a socket holds: what was received, what waits to be sent or to be
/// acknowledged, and what is set aside for more (SO_MEMINFO).
///
/// # Errors
/// The kernel is too old to tell.
pub fn memory_bytes(fd: BorrowedFd<'_>) -> Result<u64, Error> {
    const RECEIVED: usize = 0;
    const FORWARD: usize = 4;
    const QUEUED: usize = 5;
    const OPTIONS: usize = 6;
    const BACKLOG: usize = 7;
    let mut told = [0_u32; 9];
    query(fd, "SO_MEMINFO", SO_MEMINFO, &mut told)?;
    Ok([RECEIVED, FORWARD, QUEUED, OPTIONS, BACKLOG].iter().map(|&at| u64::from(told[at])).sum())
}

/// Datagrams that the kernel dropped because the buffer of a socket was full (SO_MEMINFO); the
/// count wraps.
///
/// # Errors
/// The kernel is too old to tell.
pub fn datagrams_dropped(fd: BorrowedFd<'_>) -> Result<u32, Error> {
    const DROPS: usize = 8;
    let mut told = [0_u32; 9];
    query(fd, "SO_MEMINFO", SO_MEMINFO, &mut told)?;
    Ok(told[DROPS])
}

/// Reads an option of the socket level that is some integers.
pub(super) fn query<const N: usize>(
    fd: BorrowedFd<'_>,
    op: &'static str,
    name: i32,
    told: &mut [u32; N],
) -> Result<(), Error> {
    let mut len = size_of_val(told) as libc::socklen_t;
    // SAFETY: the value is writable for the length that is told.
    let code = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            told.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if code < 0 { Err(Error::last_os_error(op)) } else { Ok(()) }
}

/// Lets the kernel acknowledge what arrives next without delay (TCP_QUICKACK, which wears off).
///
/// A socket that refuses is as slow as it was.
pub fn acknowledge_at_once(fd: BorrowedFd<'_>) {
    drop(set(fd, "TCP_QUICKACK", libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1));
}

/// Sets one integer option.
pub(super) fn set(
    fd: BorrowedFd<'_>,
    op: &'static str,
    level: i32,
    name: i32,
    value: i32,
) -> Result<(), Error> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option value is a readable integer of the length that is told.
    let code =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if code < 0 { Err(Error::last_os_error(op)) } else { Ok(()) }
}

/// The pending error of a socket, 0 if there is none; reading clears it.
pub(super) fn take_error(fd: BorrowedFd<'_>) -> i32 {
    let mut errno = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option value is a writable integer of the length that is told.
    let code = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut errno).cast(),
            &raw mut len,
        )
    };
    if code < 0 { last_errno() } else { errno }
}

/// The last errno of the calling thread.
pub(super) fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Bytes that the peer has not acknowledged yet, sent or not (SIOCOUTQ).
///
/// # Errors
/// The descriptor is not a TCP socket.
pub fn outgoing_queue_bytes(fd: BorrowedFd<'_>) -> Result<u32, Error> {
    let mut bytes = 0_i32;
    // SAFETY: the request writes one integer, and `bytes` is one. SIOCOUTQ has TIOCOUTQ's number.
    let code = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if code < 0 {
        return Err(Error::last_os_error("SIOCOUTQ"));
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// The address of a connection's peer.
///
/// # Errors
/// The connection is already gone.
pub fn peer_addr(fd: BorrowedFd<'_>) -> Result<SocketAddr, Error> {
    let mut raw = RawAddress::empty();
    let ptr = raw.as_mut_ptr();
    // SAFETY: the address and its length are writable and stay put during the call.
    let code = unsafe { libc::getpeername(fd.as_raw_fd(), ptr, raw.len_mut()) };
    if code < 0 {
        return Err(Error::last_os_error("getpeername"));
    }
    raw.get().ok_or(Error::Io { op: "getpeername", errno: libc::EAFNOSUPPORT })
}

/// The local address of a socket.
///
/// # Errors
/// The descriptor is not an IP socket.
pub fn local_addr(fd: BorrowedFd<'_>) -> Result<SocketAddr, Error> {
    let mut raw = RawAddress::empty();
    let ptr = raw.as_mut_ptr();
    // SAFETY: the address and its length are writable and stay put during the call.
    let code = unsafe { libc::getsockname(fd.as_raw_fd(), ptr, raw.len_mut()) };
    if code < 0 {
        return Err(Error::last_os_error("getsockname"));
    }
    raw.get().ok_or(Error::Io { op: "getsockname", errno: libc::EAFNOSUPPORT })
}

/// A new non-blocking TCP socket of `addr`'s family.
pub(super) fn stream_socket(addr: &SocketAddr) -> Result<OwnedFd, Error> {
    open(addr, libc::SOCK_STREAM)
}

/// A new non-blocking UDP socket of `addr`'s family.
pub(super) fn datagram_socket(addr: &SocketAddr) -> Result<OwnedFd, Error> {
    open(addr, libc::SOCK_DGRAM)
}

fn open(addr: &SocketAddr, kind: i32) -> Result<OwnedFd, Error> {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointer.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(Error::last_os_error("socket"));
    }
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives `fd` the local address `addr`.
pub(super) fn bind(fd: BorrowedFd<'_>, addr: &SocketAddr) -> Result<(), Error> {
    let raw = RawAddress::new(addr);
    // SAFETY: the address is readable for the length that is told.
    let code = unsafe { libc::bind(fd.as_raw_fd(), raw.as_ptr(), raw.len()) };
    if code < 0 { Err(Error::last_os_error("bind")) } else { Ok(()) }
}

/// A non-blocking TCP socket for a connection to `peer`, from `local` if given; it is not
/// connected yet.
///
/// # Errors
/// The family is not available, or `local` is not ours.
pub fn tcp_socket(peer: &SocketAddr, local: Option<&SocketAddr>) -> Result<OwnedFd, Error> {
    use std::os::fd::AsFd;

    let fd = stream_socket(peer)?;
    if let Some(local) = local {
        bind(fd.as_fd(), local)?;
    }
    Ok(fd)
}

/// Starts a connect; `Ok(false)` says that it goes on and the socket turns writable at its end.
pub(super) fn connect(fd: BorrowedFd<'_>, peer: &SocketAddr) -> Result<bool, i32> {
    let raw = RawAddress::new(peer);
    // SAFETY: the address is readable for the length that is told.
    let code = unsafe { libc::connect(fd.as_raw_fd(), raw.as_ptr(), raw.len()) };
    if code == 0 {
        return Ok(true);
    }
    match last_errno() {
        // An interrupted connect of a non-blocking socket goes on like one in progress.
        libc::EINPROGRESS | libc::EINTR => Ok(false),
        errno => Err(errno),
    }
}

/// Ends our direction of a connection; one that is gone already has no direction left to end.
pub(super) fn shutdown_write(fd: BorrowedFd<'_>) {
    // SAFETY: shutdown takes no pointer.
    let _ = unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}
