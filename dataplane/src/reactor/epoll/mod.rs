//! The epoll backend: edge-triggered readiness, plain non-blocking system calls.
//!
//! Shape: `interest` is the table of what each token waits for, `registration` keeps the kernel's
//! set in step with it, `driver` takes events and sends, `reading` receives and accepts,
//! `datagrams` receives from UDP sockets. A
//! descriptor is registered once and read until it would block, so that an idle or busy connection
//! costs no epoll_ctl call.

mod datagrams;
mod driver;
mod interest;
mod reading;
mod registration;

pub(super) use driver::Epoll;
