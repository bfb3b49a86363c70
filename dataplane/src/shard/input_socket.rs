//! The socket of an input that comes in datagrams: bound, a member of its group, and why not.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use crate::control::UdpInput;
use crate::error::Error;
use crate::reactor::{self, Membership, UdpOptions};

/// The socket of an input, a member of its group.
pub(super) fn open_socket(input: &UdpInput) -> Result<OwnedFd, Error> {
    let group = input.addr.ip();
    let is_group = group.is_multicast();
    let interface = match &input.interface {
        Some(name) => reactor::interface_index(name)?,
        None => 0,
    };
    let mut addr = input.addr;
    if let SocketAddr::V6(v6) = &mut addr {
        // A group of one link is not bound without it.
        v6.set_scope_id(interface);
    }
    let options = UdpOptions {
        reuse_port: false,
        reuse_address: is_group,
        recv_buffer_bytes: Some(input.receive_buffer_bytes),
        ..UdpOptions::default()
    };
    let fd = reactor::udp_socket(&addr, &options)?;
    if let Some(name) = &input.interface {
        // A group of IPv6 is joined on one interface and heard on all of them without it.
        drop(reactor::bind_to_interface(fd.as_fd(), name));
    }
    if is_group {
        let membership = Membership { group, source: input.source, interface };
        reactor::join(fd.as_fd(), &membership)?;
    }
    Ok(fd)
}

/// Why an input is not open, in one fixed word.
pub(super) const fn reason_of(error: &Error) -> &'static str {
    match error {
        Error::Rejected(reason) => reason,
        Error::Limit(limit) => limit.name(),
        Error::Io { errno: libc::EADDRINUSE, .. } => "address_in_use",
        Error::Io { errno: libc::EADDRNOTAVAIL, .. } => "address_not_available",
        Error::Io { errno: libc::ENODEV, .. } => "no_such_interface",
        Error::Io { errno: libc::EACCES | libc::EPERM, .. } => "not_permitted",
        _ => "socket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::mpegts::TransportTerms;

    fn input(addr: &str) -> UdpInput {
        UdpInput {
            addr: addr.parse().unwrap(),
            source: None,
            interface: None,
            timeout: None,
            receive_buffer_bytes: 1 << 20,
            transport: TransportTerms::default(),
        }
    }

    #[test]
    fn a_socket_that_cannot_be_opened_says_why() {
        let taken = open_socket(&input("127.0.0.1:0")).unwrap();
        let taken = reactor::local_addr(taken.as_fd()).map(|addr| (addr, taken)).unwrap();
        for (input, reason) in [
            (input(&taken.0.to_string()), "address_in_use"),
            (input("192.0.2.1:5000"), "address_not_available"),
            (UdpInput { interface: Some("none0".into()), ..input("[::1]:0") }, "no_such_interface"),
        ] {
            let error = open_socket(&input).unwrap_err();
            assert_eq!(reason_of(&error), reason, "{input:?}");
        }
    }

    #[test]
    fn a_group_is_shared_with_others() {
        let group = UdpInput { interface: Some("lo".into()), ..input("239.255.12.35:0") };
        let first = open_socket(&group).unwrap();
        let addr = reactor::local_addr(first.as_fd()).unwrap();
        let again = UdpInput { addr, ..group };
        open_socket(&again).unwrap();
    }
}
