//! Socket addresses as the kernel writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A socket address and its length, in the kernel's layout.
#[derive(Clone, Copy)]
pub(super) struct RawAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl RawAddress {
    /// Room for any address.
    pub(super) const fn empty() -> Self {
        // SAFETY: all zero bytes are a valid, unspecified sockaddr_storage.
        let storage = unsafe { std::mem::zeroed() };
        Self { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub(super) fn new(addr: &SocketAddr) -> Self {
        let mut raw = Self::empty();
        match addr {
            SocketAddr::V4(v4) => {
                let sin = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is larger than and aligned for every address.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in>().write(sin) };
                raw.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let sin6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: the storage is larger than and aligned for every address.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in6>().write(sin6) };
                raw.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        raw
    }

    /// The address that the kernel wrote as `bytes`; more of them than any address has are ignored.
    pub(super) fn read(bytes: &[u8]) -> Option<SocketAddr> {
        let mut raw = Self::empty();
        let len = bytes.len().min(size_of::<libc::sockaddr_storage>());
        let to = (&raw mut raw.storage).cast::<u8>();
        // CONTROL: an address.
        // SAFETY: the storage takes any bytes, and no more are copied than it has.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, len) };
        raw.get()
    }

    /// The address, for options that have it in a structure.
    pub(super) const fn storage(&self) -> libc::sockaddr_storage {
        self.storage
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    pub(super) const fn len(&self) -> libc::socklen_t {
        self.len
    }

    pub(super) const fn len_mut(&mut self) -> &mut libc::socklen_t {
        &mut self.len
    }

    /// The address that the kernel wrote; IPv4 mapped into IPv6 is given as IPv4, so that limits
    /// and logs know one name per peer. `None` for a family that is not IP.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that the storage holds a sockaddr_in.
                let sin = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(sin.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(sin.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the storage holds a sockaddr_in6.
                let sin6 = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let (ip, port) =
                    (Ipv6Addr::from(sin6.sin6_addr.s6_addr), u16::from_be(sin6.sin6_port));
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::new(IpAddr::V4(v4), port),
                    None => SocketAddr::V6(SocketAddrV6::new(
                        ip,
                        port,
                        sin6.sin6_flowinfo,
                        sin6.sin6_scope_id,
                    )),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_layout() {
        for text in ["1.2.3.4:5", "0.0.0.0:0", "[::]:1935", "[2001:db8::1]:443"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::new(&addr).get(), Some(addr), "{text}");
        }
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
        assert_eq!(RawAddress::new(&mapped).get(), Some("10.0.0.1:80".parse().unwrap()));
        assert_eq!(RawAddress::empty().get(), None);
        let raw = RawAddress::new(&mapped);
        let (at, len) = (raw.as_ptr().cast::<u8>(), raw.len() as usize);
        // SAFETY: the address is readable for its length.
        let bytes = unsafe { std::slice::from_raw_parts(at, len) };
        assert_eq!(RawAddress::read(bytes), raw.get());
        assert_eq!(RawAddress::read(b""), None);
    }
}
