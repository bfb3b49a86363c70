//! Memory: the table of terms that add up to the ceiling.
//!
//! Each term is a unit, a count and who refuses or evicts when the count is reached. The process'
//! terms together stay within `limits.memory_max`, because the pages get what the others leave.
//! The kernel's side is shown beside it: it is memory of the machine, not of the process.
//!
//! Map: `bytes` is what each thing takes, `table` shows it.

mod bytes;
mod table;

pub(super) use bytes::{
    CONTROL_SHARE, IMPORT_SHARE, buffers_fitting, connections_affordable, datagram_buffers,
    page_bytes, streams_fitting,
};
pub use table::{MemoryTable, Side, Term};
