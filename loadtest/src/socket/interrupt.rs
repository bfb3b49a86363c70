//! Ctrl-C: the first one asks for the end, the second one is the end.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check;

/// Set by the handler, and by nothing else; loops that run long look at it.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The wish to stop, to be looked at by whatever runs long.
#[must_use]
pub const fn interrupted() -> &'static AtomicBool {
    &INTERRUPTED
}

/// From now on SIGINT and SIGTERM set [`interrupted`]; each ends the process when it comes again.
///
/// # Errors
/// What the kernel says.
pub fn watch_interrupt() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: all zeros is a valid action without flags; the handler only stores to an
        // atomic, which a signal may do at any time; SA_RESETHAND gives the second signal its
        // usual effect; waits that are cut short return EINTR, which every caller here expects,
        // and SA_RESTART keeps all other calls whole.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
            check(libc::sigaction(signal, &raw const action, ptr::null_mut()))?;
        }
    }
    Ok(())
}

extern "C" fn on_signal(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}
