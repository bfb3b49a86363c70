//! Block: the ranges that an address counts in.
//!
//! Shape: who has one address of IPv4 has /32, who has one of IPv6 has a /64 of them. Around it is
//! its /24, whose addresses are of many customers, or its /56, which is mostly of one who has a
//! network; some have a /48, and count as up to 256 then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::AddrRange;

/// What one customer has: IPv4 /32, IPv6 /64.
#[must_use]
pub fn address_of(peer: IpAddr) -> AddrRange {
    block(peer, 32, 64)
}

/// What is around him: IPv4 /24, IPv6 /56.
#[must_use]
pub fn prefix_of(peer: IpAddr) -> AddrRange {
    block(peer, 24, 56)
}

fn block(peer: IpAddr, four: u8, six: u8) -> AddrRange {
    match peer.to_canonical() {
        IpAddr::V4(addr) => {
            let kept = u32::MAX << (32 - u32::from(four));
            let addr = Ipv4Addr::from_bits(addr.to_bits() & kept);
            AddrRange { addr: IpAddr::V4(addr), bits: four }
        }
        IpAddr::V6(addr) => {
            let kept = u128::MAX << (128 - u32::from(six));
            let addr = Ipv6Addr::from_bits(addr.to_bits() & kept);
            AddrRange { addr: IpAddr::V6(addr), bits: six }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_both_of_its_ranges() {
        for (peer, address, prefix) in [
            ("192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/56"),
            ("255.255.255.255", "255.255.255.255/32", "255.255.255.0/24"),
            ("::1", "::/64", "::/56"),
        ] {
            let peer: IpAddr = peer.parse().unwrap();
            for (range, wanted) in [(address_of(peer), address), (prefix_of(peer), prefix)] {
                assert_eq!(range.to_string(), wanted);
                assert!(range.contains(peer), "{peer} in {wanted}");
            }
        }
    }
}
