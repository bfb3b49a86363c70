//! Peers that end their direction after a request: each still gets every byte that it asked for.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use dataplane::config::{Config, LimitId};
use node::{FlvPlayer, Player, Publisher, Server, TIME_BOUND};

on_both_backends! {
    one_request_then_nothing
    a_pipeline_larger_than_the_socket_has_room
    the_last_word_is_half_a_request
    a_player_is_gone
}

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.http).unwrap();
    socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
    socket
}

fn say_all(socket: &mut TcpStream, text: &str) {
    socket.write_all(text.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
}

fn to_end(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn one_request_then_nothing(config: Config) {
    let server = Server::start(config);
    for target in ["/", "/nothing.flv", "/streams.json", "/favicon.ico"] {
        for fields in ["", "Connection: close\r\n"] {
            let mut socket = connect(&server);
            let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            say_all(&mut socket, &request);
            let answer = to_end(&mut socket);
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{target}: {answer}");
        }
    }
    server.control.until("nobody is left", |totals| totals.sum(|c| c.connections) == 0);
}

/// The answers fill the socket again and again while the peer's end is known for long.
fn a_pipeline_larger_than_the_socket_has_room(mut config: Config) {
    const REQUESTS: usize = 150;
    config.egress.send_buffer_bytes = 8 << 10;
    config.limits.set(LimitId::HttpPipelineBytesMax, 64 << 10);
    let server = Server::start(config);
    let mut socket = connect(&server);
    say_all(&mut socket, &get("/player.js").repeat(REQUESTS));
    server.control.until("the socket is full", |totals| totals.sum(|c| c.sends_blocked) > 0);
    let answer = to_end(&mut socket);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), REQUESTS);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let len: usize = body.find("HTTP/1.1 ").unwrap();
    assert!(head.contains(&format!("Content-Length: {len}\r\n")), "{head}");
    assert_eq!(answer.len(), REQUESTS * (head.len() + 4 + len), "each answer is whole");
    server.control.until("nobody is left", |totals| totals.sum(|c| c.connections) == 0);
}

fn the_last_word_is_half_a_request(config: Config) {
    let server = Server::start(config);
    let mut socket = connect(&server);
    say_all(&mut socket, &format!("{}GET /not", get("/nothing.flv")));
    let answer = to_end(&mut socket);
    assert_eq!(answer.matches("HTTP/1.1 404 ").count(), 1, "{answer}");
    server.control.until("nobody is left", |totals| totals.sum(|c| c.connections) == 0);
}

/// Who plays has no end of an answer to wait for: with its direction it ends the play.
fn a_player_is_gone(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(1);
    let mut early = connect(&server);
    say_all(&mut early, &get("/cam.flv"));
    let mut player = FlvPlayer::start(server.http, "cam");
    player.item();
    player.socket.shutdown(Shutdown::Write).unwrap();
    let gone = |totals: &node::Totals| totals.sum(|c| c.plays_started) == 2;
    server.control.until("both played", gone);
    server.control.until("both are gone", |totals| totals.sum(|c| c.connections) == 1);
}
