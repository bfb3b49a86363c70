//! Listening sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::socket;
use crate::error::Error;

/// How a listener is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that wait for an accept at most; the kernel caps it at net.core.somaxconn.
    pub backlog: u32,
    /// Several sockets may listen on the address and share its connections.
    pub reuse_port: bool,
    /// An IPv6 listener takes IPv6 alone; `false` takes both families.
    pub v6only: bool,
    /// SO_SNDBUF of accepted connections, bytes.
    pub send_buffer_bytes: Option<u32>,
    /// SO_RCVBUF of accepted connections, bytes. It must be set here to bound the window that is
    /// offered in the handshake.
    pub recv_buffer_bytes: Option<u32>,
}

impl Default for ListenOptions {
    /// A backlog of 4096, shared by the shards, both families.
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: true,
            v6only: false,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
        }
    }
}

/// A non-blocking listening TCP socket. Lives on: its shard, or in the hands of whoever opens it.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Opens, binds and listens.
    ///
    /// # Errors
    /// `Error::Io` with the errno of the step that failed: `EADDRINUSE`, `EACCES`,
    /// `EADDRNOTAVAIL` from `bind`, `EAFNOSUPPORT` from `socket` where a family is switched off.
    pub fn bind(addr: SocketAddr, options: &ListenOptions) -> Result<Self, Error> {
        let fd = socket::stream_socket(&addr)?;
        let set = |op, level, name, value| socket::set(fd.as_fd(), op, level, name, value);
        let size = |bytes: u32| i32::try_from(bytes).unwrap_or(i32::MAX);
        set("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        if options.reuse_port {
            set("SO_REUSEPORT", libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        if addr.is_ipv6() {
            let only = i32::from(options.v6only);
            set("IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
        }
        if let Some(bytes) = options.send_buffer_bytes {
            set("SO_SNDBUF", libc::SOL_SOCKET, libc::SO_SNDBUF, size(bytes))?;
        }
        if let Some(bytes) = options.recv_buffer_bytes {
            set("SO_RCVBUF", libc::SOL_SOCKET, libc::SO_RCVBUF, size(bytes))?;
        }
        socket::bind(fd.as_fd(), &addr)?;
        // SAFETY: listen takes no pointer.
        if unsafe { libc::listen(fd.as_raw_fd(), size(options.backlog)) } < 0 {
            return Err(Error::last_os_error("listen"));
        }
        Ok(Self(fd))
    }

    /// The address that it listens on: the port is known even if 0 was asked for.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        socket::local_addr(self.0.as_fd())
    }

    /// The descriptor, for [`super::Reactor::close`].
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_keeps_its_errno() {
        let any = "127.0.0.1:0".parse().unwrap();
        let alone = ListenOptions { reuse_port: false, ..ListenOptions::default() };
        let first = Listener::bind(any, &alone).unwrap();
        let taken = first.local_addr().unwrap();
        let error = Listener::bind(taken, &alone).unwrap_err();
        assert!(matches!(error, Error::Io { errno: libc::EADDRINUSE, .. }), "{error}");
    }

    #[test]
    fn shards_share_a_port() {
        let shared = ListenOptions::default();
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), &shared).unwrap();
        let addr = first.local_addr().unwrap();
        assert_eq!(Listener::bind(addr, &shared).unwrap().local_addr().unwrap(), addr);
    }
}
