//! An SRT connection that was called and sends, too: a caller's handshake, then operations of a
//! peer and a clock. Each operation is a byte, and what it needs.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use codecs::srt::{PACKET_BYTES_MAX, SeqNumber, SocketId};
use dataplane::session::srt::{
    Call, Caller, Connection, Incoming, Listener, PacketIndex, PacketMeta, Progress, Settings,
};
use libfuzzer_sys::fuzz_target;

/// Control packets that one datagram and one moment may cause.
const ANSWERS_MAX: usize = 2_000;

struct Index;

impl PacketIndex for Index {
    fn meta(&self, number: u64) -> Option<PacketMeta> {
        let at_us = i64::try_from(number).ok()?.checked_mul(1_000)?;
        Some(PacketMeta { len: 188, at_us })
    }
}

/// Two that met without a line between them.
fn meet(now: Instant, settings: &Settings) -> Connection {
    let addr: SocketAddr = ([192, 0, 2, 1], 5_000).into();
    let call =
        Call { peer: addr, socket: SocketId(5), initial: SeqNumber::new(100), stream_id: None };
    let mut caller = Caller::new(settings.clone(), call, [1; 32], now);
    let mut listener = Listener::new(settings, [2; 32], now);
    let mut out = [0; PACKET_BYTES_MAX];
    loop {
        let len = caller.poll_transmit(now, &mut out).expect("a handshake is asked for at once");
        let said = out[..len].to_vec();
        match listener.handle_datagram(now, addr, &said, &mut out) {
            Incoming::Reply(len) => {
                let progress = caller.handle_datagram(now, &out[..len]);
                assert!(matches!(progress, Progress::Waiting));
            }
            Incoming::Call(request) => {
                let keys = (SocketId(7), request.keys(settings, [3; 32]));
                let accepted = listener.accept(now, &request, settings, keys, &mut out);
                return accepted.expect("nothing is encrypted");
            }
            other => panic!("{other:?}"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let settings = Settings { receive_window: 256, ..Settings::default() };
    let mut connection = meet(now, &settings);
    let mut input = data;
    let mut offered = 0;
    while let Some((&operation, rest)) = input.split_first() {
        input = rest;
        match operation {
            0..=31 => now += Duration::from_millis(u64::from(operation)),
            32..=63 => offered += u64::from(operation - 31),
            _ => {
                let (piece, rest) = rest.split_at(rest.len().min(usize::from(operation)));
                input = rest;
                let mut datagram = piece.to_vec();
                let _ = connection.handle_datagram(now, &mut datagram);
            }
        }
        while connection.poll_payload().is_some() {}
        connection.handle_timeout(now);
        connection.offer(offered);
        let mut out = [0; PACKET_BYTES_MAX];
        let mut answers = 0;
        while connection.poll_transmit(now, &mut out).is_some() {
            answers += 1;
            assert!(answers < ANSWERS_MAX, "it never has nothing to say");
        }
        while connection.poll_data(now, &Index).is_some() {}
        let gauges = connection.gauges();
        assert!(gauges.pkt_rcv_buf <= 256 && gauges.pkt_flight_size <= 65_536);
    }
});
