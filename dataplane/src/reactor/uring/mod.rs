//! The io_uring backend.
//!
//! Shape: `ring` sets the ring up, submits and waits; `start` turns requests into entries; `reap`
//! turns the kernel's answers into completions; `operation` is the table of what is in flight;
//! `buffer_ring` lends receive buffers to the kernel; `message` holds the ranges of vectored sends,
//! `trains` those of datagrams, which `datagrams` receives and sends.
//!
//! The kernel identifies an operation by its index in the table, which is not used again before its
//! last answer; sends have no entry, since a non-blocking send answers within its submit, and carry
//! their token. An answer without `F_MORE` ends an operation: it is started again unless it was
//! stopped, and only a zero result is the end of a stream.
//!
//! Descriptors are closed and shut down after a submit, never while an entry that names them waits:
//! the number could name another connection by the time the kernel reads it.

mod buffer_ring;
mod datagrams;
mod message;
mod operation;
mod reap;
mod ring;
mod start;
mod trains;

pub(super) use ring::Uring;
