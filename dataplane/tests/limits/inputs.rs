//! Limits of inputs that the node listens for.

use std::sync::Arc;

use dataplane::control::{Command, Event, UdpInput};
use dataplane::ids::StreamName;
use dataplane::session::mpegts::TransportTerms;

use crate::node::Server;

/// An input whose buffer is larger than what all of them may have.
pub(crate) fn one_buffer_too_many(server: &Server) -> u64 {
    let input = Arc::new(UdpInput {
        addr: "127.0.0.1:0".parse().unwrap(),
        source: None,
        interface: None,
        timeout: None,
        receive_buffer_bytes: 1 << 20,
        transport: TransportTerms::default(),
    });
    let stream = StreamName::parse("datagrams").unwrap();
    let inputs: Arc<[_]> = Arc::from([input]);
    let pull = || Command::Pull { stream: stream.clone(), inputs: Arc::clone(&inputs) };
    server.control.send_all(pull);
    let failed = |event: &Event| matches!(event, Event::InputFailed { .. });
    let (_, event) = server.control.event("the input is refused", failed);
    let Event::InputFailed { reason, .. } = event else { panic!("{event:?}") };
    assert_eq!(reason, "input_buffer_bytes_max");
    1
}
