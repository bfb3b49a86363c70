//! Groups of multicast: what a UDP socket is a member of.
//!
//! Spec: RFC 3678 section 5, the interface that is the same for IPv4 and IPv6.

use std::ffi::CString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::RawAddress;
use super::socket;
use crate::error::Error;

/// `IPV6_MULTICAST_ALL` of IPPROTO_IPV6, Linux 4.20.
const IPV6_MULTICAST_ALL: i32 = 29;

/// A group, and how it is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: IpAddr,
    /// The one sender whose datagrams are wanted; of anybody without.
    pub source: Option<IpAddr>,
    /// Where the network is asked for it, see [`interface_index`]; 0 lets the routes say.
    pub interface: u32,
}

/// Makes `fd`, a UDP socket of the group's family, a member of a group, and takes no datagrams of
/// other groups that somebody else on this host joined.
///
/// # Errors
/// `Error::Io` with the errno of the step that failed: `ENODEV` without a route or an interface,
/// `ENOBUFS` or `ENOMEM` past the host's limit of groups (net.ipv4.igmp_max_memberships), `EINVAL`
/// for a source of another family.
pub fn join(fd: BorrowedFd<'_>, membership: &Membership) -> Result<(), Error> {
    let Membership { group, source, interface } = *membership;
    let storage = |ip: IpAddr| RawAddress::new(&SocketAddr::new(ip, 0)).storage();
    let level = if group.is_ipv4() {
        socket::set(fd, "IP_MULTICAST_ALL", libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0)?;
        libc::IPPROTO_IP
    } else {
        // Older kernels filter by the bound address alone.
        drop(socket::set(fd, "IPV6_MULTICAST_ALL", libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0));
        libc::IPPROTO_IPV6
    };
    match source {
        None => {
            let request = libc::group_req { gr_interface: interface, gr_group: storage(group) };
            set(fd, "MCAST_JOIN_GROUP", (level, libc::MCAST_JOIN_GROUP), &request)
        }
        Some(source) => {
            let request = libc::group_source_req {
                gsr_interface: interface,
                gsr_group: storage(group),
                gsr_source: storage(source),
            };
            set(fd, "MCAST_JOIN_SOURCE_GROUP", (level, libc::MCAST_JOIN_SOURCE_GROUP), &request)
        }
    }
}

/// Has a socket receive what comes in by one network interface alone, and nothing else
/// (SO_BINDTODEVICE).
///
/// # Errors
/// `Error::Io` with `EPERM` where the kernel, before Linux 5.7, lets nobody but root.
pub fn bind_to_interface(fd: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
    // SAFETY: the name is readable for the length that is told, and needs no zero byte.
    let code = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            name.len() as libc::socklen_t,
        )
    };
    if code < 0 { Err(Error::last_os_error("SO_BINDTODEVICE")) } else { Ok(()) }
}

/// Has what a socket sends to groups leave by that interface, as the routes say without one, and
/// pass so many routers at most.
///
/// # Errors
/// `Error::Io` with the errno of the option that was refused.
pub fn send_to_groups(
    fd: BorrowedFd<'_>,
    is_ipv4: bool,
    interface: Option<u32>,
    hops: u8,
) -> Result<(), Error> {
    let hops = i32::from(hops);
    if !is_ipv4 {
        let level = libc::IPPROTO_IPV6;
        socket::set(fd, "IPV6_MULTICAST_HOPS", level, libc::IPV6_MULTICAST_HOPS, hops)?;
        let Some(index) = interface else { return Ok(()) };
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        return socket::set(fd, "IPV6_MULTICAST_IF", level, libc::IPV6_MULTICAST_IF, index);
    }
    socket::set(fd, "IP_MULTICAST_TTL", libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, hops)?;
    let Some(index) = interface else { return Ok(()) };
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: i32::try_from(index).unwrap_or(i32::MAX),
    };
    set(fd, "IP_MULTICAST_IF", (libc::IPPROTO_IP, libc::IP_MULTICAST_IF), &request)
}

/// Sets an option that is a structure without pointers.
fn set<T>(
    fd: BorrowedFd<'_>,
    op: &'static str,
    (level, name): (i32, i32),
    value: &T,
) -> Result<(), Error> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the option value is readable for the length that is told.
    let code = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), len)
    };
    if code < 0 { Err(Error::last_os_error(op)) } else { Ok(()) }
}

/// The number of the network interface `name`.
///
/// # Errors
/// `Error::Io` with `ENODEV` if there is none of that name.
pub fn interface_index(name: &str) -> Result<u32, Error> {
    let missing = Error::Io { op: "if_nametoindex", errno: libc::ENODEV };
    let Ok(name) = CString::new(name) else { return Err(missing) };
    // SAFETY: the name ends with a zero byte and stays put during the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(missing),
        index => Ok(index),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::udp::{UdpOptions, udp_socket};
    use super::*;

    #[test]
    fn groups_are_joined_where_there_is_an_interface() {
        let interface = interface_index("lo").unwrap();
        let options = UdpOptions { reuse_address: true, ..UdpOptions::default() };
        for (group, source) in [
            ("239.255.12.34:0", None),
            ("232.1.2.3:0", Some("127.0.0.1")),
            ("239.255.12.34:0", Some("192.0.2.7")),
        ] {
            let addr: SocketAddr = group.parse().unwrap();
            let fd = udp_socket(&addr, &options).unwrap();
            let source = source.map(|source| source.parse().unwrap());
            let membership = Membership { group: addr.ip(), source, interface };
            assert_eq!(join(fd.as_fd(), &membership), Ok(()), "{group}");
            if source.is_none() {
                let twice = join(fd.as_fd(), &membership).unwrap_err();
                let is_known = matches!(twice, Error::Io { errno: libc::EADDRINUSE, .. });
                assert!(is_known, "{twice}");
            }
        }
    }

    #[test]
    fn what_leaves_for_groups_passes_as_many_routers_as_it_may() {
        let interface = interface_index("lo").unwrap();
        for (addr, hops) in [("127.0.0.1:0", 0), ("127.0.0.1:0", 255), ("[::1]:0", 7)] {
            let addr: SocketAddr = addr.parse().unwrap();
            let fd = udp_socket(&addr, &UdpOptions::default()).unwrap();
            let set = send_to_groups(fd.as_fd(), addr.is_ipv4(), Some(interface), hops);
            assert_eq!(set, Ok(()), "{addr}");
            let socket = socket2::SockRef::from(&fd);
            let told = match addr {
                SocketAddr::V4(_) => socket.multicast_ttl_v4(),
                SocketAddr::V6(_) => socket.multicast_hops_v6(),
            };
            assert_eq!(told.unwrap(), u32::from(hops), "{addr}");
        }
        let fd = udp_socket(&"127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        assert!(send_to_groups(fd.as_fd(), true, Some(u32::MAX), 1).is_err(), "there is none");
    }

    #[test]
    fn no_interface_and_no_group_are_errors() {
        for name in ["no-such-interface", "l\0o", ""] {
            let error = interface_index(name).unwrap_err();
            assert!(matches!(error, Error::Io { errno: libc::ENODEV, .. }), "{name:?}: {error}");
        }
        let fd = udp_socket(&"127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        let group = "192.0.2.7".parse().unwrap();
        let unicast = Membership { group, source: None, interface: 0 };
        let error = join(fd.as_fd(), &unicast).unwrap_err();
        assert!(matches!(error, Error::Io { errno: libc::EINVAL, .. }), "{error}");
    }
}
