//! Hostile openings and frames.

use codecs::websocket::Opcode;

use crate::node::{client_frame, ws_opening};

/// Named inputs of a whole connection.
pub(crate) fn attacks() -> Vec<(&'static str, Vec<u8>)> {
    let after = |bytes: Vec<u8>| [ws_opening("/good.flv").into_bytes(), bytes].concat();
    let opening = |from: &str, to: &str| ws_opening("/good.flv").replace(from, to).into_bytes();
    let frame = |opcode, payload: &[u8]| client_frame(true, opcode, payload);
    let announced = |len: u64| {
        let mut bytes = vec![0x82, 0xff];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&[1; 2_000]);
        bytes
    };
    vec![
        ("an opening alone", after(Vec::new())),
        ("an opening of a stream that is not there", ws_opening("/nobody.flv").into_bytes()),
        ("no key", opening("Sec-WebSocket-Key", "X-Key")),
        ("a short key", opening("dGhl", "")),
        ("a strange key", opening("dGhl", "\u{7f}!!!")),
        ("another version", opening("Version: 13", "Version: 99")),
        ("an opening with a body", opening("\r\nUpgrade", "\r\nContent-Length: 9\r\nUpgrade")),
        ("many subprotocols", opening("\r\n\r\n", &protocols(1_000))),
        ("an endless frame", after(announced(u64::MAX >> 1))),
        ("a negative length", after(announced(u64::MAX))),
        ("a long form of a short length", after(announced(1))),
        ("a length of 16 MiB", after(announced(16 << 20))),
        ("reserved bits", after(vec![0xf2, 0x80, 0, 0, 0, 0])),
        ("a reserved opcode", after(vec![0x83, 0x80, 0, 0, 0, 0])),
        ("no mask", after(vec![0x82, 0x02, b'a', b'b'])),
        ("a long ping", after(vec![0x89, 0xfe, 0xff, 0xff, 0, 0, 0, 0])),
        ("half a ping", after(vec![0x09, 0x80, 0, 0, 0, 0])),
        ("a continuation of nothing", after(client_frame(true, Opcode::Continuation, b"x"))),
        ("two beginnings", after(client_frame(false, Opcode::Binary, b"x").repeat(2))),
        ("text", after(frame(Opcode::Text, b"hello"))),
        ("a wrong close code", after(frame(Opcode::Close, &[0, 1]))),
        ("a close reason that is no text", after(frame(Opcode::Close, b"\x03\xe8\xff\xff"))),
        ("half a close code", after(frame(Opcode::Close, &[3]))),
        ("frames after the close frame", after(frame(Opcode::Close, b"").repeat(100))),
        ("half a header", after(vec![0x82])),
        ("half a frame", after(frame(Opcode::Binary, &[7; 1_000])[..500].to_vec())),
        ("a flood of pings", after(frame(Opcode::Ping, &[1; 125]).repeat(2_000))),
        ("a flood of pongs", after(frame(Opcode::Pong, b"").repeat(20_000))),
        (
            "a flood of empty fragments",
            after(
                [
                    client_frame(false, Opcode::Binary, b""),
                    client_frame(false, Opcode::Continuation, b"").repeat(20_000),
                ]
                .concat(),
            ),
        ),
        ("a flood of messages", after(frame(Opcode::Binary, &[0; 10_000]).repeat(200))),
        ("requests instead of frames", after(ws_opening("/good.flv").repeat(10).into_bytes())),
        ("every byte", after((0..=255_u8).cycle().take(50_000).collect())),
    ]
}

fn protocols(count: usize) -> String {
    let list: Vec<_> = (0..count).map(|n| format!("p{n}")).collect();
    format!("\r\nSec-WebSocket-Protocol: {}\r\n\r\n", list.join(","))
}
