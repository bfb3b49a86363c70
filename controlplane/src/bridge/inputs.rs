//! Inputs: which input of a stream delivers it, and where the stream should go from here.
//!
//! ```text
//!   nobody --connected--> delivers --lost--> waited for --connected--> delivers
//!                            |                   | failed, after the grace
//!                            +- lost, failed ----+--> nobody
//! ```
//!
//! Limits: one entry for each stream that lives, which shards bound.

use std::collections::BTreeMap;

use std::sync::Arc;

use dataplane::control::{CloseReason, Protocol, UdpInput};
use dataplane::ids::{SessionId, StreamId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::events::Kind;

/// The input that delivers a stream, or is waited for.
#[derive(Clone, Copy, Debug)]
struct Taken {
    input: u32,
    protocol: Protocol,
    delivers: bool,
}

/// The inputs of the streams that live.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    taken: BTreeMap<StreamName, Taken>,
    /// Which of the inputs of a stream that are fetched delivers it next.
    expected: BTreeMap<StreamName, Arc<UdpInput>>,
}

impl Inputs {
    /// An input that is fetched delivers what begins or returns next.
    pub(super) fn expect(&mut self, stream: StreamName, input: &Arc<UdpInput>) {
        self.expected.insert(stream, Arc::clone(input));
    }

    /// A publisher took an input.
    fn connected(&mut self, stream: &StreamName, input: u32, protocol: Protocol) -> Vec<Kind> {
        let taken = Taken { input, protocol, delivers: true };
        let before = self.taken.insert(stream.clone(), taken);
        // Whoever took over a stream did so because its publisher had been silent.
        let lost = before.filter(|before| before.delivers);
        let lost = lost.map(|before| before.lost(CloseReason::Idle));
        let connected = Kind::InputConnected { input, protocol: protocol.name() };
        lost.into_iter().chain([connected]).collect()
    }

    /// Its publisher is gone, and waited for.
    fn lost(&mut self, stream: &StreamName, reason: CloseReason) -> Option<Kind> {
        let taken = self.taken.get_mut(stream).filter(|taken| taken.delivers)?;
        taken.delivers = false;
        Some(taken.lost(reason))
    }

    /// The stream is over.
    fn ended(&mut self, stream: &StreamName, reason: CloseReason) -> Vec<Kind> {
        self.expected.remove(stream);
        let Some(taken) = self.taken.remove(stream) else { return Vec::new() };
        let lost = taken.delivers.then(|| taken.lost(reason));
        let failed = is_fault(reason).then(|| Kind::InputFailed {
            input: taken.input,
            protocol: taken.protocol.name(),
            reason: reason.name(),
        });
        lost.into_iter().chain(failed).collect()
    }
}

impl Taken {
    const fn lost(self, reason: CloseReason) -> Kind {
        let (protocol, reason) = (self.protocol.name(), reason.name());
        Kind::InputLost { input: self.input, protocol, reason }
    }
}

/// True unless somebody ended it on purpose.
const fn is_fault(reason: CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::PeerClosed
            | CloseReason::Kicked
            | CloseReason::QuotaExceeded
            | CloseReason::StreamEnded
            | CloseReason::StreamChanged
            | CloseReason::Draining
    )
}

impl<F: Fleet> Exchange<F> {
    /// Somebody publishes `stream` by `protocol`.
    pub(super) fn input_connected(
        &mut self,
        stream: &StreamName,
        id: Option<StreamId>,
        protocol: Protocol,
        session: Option<SessionId>,
    ) {
        let called = session.and_then(|session| self.input_dialled(stream, session));
        let resolved = self.registry.resolve(stream);
        let from = self.inputs.expected.get(stream).filter(|_| protocol == Protocol::Udp);
        // One that may not publish any more is about to be dropped.
        let input = resolved.and_then(|resolved| {
            let fetched = from.and_then(|from| resolved.input_from(from));
            called.or(fetched).or_else(|| resolved.input_of(protocol))
        });
        let Some(input) = input else { return };
        for kind in self.inputs.connected(stream, input, protocol) {
            self.bus.publish(Some(stream), id, kind);
        }
    }

    /// The publisher of `stream` is gone, and waited for.
    pub(super) fn input_lost(
        &mut self,
        stream: &StreamName,
        id: Option<StreamId>,
        reason: CloseReason,
    ) {
        if let Some(kind) = self.inputs.lost(stream, reason) {
            self.bus.publish(Some(stream), id, kind);
        }
    }

    /// `stream` is over.
    pub(super) fn input_ended(
        &mut self,
        stream: &StreamName,
        id: Option<StreamId>,
        reason: CloseReason,
    ) {
        for kind in self.inputs.ended(stream, reason) {
            self.bus.publish(Some(stream), id, kind);
        }
    }

    /// An input of `stream` that is fetched cannot be opened, and is tried again.
    pub(super) fn input_failed(
        &mut self,
        stream: &StreamName,
        from: &UdpInput,
        reason: &'static str,
    ) {
        let resolved = self.registry.resolve(stream);
        let Some(input) = resolved.and_then(|resolved| resolved.input_from(from)) else { return };
        let failed = Kind::InputFailed { input, protocol: Protocol::Udp.name(), reason };
        self.bus.publish(Some(stream), None, failed);
    }

    /// Says of each destination of a stream that began that nothing is sent there, if this node
    /// cannot send there at all.
    pub(super) fn push(&self, stream: &StreamName, id: Option<StreamId>) {
        let Some(resolved) = self.registry.resolve(stream) else { return };
        for push in resolved.traits.push.iter().filter(|push| push.enabled) {
            let Err(fault) = push.place() else { continue };
            let (url, reason) = (push.shown(), fault.message);
            self.bus.publish(Some(stream), id, Kind::PushFailed { url, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kinds: impl IntoIterator<Item = Kind>) -> Vec<String> {
        let text = |kind: &Kind| format!("{} {}", kind.name(), serde_json::to_value(kind).unwrap());
        kinds.into_iter().map(|kind| text(&kind)).collect()
    }

    #[test]
    fn an_input_is_told_to_come_and_go() {
        let (mut inputs, stream) = (Inputs::default(), StreamName::parse("a").unwrap());
        let connected = r#"input.connected {"input":1,"protocol":"rtmp"}"#;
        let lost = |reason: &str| {
            format!(r#"input.lost {{"input":1,"protocol":"rtmp","reason":"{reason}"}}"#)
        };
        let failed = r#"input.failed {"input":1,"protocol":"rtmp","reason":"connection_lost"}"#;
        let rtmp = Protocol::Rtmp;
        assert_eq!(names(inputs.lost(&stream, CloseReason::Idle)), [""; 0], "it was never there");
        assert_eq!(names(inputs.connected(&stream, 1, rtmp)), [connected]);
        let broke = CloseReason::ConnectionLost;
        assert_eq!(names(inputs.lost(&stream, broke)), [lost("connection_lost")]);
        assert_eq!(names(inputs.connected(&stream, 1, rtmp)), [connected]);
        let taken_over = [lost("idle").as_str(), connected].map(str::to_owned);
        assert_eq!(names(inputs.connected(&stream, 1, rtmp)), taken_over);
        assert_eq!(names(inputs.lost(&stream, broke)), [lost("connection_lost")]);
        assert_eq!(names(inputs.ended(&stream, broke)), [failed]);
        assert_eq!(names(inputs.ended(&stream, broke)), [""; 0]);
        inputs.connected(&stream, 1, rtmp);
        assert_eq!(names(inputs.ended(&stream, CloseReason::PeerClosed)), [lost("peer_closed")]);
        assert!(inputs.taken.is_empty());
    }
}
