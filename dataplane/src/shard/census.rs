//! Census: how many sessions of this shard publish, play and download, kept as they begin and end.
//!
//! A snapshot copies these numbers, however many sessions there are.

use super::connection::{Connection, Establish};
use super::shard::Shard;
use crate::control::Protocol;
use crate::metrics::ShardCounters;
use crate::session::{Format, Framing, PlayOptions};

impl Shard {
    /// Takes a connection in, fresh or from another shard: its slot.
    pub(super) fn take_in(&mut self, connection: Box<Connection>) -> u32 {
        self.shared.load(self.id).add();
        self.counters.connections += 1;
        self.counters.tls_connections += u64::from(connection.tls.is_some());
        let slot = self.connections.insert(connection);
        self.queues.reserve(self.connections.len());
        self.count_tls_buffers(slot);
        self.account(slot);
        slot
    }

    /// Lets a connection go, to its end or to another shard.
    pub(super) fn let_go(&mut self, slot: u32) -> Option<Box<Connection>> {
        let token = self.connections.token(slot);
        let sends = match self.connections.get(slot)? {
            connection if connection.fd.is_none() => self.trains.departures.of(token),
            connection => usize::from(connection.is_sending()),
        };
        let mut connection = self.connections.remove(slot)?;
        drop(self.wanted.forget(slot));
        self.usage.discharge(token, sends);
        self.quotas.leave(slot);
        self.shared.load(self.id).sub();
        self.counters.connections -= 1;
        connection.establish(None, &mut self.counters);
        self.forget_buffers(&mut connection);
        if let Some(tls) = connection.tls.as_deref_mut() {
            self.counters.tls_connections -= 1;
            self.counters.tls_buffer_bytes -= tls.uncount_buffers();
        }
        Some(connection)
    }

    /// True if the gauges say what counting again would.
    pub(super) fn census_holds(&self) -> bool {
        let mut again = ShardCounters::default();
        for connection in self.connections.iter() {
            again.connections += 1;
            again.tls_connections += u64::from(connection.tls.is_some());
            if let Some(role) = &connection.role {
                role.gauges(&mut again).into_iter().flatten().for_each(|gauge| *gauge += 1);
            }
        }
        again.viewers = self.views.roll.len() as u64;
        let told = |c: &ShardCounters| {
            let sessions = [c.publishers, c.players, c.viewers, c.downloads];
            (c.connections, c.tls_connections, sessions, c.players_of)
        };
        told(&again) == told(&self.counters)
    }

    /// Brings the gauge of TLS buffers up to what the connection holds now.
    pub(super) fn count_tls_buffers(&mut self, slot: u32) {
        let Self { connections, counters, .. } = self;
        if let Some(tls) = connections.get_mut(slot).and_then(|c| c.tls.as_deref_mut()) {
            counters.tls_buffer_bytes -= tls.uncount_buffers();
            counters.tls_buffer_bytes += tls.count_buffers();
        }
    }
}

impl Connection {
    /// Sets what the connection does with media: the one way to change its role.
    pub(super) fn establish(&mut self, role: Option<Establish>, counters: &mut ShardCounters) {
        if let Some(old) = std::mem::replace(&mut self.role, role) {
            old.gauges(counters).into_iter().flatten().for_each(|gauge| *gauge -= 1);
        }
        if let Some(new) = &self.role {
            new.gauges(counters).into_iter().flatten().for_each(|gauge| *gauge += 1);
        }
    }
}

impl Establish {
    /// What counts sessions of this role: all of them, and those of its protocol.
    fn gauges<'a>(&self, counters: &'a mut ShardCounters) -> [Option<&'a mut u64>; 2] {
        match self {
            Self::Publish { .. } => [Some(&mut counters.publishers), None],
            Self::View(_) => [Some(&mut counters.downloads), None],
            Self::Play(playing) if playing.unlisted => [None, None],
            Self::Play(playing) => {
                let protocol = protocol_of(&playing.options);
                let of_protocol = &mut counters.players_of[protocol as usize];
                [Some(&mut counters.players), Some(of_protocol)]
            }
        }
    }
}

/// How a player of these options speaks.
pub(super) const fn protocol_of(options: &PlayOptions) -> Protocol {
    match (options.log.format, options.framing) {
        (_, Framing::Srt) => Protocol::Srt,
        (_, Framing::Udp) => Protocol::Udp,
        (Format::Rtmp, _) => Protocol::Rtmp,
        (Format::Flv, Framing::Bare) => Protocol::HttpFlv,
        (Format::Flv, Framing::WebSocket) => Protocol::WsFlv,
        (Format::MpegTs, Framing::Bare) => Protocol::HttpTs,
        (Format::MpegTs, Framing::WebSocket) => Protocol::WsTs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_count_in_the_order_in_which_they_are_listed() {
        for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, at, "{}", protocol.name());
        }
    }
}
