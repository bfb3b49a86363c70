//! RTMP handshake with digests, the side of the server.

use std::hint::black_box;

use codecs::rtmp::handshake::{
    C0C1_LEN, ClientHandshake, Kind, RANDOM_LEN, Scheme, parse_c0c1, server_response,
};

use super::Scenario;

struct Digest {
    hello: [u8; C0C1_LEN],
}

/// The answer to a client that proves itself by a digest.
pub(super) fn digest() -> Box<dyn Scenario> {
    let kind = Kind::Digest { scheme: Scheme::DigestFirst };
    let client = ClientHandshake::new(kind, &[7; RANDOM_LEN], 1);
    Box::new(Digest { hello: *client.c0c1() })
}

impl Scenario for Digest {
    fn run(&mut self) {
        let hello = parse_c0c1(&self.hello).expect("our own hello");
        black_box(server_response(hello.c1, &[3; RANDOM_LEN], 1));
    }
}
