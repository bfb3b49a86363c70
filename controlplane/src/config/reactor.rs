//! `[reactor]`: how shards wait for their sockets.

use dataplane::reactor::{BackendChoice, RECV_BUFFER_BYTES_MAX, RECV_BUFFERS_MAX, SQ_ENTRIES_MAX};

use super::field::words;
use super::key::{Key, Section};

words!(BackendChoice {
    "auto" => BackendChoice::Auto,
    "io_uring" => BackendChoice::IoUring,
    "epoll" => BackendChoice::Epoll,
});

const KEYS: &[Key] = &[
    Key::new(
        "backend",
        "\"io_uring\", \"epoll\", or \"auto\": io_uring where the kernel has it, else epoll with a \
         warning.",
        |s| &mut s.reactor.choice,
    ),
    Key::new("sq_entries", "Entries of a shard's submission queue.", |s| &mut s.reactor.sq_entries)
        .range(8, SQ_ENTRIES_MAX as u64),
    Key::new(
        "recv_buffers",
        "Receive buffers of a shard, a power of two. They are shared by its connections; an idle \
         connection holds none.",
        |s| &mut s.reactor.recv_buffers,
    )
    .range(2, RECV_BUFFERS_MAX as u64),
    Key::new(
        "recv_buffer_bytes",
        "Bytes of one receive buffer. 1024 of 16 KiB cost 16 MiB a shard once all were in use.",
        |s| &mut s.reactor.recv_buffer_bytes,
    )
    .range(64, RECV_BUFFER_BYTES_MAX as u64)
    .bytes(),
];

pub(super) fn section() -> Section {
    Section::new("reactor", "How shards wait for their sockets.", KEYS)
}
