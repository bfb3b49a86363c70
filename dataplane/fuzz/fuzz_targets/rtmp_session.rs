//! An RTMP session: operations of a peer and a shard, after a handshake that is given.
//!
//! Each operation is a byte and what it needs; at the end every page must be back.
#![no_main]

#[path = "../operations.rs"]
mod operations;

use std::sync::Arc;
use std::time::Instant;

use dataplane::config::{Limits, Terms};
use dataplane::session::{Session, rtmp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let limits = Limits { rtmp_messages_per_second_max: 1 << 20, ..Limits::default() };
    let server = rtmp::Server::new(now, &Arc::new(Terms { limits, ..Terms::default() }), [7; 32]);
    let mut hello = vec![0; 1 + 1536 + 1536];
    hello[0] = 3;
    operations::run(Session::Rtmp(Box::new(server)), now, &hello, data);
});
