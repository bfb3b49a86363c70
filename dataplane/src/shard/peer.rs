//! Where a peer comes from.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The address of a peer, in less room than a socket address takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddr {
    pub ip: IpAddr,
    port: u16,
    /// The interface of an address that holds on one link alone, else 0: who has no socket of its
    /// own is found by it. Three bytes of it, the lowest first, which are all that kernels give.
    zone: [u8; 3],
}

impl From<SocketAddr> for PeerAddr {
    fn from(peer: SocketAddr) -> Self {
        Self { ip: peer.ip(), port: peer.port(), zone: zone_of(peer) }
    }
}

impl From<PeerAddr> for SocketAddr {
    fn from(peer: PeerAddr) -> Self {
        match peer.ip {
            IpAddr::V4(_) => Self::new(peer.ip, peer.port),
            IpAddr::V6(ip) => {
                let [low, mid, high] = peer.zone;
                let zone = u32::from_le_bytes([low, mid, high, 0]);
                Self::V6(SocketAddrV6::new(ip, peer.port, 0, zone))
            }
        }
    }
}

impl PeerAddr {
    /// True if `peer` is the same, in whichever form.
    pub(super) fn is(&self, peer: SocketAddr) -> bool {
        self.port == peer.port()
            && self.zone == zone_of(peer)
            && self.ip.to_canonical() == peer.ip().to_canonical()
    }
}

const fn zone_of(peer: SocketAddr) -> [u8; 3] {
    match peer {
        SocketAddr::V4(_) => [0; 3],
        SocketAddr::V6(peer) => {
            let [low, mid, high, _] = peer.scope_id().to_le_bytes();
            [low, mid, high]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_found_where_it_is() {
        for text in ["192.0.2.7:5000", "[2001:db8::7]:5000", "[fe80::7%3]:5000"] {
            let addr: SocketAddr = text.parse().unwrap();
            let peer = PeerAddr::from(addr);
            assert_eq!(SocketAddr::from(peer), addr, "the way back leads over its link");
            assert!(peer.is(addr));
            for other in ["192.0.2.7:5001", "[2001:db8::8]:5000", "[fe80::7%4]:5000"] {
                assert!(!peer.is(other.parse().unwrap()), "{text} {other}");
            }
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:5000".parse().unwrap();
        assert!(PeerAddr::from(mapped).is("192.0.2.7:5000".parse().unwrap()));
    }
}
