//! The reactor against real sockets: every case on both backends, each with usual and tiny sizes.
//!
//! The other end is a blocking socket of the standard library, on the same thread where loopback
//! buffers allow it, else on a thread that is joined.

#![expect(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod connections;
mod port;
mod receiving;
mod rig;
mod runs;
mod sending;
mod steering;
mod trains;
mod waking;

/// Runs each function on both backends, with usual sizes and with the smallest rings and buffers.
#[macro_export]
macro_rules! on_both_backends {
    ($($case:ident)*) => {$(
        mod $case {
            use dataplane::reactor::BackendChoice::{Epoll, IoUring};
            use $crate::rig::{tiny, usual};

            #[test]
            fn io_uring() {
                super::$case(&usual(IoUring));
            }

            #[test]
            fn io_uring_tiny() {
                super::$case(&tiny(IoUring));
            }

            #[test]
            fn epoll() {
                super::$case(&usual(Epoll));
            }

            #[test]
            fn epoll_tiny() {
                super::$case(&tiny(Epoll));
            }
        }
    )*};
}
