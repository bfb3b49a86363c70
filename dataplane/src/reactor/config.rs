//! What a reactor is built with.

use crate::error::Error;

/// Entries of a submission queue at most: the kernel's own limit.
pub const SQ_ENTRIES_MAX: u32 = 32_768;
/// Receive buffers of a reactor at most: the kernel's limit of a buffer group.
pub const RECV_BUFFERS_MAX: u16 = 32_768;
/// Bytes of one receive buffer at most.
pub const RECV_BUFFER_BYTES_MAX: u32 = 1 << 20;

/// Datagram buffers of a reactor at most: 257 MiB of them.
pub const DATAGRAM_BUFFERS_MAX: u16 = 4_096;

/// Which kernel interface a reactor runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// A completion ring.
    IoUring,
    /// Readiness and plain system calls.
    Epoll,
}

impl BackendKind {
    /// A short fixed word for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Which backend the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendChoice {
    /// io_uring where every feature that we use is there, else epoll.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// What a reactor is built with.
///
/// Memory: `recv_buffers` x `recv_buffer_bytes` of receive buffers, touched as they are used, and
/// for io_uring 64 bytes a submission and 64 bytes (four completions) a submission. Datagrams have
/// `datagram_buffers` x [`super::DATAGRAM_BUFFER_BYTES`] of their own, touched as they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactorConfig {
    /// Which backend.
    pub choice: BackendChoice,
    /// Entries of the submission queue; the completion queue has four times as many.
    pub sq_entries: u32,
    /// Receive buffers: a power of two.
    pub recv_buffers: u16,
    /// Bytes of one receive buffer.
    pub recv_buffer_bytes: u32,
    /// Buffers for runs of datagrams: a power of two, or 0 on a node that receives none.
    pub datagram_buffers: u16,
}

impl Default for ReactorConfig {
    /// 4096 submissions, 1024 buffers of 16 KiB: 16 MiB a shard once all were in use.
    fn default() -> Self {
        Self {
            choice: BackendChoice::Auto,
            sq_entries: 4096,
            recv_buffers: 1024,
            recv_buffer_bytes: 16 * 1024,
            datagram_buffers: 0,
        }
    }
}

impl ReactorConfig {
    /// Refuses what no backend could hold.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let legal = (1..=SQ_ENTRIES_MAX).contains(&self.sq_entries)
            && self.recv_buffers.is_power_of_two()
            && self.recv_buffers <= RECV_BUFFERS_MAX
            && (1..=RECV_BUFFER_BYTES_MAX).contains(&self.recv_buffer_bytes)
            && (self.datagram_buffers == 0 || self.datagram_buffers.is_power_of_two())
            && self.datagram_buffers <= DATAGRAM_BUFFERS_MAX;
        if legal {
            Ok(())
        } else {
            Err(Error::Io { op: "reactor configuration", errno: libc::EINVAL })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let legal = ReactorConfig::default();
        assert_eq!(legal.validate(), Ok(()));
        for wrong in [
            ReactorConfig { sq_entries: 0, ..legal.clone() },
            ReactorConfig { sq_entries: SQ_ENTRIES_MAX + 1, ..legal.clone() },
            ReactorConfig { recv_buffers: 0, ..legal.clone() },
            ReactorConfig { recv_buffers: 3, ..legal.clone() },
            ReactorConfig { recv_buffer_bytes: 0, ..legal.clone() },
            ReactorConfig { recv_buffer_bytes: RECV_BUFFER_BYTES_MAX + 1, ..legal.clone() },
            ReactorConfig { datagram_buffers: 3, ..legal.clone() },
            ReactorConfig { datagram_buffers: 2 * DATAGRAM_BUFFERS_MAX, ..legal.clone() },
        ] {
            assert!(wrong.validate().is_err(), "{wrong:?}");
        }
    }
}
