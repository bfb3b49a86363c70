//! Server: this node as the one streaming server that reports tell of.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use dataplane::config::{ListenerConfig, ListenerKind};

use crate::config::{Auto, CoordinatorSection};

/// Where publishers and players find this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamingServer {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// That is inside TLS.
    pub ssl: bool,
}

impl StreamingServer {
    /// What is configured, else where RTMP is open.
    #[must_use]
    pub fn of(section: &CoordinatorSection, open: impl Iterator<Item = ListenerConfig>) -> Self {
        let kind = if section.server.tls { ListenerKind::Rtmps } else { ListenerKind::Rtmp };
        let bound = open.filter(|listener| listener.kind == kind).map(|open| open.addr).next();
        let ip = match section.server.ip {
            Auto::Set(ip) => ip,
            Auto::Auto => bound.map_or(Ipv4Addr::LOCALHOST.into(), reachable),
        };
        let port = match section.server.port {
            Auto::Set(port) => port,
            Auto::Auto => bound.map_or(1935, |addr| addr.port()),
        };
        Self { ip: ip.to_canonical(), port, ssl: section.server.tls }
    }
}

/// The address of a listener; of one on every interface that of the way out.
fn reachable(addr: SocketAddr) -> IpAddr {
    // An address for documentation: to connect a socket to it sends nothing.
    const FAR: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    if !addr.ip().is_unspecified() {
        return addr.ip();
    }
    let way_out = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(FAR)?;
        socket.local_addr()
    };
    way_out().map_or(Ipv4Addr::LOCALHOST.into(), |addr| addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(kind: ListenerKind, addr: &str) -> ListenerConfig {
        let addr = addr.parse().unwrap();
        ListenerConfig::new(kind, addr)
    }

    #[test]
    fn a_server_is_where_it_listens_unless_it_is_told() {
        let listeners = [
            open(ListenerKind::Http, "192.0.2.4:8080"),
            open(ListenerKind::Rtmp, "192.0.2.5:1940"),
            open(ListenerKind::Rtmps, "[::ffff:192.0.2.6]:1941"),
        ];
        let mut section = CoordinatorSection::default();
        let mut told = |change: fn(&mut CoordinatorSection)| {
            change(&mut section);
            let StreamingServer { ip, port, ssl } =
                StreamingServer::of(&section, listeners.into_iter());
            format!("{ip}:{port} {ssl}")
        };
        assert_eq!(told(|_| {}), "192.0.2.5:1940 false");
        assert_eq!(told(|section| section.server.tls = true), "192.0.2.6:1941 true");
        assert_eq!(told(|section| section.server.port = Auto::Set(443)), "192.0.2.6:443 true");
        let ip = |section: &mut CoordinatorSection| {
            section.server.ip = Auto::Set("2001:db8::1".parse().unwrap());
        };
        assert_eq!(told(ip), "2001:db8::1:443 true");
        let everywhere = StreamingServer::of(
            &CoordinatorSection::default(),
            std::iter::once(open(ListenerKind::Rtmp, "[::]:1935")),
        );
        assert!(!everywhere.ip.is_unspecified());
    }
}
