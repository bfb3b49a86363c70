//! `[reactor]`: how shards wait for their sockets.

use super::field::words;
use super::key::{Key, Section};

/// The kernel interface of the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// io_uring if it has what is needed, else epoll with a warning.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

words!(Backend {
    "auto" => Backend::Auto,
    "io_uring" => Backend::IoUring,
    "epoll" => Backend::Epoll,
});

/// `[reactor]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReactorSection {
    /// The kernel interface.
    pub backend: Backend,
    /// Entries of the submission queue.
    pub sq_entries: u32,
    /// Receive buffers of a shard.
    pub recv_buffers: u16,
    /// Bytes of one receive buffer.
    pub recv_buffer_bytes: u32,
}

impl Default for ReactorSection {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            sq_entries: 1_024,
            recv_buffers: 512,
            recv_buffer_bytes: 16 << 10,
        }
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "backend",
        "\"io_uring\", \"epoll\", or \"auto\": io_uring where the kernel has it, else epoll with a \
         warning.",
        |s| &mut s.reactor.backend,
    ),
    Key::new("sq_entries", "Entries of a shard's submission queue, a power of two.", |s| {
        &mut s.reactor.sq_entries
    })
    .range(8, 32_768),
    Key::new(
        "recv_buffers",
        "Receive buffers of a shard, a power of two. They are shared by its connections; an idle \
         connection holds none.",
        |s| &mut s.reactor.recv_buffers,
    )
    .range(2, 32_768),
    Key::new(
        "recv_buffer_bytes",
        "Bytes of one receive buffer. 512 of 16 KiB cost 8 MiB a shard.",
        |s| &mut s.reactor.recv_buffer_bytes,
    )
    .range(64, 1 << 20)
    .bytes(),
];

pub(super) fn section() -> Section {
    Section::new("reactor", "How shards wait for their sockets.", KEYS)
}

impl ReactorSection {
    /// What the data plane starts with.
    #[must_use]
    pub(super) const fn config(self) -> dataplane::reactor::ReactorConfig {
        dataplane::reactor::ReactorConfig
    }
}
