//! Security: who was refused and why, one JSON object a line, for programs that act on it.
//!
//! Every line has every field, in one order, `null` where there is nothing to say:
//!
//! ```json
//! {"time":"2026-05-04T03:02:01.123Z","event":"auth_refused","addr":"192.0.2.7",
//!  "prefix":"192.0.2.0/24","listener":"rtmp","proto":"rtmp","stream":"news",
//!  "reason":"forbidden","count":1,"until":null}
//! ```
//!
//! Nothing that a peer shows to prove itself is ever in it, and nothing else of a peer's words but
//! the name of a stream. Lines go to the file that `log.security_file` names, else they are
//! messages of the log under the target `security`, whatever its level.
//!
//! Lives on: the control thread; a thread of its own writes each file that is named.
//! Limits: 50 lines a second and 500 at one time of penalties, and as many of all else, beyond
//! which they are counted and the count is told; [`LINES_KEPT_MAX`] lines wait for disks; a file
//! that reaches `log.security_bytes_max` becomes `.1`.

mod file;
mod log;
mod record;

pub(crate) use file::open as open_file;
pub(crate) use log::TARGET;
pub use log::{LINES_KEPT_MAX, SecurityLog};
pub(crate) use record::moment;
pub use record::{Happened, Record};
