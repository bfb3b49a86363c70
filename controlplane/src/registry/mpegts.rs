//! Mpegts: what becomes of the transport stream that a stream is published with.

use dataplane::control::Protocol;
use dataplane::session::mpegts::TransportTerms;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::Input;
use super::spec::Traits;

/// What players of transport streams get of one that came as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mpegts {
    /// The publisher's own packets, with everything that is in its program; otherwise ones that are
    /// made of the pictures and the sound.
    pub passthrough: bool,
    /// The packets that fill the rate, too.
    pub null_packets: bool,
}

impl Default for Mpegts {
    fn default() -> Self {
        Self { passthrough: true, null_packets: false }
    }
}

impl Mpegts {
    /// What holds for the transport stream of `input`.
    pub(super) fn terms(self, input: Option<&Input>) -> TransportTerms {
        TransportTerms {
            passthrough: self.passthrough,
            null_packets: self.null_packets,
            program: input.map(|input| input.program).filter(|&program| program != 0),
            pids: input.map(|input| input.pids.clone()).unwrap_or_default(),
        }
    }
}

impl Traits {
    /// What holds for a transport stream that `protocol` carries; `None` if nothing is said. The
    /// programme and the packet ids are those of the first input that it can be.
    #[must_use]
    pub fn transport(&self, protocol: Protocol) -> Option<TransportTerms> {
        let takes = |input: &&Input| input.listens().is_some_and(|kind| kind.takes(protocol));
        let input = self.inputs.iter().find(takes);
        let terms = self.mpegts.unwrap_or_default().terms(input);
        (terms != TransportTerms::default()).then_some(terms)
    }
}

#[cfg(test)]
mod tests {
    use dataplane::ids::StreamName;
    use serde_json::{Value, json};

    use super::super::StreamSpec;
    use super::*;

    fn terms(value: Value) -> Option<TransportTerms> {
        let name = StreamName::parse("a").unwrap();
        StreamSpec::read(&name, value).unwrap().traits.transport(Protocol::Srt)
    }

    #[test]
    fn the_input_that_the_publisher_is_chooses_of_its_stream() {
        assert_eq!(terms(json!({"inputs": [{"url": "publish://"}]})), None);
        assert_eq!(terms(json!({"mpegts": {"passthrough": true}})), None, "as usual");
        let found = terms(json!({
            "mpegts": {"passthrough": false, "null_packets": true},
            "inputs": [
                {"url": "rtmp://0.0.0.0/live", "program": 9},
                {"url": "srt://[::]:8890", "priority": 1, "program": 3, "pids": [256, 257]},
            ],
        }));
        let expected = TransportTerms {
            passthrough: false,
            null_packets: true,
            program: Some(3),
            pids: vec![256, 257],
        };
        assert_eq!(found, Some(expected));
        let found = terms(json!({"inputs": [{"url": "publish://", "pids": [17]}]})).unwrap();
        assert_eq!((found.program, found.pids, found.passthrough), (None, vec![17], true));
    }

    #[test]
    fn it_holds_for_what_is_fetched_and_pulled() {
        let name = StreamName::parse("a").unwrap();
        let declared = json!({
            "mpegts": {"passthrough": false},
            "inputs": [
                {"url": "udp://239.1.2.3:5000", "program": 4},
                {"url": "srt://peer.example:9000", "priority": 1, "pids": [300]},
            ],
        });
        let traits = StreamSpec::read(&name, declared).unwrap().traits;
        let [group, peer] = traits.inputs.as_slice() else { panic!("two inputs") };
        let group = group.fetched(traits.mpegts).unwrap().transport;
        assert_eq!((group.passthrough, group.program), (false, Some(4)));
        let peer = peer.srt(traits.mpegts).unwrap().peer.transport;
        assert_eq!((peer.passthrough, peer.program, peer.pids), (false, None, vec![300]));
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        let name = StreamName::parse("a").unwrap();
        let fault = StreamSpec::read(&name, json!({"mpegts": {"pass": true}})).unwrap_err();
        assert_eq!((fault.code, fault.field.as_str()), ("unknown_field", "mpegts.pass"));
    }
}
