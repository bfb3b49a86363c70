//! UDP sockets, which many peers share.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::address::RawAddress;
use super::socket;
use crate::error::Error;

/// How a UDP socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Several sockets may be bound to the address and share its datagrams, see
    /// [`super::steer_group`].
    pub reuse_port: bool,
    /// Others that say the same may be bound to the address: each of them is given what comes to a
    /// group of multicast, and one of them what comes to an address of one host.
    pub reuse_address: bool,
    /// An IPv6 socket takes IPv6 alone; `false` takes both families.
    pub v6only: bool,
    /// SO_SNDBUF, bytes: past net.core.wmem_max if the process may.
    pub send_buffer_bytes: Option<u32>,
    /// SO_RCVBUF, bytes: past net.core.rmem_max if the process may.
    pub recv_buffer_bytes: Option<u32>,
}

impl Default for UdpOptions {
    /// Shared by the shards, both families, the kernel's buffers.
    fn default() -> Self {
        Self {
            reuse_port: true,
            reuse_address: false,
            v6only: false,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
        }
    }
}

/// What a socket has of the buffers that it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpBuffers {
    /// Bytes to send.
    pub send_bytes: u32,
    /// Bytes to receive.
    pub recv_bytes: u32,
}

impl UdpBuffers {
    /// The lesser of each.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self {
            send_bytes: self.send_bytes.min(other.send_bytes),
            recv_bytes: self.recv_bytes.min(other.recv_bytes),
        }
    }
}

/// Asks what buffers a socket was given, which may be less than it asked for.
///
/// # Errors
/// `Error::Io`: the descriptor is no socket.
pub fn udp_buffers(fd: BorrowedFd<'_>) -> Result<UdpBuffers, Error> {
    let ask = |op, name| {
        let mut told = [0_u32];
        // The kernel tells what it keeps, which is twice of what is for payload.
        socket::query(fd, op, name, &mut told).map(|()| told[0] / 2)
    };
    Ok(UdpBuffers {
        send_bytes: ask("SO_SNDBUF", libc::SO_SNDBUF)?,
        recv_bytes: ask("SO_RCVBUF", libc::SO_RCVBUF)?,
    })
}

/// Opens and binds a non-blocking UDP socket, which puts datagrams of one peer together (UDP_GRO)
/// where the kernel does that.
///
/// # Errors
/// `Error::Io` with the errno of the step that failed: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`
/// from `bind`, `EAFNOSUPPORT` from `socket` where a family is switched off.
pub fn udp_socket(addr: &SocketAddr, options: &UdpOptions) -> Result<OwnedFd, Error> {
    let owned = socket::datagram_socket(addr)?;
    let fd = owned.as_fd();
    if options.reuse_port {
        socket::set(fd, "SO_REUSEPORT", libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if options.reuse_address {
        socket::set(fd, "SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    if addr.is_ipv6() {
        let only = i32::from(options.v6only);
        socket::set(fd, "IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        size(fd, "SO_SNDBUF", [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF], bytes)?;
    }
    if let Some(bytes) = options.recv_buffer_bytes {
        size(fd, "SO_RCVBUF", [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF], bytes)?;
    }
    // Where the kernel cannot, each datagram comes by itself, as the receive expects as well.
    drop(socket::set(fd, "UDP_GRO", libc::SOL_UDP, libc::UDP_GRO, 1));
    socket::bind(fd, addr)?;
    Ok(owned)
}

/// Sets the size of a buffer: beyond the host's limit if the process may, else up to it.
fn size(fd: BorrowedFd<'_>, op: &'static str, names: [i32; 2], bytes: u32) -> Result<(), Error> {
    // The kernel doubles it for its bookkeeping, in an integer.
    let value = i32::try_from(bytes).unwrap_or(i32::MAX).min(i32::MAX / 2);
    let [forced, usual] = names;
    socket::set(fd, op, libc::SOL_SOCKET, forced, value)
        .or_else(|_| socket::set(fd, op, libc::SOL_SOCKET, usual, value))
}

/// Asks whether there is a way to `peer` for what `fd` would send, which is given up for that: a
/// socket that is connected hears that nobody is there.
///
/// # Errors
/// `Error::Io` with the errno: `ENETUNREACH` or `EHOSTUNREACH` without a route, `EINVAL` or
/// `EAFNOSUPPORT` for a peer that the local address cannot reach.
pub fn find_route(fd: OwnedFd, peer: &SocketAddr) -> Result<(), Error> {
    match socket::connect(fd.as_fd(), peer) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::Io { op: "connect", errno }),
    }
}

/// Sends one datagram at once; false if it was dropped, for lack of room or of a route.
///
/// It may overtake trains that wait for the next submit.
pub fn send_datagram(fd: BorrowedFd<'_>, peer: &SocketAddr, bytes: &[u8]) -> bool {
    let raw = RawAddress::new(peer);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the bytes and the address are readable for the lengths that are told.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
            raw.as_ptr(),
            raw.len(),
        )
    };
    sent >= 0
}

/// True if the kernel cuts one send into datagrams (UDP_SEGMENT, Linux 4.18).
pub(super) fn cuts_trains(fd: BorrowedFd<'_>) -> bool {
    let mut value = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option value is a writable integer of the length that is told.
    let code = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    code == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_keeps_its_errno() {
        let alone = UdpOptions { reuse_port: false, ..UdpOptions::default() };
        let first = udp_socket(&"127.0.0.1:0".parse().unwrap(), &alone).unwrap();
        let taken = socket::local_addr(first.as_fd()).unwrap();
        let error = udp_socket(&taken, &alone).unwrap_err();
        assert!(matches!(error, Error::Io { errno: libc::EADDRINUSE, .. }), "{error}");
    }

    #[test]
    fn a_peer_without_a_route_is_told() {
        let open = |addr: &str| udp_socket(&addr.parse().unwrap(), &UdpOptions::default()).unwrap();
        assert_eq!(find_route(open("0.0.0.0:0"), &"127.0.0.1:9".parse().unwrap()), Ok(()));
        // From a loopback address nothing leaves the host.
        let error = find_route(open("127.0.0.1:0"), &"192.0.2.1:9".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Io { op: "connect", .. }), "{error}");
        let other = find_route(open("127.0.0.1:0"), &"[::1]:9".parse().unwrap()).unwrap_err();
        assert!(matches!(other, Error::Io { errno: libc::EAFNOSUPPORT, .. }), "{other}");
    }

    #[test]
    fn shards_share_a_port() {
        let options = UdpOptions {
            send_buffer_bytes: Some(1 << 20),
            recv_buffer_bytes: Some(u32::MAX),
            ..UdpOptions::default()
        };
        let first = udp_socket(&"[::1]:0".parse().unwrap(), &options).unwrap();
        let addr = socket::local_addr(first.as_fd()).unwrap();
        let second = udp_socket(&addr, &options).unwrap();
        assert_eq!(socket::local_addr(second.as_fd()).unwrap(), addr);
        assert!(cuts_trains(second.as_fd()));
        let got = udp_buffers(first.as_fd()).unwrap();
        assert!(got.send_bytes > 1_024 && got.send_bytes <= 1 << 20, "{got:?}");
        let small = UdpOptions { recv_buffer_bytes: Some(16 << 10), ..options };
        let small = udp_buffers(udp_socket(&addr, &small).unwrap().as_fd()).unwrap();
        assert_eq!(small.recv_bytes, 16 << 10, "every host allows that");
        assert_eq!(got.least(small), UdpBuffers { recv_bytes: small.recv_bytes, ..got });
    }
}
