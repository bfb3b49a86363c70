//! Limits of WebSocket players.

use std::io::Write;

use codecs::websocket::Opcode;

use crate::node::{Server, WsPlayer, client_frame};

pub(crate) fn long_messages(server: &Server) -> u64 {
    let part = client_frame(false, Opcode::Binary, &[0; 300]);
    let rest = client_frame(true, Opcode::Continuation, &[0; 300]);
    for bytes in [client_frame(true, Opcode::Binary, &[0; 501]), [part, rest].concat()] {
        let mut player = WsPlayer::start(server.http, "good");
        player.socket.write_all(&bytes).unwrap();
        assert_eq!(player.hear_close(), Some(1009));
    }
    2
}

pub(crate) fn a_flood_of_frames(server: &Server) -> u64 {
    for opcode in [Opcode::Pong, Opcode::Ping] {
        let mut player = WsPlayer::start(server.http, "good");
        player.socket.write_all(&client_frame(true, opcode, b"").repeat(50)).unwrap();
        assert_eq!(player.hear_close(), Some(1008));
    }
    2
}
