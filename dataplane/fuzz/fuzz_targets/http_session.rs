//! An HTTP session: operations of a peer and a shard.
#![no_main]

#[path = "../operations.rs"]
mod operations;

use std::sync::Arc;
use std::time::Instant;

use dataplane::session::{Session, http};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let server = http::Server::new(now, &Arc::default());
    operations::run(Session::Http(Box::new(server)), now, &[], data);
});
