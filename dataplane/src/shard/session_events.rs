//! What the control plane hears of sessions: that one publishes or plays from now on, and how that
//! ended.
//!
//! A session is told once when its role begins and once when it ends, whichever way it goes; so a
//! connection that plays one stream after another is told as one session after another, under one
//! number. Viewers of HLS are told of by `views.rs`.

use std::time::{Duration, Instant};

use super::connection::{Connection, Establish};
use super::shard::Shard;
use crate::control::{CloseReason, Event, Protocol, Role, SessionEvent};
use crate::ids::StreamName;

/// What the words of sessions, errors and shards mean for the control plane.
pub(super) fn reason_of(word: &str) -> CloseReason {
    if let Some(&reason) = CloseReason::ALL.iter().find(|reason| reason.name() == word) {
        return reason;
    }
    match word {
        "head_only" | "connection_close" | "connection_closed" | "tls_closed" => {
            CloseReason::PeerClosed
        }
        "io" => CloseReason::ConnectionLost,
        "publish_idle" | "publish_bps_min" | "websocket_pong" | "keep_alive" | "request_head"
        | "connect_deadline" => CloseReason::Idle,
        "stopped" => CloseReason::Draining,
        "panic" | "memory" | "buffer_bytes_max" => CloseReason::Internal,
        _ => CloseReason::Protocol,
    }
}

impl Shard {
    /// The connection in `slot` publishes or plays from now on.
    pub(super) fn session_began(&mut self, slot: u32) {
        self.dial_began(slot);
        let Some(connection) = self.connections.get(slot) else { return };
        let Some(role) = connection.told_role() else { return };
        let Some(stream) = self.stream_of(slot).cloned() else { return };
        self.enter_role(slot, role, &stream);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let carried = (connection.received, connection.sent);
        // What came before is not the session's, though it is charged to its stream.
        (connection.received, connection.sent) = (0, 0);
        self.charge_session(slot, role, &stream, carried);
        let Some(connection) = self.connections.get(slot) else { return };
        let started = SessionEvent::Started {
            session: connection.id,
            shard: self.id,
            role,
            protocol: connection.session.protocol(),
            tls: connection.tls.is_some(),
            stream,
            peer: connection.peer.into(),
            agent: connection.session.agent().clone(),
            at_ms: self.unix_ms(),
        };
        self.tell_control(Event::Session(Box::new(started)));
    }

    /// What the connection in `slot` did with media is over; told before its role is taken.
    pub(super) fn session_over(&mut self, slot: u32, reason: CloseReason) {
        let Some(connection) = self.connections.get(slot) else { return };
        let Some(role) = connection.told_role() else { return };
        let Some(stream) = self.stream_of(slot).cloned() else { return };
        let (bytes_in, bytes_out) = (connection.received, connection.sent);
        let protocol = connection.told_protocol();
        let ended = SessionEvent::Ended {
            session: connection.id,
            role,
            protocol,
            stream,
            peer: connection.peer.into(),
            agent: connection.session.agent().clone(),
            bytes_in,
            bytes_out,
            age_ms: self.age_ms(connection.role_began()),
            reason,
        };
        self.usage.end(slot, role, self.now);
        self.tell_control(Event::Session(Box::new(ended)));
    }

    /// Charges the connection in `slot`, which `carried` so much until now, to the stream that it
    /// publishes or plays.
    pub(super) fn charge_session(
        &mut self,
        slot: u32,
        role: Role,
        stream: &StreamName,
        carried: (u64, u64),
    ) {
        let Some(connection) = self.connections.get(slot) else { return };
        let protocol = connection.told_protocol();
        self.usage.charge(slot, (stream, protocol), carried, self.now);
        self.usage.begin(slot, role, self.now);
    }

    /// The calendar of the turn, as the control plane reads it.
    pub(super) fn unix_ms(&self) -> u64 {
        u64::try_from(self.wall.as_unix_millis()).unwrap_or(0)
    }
}

impl Connection {
    /// What it is told to do; a request for a piece of HLS is no session of its own, nor
    /// is what the node plays to itself.
    pub(super) const fn told_role(&self) -> Option<Role> {
        match &self.role {
            Some(Establish::Publish { .. }) => Some(Role::Publish),
            Some(Establish::Play(playing)) if !playing.unlisted => Some(Role::Play),
            Some(Establish::Play(_) | Establish::View(_)) | None => None,
        }
    }

    /// How it does that.
    pub(super) fn told_protocol(&self) -> Protocol {
        match &self.role {
            Some(Establish::Play(playing)) => super::census::protocol_of(&playing.options),
            _ => self.session.protocol(),
        }
    }

    /// When its role began.
    pub(super) fn role_began(&self) -> Instant {
        match &self.role {
            Some(Establish::Publish { began_ms, .. }) => {
                self.opened + Duration::from_millis(u64::from(*began_ms))
            }
            Some(Establish::Play(playing)) => playing.accepted.at(self.opened),
            Some(Establish::View(_)) | None => self.opened,
        }
    }

    /// Milliseconds from its accept to `now`, as far as 32 bits tell.
    pub(super) fn millis_since_opened(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.opened).as_millis();
        u32::try_from(passed).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        for (word, reason) in [
            ("kicked", CloseReason::Kicked),
            ("peer_closed", CloseReason::PeerClosed),
            ("connection_close", CloseReason::PeerClosed),
            ("io", CloseReason::ConnectionLost),
            ("taken_over", CloseReason::TakenOver),
            ("publish_idle", CloseReason::Idle),
            ("stopped", CloseReason::Draining),
            ("panic", CloseReason::Internal),
            ("rtmp_chunk_streams_max", CloseReason::Protocol),
            ("malformed", CloseReason::Protocol),
        ] {
            assert_eq!(reason_of(word), reason, "{word}");
        }
    }
}
